//! From a circuit to a direct path: both ends dial each other at one time (SPECIFICATION §11.6).

use alloc::vec::Vec;
use core::time::Duration;

use super::dials::{Goal, Way};
use super::{ANSWER_TIME, Peers, Tag, Timer};
use crate::cx::{CallError, Cx};
use crate::id::NodeKey;
use crate::io::Transport;
use crate::limits::PUNCH_ENDPOINTS_MAX;
use crate::session::Ticket;
use crate::wire::{Answer, Endpoints, PeerAddr, Request};

/// How long after a try that led nowhere the next is made, at first and at most.
const AGAIN_MIN: Duration = Duration::from_secs(30);
const AGAIN_MAX: Duration = Duration::from_secs(1800);

impl Peers {
    /// A circuit that we opened is up: a better way is looked for, again and again while there is none.
    pub(super) fn punch(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let is_relayed = cx.roster.session(&peer).is_some_and(|it| it.via.is_some());
        if !is_relayed || cx.config.quic_port.is_none() {
            return;
        }
        let span = self.punches.peek(&peer).copied();
        let span = span.map_or(AGAIN_MIN, |span| (span * 2).min(AGAIN_MAX));
        self.punches.insert(peer, span);
        let again = cx.now.mono + self.rng.jitter(span);
        self.timers.set(Timer::Punch(peer), again);
        let own = self.endpoints(cx);
        if !own.0.is_empty() {
            cx.call(peer, Request::Punch(own), ANSWER_TIME, Tag::Punched);
        }
    }

    /// The other end of a circuit dials us now.
    pub(crate) fn on_punch(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        theirs: Endpoints,
    ) {
        let mut sessions = cx.roster.all(&from).iter();
        let is_circuit =
            sessions.any(|session| session.link == ticket.link() && session.via.is_some());
        if !is_circuit {
            return cx.refuse(ticket, "not over a circuit");
        }
        let own = self.endpoints(cx);
        cx.answer(ticket, Answer::Endpoints(own));
        self.dial_through(cx, from, &theirs);
    }

    pub(super) fn on_punched(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        if let Ok(Answer::Endpoints(theirs)) = answer {
            self.dial_through(cx, peer, &theirs);
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

    fn dial_through(&mut self, cx: &mut Cx<'_>, peer: NodeKey, endpoints: &Endpoints) {
        let goal = Goal::Direct(peer);
        let is_busy = self.dials.is_under_way(&goal) || self.is_full(cx);
        if cx.config.quic_port.is_none() || is_busy || !self.punch_dials.take(cx.now.mono, 1) {
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
}
