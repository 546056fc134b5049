//! Requests for content that wait their turn: one line per session, and turns among sessions.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::id::{ContentId, LinkId};
use crate::limits::{UPLOAD_BYTES_MAX, UPLOAD_LINE_BYTES_MAX, UPLOAD_LOADS_MAX, UPLOAD_QUEUE_MAX};
use crate::session::Ticket;
use crate::storage::FileRef;

/// A request to be answered from the disk.
#[derive(Debug)]
pub(super) struct Job {
    pub ticket: Ticket,
    pub content: ContentId,
    pub need: Need,
    /// Bytes of the answer, at most.
    pub cost: u32,
    /// Copies of the content that could not be read for it.
    pub failed: Vec<FileRef>,
    /// The content was hashed for it; rows that are missing after that will not come.
    pub hashed: bool,
}

/// What the answer is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    Chunk(u32),
    /// All chunk hashes, for deployed peers; those of the first pages so far.
    ChunkHashes(Vec<u8>),
    /// A page of chaining values.
    Page(u32),
    /// The chaining values of all pages; those of the first so far.
    Level1(Vec<u8>),
}

/// All lines, and the jobs that the disk works on.
#[derive(Default)]
pub(super) struct Lines {
    lines: BTreeMap<LinkId, Line>,
    working: BTreeMap<u64, Job>,
    next: u64,
    /// The cost of all jobs that the disk works on.
    bytes: u64,
    /// Lines that stopped because of the others.
    starved: BTreeSet<LinkId>,
    /// Which of them had its turn last.
    turn: Option<LinkId>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Job>,
    /// Jobs that the disk works on, and their cost.
    loads: u32,
    bytes: u64,
}

impl Lines {
    /// Queues a job behind all others of its session. Gives it back if there are too many.
    pub(super) fn push(&mut self, job: Job) -> Result<(), Job> {
        let line = self.lines.entry(job.ticket.link()).or_default();
        if line.waiting.len() >= UPLOAD_QUEUE_MAX {
            return Err(job);
        }
        line.waiting.push_back(job);
        Ok(())
    }

    /// Queues a job before all others of its session: it had its turn before.
    pub(super) fn push_front(&mut self, job: Job) {
        let line = self.lines.entry(job.ticket.link()).or_default();
        line.waiting.push_front(job);
    }

    /// The next job of a session, if the disk may work on it; until [`Lines::left`]. `bytes_max` bounds
    /// what the disk works on for the session.
    pub(super) fn next(&mut self, link: LinkId, bytes_max: u64) -> Option<Job> {
        let line = self.lines.get_mut(&link)?;
        if line.waiting.is_empty() && line.loads == 0 {
            self.lines.remove(&link);
            return None;
        }
        let bytes_max = bytes_max.min(UPLOAD_LINE_BYTES_MAX);
        if line.loads >= UPLOAD_LOADS_MAX || line.bytes >= bytes_max {
            return None;
        }
        if self.bytes >= UPLOAD_BYTES_MAX {
            self.starved.insert(link);
            return None;
        }
        let job = line.waiting.pop_front()?;
        line.loads = line.loads.saturating_add(1);
        line.bytes = line.bytes.saturating_add(u64::from(job.cost));
        self.bytes = self.bytes.saturating_add(u64::from(job.cost));
        Some(job)
    }

    /// Keeps a job while the disk works on it.
    pub(super) fn keep(&mut self, job: Job) -> u64 {
        self.next += 1;
        self.working.insert(self.next, job);
        self.next
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Job> {
        self.working.remove(&id)
    }

    /// The disk no longer works on a job of [`Lines::next`].
    pub(super) fn left(&mut self, link: LinkId, cost: u32) {
        self.bytes = self.bytes.saturating_sub(u64::from(cost));
        if let Some(line) = self.lines.get_mut(&link) {
            line.loads = line.loads.saturating_sub(1);
            line.bytes = line.bytes.saturating_sub(u64::from(cost));
        }
    }

    /// The next line, in turn, of those that stopped because of the others, if it can go on.
    pub(super) fn starved(&mut self) -> Option<LinkId> {
        if self.bytes >= UPLOAD_BYTES_MAX {
            return None;
        }
        let link = after(self.turn, &self.starved)?;
        self.starved.remove(&link);
        self.turn = Some(link);
        Some(link)
    }

    /// Forgets the lines of sessions that have ended.
    pub(super) fn retain(&mut self, is_up: impl Fn(LinkId) -> bool) {
        self.lines.retain(|link, _| is_up(*link));
        self.starved.retain(|link| is_up(*link));
    }
}

/// The first link after the one whose turn it was, in a circle.
pub(super) fn after(turn: Option<LinkId>, links: &BTreeSet<LinkId>) -> Option<LinkId> {
    let next = turn.and_then(|LinkId(turn)| {
        let later = links.range(LinkId(turn.saturating_add(1))..);
        later.copied().next()
    });
    next.or_else(|| links.first().copied())
}

#[cfg(any(test, feature = "check"))]
impl Lines {
    /// The numbers of the jobs that the disk works on.
    pub(super) fn working(&self) -> impl Iterator<Item = &u64> {
        self.working.keys()
    }

