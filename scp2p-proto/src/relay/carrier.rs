//! This node as a relay: who has a place here, and who may be connected.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use super::pipes::{At, Pipes};
use super::{INCOMING_TIME, Tag};
use crate::cx::{CallError, Cx};
use crate::id::{CircuitId, LinkId, NodeKey};
use crate::limits::{CONNECTS_MAX, RESERVATIONS_MAX};
use crate::session::Ticket;
use crate::time::Time;
use crate::wire::{Answer, CircuitEnd, CircuitFrame, Request, Reservation};

/// How long a place is kept for who does not ask again.
const LEASE: Duration = Duration::from_secs(600);
/// How often circuits and places are looked through for those that are over.
const SWEEP: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Carrier {
    places: BTreeMap<NodeKey, Place>,
    /// Who waits for the other end to take a circuit.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    circuits: u32,
    sweep: Option<Time>,
}

/// Somebody who can be asked for here.
struct Place {
    link: LinkId,
    ip: IpAddr,
    until: Time,
}

struct Waiting {
    ticket: Ticket,
    /// The circuit at the other end.
    circuit: CircuitId,
}

impl Carrier {
    pub(super) fn has_place(&self, peer: &NodeKey) -> bool {
        self.places.contains_key(peer)
    }

    pub(super) fn on_reserve(&mut self, cx: &mut Cx<'_>, from: NodeKey, ticket: Ticket) {
        let Some(limits) = &cx.config.relay else {
            return cx.refuse(ticket, "not a relay");
        };
        let Some(session) = cx.roster.direct(&from, ticket.link()) else {
            return cx.refuse(ticket, "a place is given over a direct session only");
        };
        let ip = session.remote.ip();
        let others = self.places.iter().filter(|(peer, _)| **peer != from);
        let same_ip = others.filter(|(_, place)| place.ip == ip).count();
        let is_new = !self.places.contains_key(&from);
        if same_ip >= limits.reservations_per_ip_max as usize
            || (is_new && self.places.len() >= RESERVATIONS_MAX)
        {
            return cx.refuse(ticket, "rate limit: too many reservations");
        }
        let place = Place {
            link: ticket.link(),
            ip,
            until: cx.now.mono + LEASE,
        };
        self.places.insert(from, place);
        self.sweep.get_or_insert(cx.now.mono + SWEEP);
        let reservation = Reservation {
            lease_secs: LEASE.as_secs() as u32,
            circuits_max: u16::try_from(limits.circuits_per_client_max).unwrap_or(u16::MAX),
        };
        cx.answer(ticket, Answer::Reserved(reservation));
    }

    pub(super) fn on_connect(
        &mut self,
        cx: &mut Cx<'_>,
        pipes: &Pipes,
        from: NodeKey,
        ticket: Ticket,
        target: NodeKey,
    ) {
        let Some(limits) = &cx.config.relay else {
            return cx.refuse(ticket, "not a relay");
        };
        if cx.roster.direct(&from, ticket.link()).is_none() {
            return cx.refuse(ticket, "circuits are opened over a direct session only");
        }
        let Some(place) = self.places.get(&target).filter(|_| target != from) else {
            return cx.refuse(ticket, "no reservation");
        };
        let most = limits.circuits_per_client_max as usize;
        let is_full = pipes.passing() >= limits.circuits_max as usize
            || pipes.passing_on(ticket.link()) >= most
            || pipes.passing_on(place.link) >= most
            || self.waiting.len() >= CONNECTS_MAX;
        if is_full {
            return cx.refuse(ticket, "rate limit: too many circuits");
        }
        let circuit = self.fresh_circuit(cx, target);
        self.next += 1;
        cx.call(
            target,
            Request::Incoming(circuit),
            INCOMING_TIME,
            Tag::Incoming(self.next),
        );
        let waiting = Waiting { ticket, circuit };
        self.waiting.insert(self.next, waiting);
    }

    /// The other end has taken a circuit over the session of the link `over`, or has not.
    pub(super) fn on_taken(
        &mut self,
        cx: &mut Cx<'_>,
        pipes: &mut Pipes,
        number: u64,
        over: LinkId,
        answer: Result<Answer, CallError>,
    ) {
        let Some(waiting) = self.waiting.remove(&number) else {
            return;
        };
        if answer != Ok(Answer::Ack) {
            return cx.refuse(waiting.ticket, "unreachable: it does not answer");
        }
        let other = At {
            link: over,
            circuit: waiting.circuit,
        };
        let asker = waiting.ticket.link();
        let sessions = (cx.roster.peer_on(asker), cx.roster.peer_on(over));
        let (Some(peer), Some(_)) = sessions else {
            let end = CircuitFrame::Close(CircuitEnd::Lost);
            cx.circuit(other.link, other.circuit, end);
            return cx.refuse(waiting.ticket, "lost");
        };
        let one = At {
            link: asker,
            circuit: self.fresh_circuit(cx, peer),
        };
        cx.answer(waiting.ticket, Answer::Circuit(one.circuit));
        pipes.join(one, other, cx);
    }

    /// A number that is used neither here nor, as relays' numbers differ in their parity, by a peer that relays for us.
    fn fresh_circuit(&mut self, cx: &Cx<'_>, peer: NodeKey) -> CircuitId {
        self.circuits = self.circuits.wrapping_add(2) & !1;
        CircuitId(self.circuits | u32::from(cx.keys.public() > peer))
    }

    pub(super) fn on_down(&mut self, link: LinkId) {
        self.places.retain(|_, place| place.link != link);
    }

    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>, pipes: &mut Pipes) {
        let now = cx.now.mono;
        if self.sweep.is_none_or(|at| at > now) {
            return;
        }
        self.places.retain(|_, place| place.until > now);
        let idle_time = cx.config.relay.as_ref().map(|limits| limits.idle_time);
        if let Some(idle_time) = idle_time {
            for at in pipes.idle_for(now, idle_time) {
                pipes.end(cx, at, CircuitEnd::Limited);
            }
        }
        let is_used = !self.places.is_empty() || pipes.passing() > 0;
        self.sweep = is_used.then_some(now + SWEEP);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.sweep
    }
}

#[cfg(any(test, feature = "check"))]
impl Carrier {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most("places of others", self.places.len(), RESERVATIONS_MAX);
        broken.at_most("circuits being opened", self.waiting.len(), CONNECTS_MAX);
    }

    /// The links on which requests for circuits wait for an answer.
    pub(super) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.waiting.values().map(|waiting| waiting.ticket.link())
    }
}
