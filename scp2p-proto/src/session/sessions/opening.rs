//! From an open link to a session: hellos, strangers, duplicates.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::Binding;
use super::super::binding::Role;
use super::super::calls::Calls;
use super::super::handshake::{Established, Initiator, Params, Responder};
use super::super::roster::Session;
use super::super::seal::Seal;
use super::{DialPlan, Link, LinkFailure, Purpose, SessionEvent, Sessions, State, Step, Up};
use crate::id::{LinkId, NodeKey};
use crate::io::{CloseCode, Frame, Lane, LinkInfo, Output};
use crate::limits::{
    CROSSING_TIME, FRAME_MAX, HANDSHAKE_TIME_MAX, LINKS_MAX, REPLACED_TIME, STRANGERS_MAX,
};
use crate::planted::{self, Bug};

impl Sessions {
    pub(super) fn accepted(&mut self, step: &mut Step<'_>, info: LinkInfo) {
        self.make_room_for_stranger(step);
        if self.links.len() >= LINKS_MAX {
            step.out.push_back(Output::Close(step.id, CloseCode::Busy));
            return;
        }
        self.deadlines
            .set(step.id, step.now.mono + HANDSHAKE_TIME_MAX);
        let remote = Some(info.remote);
        self.links.insert(
            step.id,
            Link {
                remote,
                ..Link::new(true, State::Accepted(info))
            },
        );
        self.pump(step.id, step.out);
    }

    /// Closes the accepted link that has gone unauthenticated for longest if there are too many.
    fn make_room_for_stranger(&mut self, step: &mut Step<'_>) {
        let is_stranger = |link: &Link| match link.state {
            State::Accepted(_) | State::Answered(..) => true,
            State::Dialing(_) | State::Offered(..) | State::Up(_) | State::Moving => false,
        };
        let strangers = self.links.iter().filter(|(_, link)| is_stranger(link));
        let strangers = strangers.map(|(id, _)| (self.deadlines.at(id), *id));
        if strangers.clone().count() >= STRANGERS_MAX
            && let Some((_, oldest)) = strangers.min()
        {
            step.out.push_back(Output::Close(oldest, CloseCode::Busy));
            self.forget(oldest, LinkFailure::TimedOut, step.heard);
        }
    }

    pub(super) fn dialed(&mut self, step: &mut Step<'_>, info: LinkInfo) {
        let Some(Link {
            state: State::Dialing(plan),
            ..
        }) = self.links.get(&step.id)
        else {
            return;
        };
        let plan = *plan;
        self.deadlines
            .set(step.id, step.now.mono + HANDSHAKE_TIME_MAX);
        let params = Params {
            expected: plan.expected,
            ..self.params(step, &info)
        };
        let (initiator, frame) = Initiator::start(params, plan.profile, step.now.unix);
        let Some(link) = self.links.get_mut(&step.id) else {
            return;
        };
        link.remote = Some(info.remote);
        link.state = State::Offered(info, plan, Box::new(initiator));
        step.heard.push_back(SessionEvent::Opened { link: step.id });
        self.send_hello(step.id, frame);
        self.pump(step.id, step.out);
    }

    pub(super) fn server_hello(
        &mut self,
        step: &mut Step<'_>,
        info: LinkInfo,
        plan: DialPlan,
        initiator: Initiator,
        body: &Bytes,
    ) {
        match initiator.on_hello(body, step.now.unix) {
            Ok((established, _)) if plan.purpose == Purpose::Probe => {
                step.heard.push_back(SessionEvent::Probed {
                    link: step.id,
                    key: established.key,
                });
                self.links.remove(&step.id);
                self.deadlines.cancel(&step.id);
                step.out.push_back(Output::Close(step.id, CloseCode::Done));
            }
            Ok((established, ack)) => {
                self.send_hello(step.id, ack);
                self.established(step, info, established, plan.purpose);
            }
            Err(error) => self.fail(step, LinkFailure::Handshake(error)),
        }
    }

    pub(super) fn client_hello(&mut self, step: &mut Step<'_>, info: LinkInfo, body: &Bytes) {
        let params = self.params(step, &info);
        match Responder::on_client_hello(params, body, step.now.unix, &mut self.nonces) {
            Ok((responder, frame)) => {
                self.send_hello(step.id, frame);
                if let Some(link) = self.links.get_mut(&step.id) {
                    link.state = State::Answered(info, Box::new(responder));
                }
            }
            Err(error) => {
                let params = self.params(step, &info);
                if let Some(frame) = Responder::warning(params, body, &error, step.now.unix) {
                    self.send_hello(step.id, frame);
                    self.pump(step.id, step.out);
                }
                self.fail(step, LinkFailure::Handshake(error));
            }
        }
    }

