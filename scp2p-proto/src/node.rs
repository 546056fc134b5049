//! The node: it routes. Protocol state lives in the components.

#[cfg(any(test, feature = "check"))]
mod check;
mod views;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::catalogs::Catalogs;
use crate::command::{Command, CommandError, Reply};
use crate::config::Config;
use crate::cx::{Act, Acts, CallError, Cx, Outcome, Receipt, Tag};
use crate::dht::Dht;
use crate::event::Event;
use crate::id::{CommitId, LinkId, NodeKey, OpId};
use crate::io::{Input, LinkEvent, Output};
use crate::keys::Keys;
use crate::limits::CIRCUITS_PARTED_MAX;
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::pending::{Call, CallId, Pending};
use crate::planted::{self, Bug};
use crate::relay::Relay;
use crate::rng::Rng;
use crate::session::{SessionEvent, Sessions};
use crate::storage::{Batch, Saved, StoreError};
use crate::time::{Now, Time};
use crate::transfers::Transfers;
use crate::unsaved::Unsaved;
use crate::wire::{Answer, AnswerError, Envelope, Request};
use crate::wish::{Conduct, Wish};

/// A peer: it consumes inputs and timestamps and asks for effects. The driver contract is in the
/// [crate documentation](crate).
pub struct Node {
    now: Now,
    config: Config,
    keys: Keys,
    sessions: Sessions,
    pending: Pending,
    peers: Peers,
    dht: Dht,
    catalogs: Catalogs,
    transfers: Transfers,
    relay: Relay,
    acts: Acts,
    heard: VecDeque<SessionEvent>,
    unsaved: Unsaved,
    out: Outbox,
    phase: Phase,
}

/// What the node is about to do at its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A call is overdue.
    Call,
    /// A handshake takes too long.
    Handshake,
    /// Dialling, pings, peer exchange.
    Peers,
    /// Lookups, republishing, expiry.
    Dht,
    /// Polling subscriptions, announcing shares.
    Catalogs,
    /// Downloads.
    Transfers,
    /// Places at relays, and circuits that are idle.
    Relay,
    /// Rows that could not be committed are tried again.
    Commit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Waiting for what was written to become durable.
    Stopping,
    Done,
}

macro_rules! cx {
    ($node:ident) => {
        &mut Cx {
            now: $node.now,
            config: &$node.config,
            keys: &$node.keys,
            roster: $node.sessions.roster(),
            acts: $node.acts.begin_call(),
        }
    };
}

mod requests;

impl Node {
    /// A node that goes on from `saved`. `seed` feeds all its randomness and must be new for each
    /// start on a real network. Outputs may be waiting at once.
    pub fn new(config: Config, keys: Keys, seed: [u8; 32], saved: Saved, now: Now) -> Node {
        let rng = |label| Rng::new(&seed, label);
        let mut node = Node {
            now,
            sessions: Sessions::new(rng("sessions")),
            pending: Pending::default(),
            peers: Peers::new(&config, &keys, rng("peers"), &saved, now),
            dht: Dht::new(&keys, rng("dht"), &saved, now),
            catalogs: Catalogs::new(&config, rng("catalogs"), &saved, now),
            transfers: Transfers::new(rng("transfers"), &saved, now),
            relay: Relay::new(rng),
            config,
            keys,
            acts: Acts::default(),
            heard: VecDeque::new(),
            unsaved: Unsaved::default(),
            out: Outbox::default(),
            phase: Phase::Running,
        };
        node.peers.start(cx!(node));
        node.dht.start(cx!(node));
        node.catalogs.start(cx!(node));
        node.transfers.start(cx!(node));
        node.on_time();
        node.settle();
        node.flush();
        node
    }

