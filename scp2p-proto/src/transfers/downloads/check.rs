//! What must hold of downloads.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

use super::fetch::Ask;
use super::file::{File, Phase};
use super::job::{ItemState, Job};
use super::window::Sent;
use super::{Downloads, Place, Tag, Timer};
use crate::check::{Broken, counted};
use crate::config::Config;
use crate::id::{DownloadId, NodeKey};
use crate::limits::{
    CHECKS_MAX, DOWNLOADS_ENDED_MAX, DOWNLOADS_MAX, FILES_FINISHING_MAX, PROVIDER_REACHES_MAX,
    SMALL_FILES_OPEN_MAX,
};
use crate::session::Roster;
use crate::time::Now;
use crate::view::DownloadState;

/// What is under way for downloads, by what it is for.
#[derive(Default)]
struct UnderWay<'a> {
    resuming: BTreeSet<Place>,
    /// Pages of hashes and chunk lists.
    hashes: BTreeSet<Place>,
    checking: BTreeSet<Place>,
    finishing: BTreeSet<Place>,
    /// The numbers of asks.
    chunks: BTreeSet<u64>,
    writes: BTreeSet<(Place, u32)>,
    sent: BTreeMap<NodeKey, alloc::vec::Vec<&'a Sent>>,
    questions: BTreeMap<DownloadId, u64>,
    reaches: u64,
}

impl<'a> UnderWay<'a> {
    fn new(tags: &[&'a Tag], asks: &'a BTreeMap<u64, Ask>) -> UnderWay<'a> {
        let mut all = UnderWay::default();
        for tag in tags {
            match tag {
                Tag::Resumed { place, .. } => drop(all.resuming.insert(*place)),
                Tag::Row { place, .. } | Tag::Page { place, .. } | Tag::ChunkList(place) => {
                    all.hashes.insert(*place);
                }
                Tag::Checked(place) => drop(all.checking.insert(*place)),
                Tag::Finished(places) => all.finishing.extend(places),
                Tag::Chunk(ask) => drop(all.chunks.insert(*ask)),
                Tag::Written { arrival, .. } => {
                    all.writes.insert((arrival.place, arrival.index));
                    all.sent
                        .entry(arrival.from)
                        .or_default()
                        .push(arrival.sent());
                }
                Tag::Have { job, .. } => *all.questions.entry(*job).or_default() += 1,
                Tag::Reached { .. } | Tag::SearchReached(_) => all.reaches += 1,
                Tag::Begun(_)
                | Tag::Ended(_)
                | Tag::Cancelled(_)
                | Tag::Switched(_)
                | Tag::SearchHave(_)
                | Tag::SearchLookup(_)
                | Tag::Lookup { .. }
                | Tag::Synced { .. } => {}
            }
        }
        for ask in asks.values() {
            all.sent.entry(ask.peer()).or_default().push(ask.sent());
        }
        all
    }
}

impl Downloads {
    /// `tags` is what all components wait for from us.
    pub(in crate::transfers) fn check_all(
        &self,
        tags: &[&Tag],
        config: &Config,
        roster: &Roster,
        now: Now,
        broken: &mut Broken,
    ) {
        if self.stopping {
            return;
        }
        broken.not_overdue("downloads", self.deadline(), now.mono);
        let under_way = UnderWay::new(tags, &self.asks);
        self.check_jobs(tags, &under_way, broken);
        self.check_bounds(config, broken);
        let reaches = self.reaches;
        broken.equal("providers being reached", reaches.into(), under_way.reaches);
        broken.at_most(
            "providers being reached",
            reaches as usize,
            PROVIDER_REACHES_MAX as usize,
        );
        broken.unless(self.asks.keys().eq(&under_way.chunks), || {
            "the chunks that are waited for are not those asked for".into()
        });
        let asked = counted(self.asks.values().map(Ask::chunk));
        for (place, file) in &self.files {
            self.check_file(*place, file, &under_way, &asked, broken);
        }
        for (peer, source) in &self.sources {
            let sent = under_way.sent.get(peer);
            let sent = sent.into_iter().flatten().copied();
            source.window.check(sent, broken);
            broken.unless(roster.session(peer).is_some(), || {
                format!("{peer} is gone and still a source")
            });
        }
        let searches = self.searches.keys();
        let mut timed = searches.map(|id| self.timers.at(&Timer::Search(*id)));
        broken.unless(timed.all(|at| at.is_some()), || {
            "a search has no end".into()
        });
    }

