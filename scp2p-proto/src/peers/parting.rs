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

impl Peers {
    /// Looks for sessions to end, if there are more than are kept: those that were of no use for longest.
    pub(super) fn part_idle(&self, cx: &mut Cx<'_>) {
        let kept = cx.config.sessions_kept as usize;
        let most = cx.roster.len().saturating_sub(kept);
        if most == 0 {
            return;
        }
        let now = cx.now.mono;
        let may_end = |session: &Session| session.is_callable() && now.since(session.used) >= IDLE;
        let sessions = cx.roster.iter();
        let idle = sessions.filter(|(_, session)| may_end(session));
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

    /// The peer has no use for the session either.
    pub(super) fn may_part(&self, cx: &mut Cx<'_>, peer: NodeKey) {
        for session in cx.roster.all(&peer).to_vec() {
            cx.close(session.link, CloseCode::Idle);
        }
    }
}
