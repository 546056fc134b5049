//! Asking for chunks and writing what comes.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::budget::Budget;
use super::file::{File, Phase};
use super::hashes::RATE_PAUSE;
use super::job::{ItemState, Job, Known};
use super::window::{Sent, Window};
use super::{Downloads, FULL_PAUSE, Place, Tag, Timer};
use crate::content::Bitmap;
use crate::cx::{CallError, Cx, Receipt};
use crate::id::{DownloadId, NodeKey};
use crate::limits::{CHUNK_LEN, FILES_FINISHING_MAX, SMALL_FILES_OPEN_MAX};
use crate::planted::{self, Bug};
use crate::storage::{Load, Loaded, OutboardKind, Proof, Resumed, StoreError, WriteError};
use crate::time::Time;
use crate::wire::{Answer, Request};
use crate::wish::{Conduct, Wish};

/// Files up to this size are opened by the hundreds.
pub(super) const SMALL: u64 = 65_536;
/// How often chunks that are late are looked for.
const LATE_EVERY: Duration = Duration::from_millis(250);
/// A chunk is late after so long at least, and at most, however slow its source: others may have it sooner.
const LATE_LEAST: Duration = Duration::from_millis(500);
const LATE_MOST: Duration = Duration::from_secs(10);
/// Who says nothing for so long although it owes a chunk is asked whether it is still there.
const SILENT: Duration = Duration::from_millis(1500);
/// How long a peer that did not answer in time is left alone.
const SLOW_PAUSE: Duration = Duration::from_secs(1);
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// A peer is praised once in so many chunks.
const PRAISE_EVERY: u32 = 64;
/// So many peers that send wrong bytes for a file's last chunk prove the catalog wrong.
const SUSPECTS_MAX: usize = 3;

/// A peer that chunks are asked of, for all downloads together.
pub(super) struct Source {
    pub(super) window: Window,
    /// Of deployed peers.
    budget: Option<Budget>,
    paused: Option<Time>,
}

/// A chunk asked of a peer.
pub(super) struct Ask {
    place: Place,
    index: u32,
    peer: NodeKey,
    sent: Sent,
    /// It is late from then on.
    late: Time,
}

/// A chunk that came and is being written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arrival {
    pub(super) place: Place,
    pub(super) index: u32,
    pub(super) from: NodeKey,
    sent: Sent,
    /// A chunk list alone says what it must be.
    claimed: bool,
}

#[cfg(any(test, feature = "check"))]
impl Ask {
    pub(super) fn peer(&self) -> NodeKey {
        self.peer
    }

    pub(super) fn chunk(&self) -> (Place, u32) {
        (self.place, self.index)
    }

    pub(super) fn sent(&self) -> &Sent {
        &self.sent
    }
}

#[cfg(any(test, feature = "check"))]
impl Arrival {
    pub(super) fn sent(&self) -> &Sent {
        &self.sent
    }
}

impl Source {
    fn new(ours: bool, now: Time) -> Source {
        Source {
            window: Window::new(!ours),
            budget: (!ours).then(|| Budget::new(now)),
            paused: None,
        }
    }

    pub(super) fn pause(&mut self, until: Time) {
        self.paused = self.paused.max(Some(until));
    }

    pub(super) fn is_paused(&self, now: Time) -> bool {
        self.paused.is_some_and(|until| until > now)
    }

    /// When one more chunk may be asked for; `None` if others must come first.
    fn ready_at(&self, now: Time) -> Option<Time> {
        if !self.window.has_room() {
            return None;
        }
        let pause = self.paused.unwrap_or(now).max(now);
        let budget = self.budget.as_ref();
        Some(budget.map_or(pause, |budget| budget.ready_at(now).max(pause)))
    }
}

impl Downloads {
    pub(super) fn source(&mut self, cx: &Cx<'_>, peer: NodeKey) -> &mut Source {
        let ours = cx.roster.is_ours(&peer);
        self.sources
            .entry(peer)
            .or_insert_with(|| Source::new(ours, cx.now.mono))
    }

    /// Opens files as far as there may be more: first those that somebody has, then those
    /// that may be on the disk already.
    pub(super) fn open_files(&mut self, cx: &mut Cx<'_>) {
        if !core::mem::take(&mut self.refill) {
            return;
        }
        let jobs: Vec<DownloadId> = self.running().collect();
        for wanted in [true, false] {
            for id in &jobs {
                for place in self.openable(cx, *id, wanted) {
                    self.open(cx, place);
                }
            }
        }
    }