    fn check_bounds(&self, config: &Config, broken: &mut Broken) {
        let is_unfinished = |job: &&Job| !job.state.has_ended();
        let unfinished = self.jobs.values().filter(is_unfinished).count();
        broken.at_most("downloads", unfinished + self.searches.len(), DOWNLOADS_MAX);
        broken.at_most(
            "ended downloads",
            self.jobs.len() - unfinished,
            DOWNLOADS_ENDED_MAX,
        );
        let finishing = self.finishing.len();
        let finishing_max = FILES_FINISHING_MAX + SMALL_FILES_OPEN_MAX;
        broken.at_most("files being finished", finishing, finishing_max);
        let open = self.files.len().saturating_sub(finishing);
        broken.at_most("open files", open, SMALL_FILES_OPEN_MAX);
        let large = self
            .files
            .values()
            .filter(|file| file.size > super::fetch::SMALL && file.phase != Phase::Finishing);
        let large_max = config.files_at_once_max as usize;
        broken.at_most("large open files", large.count(), large_max);
        broken.at_most(
            "files being hashed",
            self.checks.hashing().len(),
            CHECKS_MAX,
        );
        let parts = self.files.iter().map(|(place, file)| (&file.part, place));
        let parts: BTreeMap<_, _> = parts.collect();
        broken.unless(parts.into_iter().eq(self.parts.iter()), || {
            "the places on the disk are not those of the open files".into()
        });
        let unopened = self
            .ready
            .iter()
            .filter(|place| !self.files.contains_key(place));
        broken.at_most("files that are ready and not open", unopened.count(), 0);
        let timed = self.timers.at(&Timer::Finish).is_some();
        broken.unless(timed || self.complete.is_empty(), || {
            "complete files are not moved to their names".into()
        });
    }

    fn check_jobs(&self, tags: &[&Tag], under_way: &UnderWay<'_>, broken: &mut Broken) {
        for (id, job) in &self.jobs {
            job.check(broken);
            let questions = under_way.questions.get(id).copied().unwrap_or(0);
            let asking = job.peers.values().map(|peer| u64::from(peer.asking));
            broken.at_most(
                "answers that a download waits for",
                asking.sum::<u64>() as usize,
                questions as usize,
            );
            if job.state.has_ended() {
                continue;
            }
            if job.begun.is_some() {
                broken.unless(tags.contains(&&Tag::Begun(*id)), || {
                    format!("the start of {id:?} is not being made durable")
                });
                continue;
            }
            let timed = |timer| self.timers.at(&timer).is_some();
            let is_paused = job.state == DownloadState::Paused;
            broken.unless(timed(Timer::Poll(*id)) != is_paused, || {
                format!("{id:?} must be looked after just when it is not paused")
            });
            broken.unless(job.stalled.is_none() || timed(Timer::Stalled(*id)), || {
                format!("{id:?} waits for the disk for ever")
            });
            broken.unless(!job.ending || tags.contains(&&Tag::Ended(*id)), || {
                format!("the end of {id:?} is not being made durable")
            });
            broken.unless(
                job.left() > 0 || job.ending || timed(Timer::End(*id)),
                || format!("all of {id:?} is there, and it does not end"),
            );
            for (item, state) in (0..).zip(job.items.iter().map(|item| item.state)) {
                let is_open = self.files.contains_key(&Place { job: *id, item });
                broken.unless(is_open == (state == ItemState::Open), || {
                    format!("item {item} of {id:?} is {state:?}, and that is not so")
                });
            }
        }
    }

    fn check_file(
        &self,
        place: Place,
        file: &File,
        under_way: &UnderWay<'_>,
        asked: &BTreeMap<(Place, u32), u64>,
        broken: &mut Broken,
    ) {
        file.plan.check(broken);
        for (index, copies) in file.plan.asked() {
            let open = asked.get(&(place, index)).copied().unwrap_or(0);
            broken.at_most(
                "answers that a chunk waits for",
                copies.into(),
                open as usize,
            );
        }
        for index in file.plan.being_written() {
            broken.unless(under_way.writes.contains(&(place, index)), || {
                format!("chunk {index} of {place:?} is not being written")
            });
        }
        broken.unless(!file.asking || under_way.hashes.contains(&place), || {
            format!("nobody was asked for the hashes of {place:?}")
        });
        let goes_on = match file.phase {
            Phase::Resuming => under_way.resuming.contains(&place),
            Phase::Fetching => !file.plan.is_complete(),
            Phase::Checking => {
                under_way.checking.contains(&place) || self.checks.is_waiting(&place)
            }
            Phase::Finishing => {
                let waits = self.complete.contains(&place) || self.alone.contains(&place);
                waits || under_way.finishing.contains(&place)
            }
        };
        broken.unless(goes_on, || {
            format!("{place:?} is {:?}, and nobody sees to it", file.phase)
        });
        let is_finishing = file.phase == Phase::Finishing;
        broken.unless(is_finishing == self.finishing.contains(&place), || {
            format!("{place:?} is {:?}, and is not counted so", file.phase)
        });
    }
}
