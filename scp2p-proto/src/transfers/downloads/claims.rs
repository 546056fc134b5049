//! Files fetched by a chunk list. Nothing ties such a list to the content id, so it is the word of
//! whoever gave it, and at best of the catalog, until the whole file was hashed.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::vec;

use super::file::{File, LIES_MAX, Phase};
use super::finish::delete_have_rows;
use super::job;
use super::{Downloads, Place, Tag};
use crate::content::Bitmap;
use crate::cx::Cx;
use crate::id::{ContentId, DownloadId, NodeKey};
use crate::limits::CHECKS_MAX;
use crate::path::PART_SUFFIX;
use crate::storage::{
    Load, Loaded, LocalPath, OUTBOARD_PAGE, OutboardKind, PartRef, StoreError, Table, outboard_key,
};
use crate::wish::{Conduct, Wish};

/// Files whose chunk lists are in question.
#[derive(Default)]
pub(super) struct Checks {
    /// Complete ones that wait to be hashed.
    waiting: VecDeque<Place>,
    /// Those being hashed, at most [`CHECKS_MAX`].
    hashing: BTreeSet<Place>,
    /// Those with a list that nobody connected confirms.
    doubtful: BTreeSet<Place>,
}

impl Checks {
    /// All of the file is written.
    pub(super) fn push(&mut self, place: Place) {
        self.waiting.push_back(place);
    }

    /// Nobody is left who sends what the file's list says.
    pub(super) fn doubt(&mut self, place: Place) {
        self.doubtful.insert(place);
    }

    pub(super) fn forget(&mut self, id: DownloadId) {
        self.waiting.retain(|place| place.job != id);
        self.doubtful.retain(|place| place.job != id);
    }
}

impl Downloads {
    /// Hashes complete files, a few at a time, and gives up lists that nobody confirms.
    pub(super) fn check(&mut self, cx: &mut Cx<'_>) {
        for place in core::mem::take(&mut self.checks.doubtful) {
            let is_idle = self.files.get(&place).is_some_and(|file| {
                let idle = !file.asking && file.plan.is_idle();
                idle && file.phase == Phase::Fetching && file.is_hearsay()
            });
            if is_idle {
                self.list_is_false(cx, place);
            }
        }
        for _ in 0..self.checks.waiting.len() {
            if self.checks.hashing.len() >= CHECKS_MAX {
                return;
            }
            let Some(place) = self.checks.waiting.pop_front() else {
                return;
            };
            let Some(file) = self.files.get(&place) else {
                continue;
            };
            let stalled = |job: &job::Job| job.stalled.is_some();
            if self.jobs.get(&place.job).is_some_and(stalled) {
                self.checks.waiting.push_back(place);
                continue;
            }
            let load = Load::Hash(vec![part_path(&file.part)]);
            cx.load(load, Tag::Checked(place));
            self.checks.hashing.insert(place);
        }
    }

