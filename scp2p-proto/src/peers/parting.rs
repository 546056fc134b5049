//! Sessions that are of no use any more end, so that a node in a large network is not connected to all of it
//! (SPECIFICATION §9.5).

use alloc::vec::Vec;
use core::time::Duration;

use super::{ANSWER_TIME, Peers, Tag};
use crate::cx::Cx;
use crate::id::NodeKey;
use crate::io::CloseCode;
use crate::wire::Request;
use crate::wish::Wish;

/// A session over which nothing but upkeep went for so long may end.
const IDLE: Duration = Duration::from_secs(60);
/// A circuit over which nothing but upkeep went for so long ends, however few sessions there are: others need the room that
/// it takes at its relay.
const IDLE_CIRCUIT: Duration = Duration::from_secs(300);
/// A peer that has a use for its session is not asked again for so long.
const ASK_AGAIN: Duration = Duration::from_secs(1800);

impl Peers {
    /// Looks for sessions to end: circuits, and others if there are more than are kept, those first that were of no use
    /// for longest.
    pub(super) fn part_idle(&self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let (mut circuits, mut idle) = (Vec::new(), Vec::new());
        for (peer, session) in cx.roster.iter().filter(|(_, it)| it.is_callable()) {
            let is_used = self.unparted.get(peer).is_some_and(|until| *until > now);
            match now.since(session.used) {
                _ if is_used => {}
                span if session.via.is_some() && span >= IDLE_CIRCUIT => {
                    circuits.push((session.used, *peer));
                }
                span if span >= IDLE => idle.push((session.used, *peer)),
                _ => {}
            }
        }
        let kept = cx.config.sessions_kept as usize;
        let too_many = cx.roster.len().saturating_sub(kept);
        if circuits.is_empty() && too_many == 0 {
            return;
        }
        let [circuits, idle] = [circuits, idle].map(|mut sessions| {
            sessions.sort_unstable();
            sessions.into_iter().map(|(_, peer)| peer).collect()
        });
        cx.wish(Wish::Part {
            circuits,
            idle,
            too_many,
        });
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
