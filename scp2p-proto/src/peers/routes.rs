//! The ways to others, and our own through relays.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Peers;
use super::book::Record;
use super::dials::Way;
use crate::cx::Cx;
use crate::id::{LinkId, NodeKey};
use crate::io::{Dial, Host};
use crate::session::{DialPlan, Purpose};
use crate::wire::{CIRCUIT_SLOT, PeerAddr, RelayRoute};

/// Relays that are dialled at a time because more are wanted.
const RELAYS_AT_ONCE: usize = 2;

impl Peers {
    /// All ways to a peer, the best first.
    pub(super) fn ways(&self, peer: NodeKey, record: &Record) -> Vec<Way> {
        let known = record.dial_order().into_iter();
        known
            .filter_map(|known| match known.addr.circuit() {
                Some((relay, key)) => Some(Way::through(relay, key, peer)),
                None if known.addr.relay_via.is_some() => None,
                None => Some(Way {
                    is_vouched: known.reached.is_some(),
                    ..Way::to_addr(&known.addr, Some(peer), record.ours, &self.profiles)
                }),
            })
            .collect()
    }

    /// Others find us at these relays, where we have reached them.
    pub(crate) fn set_routes(&mut self, cx: &mut Cx<'_>, relays: Vec<NodeKey>) {
        let own = cx.keys.public();
        let records = relays.iter().filter_map(|relay| self.book.peer(relay));
        let at = records.filter_map(|record| {
            let known = record.dial_order();
            let reached = known.into_iter().find(|known| known.reached.is_some());
            reached.map(|known| known.addr.clone())
        });
        let routes = at.map(|relay| PeerAddr {
            key: Some(own),
            relay_via: Some(Box::new(RelayRoute {
                relay: relay.clone(),
                slot: CIRCUIT_SLOT,
            })),
            ..relay
        });
        self.own.set_routes(routes.collect());
        self.show_own_addrs(cx);
    }

    /// Opens another link to a deployed bootstrap peer, for a tunnel of ours.
    pub(crate) fn dial_tunnel(&mut self, cx: &mut Cx<'_>, but: &[NodeKey]) {
        let is_relay = |peer: &NodeKey| self.bootstraps.is_peer(peer) && !but.contains(peer);
        let relays: Vec<NodeKey> = cx.roster.deployed().filter(is_relay).collect();
        let relay = self.rng.pick(&relays).copied();
        let session = relay.and_then(|relay| Some((relay, cx.roster.session(&relay)?)));
        let Some((relay, session)) = session.filter(|_| self.tunnels.is_empty()) else {
            return;
        };
        let link = self.dials.fresh_link();
        let dial = Dial {
            transport: session.transport,
            host: Host::Ip(session.remote.ip()),
            port: session.remote.port(),
        };
        let plan = DialPlan {
            profile: session.profile,
            expected: Some(relay),
            purpose: Purpose::Tunnel,
        };
        self.note_dial(&dial, cx.now.mono);
        self.tunnels.insert(link);
        cx.dial(link, dial, plan);
    }

    /// A link for a tunnel of ours is there.
    pub(crate) fn on_tunnel_up(&mut self, link: LinkId) {
        self.tunnels.remove(&link);
    }

    /// Deployed peers ask us through a slot.
    pub(crate) fn set_tunnel(&mut self, cx: &mut Cx<'_>, route: Option<Box<RelayRoute>>) {
        let own = cx.keys.public();
        self.own.set_tunnel(route.map(|route| PeerAddr {
            key: Some(own),
            relay_via: Some(route.clone()),
            ..route.relay
        }));
        self.show_own_addrs(cx);
    }

    /// Sees to sessions with relays that are known and not connected.
    pub(crate) fn connect_relays(&mut self, cx: &mut Cx<'_>) {
        let known = self.book.iter();
        let relays = known.filter(|(key, record)| record.relay && !cx.roster.is_callable(key));
        let mut relays: Vec<NodeKey> = relays.map(|(key, _)| *key).collect();
        self.rng.shuffle(&mut relays);
        for relay in relays.into_iter().take(RELAYS_AT_ONCE) {
            self.connect(cx, relay);
        }
    }
}
