//! The circuits of each session, and what flows through them (SPECIFICATION §11.3).
//!
//! A pipe is one circuit as one session has it: what waits to go out on it, and how much may go in each direction. What
//! comes in goes either to a link of ours, if the circuit ends here, or to the pipe of another session, if it passes. Who
//! feeds a pipe gets room when something left it, so what waits is bounded whoever is slow.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::passages::{Booking, PassageId, Passages};
use crate::cx::Cx;
use crate::id::{CircuitId, LinkId};
use crate::io::{CloseCode, Lane, LinkError, LinkEvent};
use crate::limits::{
    CIRCUIT_COST, CIRCUIT_CREDIT_FIRST, CIRCUIT_WINDOW, CREDIT_STEP, RECORD_MAX, STRAYS_BURST,
    STRAYS_PER_SECOND,
};
use crate::time::Time;
use crate::timers::Timers;
use crate::token_bucket::TokenBucket;
use crate::wire::{CircuitEnd, CircuitFrame};
use crate::wish::{Conduct, Wish};

/// Data that is shorter is copied before it waits, so that little of it does not hold much of what was read with it.
const COPIED_BELOW: usize = RECORD_MAX / 4;
/// Who has too little credit for a record is told of more, whatever is held back meanwhile.
const _: () = assert!(CIRCUIT_WINDOW >= CREDIT_STEP + RECORD_MAX as u64 + CIRCUIT_COST);

/// A circuit on the session of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub link: LinkId,
    pub circuit: CircuitId,
}

/// Where what comes in goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// It ends here, as this link.
    Here(LinkId),
    /// It passes.
    On(At, PassageId),
}

struct Pipe {
    to: To,
    queue: VecDeque<Bytes>,
    /// How much the other side of the session takes.
    credit: u64,
    /// How much it may send.
    granted: u64,
    /// Granted and not told yet.
    untold: u64,
    /// How much of what it may send was not granted yet: everybody may send the first bytes.
    ahead: u64,
    /// Nothing is fed any more; when the queue is empty this is told and the pipe is gone.
    ending: Option<CircuitEnd>,
    pace: Paced,
}

/// Whether what goes out next has its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paced {
    /// It was not asked for one.
    Unbooked,
    /// That is yet to come.
    Waiting,
    /// That has come.
    Due,
}

/// All pipes.
#[derive(Default)]
pub(super) struct Pipes {
    pipes: BTreeMap<At, Pipe>,
    /// The links of circuits that end here.
    ends: BTreeMap<LinkId, At>,
    /// Circuits of each session that something may go out on, in turns.
    ready: BTreeMap<LinkId, VecDeque<CircuitId>>,
    /// Sessions whose next frame is under way to be sent.
    pumped: BTreeSet<LinkId>,
    /// When circuits that keep to a rate go on.
    paced: Timers<At>,
    /// How many more frames of circuits that are not there each session may send.
    strays: BTreeMap<LinkId, TokenBucket>,
    /// Those that pass.
    pub passages: Passages,
}

impl Pipes {
    /// A circuit of a session ends here as this link, which is told later that it is up.
    pub(super) fn end_here(&mut self, at: At, link: LinkId) {
        self.ends.insert(link, at);
        self.pipes.insert(at, Pipe::new(To::Here(link)));
    }

    /// Two sessions have the two ends of a circuit.
    pub(super) fn join(&mut self, one: At, other: At, passage: PassageId, cx: &mut Cx<'_>) {
        self.passages.up(passage);
        for (at, to) in [(one, other), (other, one)] {
            let mut pipe = Pipe::new(To::On(to, passage));
            pipe.grant(CIRCUIT_WINDOW);
            pipe.tell(at, cx);
            self.pipes.insert(at, pipe);
        }
    }

    /// Whether a circuit on any session has this number.
    pub(super) fn is_number(&self, circuit: CircuitId) -> bool {
        self.pipes.keys().any(|at| at.circuit == circuit)
    }

    pub(super) fn contains(&self, at: At) -> bool {
        self.pipes.contains_key(&at)
    }

    /// How many circuits end here.
    pub(super) fn ending_here(&self) -> usize {
        self.ends.len()
    }

    /// Something came in.
    pub(super) fn on_frame(&mut self, cx: &mut Cx<'_>, at: At, frame: CircuitFrame) {
        if !self.contains(at) {
            return self.stray(cx, at.link);
        }
        match frame {
            CircuitFrame::Data(bytes) => self.on_data(cx, at, bytes),
            CircuitFrame::Credit(bytes) => {
                if let Some(pipe) = self.pipes.get_mut(&at) {
                    pipe.credit = pipe.credit.saturating_add(bytes.into());
                    self.ready(cx, at);
                }
            }
            CircuitFrame::Close(end) => {
                if let Some(pipe) = self.remove(at) {
                    self.pass_end(cx, pipe.to, end);
                }
            }
        }
    }