    pub(super) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        let waiting = self.lines.values().flat_map(|line| &line.waiting);
        let jobs = waiting.chain(self.working.values());
        jobs.map(|job| job.ticket.link())
    }

    pub(super) fn check(
        &self,
        is_held_up: impl Fn(LinkId) -> bool,
        broken: &mut crate::check::Broken,
    ) {
        let costs = self.working.values().map(|job| u64::from(job.cost));
        broken.equal("bytes that the disk works on", self.bytes, costs.sum());
        for (link, line) in &self.lines {
            broken.at_most("requests in a line", line.waiting.len(), UPLOAD_QUEUE_MAX);
            broken.at_most(
                "loads of a line",
                line.loads as usize,
                UPLOAD_LOADS_MAX as usize,
            );
            let its = || {
                let working = self.working.values();
                working.filter(|job| job.ticket.link() == *link)
            };
            broken.equal("loads of a line", line.loads.into(), its().count() as u64);
            let costs = its().map(|job| u64::from(job.cost));
            broken.equal("bytes of a line", line.bytes, costs.sum());
            let waits = line.loads > 0 || self.starved.contains(link) || is_held_up(*link);
            broken.unless(waits || line.waiting.is_empty(), || {
                alloc::format!("the requests on {link:?} wait for nothing")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHUNK_LEN;

    /// What one session may have.
    const SHARE: u64 = 1 << 20;

    fn job(link: u64, index: u32, cost: u32) -> Job {
        Job {
            ticket: Ticket {
                link: LinkId(link),
                req_id: index,
                kind: 500,
            },
            content: ContentId([7; 32]),
            need: Need::Chunk(index),
            cost,
            failed: Vec::new(),
            hashed: false,
        }
    }

    fn drain(lines: &mut Lines, link: u64) -> u32 {
        let next = || lines.next(LinkId(link), SHARE);
        core::iter::from_fn(next).count() as u32
    }

    #[test]
    fn jobs_get_their_turn_in_order_while_their_bytes_fit() {
        let mut lines = Lines::default();
        for index in 0..3 {
            lines.push(job(1, index, 4)).expect("there is space");
        }
        let first = lines.next(LinkId(1), 8).expect("the first fits");
        assert_eq!(first.need, Need::Chunk(0));
        assert!(lines.next(LinkId(1), 8).is_some());
        assert!(lines.next(LinkId(1), 8).is_none());
        lines.left(LinkId(1), 4);
        let third = lines.next(LinkId(1), 8).expect("there is room again");
        assert_eq!(third.need, Need::Chunk(2));
    }

    #[test]
    fn a_line_is_bounded() {
        let mut lines = Lines::default();
        for index in 0..UPLOAD_QUEUE_MAX {
            lines.push(job(1, index as u32, 1)).expect("there is space");
        }
        assert!(lines.push(job(1, 0, 1)).is_err());
        assert!(lines.push(job(2, 0, 1)).is_ok());
        assert_eq!(drain(&mut lines, 1), UPLOAD_LOADS_MAX);
    }

    #[test]
    fn lines_that_wait_for_others_go_on_in_turn() {
        let mut lines = Lines::default();
        let busy = UPLOAD_BYTES_MAX / SHARE;
        for link in 1..=busy + 3 {
            for index in 0..40 {
                lines
                    .push(job(link, index, CHUNK_LEN))
                    .expect("there is space");
            }
            let taken = drain(&mut lines, link);
            assert_eq!(taken > 0, link <= busy, "{link}");
        }
        assert_eq!(lines.starved(), None, "nothing is free");
        lines.left(LinkId(1), CHUNK_LEN);
        let mut turns = Vec::new();
        for _ in 0..4 {
            let link = lines.starved().expect("room for one");
            assert!(lines.next(link, SHARE).is_some());
            assert!(lines.next(link, SHARE).is_none(), "and for one only");
            turns.push(link.0 - busy);
            lines.left(link, CHUNK_LEN);
        }
        assert_eq!(turns, [1, 2, 3, 1]);
    }
}
