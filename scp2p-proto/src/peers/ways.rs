//! The ways to a peer, and which of them to try last.

use alloc::vec::Vec;

use super::Peers;
use super::book::Record;
use super::dials::{Goal, Way};
use crate::cx::Cx;
use crate::id::NodeKey;
use crate::time::Time;

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

    /// Content is wanted of a peer, and the relay that carries its session takes none. Others are tried, each of them
    /// once in a while.
    pub(crate) fn find_content_path(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let mut ways = self.ways_around(cx, peer);
        let is_ailing = |relay| self.ailing.contains(relay, peer, cx.now.mono);
        ways.retain(|way| way.relay.is_some_and(|relay| !is_ailing(relay)));
        self.go_around(cx, peer, ways);
    }

    /// A peer owes something and is silent, which may be the fault of the relay that carries its session.
    pub(super) fn find_way_around(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let ways = self.ways_around(cx, peer);
        self.go_around(cx, peer, ways);
    }

    /// The ways to a peer through other relays than the one that carries its session, which is tried last from now on.
    fn ways_around(&mut self, cx: &Cx<'_>, peer: NodeKey) -> Vec<Way> {
        let now = cx.now.mono;
        let Some(relay) = cx.roster.session(&peer).and_then(|session| session.via) else {
            return Vec::new();
        };
        self.ailing.note(relay, peer, now);
        let Some(record) = self.book.peer(&peer) else {
            return Vec::new();
        };
        let mut ways = self.ways(peer, record, now);
        ways.retain(|way| way.relay.is_some_and(|other| other != relay));
        ways
    }

    fn go_around(&mut self, cx: &mut Cx<'_>, peer: NodeKey, ways: Vec<Way>) {
        let goal = Goal::OtherRelay(peer);
        if !ways.is_empty() && !self.dials.is_under_way(&goal) && !self.is_full(cx) {
            self.dials.begin(goal, ways, cx.now.mono);
        }
    }
}