    /// Something came of a circuit that is not there. It may have been under way when the circuit ended, unless there is
    /// too much of it.
    fn stray(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let now = cx.now.mono;
        if let Some(bucket) = self.strays.get_mut(&link)
            && bucket.take(now, 1)
        {
            return;
        }
        let is_first = self.strays.remove(&link).is_none();
        let Some(peer) = cx.roster.peer_on(link) else {
            return;
        };
        if is_first {
            let mut bucket = TokenBucket::new(STRAYS_BURST, STRAYS_PER_SECOND, now);
            bucket.take(now, 1);
            self.strays.insert(link, bucket);
        } else {
            cx.wish(Wish::Judge(peer, Conduct::Offence));
            cx.close(link, CloseCode::Offence);
        }
    }

    fn on_data(&mut self, cx: &mut Cx<'_>, at: At, bytes: Bytes) {
        let Some(pipe) = self.pipes.get_mut(&at) else {
            return;
        };
        let Some(granted) = pipe.granted.checked_sub(cost(&bytes)) else {
            return self.end(cx, at, CircuitEnd::Offence);
        };
        pipe.granted = granted;
        match pipe.to {
            To::Here(link) => {
                // The link itself gives back the bytes alone.
                pipe.grant(CIRCUIT_COST);
                pipe.tell(at, cx);
                cx.link(link, LinkEvent::Bytes(Lane::Control, bytes));
            }
            To::On(other, _) if bytes.len() < COPIED_BELOW => {
                self.feed(cx, other, Bytes::copy_from_slice(&bytes));
            }
            To::On(other, _) => self.feed(cx, other, bytes),
        }
    }

    /// Something is to go out on a circuit.
    fn feed(&mut self, cx: &mut Cx<'_>, at: At, bytes: Bytes) {
        if let Some(pipe) = self.pipes.get_mut(&at)
            && pipe.ending.is_none()
        {
            pipe.queue.push_back(bytes);
            self.ready(cx, at);
        }
    }

