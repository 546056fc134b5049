//! All links: bytes to handshakes to sessions to messages, and back.

#[cfg(any(test, feature = "check"))]
mod check;
mod incoming;
mod link;
mod opening;
mod tunnels;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use self::link::{Link, State, Up};
use super::calls::Ticket;
use super::handshake::HandshakeError;
use super::replay::NonceMemory;
use super::roster::{Carriage, Roster};
use crate::config::Config;
use crate::cx::Receipt;
use crate::id::{CircuitId, LinkId, NodeKey};
use crate::io::{CloseCode, Dial, DialError, Frame, Lane, LinkEvent, Output};
use crate::keys::Keys;
use crate::limits::DIAL_TIME_MAX;
use crate::outbox::Outbox;
use crate::pending::CallId;
use crate::rng::Rng;
use crate::time::{Now, Time};
use crate::timers::Timers;
use crate::view::Stats;
use crate::wire::{Answer, CircuitFrame, Envelope, PeerAddr, Profile, Request};

/// How to open a link and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DialPlan {
    /// The hello profile to speak.
    pub profile: Profile,
    /// Whom to insist on.
    pub expected: Option<NodeKey>,
    /// What for.
    pub purpose: Purpose,
}

/// What a link is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A session.
    Session,
    /// Only to find out whether the peer answers there: the link is closed before our
    /// ack, so that the other end never counts it as a session.
    Probe,
    /// A tunnel of ours at a deployed relay: we ask nothing on it but for a slot.
    Tunnel,
}

/// Why a link came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LinkFailure {
    Dial(DialError),
    Handshake(HandshakeError),
    /// The link closed during the handshake, which is how deployed peers refuse a profile.
    Closed,
    TimedOut,
    /// The session is not bound to its channel, which the configuration demands.
    Unbound(NodeKey),
}

/// What happened on the links, for the node to route.
pub(crate) enum SessionEvent {
    Up {
        link: LinkId,
        key: NodeKey,
    },
    /// `lost` are the calls that went over it and have no answer.
    Down {
        link: LinkId,
        key: NodeKey,
        last: bool,
        /// The key is nobody's, but the name of a slot.
        named: bool,
        /// Neither end had a use for it.
        parted: bool,
        /// The relay that carried it.
        via: Option<NodeKey>,
        lost: Vec<CallId>,
    },
    /// A session's other end has another address.
    Moved {
        link: LinkId,
        key: NodeKey,
        remote: SocketAddr,
    },
    /// A link that we dialled is there; its handshake begins.
    Opened {
        link: LinkId,
    },
    /// A link that we dialled came to nothing.
    DialFailed {
        link: LinkId,
        /// Where it led, if it came up.
        remote: Option<SocketAddr>,
        failure: LinkFailure,
    },
    Probed {
        link: LinkId,
        key: NodeKey,
    },
    /// A link that was dialled to us came to nothing.
    Refused {
        link: LinkId,
        remote: SocketAddr,
        failure: LinkFailure,
    },
    Request {
        from: NodeKey,
        ticket: Ticket,
        request: Request,
    },
    /// A reply to a call, still to be decoded by what was asked.
    Reply {
        call: CallId,
        envelope: Envelope,
        receipt: Receipt,
    },
    /// Something of a circuit that the peer carries or has us carry.
    Circuit {
        link: LinkId,
        circuit: CircuitId,
        frame: CircuitFrame,
    },
    /// A link that we dialled for a tunnel of ours is up, to the relay at this address.
    TunnelUp {
        link: LinkId,
        relay: PeerAddr,
    },
    /// What answers on a session that is a tunnel.
    Tunnel {
        link: LinkId,
        reply: Envelope,
    },
    /// A session that was held up takes bulk frames again.
    Room {
        key: NodeKey,
        link: LinkId,
    },
}

/// All links.
pub(crate) struct Sessions {
    links: BTreeMap<LinkId, Link>,
    roster: Roster,
    nonces: NonceMemory,
    deadlines: Timers<LinkId>,
    rng: Rng,
    counts: Counts,
}