    fn openable(&self, cx: &Cx<'_>, id: DownloadId, held: bool) -> Vec<Place> {
        let Some(job) = self.jobs.get(&id).filter(|job| job.stalled.is_none()) else {
            return Vec::new();
        };
        let mut open = self.files.len().saturating_sub(self.finishing.len());
        let mut places = Vec::new();
        if self.finishing.len() >= FILES_FINISHING_MAX {
            return places;
        }
        for index in &job.waiting {
            if open >= SMALL_FILES_OPEN_MAX {
                break;
            }
            let Some(item) = job.item(*index) else {
                continue;
            };
            if open >= cx.config.files_at_once_max as usize && item.size > SMALL {
                continue;
            }
            let fits = match held {
                true => job.has_holder(*index),
                false => matches!(item.known, Known::Unseen(_)),
            };
            if fits {
                places.push(Place {
                    job: id,
                    item: *index,
                });
                open += 1;
            }
        }
        places
    }

    fn open(&mut self, cx: &mut Cx<'_>, place: Place) {
        let Some(job) = self.jobs.get_mut(&place.job) else {
            return;
        };
        let Some(part) = job.part(place.item) else {
            return;
        };
        if self.parts.contains_key(&part) {
            // Another download fetches it; this one looks when that is done.
            return;
        }
        let Some(item) = job.item_mut(place.item) else {
            return;
        };
        item.state = ItemState::Open;
        let known = core::mem::replace(&mut item.known, Known::Seen(None));
        let file = File::new(part.clone(), item);
        let (content, size, chunks) = (item.content, item.size, item.chunks());
        job.waiting.remove(&place.item);
        self.parts.insert(part.clone(), place);
        self.files.insert(place, file);
        match known {
            Known::Seen(have) => {
                let (kind, have) =
                    have.unwrap_or_else(|| (OutboardKind::Subtrees, Bitmap::new(chunks).into()));
                self.start_fetching(place, *have, kind);
            }
            Known::Unseen(saved) => {
                let (kind, verified) = match saved {
                    Some((kind, have)) => (kind, *have),
                    None => (OutboardKind::Subtrees, Bitmap::new(chunks)),
                };
                let load = Load::Resume {
                    part,
                    content,
                    size,
                    kind,
                    verified,
                };
                cx.load(load, Tag::Resumed { place, kind });
            }
        }
    }

    pub(super) fn on_resumed(
        &mut self,
        cx: &mut Cx<'_>,
        place: Place,
        kind: OutboardKind,
        result: Result<Loaded, StoreError>,
    ) {
        let Some(file) = self.files.get(&place) else {
            return;
        };
        match result {
            Ok(Loaded::Resume(Resumed::Complete(found))) => {
                self.set_done(place, file.size);
                self.item_done(cx, place, found);
            }
            Ok(Loaded::Resume(Resumed::Occupied)) => {
                let rel = file.part.rel.clone();
                let reason = alloc::format!("{rel}: a different file is in the way");
                self.item_failed(cx, place, reason);
            }
            Ok(Loaded::Resume(Resumed::Partial(have))) if have.len() == file.chunks() => {
                self.start_fetching(place, have, kind);
            }
            Ok(_) => self.start_fetching(place, Bitmap::new(file.chunks()), kind),
            Err(error) => self.item_failed(cx, place, alloc::string::ToString::to_string(&error)),
        }
    }

    fn start_fetching(&mut self, place: Place, have: Bitmap, kind: OutboardKind) {
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        file.found(have, kind);
        file.phase = Phase::Fetching;
        let done = file.done();
        if file.plan.is_complete() {
            self.is_complete(place);
        } else {
            self.ready.insert(place);
        }
        self.set_done(place, done);
        self.park(place);
    }

    /// Corrects the sum of a download to what an item has on disk.
    pub(super) fn set_done(&mut self, place: Place, done: u64) {
        let Some(job) = self.jobs.get_mut(&place.job) else {
            return;
        };
        let Some(item) = job.items.get_mut(place.item as usize) else {
            return;
        };
        let before = core::mem::replace(&mut item.done, done);
        job.totals.done = job.totals.done.saturating_sub(before).saturating_add(done);
    }

