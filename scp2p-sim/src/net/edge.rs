//! A router's table of who may talk to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use scp2p_proto::io::Transport;
use scp2p_proto::time::Time;

use crate::scenario::{self, Dependence};

/// Bindings of one edge, as a large router has them.
const BINDINGS_MAX: usize = 16_384;
/// So many bindings are not worth looking through for such that expired.
const BINDINGS_FEW: usize = 64;
/// Outside endpoints that one binding remembers to have been sent to.
const PEERS_MAX: usize = 1024;
/// The first port that bindings have outside.
const FIRST_PORT: u16 = 1024;

/// A firewall or a translator.
///
/// It sees endpoints, not packets, and is told the time, which must not go back: it serves the modelled network as well
/// as a forwarder of real packets. Which networks there are on its two sides is for its user to know, who passes what
/// leaves the inner one through [`Edge::outbound`] and what comes for its address through [`Edge::inbound`].
#[derive(Debug, Clone)]
pub struct Edge {
    /// None for a firewall, which has no address of its own.
    address: Option<Ipv4Addr>,
    mapping: Dependence,
    filtering: Dependence,
    expiry: Duration,
    inbound_refresh: bool,
    hairpin: bool,
    next_port: u16,
    /// At so many bindings those that expired are forgotten.
    sweep_at: usize,
    /// Endpoints inside with a binding that their user set up.
    forwarded: BTreeSet<(Transport, SocketAddrV4)>,
    bindings: BTreeMap<Inside, Binding>,
    outside: BTreeMap<(Transport, SocketAddrV4), Inside>,
}

/// What a binding is for: an endpoint inside, and what else the mapping depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inside {
    transport: Transport,
    endpoint: SocketAddrV4,
    toward: Option<SocketAddrV4>,
}

/// What a link holds of an edge: a binding, and the permission of its peer to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    inside: Inside,
    peer: Option<SocketAddrV4>,
}

#[derive(Debug, Clone)]
struct Binding {
    outside: SocketAddrV4,
    life: Life,
    /// Those who may answer, as far as the filter tells them apart.
    peers: BTreeMap<Option<SocketAddrV4>, Life>,
}

/// How long something is remembered.
#[derive(Debug, Clone, Copy)]
struct Life {
    until: Time,
    /// Links known to keep it alive.
    held: u32,
}

impl Edge {
    /// An edge of this kind without bindings. The address is what a translator has outside; a firewall has none.
    pub fn new(spec: &scenario::Edge, address: Option<Ipv4Addr>) -> Edge {
        Edge {
            address,
            mapping: spec.mapping.unwrap_or(Dependence::Independent),
            filtering: spec.filtering,
            expiry: spec.expiry.duration(),
            inbound_refresh: spec.inbound_refresh,
            hairpin: spec.hairpin,
            next_port: FIRST_PORT,
            sweep_at: BINDINGS_FEW,
            forwarded: BTreeSet::new(),
            bindings: BTreeMap::new(),
            outside: BTreeMap::new(),
        }
    }

    /// Whether hosts inside reach each other at their outside endpoints. That is for the edge's user to heed, who knows
    /// when a datagram from inside is for the edge's own address.
    pub fn hairpin(&self) -> bool {
        self.hairpin
    }

    pub(super) fn expiry(&self) -> Duration {
        self.expiry
    }

    /// Binds a port of the edge's address to an endpoint inside for good, as the user of a router does: whoever sends
    /// to it is let in, and all that the endpoint sends comes from there. Other bindings of the port and of the endpoint
    /// are over. A firewall opens the endpoint itself, whatever port is named.
    pub fn forward(&mut self, transport: Transport, port: u16, endpoint: SocketAddrV4) {
        let outside = match self.address {
            None => endpoint,
            Some(address) => SocketAddrV4::new(address, port),
        };
        let others = self.bindings.iter().filter(|(inside, binding)| {
            inside.transport == transport
                && (inside.endpoint == endpoint || binding.outside == outside)
        });
        let others: Vec<Inside> = others.map(|(inside, _)| *inside).collect();
        for other in others {
            self.forwarded.remove(&(transport, other.endpoint));
            self.forget(other);
        }
        self.forwarded.insert((transport, endpoint));
        let life = Life {
            held: 1,
            ..Life::NONE
        };
        self.insert(
            self.inside(transport, endpoint, endpoint),
            Binding {
                outside,
                life,
                peers: BTreeMap::from([(None, life)]),
            },
        );
    }

