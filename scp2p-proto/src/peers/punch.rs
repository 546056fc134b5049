//! From a circuit to a direct path: both ends dial each other at an agreed moment (SPECIFICATION §11.6).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::dials::{Goal, Way};
use super::{ANSWER_TIME, Peers, Tag, Timer};
use crate::cx::{CallError, Cx};
use crate::id::NodeKey;
use crate::io::Transport;
use crate::limits::{
    MEETINGS_MAX, PUNCH_BURST, PUNCH_ENDPOINTS_MAX, PUNCH_TRIES_MAX, PUNCH_WAIT_MAX,
    PUNCH_WITNESSES_MAX, PUNCHES_MAX, PUNCHES_PER_SECOND,
};
use crate::lru::Lru;
use crate::session::Ticket;
use crate::time::Time;
use crate::token_bucket::TokenBucket;
use crate::wire::{Answer, Endpoints, PeerAddr, Punch, Request};

/// How long after a try that led nowhere the next is made; twice as long each further time.
const AGAIN: Duration = Duration::from_secs(30);
/// After so long without a try they begin anew.
const FORGOTTEN: Duration = Duration::from_secs(1800);
/// How long peers have to tell where they see us: what they are sent first may have to show them where we are now.
const SEEN_TIME: Duration = Duration::from_secs(1);
/// How often they are asked before a try.
const SEEN_ASKS: u32 = 2;
/// How much earlier one end dials that dials first: it is through its router before anything of the other comes there.
const LEAD: Duration = Duration::from_millis(500);

/// Direct paths that are tried, and moments agreed for it.
pub(super) struct Punches {
    tries: Lru<NodeKey, Tries>,
    /// Other ends of circuits, to be dialled there when their timers run out.
    meetings: BTreeMap<NodeKey, Endpoints>,
    /// How many ends of circuits may have us dial where they say.
    rate: TokenBucket,
}

/// What was tried for one peer.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    made: u32,
    /// So often peers were asked where they see us, for the next one.
    asked: u32,
    last: Time,
}

/// Which end dials first. Some routers hold it against who comes to them too early, and then neither let it in nor send
/// from the port that others know; which of the two has such a one nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum First {
    Both,
    Asker,
    Asked,
}

impl First {
    fn of_try(number: u32) -> First {
        match number % 3 {
            0 => First::Both,
            1 => First::Asker,
            _ => First::Asked,
        }
    }

    /// How much later than at the agreed moment the asker and the asked dial.
    fn lags(self) -> (Duration, Duration) {
        match self {
            First::Both => (Duration::ZERO, Duration::ZERO),
            First::Asker => (Duration::ZERO, LEAD),
            First::Asked => (LEAD, Duration::ZERO),
        }
    }
}

impl Punches {
    pub(super) fn new(now: Time) -> Punches {
        Punches {
            tries: Lru::new(PUNCHES_MAX),
            meetings: BTreeMap::new(),
            rate: TokenBucket::new(PUNCH_BURST, PUNCHES_PER_SECOND, now),
        }
    }
}

impl Peers {
    /// A circuit that we opened is up: a better way is looked for, a few times while there is none.
    pub(super) fn punch_new(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let is_old = |tries: &Tries| cx.now.mono.since(tries.last) > FORGOTTEN;
        if self.punches.tries.peek(&peer).is_some_and(is_old) {
            self.punches.tries.remove(&peer);
        }
        self.punch(cx, peer);
    }

    /// The host is elsewhere, where what was in vain before may not be.
    pub(super) fn punch_anew(&mut self, cx: &Cx<'_>) {
        self.punches.tries = Lru::new(PUNCHES_MAX);
        for (peer, session) in cx.roster.iter() {
            if session.via.is_some() {
                let soon = cx.now.mono + self.rng.jitter(AGAIN);
                self.timers.set(Timer::Punch(*peer), soon);
            }
        }
    }

    /// There is a direct path, or no session at all.
    pub(super) fn punch_no_more(&mut self, peer: &NodeKey) {
        self.punches.meetings.remove(peer);
        self.timers.cancel(&Timer::Punch(*peer));
        self.timers.cancel(&Timer::Meet(*peer));
    }

    /// There is a direct path.
    pub(super) fn punched(&mut self, peer: &NodeKey) {
        self.punches.tries.remove(peer);
        self.punch_no_more(peer);
    }

    /// A try is due. First peers are asked where they see us now, if there was one before, then how far away the other
    /// end is.
    pub(super) fn punch(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let mut tries = self.punches.tries.peek(&peer).copied().unwrap_or_default();
        let is_over = tries.made >= PUNCH_TRIES_MAX;
        if is_over || !is_relayed(cx, &peer) || cx.config.quic_port.is_none() {
            return;
        }
        let now = cx.now.mono;
        if tries.made > 0 && tries.asked < SEEN_ASKS {
            tries.asked += 1;
            self.ask_where_seen(cx);
            self.timers.set(Timer::Punch(peer), now + SEEN_TIME);
        } else {
            let first = First::of_try(tries.made);
            let again = AGAIN * 2_u32.saturating_pow(tries.made);
            tries = Tries {
                made: tries.made + 1,
                asked: 0,
                last: now,
            };
            let again = now + self.rng.jitter(again);
            self.timers.set(Timer::Punch(peer), again);
            let tag = Tag::Sounded { since: now, first };
            cx.call(peer, Request::Ping, ANSWER_TIME, tag);
        }
        self.punches.tries.insert(peer, tries);
    }

