//! What is durable: progress, finished files, the end of a download.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::file::{File, Phase};
use super::job::{self, ItemState, Job, Known};
use super::{Downloads, FULL_PAUSE, Place, Tag, Timer};
use crate::command::CommandError;
use crate::content::{BITMAP_PAGE, Bitmap};
use crate::cx::Cx;
use crate::event::Event;
use crate::id::{ContentId, DownloadId, OpId};
use crate::limits::DOWNLOADS_ENDED_MAX;
use crate::path::RelPath;
use crate::planted::{self, Bug};
use crate::storage::{FileRef, LocalPath, OutboardKind, StoreError, Table};
use crate::view::DownloadState;
use crate::wish::Wish;

/// How often progress is saved.
const SYNC_EVERY: Duration = Duration::from_secs(2);
/// Or after so many bytes of a file.
const SYNC_BYTES: u64 = 64 << 20;
/// Files that are complete wait so long for others, to become durable together.
const FINISH_AFTER: Duration = Duration::from_millis(5);
/// So many at a time do not wait.
const FINISH_TOGETHER: usize = 128;

impl Downloads {
    pub(in crate::transfers) fn cancel(&mut self, cx: &mut Cx<'_>, op: OpId, id: DownloadId) {
        if self.jobs.get(&id).is_none_or(|job| job.begun.is_some()) {
            return cx.done(op, Err(CommandError::UnknownDownload));
        }
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        let kept = self.rels_below(&job.root);
        for (index, item) in job.missing() {
            let untouched = item.state == ItemState::Waiting
                && item.lies == 0
                && matches!(item.known, Known::Seen(None));
            if let Some(part) = job.part(index)
                && !untouched
                && !kept.contains(&part.rel)
            {
                cx.discard(part);
            }
        }
        let open: Vec<Place> = self
            .files
            .keys()
            .filter(|place| place.job == id)
            .copied()
            .collect();
        for place in open {
            self.close(place);
        }
        self.checks.forget(id);
        self.complete.retain(|place| place.job != id);
        self.alone.retain(|place| place.job != id);
        for timer in [Timer::Poll(id), Timer::End(id), Timer::Stalled(id)] {
            self.timers.cancel(&timer);
        }
        delete_rows(cx, id, &job);
        cx.commit(Tag::Cancelled(op));
        self.refill = true;
        self.turn(cx);
    }

    pub(in crate::transfers) fn on_stop(&mut self, cx: &mut Cx<'_>) {
        self.sync(cx);
        self.finish_complete(cx);
        self.stopping = true;
    }

    /// Saves the progress of all open files.
    pub(super) fn sync(&mut self, cx: &mut Cx<'_>) {
        let dirty: Vec<Place> = self
            .files
            .iter()
            .filter(|(_, file)| {
                file.is_dirty() && matches!(file.phase, Phase::Fetching | Phase::Checking)
            })
            .map(|(place, _)| *place)
            .collect();
        for place in dirty {
            self.sync_file(cx, place);
        }
    }

    pub(super) fn sync_when_due(&mut self, cx: &mut Cx<'_>, place: Place) {
        let Some(file) = self.files.get(&place) else {
            return;
        };
        if file.unsaved >= SYNC_BYTES && !file.plan.is_complete() {
            self.sync_file(cx, place);
        } else if file.is_dirty() && self.timers.at(&Timer::Sync).is_none() {
            self.timers.set(Timer::Sync, cx.now.mono + SYNC_EVERY);
        }
    }

    pub(super) fn sync_file(&mut self, cx: &mut Cx<'_>, place: Place) {
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        let pages = file.take_dirty();
        for page in &pages {
            if let Some(bytes) = file.plan.have().page_bytes(*page) {
                let key = job::have_key(place.job, place.item, *page);
                cx.put(Table::Have, key, job::have_row(file.kind(), bytes));
            }
        }
        if !planted::has(cx.config, Bug::HaveMapUnsynced) {
            cx.sync(file.part.clone());
        }
        cx.commit_soft(Tag::Synced { place, pages });
    }

    /// All of a file is written.
    pub(super) fn is_complete(&mut self, place: Place) {
        self.ready.remove(&place);
        match self.files.get_mut(&place) {
            Some(file) if file.kind() == OutboardKind::Claimed => {
                file.phase = Phase::Checking;
                self.checks.push(place);
            }
            Some(_) | None => self.is_right(place),
        }
    }

