//! One file being fetched: its chunks and the hashes that prove them.

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::job::Item;
use super::plan::Plan;
use crate::content::{
    BITMAP_PAGE, Bitmap, chunk_count, chunk_len, level1_count, page_count, verify_page,
    verify_root_page,
};
use crate::id::{ContentId, NodeKey};
use crate::limits::CHUNK_LEN;
use crate::storage::{OUTBOARD_PAGE, OutboardKind, PartRef, PieceWrite, Proof};

/// Files larger than this have their progress saved while they are fetched.
const SAVED_FROM: u64 = 4 << 20;

/// A file that is open.
pub(super) struct File {
    pub(super) part: PartRef,
    pub(super) content: ContentId,
    pub(super) size: u64,
    chunk_list_hash: Option<[u8; 32]>,
    pub(super) phase: Phase,
    pub(super) plan: Plan,
    /// A page of hashes is being looked for.
    pub(super) asking: bool,
    /// The page that was looked for in the store last.
    pub(super) row_tried: Option<u32>,
    hashes: Hashes,
    /// Pages of the have-map that are not saved.
    dirty: BTreeSet<u32>,
    /// Bytes written since the have-map was saved.
    pub(super) unsaved: u64,
    /// Who sent wrong bytes for the last chunk.
    pub(super) suspects: BTreeSet<NodeKey>,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being found out what is on disk.
    Resuming,
    Fetching,
    /// All is written; it is being moved to its name.
    Finishing,
}

/// Hashes known of a file of more than one chunk.
#[derive(Default)]
struct Hashes {
    level1: Option<Bytes>,
    pages: BTreeMap<u32, Bytes>,
    list: Option<Bytes>,
}

/// A page that must be known next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageNeed {
    pub(super) level: u8,
    pub(super) page: u32,
}

impl File {
    pub(super) fn new(part: PartRef, item: &Item) -> File {
        File {
            part,
            content: item.content,
            size: item.size,
            chunk_list_hash: item.chunk_list_hash,
            phase: Phase::Resuming,
            plan: Plan::new(Bitmap::new(item.chunks())),
            asking: false,
            row_tried: None,
            hashes: Hashes::default(),
            dirty: BTreeSet::new(),
            unsaved: 0,
            suspects: BTreeSet::new(),
        }
    }

    pub(super) fn chunks(&self) -> u32 {
        self.plan.have().len()
    }

    pub(super) fn chunk_len(&self, index: u32) -> u32 {
        chunk_len(self.size, index).unwrap_or(0)
    }

    /// Verified bytes on disk.
    pub(super) fn done(&self) -> u64 {
        done_bytes(self.size, self.plan.have())
    }

    /// The kind of hashes that the file is fetched with.
    pub(super) fn kind(&self) -> OutboardKind {
        match self.hashes.list {
            Some(_) => OutboardKind::Chunks,
            None => OutboardKind::Subtrees,
        }
    }

    /// What a chunk must hash to, if that is known.
    pub(super) fn proof(&self, index: u32) -> Option<Proof> {
        if self.chunks() == 1 {
            return Some(Proof::Hash(self.content.0));
        }
        if let Some(list) = &self.hashes.list {
            return hash_at(list, index).map(Proof::Hash);
        }
        let page = self.hashes.pages.get(&(index / OUTBOARD_PAGE))?;
        hash_at(page, index % OUTBOARD_PAGE).map(Proof::Subtree)
    }

    /// The page to ask for before a chunk can be.
    pub(super) fn page_need(&self, index: u32) -> PageNeed {
        if self.is_deep() && self.hashes.level1.is_none() {
            return PageNeed { level: 1, page: 0 };
        }
        PageNeed {
            level: 0,
            page: index / OUTBOARD_PAGE,
        }
    }

    /// Whether the chunk list of deployed peers can be checked.
    pub(super) fn takes_list(&self) -> bool {
        self.chunk_list_hash.is_some()
    }

