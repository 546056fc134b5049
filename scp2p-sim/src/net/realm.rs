//! Who has which address where, and how datagrams find their way through edges.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use scp2p_proto::io::Transport;
use scp2p_proto::time::Time;

use super::edge::{Edge, Held};
use crate::id::HostId;
use crate::scenario;

/// All edges and addresses. Behind each translator there is a realm of addresses of its own; realm 0 is the internet.
#[derive(Debug, Clone)]
pub(super) struct Realms {
    edges: Vec<Router>,
    names: BTreeMap<String, EdgeNo>,
    owners: BTreeMap<(RealmNo, Ipv4Addr), Owner>,
    /// Edges behind such that are not there yet.
    waiting: Vec<scenario::Edge>,
    realms: u32,
    /// Addresses given out so far on the internet, and in all other realms.
    given: [u32; 2],
    places: BTreeMap<HostId, Place>,
}

/// An edge, in the order of adding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EdgeNo(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RealmNo(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Host(HostId),
    Edge(EdgeNo),
}

/// Where a host is.
#[derive(Debug, Clone, Copy)]
struct Place {
    zone: Option<EdgeNo>,
    address: Ipv4Addr,
}

#[derive(Debug, Clone)]
struct Router {
    /// Shared, so that a copy on which something is tried costs only the edges on its way.
    edge: Arc<Edge>,
    behind: Option<EdgeNo>,
    /// The realm of those behind it.
    realm: RealmNo,
    translates: bool,
}

/// A datagram at the place on its way that is nearest to the internet, where its source is what the receiver will see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    transport: Transport,
    pub(super) from: SocketAddrV4,
    to: SocketAddrV4,
    realm: RealmNo,
    zone: Option<EdgeNo>,
}

/// Why a datagram does not get out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuck {
    /// Dropped without a word.
    Dropped,
    /// No network has such an address.
    NoRoute,
}

impl Realms {
    const INTERNET: RealmNo = RealmNo(0);

    pub(super) fn new() -> Realms {
        Realms {
            edges: Vec::new(),
            names: BTreeMap::new(),
            owners: BTreeMap::new(),
            waiting: Vec::new(),
            realms: 1,
            given: [0; 2],
            places: BTreeMap::new(),
        }
    }

    /// Adds an edge, and those that waited for it; it waits itself for the one that it is behind.
    pub(super) fn add_edge(&mut self, spec: &scenario::Edge) {
        let behind = self.zone(spec.behind.as_deref());
        if spec.behind.is_some() && behind.is_none() {
            self.waiting.push(spec.clone());
            return;
        }
        let number = EdgeNo(self.edges.len() as u32);
        let outer = self.realm(behind);
        let (address, realm) = if spec.mapping.is_some() {
            let inner = RealmNo(self.realms);
            self.realms += 1;
            (Some(self.assign(outer, Owner::Edge(number))), inner)
        } else {
            (None, outer)
        };
        self.edges.push(Router {
            edge: Edge::new(spec, address).into(),
            behind,
            realm,
            translates: address.is_some(),
        });
        self.names.insert(spec.name.clone(), number);
        for waiting in std::mem::take(&mut self.waiting) {
            self.add_edge(&waiting);
        }
    }

    /// Gives the host an address behind the edge instead of the one that it has.
    pub(super) fn place(&mut self, host: HostId, edge: Option<&str>) {
        if let Some(place) = self.places.remove(&host) {
            let realm = self.realm(place.zone);
            self.owners.remove(&(realm, place.address));
        }
        let zone = self.zone(edge);
        let address = self.assign(self.realm(zone), Owner::Host(host));
        self.places.insert(host, Place { zone, address });
    }

    pub(super) fn address(&self, host: HostId) -> Option<Ipv4Addr> {
        self.places.get(&host).map(|place| place.address)
    }

    /// How soon the first binding that may be on the host's way expires; none if there are no edges.
    pub(super) fn expiry(&self, host: HostId) -> Option<Duration> {
        let mut zone = self.places.get(&host)?.zone;
        let mut least: Option<Duration> = None;
        while let Some(number) = zone {
            let router = self.router(number);
            let expiry = router.edge.expiry();
            least = Some(least.map_or(expiry, |least| least.min(expiry)));
            zone = router.behind;
        }
        least
    }

