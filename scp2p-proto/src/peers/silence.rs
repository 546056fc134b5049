//! Peers of which nothing is heard: who owes something, and all when the host moved or was asleep (SPECIFICATION §9.4).

use alloc::vec::Vec;
use core::time::Duration;

use super::{Peers, Tag, Timer};
use crate::cx::Cx;
use crate::id::NodeKey;
use crate::io::{CloseCode, HostEvent};
use crate::limits::BOOK_PEERS_MAX;
use crate::lru::Lru;
use crate::wire::Request;
use crate::wish::Conduct;

/// A session that was silent for so long is closed when a call over it is not answered in time.
const SILENT: Duration = Duration::from_secs(15);
/// A peer that owes something and is silent has so long to answer a ping, and is asked so again after the other.
const DOUBT_TIME: Duration = Duration::from_secs(2);
const DOUBT_PAUSE: Duration = Duration::from_secs(10);
/// A session that is silent for so long after the host moved or was asleep is closed.
const STILL_THERE_TIME: Duration = Duration::from_secs(3);
/// A peer sees where somebody has moved to only when that was proved, so it is asked again for it after so long.
const GREET_AGAIN: Duration = Duration::from_secs(5);

impl Peers {
    /// A call to a connected peer was not answered in time.
    pub(crate) fn on_timeout(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.book.judge(peer, Conduct::Slow, cx.now.unix);
        for session in cx.roster.all(&peer).to_vec() {
            let is_silent = cx.now.mono.since(session.heard) > SILENT;
            let doubted = self.doubted.get(&peer).copied();
            let is_gone = doubted.is_some_and(|since| {
                session.heard < since && cx.now.mono.since(since) >= DOUBT_TIME
            });
            if is_silent || is_gone || session.heard < self.unsettled {
                cx.close(session.link, CloseCode::Done);
            }
        }
    }

    /// A connected peer owes something and is silent. It may be gone, and its transport notice that much later; or it is the
    /// relay that is, so another is tried meanwhile.
    pub(crate) fn doubt(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let now = cx.now.mono;
        let Some(session) = cx.roster.session(&peer).filter(|it| it.level.is_some()) else {
            return;
        };
        // What was found out about another session says nothing of this one.
        let last = self
            .doubted
            .get(&peer)
            .filter(|last| **last >= session.since);
        if last.is_some_and(|last| now.since(*last) < DOUBT_PAUSE) {
            return;
        }
        self.doubted.insert(peer, now);
        cx.call(peer, Request::Ping, DOUBT_TIME, Tag::Pinged(now));
        self.find_way_around(cx, peer);
    }

    pub(crate) fn on_host(&mut self, cx: &mut Cx<'_>, event: HostEvent) {
        match event {
            HostEvent::Addresses(ips) => {
                if self.own.set_interfaces(ips) {
                    self.forget_reach(cx);
                    self.unsettle(cx);
                }
                self.show_own_addrs(cx);
            }
            HostEvent::Resumed => {
                self.unsettle(cx);
                for number in self.bootstraps.unconnected() {
                    self.timers.set(Timer::Bootstrap(number), cx.now.mono);
                }
            }
        }
    }

    /// The host is elsewhere, or was away: who is still there is found out, and told where we are. Who could not be
    /// reached may be now.
    fn unsettle(&mut self, cx: &mut Cx<'_>) {
        self.unsettled = cx.now.mono;
        self.back_off = Lru::new(BOOK_PEERS_MAX);
        self.punch_anew(cx);
        self.greet_all(cx, STILL_THERE_TIME);
        self.timers.set(Timer::Greet, cx.now.mono + GREET_AGAIN);
    }

    pub(super) fn greet_all(&self, cx: &mut Cx<'_>, within: Duration) {
        let direct = cx.roster.iter().filter(|(_, session)| session.is_direct());
        let direct: Vec<NodeKey> = direct.map(|(peer, _)| *peer).collect();
        for peer in direct {
            self.greet(cx, peer, within);
        }
    }
}