    /// What this node brings into the handshake of a link.
    fn params<'a>(&mut self, step: &Step<'a>, info: &LinkInfo) -> Params<'a> {
        Params {
            keys: step.keys,
            capabilities: step.config.capabilities,
            exporter: info.exporter,
            expected: None,
            nonce_random: self.random(),
            ephemeral: self.random(),
        }
    }

    fn send_hello(&mut self, id: LinkId, hello: Bytes) {
        if let Some(link) = self.links.get_mut(&id) {
            let frame = Frame {
                head: hello,
                body: Bytes::new(),
            };
            // A hello is far below any queue's bound.
            let _ = link.push(Lane::Control, frame);
        }
    }

    pub(super) fn client_ack(
        &mut self,
        step: &mut Step<'_>,
        info: LinkInfo,
        responder: Responder,
        body: &Bytes,
    ) {
        match responder.on_ack(body, step.now.unix) {
            Ok(established) => self.established(step, info, established, Purpose::Session),
            Err(error) => self.fail(step, LinkFailure::Handshake(error)),
        }
    }

    fn established(
        &mut self,
        step: &mut Step<'_>,
        info: LinkInfo,
        established: Established,
        purpose: Purpose,
    ) {
        let key = established.key;
        let level = match established.binding {
            Binding::Bound { level } => Some(level),
            Binding::Unbound => None,
        };
        let via = self.links.get(&step.id).and_then(|link| link.via);
        if (step.config.require_binding || via.is_some()) && level.is_none() {
            return self.fail(step, LinkFailure::Unbound(key));
        }
        let Some(link) = self.links.get_mut(&step.id) else {
            return;
        };
        self.deadlines.cancel(&step.id);
        let name = match purpose {
            Purpose::Tunnel => NodeKey::of_tunnel(&key, step.id),
            Purpose::Session | Purpose::Probe => key,
        };
        link.state = State::Up(Up {
            key: name,
            calls: Calls::new(),
            tickets: 0,
        });
        if via.is_some() && !planted::has(step.config, Bug::CircuitUnsealed) {
            let role = match link.inbound {
                true => Role::Responder,
                false => Role::Initiator,
            };
            link.seal = Some(Seal::new(&established.secret, role));
        }
        link.control.set_limit(FRAME_MAX);
        link.bulk.set_limit(FRAME_MAX);
        link.grants.authenticated();
        let opened = match link.inbound {
            true => &mut self.counts.inbound,
            false => &mut self.counts.outbound,
        };
        *opened += 1;
        let session = Session {
            link: step.id,
            transport: info.transport,
            remote: info.remote,
            via: via.map(|via| via.relay),
            content: via.is_none_or(|via| via.content),
            inbound: link.inbound,
            profile: established.profile,
            level,
            capabilities: established.capabilities,
            clock: established.clock,
            since: step.now.mono,
            heard: step.now.mono,
            used: step.now.mono,
            parting: false,
            tunnel: None,
            received: 0,
            sent: 0,
        };
        if purpose == Purpose::Tunnel {
            return self.tunnel_up(step, name, (key, session));
        }
        self.roster.add(key, session);
        step.heard
            .push_back(SessionEvent::Up { link: step.id, key });
        self.settle_duplicates(step, key);
    }

    /// Two nodes of ours keep one session: the newest, because its dialler had given older ones up; of
    /// those that came up at one time, when both had dialled, a direct one, and the one that the lesser key dialled.
    /// What is under way on a circuit that a direct session replaces has some time to end.
    fn settle_duplicates(&mut self, step: &mut Step<'_>, key: NodeKey) {
        if planted::has(step.config, Bug::DuplicateKept) {
            return;
        }
        let we_dial = step.keys.public() < key;
        let now = step.now.mono;
        let rank = |session: &Session| {
            let is_recent = now.since(session.since) < CROSSING_TIME;
            let is_direct = is_recent && session.via.is_none();
            (
                is_recent,
                is_direct,
                session.inbound != we_dial,
                session.since,
            )
        };
        let bound = self
            .roster
            .all(&key)
            .iter()
            .filter(|session| session.level.is_some());
        let Some(best) = bound
            .clone()
            .max_by_key(|session| rank(session))
            .map(|session| session.link)
        else {
            return;
        };
        let is_replaced = |session: &&Session| session.link != best;
        let lesser: Vec<(LinkId, bool)> = bound
            .filter(is_replaced)
            .map(|session| (session.link, session.via.is_some()))
            .collect();
        let is_direct = self.links.get(&best).is_some_and(|it| it.via.is_none());
        for (link, is_circuit) in lesser {
            if is_circuit && is_direct {
                self.deadlines.set(link, now + REPLACED_TIME);
                continue;
            }
            step.out
                .push_back(Output::Close(link, CloseCode::Duplicate));
            self.forget(link, LinkFailure::Closed, step.heard);
        }
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes);
        bytes
    }

    fn fail(&mut self, step: &mut Step<'_>, failure: LinkFailure) {
        step.out
            .push_back(Output::Close(step.id, CloseCode::Handshake));
        self.forget(step.id, failure, step.heard);
    }
}