    /// Lets a datagram out and says which source it has outside; none if the table is full.
    pub fn outbound(
        &mut self,
        now: Time,
        transport: Transport,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        let inside = self.inside(transport, from, to);
        let until = now + self.expiry;
        let peer = self.peer(inside, to);
        let lives = self
            .bindings
            .get(&inside)
            .is_some_and(|binding| binding.life.lasts(now));
        if !lives {
            self.forget(inside);
            self.bind(now, inside)?;
        }
        let binding = self.bindings.get_mut(&inside)?;
        binding.life.extend(until);
        if binding.peers.len() >= PEERS_MAX && !binding.peers.contains_key(&peer) {
            binding.peers.retain(|_, life| life.lasts(now));
            if binding.peers.len() >= PEERS_MAX {
                return None;
            }
        }
        let life = binding.peers.entry(peer).or_insert(Life::NONE);
        life.extend(until);
        Some(binding.outside)
    }

    /// Where inside a datagram from outside goes; none if it is not let in.
    pub fn inbound(
        &mut self,
        now: Time,
        transport: Transport,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        let inside = *self.outside.get(&(transport, to))?;
        let peer = self.peer(inside, from);
        let binding = self.bindings.get_mut(&inside)?;
        let peer = binding.peers.get_mut(&peer)?;
        if !binding.life.lasts(now) || !peer.lasts(now) {
            return None;
        }
        if self.inbound_refresh {
            let until = now + self.expiry;
            binding.life.extend(until);
            peer.extend(until);
        }
        Some(inside.endpoint)
    }

    /// The endpoints outside that lead to one inside.
    pub(super) fn faces(
        &self,
        now: Time,
        transport: Transport,
        endpoint: SocketAddrV4,
    ) -> impl Iterator<Item = SocketAddrV4> {
        self.bindings
            .iter()
            .filter(move |(inside, binding)| {
                (inside.transport, inside.endpoint) == (transport, endpoint)
                    && binding.life.lasts(now)
            })
            .map(|(_, binding)| binding.outside)
    }

    /// Whose the endpoint outside is, whoever may send to it.
    pub(super) fn behind(&self, transport: Transport, to: SocketAddrV4) -> Option<SocketAddrV4> {
        self.outside
            .get(&(transport, to))
            .map(|inside| inside.endpoint)
    }

