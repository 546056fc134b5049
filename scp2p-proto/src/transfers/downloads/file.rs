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

/// So many false chunk lists of a file, and no more are taken for it.
pub(super) const LIES_MAX: u8 = 4;
/// Files larger than this have their progress saved while they are fetched.
const SAVED_FROM: u64 = 4 << 20;

/// A file that is open.
pub(super) struct File {
    pub(super) part: PartRef,
    pub(super) content: ContentId,
    pub(super) size: u64,
    chunk_list_hash: Option<[u8; 32]>,
    /// A chunk list may be asked for.
    pub(super) may_list: bool,
    /// Some chunks are there, or on their way to the disk, by a chunk list alone.
    claimed: bool,
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
    /// All is written, some of it by a chunk list: the whole is being hashed.
    Checking,
    /// All is written and right; it is being moved to its name.
    Finishing,
}

/// Hashes known of a file of more than one chunk.
#[derive(Default)]
struct Hashes {
    level1: Option<Bytes>,
    pages: BTreeMap<u32, Bytes>,
    list: Option<List>,
}

/// A chunk list, which says what its giver says it does until the whole content was hashed.
struct List {
    hashes: Bytes,
    from: NodeKey,
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
            may_list: item.lies < LIES_MAX,
            claimed: false,
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

    /// The weakest kind of hashes that chunks on the disk were taken by.
    pub(super) fn kind(&self) -> OutboardKind {
        if self.claimed {
            OutboardKind::Claimed
        } else {
            OutboardKind::Subtrees
        }
    }

    /// These chunks are on the disk, taken by hashes of this kind.
    pub(super) fn found(&mut self, have: Bitmap, kind: OutboardKind) {
        self.plan = Plan::new(have);
        self.claimed = kind == OutboardKind::Claimed && self.plan.have().count() > 0;
    }

    /// Whether a chunk can be asked for. A chunk list is good enough for deployed peers only:
    /// nodes of ours have something better.
    pub(super) fn is_provable(&self, index: u32, ours: bool) -> bool {
        self.proven(index).is_some() || (!ours && self.hashes.list.is_some())
    }

    /// What a chunk must hash to by the content id.
    fn proven(&self, index: u32) -> Option<Proof> {
        if self.chunks() == 1 {
            return Some(Proof::Hash(self.content.0));
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

    /// Whether the chunk list of a deployed peer would be of use.
    pub(super) fn takes_list(&self) -> bool {
        self.may_list && self.hashes.list.is_none()
    }

    /// Who gave the chunk list in use.
    pub(super) fn list_from(&self) -> Option<NodeKey> {
        self.hashes.list.as_ref().map(|list| list.from)
    }

    /// Whether the chunk list in use is its giver's word alone, not the catalog's.
    pub(super) fn is_hearsay(&self) -> bool {
        self.hashes.list.is_some() && self.chunk_list_hash.is_none()
    }

    /// Forgets the chunk list, and the chunks that only it proved.
    pub(super) fn drop_list(&mut self) {
        self.hashes.list = None;
        self.chunk_list_hash = None;
        self.row_tried = None;
        self.dirty.clear();
        self.found(Bitmap::new(self.chunks()), OutboardKind::Subtrees);
    }

    /// The whole has the hash that it must.
    pub(super) fn is_proven(&mut self) {
        self.hashes.list = None;
        self.claimed = false;
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

    /// Takes the chunk list of a deployed peer, unless it is not the one that the catalog means.
    pub(super) fn take_list(&mut self, hashes: &Bytes, from: NodeKey) -> bool {
        let meant = self
            .chunk_list_hash
            .is_none_or(|expected| expected == *blake3::hash(hashes).as_bytes());
        let right = hashes.len() as u64 == u64::from(self.chunks()) * 32 && meant;
        if right {
            let hashes = hashes.clone();
            self.hashes.list = Some(List { hashes, from });
        }
        right
    }

    /// The piece that a chunk of the right length makes, and whether a chunk list is all that it
    /// is checked by; `None` if nothing is known to check it by.
    pub(super) fn piece(&mut self, index: u32, data: Bytes) -> Option<(PieceWrite, bool)> {
        let proven = self.proven(index);
        let claim = || hash_at(&self.hashes.list.as_ref()?.hashes, index).map(Proof::Hash);
        let proof = proven.or_else(claim)?;
        let claimed = proven.is_none();
        self.claimed |= claimed;
        let piece = PieceWrite {
            part: self.part.clone(),
            size: self.size,
            offset: u64::from(index) * u64::from(CHUNK_LEN),
            data,
            proof,
        };
        Some((piece, claimed))
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