    /// All of a file is written, and right.
    pub(super) fn is_right(&mut self, place: Place) {
        if let Some(file) = self.files.get_mut(&place) {
            file.phase = Phase::Finishing;
            self.finishing.insert(place);
            self.complete.push(place);
            self.refill = true;
        }
    }

    pub(super) fn finish_when_due(&mut self, cx: &mut Cx<'_>) {
        let later = |at| at > cx.now.mono + FINISH_AFTER;
        if self.complete.is_empty() || self.timers.at(&Timer::Finish).is_some_and(later) {
            return;
        }
        let others = self.files.len() > self.finishing.len();
        if !others || self.complete.len() >= FINISH_TOGETHER {
            self.finish_complete(cx);
        } else if self.timers.at(&Timer::Finish).is_none() {
            self.timers.set(Timer::Finish, cx.now.mono + FINISH_AFTER);
        }
    }

    /// Moves what is complete to its names, all in one batch.
    pub(super) fn finish_complete(&mut self, cx: &mut Cx<'_>) {
        self.timers.cancel(&Timer::Finish);
        let places = core::mem::take(&mut self.complete);
        self.finish(cx, places);
    }

    fn finish(&mut self, cx: &mut Cx<'_>, places: Vec<Place>) {
        if places.is_empty() {
            return;
        }
        for place in &places {
            if let Some(file) = self.files.get(place) {
                cx.finish(file.part.clone());
            }
        }
        cx.commit_soft(Tag::Finished(places));
    }

    pub(super) fn on_finished(
        &mut self,
        cx: &mut Cx<'_>,
        places: Vec<Place>,
        result: Result<(), StoreError>,
    ) {
        match result {
            Ok(()) => {
                let done = places.iter().filter_map(|place| {
                    let file = self.files.get(place)?;
                    Some((*place, finished(file)))
                });
                let done: Vec<(Place, FileRef)> = done.collect();
                self.items_done(cx, done);
            }
            Err(StoreError::Full) => {
                for place in &places {
                    self.stall(cx, place.job);
                }
                self.complete.extend(places);
                self.timers.set(Timer::Finish, cx.now.mono + FULL_PAUSE);
                return;
            }
            // One of them is to blame.
            Err(_) if places.len() > 1 => self.alone.extend(places),
            Err(error) => {
                for place in places {
                    self.item_failed(cx, place, error.to_string());
                }
            }
        }
        if let Some(place) = self.alone.pop_front() {
            self.finish(cx, vec![place]);
        }
    }

    pub(super) fn item_done(&mut self, cx: &mut Cx<'_>, place: Place, file: FileRef) {
        self.items_done(cx, vec![(place, file)]);
    }

    /// Files are durable under their names.
    fn items_done(&mut self, cx: &mut Cx<'_>, done: Vec<(Place, FileRef)>) {
        let jobs: BTreeSet<DownloadId> = done.iter().map(|(place, _)| place.job).collect();
        for id in jobs {
            let mut files: Vec<(ContentId, FileRef)> = Vec::new();
            for (place, file) in done.iter().filter(|(place, _)| place.job == id) {
                if let Some(content) = self.close_done(cx, *place) {
                    files.push((content, file.clone()));
                }
            }
            let Some(job) = self.jobs.get(&id) else {
                continue;
            };
            if !files.is_empty() {
                cx.put(Table::Downloads, job::done_key(id), job.done_row());
                let share = job.share;
                cx.wish(Wish::ServeFinished { share, files });
            }
            self.end_if_done(cx, id);
        }
    }

    fn close_done(&mut self, cx: &mut Cx<'_>, place: Place) -> Option<ContentId> {
        self.close(place);
        let job = self.jobs.get_mut(&place.job)?;
        let item = job.items.get_mut(place.item as usize)?;
        let was = core::mem::replace(&mut item.state, ItemState::Done);
        if was != ItemState::Open {
            return None;
        }
        job.totals.items_done += 1;
        let before = core::mem::replace(&mut item.done, item.size);
        job.totals.done = job
            .totals
            .done
            .saturating_sub(before)
            .saturating_add(item.size);
        let content = item.content;
        delete_have_rows(cx, place.job, place.item, item.chunks());
        Some(content)
    }

