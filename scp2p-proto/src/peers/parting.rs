//! Sessions that are of no use any more end, so that a node in a large network is not connected to all of it
//! (SPECIFICATION §9.5).

use alloc::vec::Vec;
use core::time::Duration;

use super::{ANSWER_TIME, Peers, Tag};
use crate::cx::Cx;
use crate::id::NodeKey;
use crate::io::CloseCode;
use crate::session::Session;
use crate::wire::Request;
use crate::wish::Wish;

/// A session over which nothing but upkeep went for so long may end.
const IDLE: Duration = Duration::from_secs(60);
/// A peer that has a use for its session is not asked again for so long.
const ASK_AGAIN: Duration = Duration::from_secs(1800);

impl Peers {
    /// Looks for sessions to end, if there are more than are kept: those that were of no use for longest.
    pub(super) fn part_idle(&self, cx: &mut Cx<'_>) {
        let kept = cx.config.sessions_kept as usize;
        let most = cx.roster.len().saturating_sub(kept);
        if most == 0 {
            return;
        }
        let now = cx.now.mono;
        let is_idle = |session: &Session| session.is_callable() && now.since(session.used) >= IDLE;
        let is_used = |peer| self.unparted.get(peer).is_some_and(|until| *until > now);
        let sessions = cx.roster.iter();
        let idle = sessions.filter(|(peer, session)| is_idle(session) && !is_used(peer));
        let mut idle: Vec<_> = idle.map(|(peer, session)| (session.used, *peer)).collect();
        idle.sort_unstable();
        let idle = idle.into_iter().map(|(_, peer)| peer).collect();
        cx.wish(Wish::Part { idle, most });
    }

    /// Whether the peer's session is kept although it is idle.
    pub(crate) fn needs(&self, peer: &NodeKey) -> bool {
        self.bootstraps.is_peer(peer)
    }

    /// Nobody here has a use for the session with this peer. It ends if the peer has none either; a deployed one, which
    /// dials anew for what it wants, is not asked.
    pub(crate) fn part(&self, cx: &mut Cx<'_>, peer: NodeKey) {
        if cx.roster.is_ours(&peer) {
            return cx.call(peer, Request::Part, ANSWER_TIME, Tag::Parting);
        }
        for session in cx.roster.all(&peer).to_vec() {
            if !session.inbound {
                cx.close(session.link, CloseCode::Done);
            }
        }
    }

    /// The peer has a use for the session.
    pub(super) fn may_not_part(&mut self, cx: &Cx<'_>, peer: NodeKey) {
        if cx.roster.session(&peer).is_some() {
            self.unparted.insert(peer, cx.now.mono + ASK_AGAIN);
        }
    }

    /// The peer has no use for the session either.
    pub(super) fn may_part(&self, cx: &mut Cx<'_>, peer: NodeKey) {
        for session in cx.roster.all(&peer).to_vec() {
            cx.close(session.link, CloseCode::Idle);
        }
    }
}
