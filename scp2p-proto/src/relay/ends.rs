//! Circuits that end at this node: each is a link like any other.

use alloc::collections::BTreeSet;

use super::pipes::{At, Pipes};
use super::{CONNECT_TIME, Tag};
use crate::cx::{CallError, Cx};
use crate::id::{LinkId, NodeKey};
use crate::io::{DialError, Lane, LinkEvent, LinkInfo};
use crate::limits::{CIRCUIT_ROOM, CIRCUITS_HERE_MAX, CIRCUITS_OF_RELAY_MAX};
use crate::session::{Carriage, Session, Ticket};
use crate::wire::{Answer, CircuitEnd, CircuitFrame, NewCircuit, Request};

/// What both ends of a circuit have in the place of a TLS connection's exporter (SPECIFICATION §11.4): a hello made for
/// a circuit is none for a TLS connection, and the other way round.
const EXPORTER_CONTEXT: &str = "scp2p circuit 2026 channel binding";

#[derive(Default)]
pub(super) struct Ends {
    /// Links whose circuits relays were asked for.
    asked: BTreeSet<LinkId>,
    /// Numbers of links that others opened.
    accepted: u64,
}

impl Ends {
    pub(super) fn connect(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        relay: NodeKey,
        target: NodeKey,
    ) {
        self.asked.insert(link);
        cx.call(
            relay,
            Request::Connect(target),
            CONNECT_TIME,
            Tag::Connect(link),
        );
    }

    /// A link is not wanted any more before its circuit is there.
    pub(super) fn give_up(&mut self, link: LinkId) {
        self.asked.remove(&link);
    }

    /// A relay has answered over the session of the link `over`.
    pub(super) fn on_connected(
        &mut self,
        cx: &mut Cx<'_>,
        pipes: &mut Pipes,
        link: LinkId,
        relay: NodeKey,
        over: LinkId,
        answer: Result<Answer, CallError>,
    ) {
        let is_wanted = self.asked.remove(&link);
        let new = match answer {
            Ok(Answer::Circuit(new)) => new,
            Ok(_) | Err(_) if !is_wanted => return,
            Ok(_) | Err(CallError::Malformed) => {
                return cx.link(link, LinkEvent::Failed(DialError::Tls));
            }
            Err(CallError::Refused { .. }) => {
                return cx.link(link, LinkEvent::Failed(DialError::Refused));
            }
            Err(CallError::TimedOut) => {
                return cx.link(link, LinkEvent::Failed(DialError::TimedOut));
            }
            Err(CallError::Connect(_) | CallError::Lost | CallError::Busy) => {
                return cx.link(link, LinkEvent::Failed(DialError::Unreachable));
            }
        };
        let at = At {
            link: over,
            circuit: new.circuit,
        };
        let session = cx.roster.direct(&relay, over);
        match session {
            Some(session) if is_wanted && !pipes.contains(at) => {
                pipes.end_here(at, link);
                let carriage = Carriage {
                    relay,
                    content: new.content,
                };
                cx.circuit_up(link, carriage, LinkEvent::Dialed(info(session)));
                cx.link(link, LinkEvent::Room(Lane::Control, CIRCUIT_ROOM));
            }
            Some(_) if !is_wanted => {
                let end = CircuitFrame::Close(CircuitEnd::Closed);
                cx.circuit(at.link, at.circuit, end);
            }
            Some(_) | None => {
                if is_wanted {
                    cx.link(link, LinkEvent::Failed(DialError::Unreachable));
                }
            }
        }
    }

    pub(super) fn on_incoming(
        &mut self,
        cx: &mut Cx<'_>,
        pipes: &mut Pipes,
        relay: NodeKey,
        ticket: Ticket,
        new: NewCircuit,
    ) {
        let at = At {
            link: ticket.link(),
            circuit: new.circuit,
        };
        let session = cx.roster.direct(&relay, at.link);
        let Some(session) = session.filter(|_| !pipes.contains(at)) else {
            return cx.refuse(ticket, "no such circuit");
        };
        let is_full = pipes.ending_here() >= CIRCUITS_HERE_MAX
            || pipes.on_session(at.link).count() >= CIRCUITS_OF_RELAY_MAX;
        if is_full {
            return cx.refuse(ticket, "rate limit: too many circuits");
        }
        cx.answer(ticket, Answer::Ack);
        self.accepted += 1;
        let link = LinkId::accepted_circuit(self.accepted);
        pipes.end_here(at, link);
        let carriage = Carriage {
            relay,
            content: new.content,
        };
        cx.circuit_up(link, carriage, LinkEvent::Accepted(info(session)));
        cx.link(link, LinkEvent::Room(Lane::Control, CIRCUIT_ROOM));
    }
}

/// How a circuit looks to who has to do with links.
fn info(session: &Session) -> LinkInfo {
    LinkInfo {
        transport: session.transport,
        remote: session.remote,
        exporter: blake3::derive_key(EXPORTER_CONTEXT, &[]),
    }
}
