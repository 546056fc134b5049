//! What comes of attempts to reach somebody: everybody who waits for one is told.

use super::dials::{Ended, Goal, Won};
use super::{BACK_OFF_MAX, BACK_OFF_MIN, BackOff, Peers};
use crate::cx::{ConnectError, Cx, Outcome};
use crate::id::{LinkId, NodeKey};
use crate::io::CloseCode;
use crate::time::Time;
use crate::wish::Wish;

impl Peers {
    /// A link is there, and somebody may be at its other end.
    pub(crate) fn on_opened(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        self.dials.opened(link, cx.now.mono);
    }

    /// A session came up and ended at once, as another one with the peer is better.
    pub(crate) fn on_outdone(&mut self, cx: &mut Cx<'_>, link: LinkId, peer: NodeKey) {
        match self.dials.up(link) {
            Some(won) if cx.roster.is_callable(&peer) => self.won(cx, won, peer),
            won => self.refused(cx, won),
        }
    }

    pub(super) fn won(&mut self, cx: &mut Cx<'_>, won: Won, peer: NodeKey) {
        for other in won.others {
            cx.close(other, CloseCode::Duplicate);
        }
        for waiter in won.waiters {
            cx.outcome(waiter, Outcome::Reached(Ok(peer)));
        }
        if let Goal::Bootstrap(number) = won.goal {
            self.bootstrap_up(cx, number, peer);
        }
    }

    /// The peer was found, but must not be connected.
    pub(super) fn refused(&mut self, cx: &mut Cx<'_>, won: Option<Won>) {
        let Some(won) = won else {
            return;
        };
        for other in won.others {
            cx.close(other, CloseCode::Duplicate);
        }
        self.gave_up(
            cx,
            Ended {
                goal: won.goal,
                waiters: won.waiters,
                error: ConnectError::Refused,
            },
        );
    }

    /// No way to the goal is left.
    pub(super) fn gave_up(&mut self, cx: &mut Cx<'_>, ended: Ended) {
        for waiter in ended.waiters {
            cx.outcome(waiter, Outcome::Reached(Err(ended.error)));
        }
        match ended.goal {
            // Nothing was dialled, so nothing is known that was not before.
            Goal::Peer(peer) if ended.error == ConnectError::BackOff => {
                cx.unconnected(peer, ended.error);
            }
            Goal::Peer(peer) => {
                self.back_off(peer, true, cx.now.mono);
                cx.unconnected(peer, ended.error);
                cx.wish(Wish::Unreachable(peer));
            }
            Goal::Unasked(_) if ended.error == ConnectError::BackOff => {}
            Goal::Unasked(peer) => self.back_off(peer, false, cx.now.mono),
            Goal::Direct(peer) => self.not_met(cx, &peer),
            // There is a circuit still, or its end was seen to.
            Goal::Addr(_) | Goal::OtherRelay(_) => {}
            Goal::Bootstrap(number) => self.bootstrap_failed(cx, number),
        }
    }

    /// The peer is left alone for longer than the last time.
    fn back_off(&mut self, peer: NodeKey, over_relays: bool, now: Time) {
        let last = self.back_off.peek(&peer).map(|back_off| back_off.span);
        let span = last.map_or(BACK_OFF_MIN, |span| (span * 2).min(BACK_OFF_MAX));
        let back_off = BackOff {
            until: now + self.rng.jitter(span),
            span,
            over_relays,
        };
        self.back_off.insert(peer, back_off);
    }

    /// Forgets pauses that ended so long ago that the next one need not be longer.
    pub(super) fn forget_pauses(&mut self, now: Time) {
        let is_over = |back_off: &BackOff| back_off.until + BACK_OFF_MAX <= now;
        while self
            .back_off
            .oldest()
            .is_some_and(|(_, oldest)| is_over(oldest))
        {
            self.back_off.pop_oldest();
        }
    }

    /// Attempts to reach a peer that is here now are over.
    pub(super) fn moot(&mut self, cx: &mut Cx<'_>, goal: &Goal, peer: NodeKey) {
        let (waiters, links) = self.dials.moot(goal);
        for link in links {
            cx.close(link, CloseCode::Duplicate);
        }
        for waiter in waiters {
            cx.outcome(waiter, Outcome::Reached(Ok(peer)));
        }
    }
}