    /// Takes a page if it is right.
    pub(super) fn take_page(&mut self, level: u8, page: u32, hashes: &Bytes) -> bool {
        let right = match (level, &self.hashes.level1) {
            (1, _) => self.is_deep() && verify_root_page(&self.content, self.size, hashes).is_ok(),
            (0, None) => {
                !self.is_deep() && verify_root_page(&self.content, self.size, hashes).is_ok()
            }
            (0, Some(level1)) => hash_at(level1, page)
                .is_some_and(|parent| verify_page(&parent, self.size, page, hashes).is_ok()),
            _ => false,
        };
        if !right || page_count(self.size).is_none_or(|pages| page >= pages) {
            return false;
        }
        if level == 1 {
            self.hashes.level1 = Some(hashes.clone());
        } else {
            self.hashes.pages.insert(page, hashes.clone());
        }
        true
    }

    /// Takes the chunk list of deployed peers if it is right.
    pub(super) fn take_list(&mut self, hashes: &Bytes) -> bool {
        let right = hashes.len() as u64 == u64::from(self.chunks()) * 32
            && self.chunk_list_hash == Some(blake3::hash(hashes).into());
        if right {
            self.hashes.list = Some(hashes.clone());
        }
        right
    }

    /// The piece that a peer's chunk makes; `None` if it is not the chunk asked for.
    pub(super) fn piece(&self, index: u32, data: Bytes) -> Option<PieceWrite> {
        if data.len() as u64 != u64::from(self.chunk_len(index)) {
            return None;
        }
        Some(PieceWrite {
            part: self.part.clone(),
            size: self.size,
            offset: u64::from(index) * u64::from(CHUNK_LEN),
            data,
            proof: self.proof(index)?,
        })
    }

    /// A chunk is right and written.
    pub(super) fn written(&mut self, index: u32) {
        self.plan.written(index);
        if self.size > SAVED_FROM {
            self.dirty.insert(index / BITMAP_PAGE);
            self.unsaved = self
                .unsaved
                .saturating_add(u64::from(self.chunk_len(index)));
        }
        let page = index / OUTBOARD_PAGE;
        let end = page.saturating_add(1).saturating_mul(OUTBOARD_PAGE);
        let first = page.saturating_mul(OUTBOARD_PAGE);
        if index.saturating_add(1) == end.min(self.chunks())
            || self
                .plan
                .have()
                .contains(end.min(self.chunks()).saturating_sub(1))
        {
            let missing = self.plan.have().first_missing_from(first);
            if missing.is_none_or(|missing| missing >= end) {
                self.hashes.pages.remove(&page);
            }
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The pages of the have-map to save, which count as saved from now on.
    pub(super) fn take_dirty(&mut self) -> BTreeSet<u32> {
        self.unsaved = 0;
        core::mem::take(&mut self.dirty)
    }

    /// Saving these pages failed.
    pub(super) fn dirty_again(&mut self, pages: BTreeSet<u32>) {
        self.dirty.extend(pages);
    }

    fn is_deep(&self) -> bool {
        level1_count(self.size).is_some_and(|count| count > 0)
    }
}

/// Whether a file of so many chunks has its progress saved.
pub(super) fn is_saved(chunks: u32) -> bool {
    u64::from(chunks) * u64::from(CHUNK_LEN) > SAVED_FROM
}

/// Bytes of the chunks that are there.
pub(super) fn done_bytes(size: u64, have: &Bitmap) -> u64 {
    let whole = u64::from(have.count()) * u64::from(CHUNK_LEN);
    let Some(last) = have.len().checked_sub(1) else {
        return 0;
    };
    let missing_of_last = CHUNK_LEN - chunk_len(size, last).unwrap_or(CHUNK_LEN);
    if have.contains(last) {
        whole.saturating_sub(u64::from(missing_of_last))
    } else {
        whole
    }
}

/// Chunks of a content of this size; 0 for one that is too large, which no item is.
pub(super) fn chunks_of(size: u64) -> u32 {
    chunk_count(size).unwrap_or(0)
}

fn hash_at(hashes: &[u8], index: u32) -> Option<[u8; 32]> {
    let (hashes, _) = hashes.as_chunks::<32>();
    hashes.get(usize::try_from(index).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_done_count_the_short_last_chunk() {
        let size = u64::from(CHUNK_LEN) * 2 + 10;
        let mut have = Bitmap::new(3);
        assert_eq!(done_bytes(size, &have), 0);
        have.set(2);
        assert_eq!(done_bytes(size, &have), 10);
        have.set(0);
        have.set(1);
        assert_eq!(done_bytes(size, &have), size);
        assert_eq!(done_bytes(0, &Bitmap::new(0)), 0);
    }
}
