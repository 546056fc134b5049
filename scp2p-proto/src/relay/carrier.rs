//! This node as a relay: who has a place here, and who may be connected.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;
use core::time::Duration;

use super::passages::PassageId;
use super::pipes::{At, Pipes};
use super::{CLOSING, INCOMING_TIME, Tag};
use crate::config::RelayLimits;
use crate::cx::{CallError, Cx};
use crate::id::{CircuitId, LinkId, NodeKey};
use crate::io::CloseCode;
use crate::limits::{
    RELAY_ACCOUNTS_MAX, RELAY_ASKS_BURST, RELAY_ASKS_PER_SECOND, RESERVATIONS_MAX,
};
use crate::lru::Lru;
use crate::netgroup::{Netgroup, subscriber};
use crate::session::Ticket;
use crate::time::Time;
use crate::token_bucket::TokenBucket;
use crate::view::PlaceView;
use crate::wire::{Answer, CircuitEnd, CircuitFrame, NewCircuit, Request, Reservation};

/// How long a place is kept for who does not ask again.
const LEASE: Duration = Duration::from_secs(600);
/// How often circuits and places are looked through for those that are over.
const SWEEP: Duration = Duration::from_secs(30);

pub(super) struct Carrier {
    places: BTreeMap<NodeKey, Place>,
    /// Who waits for the other end to take a circuit.
    waiting: BTreeMap<PassageId, Waiting>,
    circuits: u32,
    /// How often those at an address may ask, whatever keys they have.
    asks: Lru<IpAddr, TokenBucket>,
    sweep: Option<Time>,
}

/// Somebody who can be asked for here.
struct Place {
    link: LinkId,
    /// Where it is, as [`subscriber`] tells it.
    ip: IpAddr,
    since: Time,
    until: Time,
}

struct Waiting {
    ticket: Ticket,
    /// The circuit at the other end.
    circuit: CircuitId,
    /// Whether the limits of now refuse it; the other end has yet to answer.
    is_refused: bool,
}

impl Default for Carrier {
    fn default() -> Carrier {
        Carrier {
            places: BTreeMap::new(),
            waiting: BTreeMap::new(),
            circuits: 0,
            asks: Lru::new(RELAY_ACCOUNTS_MAX),
            sweep: None,
        }
    }
}

impl Carrier {
    pub(super) fn has_place(&self, peer: &NodeKey) -> bool {
        self.places.contains_key(peer)
    }

    pub(super) fn on_reserve(
        &mut self,
        cx: &mut Cx<'_>,
        pipes: &mut Pipes,
        from: NodeKey,
        ticket: Ticket,
    ) {
        match self.reserve(cx, from, ticket.link()) {
            Ok(reservation) => cx.answer(ticket, Answer::Reserved(reservation)),
            Err(reason) => {
                pipes.passages.refused();
                cx.refuse(ticket, reason);
            }
        }
    }