/// What the sessions did since the start.
#[derive(Default)]
struct Counts {
    inbound: u64,
    outbound: u64,
    answered: u64,
    refused: u64,
    received: u64,
    sent: u64,
}

impl Sessions {
    pub(crate) fn new(rng: Rng) -> Sessions {
        Sessions {
            links: BTreeMap::new(),
            roster: Roster::default(),
            nonces: NonceMemory::new(),
            deadlines: Timers::new(),
            rng,
            counts: Counts::default(),
        }
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn set_own_addrs(&mut self, addrs: Vec<PeerAddr>) {
        self.roster.own_addrs = addrs;
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadlines.next().map(|(at, _)| at)
    }

    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        stats.sessions_inbound = self.counts.inbound;
        stats.sessions_outbound = self.counts.outbound;
        stats.requests_answered = self.counts.answered;
        stats.requests_refused = self.counts.refused;
        stats.received = self.counts.received;
        stats.sent = self.counts.sent;
    }

    /// Opens a link.
    pub(crate) fn dial(
        &mut self,
        now: Now,
        link: LinkId,
        dial: Dial,
        plan: DialPlan,
        out: &mut Outbox,
    ) {
        self.dial_circuit(now, link, plan);
        out.push_back(Output::Dial(link, dial));
    }

    /// Opens a link that no driver has to open.
    pub(crate) fn dial_circuit(&mut self, now: Now, link: LinkId, plan: DialPlan) {
        self.deadlines.set(link, now.mono + DIAL_TIME_MAX);
        self.links
            .insert(link, Link::new(false, State::Dialing(plan)));
    }

    /// A link that came up is a circuit that this relay carries.
    pub(crate) fn carried_by(&mut self, link: LinkId, carriage: Carriage) {
        if let Some(link) = self.links.get_mut(&link) {
            link.via = Some(carriage);
        }
    }

    /// Sends something of a circuit to a relay or a peer that we relay for. Chunks and their like go where large
    /// replies go.
    pub(crate) fn send_circuit(
        &mut self,
        link: LinkId,
        circuit: CircuitId,
        frame: &CircuitFrame,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let Some(session) = self.links.get_mut(&link) else {
            return;
        };
        let lane = match frame {
            CircuitFrame::Credit(_) => Lane::Control,
            CircuitFrame::Data(_) | CircuitFrame::Close(_) => session.large_lane(),
        };
        match session.push(lane, frame.to_frame(circuit)) {
            Ok(()) => self.pump(link, out),
            // The remote reads nothing while circuits come and go.
            Err(_) => self.close(link, CloseCode::Busy, heard, out),
        }
    }

    /// Sends a request; false if the peer has no callable session or too many calls are outstanding.
    pub(crate) fn call(
        &mut self,
        now: Now,
        peer: &NodeKey,
        call: CallId,
        request: &Request,
        out: &mut Outbox,
    ) -> bool {
        let Some(id) = self.roster.session(peer).map(|session| session.link) else {
            return false;
        };
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let State::Up(up) = &mut link.state else {
            return false;
        };
        let Ok(req_id) = up.calls.insert(call) else {
            return false;
        };
        self.roster.used(peer, id, request, now.mono);
        // A peer that reads nothing while we ask is cut by the time-outs of the calls.
        let frame = if let Request::RelayStream(stream) = request {
            Request::RelayStream(stream.numbered(req_id)).to_frame(req_id)
        } else {
            request.to_frame(req_id)
        };
        let queued = link.push(Lane::Control, frame).is_ok();
        self.pump(id, out);
        queued
    }