    /// An item cannot be had; the others go on.
    pub(super) fn item_failed(&mut self, cx: &mut Cx<'_>, place: Place, reason: String) {
        if self.stopping {
            // The disk gives up what it is doing; nothing is wrong with the item.
            return;
        }
        self.close(place);
        let Some(job) = self.jobs.get_mut(&place.job) else {
            return;
        };
        let Some(item) = job.items.get_mut(place.item as usize) else {
            return;
        };
        if item.state != ItemState::Open {
            return;
        }
        item.state = ItemState::Failed;
        cx.event(Event::ItemFailed {
            download: place.job,
            path: item.rel.clone(),
            reason: reason.clone(),
        });
        job.totals.items_failed += 1;
        job.reason.get_or_insert(reason);
        self.end_if_done(cx, place.job);
    }

    fn end_if_done(&mut self, cx: &mut Cx<'_>, id: DownloadId) {
        if self.jobs.get(&id).is_some_and(|job| job.left() == 0) {
            self.end(cx, id);
        }
    }

    /// Makes the end of a download durable.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>, id: DownloadId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let is_over = job.state.has_ended() || job.begun.is_some() || job.ending;
        if is_over || job.left() > 0 {
            return;
        }
        job.ending = true;
        if let Some(first) = job.reason.take_if(|_| job.totals.items > 1) {
            let (failed, items) = (job.totals.items_failed, job.totals.items);
            job.reason = Some(alloc::format!(
                "{failed} of {items} files failed, the first: {first}"
            ));
        }
        let row = job.row(end_state(job));
        cx.put(Table::Downloads, job::job_key(id), row);
        cx.delete(Table::Downloads, job::done_key(id));
        cx.commit(Tag::Ended(id));
    }

    pub(super) fn on_ended(
        &mut self,
        cx: &mut Cx<'_>,
        id: DownloadId,
        result: Result<(), StoreError>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if result.is_err() {
            job.ending = false;
            self.timers.set(Timer::End(id), cx.now.mono + FULL_PAUSE);
            return;
        }
        job.state = end_state(job);
        job.items = Vec::new();
        job.stalled = None;
        for peer in job.peers.values_mut() {
            peer.have = Bitmap::new(0);
        }
        let reason = job.reason.clone().unwrap_or_default();
        cx.event(Event::DownloadProgress {
            download: id,
            done: job.totals.done,
            total: job.totals.bytes,
        });
        cx.event(match job.state {
            DownloadState::Failed => Event::DownloadFailed {
                download: id,
                reason,
            },
            DownloadState::Finished | DownloadState::Running | DownloadState::Paused => {
                Event::DownloadFinished { download: id }
            }
        });
        for timer in [Timer::Poll(id), Timer::Stalled(id)] {
            self.timers.cancel(&timer);
        }
        self.forget_ended(cx);
    }

    /// Of the downloads that have ended, only the latest stay listed.
    fn forget_ended(&mut self, cx: &mut Cx<'_>) {
        let ended: Vec<DownloadId> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.state.has_ended())
            .map(|(id, _)| *id)
            .collect();
        let surplus = ended.len().saturating_sub(DOWNLOADS_ENDED_MAX);
        for id in ended.into_iter().take(surplus) {
            self.jobs.remove(&id);
            cx.delete(Table::Downloads, job::job_key(id));
        }
    }

    /// Places below a folder that running downloads want.
    fn rels_below(&self, root: &LocalPath) -> BTreeSet<RelPath> {
        self.jobs
            .values()
            .filter(|job| job.root == *root)
            .flat_map(|job| job.missing().map(|(_, item)| item.rel.clone()))
            .collect()
    }
}

fn end_state(job: &Job) -> DownloadState {
    if job.totals.items_failed > 0 {
        DownloadState::Failed
    } else {
        DownloadState::Finished
    }
}

/// A finished file, to be served. When it was written is not known here.
fn finished(file: &File) -> FileRef {
    let (root, rel) = (&file.part.root, &file.part.rel);
    let path = alloc::format!("{}/{rel}", root.0.trim_end_matches('/'));
    FileRef {
        path: LocalPath(path),
        size: file.size,
        mtime_ns: FileRef::MTIME_UNKNOWN,
    }
}

fn delete_rows(cx: &mut Cx<'_>, id: DownloadId, job: &Job) {
    cx.delete(Table::Downloads, job::job_key(id));
    cx.delete(Table::Downloads, job::done_key(id));
    for (index, item) in job.missing() {
        delete_have_rows(cx, id, index, item.chunks());
    }
}

pub(super) fn delete_have_rows(cx: &mut Cx<'_>, id: DownloadId, item: u32, chunks: u32) {
    if super::file::is_saved(chunks) {
        for page in 0..chunks.div_ceil(BITMAP_PAGE) {
            cx.delete(Table::Have, job::have_key(id, item, page));
        }
    }
}
