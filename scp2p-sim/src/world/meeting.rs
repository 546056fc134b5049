//! Between which hosts there must be a way in the end, directly or through a relay.

use std::collections::BTreeMap;
use std::net::IpAddr;

use scp2p_proto::config::RelayLimits;
use scp2p_proto::id::NodeKey;
use scp2p_proto::view::CircuitView;

use super::World;
use super::host::Host;
use crate::id::HostId;

impl World<'_> {
    /// Whether a core host has a way to another: it can dial it, or a relay leads there.
    pub(super) fn can_meet(&self, host: HostId, other: HostId) -> bool {
        let mut relays = self
            .core()
            .filter(|relay| *relay != host && *relay != other);
        self.network.can_dial(host, other) || relays.any(|relay| self.leads(relay, host, other))
    }

    /// Whether a relay leads from one host to another: both start from it and can dial it, it takes content, and there is
    /// room for the place and the circuit, as relays refuse what is over their limits.
    fn leads(&self, relay: HostId, opener: HostId, target: HostId) -> bool {
        let at = &self.hosts[relay.index()];
        let Some(limits) = at.config().relay.filter(|limits| limits.content) else {
            return false;
        };
        let finds = |host: HostId| {
            let bootstrap = &self.hosts[host.index()].spec.bootstrap;
            bootstrap.contains(&at.spec.name) && self.network.can_dial(host, relay)
        };
        let [opener_key, target_key] =
            [opener, target].map(|host| self.hosts[host.index()].keys.public());
        finds(opener)
            && finds(target)
            && Room::of(at, limits).is_some_and(|room| {
                room.for_place(&target_key) && room.for_circuit(&opener_key, &target_key)
            })
    }
}

/// What a relay may give more.
struct Room {
    limits: RelayLimits,
    /// Where those are that are connected to it themselves.
    ips: BTreeMap<NodeKey, IpAddr>,
    places: Vec<(NodeKey, IpAddr)>,
    circuits: Vec<CircuitView>,
}

impl Room {
    /// None if no node runs there.
    fn of(relay: &Host, limits: RelayLimits) -> Option<Room> {
        let node = relay.node().filter(|_| relay.is_up())?;
        let view = node.relay();
        let direct = node.peers().into_iter().filter_map(|peer| {
            let session = peer.session.filter(|session| session.via.is_none())?;
            Some((peer.key, session.remote.ip()))
        });
        let places = view.places.iter().map(|place| (place.peer, place.ip));
        Some(Room {
            limits,
            ips: direct.collect(),
            places: places.collect(),
            circuits: view.circuits,
        })
    }

    fn for_place(&self, target: &NodeKey) -> bool {
        let ip = self.ips.get(target);
        let near = self.places.iter().filter(|(_, of)| Some(of) == ip).count() as u32;
        self.places.iter().any(|(peer, _)| peer == target)
            || (self.places.len() as u32) < self.limits.reservations_max
                && near < self.limits.reservations_per_ip_max
    }

    /// Simulated hosts at different addresses are in different networks.
    fn for_circuit(&self, opener: &NodeKey, target: &NodeKey) -> bool {
        let count = |which: &dyn Fn(&CircuitView) -> bool| {
            self.circuits.iter().filter(|it| which(it)).count() as u32
        };
        let of = |key: &NodeKey| count(&|it| it.opener == *key || it.target == *key);
        let is_near = |it: &CircuitView| self.ips.get(&it.opener) == self.ips.get(opener);
        let limits = &self.limits;
        let per_client = limits.circuits_per_client_max;
        count(&|it| it.opener == *opener && it.target == *target) > 0
            || count(&|_| true) < limits.circuits_max
                && of(opener) < per_client
                && of(target) < per_client
                && count(&|it| it.target == *target && is_near(it)) < per_client.div_ceil(2)
                && count(&is_near) < limits.circuits_per_ip_max
    }
}
