//! Keep-alives and time-outs.
//!
//! A link whose keep-alives or segments came through in both directions is left alone until something happens to one of its hosts: no edge
//! on its way forgets it sooner than the next of them, so they would only confirm each other. What they would have done
//! meanwhile is worked out then.

use std::time::Duration;

use scp2p_proto::io::Transport;
use scp2p_proto::time::Time;

use super::link::{Link, Pipe, Side, State};
use super::{Doing, Network};
use crate::id::HostId;

/// How much longer than the time between keep-alives bindings must last for a link to be left alone.
const MARGIN: Duration = Duration::from_secs(1);
/// How often a sleeping host's links are looked at.
const ASLEEP: Duration = Duration::from_secs(1);

impl Network {
    /// Something happened to the host: none of its links can be left alone.
    pub(super) fn watch_all(&mut self, now: Time, host: HostId) {
        for pipe in self.pipes_of(host) {
            self.watch(now, pipe);
        }
    }

    /// Does not leave the link alone any more.
    pub(super) fn watch(&mut self, now: Time, pipe: Pipe) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        for side in Side::BOTH {
            link.end_mut(side).works = false;
        }
        if link.watch.is_some()
            || !Side::BOTH
                .iter()
                .any(|side| link.end(*side).state == State::Up)
        {
            return;
        }
        link.catch_up(now);
        for (side, held) in Side::BOTH.into_iter().zip(std::mem::take(&mut link.held)) {
            for (edge, held) in held {
                self.realms.release(edge, held, link.end(side).sent);
            }
        }
        self.watch_from(now, pipe);
    }

    /// Looks after the link when something is due for one of its ends.
    pub(super) fn watch_from(&mut self, now: Time, pipe: Pipe) {
        let Some(link) = self.links.get(&pipe) else {
            return;
        };
        let next = Side::BOTH
            .into_iter()
            .map(|side| link.end(side))
            .filter(|end| end.state == State::Up)
            .map(|end| match self.is_paused(end.host) {
                true => now + ASLEEP,
                false => (end.sent + link.keep_alive()).min(end.heard + link.idle()),
            })
            .min();
        if let Some(next) = next.map(|next| next.max(now))
            && link.watch.is_none_or(|watch| next < watch)
        {
            self.at(next, Doing::Watch(pipe));
            if let Some(link) = self.links.get_mut(&pipe) {
                link.watch = Some(next);
            }
        }
    }

    pub(super) fn look_after(&mut self, now: Time, pipe: Pipe) {
        let is_current = |link: &Link| link.watch == Some(now);
        if !self.links.get(&pipe).is_some_and(is_current) {
            return;
        }
        for side in Side::BOTH {
            let Some(link) = self.links.get(&pipe) else {
                return;
            };
            let end = link.end(side);
            if end.state != State::Up || self.is_paused(end.host) {
                continue;
            }
            if end.heard + link.idle() <= now {
                self.lose(pipe, side);
            } else if end.sent + link.keep_alive() <= now {
                self.pulse(now, pipe, side);
            }
        }
        let calm = self.is_calm(now, pipe);
        if let Some(link) = self.links.get_mut(&pipe) {
            link.watch = None;
        }
        if calm {
            self.hold(pipe);
        } else {
            self.watch_from(now, pipe);
        }
    }

    /// A datagram without content goes from this end to the other. What it does is done at once; being sent again
    /// when it is lost, it is not subject to chance.
    pub(super) fn pulse(&mut self, now: Time, pipe: Pipe, side: Side) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let (transport, there) = (link.transport, side.other());
        let (late, idle) = (link.latency, link.idle());
        let peer = link.end(there).host;
        let end = link.end_mut(side);
        let (host, local, remote) = (end.host, end.local, end.remote);
        end.works = false;
        end.sent = now;
        if self.is_paused(host)
            || self.realms.address(host) != Some(*local.ip())
            || self.paths.is_blocked(host, peer)
        {
            return;
        }
        let way = self.realms.depart(now, transport, host, local, remote);
        let Some((datagram, (at, to))) = way
            .ok()
            .and_then(|way| Some((way, self.realms.arrive(now, way)?)))
        else {
            return;
        };
        if !self.answers(at) {
            return;
        }
        if !self.knows(now, pipe, there, at, to, &datagram) {
            if transport == Transport::Tcp {
                self.reset(now, at, [to, datagram.from], pipe, there);
            }
            return;
        }
        self.accept(now, pipe);
        let clogged = self.clogged(host).max(self.clogged(peer));
        if let Some(link) = self.links.get_mut(&pipe) {
            let end = link.end_mut(there);
            let heard = now.max(clogged) + late;
            if heard < end.heard + idle {
                end.heard = end.heard.max(heard);
            }
            link.end_mut(side).works = clogged <= now;
        }
    }

    fn is_calm(&self, now: Time, pipe: Pipe) -> bool {
        let Some(link) = self.links.get(&pipe) else {
            return false;
        };
        let lasts = link.keep_alive() + MARGIN;
        Side::BOTH.into_iter().all(|side| {
            let end = link.end(side);
            let peer = link.end(side.other()).host;
            end.state == State::Up
                && end.works
                && self.answers(end.host)
                && self.clogged(end.host) <= now
                && !self.paths.is_blocked(end.host, peer)
                && self
                    .realms
                    .expiry(end.host)
                    .is_none_or(|expiry| expiry > lasts)
        })
    }

    /// Leaves the link alone.
    fn hold(&mut self, pipe: Pipe) {
        if let Some(link) = self.links.get_mut(&pipe) {
            link.held = Side::BOTH.map(|side| {
                let end = link.end(side);
                self.realms
                    .hold(link.transport, end.host, end.local, end.remote)
            });
        }
    }
}

impl Link {
    /// Works out which keep-alives went while the link was left alone.
    fn catch_up(&mut self, now: Time) {
        let between = self.keep_alive();
        for side in Side::BOTH {
            let end = self.end_mut(side);
            let missed = now.since(end.sent).as_micros() / between.as_micros();
            end.sent = end.sent + between * u32::try_from(missed).unwrap_or(u32::MAX);
        }
        for side in Side::BOTH {
            let mut heard = self.end(side.other()).sent + self.latency;
            if heard > now {
                heard = heard - between;
            }
            let end = self.end_mut(side);
            end.heard = end.heard.max(heard);
        }
    }
}