    /// Sends the reply that a ticket asks for.
    pub(crate) fn answer(
        &mut self,
        ticket: Ticket,
        answer: Answer,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let id = ticket.link();
        let bulk = match &answer {
            Answer::Chunk { .. }
            | Answer::Subtrees(_)
            | Answer::Manifest { .. }
            | Answer::ChunkHashes(_)
            | Answer::RelayStream(_) => true,
            Answer::Ack
            | Answer::Peers(_)
            | Answer::Found(_)
            | Answer::PublicShares(_)
            | Answer::RelayRegistered(_)
            | Answer::Relays(_)
            | Answer::Observed(_)
            | Answer::DialedBack(_)
            | Answer::Endpoints(_)
            | Answer::Heads(_)
            | Answer::Have(_)
            | Answer::Reserved(_)
            | Answer::Circuit(_) => false,
        };
        let ours = self.is_bound(id);
        let lane = match self.links.get(&id) {
            Some(link) if bulk && ours => link.large_lane(),
            Some(_) => Lane::Control,
            None => return,
        };
        self.counts.answered += 1;
        self.reply(id, lane, ticket.answer(&answer), heard, out);
    }

    /// Sends an error reply.
    pub(crate) fn refuse(
        &mut self,
        ticket: Ticket,
        text: &str,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        self.counts.refused += 1;
        self.reply(
            ticket.link(),
            Lane::Control,
            ticket.refuse(text),
            heard,
            out,
        );
    }

    /// Gives bytes that were worked off back to a link's read window.
    pub(crate) fn release(&mut self, receipt: Receipt, out: &mut Outbox) {
        if let Some(link) = self.links.get_mut(&receipt.link) {
            link.grants.consumed(receipt.lane, receipt.bytes);
            self.pump(receipt.link, out);
        }
    }

    /// Closes a link for a reason of our own.
    pub(crate) fn close(
        &mut self,
        id: LinkId,
        code: CloseCode,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        if let Some(link) = self.links.get(&id) {
            if let (State::Up(up), CloseCode::Idle) = (&link.state, code) {
                let key = up.key;
                self.part(&key, id);
            }
            out.push_back(Output::Close(id, code));
            self.forget(id, LinkFailure::Closed, heard);
        }
    }

    /// Whether something is under way on a session besides one request of the peer and calls that are nothing.
    pub(crate) fn is_busy(&self, id: LinkId, is_nothing: impl Fn(CallId) -> bool) -> bool {
        let Some(Link {
            state: State::Up(up),
            ..
        }) = self.links.get(&id)
        else {
            return false;
        };
        let nothing = up.calls.waiters().filter(|call| is_nothing(**call));
        up.calls.len() > nothing.count() || up.tickets > 1
    }

    /// Neither end has a use for a session any more; the peer will close it.
    pub(crate) fn part(&mut self, peer: &NodeKey, id: LinkId) {
        if let Some(session) = self.roster.by_link(peer, id) {
            session.parting = true;
        }
    }

    /// Closes all links; nobody is told.
    pub(crate) fn close_all(&mut self, out: &mut Outbox) {
        for (id, _) in core::mem::take(&mut self.links) {
            out.push_back(Output::Close(id, CloseCode::Shutdown));
        }
        self.roster = Roster::default();
    }

    pub(crate) fn on_time(
        &mut self,
        now: Now,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        while let Some(id) = self.deadlines.pop_due(now.mono) {
            let is_up = |link: &Link| matches!(link.state, State::Up(_));
            let code = match self.links.get(&id).is_some_and(is_up) {
                true => CloseCode::Duplicate,
                false => CloseCode::Handshake,
            };
            out.push_back(Output::Close(id, code));
            self.forget(id, LinkFailure::TimedOut, heard);
        }
    }

