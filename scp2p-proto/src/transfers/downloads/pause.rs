//! Downloads that the user paused: nobody is asked for anything, and nothing that came is lost.

use alloc::vec::Vec;

use super::file::Phase;
use super::job::{self, Job};
use super::{Downloads, Place, Tag, Timer};
use crate::command::{CommandError, Reply};
use crate::cx::Cx;
use crate::id::{DownloadId, OpId};
use crate::storage::Table;
use crate::view::DownloadState;

impl Downloads {
    pub(in crate::transfers) fn pause(&mut self, cx: &mut Cx<'_>, op: OpId, id: DownloadId) {
        self.switch(cx, op, id, DownloadState::Paused);
        let is_paused = |job: &Job| job.state == DownloadState::Paused;
        if self.jobs.get(&id).is_some_and(is_paused) {
            self.timers.cancel(&Timer::Poll(id));
        }
        self.turn(cx);
    }

    pub(in crate::transfers) fn resume(&mut self, cx: &mut Cx<'_>, op: OpId, id: DownloadId) {
        self.switch(cx, op, id, DownloadState::Running);
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_running()) else {
            return;
        };
        job.moved = cx.now.mono;
        self.refill = true;
        self.poll(cx, id);
        self.turn(cx);
    }

    /// Makes it durable whether a download runs.
    fn switch(&mut self, cx: &mut Cx<'_>, op: OpId, id: DownloadId, state: DownloadState) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.begun.is_none()) else {
            return cx.done(op, Err(CommandError::UnknownDownload));
        };
        if job.state.has_ended() {
            return cx.done(op, Err(CommandError::DownloadEnded));
        }
        // All of it is there, so there is nothing to pause, and its end has a row of its own.
        if job.left() == 0 {
            return cx.done(op, Ok(Reply::Ok));
        }
        job.state = state;
        cx.put(Table::Downloads, job::job_key(id), job.row(state));
        cx.commit(Tag::Switched(op));
    }

    /// Closes the files of paused downloads, so that others may be opened.
    pub(super) fn close_paused(&mut self, cx: &mut Cx<'_>) {
        let is_paused = |job: &Job| job.state == DownloadState::Paused;
        if !self.jobs.values().any(is_paused) {
            return;
        }
        let of_paused = |place: &Place| self.jobs.get(&place.job).is_some_and(is_paused);
        let idle = self.files.iter().filter(|(place, file)| {
            let idle = !file.asking && file.plan.is_idle();
            idle && file.phase == Phase::Fetching && of_paused(place)
        });
        let idle: Vec<(Place, bool)> = idle
            .map(|(place, file)| (*place, file.is_dirty()))
            .collect();
        for (place, is_dirty) in idle {
            if is_dirty {
                self.sync_file(cx, place);
            }
            self.park(place);
        }
    }
}