    /// A link that ends here sends.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, link: LinkId, bytes: Bytes) {
        if let Some(at) = self.ends.get(&link).copied() {
            self.feed(cx, at, bytes);
        }
    }

    /// A link that ends here takes so many more bytes.
    pub(super) fn grant(&mut self, cx: &mut Cx<'_>, link: LinkId, bytes: u32) {
        if let Some(at) = self.ends.get(&link).copied()
            && let Some(pipe) = self.pipes.get_mut(&at)
        {
            pipe.grant(bytes.into());
            pipe.tell(at, cx);
        }
    }

    /// A link that ends here is closed, after what was sent on it. False if it is not known.
    pub(super) fn close(&mut self, cx: &mut Cx<'_>, link: LinkId) -> bool {
        let Some(at) = self.ends.remove(&link) else {
            return false;
        };
        self.end_after_queue(cx, at, CircuitEnd::Closed);
        true
    }

    /// A session has ended, and its circuits with it.
    pub(super) fn session_down(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let lost: Vec<At> = self.on_session(link).collect();
        for at in lost {
            if let Some(pipe) = self.remove(at) {
                self.pass_end(cx, pipe.to, CircuitEnd::Lost);
            }
        }
        self.ready.remove(&link);
        self.pumped.remove(&link);
        self.strays.remove(&link);
    }

    /// Ends a circuit for a reason of ours; both sides are told.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>, at: At, end: CircuitEnd) {
        if let Some(pipe) = self.remove(at) {
            cx.circuit(at.link, at.circuit, CircuitFrame::Close(end));
            self.pass_end(cx, pipe.to, end);
        }
    }

    /// One side of a circuit is gone.
    fn pass_end(&mut self, cx: &mut Cx<'_>, to: To, end: CircuitEnd) {
        match to {
            To::Here(link) => {
                let error = match end {
                    CircuitEnd::Closed => LinkError::Closed,
                    CircuitEnd::Lost | CircuitEnd::Limited | CircuitEnd::Offence => LinkError::Lost,
                };
                cx.link(link, LinkEvent::Closed(error));
            }
            To::On(other, _) => self.end_after_queue(cx, other, end),
        }
    }

    fn end_after_queue(&mut self, cx: &mut Cx<'_>, at: At, end: CircuitEnd) {
        if let Some(pipe) = self.pipes.get_mut(&at) {
            pipe.ending = Some(end);
            self.ready(cx, at);
        }
    }

    /// Ends circuits that pass, those that are chosen, for a limit of ours.
    pub(super) fn end_those(
        &mut self,
        cx: &mut Cx<'_>,
        chosen: impl Fn(&Passages, PassageId) -> bool,
    ) {
        let pipes = self.pipes.iter();
        let ending = pipes.filter(|(_, pipe)| match pipe.to {
            To::On(_, passage) => chosen(&self.passages, passage),
            To::Here(_) => false,
        });
        let ending: Vec<At> = ending.map(|(at, _)| *at).collect();
        for at in ending {
            self.end(cx, at, CircuitEnd::Limited);
        }
    }

    /// Whether a peer has something under way through here.
    pub(super) fn is_on(&self, links: impl IntoIterator<Item = LinkId>) -> bool {
        let mut links = links.into_iter();
        links.any(|link| self.on_session(link).next().is_some())
    }

    /// Something may go out on a circuit.
    fn ready(&mut self, cx: &mut Cx<'_>, at: At) {
        let can_go = self.pipes.get(&at).is_some_and(Pipe::can_go);
        if !can_go {
            return;
        }
        let turns = self.ready.entry(at.link).or_default();
        if !turns.contains(&at.circuit) {
            turns.push_back(at.circuit);
        }
        self.pump_soon(cx, at.link);
    }

    fn pump_soon(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let has_turns = self.ready.get(&link).is_some_and(|it| !it.is_empty());
        if has_turns && !cx.roster.is_held_up(link) && self.pumped.insert(link) {
            cx.wish(Wish::Pump(link));
        }
    }

    /// One more frame may go out on a session: that of the circuit whose turn it is.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        self.pumped.remove(&link);
        let turns = self.ready.get_mut(&link);
        if let Some(circuit) = turns.and_then(VecDeque::pop_front) {
            self.go(cx, At { link, circuit });
        }
        if self.ready.get(&link).is_some_and(VecDeque::is_empty) {
            self.ready.remove(&link);
        }
        self.pump_soon(cx, link);
    }

    /// A session that was held up takes more.
    pub(super) fn on_room(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        self.pump_soon(cx, link);
    }

    fn go(&mut self, cx: &mut Cx<'_>, at: At) {
        match self.book(cx, at) {
            Booking::Now => {}
            Booking::At(time) => return self.paced.set(at, time),
            Booking::Over => return self.end(cx, at, CircuitEnd::Limited),
        }
        let Some(pipe) = self.pipes.get_mut(&at).filter(|pipe| pipe.can_go()) else {
            return;
        };
        let Some(bytes) = pipe.queue.pop_front() else {
            let end = pipe.ending.unwrap_or(CircuitEnd::Closed);
            self.remove(at);
            return cx.circuit(at.link, at.circuit, CircuitFrame::Close(end));
        };
        let (len, cost) = (bytes.len(), cost(&bytes));
        pipe.credit = pipe.credit.saturating_sub(cost);
        pipe.pace = Paced::Unbooked;
        let feeder = pipe.to;
        cx.circuit(at.link, at.circuit, CircuitFrame::Data(bytes));
        match feeder {
            To::Here(link) if self.ends.contains_key(&link) => {
                cx.link(link, LinkEvent::Room(Lane::Control, len as u32));
            }
            To::Here(_) => {}
            To::On(other, passage) => {
                self.passages.passed(passage, len as u64, cx.now.mono);
                if let Some(pipe) = self.pipes.get_mut(&other) {
                    pipe.grant(cost);
                    pipe.tell(other, cx);
                }
            }
        }
        self.ready(cx, at);
    }

    /// When the next data on a circuit may go out, as far as rates and quotas say.
    fn book(&mut self, cx: &Cx<'_>, at: At) -> Booking {
        let Some(pipe) = self.pipes.get_mut(&at).filter(|pipe| pipe.can_go()) else {
            return Booking::Now;
        };
        let (To::On(_, passage), Paced::Unbooked) = (pipe.to, pipe.pace) else {
            return Booking::Now;
        };
        let (Some(bytes), Some(limits)) = (pipe.queue.front(), &cx.config.relay) else {
            return Booking::Now;
        };
        let booking = self
            .passages
            .book(passage, cost(bytes), limits, cx.now.mono);
        if matches!(booking, Booking::At(_)) {
            pipe.pace = Paced::Waiting;
        }
        booking
    }

    /// Goes on with circuits that kept to a rate.
    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>) {
        while let Some(at) = self.paced.pop_due(cx.now.mono) {
            if let Some(pipe) = self.pipes.get_mut(&at) {
                pipe.pace = Paced::Due;
                self.ready(cx, at);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.paced.next().map(|(at, _)| at)
    }

    fn remove(&mut self, at: At) -> Option<Pipe> {
        let pipe = self.pipes.remove(&at)?;
        self.paced.cancel(&at);
        match pipe.to {
            To::Here(link) if self.ends.get(&link) == Some(&at) => {
                self.ends.remove(&link);
            }
            To::On(other, passage) if !self.contains(other) => self.passages.end(passage),
            To::Here(_) | To::On(..) => {}
        }
        Some(pipe)
    }

    /// The circuits of a session.
    pub(super) fn on_session(&self, link: LinkId) -> impl Iterator<Item = At> {
        let first = CircuitId(0);
        let last = CircuitId(u32::MAX);
        let circuits = self.pipes.range(
            At {
                link,
                circuit: first,
            }..=At {
                link,
                circuit: last,
            },
        );
        circuits.map(|(at, _)| *at)
    }
}

/// How much of what is granted a piece of data takes.
fn cost(bytes: &Bytes) -> u64 {
    (bytes.len() as u64).saturating_add(CIRCUIT_COST)
}

#[cfg(any(test, feature = "check"))]
impl Pipes {
    /// How many circuits pass.
    pub(super) fn passing(&self) -> usize {
        let passing = self.pipes.values().filter_map(|pipe| match pipe.to {
            To::On(_, passage) => Some(passage),
            To::Here(_) => None,
        });
        passing.collect::<BTreeSet<PassageId>>().len()
    }

    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        use crate::limits::LINKS_MAX;
        use alloc::format;
        self.passages.check(broken);
        let strays = self.strays.len();
        broken.at_most(
            "sessions that sent on circuits that are not there",
            strays,
            LINKS_MAX,
        );
        for (at, pipe) in &self.pipes {
            let waiting: u64 = pipe.queue.iter().map(cost).sum();
            let is_passing = matches!(pipe.to, To::On(..));
            broken.unless(!is_passing || waiting <= CIRCUIT_WINDOW, || {
                format!("{waiting} bytes wait on {at:?}")
            });
            broken.unless(pipe.untold < CREDIT_STEP, || {
                format!(
                    "{} bytes more may be sent on {at:?}, and nobody is told",
                    pipe.untold
                )
            });
            let is_known = match pipe.to {
                To::Here(link) => pipe.ending.is_some() || self.ends.get(&link) == Some(at),
                To::On(other, _) => pipe.ending.is_some() || self.contains(other),
            };
            broken.unless(is_known, || format!("{at:?} leads nowhere"));
            let is_paced = self.paced.at(at).is_some();
            broken.unless(is_paced == (pipe.pace == Paced::Waiting), || {
                format!("{at:?} waits for its time and has none, or has one for nothing")
            });
            let has_turn = self.ready.get(&at.link);
            let has_turn = has_turn.is_some_and(|turns| turns.contains(&at.circuit));
            broken.unless(has_turn || !pipe.can_go(), || {
                format!("something may go out on {at:?} and has no turn")
            });
        }
        for (link, at) in &self.ends {
            broken.unless(self.contains(*at), || format!("{link:?} ends nowhere"));
        }
    }
}