    /// Some of those who see where our QUIC links go out from are asked where that is now: a router may have forgotten
    /// what it chose before, and tells nobody.
    fn ask_where_seen(&mut self, cx: &mut Cx<'_>) {
        let direct = cx.roster.iter().filter(|(_, it)| it.is_direct());
        let seeing = direct.filter(|(_, it)| !it.inbound && it.transport == Transport::Quic);
        let mut seeing: Vec<NodeKey> = seeing.map(|(peer, _)| *peer).collect();
        self.rng.choose(&mut seeing, PUNCH_WITNESSES_MAX);
        for peer in seeing {
            self.greet(cx, peer, ANSWER_TIME);
        }
    }

    /// The other end of a circuit has answered a ping. Half as long as that took, something is on its way to it: so it
    /// dials when its answer to what it is told now is here, which is when we do.
    pub(super) fn on_sounded(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeKey,
        round_trip: Duration,
        first: First,
    ) {
        self.rtts.insert(peer, round_trip);
        let endpoints = self.endpoints(cx);
        if endpoints.0.is_empty() || !is_relayed(cx, &peer) {
            return;
        }
        let (_, lag) = first.lags();
        let wait = (round_trip / 2 + lag).min(PUNCH_WAIT_MAX);
        let punch = Punch {
            endpoints,
            wait_ms: u16::try_from(wait.as_millis()).unwrap_or(u16::MAX),
        };
        let tag = Tag::Punched(first);
        cx.call(peer, Request::Punch(punch), ANSWER_TIME, tag);
    }

    /// The other end of a circuit dials us soon, and is to be dialled then.
    pub(crate) fn on_punch(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        punch: Punch,
    ) {
        let mut sessions = cx.roster.all(&from).iter();
        let is_circuit =
            sessions.any(|session| session.link == ticket.link() && session.via.is_some());
        if !is_circuit {
            return cx.refuse(ticket, "not over a circuit");
        }
        let own = self.endpoints(cx);
        cx.answer(ticket, Answer::Endpoints(own));
        let wait = Duration::from_millis(punch.wait_ms.into());
        self.meet(cx, from, punch.endpoints, wait.min(PUNCH_WAIT_MAX));
    }

    pub(super) fn on_punched(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeKey,
        first: First,
        answer: Result<Answer, CallError>,
    ) {
        if let Ok(Answer::Endpoints(theirs)) = answer {
            let (lag, _) = first.lags();
            self.meet(cx, peer, theirs, lag);
        }
    }

    /// Where our QUIC links are seen to go out from, and where they do on a network that both may be in.
    fn endpoints(&self, cx: &Cx<'_>) -> Endpoints {
        let own = cx.roster.own_addrs.iter();
        let quic = own.filter(|own| own.transport == Transport::Quic && own.relay_via.is_none());
        let seen = self.own.quic_endpoints(cx.config).into_iter();
        let places = seen.chain(quic.map(|own| (own.ip, own.port)));
        let mut endpoints = Endpoints::default();
        for (ip, port) in places {
            let place = crate::wire::Observed { ip, port };
            if endpoints.0.len() < PUNCH_ENDPOINTS_MAX && !endpoints.0.contains(&place) {
                endpoints.0.push(place);
            }
        }
        endpoints
    }

    /// The other end of a circuit is to be dialled so long from now.
    fn meet(&mut self, cx: &Cx<'_>, peer: NodeKey, theirs: Endpoints, wait: Duration) {
        let now = cx.now.mono;
        let is_new = !self.punches.meetings.contains_key(&peer);
        let is_full = is_new && self.punches.meetings.len() >= MEETINGS_MAX;
        if is_full || !is_relayed(cx, &peer) || !self.punches.rate.take(now, 1) {
            return;
        }
        self.punches.meetings.insert(peer, theirs);
        self.timers.set(Timer::Meet(peer), now + wait);
    }

    /// It is the moment that was agreed with the other end of a circuit.
    pub(super) fn dial_through(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let Some(endpoints) = self.punches.meetings.remove(&peer) else {
            return;
        };
        let goal = Goal::Direct(peer);
        let is_busy = self.dials.is_under_way(&goal) || self.is_full(cx);
        if cx.config.quic_port.is_none() || is_busy {
            return;
        }
        let addrs = endpoints.0.iter().map(|place| PeerAddr {
            ip: place.ip,
            port: place.port,
            transport: Transport::Quic,
            key: Some(peer),
            relay_via: None,
        });
        let ways: Vec<Way> = addrs
            .filter(|addr| self.is_place_to_try(cx, addr))
            .map(|addr| Way {
                // It was dialled in vain just before there was a circuit.
                is_vouched: true,
                ..Way::to_addr(&addr, Some(peer), true, &self.profiles)
            })
            .collect();
        if !ways.is_empty() {
            self.dials.begin(goal, ways, cx.now.mono);
        }
    }

    /// The other end of a circuit was not met: we may not be where we said.
    pub(super) fn not_met(&mut self, cx: &mut Cx<'_>, peer: &NodeKey) {
        if is_relayed(cx, peer) {
            self.ask_where_seen(cx);
        }
    }
}

fn is_relayed(cx: &Cx<'_>, peer: &NodeKey) -> bool {
    let session = cx.roster.session(peer);
    session.is_some_and(|it| it.via.is_some())
}

#[cfg(any(test, feature = "check"))]
impl Peers {
    pub(super) fn check_punches(
        &self,
        roster: &crate::session::Roster,
        broken: &mut crate::check::Broken,
    ) {
        self.punches.tries.check("direct paths tried", broken);
        let meetings = &self.punches.meetings;
        broken.at_most("agreed moments", meetings.len(), MEETINGS_MAX);
        for peer in meetings.keys() {
            broken.unless(self.timers.at(&Timer::Meet(*peer)).is_some(), || {
                alloc::format!("{peer} is to be dialled, and nothing says when")
            });
            broken.unless(roster.session(peer).is_some(), || {
                alloc::format!("{peer} is to be dialled for a circuit that is gone")
            });
        }
    }
}