    /// Asks every peer with room for chunks, one each in turn, until nobody can be asked for more.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        if self.ready.is_empty() {
            self.timers.cancel(&Timer::Pump);
            return;
        }
        let mut peers: Vec<NodeKey> = cx.roster.askable().collect();
        let mut wake: Option<Time> = None;
        while !peers.is_empty() && !self.ready.is_empty() {
            peers.retain(|peer| match self.source(cx, *peer).ready_at(cx.now.mono) {
                Some(at) if at <= cx.now.mono => self.ask_next(cx, *peer),
                Some(at) => {
                    wake = Some(wake.map_or(at, |wake| wake.min(at)));
                    false
                }
                None => false,
            });
        }
        match wake.filter(|_| !self.ready.is_empty()) {
            Some(at) => self.timers.set(Timer::Pump, at),
            None => drop(self.timers.cancel(&Timer::Pump)),
        }
    }

    /// Asks a peer for the first chunk that it has; false if there is none.
    fn ask_next(&mut self, cx: &mut Cx<'_>, peer: NodeKey) -> bool {
        let mut from = None;
        loop {
            let next = match from {
                None => self.ready.first(),
                Some(from) => self
                    .ready
                    .range((
                        core::ops::Bound::Excluded(from),
                        core::ops::Bound::Unbounded,
                    ))
                    .next(),
            };
            let Some(place) = next.copied() else {
                return false;
            };
            from = Some(place);
            let holds = |job: &Job| {
                let goes_on = job.is_running() && job.stalled.is_none();
                goes_on && job.holds(&peer, place.item)
            };
            if !self.jobs.get(&place.job).is_some_and(holds) {
                continue;
            }
            let Some(file) = self.files.get_mut(&place) else {
                self.ready.remove(&place);
                continue;
            };
            let Some(index) = file.plan.next() else {
                self.ready.remove(&place);
                continue;
            };
            if !file.is_provable(index, cx.roster.is_ours(&peer)) {
                self.want_hash(cx, place, index);
                continue;
            }
            self.ask(cx, place, index, peer);
            return true;
        }
    }

    fn ask(&mut self, cx: &mut Cx<'_>, place: Place, index: u32, peer: NodeKey) {
        let now = cx.now.mono;
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        file.plan.ask(index);
        let (content, len) = (file.content, file.chunk_len(index));
        let source = self.source(cx, peer);
        let (patience, expected) = (source.window.patience(), source.window.expected());
        let sent = source.window.send(len, now);
        if let Some(budget) = &mut source.budget {
            budget.asked(now);
        }
        self.next = self.next.wrapping_add(1);
        let late = now + expected.saturating_mul(2).clamp(LATE_LEAST, LATE_MOST);
        self.asks.insert(
            self.next,
            Ask {
                place,
                index,
                peer,
                sent,
                late,
            },
        );
        let request = Request::GetChunk { content, index };
        cx.call(peer, request, patience, Tag::Chunk(self.next));
        if self.timers.at(&Timer::Late).is_none() {
            self.timers.set(Timer::Late, now + LATE_EVERY);
        }
    }

    /// Asks idle peers for what slower ones owe for too long.
    pub(super) fn copy_late(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.asks.is_empty() {
            return;
        }
        self.timers.set(Timer::Late, now + LATE_EVERY);
        self.doubt_silent(cx);
        let late: Vec<(Place, u32, NodeKey, u64)> = self
            .asks
            .values()
            .filter(|ask| ask.late <= now)
            .filter(|ask| {
                let file = self.files.get(&ask.place);
                file.is_some_and(|file| file.plan.may_copy(ask.index))
            })
            .map(|ask| {
                let source = self.sources.get(&ask.peer);
                let rate = source.map_or(0, |source| source.window.rate());
                (ask.place, ask.index, ask.peer, rate)
            })
            .collect();
        for (place, index, slow, rate) in late {
            let still = self
                .files
                .get(&place)
                .is_some_and(|file| file.plan.may_copy(index));
            let helper = self
                .holders(cx, place)
                .into_iter()
                .filter(|peer| *peer != slow)
                .filter(|peer| {
                    let ours = cx.roster.is_ours(peer);
                    let file = self.files.get(&place);
                    file.is_some_and(|file| file.is_provable(index, ours))
                })
                .collect::<Vec<NodeKey>>()
                .into_iter()
                .find(|peer| {
                    let source = self.source(cx, *peer);
                    let idle = source.ready_at(now).is_some_and(|at| at <= now);
                    idle && (source.window.rate() >= rate)
                });
            if let Some(helper) = helper.filter(|_| still) {
                self.ask(cx, place, index, helper);
            }
        }
    }

    /// Who owes chunks and says nothing at all may be gone, and its transport may notice that much later.
    fn doubt_silent(&self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let owing = self.asks.values();
        let owing = owing.filter(|ask| now.since(ask.sent.at) >= SILENT);
        let owing: BTreeSet<NodeKey> = owing.map(|ask| ask.peer).collect();
        for peer in owing {
            let session = cx.roster.session(&peer);
            if session.is_some_and(|it| it.level.is_some() && now.since(it.heard) >= SILENT) {
                cx.wish(Wish::Doubt(peer));
            }
        }
    }

    fn holders(&self, cx: &Cx<'_>, place: Place) -> Vec<NodeKey> {
        let Some(job) = self.jobs.get(&place.job).filter(|job| job.is_running()) else {
            return Vec::new();
        };
        job.peers
            .keys()
            .filter(|key| job.holds(key, place.item) && cx.roster.is_callable(key))
            .copied()
            .collect()
    }

    pub(super) fn on_chunk(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        from: NodeKey,
        answer: Result<Answer, CallError>,
        receipt: Receipt,
    ) {
        let Some(ask) = self.asks.remove(&id) else {
            return cx.release(receipt);
        };
        let Ask {
            place, index, sent, ..
        } = ask;
        let Some(file) = self.files.get_mut(&place) else {
            self.end_sent(&from, &sent);
            return cx.release(receipt);
        };
        match answer {
            Ok(Answer::Chunk {
                content,
                index: got,
                data,
            }) if content == file.content
                && got == index
                && data.len() as u64 == u64::from(file.chunk_len(index)) =>
            {
                let wanted = match file.phase {
                    Phase::Fetching => file.plan.came(index),
                    // It was asked of another peer too, and that one was the last to be waited for.
                    Phase::Resuming | Phase::Checking | Phase::Finishing => {
                        file.plan.missed(index);
                        false
                    }
                };
                if let Some((mut piece, claimed)) =
                    wanted.then(|| file.piece(index, data)).flatten()
                {
                    if planted::has(cx.config, Bug::HashFromSender) {
                        piece.proof = Proof::Hash(*blake3::hash(&piece.data).as_bytes());
                    }
                    let arrival = Arrival {
                        place,
                        index,
                        from,
                        sent,
                        claimed,
                    };
                    return cx.write(piece, Tag::Written { arrival, receipt });
                }
                // A copy came first, or the hash that it was asked by is none any more.
                if wanted {
                    file.plan.unwritten(index);
                }
                let now = cx.now.mono;
                if let Some(source) = self.sources.get_mut(&from) {
                    source.window.deliver(&sent, now);
                }
            }
            Ok(_) => {
                file.plan.missed(index);
                self.end_sent(&from, &sent);
                self.wrong_bytes(cx, place, index, from);
            }
            Err(error) => {
                if !planted::has(cx.config, Bug::FailedChunkDropped) {
                    file.plan.missed(index);
                }
                self.end_sent(&from, &sent);
                self.chunk_failed(cx, place, from, &error);
            }
        }
        cx.release(receipt);
        self.again(place);
    }

    fn chunk_failed(&mut self, cx: &mut Cx<'_>, place: Place, from: NodeKey, error: &CallError) {
        let now = cx.now.mono;
        match error {
            CallError::Refused { rate_limited: true } => {
                self.source(cx, from).pause(now + RATE_PAUSE);
            }
            CallError::Refused {
                rate_limited: false,
            } => self.has_not(place, &from),
            CallError::TimedOut => {
                let source = self.source(cx, from);
                source.window.slow_down();
                source.pause(now + SLOW_PAUSE);
                self.list_unconfirmed(place, from);
            }
            CallError::Busy => self.source(cx, from).pause(now + BUSY_PAUSE),
            // What it has is forgotten when its last session is gone.
            CallError::Lost => {}
            CallError::Connect(_) => self.has_not(place, &from),
            CallError::Malformed => {
                cx.wish(Wish::Judge(from, Conduct::Offence));
                self.ban(place.job, &from);
            }
        }
    }

    pub(super) fn on_written(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: &Arrival,
        result: Result<(), WriteError>,
    ) {
        let is_lost = matches!(result, Err(WriteError::Store(_)));
        let result = match is_lost && planted::has(cx.config, Bug::FailedWriteCounts) {
            true => Ok(()),
            false => result,
        };
        let Arrival {
            place,
            index,
            from,
            sent,
            claimed,
        } = *arrival;
        let now = cx.now.mono;
        match &result {
            Ok(()) => {
                if let Some(source) = self.sources.get_mut(&from) {
                    source.window.deliver(&sent, now);
                }
            }
            Err(_) => self.end_sent(&from, &sent),
        }
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        match result {
            Ok(()) => {
                file.written(index);
                let next = index.saturating_add(1);
                let is_last = next.saturating_add(1) == file.chunks();
                if is_last && planted::has(cx.config, Bug::LastChunkAssumed) {
                    file.written(next);
                }
                let (len, done) = (u64::from(file.chunk_len(index)), file.done());
                let complete = file.plan.is_complete();
                self.sync_when_due(cx, place);
                self.credit(cx, place.job, from, len);
                self.set_done(place, done);
                self.progress(cx, place.job);
                if complete {
                    self.is_complete(place);
                }
            }
            Err(WriteError::WrongBytes) => {
                file.plan.unwritten(index);
                if claimed {
                    self.doubt(cx, place, index, from);
                } else {
                    self.wrong_bytes(cx, place, index, from);
                }
                self.again(place);
            }
            Err(WriteError::Store(StoreError::Full)) => {
                file.plan.unwritten(index);
                self.again(place);
                self.stall(cx, place.job);
            }
            Err(WriteError::Store(error)) => {
                file.plan.unwritten(index);
                self.item_failed(cx, place, alloc::string::ToString::to_string(&error));
            }
        }
    }

    /// A peer gave so many verified bytes.
    fn credit(&mut self, cx: &mut Cx<'_>, id: DownloadId, from: NodeKey, len: u64) {
        self.downloaded = self.downloaded.saturating_add(len);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.meter.add(len, cx.now.mono);
        if let Some(peer) = job.peer(from) {
            peer.bytes = peer.bytes.saturating_add(len);
            peer.chunks = peer.chunks.wrapping_add(1);
            if peer.chunks % PRAISE_EVERY == 1 {
                cx.wish(Wish::Judge(from, Conduct::Good));
            }
        }
    }

    /// A peer sent what is not the chunk. If several do so for the last chunk, the catalog
    /// gives a wrong size, and it is no peer's fault.
    pub(super) fn wrong_bytes(&mut self, cx: &mut Cx<'_>, place: Place, index: u32, from: NodeKey) {
        cx.wish(Wish::Judge(from, Conduct::Corrupt));
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        let rel = file.part.rel.clone();
        if index.saturating_add(1) == file.chunks() {
            file.suspects.insert(from);
        }
        let lie = file.suspects.len() >= SUSPECTS_MAX;
        self.ban(place.job, &from);
        if lie {
            let reason = alloc::format!("{rel}: no peer has content of the size in the catalog");
            self.item_failed(cx, place, reason);
        }
    }

    /// The disk is full: the download pauses.
    pub(super) fn stall(&mut self, cx: &mut Cx<'_>, id: DownloadId) {
        let until = cx.now.mono + FULL_PAUSE;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.stalled = Some(until);
            self.timers.set(Timer::Stalled(id), until);
        }
    }

    pub(super) fn unstall(&mut self, id: DownloadId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.stalled = None;
            self.refill = true;
        }
    }

    /// A chunk is free again.
    fn again(&mut self, place: Place) {
        self.park(place);
        self.offer(place);
    }

    /// Chunks of the file may be asked for, once it is known what of it is there.
    pub(super) fn offer(&mut self, place: Place) {
        let fetching = |file: &File| file.phase == Phase::Fetching && !file.asking;
        if self.files.get(&place).is_some_and(fetching) {
            self.ready.insert(place);
        }
    }

    fn end_sent(&mut self, peer: &NodeKey, sent: &Sent) {
        if let Some(source) = self.sources.get_mut(peer) {
            source.window.end(sent);
        }
    }
}

// A small file is one chunk, so it needs no hashes.
const _: () = assert!(SMALL <= CHUNK_LEN as u64);
