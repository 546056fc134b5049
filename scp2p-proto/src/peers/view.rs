//! What is shown of peers.

use alloc::vec::Vec;

use super::Peers;
use super::book::Record;
use crate::id::NodeKey;
use crate::session::{Roster, Session};
use crate::time::Now;
use crate::view::{PeerView, SessionView, Stats, Status};

impl Peers {
    pub(crate) fn fill_status(&self, status: &mut Status, roster: &Roster, now: Now) {
        status.known = self.book.len() as u32;
        status.attempts = self.attempts_to_dial(now.mono).collect();
        status.observed = self.own.observed_views(roster);
        status.clock = self.clocks.doubt(roster, now);
    }

    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        stats.dials_failed = self.dials_failed;
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = NodeKey> {
        self.book.iter().map(|(key, _)| *key)
    }

    pub(crate) fn views(&self, roster: &Roster) -> Vec<PeerView> {
        let mut views: Vec<PeerView> = self
            .book
            .iter()
            .map(|(key, record)| self.view(*key, record, roster))
            .chain(roster.tunnels().map(|(name, session)| PeerView {
                key: *name,
                session: Some(self.session_view(name, session)),
                addresses: Vec::new(),
                last_seen: None,
                score: 0,
                ours: false,
            }))
            .collect();
        views.sort_by_key(|view| {
            (
                view.session.is_none(),
                core::cmp::Reverse(view.last_seen),
                view.key,
            )
        });
        views
    }

    fn view(&self, key: NodeKey, record: &Record, roster: &Roster) -> PeerView {
        let session = roster.session(&key);
        let session = session.map(|session| self.session_view(&key, session));
        let tunnel = roster.all(&key).iter().find_map(|session| session.tunnel);
        let known = record.addrs.iter();
        let addresses = known.filter(|known| known.reached.is_some());
        PeerView {
            key,
            session: session.map(|session| SessionView { tunnel, ..session }),
            addresses: addresses.map(|known| known.addr.clone()).collect(),
            last_seen: record.last_seen,
            score: record.score,
            ours: record.ours,
        }
    }

    fn session_view(&self, key: &NodeKey, session: &Session) -> SessionView {
        SessionView {
            transport: session.transport,
            remote: session.remote,
            via: session.via,
            inbound: session.inbound,
            profile: session.profile,
            bound: session.level.is_some(),
            tunnel: session.tunnel,
            rtt: self.rtts.get(key).copied(),
            received: session.received,
            sent: session.sent,
        }
    }
}
