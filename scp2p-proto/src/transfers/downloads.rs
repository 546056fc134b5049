//! Downloads: what is wanted, who has it, and getting it from all of them at once.

mod begin;
mod budget;
#[cfg(any(test, feature = "check"))]
mod check;
mod claims;
mod fetch;
mod file;
mod finish;
mod hashes;
mod job;
mod pause;
mod plan;
mod sources;
mod why;
mod window;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use self::begin::Search;
use self::claims::Checks;
use self::fetch::{Arrival, Ask, Source};
use self::file::{File, Phase};
use self::job::{Job, Known};
use crate::command::{CommandError, Reply};
use crate::content::Bitmap;
use crate::cx::{CallError, Cx, Outcome, Receipt};
use crate::event::Event;
use crate::id::{DownloadId, NodeKey, OpId};
use crate::rng::Rng;
use crate::storage::{OutboardKind, PartRef, Saved, StoreError, Table};
use crate::time::{Now, Time};
use crate::timers::Timers;
use crate::view::{DownloadPeer, DownloadState, DownloadView, Stats, Status};
use crate::wire::Answer;
use crate::wish::Found;
use crate::wish::Wish;

/// How long a download on a full disk waits.
const FULL_PAUSE: Duration = Duration::from_secs(10);

/// An item of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    job: DownloadId,
    item: u32,
}

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A download's rows are being made durable.
    Begun(DownloadId),
    /// A download's end is being made durable.
    Ended(DownloadId),
    Cancelled(OpId),
    /// Whether a download is paused is being made durable.
    Switched(OpId),
    /// Who has a content that no catalog lists?
    SearchHave(u64),
    SearchLookup(u64),
    SearchReached(u64),
    /// Which of these items does a peer have?
    Have {
        job: DownloadId,
        items: Vec<u32>,
    },
    /// Providers of the whole share, or of one item.
    Lookup {
        job: DownloadId,
        item: Option<u32>,
    },
    Reached {
        job: DownloadId,
        item: Option<u32>,
    },
    Resumed {
        place: Place,
        /// The hashes that the chunks found were checked by.
        kind: OutboardKind,
    },
    /// A page of hashes from our own store.
    Row {
        place: Place,
        page: u32,
    },
    /// A page of hashes from a peer.
    Page {
        place: Place,
        level: u8,
        page: u32,
    },
    ChunkList(Place),
    /// The number of an [`Ask`].
    Chunk(u64),
    Written {
        arrival: Arrival,
        receipt: Receipt,
    },
    /// A whole file was hashed.
    Checked(Place),
    Synced {
        place: Place,
        pages: BTreeSet<u32>,
    },
    Finished(Vec<Place>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Look for peers of a download.
    Poll(DownloadId),
    /// Try to make a download's end durable again.
    End(DownloadId),
    /// The disk may have space again.
    Stalled(DownloadId),
    /// A search takes too long.
    Search(u64),
    /// Save the have-maps.
    Sync,
    /// Look for chunks that are late.
    Late,
    /// A peer may be asked again.
    Pump,
    /// Move files to their names.
    Finish,
}

/// All downloads.
pub(super) struct Downloads {
    rng: Rng,
    /// The newest download's.
    last_id: u64,
    /// Of requests.
    next: u64,
    jobs: BTreeMap<DownloadId, Job>,
    searches: BTreeMap<u64, Search>,
    files: BTreeMap<Place, File>,
    /// Which item has a place on the disk; another one that wants it waits.
    parts: BTreeMap<PartRef, Place>,
    /// Open files with chunks to ask for.
    ready: BTreeSet<Place>,
    sources: BTreeMap<NodeKey, Source>,
    asks: BTreeMap<u64, Ask>,
    /// Files of which the whole is to be hashed.
    checks: Checks,
    /// Files to be moved to their names with the next batch.
    complete: Vec<Place>,
    /// Files whose batch failed, to be tried one by one.
    alone: VecDeque<Place>,
    finishing: BTreeSet<Place>,
    /// Whether more files may be opened.
    refill: bool,
    /// Providers being connected.
    reaches: u32,
    downloaded: u64,
    /// Nothing new is begun.
    stopping: bool,
    timers: Timers<Timer>,
}

