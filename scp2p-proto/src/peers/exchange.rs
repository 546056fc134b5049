//! Peer exchange, greetings, pings: what keeps the book and the sessions fresh (SPECIFICATION §9).

use alloc::vec::Vec;
use core::time::Duration;

use super::book::Known;
use super::dials::Goal;
use super::{
    ANSWER_TIME, EXCHANGE_PAUSE_MAX, PING_AFTER, PING_AFTER_MAX, Peers, QUIET_ROUND, ROUND, Tag,
    Timer,
};
use crate::config::Config;
use crate::cx::Cx;
use crate::id::{LinkId, NodeKey};
use crate::io::{Dial, Host};
use crate::limits::{PEX_FRESH_SECS, PEX_SAMPLE_MAX, PROBES_MAX, SESSIONS_WANTED};
use crate::netgroup::{Scope, scope};
use crate::planted::{self, Bug};
use crate::session::{DialPlan, Purpose, Session, Ticket};
use crate::time::{Time, UnixTime};
use crate::wire::{Answer, PeerAddr, Profile, Request};

/// Peers dialled in one round only to know more of the network.
const DIALS_PER_ROUND: usize = 2;

impl Peers {
    pub(crate) fn on_pex_offer(
        &mut self,
        cx: &mut Cx<'_>,
        _from: NodeKey,
        ticket: Ticket,
        offered: Vec<PeerAddr>,
    ) {
        self.take_offer(cx, offered);
        cx.answer(ticket, Answer::Ack);
    }

    pub(crate) fn on_pex_request(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        max_peers: u8,
    ) {
        let most = usize::from(max_peers).min(PEX_SAMPLE_MAX);
        let sample = self.sample(cx, from, most);
        cx.answer(ticket, Answer::Peers(sample));
    }

    /// Finds out whether peers listen at addresses that have their keys, unless that is known.
    pub(crate) fn probe(&mut self, cx: &mut Cx<'_>, addrs: Vec<PeerAddr>) {
        for addr in addrs {
            if let Some(peer) = addr.key {
                self.probe_one(cx, peer, addr);
            }
        }
    }

    fn probe_one(&mut self, cx: &mut Cx<'_>, peer: NodeKey, addr: PeerAddr) {
        let since = UnixTime(cx.now.unix.0.saturating_sub(PEX_FRESH_SECS / 2));
        let fresh = self
            .book
            .peer(&peer)
            .is_some_and(|record| record.reached_since(since).any(|known| *known == addr));
        if fresh {
            return self.contact(cx, peer);
        }
        let under_way = self.probes.values().any(|(_, probed)| *probed == addr);
        if under_way || self.probes.len() >= PROBES_MAX {
            return;
        }
        self.dial_probe(cx, peer, addr);
    }

    /// Opens a link only to learn whether a peer is there.
    pub(super) fn dial_probe(&mut self, cx: &mut Cx<'_>, peer: NodeKey, addr: PeerAddr) -> LinkId {
        let link = self.dials.fresh_link();
        let dial = Dial {
            transport: addr.transport,
            host: Host::Ip(addr.ip),
            port: addr.port,
        };
        self.note_dial(&dial, cx.now.mono);
        self.probes.insert(link, (peer, addr));
        cx.dial(
            link,
            dial,
            DialPlan {
                profile: Profile::C,
                expected: Some(peer),
                purpose: Purpose::Probe,
            },
        );
        link
    }

    /// Notes what others say of third peers: places to try, not to hand on. True if one of them was not known.
    pub(crate) fn take_offer(&mut self, cx: &mut Cx<'_>, offered: Vec<PeerAddr>) -> bool {
        let own = cx.keys.public();
        let mut is_news = false;
        for addr in offered.into_iter().take(PEX_SAMPLE_MAX) {
            let Some(key) = addr.key.filter(|key| *key != own) else {
                continue;
            };
            if self.is_place_to_try(cx, &addr) {
                is_news |= self.book.heard_of(key, addr);
            }
        }
        is_news
    }

    /// Peers that we asked for. While nobody of them is new, others are asked ever more rarely.
    pub(super) fn on_exchanged(&mut self, cx: &mut Cx<'_>, peers: Vec<PeerAddr>) {
        let longer = (self.exchange_pause * 2).clamp(QUIET_ROUND, EXCHANGE_PAUSE_MAX);
        let is_news = self.take_offer(cx, peers);
        self.exchange_pause = if is_news { Duration::ZERO } else { longer };
    }

    /// Whether an address that somebody names may be dialled.
    pub(super) fn is_place_to_try(&self, cx: &Cx<'_>, addr: &PeerAddr) -> bool {
        let place = addr.circuit().map_or(addr, |(relay, _)| relay);
        place.is_dialable()
            && is_plausible(&cx.roster.own_addrs, place)
            && !self.own.is_listening_at(cx.config, place)
    }

