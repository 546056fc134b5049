//! The BLAKE3 tree of a content, cut at its chunks (SPECIFICATION §7).
//!
//! A chunk of 256 KiB is a whole subtree of the BLAKE3 tree, so the content id itself proves the
//! chaining values of all chunks. They come in pages of 4096, each the subtree of 1 GiB of content:
//!
//! - Up to one chunk there are no pages: the content id is the hash of the chunk.
//! - Up to 4096 chunks there is one page, proven by the content id ([`verify_root_page`]).
//! - Beyond that the chaining values of the pages, called level 1, are proven by the content id
//!   ([`verify_root_page`]) and each page by its value of level 1 ([`verify_page`]).
//!
//! The content id proves a tree, not a size: who claims a wrong size is found out by a page of a
//! wrong length or by a chunk that does not match, never by wrong bytes being taken.

use core::fmt;

use alloc::vec::Vec;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::id::ContentId;
use crate::limits::{CHUNK_LEN, CONTENT_LEN_MAX};
use crate::storage::OUTBOARD_PAGE;

/// Bytes of a chaining value.
const VALUE_LEN: usize = 32;

/// Number of chunks of a content of `size` bytes, 0 for an empty one; `None` if they exceed `u32`.
pub fn chunk_count(size: u64) -> Option<u32> {
    SHAPE.chunk_count(size)
}

/// Bytes of a chunk: 256 KiB, fewer only for the last; `None` if there is no such chunk.
pub fn chunk_len(size: u64, index: u32) -> Option<u32> {
    SHAPE.chunk_len(size, index)
}

/// Number of pages of chaining values: none for up to one chunk; `None` if the chunks exceed `u32`.
pub fn page_count(size: u64) -> Option<u32> {
    SHAPE.page_count(size)
}

/// Number of chaining values in a page; `None` if there is no such page.
pub fn page_len(size: u64, page: u32) -> Option<u32> {
    SHAPE.page_len(size, page)
}

/// Number of values of level 1: none where a single page is proven by the content id.
pub fn level1_count(size: u64) -> Option<u32> {
    SHAPE.level1_count(size)
}

/// The chaining value of a chunk at its offset in a content of more than one chunk. `None` if the data is
/// empty or longer than a chunk, or the offset is not a multiple of 256 KiB.
pub fn subtree_of(data: &[u8], offset: u64) -> Option<[u8; 32]> {
    SHAPE.subtree_of(data, offset)
}

/// The chaining value of a whole page, its value of level 1. `None` unless `hashes` is at least one and
/// at most 4096 whole values.
pub fn page_subtree(hashes: &[u8]) -> Option<[u8; 32]> {
    let (values, []) = hashes.as_chunks::<VALUE_LEN>() else {
        return None;
    };
    if values.len() > OUTBOARD_PAGE as usize {
        return None;
    }
    merge(values).subtree()
}

/// Check the only page of a content of at most 4096 chunks, or level 1 of a larger one, against the content id.
pub fn verify_root_page(content: &ContentId, size: u64, hashes: &[u8]) -> Result<(), SubtreeError> {
    SHAPE.verify_root_page(content, size, hashes)
}

/// Check a page of a content of more than 4096 chunks against `parent`, its value of level 1.
/// `size` must be what level 1 was proven with.
pub fn verify_page(
    parent: &[u8; 32],
    size: u64,
    page: u32,
    hashes: &[u8],
) -> Result<(), SubtreeError> {
    SHAPE.verify_page(parent, size, page, hashes)
}

/// Why chaining values are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubtreeError {
    /// The content is larger than 1 TiB.
    TooLarge,
    /// A content of this size has no such page, or none that is proven this way.
    NoPage,
    /// Not as many values as the page has.
    Length,
    /// The values are not those of the content.
    Mismatch,
}

impl fmt::Display for SubtreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SubtreeError::TooLarge => "the content is larger than 1 TiB",
            SubtreeError::NoPage => "a content of this size has no such page of hashes",
            SubtreeError::Length => "the page has not as many hashes as it must",
            SubtreeError::Mismatch => "the hashes are not those of the content",
        })
    }
}

impl core::error::Error for SubtreeError {}

/// Builds the pages of a content of at least two chunks from the chaining values of
/// its chunks, pushed in order. Holds one page and the values of level 1.
#[derive(Debug, Clone)]
pub struct OutboardBuilder {
    shape: Shape,
    page: Vec<u8>,
    page_tree: Merger,
    level1: Vec<[u8; VALUE_LEN]>,
}