impl Downloads {
    pub(super) fn new(rng: Rng, saved: &Saved, now: Now) -> Downloads {
        let mut downloads = Downloads {
            rng,
            last_id: 0,
            next: 0,
            jobs: BTreeMap::new(),
            searches: BTreeMap::new(),
            files: BTreeMap::new(),
            parts: BTreeMap::new(),
            ready: BTreeSet::new(),
            sources: BTreeMap::new(),
            asks: BTreeMap::new(),
            checks: Checks::default(),
            complete: Vec::new(),
            alone: VecDeque::new(),
            finishing: BTreeSet::new(),
            refill: true,
            reaches: 0,
            downloaded: 0,
            stopping: false,
            timers: Timers::new(),
        };
        downloads.restore(saved, now);
        downloads
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_>) {
        let running: Vec<DownloadId> = self.running().collect();
        for job in running {
            self.poll(cx, job);
        }
        self.turn(cx);
    }

    pub(super) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        if !cx.roster.is_ours(&peer) {
            return;
        }
        let running: Vec<DownloadId> = self.running().collect();
        for job in running {
            self.ask_have(cx, job, peer);
        }
        self.ask_searches(cx, peer);
    }

    pub(super) fn on_down(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.sources.remove(&peer);
        let soon = cx.now.mono + self.rng.jitter(Duration::from_secs(2));
        let mut is_missed = false;
        for (id, job) in &mut self.jobs {
            let Some(known) = job.peers.get_mut(&peer) else {
                continue;
            };
            known.tried = false;
            if known.have.count() > 0 {
                known.have = Bitmap::new(known.have.len());
                if job.state == DownloadState::Running {
                    self.timers.set(Timer::Poll(*id), soon);
                    is_missed = true;
                }
            }
        }
        if is_missed {
            // It may be only the way that is gone, and there another.
            cx.wish(Wish::Connect(peer));
        }
        self.park_orphans();
        self.turn(cx);
    }

    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        match (tag, outcome) {
            (
                tag,
                Outcome::Answer {
                    from,
                    answer,
                    receipt,
                },
            ) => self.on_answer(cx, tag, from, answer, receipt),
            (Tag::Resumed { place, kind }, Outcome::Loaded(result)) => {
                self.on_resumed(cx, place, kind, result);
            }
            (Tag::Row { place, page }, Outcome::Loaded(result)) => {
                self.on_row(place, page, result);
            }
            (Tag::Written { arrival, receipt }, Outcome::Written(result)) => {
                cx.release(receipt);
                self.on_written(cx, &arrival, result);
            }
            (Tag::Checked(place), Outcome::Loaded(result)) => self.on_checked(cx, place, result),
            (tag, Outcome::Committed(result)) => self.on_committed(cx, tag, result),
            (Tag::Reached { job, item }, Outcome::Reached(result)) => {
                self.reaches = self.reaches.saturating_sub(1);
                if let Ok(peer) = result {
                    self.on_provider(cx, job, item, peer);
                }
            }
            // Coming up, the peer was asked already.
            (Tag::SearchReached(_), Outcome::Reached(_)) => {
                self.reaches = self.reaches.saturating_sub(1);
            }
            (Tag::Lookup { job, item }, Outcome::Found(Found::Providers(found))) => {
                if self.jobs.get(&job).is_some_and(Job::is_running) {
                    self.reach(cx, &found.providers, &Tag::Reached { job, item });
                }
            }
            (Tag::SearchLookup(search), Outcome::Found(Found::Providers(found))) => {
                self.reach(cx, &found.providers, &Tag::SearchReached(search));
            }
            (_, _) => {}
        }
        self.turn(cx);
    }

    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>) {
        let mut due = false;
        while let Some(timer) = self.timers.pop_due(cx.now.mono) {
            due = true;
            match timer {
                Timer::Poll(job) => self.poll(cx, job),
                Timer::End(job) => self.end(cx, job),
                Timer::Stalled(job) => self.unstall(job),
                Timer::Search(search) => self.give_up_search(cx, search),
                Timer::Sync => self.sync(cx),
                Timer::Late => self.copy_late(cx),
                Timer::Pump => {}
                Timer::Finish => self.finish_complete(cx),
            }
        }
        if due {
            self.turn(cx);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.next().map(|(at, _)| at)
    }

    pub(super) fn fill_status(&self, status: &mut Status) {
        let unfinished = |job: &&Job| !job.state.has_ended();
        status.downloads = self.jobs.values().filter(unfinished).count() as u32;
        let paused = |job: &&Job| job.state == DownloadState::Paused;
        status.paused = self.jobs.values().filter(paused).count() as u32;
        status.downloaded = self.downloaded;
    }

    pub(super) fn fill_stats(&self, stats: &mut Stats) {
        stats.downloaded = self.downloaded;
    }

    pub(super) fn views(&self, now: Now) -> Vec<DownloadView> {
        let durable = self.jobs.iter().filter(|(_, job)| job.begun.is_none());
        durable
            .rev()
            .map(|(id, job)| self.view(*id, job, now))
            .collect()
    }

    fn view(&self, id: DownloadId, job: &Job, now: Now) -> DownloadView {
        let serves = |peer: &job::JobPeer| !peer.banned && peer.have.count() > 0;
        DownloadView {
            id,
            name: job.name.clone(),
            root: job.root.clone(),
            state: job.state,
            done: job.totals.done,
            total: job.totals.bytes,
            items_done: job.totals.items_done,
            items: job.totals.items,
            rate: job.meter.rate(now.mono),
            peers: job
                .peers
                .iter()
                .filter(|(_, peer)| peer.bytes > 0 || serves(peer))
                .map(|(key, peer)| DownloadPeer {
                    key: *key,
                    bytes: peer.bytes,
                    tunnel: peer.tunnel,
                })
                .collect(),
            waiting: self.waiting_for(id, job),
        }
    }

    fn on_answer(
        &mut self,
        cx: &mut Cx<'_>,
        tag: Tag,
        from: NodeKey,
        answer: Result<Answer, CallError>,
        receipt: Receipt,
    ) {
        match (tag, answer) {
            (Tag::Chunk(ask), answer) => return self.on_chunk(cx, ask, from, answer, receipt),
            (Tag::Page { place, level, page }, answer) => {
                self.on_page(cx, place, level, page, from, answer);
            }
            (Tag::ChunkList(place), answer) => self.on_chunk_list(cx, place, from, answer),
            (Tag::Have { job, items }, answer) => self.on_have(cx, job, &items, from, answer),
            (Tag::SearchHave(search), answer) => self.on_search_have(cx, search, answer),
            (_, _) => {}
        }
        cx.release(receipt);
    }

    fn on_committed(&mut self, cx: &mut Cx<'_>, tag: Tag, result: Result<(), StoreError>) {
        match (tag, result) {
            (Tag::Begun(job), result) => self.on_begun(cx, job, result),
            (Tag::Ended(job), result) => self.on_ended(cx, job, result),
            (Tag::Cancelled(op) | Tag::Switched(op), result) => {
                let reply = result.map(|()| Reply::Ok).map_err(CommandError::Store);
                cx.done(op, reply);
            }
            (Tag::Synced { place, pages }, Err(_)) => {
                if let Some(file) = self.files.get_mut(&place) {
                    file.dirty_again(pages);
                }
            }
            (Tag::Finished(places), result) => self.on_finished(cx, places, result),
            (_, _) => {}
        }
    }

    /// Lets everything go on that can.
    fn turn(&mut self, cx: &mut Cx<'_>) {
        if self.stopping {
            return;
        }
        self.close_paused(cx);
        self.check(cx);
        self.open_files(cx);
        self.pump(cx);
        if self.refill {
            self.open_files(cx);
            self.pump(cx);
        }
        self.finish_when_due(cx);
    }

    /// Whether a running download gets something from this peer.
    pub(super) fn needs(&self, peer: &NodeKey) -> bool {
        let mut running = self.jobs.values().filter(|job| job.is_running());
        running.any(|job| {
            let known = job.peers.get(peer);
            known.is_some_and(|known| !known.banned && known.have.count() > 0)
        })
    }

    fn running(&self) -> impl Iterator<Item = DownloadId> + '_ {
        self.jobs
            .iter()
            .filter(|(_, job)| job.is_running())
            .map(|(id, _)| *id)
    }

    /// Tells how far a download is, now and then.
    fn progress(&mut self, cx: &mut Cx<'_>, id: DownloadId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.moved = cx.now.mono;
        if cx.now.mono >= job.progress_at {
            job.progress_at = cx.now.mono + Duration::from_millis(250);
            cx.event(Event::DownloadProgress {
                download: id,
                done: job.totals.done,
                total: job.totals.bytes,
            });
        }
    }

    fn restore(&mut self, saved: &Saved, now: Now) {
        let rows = |wanted: Table| {
            saved
                .rows
                .iter()
                .filter(move |(table, _, _)| *table == wanted)
                .map(|(_, key, value)| (key, value))
        };
        for (key, row) in rows(Table::Downloads) {
            let Some((id, rest)) = key.split_first_chunk::<8>() else {
                continue;
            };
            let id = DownloadId(u64::from_be_bytes(*id));
            self.last_id = self.last_id.max(id.0);
            if rest.is_empty() {
                if let Ok(mut job) = Job::from_row(row) {
                    job.moved = now.mono;
                    self.jobs.insert(id, job);
                }
            } else if let Some(job) = self.jobs.get_mut(&id)
                && let Some(done) = Bitmap::from_bytes(job.items.len() as u32, row)
            {
                job.restore_done(&done);
            }
        }
        for (key, row) in rows(Table::Have) {
            if let Some((id, item, page)) = job::parse_have_key(key)
                && let Ok((kind, bytes)) = job::parse_have_row(row)
                && let Some(job) = self.jobs.get_mut(&id)
            {
                job.restore_have(item, page, kind, &bytes);
            }
        }
    }

    /// Gives up an open file without anything under way; it is opened again when somebody has it.
    fn park(&mut self, place: Place) {
        let Some(file) = self.files.get(&place) else {
            return;
        };
        let under_way = file.asking || !file.plan.is_idle();
        if file.phase != Phase::Fetching || under_way {
            return;
        }
        let Some(job) = self.jobs.get_mut(&place.job) else {
            return;
        };
        if job.state != DownloadState::Paused && job.has_holder(place.item) {
            return;
        }
        if file.is_hearsay() && job.is_doubted(place.item) {
            self.checks.doubt(place);
            return;
        }
        if file.is_dirty() {
            return;
        }
        let have = file.plan.have();
        let known = (have.count() > 0).then(|| (file.kind(), have.clone().into()));
        if let Some(item) = job.item_mut(place.item) {
            item.state = job::ItemState::Waiting;
            item.known = Known::Seen(known);
        }
        job.waiting.insert(place.item);
        self.close(place);
    }

    fn park_orphans(&mut self) {
        let open: Vec<Place> = self.files.keys().copied().collect();
        for place in open {
            self.park(place);
        }
    }

    /// Forgets an open file.
    fn close(&mut self, place: Place) {
        if let Some(file) = self.files.remove(&place) {
            self.parts.remove(&file.part);
        }
        self.ready.remove(&place);
        self.finishing.remove(&place);
        self.refill = true;
    }
}
