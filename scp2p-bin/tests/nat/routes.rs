//! Who has which address, and the way of packets through NATs: without sockets and without a clock.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use scp2p_proto::io::Transport;
use scp2p_proto::time::Time;
use scp2p_sim::id::HostId;
use scp2p_sim::net::Edge;
use scp2p_sim::scenario;

use super::packet::Packet;

/// A public network, NATs with networks behind them, and hosts in all of these.
#[derive(Debug, Default)]
pub struct Routes {
    nats: Vec<Nat>,
    places: BTreeMap<HostId, Place>,
    owners: BTreeMap<(Realm, Ipv4Addr), Owner>,
    /// Addresses given out in each network; none is given out twice.
    given: BTreeMap<Realm, u8>,
    /// Whether packets from NAT to NAT are lost on their way.
    is_parted: bool,
}

/// A NAT, in the order of adding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatId(usize);

/// What passed somewhere, in two directions, each from the point of view of who is inside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent by a host, or let out by a NAT.
    pub out: Amount,
    /// Delivered to a host, or let in by a NAT.
    pub inn: Amount,
    /// What a NAT did not let through, from either side.
    pub refused: Amount,
}

/// So many packets, with so many bytes from the IPv4 header on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub packets: u64,
    pub bytes: u64,
}

/// A network whose members reach each other's own addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Realm {
    Public,
    Behind(NatId),
}

#[derive(Debug, Clone, Copy)]
enum Owner {
    Host(HostId),
    Nat(NatId),
}

#[derive(Debug)]
struct Nat {
    edge: Edge,
    address: Ipv4Addr,
    outer: Realm,
    traffic: Traffic,
}

#[derive(Debug)]
struct Place {
    realm: Realm,
    address: Ipv4Addr,
    traffic: Traffic,
}

impl Routes {
    /// Adds a NAT of this kind with a public address, or with one behind another NAT.
    pub fn add_nat(&mut self, kind: &scenario::Edge, behind: Option<NatId>) -> NatId {
        assert!(kind.mapping.is_some(), "firewalls are not made here");
        let id = NatId(self.nats.len());
        let outer = behind.map_or(Realm::Public, Realm::Behind);
        let address = self.assign(outer, Owner::Nat(id));
        self.nats.push(Nat {
            edge: Edge::new(kind, Some(address)),
            address,
            outer,
            traffic: Traffic::default(),
        });
        id
    }

    /// Gives a host an address behind a NAT, or a public one, instead of the one that it has.
    pub fn place(&mut self, host: HostId, behind: Option<NatId>) -> Ipv4Addr {
        let realm = behind.map_or(Realm::Public, Realm::Behind);
        let before = self.places.remove(&host);
        if let Some(before) = &before {
            self.owners.remove(&(before.realm, before.address));
        }
        let address = self.assign(realm, Owner::Host(host));
        let place = Place {
            realm,
            address,
            traffic: before.map_or(Traffic::default(), |before| before.traffic),
        };
        self.places.insert(host, place);
        address
    }

    /// The NAT's address outside.
    pub fn address(&self, nat: NatId) -> Ipv4Addr {
        self.nats[nat.0].address
    }

    /// Binds a port of the NAT's address to one inside for good.
    pub fn forward(&mut self, nat: NatId, transport: Transport, port: u16, to: SocketAddrV4) {
        self.nats[nat.0].edge.forward(transport, port, to);
    }

    /// Loses all packets from NAT to NAT, or none any more.
    pub fn part(&mut self, is_parted: bool) {
        self.is_parted = is_parted;
    }

    /// What passed a NAT.
    pub fn nat_traffic(&self, nat: NatId) -> Traffic {
        self.nats[nat.0].traffic
    }

    /// What a host sent and got.
    pub fn host_traffic(&self, host: HostId) -> Traffic {
        self.places[&host].traffic
    }

    /// Takes a packet of a host on its way, translated at each NAT; who gets it, or none if it is lost.
    pub fn carry(&mut self, now: Time, from: HostId, packet: &mut Packet) -> Option<HostId> {
        let place = self.places.get_mut(&from)?;
        place.traffic.out.add(packet);
        // What a host sends from an address that it had before leads nowhere.
        if *packet.source().ip() != place.address {
            return None;
        }
        let realm = place.realm;
        let reached = self.let_out(now, realm, packet)?;
        self.let_in(now, reached, packet)
    }

    /// Goes outward to the network where the destination's address is.
    fn let_out(&mut self, now: Time, mut realm: Realm, packet: &mut Packet) -> Option<Realm> {
        let to = packet.destination();
        while !self.owners.contains_key(&(realm, *to.ip())) {
            let Realm::Behind(NatId(number)) = realm else {
                return None;
            };
            let nat = &mut self.nats[number];
            let outside = nat
                .edge
                .outbound(now, packet.transport(), packet.source(), to)
                .filter(|_| *to.ip() != nat.address || nat.edge.hairpin());
            let Some(outside) = outside else {
                nat.traffic.refused.add(packet);
                return None;
            };
            nat.traffic.out.add(packet);
            packet.set_source(outside);
            realm = nat.outer;
        }
        Some(realm)
    }

    /// Goes inward to the host.
    fn let_in(&mut self, now: Time, mut realm: Realm, packet: &mut Packet) -> Option<HostId> {
        loop {
            let to = packet.destination();
            match *self.owners.get(&(realm, *to.ip()))? {
                Owner::Host(host) => {
                    self.places.get_mut(&host)?.traffic.inn.add(packet);
                    return Some(host);
                }
                Owner::Nat(id) => {
                    let sender = self.owners.get(&(realm, *packet.source().ip()));
                    if self.is_parted && matches!(sender, Some(Owner::Nat(_))) {
                        return None;
                    }
                    let nat = &mut self.nats[id.0];
                    let inside = nat
                        .edge
                        .inbound(now, packet.transport(), packet.source(), to);
                    let Some(inside) = inside else {
                        nat.traffic.refused.add(packet);
                        return None;
                    };
                    nat.traffic.inn.add(packet);
                    packet.set_destination(inside);
                    realm = Realm::Behind(id);
                }
            }
        }
    }

    /// An address that nobody had before, in the range for benchmarks (RFC 2544) in place of the public ones. The same
    /// private addresses are behind all NATs of one depth, as in people's homes.
    fn assign(&mut self, realm: Realm, owner: Owner) -> Ipv4Addr {
        let given = self.given.entry(realm).or_insert(0);
        *given = given.checked_add(1).expect("few hosts");
        let given = *given;
        let address = match self.depth(realm) {
            // Each in a network of its own, as who knows nothing of the others.
            0 => Ipv4Addr::new(198, 18, given, 1),
            depth => Ipv4Addr::new(192, 168, depth, given),
        };
        self.owners.insert((realm, address), owner);
        address
    }

    /// How many NATs a network is behind.
    fn depth(&self, realm: Realm) -> u8 {
        match realm {
            Realm::Public => 0,
            Realm::Behind(nat) => self.depth(self.nats[nat.0].outer) + 1,
        }
    }
}

impl Amount {
    fn add(&mut self, packet: &Packet) {
        self.packets += 1;
        self.bytes += packet.bytes().len() as u64;
    }
}