    fn reserve(
        &mut self,
        cx: &Cx<'_>,
        from: NodeKey,
        link: LinkId,
    ) -> Result<Reservation, &'static str> {
        let limits = cx.config.relay.as_ref().ok_or("not a relay")?;
        let session = cx.roster.direct(&from, link);
        let session = session.ok_or("a place is given over a direct session only")?;
        let ip = subscriber(session.remote.ip());
        self.count_ask(ip, cx.now.mono)?;
        let before = self.places.get(&from).map(|place| place.since);
        if limits.closing && before.is_none() {
            return Err(CLOSING);
        }
        if !limits.allows(&from) {
            return Err("not on the relay's list");
        }
        if !self.has_room(limits, &from, ip) {
            return Err("rate limit: too many reservations");
        }
        let place = Place {
            link,
            ip,
            since: before.unwrap_or(cx.now.mono),
            until: cx.now.mono + LEASE,
        };
        self.places.insert(from, place);
        self.sweep.get_or_insert(cx.now.mono + SWEEP);
        Ok(Reservation {
            lease_secs: LEASE.as_secs() as u32,
            circuits_max: u16::try_from(limits.circuits_per_client_max).unwrap_or(u16::MAX),
            content: limits.content,
        })
    }

    fn has_room(&self, limits: &RelayLimits, from: &NodeKey, ip: IpAddr) -> bool {
        let others = || self.places.iter().filter(|(peer, _)| *peer != from);
        let most = RESERVATIONS_MAX.min(limits.reservations_max as usize);
        let at_ip = others().filter(|(_, place)| place.ip == ip).count();
        let network = Netgroup::of(ip);
        let in_network = others().filter(|(_, place)| Netgroup::of(place.ip) == network);
        others().count() < most
            && at_ip < limits.reservations_per_ip_max as usize
            && in_network.count() < limits.reservations_per_network_max as usize
    }

    /// Who has a place is elsewhere, and keeps it if those there may have one more.
    pub(super) fn on_moved(&mut self, cx: &mut Cx<'_>, link: LinkId, peer: NodeKey, ip: IpAddr) {
        let limits = cx.config.relay.as_ref();
        let has_room = limits.is_some_and(|limits| self.has_room(limits, &peer, ip));
        let place = self.places.get_mut(&peer);
        let Some(place) = place.filter(|place| place.link == link && place.ip != ip) else {
            return;
        };
        place.ip = ip;
        if !has_room {
            self.places.remove(&peer);
        }
    }

    /// The limits are others: what they would refuse ends, the newest first.
    pub(super) fn on_limits(&mut self, cx: &mut Cx<'_>, pipes: &mut Pipes) {
        let Some(limits) = &cx.config.relay else {
            return;
        };
        let refused = pipes.passages.refused_by(limits);
        for (passage, waiting) in &mut self.waiting {
            waiting.is_refused |= refused.contains(passage);
        }
        pipes.end_those(cx, |_, passage| refused.contains(&passage));
        let mut before: Vec<_> = mem::take(&mut self.places).into_iter().collect();
        before.sort_by_key(|(_, place)| place.since);
        for (peer, place) in before {
            if limits.allows(&peer) && self.has_room(limits, &peer, place.ip) {
                self.places.insert(peer, place);
            } else {
                // Who has a place has it as long as there is a session.
                for session in cx.roster.all(&peer).iter().filter(|it| it.is_direct()) {
                    cx.close(session.link, CloseCode::Done);
                }
            }
        }
    }

    /// Whoever asks too often is refused before it costs more.
    fn count_ask(&mut self, ip: IpAddr, now: Time) -> Result<(), &'static str> {
        let full = TokenBucket::new(RELAY_ASKS_BURST, RELAY_ASKS_PER_SECOND, now);
        let mut bucket = self.asks.peek(&ip).copied().unwrap_or(full);
        let may = bucket.take(now, 1);
        self.asks.insert(ip, bucket);
        match may {
            true => Ok(()),
            false => Err("rate limit: asked too often from this address"),
        }
    }

    pub(super) fn on_connect(
        &mut self,
        cx: &mut Cx<'_>,
        pipes: &mut Pipes,
        from: NodeKey,
        ticket: Ticket,
        target: NodeKey,
    ) {
        match self.admit(cx, pipes, from, ticket.link(), target) {
            Ok(passage) => {
                let new = self.fresh_circuit(cx, pipes, target, passage);
                let waiting = Waiting {
                    ticket,
                    circuit: new.circuit,
                    is_refused: false,
                };
                self.waiting.insert(passage, waiting);
                let tag = Tag::Incoming(passage);
                cx.call(target, Request::Incoming(new), INCOMING_TIME, tag);
            }
            Err(reason) => {
                pipes.passages.refused();
                cx.refuse(ticket, reason);
            }
        }
    }

    fn admit(
        &mut self,
        cx: &Cx<'_>,
        pipes: &mut Pipes,
        from: NodeKey,
        link: LinkId,
        target: NodeKey,
    ) -> Result<PassageId, &'static str> {
        let limits = cx.config.relay.as_ref().ok_or("not a relay")?;
        let session = cx.roster.direct(&from, link);
        let session = session.ok_or("circuits are opened over a direct session only")?;
        let ip = session.remote.ip();
        self.count_ask(subscriber(ip), cx.now.mono)?;
        if limits.closing {
            return Err(CLOSING);
        }
        if target == from || !self.places.contains_key(&target) {
            return Err("no reservation");
        }
        pipes.passages.begin(limits, from, target, ip, cx.now.mono)
    }

    /// The other end has taken a circuit over the session of the link `over`, or has not.
    pub(super) fn on_taken(
        &mut self,
        cx: &mut Cx<'_>,
        pipes: &mut Pipes,
        passage: PassageId,
        over: LinkId,
        answer: Result<Answer, CallError>,
    ) {
        let Some(waiting) = self.waiting.remove(&passage) else {
            return;
        };
        if answer != Ok(Answer::Ack) {
            pipes.passages.end(passage);
            return cx.refuse(waiting.ticket, "unreachable: it does not answer");
        }
        let other = At {
            link: over,
            circuit: waiting.circuit,
        };
        if waiting.is_refused {
            let end = CircuitFrame::Close(CircuitEnd::Limited);
            cx.circuit(other.link, other.circuit, end);
            pipes.passages.end(passage);
            return cx.refuse(waiting.ticket, "rate limit: the relay has other limits now");
        }
        let asker = waiting.ticket.link();
        let sessions = (cx.roster.peer_on(asker), cx.roster.peer_on(over));
        let (Some(peer), Some(_)) = sessions else {
            let end = CircuitFrame::Close(CircuitEnd::Lost);
            cx.circuit(other.link, other.circuit, end);
            pipes.passages.end(passage);
            return cx.refuse(waiting.ticket, "lost");
        };
        let new = self.fresh_circuit(cx, pipes, peer, passage);
        let one = At {
            link: asker,
            circuit: new.circuit,
        };
        cx.answer(waiting.ticket, Answer::Circuit(new));
        pipes.join(one, other, passage, cx);
        self.sweep.get_or_insert(cx.now.mono + SWEEP);
    }

    /// A number that is used neither here nor, as relays' numbers differ in their parity, by a peer that relays for us.
    fn fresh_circuit(
        &mut self,
        cx: &Cx<'_>,
        pipes: &Pipes,
        peer: NodeKey,
        passage: PassageId,
    ) -> NewCircuit {
        let parity = u32::from(cx.keys.public() > peer);
        let circuit = loop {
            self.circuits = self.circuits.wrapping_add(2) & !1;
            let circuit = CircuitId(self.circuits | parity);
            // Some circuits last until all numbers were given out.
            if !pipes.is_number(circuit) {
                break circuit;
            }
        };
        NewCircuit {
            circuit,
            content: pipes.passages.is_for_content(passage),
        }
    }

    /// A session has ended. Its peer may have another, of which it knows no more than that it has a place here.
    pub(super) fn on_down(&mut self, cx: &mut Cx<'_>, link: LinkId, peer: NodeKey) {
        let Some(place) = self.places.get_mut(&peer).filter(|it| it.link == link) else {
            return;
        };
        let mut left = cx.roster.all(&peer).iter();
        match left.find(|session| session.link != link && session.is_direct()) {
            Some(session) => {
                place.link = session.link;
                let (link, ip) = (session.link, subscriber(session.remote.ip()));
                self.on_moved(cx, link, peer, ip);
            }
            None => {
                self.places.remove(&peer);
            }
        }
    }

    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>, pipes: &mut Pipes) {
        let now = cx.now.mono;
        if self.sweep.is_none_or(|at| at > now) {
            return;
        }
        self.places.retain(|_, place| place.until > now);
        if let Some(limits) = &cx.config.relay {
            pipes.end_those(cx, |passages, passage| {
                passages.is_idle(passage, now, limits.idle_time)
            });
        }
        let is_used = !self.places.is_empty() || pipes.passages.len() > 0;
        self.sweep = is_used.then_some(now + SWEEP);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.sweep
    }

    pub(super) fn views(&self, now: Time) -> Vec<PlaceView> {
        let places = self.places.iter();
        places
            .map(|(peer, place)| PlaceView {
                peer: *peer,
                ip: place.ip,
                expires_in: place.until.since(now),
            })
            .collect()
    }
}

#[cfg(any(test, feature = "check"))]
impl Carrier {
    pub(super) fn check(&self, pipes: &Pipes, broken: &mut crate::check::Broken) {
        broken.at_most("places of others", self.places.len(), RESERVATIONS_MAX);
        self.asks.check("addresses that asked a relay", broken);
        let passages = pipes.passages.len();
        let open = pipes.passing() + self.waiting.len();
        broken.unless(passages == open, || {
            alloc::format!("{passages} circuits are counted and {open} pass or wait")
        });
    }

    /// The links on which requests for circuits wait for an answer.
    pub(super) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.waiting.values().map(|waiting| waiting.ticket.link())
    }
}