/// What [`OutboardBuilder::finish`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outboard {
    /// The last page, never empty; [`OutboardBuilder::push`] gave all before it.
    pub last_page: Vec<u8>,
    /// The values of level 1, empty if there is only one page.
    pub level1: Vec<u8>,
    /// The content id.
    pub content: ContentId,
}

impl Default for OutboardBuilder {
    fn default() -> OutboardBuilder {
        OutboardBuilder::new()
    }
}

impl OutboardBuilder {
    /// A builder that has seen no chunk.
    pub fn new() -> OutboardBuilder {
        OutboardBuilder::of_shape(SHAPE)
    }

    fn of_shape(shape: Shape) -> OutboardBuilder {
        OutboardBuilder {
            shape,
            page: Vec::new(),
            page_tree: Merger::default(),
            level1: Vec::new(),
        }
    }

    /// Take the next chunk's chaining value. Gives the page before it if that is complete now.
    pub fn push(&mut self, subtree: [u8; 32]) -> Option<Vec<u8>> {
        let full = self.page.len() >= self.shape.page_chunks as usize * VALUE_LEN;
        let complete = full.then(|| {
            self.level1
                .extend(core::mem::take(&mut self.page_tree).subtree());
            core::mem::take(&mut self.page)
        });
        self.page.extend_from_slice(&subtree);
        self.page_tree.push(subtree);
        complete
    }

    /// The rest, after the last chunk. `None` for fewer than two chunks: those have no
    /// pages, and their content id is `blake3::hash` of the content.
    pub fn finish(mut self) -> Option<Outboard> {
        if self.level1.is_empty() {
            let content = ContentId(self.page_tree.root()?);
            return Some(Outboard {
                last_page: self.page,
                level1: Vec::new(),
                content,
            });
        }
        self.level1.extend(self.page_tree.subtree());
        let content = ContentId(merge(&self.level1).root()?);
        Some(Outboard {
            last_page: self.page,
            level1: self.level1.into_flattened(),
            content,
        })
    }
}

/// How a content is cut; both numbers are powers of two. Tests use small ones.
#[derive(Debug, Clone, Copy)]
struct Shape {
    chunk_len: u32,
    page_chunks: u32,
    len_max: u64,
}

const SHAPE: Shape = Shape {
    chunk_len: CHUNK_LEN,
    page_chunks: OUTBOARD_PAGE,
    len_max: CONTENT_LEN_MAX,
};

impl Shape {
    fn chunk_count(self, size: u64) -> Option<u32> {
        u32::try_from(size.div_ceil(u64::from(self.chunk_len))).ok()
    }

    fn chunk_len(self, size: u64, index: u32) -> Option<u32> {
        let start = u64::from(index) * u64::from(self.chunk_len);
        let rest = size.checked_sub(start).filter(|rest| *rest > 0)?;
        Some(u32::try_from(rest).map_or(self.chunk_len, |rest| rest.min(self.chunk_len)))
    }

    fn page_count(self, size: u64) -> Option<u32> {
        match self.chunk_count(size)? {
            0 | 1 => Some(0),
            chunks => Some(chunks.div_ceil(self.page_chunks)),
        }
    }

    fn page_len(self, size: u64, page: u32) -> Option<u32> {
        if page >= self.page_count(size)? {
            return None;
        }
        let before = page.checked_mul(self.page_chunks)?;
        self.chunk_count(size)?
            .checked_sub(before)
            .map(|rest| rest.min(self.page_chunks))
    }

    fn level1_count(self, size: u64) -> Option<u32> {
        self.page_count(size)
            .map(|pages| if pages > 1 { pages } else { 0 })
    }

    fn subtree_of(self, data: &[u8], offset: u64) -> Option<[u8; VALUE_LEN]> {
        let aligned = offset.is_multiple_of(u64::from(self.chunk_len));
        if data.is_empty() || data.len() > self.chunk_len as usize || !aligned {
            return None;
        }
        Some(
            blake3::Hasher::new()
                .set_input_offset(offset)
                .update(data)
                .finalize_non_root(),
        )
    }