    /// Takes what the driver says of a link. Links that it does not know are gone already.
    #[expect(
        clippy::too_many_arguments,
        reason = "the node's parts, borrowed apart"
    )]
    pub(crate) fn on_link(
        &mut self,
        now: Now,
        keys: &Keys,
        config: &Config,
        id: LinkId,
        event: LinkEvent,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let mut step = Step {
            now,
            keys,
            config,
            id,
            heard,
            out,
        };
        match event {
            LinkEvent::Accepted(info) => self.accepted(&mut step, info),
            LinkEvent::Dialed(info) => self.dialed(&mut step, info),
            LinkEvent::Failed(error) => self.forget(id, LinkFailure::Dial(error), step.heard),
            LinkEvent::Bytes(lane, bytes) => self.bytes(&mut step, lane, bytes),
            LinkEvent::Room(lane, bytes) => self.room(&mut step, lane, bytes),
            LinkEvent::Moved(remote) => self.moved(id, remote, step.heard),
            LinkEvent::Closed(_) => self.forget(id, LinkFailure::Closed, step.heard),
        }
    }

    fn moved(&mut self, id: LinkId, remote: SocketAddr, heard: &mut VecDeque<SessionEvent>) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.remote = Some(remote);
        let key = match &mut link.state {
            State::Accepted(info) | State::Answered(info, _) | State::Offered(info, ..) => {
                info.remote = remote;
                return;
            }
            State::Up(up) => up.key,
            State::Dialing(_) | State::Moving => return,
        };
        if let Some(session) = self.roster.by_link(&key, id) {
            session.remote = remote;
            let link = id;
            heard.push_back(SessionEvent::Moved { link, key, remote });
        }
    }

    fn reply(
        &mut self,
        id: LinkId,
        lane: Lane,
        frame: Frame,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let State::Up(up) = &mut link.state else {
            return;
        };
        up.tickets = up.tickets.saturating_sub(1);
        match link.push(lane, frame) {
            Ok(()) => self.pump(id, out),
            // The remote asks without reading.
            Err(_) => self.close(id, CloseCode::Offence, heard, out),
        }
    }

    /// Sends and grants what is due on a link.
    fn pump(&mut self, id: LinkId, out: &mut Outbox) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        while let Some((lane, bytes)) = link.grants.pop() {
            out.push_back(Output::Grant(id, lane, bytes));
        }
        while let Some((lane, frame)) = link.room.pop() {
            if let State::Up(up) = &link.state
                && let Some(session) = self.roster.by_link(&up.key, id)
            {
                session.sent = session.sent.saturating_add(frame.len() as u64);
                self.counts.sent = self.counts.sent.saturating_add(frame.len() as u64);
            }
            out.push_back(Output::Send(id, lane, frame));
        }
        self.roster.hold_up(id, !link.room.is_empty());
    }

    fn is_bound(&self, id: LinkId) -> bool {
        let Some(Link {
            state: State::Up(up),
            ..
        }) = self.links.get(&id)
        else {
            return false;
        };
        self.roster
            .all(&up.key)
            .iter()
            .any(|session| session.link == id && session.level.is_some())
    }

    /// The remote broke the protocol.
    fn offend(&mut self, step: &mut Step<'_>) {
        step.out
            .push_back(Output::Close(step.id, CloseCode::Offence));
        self.forget(step.id, LinkFailure::Closed, step.heard);
    }

    /// Removes a link and tells whoever counts on it.
    fn forget(&mut self, id: LinkId, failure: LinkFailure, heard: &mut VecDeque<SessionEvent>) {
        self.deadlines.cancel(&id);
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        self.roster.hold_up(id, false);
        match link.state {
            State::Up(mut up) => {
                let lost = up.calls.drain().into_iter().map(|(_, call)| call).collect();
                let session = self.roster.by_link(&up.key, id);
                let parted = session.is_some_and(|it| it.parting);
                let named = self.roster.is_name(&up.key);
                let last = self.roster.remove(&up.key, id);
                heard.push_back(SessionEvent::Down {
                    link: id,
                    key: up.key,
                    last,
                    named,
                    parted,
                    via: link.via.map(|via| via.relay),
                    lost,
                });
            }
            State::Dialing(_)
            | State::Offered(..)
            | State::Accepted(_)
            | State::Answered(..)
            | State::Moving => {
                heard.push_back(match link.remote {
                    Some(remote) if link.inbound => SessionEvent::Refused {
                        link: id,
                        remote,
                        failure,
                    },
                    remote => SessionEvent::DialFailed {
                        link: id,
                        remote,
                        failure,
                    },
                });
            }
        }
    }
}

/// What one input of a link works with.
struct Step<'a> {
    now: Now,
    keys: &'a Keys,
    config: &'a Config,
    id: LinkId,
    heard: &'a mut VecDeque<SessionEvent>,
    out: &'a mut Outbox,
}
