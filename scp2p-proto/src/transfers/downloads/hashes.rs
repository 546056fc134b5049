//! Getting the hashes that prove a file's chunks.

use core::time::Duration;

use super::job::Job;
use super::{Downloads, Place, Tag, Timer};
use crate::cx::{CallError, Cx};
use crate::id::NodeKey;
use crate::storage::{Load, Loaded, OUTBOARD_PAGE, OutboardKind, StoreError, Table, outboard_key};
use crate::wire::{Answer, Request};
use crate::wish::{Conduct, Wish};

const PAGE_TIME: Duration = Duration::from_secs(15);
/// How long nothing is asked of a peer that limits our rate.
pub(super) const RATE_PAUSE: Duration = Duration::from_secs(10);

impl Downloads {
    /// Looks for the hash of a chunk: in our store, then at a peer of ours, then at a deployed one.
    pub(super) fn want_hash(&mut self, cx: &mut Cx<'_>, place: Place, index: u32) {
        self.ready.remove(&place);
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        if file.asking {
            return;
        }
        let page = index / OUTBOARD_PAGE;
        let need = file.page_need(index);
        if need.level == 0 && file.row_tried != Some(page) {
            file.asking = true;
            file.row_tried = Some(page);
            let key = outboard_key(&file.content, OutboardKind::Subtrees, page);
            let load = Load::Row(Table::Outboard, key);
            return cx.load(load, Tag::Row { place, page });
        }
        let (content, takes_list) = (file.content, file.takes_list());
        let peer = self
            .best_holder(cx, place, true)
            .map(|peer| (peer, true))
            .or_else(|| Some((self.best_holder(cx, place, false)?, false)));
        match peer {
            Some((peer, true)) => {
                let request = Request::GetSubtrees {
                    content,
                    level: need.level,
                    page: need.page,
                };
                let tag = Tag::Page {
                    place,
                    level: need.level,
                    page: need.page,
                };
                cx.call(peer, request, PAGE_TIME, tag);
            }
            Some((peer, false)) if takes_list => {
                let request = Request::GetChunkHashes(content);
                cx.call(peer, request, PAGE_TIME, Tag::ChunkList(place));
            }
            // It has nothing that could be checked.
            Some((peer, false)) => {
                self.has_not(place, &peer);
                return self.go_on(place);
            }
            None => return self.park(place),
        }
        if let Some(file) = self.files.get_mut(&place) {
            file.asking = true;
        }
    }

    pub(super) fn on_row(&mut self, place: Place, page: u32, result: Result<Loaded, StoreError>) {
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        file.asking = false;
        if let Ok(Loaded::Row(Some(hashes))) = result {
            file.take_page(0, page, &hashes);
        }
        self.go_on(place);
    }

    pub(super) fn on_page(
        &mut self,
        cx: &mut Cx<'_>,
        place: Place,
        level: u8,
        page: u32,
        from: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        file.asking = false;
        match answer {
            Ok(Answer::Subtrees(found)) => {
                let asked = found.content == file.content
                    && found.size == file.size
                    && (found.level, found.page) == (level, page);
                if asked && file.take_page(level, page, &found.hashes) {
                    if level == 0 {
                        let key = outboard_key(&file.content, OutboardKind::Subtrees, page);
                        // Messages are slices of what was read; a row is kept for long.
                        let row = bytes::Bytes::copy_from_slice(&found.hashes);
                        cx.put(Table::Outboard, key, row);
                        // After a kill they tell which chunks of the part are right.
                        cx.make_durable();
                    }
                } else {
                    cx.wish(Wish::Judge(from, Conduct::Corrupt));
                    self.ban(place.job, &from);
                }
            }
            Ok(_) => self.has_not(place, &from),
            Err(error) => self.hash_failed(cx, place, from, &error),
        }
        self.go_on(place);
    }

    pub(super) fn on_chunk_list(
        &mut self,
        cx: &mut Cx<'_>,
        place: Place,
        from: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        let Some(file) = self.files.get_mut(&place) else {
            return;
        };
        file.asking = false;
        match answer {
            Ok(Answer::ChunkHashes(list)) => {
                if list.content == file.content && file.take_list(&list.hashes, from) {
                    let page_len = OUTBOARD_PAGE as usize * 32;
                    for (page, hashes) in (0..).zip(list.hashes.chunks(page_len)) {
                        let key = outboard_key(&file.content, OutboardKind::Claimed, page);
                        let row = bytes::Bytes::copy_from_slice(hashes);
                        cx.put(Table::Outboard, key, row);
                        cx.make_durable();
                    }
                } else {
                    // The list or the catalog is wrong.
                    self.set_aside(place, from);
                }
            }
            Ok(_) => self.has_not(place, &from),
            Err(error) => self.hash_failed(cx, place, from, &error),
        }
        self.go_on(place);
    }

    /// The peer gave no hashes: others are asked, it again when it says to have the file.
    fn hash_failed(&mut self, cx: &mut Cx<'_>, place: Place, from: NodeKey, error: &CallError) {
        match error {
            CallError::Refused { rate_limited: true } => {
                self.source(cx, from).pause(cx.now.mono + RATE_PAUSE);
            }
            CallError::Busy | CallError::TimedOut | CallError::Lost | CallError::Connect(_) => {
                self.has_not(place, &from);
                if self.jobs.get(&place.job).is_some_and(Job::is_running) {
                    let soon = cx.now.mono + self.rng.jitter(Duration::from_secs(2));
                    self.timers.set(Timer::Poll(place.job), soon);
                }
            }
            CallError::Refused {
                rate_limited: false,
            } => self.has_not(place, &from),
            CallError::Malformed => {
                cx.wish(Wish::Judge(from, Conduct::Offence));
                self.ban(place.job, &from);
            }
        }
    }

    /// The file's next chunk is looked for again.
    fn go_on(&mut self, place: Place) {
        self.park(place);
        self.offer(place);
    }

    /// The fastest connected holder of an item among nodes of ours, or among deployed ones.
    fn best_holder(&self, cx: &Cx<'_>, place: Place, ours: bool) -> Option<NodeKey> {
        let job = self.jobs.get(&place.job)?;
        let source = |key: &NodeKey| self.sources.get(key);
        job.peers
            .iter()
            .filter(|(_, peer)| peer.holds(place.item))
            .map(|(key, _)| *key)
            .filter(|key| cx.roster.is_callable(key) && cx.roster.is_ours(key) == ours)
            .filter(|key| source(key).is_none_or(|source| !source.is_paused(cx.now.mono)))
            .max_by_key(|key| source(key).map_or(0, |source| source.window.rate()))
    }
}