    pub(super) fn on_checked(
        &mut self,
        cx: &mut Cx<'_>,
        place: Place,
        result: Result<Loaded, StoreError>,
    ) {
        self.checks.hashing.remove(&place);
        let Some(file) = self.files.get(&place) else {
            return;
        };
        let hashed = match result {
            Ok(Loaded::Hash(files)) => files.into_iter().next(),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        match hashed {
            Some(Ok(hashed)) if hashed.content == file.content => self.list_is_true(cx, place),
            Some(Ok(_)) => {
                let giver = file.list_from();
                self.list_is_false(cx, place);
                if let Some(giver) = giver {
                    cx.wish(Wish::Judge(giver, Conduct::Corrupt));
                }
            }
            Some(Err(StoreError::Full)) => {
                self.stall(cx, place.job);
                self.checks.push(place);
            }
            Some(Err(error)) => self.item_failed(cx, place, error.to_string()),
            None => self.checks.push(place),
        }
    }

    /// A peer sent what the chunk list denies. One of them is wrong; only if the peer gave the list
    /// itself it is clear who.
    pub(super) fn doubt(&mut self, cx: &mut Cx<'_>, place: Place, index: u32, from: NodeKey) {
        let Some(giver) = self.files.get(&place).and_then(|file| file.list_from()) else {
            return;
        };
        if giver == from {
            self.wrong_bytes(cx, place, index, from);
            self.checks.doubt(place);
        } else {
            self.set_aside(place, from);
        }
    }

    /// Who gave a list does not send what it says, while somebody else sends something different.
    pub(super) fn list_unconfirmed(&mut self, place: Place, from: NodeKey) {
        let is_its = |file: &File| file.is_hearsay() && file.list_from() == Some(from);
        let doubted = |job: &job::Job| job.is_doubted(place.item);
        if self.files.get(&place).is_some_and(is_its)
            && self.jobs.get(&place.job).is_some_and(doubted)
        {
            self.checks.doubt(place);
        }
    }

    /// Nothing more of this file is asked of a peer until it is clear who is wrong.
    pub(super) fn set_aside(&mut self, place: Place, from: NodeKey) {
        if let Some(job) = self.jobs.get_mut(&place.job)
            && let Some(peer) = job.peer(from)
        {
            peer.doubted.set(place.item);
        }
    }

    fn list_is_true(&mut self, cx: &mut Cx<'_>, place: Place) {
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        file.is_proven();
        delete_claims(cx, &file.content, file.chunks());
        let doubted = self.undoubt(place);
        for peer in doubted {
            cx.wish(Wish::Judge(peer, Conduct::Corrupt));
            self.ban(place.job, &peer);
        }
        self.is_right(place);
    }

    /// The list and all that it alone proved are dropped. What is on the disk stays there to be
    /// overwritten; chunks of it that the content id proves count.
    fn list_is_false(&mut self, cx: &mut Cx<'_>, place: Place) {
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        let giver = file.list_from();
        file.drop_list();
        file.phase = Phase::Resuming;
        self.ready.remove(&place);
        let (content, chunks) = (file.content, file.chunks());
        let kind = OutboardKind::Subtrees;
        let load = Load::Resume {
            part: file.part.clone(),
            content,
            size: file.size,
            kind,
            verified: Bitmap::new(chunks),
        };
        cx.load(load, Tag::Resumed { place, kind });
        delete_claims(cx, &content, chunks);
        delete_have_rows(cx, place.job, place.item, chunks);
        if let Some(job) = self.jobs.get_mut(&place.job)
            && let Some(item) = job.item_mut(place.item)
        {
            item.lies = item.lies.saturating_add(1);
            // The catalog was wrong about it, if it said anything.
            item.chunk_list_hash = None;
            file.may_list = item.lies < LIES_MAX;
            cx.put(
                Table::Downloads,
                job::job_key(place.job),
                job.row(job.state),
            );
        }
        self.undoubt(place);
        self.set_done(place, 0);
        if let Some(giver) = giver {
            self.ban(place.job, &giver);
        }
    }

    /// Nobody's chunks of a file are doubted any more; whose were.
    fn undoubt(&mut self, place: Place) -> BTreeSet<NodeKey> {
        let Some(job) = self.jobs.get_mut(&place.job) else {
            return BTreeSet::new();
        };
        let peers = job.peers.iter_mut();
        let doubted = peers.filter(|(_, peer)| peer.doubted.contains(place.item));
        doubted
            .map(|(key, peer)| {
                peer.doubted.clear(place.item);
                *key
            })
            .collect()
    }
}

fn part_path(part: &PartRef) -> LocalPath {
    let root = part.root.0.trim_end_matches('/');
    LocalPath(alloc::format!("{root}/{}{PART_SUFFIX}", part.rel))
}

fn delete_claims(cx: &mut Cx<'_>, content: &ContentId, chunks: u32) {
    for page in 0..chunks.div_ceil(OUTBOARD_PAGE) {
        let key = outboard_key(content, OutboardKind::Claimed, page);
        cx.delete(Table::Outboard, key);
    }
}

#[cfg(any(test, feature = "check"))]
impl Checks {
    pub(super) fn is_waiting(&self, place: &Place) -> bool {
        self.waiting.contains(place)
    }

    pub(super) fn hashing(&self) -> &BTreeSet<Place> {
        &self.hashing
    }
}
