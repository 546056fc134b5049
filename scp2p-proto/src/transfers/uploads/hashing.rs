//! Requests for hashes that the store does not have: the content is hashed for them.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::line::{Job, after};
use crate::id::{ContentId, LinkId};
use crate::limits::{UPLOAD_HASHINGS_LINK_MAX, UPLOAD_HASHINGS_MAX, UPLOAD_HASHINGS_WAITING_MAX};
use crate::storage::FileRef;

/// Contents being hashed and to be hashed, with the requests that wait for them.
#[derive(Default)]
pub(super) struct Hashing {
    /// At most as many as sessions have tickets.
    jobs: BTreeMap<ContentId, Vec<Job>>,
    /// Contents being hashed, with the copies that were of no use.
    running: BTreeMap<ContentId, Vec<FileRef>>,
    /// Contents to be hashed, by the session that asked first.
    queues: BTreeMap<LinkId, VecDeque<ContentId>>,
    /// Whose content was hashed last.
    turn: Option<LinkId>,
}

impl Hashing {
    /// Lets a request wait. Gives it back if too many contents wait to be hashed.
    pub(super) fn push(&mut self, job: Job) -> Result<(), Job> {
        if let Some(jobs) = self.jobs.get_mut(&job.content) {
            jobs.push(job);
            return Ok(());
        }
        let link = job.ticket.link();
        let queued = self.queues.get(&link).map_or(0, VecDeque::len);
        if queued >= UPLOAD_HASHINGS_LINK_MAX || self.jobs.len() >= UPLOAD_HASHINGS_WAITING_MAX {
            return Err(job);
        }
        self.queues.entry(link).or_default().push_back(job.content);
        self.jobs.insert(job.content, Vec::from([job]));
        Ok(())
    }

    /// The next content to hash, one of each session in turn. It counts as being hashed until
    /// [`Hashing::end`].
    pub(super) fn next(&mut self) -> Option<ContentId> {
        while self.running.len() < UPLOAD_HASHINGS_MAX {
            let links: BTreeSet<LinkId> = self.queues.keys().copied().collect();
            let link = after(self.turn, &links)?;
            self.turn = Some(link);
            let queue = self.queues.get_mut(&link)?;
            let content = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&link);
            }
            if let Some(content) = content.filter(|content| self.jobs.contains_key(content)) {
                self.running.insert(content, Vec::new());
                return Some(content);
            }
        }
        None
    }

    /// A copy of a content could not be hashed, or is something else; all such copies of it.
    pub(super) fn failed(&mut self, content: &ContentId, file: FileRef) -> &[FileRef] {
        let failed = self.running.entry(*content).or_default();
        failed.push(file);
        failed
    }

    /// A content is no longer being hashed; who waited for it.
    pub(super) fn end(&mut self, content: &ContentId) -> Vec<Job> {
        self.running.remove(content);
        self.jobs.remove(content).unwrap_or_default()
    }

    /// Forgets the requests of sessions that have ended.
    pub(super) fn retain(&mut self, is_up: impl Fn(LinkId) -> bool) {
        self.jobs.retain(|_, jobs| {
            jobs.retain(|job| is_up(job.ticket.link()));
            !jobs.is_empty()
        });
        let gone: Vec<LinkId> = self
            .queues
            .keys()
            .copied()
            .filter(|link| !is_up(*link))
            .collect();
        for content in gone
            .iter()
            .filter_map(|link| self.queues.remove(link))
            .flatten()
            .collect::<Vec<_>>()
        {
            // Others wait for it too.
            if let Some(job) = self.jobs.get(&content).and_then(|jobs| jobs.first()) {
                let queue = self.queues.entry(job.ticket.link()).or_default();
                queue.push_back(content);
            }
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Hashing {
    /// Contents being hashed.
    pub(super) fn running(&self) -> impl Iterator<Item = &ContentId> {
        self.running.keys()
    }

    pub(super) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.jobs.values().flatten().map(|job| job.ticket.link())
    }

    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        let waiting = self.jobs.len();
        broken.at_most(
            "contents waiting to be hashed",
            waiting,
            UPLOAD_HASHINGS_WAITING_MAX,
        );
        broken.at_most(
            "contents being hashed",
            self.running.len(),
            UPLOAD_HASHINGS_MAX,
        );
        let queued: BTreeSet<&ContentId> = self.queues.values().flatten().collect();
        for content in self.jobs.keys() {
            broken.unless(
                queued.contains(content) || self.running.contains_key(content),
                || alloc::format!("{content} is never hashed"),
            );
        }
        let is_full = self.running.len() == UPLOAD_HASHINGS_MAX;
        broken.unless(is_full || queued.is_empty(), || {
            "a content waits to be hashed although there is a place for it".into()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Need;
    use super::*;
    use crate::session::Ticket;

    fn job(link: u64, content: u8) -> Job {
        Job {
            ticket: Ticket {
                link: LinkId(link),
                req_id: 1,
                kind: 502,
            },
            content: ContentId([content; 32]),
            need: Need::ChunkHashes(Vec::new()),
            cost: 64,
            failed: Vec::new(),
            hashed: false,
        }
    }

    fn running(hashing: &mut Hashing) -> Vec<u8> {
        core::iter::from_fn(|| hashing.next())
            .map(|content| content.0[0])
            .collect()
    }

    #[test]
    fn a_few_at_a_time_and_each_session_in_turn() {
        let mut hashing = Hashing::default();
        for content in 1..=5 {
            assert!(hashing.push(job(1, content)).is_ok());
        }
        assert!(hashing.push(job(2, 6)).is_ok());
        assert_eq!(running(&mut hashing), [1, 6]);
        assert!(running(&mut hashing).is_empty());
        hashing.end(&ContentId([1; 32]));
        assert_eq!(running(&mut hashing), [2]);
    }

    #[test]
    fn contents_that_wait_are_bounded_per_session_and_in_all() {
        let mut hashing = Hashing::default();
        let taken = (0..=u8::MAX).filter(|content| hashing.push(job(1, *content)).is_ok());
        assert_eq!(taken.count(), UPLOAD_HASHINGS_LINK_MAX);
        assert!(hashing.push(job(1, 0)).is_ok(), "it is waited for already");
        for content in 0..=u8::MAX {
            let _ = hashing.push(job(u64::from(content) + 2, content));
        }
        assert_eq!(hashing.jobs.len(), UPLOAD_HASHINGS_WAITING_MAX);
    }

    #[test]
    fn a_content_that_somebody_else_waits_for_too_is_hashed_all_the_same() {
        let mut hashing = Hashing::default();
        for link in 1..=2 {
            assert!(hashing.push(job(link, 9)).is_ok());
        }
        assert!(hashing.push(job(1, 8)).is_ok());
        hashing.retain(|link| link != LinkId(1));
        assert_eq!(running(&mut hashing), [9]);
        assert_eq!(hashing.end(&ContentId([9; 32])).len(), 1);
        assert!(hashing.queues.is_empty());
    }
}
