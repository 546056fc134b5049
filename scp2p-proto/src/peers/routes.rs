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
use crate::time::Time;
use crate::wire::{PeerAddr, RelayRoute};

impl Peers {
    /// All ways to a peer, the best first.
    pub(super) fn ways(&self, peer: NodeKey, record: &Record, now: Time) -> Vec<Way> {
        let known = record.dial_order().into_iter();
        let ways = known.filter_map(|known| match known.addr.circuit() {
            Some((relay, key)) => Some(Way::through(relay, key, peer)),
            None if known.addr.relay_via.is_some() => None,
            None => Some(Way {
                is_vouched: known.reached.is_some(),
                ..Way::to_addr(&known.addr, Some(peer), record.ours, &self.profiles)
            }),
        });
        let mut ways: Vec<Way> = ways.collect();
        let is_ailing = |relay| self.ailing.contains(relay, peer, now);
        ways.sort_by_key(|way| way.relay.is_some_and(is_ailing));
        ways
    }

    /// A session that was a circuit has ended, though neither end parted. It may be the relay that is gone, which the end
    /// that is not waiting for anything would not notice for long.
    pub(crate) fn circuit_down(
        &mut self,
        cx: &mut Cx<'_>,
        relay: NodeKey,
        peer: NodeKey,
        last: bool,
    ) {
        if last {
            self.ailing.note(relay, peer, cx.now.mono);
        }
        self.doubt(cx, relay);
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
}
