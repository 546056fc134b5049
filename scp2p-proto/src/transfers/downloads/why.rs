//! What a download waits for.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::file::Phase;
use super::job::Job;
use super::{Downloads, FULL_PAUSE, Place, Tag, Timer};
use crate::id::DownloadId;
use crate::time::Time;
use crate::view::{DownloadCause, DownloadState};

/// What its open files wait for.
#[derive(Default)]
struct Open {
    resuming: u32,
    asking: u32,
    requests: u32,
    writing: u32,
    idle: u32,
    idle_until: Option<Time>,
    checking: u32,
    finishing: u32,
}

impl Downloads {
    /// Why a download is not finished; `None` if there is none of this id. `open` is what all
    /// components wait for.
    pub(in crate::transfers) fn why<'a>(
        &self,
        id: DownloadId,
        open: impl Iterator<Item = &'a Tag>,
    ) -> Option<Vec<DownloadCause>> {
        let job = self.jobs.get(&id)?;
        let mut causes = self.causes(id, job);
        if !job.is_running() || job.left() == 0 {
            return Some(causes);
        }
        causes.extend(unopened(job));
        let (mut lookups, mut peers, mut questions) = (0, 0, 0);
        for tag in open {
            lookups += u32::from(matches!(tag, Tag::Lookup { job, .. } if *job == id));
            peers += u32::from(matches!(tag, Tag::Reached { job, .. } if *job == id));
            questions += u32::from(matches!(tag, Tag::Have { job, .. } if *job == id));
        }
        let counted = [
            (lookups, DownloadCause::LookingUp { lookups }),
            (peers, DownloadCause::Connecting { peers }),
            (questions, DownloadCause::AskingPeers { questions }),
        ];
        causes.extend(some(counted));
        let poll = self.timers.at(&Timer::Poll(id));
        causes.extend(poll.map(DownloadCause::RetryAt));
        Some(causes)
    }

    /// The same for people; `None` if it gets on.
    pub(super) fn waiting_for(&self, id: DownloadId, job: &Job) -> Option<String> {
        let mut causes = self.causes(id, job);
        if causes.is_empty() {
            causes = unopened(job);
        }
        match *causes.first()? {
            DownloadCause::Failed => job.reason.clone(),
            DownloadCause::Paused => Some("paused by the user".into()),
            DownloadCause::DiskFull { .. } => Some(format!(
                "no space is left on the disk of {}; it is tried again every {} seconds",
                job.root,
                FULL_PAUSE.as_secs()
            )),
            DownloadCause::NoSource { files } => Some(format!(
                "no connected peer has {} of its files; looking for others",
                if files == job.totals.items {
                    "any".to_string()
                } else {
                    files.to_string()
                }
            )),
            DownloadCause::OthersFirst { .. } => Some("other downloads come first".into()),
            DownloadCause::Beginning
            | DownloadCause::Resuming { .. }
            | DownloadCause::WaitingForHashes { .. }
            | DownloadCause::WaitingForChunks { .. }
            | DownloadCause::WritingToDisk { .. }
            | DownloadCause::HoldersBusy { .. }
            | DownloadCause::Checking { .. }
            | DownloadCause::Finishing { .. }
            | DownloadCause::LookingUp { .. }
            | DownloadCause::Connecting { .. }
            | DownloadCause::AskingPeers { .. }
            | DownloadCause::RetryAt(_)
            | DownloadCause::Ending
            | DownloadCause::StoreTrouble { .. } => None,
        }
    }

    /// The download's state, and what its open files wait for.
    fn causes(&self, id: DownloadId, job: &Job) -> Vec<DownloadCause> {
        match job.state {
            DownloadState::Finished => return Vec::new(),
            DownloadState::Failed => return Vec::from([DownloadCause::Failed]),
            DownloadState::Running if job.begun.is_some() => {
                return Vec::from([DownloadCause::Beginning]);
            }
            DownloadState::Running | DownloadState::Paused if job.ending => {
                return Vec::from([DownloadCause::Ending]);
            }
            DownloadState::Running | DownloadState::Paused => {}
        }
        let mut causes = Vec::new();
        if job.state == DownloadState::Paused {
            causes.push(DownloadCause::Paused);
        }
        causes.extend(job.stalled.map(|until| DownloadCause::DiskFull { until }));
        let end = self.timers.at(&Timer::End(id));
        causes.extend(end.map(|until| DownloadCause::StoreTrouble { until }));
        let open = self.open_of(id, job);
        let counted = [
            (
                open.resuming,
                DownloadCause::Resuming {
                    files: open.resuming,
                },
            ),
            (
                open.asking,
                DownloadCause::WaitingForHashes { files: open.asking },
            ),
            (
                open.requests,
                DownloadCause::WaitingForChunks {
                    outstanding: open.requests,
                },
            ),
            (
                open.writing,
                DownloadCause::WritingToDisk {
                    chunks: open.writing,
                },
            ),
            (
                open.idle,
                DownloadCause::HoldersBusy {
                    files: open.idle,
                    until: open.idle_until,
                },
            ),
            (
                open.checking,
                DownloadCause::Checking {
                    files: open.checking,
                },
            ),
            (
                open.finishing,
                DownloadCause::Finishing {
                    files: open.finishing,
                },
            ),
        ];
        causes.extend(some(counted));
        causes
    }

    fn open_of(&self, id: DownloadId, job: &Job) -> Open {
        let mut open = Open::default();
        let places = Place { job: id, item: 0 }..=Place {
            job: id,
            item: u32::MAX,
        };
        for (place, file) in self.files.range(places) {
            match file.phase {
                Phase::Resuming => open.resuming += 1,
                Phase::Checking => open.checking += 1,
                Phase::Finishing => open.finishing += 1,
                Phase::Fetching => {
                    open.asking += u32::from(file.asking);
                    open.requests = open.requests.saturating_add(file.plan.requests());
                    open.writing = open.writing.saturating_add(file.plan.writing());
                    if !file.asking && file.plan.is_idle() {
                        open.idle += 1;
                        let timer = match self.ready.contains(place) && job.stalled.is_none() {
                            true => Timer::Pump,
                            false => Timer::Poll(id),
                        };
                        let at = self.timers.at(&timer);
                        let earlier = [open.idle_until, at].into_iter().flatten().min();
                        open.idle_until = earlier;
                    }
                }
            }
        }
        open
    }
}

/// Why files are not open.
fn unopened(job: &Job) -> Vec<DownloadCause> {
    let orphans = job.waiting.iter().filter(|item| !job.has_holder(**item));
    let orphans = orphans.count() as u32;
    let others = (job.waiting.len() as u32).saturating_sub(orphans);
    let causes = [
        (orphans, DownloadCause::NoSource { files: orphans }),
        (others, DownloadCause::OthersFirst { files: others }),
    ];
    some(causes).collect()
}

/// The causes that count something.
fn some<const N: usize>(counted: [(u32, DownloadCause); N]) -> impl Iterator<Item = DownloadCause> {
    let counted = counted.into_iter().filter(|(count, _)| *count > 0);
    counted.map(|(_, cause)| cause)
}