    /// Looks after the connections: pings the silent, exchanges peers, finds new ones.
    pub(super) fn round(&mut self, cx: &mut Cx<'_>) {
        let sessions = cx.roster.iter();
        let callable = sessions.filter(|(_, session)| session.is_callable());
        let connected: Vec<(NodeKey, bool)> = callable
            .map(|(peer, session)| {
                (
                    *peer,
                    session.level.is_some() && is_to_ping(session, cx.now.mono),
                )
            })
            .collect();
        let is_enough = connected.len() >= wanted(cx.config);
        let next = self.rng.jitter(if is_enough { QUIET_ROUND } else { ROUND });
        if !planted::has(cx.config, Bug::RoundForgotten) {
            self.timers.set(Timer::Round, cx.now.mono + next);
        }
        self.forget_pauses(cx.now.mono);
        self.own.forget_votes(cx.now.mono, cx.roster);
        self.show_own_addrs(cx);
        self.tell_clock(cx);
        for (peer, _) in connected.iter().filter(|(_, is_to_ping)| *is_to_ping) {
            cx.call(*peer, Request::Ping, ANSWER_TIME, Tag::Pinged(cx.now.mono));
        }
        if !is_enough {
            self.find_more(cx);
        }
        let is_paused = is_enough && cx.now.mono.since(self.exchanged) < self.exchange_pause;
        if !is_paused {
            self.exchanged = cx.now.mono;
            self.exchange(cx, &connected);
        }
        self.part_idle(cx);
    }

    /// A session ended: new ones are looked for soon, if few are left.
    pub(super) fn round_soon(&mut self, cx: &Cx<'_>) {
        let soon = cx.now.mono + self.rng.jitter(ROUND);
        let is_late = |at: Time| at > soon;
        if cx.roster.len() < wanted(cx.config) && self.timers.at(&Timer::Round).is_some_and(is_late)
        {
            self.timers.set(Timer::Round, soon);
        }
    }

    /// Asks one of these at random for peers, and offers some to one.
    fn exchange(&mut self, cx: &mut Cx<'_>, connected: &[(NodeKey, bool)]) {
        if let Some((peer, _)) = self.rng.pick(connected) {
            let request = Request::PexRequest {
                max_peers: PEX_SAMPLE_MAX as u8,
            };
            cx.call(*peer, request, ANSWER_TIME, Tag::Exchanged);
        }
        if let Some((peer, _)) = self.rng.pick(connected) {
            let mut offer = cx.roster.own_addrs.clone();
            offer.extend(self.sample(cx, *peer, PEX_SAMPLE_MAX / 4));
            cx.call(*peer, Request::PexOffer(offer), ANSWER_TIME, Tag::Offered);
        }
    }

    /// Dials peers to know more of the network. Relays have room for those who want something of each other.
    fn find_more(&mut self, cx: &mut Cx<'_>) {
        let is_route = |known: &Known| known.addr.relay_via.is_some();
        let mut candidates: Vec<(NodeKey, bool)> = self
            .book
            .iter()
            .filter(|(key, record)| {
                !record.addrs.iter().all(is_route) && !cx.roster.is_callable(key)
            })
            .map(|(key, record)| (*key, record.addrs.iter().any(is_route)))
            .collect();
        self.rng.shuffle(&mut candidates);
        for (peer, has_routes) in candidates.into_iter().take(DIALS_PER_ROUND) {
            let goal = Goal::Unasked(peer);
            if !has_routes {
                self.connect(cx, peer);
            } else if !self.dials.is_under_way(&goal) {
                // Whoever asks for it in the meantime is not kept from its relays.
                let _busy_or_resting = self.begin(cx, &goal, peer);
            }
        }
    }

    /// Peers that were reached lately, for others: those whose keys follow a random one, as keys are random.
    fn sample(&mut self, cx: &Cx<'_>, but: NodeKey, most: usize) -> Vec<PeerAddr> {
        let since = UnixTime(cx.now.unix.0.saturating_sub(PEX_FRESH_SECS));
        let mut from = NodeKey([0; 32]);
        self.rng.fill(&mut from.0);
        let others = self.book.from(from).filter(|(key, _)| **key != but);
        let addrs = others.flat_map(|(_, record)| record.reached_since(since));
        addrs.take(most).cloned().collect()
    }
}

/// The longer a session has stood, the longer it will, so the more rarely it is pinged.
fn is_to_ping(session: &Session, now: Time) -> bool {
    let age = now.since(session.since);
    now.since(session.heard) > (age / 4).clamp(PING_AFTER, PING_AFTER_MAX)
}

/// Below so many sessions more are looked for.
fn wanted(config: &Config) -> usize {
    SESSIONS_WANTED.min(config.sessions_kept as usize)
}

/// Nobody from outside may send us to loopback, or to a private network that we are not in ourselves.
fn is_plausible(own: &[PeerAddr], addr: &PeerAddr) -> bool {
    let of = scope(&addr.ip);
    of == Scope::World || own.iter().any(|own| scope(&own.ip) == of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Transport;

    fn addr(ip: &str) -> PeerAddr {
        PeerAddr {
            ip: ip.parse().expect(ip),
            port: 7000,
            transport: Transport::Quic,
            key: None,
            relay_via: None,
        }
    }

    /// However it is written: an IPv4 address within an IPv6 one is dialled as what it is.
    #[test]
    fn only_who_is_there_is_sent_to_loopback_or_a_private_network() {
        let outside = [addr("5.5.5.5"), addr("2001:db8::1")];
        let (host, site) = ([addr("127.0.0.1")], [addr("10.0.0.9")]);
        for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(!is_plausible(&outside, &addr(ip)) && !is_plausible(&site, &addr(ip)));
            assert!(is_plausible(&host, &addr(ip)), "{ip}");
        }
        for ip in ["192.168.0.1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(!is_plausible(&outside, &addr(ip)) && !is_plausible(&host, &addr(ip)));
            assert!(is_plausible(&site, &addr(ip)), "{ip}");
        }
        assert!(is_plausible(&outside, &addr("6.6.6.6")) && is_plausible(&[], &addr("6.6.6.6")));
    }
}
