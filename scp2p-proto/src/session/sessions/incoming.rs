//! From bytes to messages.

use alloc::string::ToString;

use bytes::Bytes;

use super::super::calls::Ticket;
use super::{Link, SessionEvent, Sessions, State, Step};
use crate::cx::Receipt;
use crate::id::CircuitId;
use crate::io::Lane;
use crate::limits::TICKETS_MAX;
use crate::view::Tunnel;
use crate::wire::{CircuitFrame, Envelope, Request, RequestError};

impl Sessions {
    pub(super) fn room(&mut self, step: &mut Step<'_>, lane: Lane, bytes: u32) {
        let Some(link) = self.links.get_mut(&step.id) else {
            return;
        };
        link.room.add(lane, bytes);
        let was_held_up = self.roster.is_held_up(step.id);
        self.pump(step.id, step.out);
        if let Some(Link {
            state: State::Up(up),
            ..
        }) = self.links.get(&step.id)
            && was_held_up
            && !self.roster.is_held_up(step.id)
        {
            let key = up.key;
            step.heard
                .push_back(SessionEvent::Room { key, link: step.id });
        }
    }

    pub(super) fn bytes(&mut self, step: &mut Step<'_>, lane: Lane, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&step.id) else {
            return;
        };
        if let State::Up(up) = &link.state
            && let Some(session) = self.roster.by_link(&up.key, step.id)
        {
            session.heard = step.now.mono;
            session.received = session.received.saturating_add(bytes.len() as u64);
            self.counts.received = self.counts.received.saturating_add(bytes.len() as u64);
        }
        let bytes = match &mut link.seal {
            None => bytes,
            Some(seal) => {
                let sealed = bytes.len();
                let Ok(plain) = seal.open(bytes) else {
                    return self.offend(step);
                };
                let spent = sealed.saturating_sub(plain.len()) as u32;
                link.grants.consumed(lane, spent);
                plain
            }
        };
        link.reader(lane).push(bytes);
        // Each turn takes one frame; the link may be gone after any of them.
        while let Some(link) = self.links.get_mut(&step.id) {
            match link.reader(lane).next() {
                Ok(Some(body)) => self.frame(step, lane, body),
                Ok(None) => break,
                Err(_) => return self.offend(step),
            }
        }
        self.pump(step.id, step.out);
    }

    fn frame(&mut self, step: &mut Step<'_>, lane: Lane, body: Bytes) {
        let Some(link) = self.links.get_mut(&step.id) else {
            return;
        };
        let bytes = (body.len() as u32).saturating_add(4);
        match core::mem::replace(&mut link.state, State::Moving) {
            State::Up(up) => {
                link.state = State::Up(up);
                self.message(step, lane, body, bytes);
            }
            State::Offered(info, plan, initiator) => {
                link.grants.consumed(lane, bytes);
                self.server_hello(step, info, plan, *initiator, &body);
            }
            State::Accepted(info) => {
                link.grants.consumed(lane, bytes);
                self.client_hello(step, info, &body);
            }
            State::Answered(info, responder) => {
                link.grants.consumed(lane, bytes);
                self.client_ack(step, info, *responder, &body);
            }
            State::Dialing(_) | State::Moving => self.offend(step),
        }
    }

    fn message(&mut self, step: &mut Step<'_>, lane: Lane, body: Bytes, bytes: u32) {
        let Ok(envelope) = Envelope::decode(&body) else {
            return self.offend(step);
        };
        let Some(link) = self.links.get_mut(&step.id) else {
            return;
        };
        let State::Up(up) = &mut link.state else {
            return;
        };
        let session = self.roster.by_link(&up.key, step.id);
        match session.and_then(|session| session.tunnel) {
            Some(Tunnel::Relay | Tunnel::Owner) if envelope.is_response() => {
                link.grants.consumed(lane, bytes);
                step.heard.push_back(SessionEvent::Tunnel {
                    link: step.id,
                    reply: envelope,
                });
                return;
            }
            // An owner only answers: anything else would reach whoever asks next.
            Some(Tunnel::Relay) => return link.grants.consumed(lane, bytes),
            Some(Tunnel::Owner | Tunnel::Requester) | None => {}
        }
        if let Ok(Some(frame)) = CircuitFrame::decode(&envelope)
            && link.via.is_none()
        {
            // What is on its way is bounded for each circuit by itself.
            link.grants.consumed(lane, bytes);
            step.heard.push_back(SessionEvent::Circuit {
                link: step.id,
                circuit: CircuitId(envelope.req_id),
                frame,
            });
            return;
        }
        if envelope.is_response() {
            let Ok(call) = up.calls.resolve(envelope.req_id) else {
                return self.offend(step);
            };
            let receipt = Receipt {
                link: step.id,
                lane,
                bytes,
            };
            match call {
                Some(call) => step.heard.push_back(SessionEvent::Reply {
                    call,
                    envelope,
                    receipt,
                }),
                None => link.grants.consumed(lane, bytes),
            }
            return;
        }
        link.grants.consumed(lane, bytes);
        let ticket = Ticket {
            link: step.id,
            req_id: envelope.req_id,
            kind: envelope.kind,
        };
        if up.tickets >= TICKETS_MAX {
            return self.reply_unticketed(
                step,
                ticket,
                "rate limit: too many requests without an answer",
            );
        }
        match Request::decode(envelope.kind, &envelope.payload) {
            Ok(request) if !self.roster.allows(&up.key, &request) => {
                let error = RequestError::Unsupported(envelope.kind);
                self.reply_unticketed(step, ticket, &error.to_string());
            }
            Ok(request) => {
                up.tickets += 1;
                self.roster.used(&up.key, step.id, &request, step.now.mono);
                step.heard.push_back(SessionEvent::Request {
                    from: up.key,
                    ticket,
                    request,
                });
            }
            Err(error) => self.reply_unticketed(step, ticket, &error.to_string()),
        }
    }

    /// Answers a request that never became a ticket.
    fn reply_unticketed(&mut self, step: &mut Step<'_>, ticket: Ticket, text: &str) {
        let Some(link) = self.links.get_mut(&step.id) else {
            return;
        };
        self.counts.refused += 1;
        if link.push(Lane::Control, ticket.refuse(text)).is_err() {
            self.offend(step);
        }
    }
}