impl Pipe {
    fn new(to: To) -> Pipe {
        Pipe {
            to,
            queue: VecDeque::new(),
            credit: CIRCUIT_CREDIT_FIRST,
            granted: CIRCUIT_CREDIT_FIRST,
            untold: 0,
            ahead: CIRCUIT_CREDIT_FIRST,
            ending: None,
            pace: Paced::Unbooked,
        }
    }

    /// Whether a frame may go out now.
    fn can_go(&self) -> bool {
        match self.queue.front() {
            Some(bytes) => cost(bytes) <= self.credit && self.pace != Paced::Waiting,
            None => self.ending.is_some(),
        }
    }

    fn grant(&mut self, bytes: u64) {
        let known = bytes.min(self.ahead);
        self.ahead -= known;
        self.untold = self.untold.saturating_add(bytes - known);
    }

    /// Tells what was granted when it is worth a frame, and counts it as granted.
    fn tell(&mut self, at: At, cx: &mut Cx<'_>) {
        if self.untold < CREDIT_STEP {
            return;
        }
        let bytes = u32::try_from(self.untold).unwrap_or(u32::MAX);
        self.untold = self.untold.saturating_sub(bytes.into());
        self.granted = self.granted.saturating_add(bytes.into());
        cx.circuit(at.link, at.circuit, CircuitFrame::Credit(bytes));
    }
}