    /// Keeps a binding that exists, and the permission to answer, until they are released as often. Says what is held and its source outside.
    pub(super) fn hold(
        &mut self,
        transport: Transport,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Option<(Held, SocketAddrV4)> {
        let inside = self.inside(transport, from, to);
        let peer = self.peer(inside, to);
        let binding = self.bindings.get_mut(&inside)?;
        binding.peers.get_mut(&peer)?.held += 1;
        binding.life.held += 1;
        Some((Held { inside, peer }, binding.outside))
    }

    /// What was held was last used then.
    pub(super) fn release(&mut self, held: Held, used: Time) {
        let until = used + self.expiry;
        if let Some(binding) = self.bindings.get_mut(&held.inside) {
            let peer = binding.peers.get_mut(&held.peer);
            for life in peer.into_iter().chain([&mut binding.life]) {
                life.held = life.held.saturating_sub(1);
                life.extend(until);
            }
        }
    }

    fn inside(&self, transport: Transport, from: SocketAddrV4, to: SocketAddrV4) -> Inside {
        let is_forwarded = self.forwarded.contains(&(transport, from));
        Inside {
            transport,
            endpoint: from,
            toward: seen(self.mapping, to).filter(|_| !is_forwarded),
        }
    }

    /// What a binding's filter remembers of somebody outside.
    fn peer(&self, inside: Inside, outside: SocketAddrV4) -> Option<SocketAddrV4> {
        let is_forwarded = self
            .forwarded
            .contains(&(inside.transport, inside.endpoint));
        seen(self.filtering, outside).filter(|_| !is_forwarded)
    }

    fn bind(&mut self, now: Time, inside: Inside) -> Option<()> {
        if self.bindings.len() >= self.sweep_at {
            self.sweep(now);
            if self.bindings.len() >= BINDINGS_MAX {
                return None;
            }
            self.sweep_at = (self.bindings.len() * 2).clamp(BINDINGS_FEW, BINDINGS_MAX);
        }
        let outside = match self.address {
            None => inside.endpoint,
            Some(address) => self.port_for(inside, address),
        };
        self.insert(
            inside,
            Binding {
                outside,
                life: Life::NONE,
                peers: BTreeMap::new(),
            },
        );
        Some(())
    }

    fn insert(&mut self, inside: Inside, binding: Binding) {
        self.outside
            .insert((inside.transport, binding.outside), inside);
        self.bindings.insert(inside, binding);
    }

    /// The next port that no binding has: there are more ports than bindings. For UDP rather the one that it has
    /// inside, as most translators do; a TCP connection is not taken up again once it was forgotten.
    fn port_for(&mut self, inside: Inside, address: Ipv4Addr) -> SocketAddrV4 {
        let kept = SocketAddrV4::new(address, inside.endpoint.port());
        if inside.transport == Transport::Quic && self.is_free(inside.transport, kept) {
            return kept;
        }
        loop {
            let outside = SocketAddrV4::new(address, self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if self.is_free(inside.transport, outside) {
                return outside;
            }
        }
    }

    fn is_free(&self, transport: Transport, outside: SocketAddrV4) -> bool {
        !self.outside.contains_key(&(transport, outside))
    }

    fn sweep(&mut self, now: Time) {
        let over: Vec<Inside> = self
            .bindings
            .iter()
            .filter(|(_, binding)| !binding.life.lasts(now))
            .map(|(inside, _)| *inside)
            .collect();
        for inside in over {
            self.forget(inside);
        }
    }

    fn forget(&mut self, inside: Inside) {
        if let Some(binding) = self.bindings.remove(&inside) {
            self.outside.remove(&(inside.transport, binding.outside));
        }
    }
}

impl Life {
    const NONE: Life = Life {
        until: Time(0),
        held: 0,
    };

    fn lasts(&self, now: Time) -> bool {
        self.held > 0 || now < self.until
    }

    fn extend(&mut self, until: Time) {
        self.until = self.until.max(until);
    }
}

/// What of an endpoint outside something depends on.
fn seen(dependence: Dependence, endpoint: SocketAddrV4) -> Option<SocketAddrV4> {
    match dependence {
        Dependence::Independent => None,
        Dependence::Address => Some(SocketAddrV4::new(*endpoint.ip(), 0)),
        Dependence::AddressAndPort => Some(endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Span;

    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 1);

    fn at(address: &str) -> SocketAddrV4 {
        address.parse().expect("an endpoint")
    }

    fn strict(address: Option<Ipv4Addr>) -> Edge {
        let spec = scenario::Edge {
            name: "strict".to_owned(),
            behind: None,
            mapping: address.map(|_| Dependence::AddressAndPort),
            filtering: Dependence::AddressAndPort,
            expiry: Span::secs(30),
            inbound_refresh: false,
            hairpin: false,
        };
        Edge::new(&spec, address)
    }

    #[test]
    fn a_forwarded_port_lets_everybody_in_at_any_time() {
        let (inside, other) = (at("10.0.0.2:7000"), at("10.0.0.3:7000"));
        let (a, b) = (at("20.0.1.1:7000"), at("20.0.2.1:9000"));
        for transport in [Transport::Quic, Transport::Tcp] {
            let mut edge = strict(Some(OUTSIDE));
            let before = edge.outbound(Time(0), transport, inside, a);
            edge.forward(transport, 8000, inside);
            let outside = SocketAddrV4::new(OUTSIDE, 8000);
            assert_ne!(before, Some(outside));
            for now in [Time(0), Span::secs(3600).time()] {
                for who in [a, b] {
                    assert_eq!(edge.inbound(now, transport, who, outside), Some(inside));
                    assert_eq!(edge.outbound(now, transport, inside, who), Some(outside));
                }
                let before = before.expect("the table has room");
                assert_eq!(edge.inbound(now, transport, a, before), None);
            }
            edge.forward(transport, 8000, other);
            let now = Span::secs(7200).time();
            assert_eq!(edge.inbound(now, transport, b, outside), Some(other));
            assert_ne!(edge.outbound(now, transport, inside, b), Some(outside));
            assert_eq!(edge.inbound(now, transport, a, outside), Some(other));
        }
    }

    #[test]
    fn a_firewall_opens_an_endpoint() {
        let (inside, who) = (at("20.0.0.2:7000"), at("20.0.1.1:7000"));
        let mut edge = strict(None);
        let let_in = |edge: &mut Edge| edge.inbound(Time(0), Transport::Tcp, who, inside);
        assert_eq!(let_in(&mut edge), None);
        edge.forward(Transport::Tcp, 7000, inside);
        assert_eq!(let_in(&mut edge), Some(inside));
        assert_eq!(edge.inbound(Time(0), Transport::Quic, who, inside), None);
    }
}