    fn verify_root_page(
        self,
        content: &ContentId,
        size: u64,
        hashes: &[u8],
    ) -> Result<(), SubtreeError> {
        let expected = match self.pages_within_max(size)? {
            0 => return Err(SubtreeError::NoPage),
            1 => self.page_len(size, 0).ok_or(SubtreeError::NoPage)?,
            pages => pages,
        };
        let root = merge(values(hashes, expected)?).root();
        if root == Some(content.0) {
            Ok(())
        } else {
            Err(SubtreeError::Mismatch)
        }
    }

    fn verify_page(
        self,
        parent: &[u8; 32],
        size: u64,
        page: u32,
        hashes: &[u8],
    ) -> Result<(), SubtreeError> {
        if self.pages_within_max(size)? < 2 {
            return Err(SubtreeError::NoPage);
        }
        let expected = self.page_len(size, page).ok_or(SubtreeError::NoPage)?;
        let subtree = merge(values(hashes, expected)?).subtree();
        if subtree == Some(*parent) {
            Ok(())
        } else {
            Err(SubtreeError::Mismatch)
        }
    }

    fn pages_within_max(self, size: u64) -> Result<u32, SubtreeError> {
        if size > self.len_max {
            return Err(SubtreeError::TooLarge);
        }
        self.page_count(size).ok_or(SubtreeError::TooLarge)
    }
}

fn values(hashes: &[u8], expected: u32) -> Result<&[[u8; VALUE_LEN]], SubtreeError> {
    match hashes.as_chunks() {
        (values, []) if values.len() == expected as usize => Ok(values),
        _ => Err(SubtreeError::Length),
    }
}

fn merge(values: &[[u8; VALUE_LEN]]) -> Merger {
    let mut merger = Merger::default();
    values.iter().for_each(|value| merger.push(*value));
    merger
}

/// Merges equally large neighbouring subtrees, the last of which may be smaller, into the tree that BLAKE3
/// builds: every left subtree is complete, and its size a power of two.
#[derive(Debug, Clone, Default)]
struct Merger {
    /// Complete subtrees, ever smaller ones to the right, whose sizes are the binary digits of
    /// `count`; the ones merged last are left apart, as the very last merge of a content differs.
    stack: Vec<[u8; VALUE_LEN]>,
    count: u32,
}

impl Merger {
    fn push(&mut self, value: [u8; VALUE_LEN]) {
        while self.stack.len() > self.count.count_ones() as usize {
            self.merge_last_two();
        }
        self.stack.push(value);
        self.count = self.count.saturating_add(1);
    }

    fn merge_last_two(&mut self) {
        if let Some(right) = self.stack.pop()
            && let Some(left) = self.stack.last_mut()
        {
            *left = merge_subtrees_non_root(left, &right, Mode::Hash);
        }
    }

    /// The chaining value of all as a part of something larger.
    fn subtree(mut self) -> Option<[u8; VALUE_LEN]> {
        while self.stack.len() > 1 {
            self.merge_last_two();
        }
        self.stack.pop()
    }