    /// Sends a datagram out through the edges on the host's side.
    pub(super) fn depart(
        &mut self,
        now: Time,
        transport: Transport,
        host: HostId,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Result<Datagram, Stuck> {
        self.climb(transport, host, from, to, |_, edge, from| {
            edge.outbound(now, transport, from, to)
        })
    }

    /// Holds all bindings on the way out, and says which.
    pub(super) fn hold(
        &mut self,
        transport: Transport,
        host: HostId,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Vec<(EdgeNo, Held)> {
        let mut held = Vec::new();
        let way = self.climb(transport, host, from, to, |number, edge, from| {
            let (what, outside) = edge.hold(transport, from, to)?;
            held.push((number, what));
            Some(outside)
        });
        debug_assert!(way.is_ok(), "only ways that were just used are held");
        held
    }

    pub(super) fn release(&mut self, edge: EdgeNo, held: Held, used: Time) {
        self.edge_mut(edge).release(held, used);
    }

    /// Lets a datagram in through the edges on the receiver's side: who gets it, at which of its endpoints.
    pub(super) fn arrive(
        &mut self,
        now: Time,
        datagram: Datagram,
    ) -> Option<(HostId, SocketAddrV4)> {
        let mut at = datagram;
        loop {
            let owner = *self.owners.get(&(at.realm, *at.to.ip()))?;
            let (from, to) = (at.from, at.to);
            self.admit(self.zone_of(owner), at.zone, &mut |edge| {
                edge.inbound(now, at.transport, from, to).map(drop)
            })?;
            match owner {
                Owner::Host(host) => return Some((host, at.to)),
                Owner::Edge(number) => {
                    let edge = self.edge_mut(number);
                    at.to = edge.inbound(now, at.transport, from, to)?;
                    at.realm = self.router(number).realm;
                    at.zone = Some(number);
                }
            }
        }
    }

    /// Who would get the datagram if every filter let it in.
    pub(super) fn target(&self, datagram: &Datagram) -> Option<HostId> {
        let mut at = *datagram;
        loop {
            match *self.owners.get(&(at.realm, *at.to.ip()))? {
                Owner::Host(host) => return Some(host),
                Owner::Edge(number) => {
                    let router = self.router(number);
                    at.to = router.edge.behind(at.transport, at.to)?;
                    at.realm = router.realm;
                }
            }
        }
    }

    /// Whether a datagram out of the blue from one host to the other's own address is let in: no edge may be on its way in.
    pub(super) fn lets_in(&self, from: HostId, to: HostId) -> bool {
        let (Some(from), Some(to)) = (self.places.get(&from), self.places.get(&to)) else {
            return false;
        };
        let realm = self.realm(to.zone);
        let mut zone = from.zone;
        loop {
            let here = self.realm(zone);
            if here == realm && zone == to.zone {
                return true;
            }
            let Some(number) = zone else { return false };
            zone = self.router(number).behind;
        }
    }

    /// The endpoints under which a host's port is known, its own first, then those that translators gave it.
    pub(super) fn faces(
        &self,
        now: Time,
        transport: Transport,
        host: HostId,
        port: u16,
    ) -> Vec<SocketAddrV4> {
        let Some(place) = self.places.get(&host) else {
            return Vec::new();
        };
        let mut here = vec![SocketAddrV4::new(place.address, port)];
        let mut all = here.clone();
        let mut zone = place.zone;
        while let Some(number) = zone {
            let router = self.router(number);
            if router.translates {
                let faces = |inside: &SocketAddrV4| router.edge.faces(now, transport, *inside);
                here = here.iter().flat_map(faces).collect();
                all.extend(&here);
            }
            zone = router.behind;
        }
        all
    }

    /// Whether a datagram from a port of one host would now reach a port of the other under an endpoint that this one
    /// answers from: it is tried on a copy.
    pub(super) fn reaches(
        &self,
        now: Time,
        transport: Transport,
        (from, from_port): (HostId, u16),
        (to, to_port): (HostId, u16),
    ) -> bool {
        let (Some(from_ip), Some(to_ip)) = (self.address(from), self.address(to)) else {
            return false;
        };
        let here = SocketAddrV4::new(from_ip, from_port);
        let there = SocketAddrV4::new(to_ip, to_port);
        let mut faces = self.faces(now, transport, to, to_port).into_iter();
        let mut tried = self.clone();
        faces.any(|face| {
            tried.edges.clone_from(&self.edges);
            let Ok(way) = tried.depart(now, transport, from, here, face) else {
                return false;
            };
            if tried.arrive(now, way) != Some((to, there)) {
                return false;
            }
            let back = tried.depart(now, transport, to, there, way.from);
            back.is_ok_and(|back| {
                back.from == face && tried.arrive(now, back) == Some((from, here))
            })
        })
    }

    /// Goes outward from a host until the destination is in the realm that was reached and not further out.
    fn climb(
        &mut self,
        transport: Transport,
        host: HostId,
        from: SocketAddrV4,
        to: SocketAddrV4,
        mut pass: impl FnMut(EdgeNo, &mut Edge, SocketAddrV4) -> Option<SocketAddrV4>,
    ) -> Result<Datagram, Stuck> {
        let place = self.places.get(&host).ok_or(Stuck::NoRoute)?;
        let mut at = Datagram {
            transport,
            from,
            to,
            realm: self.realm(place.zone),
            zone: place.zone,
        };
        let mut translator = None;
        loop {
            let owner = self.owners.get(&(at.realm, *to.ip())).copied();
            if let Some(owner) = owner
                && self.is_within(self.zone_of(owner), at.zone)
            {
                let own = translator.filter(|number| owner == Owner::Edge(*number));
                if own.is_some_and(|number| !self.router(number).edge.hairpin()) {
                    return Err(Stuck::Dropped);
                }
                return Ok(at);
            }
            let Some(number) = at.zone else {
                return Err(if is_internet(*to.ip()) {
                    Stuck::Dropped
                } else {
                    Stuck::NoRoute
                });
            };
            at.from = pass(number, self.edge_mut(number), at.from).ok_or(Stuck::Dropped)?;
            let router = self.router(number);
            at.zone = router.behind;
            if router.translates {
                translator = Some(number);
            }
            at.realm = self.realm(at.zone);
        }
    }

    /// Goes inward through firewalls from one zone to another in it.
    fn admit(
        &mut self,
        target: Option<EdgeNo>,
        from: Option<EdgeNo>,
        pass: &mut impl FnMut(&mut Edge) -> Option<()>,
    ) -> Option<()> {
        if target == from {
            return Some(());
        }
        let number = target?;
        self.admit(self.router(number).behind, from, pass)?;
        pass(self.edge_mut(number))
    }

    fn is_within(&self, mut zone: Option<EdgeNo>, outer: Option<EdgeNo>) -> bool {
        loop {
            if zone == outer {
                return true;
            }
            match zone {
                Some(number) => zone = self.router(number).behind,
                None => return false,
            }
        }
    }

    fn zone(&self, name: Option<&str>) -> Option<EdgeNo> {
        self.names.get(name?).copied()
    }

    fn zone_of(&self, owner: Owner) -> Option<EdgeNo> {
        match owner {
            Owner::Host(host) => self.places.get(&host).and_then(|place| place.zone),
            Owner::Edge(number) => self.router(number).behind,
        }
    }

    fn realm(&self, zone: Option<EdgeNo>) -> RealmNo {
        zone.map_or(Realms::INTERNET, |number| self.router(number).realm)
    }

    fn edge_mut(&mut self, number: EdgeNo) -> &mut Edge {
        Arc::make_mut(&mut self.edges[number.0 as usize].edge)
    }

    fn router(&self, number: EdgeNo) -> &Router {
        &self.edges[number.0 as usize]
    }

    /// An address that was never given to anybody.
    fn assign(&mut self, realm: RealmNo, owner: Owner) -> Ipv4Addr {
        let is_inner = realm != Realms::INTERNET;
        let given = &mut self.given[usize::from(is_inner)];
        *given += 1;
        let [_, a, b, c] = given.to_be_bytes();
        let address = if is_inner {
            Ipv4Addr::new(10, a, b, c)
        } else {
            // Each in a /16 of its own while there are any, as hosts that know nothing of each other are.
            Ipv4Addr::new(20 + b % 64, c, a, b / 64)
        };
        self.owners.insert((realm, address), owner);
        address
    }
}

/// Whether the internet carries datagrams to such an address, even if nobody has it.
fn is_internet(ip: Ipv4Addr) -> bool {
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.octets()[0] == 0)
}