    /// Works one input off. It never fails, whatever a remote or a disk did.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = Now {
            mono: now.mono.max(self.now.mono),
            unix: now.unix,
        };
        match input {
            Input::Tick => {}
            Input::Command(op, command) => self.command(op, command),
            Input::Link(link, event) => self.link(link, event),
            Input::Loaded(id, result) => {
                if let Some(tag) = self.pending.end_load(id) {
                    self.outcome(tag, Outcome::Loaded(result));
                }
            }
            Input::Written(id, result) => {
                if let Some(tag) = self.pending.end_write(id) {
                    self.outcome(tag, Outcome::Written(result));
                }
            }
            Input::Committed(id, result) => self.committed(id, result),
            Input::Host(event) => self.peers.on_host(cx!(self), event),
        }
        self.settle();
        self.on_time();
        self.settle();
        self.flush();
        if self.phase == Phase::Stopping && self.pending.is_settled() {
            self.phase = Phase::Done;
        }
    }

    /// The next output to carry out. Outputs are in the order of their causes.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Node::handle`] at the latest, and what for.
    pub fn deadline(&self) -> Option<(Time, Why)> {
        if self.phase != Phase::Running {
            return None;
        }
        [
            (self.pending.deadline(), Why::Call),
            (self.sessions.deadline(), Why::Handshake),
            (self.peers.deadline(), Why::Peers),
            (self.dht.deadline(), Why::Dht),
            (self.catalogs.deadline(), Why::Catalogs),
            (self.transfers.deadline(), Why::Transfers),
            (self.relay.deadline(), Why::Relay),
            (self.unsaved.deadline(), Why::Commit),
        ]
        .into_iter()
        .filter_map(|(at, why)| at.map(|at| (at, why)))
        .min_by_key(|(at, _)| *at)
        // A deadline that is still due was worked off as far as one input may; the rest comes next.
        .map(|(at, why)| (at.max(self.now.mono + Duration::from_micros(1)), why))
    }

    /// Whether the node has stopped and everything it owed is durable.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done && self.out.is_empty()
    }

    fn command(&mut self, op: OpId, command: Command) {
        if self.phase != Phase::Running {
            self.out
                .push_back(Output::Done(op, Err(CommandError::Stopping)));
            return;
        }
        match command {
            Command::Publish(publish) => self.catalogs.on_publish(cx!(self), op, publish),
            Command::Subscribe(link) => self.catalogs.on_subscribe(cx!(self), op, link),
            Command::Unpublish(share) => self.catalogs.on_unpublish(cx!(self), op, share),
            Command::Unsubscribe(share) => self.catalogs.on_unsubscribe(cx!(self), op, share),
            Command::Sync(share) => self.catalogs.on_sync(cx!(self), op, share),
            Command::ListPublic => self.catalogs.on_list(cx!(self), op),
            Command::Browse(share) => self.catalogs.on_browse(cx!(self), op, share),
            Command::Link(share) => self.catalogs.on_link(cx!(self), op, share),
            Command::Get(get) => self.catalogs.on_get(cx!(self), op, get),
            Command::Cancel(download) => self.transfers.on_cancel(cx!(self), op, download),
            Command::Pause(download) => self.transfers.on_pause(cx!(self), op, download),
            Command::Resume(download) => self.transfers.on_resume(cx!(self), op, download),
            Command::AddBootstrap(addr) => {
                self.peers.on_add_bootstrap(cx!(self), op, addr);
            }
            Command::SetRelay(limits) => {
                self.config.capabilities.relay = true;
                self.config.relay = Some(limits);
                self.relay.on_limits(cx!(self));
                self.out.push_back(Output::Done(op, Ok(Reply::Ok)));
            }
            Command::Shutdown => self.shutdown(op),
        }
    }

    fn shutdown(&mut self, op: OpId) {
        self.transfers.on_stop(cx!(self));
        self.settle();
        self.phase = Phase::Stopping;
        self.retry_rows();
        cx!(self).commit(Tag::Stop(op));
        self.sessions.close_all(&mut self.out);
    }

    fn committed(&mut self, id: CommitId, result: Result<(), StoreError>) {
        let lost = self.unsaved.ended(id, result.is_ok(), self.now.mono);
        if let (Err(error), true) = (&result, lost) {
            let reason = alloc::string::ToString::to_string(error);
            self.out
                .push_back(Output::Event(Event::StoreTrouble { reason }));
        }
        for tag in self.pending.end_commit(id).unwrap_or_default() {
            self.outcome(tag, Outcome::Committed(result.clone()));
        }
    }

    fn on_time(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        let now = self.now.mono;
        while let Some(id) = self.pending.pop_overdue(now) {
            self.overdue(id);
        }
        self.sessions
            .on_time(self.now, &mut self.heard, &mut self.out);
        self.peers.on_time(cx!(self));
        self.dht.on_time(cx!(self));
        self.catalogs.on_time(cx!(self));
        self.transfers.on_time(cx!(self));
        self.relay.on_time(cx!(self));
    }

    /// Carries out what was asked for until nothing is left.
    fn settle(&mut self) {
        loop {
            if let Some(event) = self.heard.pop_front() {
                self.on_session(event);
            } else if let Some((link, ask)) = self.out.pop_circuit() {
                self.relay.on_ask(cx!(self), link, ask);
            } else if let Some(act) = self.acts.queue.pop_front() {
                self.act(act);
            } else {
                return;
            }
        }
    }

    /// Hands this step's batch to the driver.
    fn flush(&mut self) {
        if self.phase == Phase::Running && self.unsaved.is_due(self.now.mono) {
            self.retry_rows();
        }
        if self.acts.batch.is_empty() && self.acts.after.is_empty() {
            return;
        }
        let batch = core::mem::take(&mut self.acts.batch);
        self.commit(batch);
    }

    /// Puts rows that failed before those of this step.
    fn retry_rows(&mut self) {
        let rows = self.unsaved.take(&self.acts.batch.rows);
        self.acts.batch.rows.splice(0..0, rows.iter().cloned());
        self.acts.loose.splice(0..0, rows);
    }

    fn commit(&mut self, batch: Batch) {
        let after = core::mem::take(&mut self.acts.after);
        let loose = core::mem::take(&mut self.acts.loose);
        let id = self.pending.add_commit(after);
        self.unsaved.sent(id, &batch.rows, loose);
        self.out.push_back(Output::Commit(id, batch));
    }

    fn on_session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Up { link, key } => self.up(link, key),
            SessionEvent::Down {
                link,
                key,
                last,
                named,
                parted,
                via,
                lost,
            } => {
                if let Some(relay) = via.filter(|_| !named && !parted) {
                    self.peers.circuit_down(cx!(self), relay, key, last);
                }
                self.relay.on_down(cx!(self), link, key, last);
                self.down(key, (last, named), parted, lost);
            }
            SessionEvent::Moved { link, key, remote } => {
                self.relay.on_peer_moved(cx!(self), link, key, remote.ip());
            }
            SessionEvent::Opened { link } => self.peers.on_opened(cx!(self), link),
            SessionEvent::DialFailed {
                link,
                remote,
                failure,
            } => {
                self.peers.on_link_failed(cx!(self), link, remote, failure);
            }
            SessionEvent::Probed { link, key } => self.peers.on_probed(cx!(self), link, key),
            SessionEvent::Refused {
                link,
                remote,
                failure,
            } => self.peers.on_refused(cx!(self), link, remote, failure),
            SessionEvent::Request {
                from,
                ticket,
                request,
            } => self.request(from, ticket, request),
            SessionEvent::Reply {
                call,
                envelope,
                receipt,
            } => self.replied(call, &envelope, receipt),
            SessionEvent::Circuit {
                link,
                circuit,
                frame,
            } => self.relay.on_frame(cx!(self), link, circuit, frame),
            SessionEvent::TunnelUp { link, relay } => {
                self.peers.on_tunnel_up(link);
                self.relay.on_tunnel_up(cx!(self), link, relay);
            }
            SessionEvent::Tunnel { link, reply } => self.relay.on_tunnel(cx!(self), link, reply),
            SessionEvent::Room { key, link } => {
                self.transfers.on_room(cx!(self), key, link);
                self.relay.on_room(cx!(self), link);
            }
        }
    }

    fn link(&mut self, link: LinkId, event: LinkEvent) {
        self.sessions.on_link(
            self.now,
            &self.keys,
            &self.config,
            link,
            event,
            &mut self.heard,
            &mut self.out,
        );
    }

    fn up(&mut self, link: LinkId, key: NodeKey) {
        if !self
            .sessions
            .roster()
            .all(&key)
            .iter()
            .any(|session| session.link == link)
        {
            // It lost against another session to the same peer at once.
            return self.peers.on_outdone(cx!(self), link, key);
        }
        if let Err(code) = self.peers.on_up(cx!(self), link, key) {
            self.sessions
                .close(link, code, &mut self.heard, &mut self.out);
            return;
        }
        self.dht.on_up(cx!(self), key);
        self.catalogs.on_up(cx!(self), key);
        self.transfers.on_up(cx!(self), key);
        self.relay.on_up(cx!(self), key);
        if self.sessions.roster().is_callable(&key) {
            for call in self.pending.waiting(&key) {
                self.send(call);
            }
        }
    }

    fn down(&mut self, key: NodeKey, (last, named): (bool, bool), parted: bool, lost: Vec<CallId>) {
        let mut is_missed = false;
        for call in lost {
            // What was asked over the lesser of two sessions is asked again over the other.
            if self.sessions.roster().is_callable(&key) {
                self.send(call);
            } else if parted && !self.is_upkeep(call) && self.pending.wait(call) {
                // It was asked when both had just agreed that there is nothing to ask.
                is_missed = true;
            } else if !planted::has(&self.config, Bug::LostCallsKept) {
                self.end_call(call, Err(CallError::Lost), Receipt::NONE);
            }
        }
        self.transfers.on_session_down(cx!(self));
        if named {
            // Only who downloads or follows shares has to do with names that are nobody's keys.
            self.catalogs.on_down(cx!(self), key);
            self.transfers.on_down(cx!(self), key);
        } else if last {
            self.peers.on_down(cx!(self), key);
            if !parted {
                self.dht.on_down(cx!(self), key);
            }
            self.catalogs.on_down(cx!(self), key);
            self.transfers.on_down(cx!(self), key);
        }
        if is_missed {
            self.peers.connect(cx!(self), key);
        }
    }

    /// Whether a call only keeps up the session that it is on, or is to end it.
    fn is_upkeep(&self, call: CallId) -> bool {
        let call = self.pending.call(call);
        call.is_some_and(|call| matches!(call.tag, Tag::Peers(_)))
    }

    /// Whether the session with a peer is kept although it is idle.
    fn needs(&self, peer: &NodeKey) -> bool {
        self.peers.needs(peer)
            || self.dht.needs(peer)
            || self.catalogs.needs(peer)
            || self.transfers.needs(peer)
            || self.relay.needs(peer, self.sessions.roster())
    }

    /// Sessions end that nobody has a use for, those with contacts of the DHT last. Who is needed depends on who else
    /// is there, so few circuits end at a time.
    fn part(&mut self, mut circuits: Vec<NodeKey>, mut idle: Vec<NodeKey>, too_many: usize) {
        circuits.retain(|peer| !self.needs(peer));
        circuits.truncate(CIRCUITS_PARTED_MAX);
        idle.retain(|peer| !self.needs(peer));
        idle.sort_by_cached_key(|peer| self.dht.knows(peer));
        idle.truncate(too_many.saturating_sub(circuits.len()));
        for peer in circuits.into_iter().chain(idle) {
            self.peers.part(cx!(self), peer);
        }
    }

    fn outcome(&mut self, tag: Tag, outcome: Outcome) {
        let cx = cx!(self);
        match tag {
            Tag::Stop(op) => {
                if let Outcome::Committed(result) = outcome {
                    cx.done(op, result.map(|()| Reply::Ok).map_err(CommandError::Store));
                }
            }
            Tag::Peers(tag) => self.peers.on_outcome(cx, tag, outcome),
            Tag::Dht(tag) => self.dht.on_outcome(cx, tag, outcome),
            Tag::Catalogs(tag) => self.catalogs.on_outcome(cx, tag, outcome),
            Tag::Transfers(tag) => self.transfers.on_outcome(cx, tag, outcome),
            Tag::Relay(tag) => self.relay.on_outcome(cx, tag, outcome),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Call {
                peer,
                request,
                within,
                tag,
            } => self.call(peer, request, within, tag),
            Act::Circuit(link, circuit, frame) => {
                self.sessions
                    .send_circuit(link, circuit, &frame, &mut self.heard, &mut self.out);
            }
            Act::Turn(link) => self.sessions.turn(link, &mut self.heard, &mut self.out),
            Act::OpenTunnel {
                link,
                name,
                relay,
                at,
            } => self
                .sessions
                .open_tunnel(self.now, link, name, (relay, &at)),
            Act::Tunnel(link, frame) => {
                self.sessions
                    .send_tunnel(link, frame, &mut self.heard, &mut self.out);
            }
            Act::Link(link, carriage, event) => {
                self.link(link, event);
                if let Some(carriage) = carriage {
                    self.sessions.carried_by(link, carriage);
                }
            }
            Act::DialCircuit {
                link,
                relay,
                target,
                plan,
            } => {
                self.sessions.dial_circuit(self.now, link, plan);
                self.relay.connect(cx!(self), link, relay, target);
            }
            Act::Load(load, tag) => {
                let id = self.pending.add_load(tag);
                self.out.push_back(Output::Load(id, load));
            }
            Act::Write(piece, tag) => {
                let id = self.pending.add_write(tag);
                self.out.push_back(Output::Write(id, piece));
            }
            Act::Answer(ticket, answer) => {
                self.sessions
                    .answer(ticket, answer, &mut self.heard, &mut self.out);
            }
            Act::Refuse(ticket, text) => {
                self.sessions
                    .refuse(ticket, &text, &mut self.heard, &mut self.out);
            }
            Act::Release(receipt) => self.sessions.release(receipt, &mut self.out),
            Act::Close { link, code } => {
                self.sessions
                    .close(link, code, &mut self.heard, &mut self.out);
            }
            Act::Dial { link, dial, plan } => {
                self.sessions
                    .dial(self.now, link, dial, plan, &mut self.out)
            }
            Act::Reach { addr, tag } => self.peers.reach(cx!(self), addr, tag),
            Act::Unconnected(peer, error) => {
                for call in self.pending.waiting(&peer) {
                    self.end_call(call, Err(CallError::Connect(error)), Receipt::NONE);
                }
            }
            Act::OwnAddrs(addrs) => {
                self.sessions.set_own_addrs(addrs);
                self.relay.on_moved(cx!(self));
            }
            Act::Wish(wish) => self.wish(wish),
            Act::Outcome(tag, outcome) => self.outcome(tag, outcome),
            Act::Done(op, result) => self.out.push_back(Output::Done(op, result)),
            Act::Event(event) => self.out.push_back(Output::Event(event)),
        }
    }

    fn wish(&mut self, wish: Wish) {
        let cx = cx!(self);
        match wish {
            Wish::Connect(peer) => self.peers.connect(cx, peer),
            Wish::Hints(hints) => self.peers.add_hints(cx, hints),
            Wish::Judge(peer, conduct) => self.peers.judge(cx, peer, conduct),
            Wish::Contact(contact) => self.dht.add_contact(cx, contact),
            Wish::Unlisted(peer) => self.dht.unlist(&peer),
            Wish::Part {
                circuits,
                idle,
                too_many,
            } => self.part(circuits, idle, too_many),
            Wish::Candidate(contact) => self.dht.candidate(cx, contact),
            Wish::Probe(addrs) => self.peers.probe(cx, addrs),
            Wish::Hub(peer) => self.dht.add_hub(cx, peer),
            Wish::Unreachable(peer) => self.dht.drop_contact(cx, peer),
            Wish::Lookup { key, want, tag } => self.dht.lookup(cx, key, want, tag),
            Wish::Store {
                key,
                value,
                ttl_secs,
                tag,
            } => self.dht.store(cx, key, value, ttl_secs, tag),
            Wish::Provide { content, tag } => self.dht.provide(cx, content, tag),
            Wish::Serve { share, files } => self.transfers.serve(cx, share, files),
            Wish::ServeFinished { share, files } => {
                self.transfers.serve_finished(cx, share, files);
            }
            Wish::Offered(contents) => self.dht.offered(&contents),
            Wish::Withdrawn(contents) => self.dht.withdrawn(&contents),
            Wish::Heard(addrs) => {
                self.peers.take_offer(cx, addrs);
            }
            Wish::Download(download) => self.transfers.download(cx, *download),
            Wish::Changed { share, path } => self.catalogs.on_changed(cx, share, path),
            Wish::Tunnel { route, tag } => self.relay.reach(cx, *route, tag),
            Wish::Pump(link) => self.relay.pump(cx, link),
            Wish::Reachable(is_direct) => self.relay.on_reachable(cx, is_direct),
            Wish::ContentPath(peer) => self.peers.find_content_path(cx, peer),
            Wish::Doubt(peer) => self.peers.doubt(cx, peer),
            Wish::Routes(routes) => self.peers.set_routes(cx, routes),
            Wish::DialTunnel { but } => self.peers.dial_tunnel(cx, &but),
            Wish::TunnelRoute(route) => self.peers.set_tunnel(cx, route),
            Wish::RankRelays(relays) => self.peers.rank_relays(cx, &relays),
            Wish::RelaysRanked(relays) => self.relay.on_ranked(cx, relays),
            Wish::MoreRelays => self.peers.connect_relays(cx),
            Wish::RelaysHeard(addrs) => self.peers.relays_heard(cx, addrs),
            Wish::FindRelays => self.relay.find_relays(cx),
            Wish::Announced(relay, network) => self.relay.on_announced(cx, *relay, network),
            Wish::NamedRelays => self.peers.connect_named_relays(cx),
            Wish::NamedRelay(relay) => self.relay.on_named(cx, relay),
            Wish::Serving(share) => self.catalogs.on_serving(cx, share),
        }
    }

    fn call(&mut self, peer: NodeKey, request: Request, within: Duration, tag: Tag) {
        let is_open = self.sessions.roster().allows(&peer, &request);
        let call = Call { peer, request, tag };
        let id = self.pending.add_call(call, self.now.mono + within);
        if !is_open {
            self.end_call(id, Err(CallError::Busy), Receipt::NONE);
        } else if self.sessions.roster().is_callable(&peer) {
            self.send(id);
        } else if self.pending.wait(id) {
            self.peers.connect(cx!(self), peer);
        } else {
            self.end_call(id, Err(CallError::Busy), Receipt::NONE);
        }
    }

    fn send(&mut self, id: CallId) {
        let Some(call) = self.pending.call(id) else {
            return;
        };
        if !self
            .sessions
            .call(self.now, &call.peer, id, &call.request, &mut self.out)
        {
            self.end_call(id, Err(CallError::Busy), Receipt::NONE);
        }
    }

    fn replied(&mut self, id: CallId, envelope: &Envelope, receipt: Receipt) {
        let Some(call) = self.pending.call(id) else {
            // It came after its time-out.
            return self.sessions.release(receipt, &mut self.out);
        };
        let answer = Answer::decode(call.request.kind(), envelope).map_err(|error| match error {
            AnswerError::Refused { rate_limited, .. } => CallError::Refused { rate_limited },
            AnswerError::WrongType(_) | AnswerError::Malformed(_) => CallError::Malformed,
        });
        if let Ok(Answer::Chunk { .. }) = answer {
            // Whoever asked gives the bytes back when they are written.
            return self.end_call(id, answer, receipt);
        }
        self.sessions.release(receipt, &mut self.out);
        let nothing = Receipt {
            bytes: 0,
            ..receipt
        };
        self.end_call(id, answer, nothing);
    }

    fn overdue(&mut self, id: CallId) {
        let Some(call) = self.pending.call(id) else {
            return;
        };
        let peer = call.peer;
        if self.sessions.roster().is_callable(&peer) {
            self.peers.on_timeout(cx!(self), peer);
            if planted::has(&self.config, Bug::SlowIsCorrupt) {
                self.peers.judge(cx!(self), peer, Conduct::Corrupt);
            }
        }
        self.end_call(id, Err(CallError::TimedOut), Receipt::NONE);
    }

    fn end_call(&mut self, id: CallId, answer: Result<Answer, CallError>, receipt: Receipt) {
        let Some(call) = self.pending.end_call(id) else {
            return;
        };
        self.outcome(
            call.tag,
            Outcome::Answer {
                from: call.peer,
                answer,
                receipt,
            },
        );
    }
}