    /// The hash of all as a whole content; `None` for fewer than two.
    fn root(mut self) -> Option<[u8; VALUE_LEN]> {
        while self.stack.len() > 2 {
            self.merge_last_two();
        }
        match self.stack.as_slice() {
            [left, right] => Some(*merge_subtrees_root(left, right, Mode::Hash).as_bytes()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// The smallest chunks that BLAKE3 has, so that deep trees are cheap.
    const SMALL: Shape = Shape {
        chunk_len: 1024,
        page_chunks: 4,
        len_max: 64 * 1024,
    };

    const CHUNK: u64 = CHUNK_LEN as u64;

    fn content(size: u64) -> Vec<u8> {
        let mut data = vec![0; usize::try_from(size).expect("test sizes are small")];
        blake3::Hasher::new().finalize_xof().fill(&mut data);
        data
    }

    /// All pages and the outboard of a content.
    fn build(shape: Shape, data: &[u8]) -> (Vec<Vec<u8>>, Option<Outboard>) {
        let mut builder = OutboardBuilder::of_shape(shape);
        let mut pages = Vec::new();
        for (index, chunk) in (0u64..).zip(data.chunks(shape.chunk_len as usize)) {
            let value = shape
                .subtree_of(chunk, index * u64::from(shape.chunk_len))
                .expect("a chunk");
            pages.extend(builder.push(value));
        }
        let outboard = builder.finish();
        pages.extend(outboard.as_ref().map(|outboard| outboard.last_page.clone()));
        (pages, outboard)
    }

    /// Check everything that a content of this size has, with every function that has a say.
    fn prove(shape: Shape, size: u64) {
        let data = content(size);
        let id = ContentId(*blake3::hash(&data).as_bytes());
        let (pages, outboard) = build(shape, &data);
        let count = shape.page_count(size).expect("test sizes are small");
        let chunks: u64 = (0..)
            .map_while(|index| shape.chunk_len(size, index))
            .map(u64::from)
            .sum();
        assert_eq!(chunks, size);
        let Some(outboard) = outboard else {
            assert!(size <= u64::from(shape.chunk_len) && count == 0);
            assert_eq!(
                shape.verify_root_page(&id, size, &[]),
                Err(SubtreeError::NoPage)
            );
            return;
        };
        assert_eq!((outboard.content, pages.len()), (id, count as usize));
        assert_eq!(
            outboard.level1.len(),
            shape.level1_count(size).expect("small") as usize * VALUE_LEN
        );
        let lens = (0..).map_while(|page| shape.page_len(size, page));
        assert!(lens.eq(pages.iter().map(|page| (page.len() / VALUE_LEN) as u32)));
        if let [only] = pages.as_slice() {
            assert_eq!(shape.verify_root_page(&id, size, only), Ok(()));
            return;
        }
        assert_eq!(shape.verify_root_page(&id, size, &outboard.level1), Ok(()));
        for (index, (page, parent)) in (0..).zip(pages.iter().zip(outboard.level1.as_chunks().0)) {
            assert_eq!(shape.verify_page(parent, size, index, page), Ok(()));
            assert_eq!(page_subtree(page), Some(*parent));
        }
    }

    #[test]
    fn the_content_id_proves_real_chunks() {
        for size in [
            0,
            1,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            2 * CHUNK - 1,
            2 * CHUNK,
            3 * CHUNK + 5,
            8 * CHUNK,
            9 * CHUNK + 1,
        ] {
            prove(SHAPE, size);
        }
    }

    #[test]
    fn the_content_id_proves_every_shape_of_tree() {
        for chunks in 0..=40 {
            for size in [chunks * 1024, chunks * 1024 + 1, chunks * 1024 + 1023] {
                prove(SMALL, size);
            }
        }
    }

    // The merge of as many values as a full page, and one more, against a tree that is merged top down.
    #[test]
    fn pages_of_full_size_merge_as_blake3_does() {
        fn top_down(values: &[[u8; 32]]) -> [u8; 32] {
            let [only] = values else {
                let (left, right) = values.split_at(values.len().div_ceil(2).next_power_of_two());
                return merge_subtrees_non_root(&top_down(left), &top_down(right), Mode::Hash);
            };
            *only
        }
        let values: Vec<[u8; 32]> = (0u32..8193)
            .map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes())
            .collect();
        for count in [4095, 4096, 4097, 8191, 8192, 8193] {
            let values = &values[..count];
            let left = values.len().div_ceil(2).next_power_of_two();
            let root = merge_subtrees_root(
                &top_down(&values[..left]),
                &top_down(&values[left..]),
                Mode::Hash,
            );
            let id = ContentId(*root.as_bytes());
            let mut builder = OutboardBuilder::new();
            let mut pages: Vec<Vec<u8>> = values
                .iter()
                .filter_map(|value| builder.push(*value))
                .collect();
            let outboard = builder.finish().expect("more than one chunk");
            pages.push(outboard.last_page);
            assert_eq!(outboard.content, id);
            let size = count as u64 * CHUNK - 7;
            if pages.len() == 1 {
                assert_eq!(verify_root_page(&id, size, &pages[0]), Ok(()));
            } else {
                assert_eq!(verify_root_page(&id, size, &outboard.level1), Ok(()));
                for (index, (page, parent)) in
                    (0..).zip(pages.iter().zip(outboard.level1.as_chunks().0))
                {
                    assert_eq!(verify_page(parent, size, index, page), Ok(()));
                }
            }
        }
    }

    #[test]
    fn sizes_at_the_limits() {
        let last = u64::from(u32::MAX) * CHUNK;
        assert_eq!(chunk_count(last), Some(u32::MAX));
        assert_eq!((chunk_count(last + 1), page_count(u64::MAX)), (None, None));
        assert_eq!(chunk_len(last, u32::MAX), None);
        assert_eq!(chunk_len(u64::MAX, u32::MAX), Some(CHUNK_LEN));
        assert_eq!(level1_count(CONTENT_LEN_MAX), Some(1024));
        let id = ContentId([0; 32]);
        let hashes = vec![0; 1025 * 32];
        assert_eq!(
            verify_root_page(&id, CONTENT_LEN_MAX + 1, &hashes),
            Err(SubtreeError::TooLarge)
        );
        assert_eq!(
            verify_root_page(&id, CONTENT_LEN_MAX, &hashes),
            Err(SubtreeError::Length)
        );
        assert_eq!(
            verify_root_page(&id, CONTENT_LEN_MAX, &hashes[32..]),
            Err(SubtreeError::Mismatch)
        );
        assert_eq!(
            verify_page(&[0; 32], u64::MAX, 0, &hashes),
            Err(SubtreeError::TooLarge)
        );
        assert_eq!(
            verify_page(&[0; 32], CONTENT_LEN_MAX, 1024, &hashes),
            Err(SubtreeError::NoPage)
        );
        assert_eq!(
            verify_page(&[0; 32], 5 * CHUNK, 0, &hashes),
            Err(SubtreeError::NoPage)
        );
    }

    #[test]
    fn what_is_no_chunk_has_no_subtree() {
        assert_eq!(subtree_of(&[], 0), None);
        assert_eq!(subtree_of(&[1], 1024), None);
        assert_eq!(subtree_of(&content(CHUNK + 1), 0), None);
        assert!(subtree_of(&content(CHUNK), CHUNK).is_some());
        assert_eq!((page_subtree(&[]), page_subtree(&[0; 33])), (None, None));
    }

    proptest! {
        // A page with any bit flipped, any two different values swapped, or of another length is refused.
        #[test]
        fn wrong_pages_are_refused(size in 1025u64..64 * 1024, byte in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (pages, outboard) = build(SMALL, &content(size));
            let outboard = outboard.expect("more than one chunk");
            let id = outboard.content;
            let root = if let [only] = pages.as_slice() { only } else { &outboard.level1 };
            let mut wrong = root.clone();
            wrong[byte.index(root.len())] ^= 1 << bit;
            prop_assert_eq!(SMALL.verify_root_page(&id, size, &wrong), Err(SubtreeError::Mismatch));
            let mut swapped = root.clone();
            swapped.rotate_left(VALUE_LEN);
            prop_assert_eq!(SMALL.verify_root_page(&id, size, &swapped), Err(SubtreeError::Mismatch));
            prop_assert_eq!(SMALL.verify_root_page(&id, size, &root[1..]), Err(SubtreeError::Length));
            for (index, (page, parent)) in (0..).zip(pages.iter().zip(outboard.level1.as_chunks().0)) {
                let mut wrong = page.clone();
                wrong[byte.index(page.len())] ^= 1 << bit;
                prop_assert_eq!(SMALL.verify_page(parent, size, index, &wrong), Err(SubtreeError::Mismatch));
                prop_assert_eq!(SMALL.verify_page(parent, size, index, &page[32..]), Err(SubtreeError::Length));
            }
        }

        // Under another size than its own, a content's pages and chunks cannot all be proven.
        #[test]
        fn a_wrong_size_is_found_out(size in 1025u64..64 * 1024, claimed in 1025u64..64 * 1024) {
            prop_assume!(claimed != size);
            let data = content(size);
            let (pages, outboard) = build(SMALL, &data);
            let outboard = outboard.expect("more than one chunk");
            let root = if let [only] = pages.as_slice() { only } else { &outboard.level1 };
            let mut leaves = root.clone();
            let mut proven = SMALL.verify_root_page(&outboard.content, claimed, root).is_ok();
            if SMALL.level1_count(claimed) > Some(0) {
                leaves = pages.concat();
                for (index, parent) in (0..).zip(root.as_chunks().0) {
                    let page = leaves.chunks(4 * VALUE_LEN).nth(index as usize).unwrap_or_default();
                    proven &= SMALL.verify_page(parent, claimed, index, page).is_ok();
                }
            }
            let mut at = 0;
            for (index, leaf) in (0..).zip(leaves.as_chunks().0) {
                let len = SMALL.chunk_len(claimed, index).unwrap_or(0) as usize;
                let chunk = data.get(at..at + len).unwrap_or_default();
                proven &= SMALL.subtree_of(chunk, at as u64) == Some(*leaf);
                at += len;
            }
            prop_assert!(!proven);
        }
    }
}
