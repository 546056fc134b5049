//! A fixed number of bits: which chunks are there.

use core::fmt;

use alloc::vec;
use alloc::vec::Vec;

/// Bits of one page, the unit in which a bitmap is stored; 512 bytes.
pub const BITMAP_PAGE: u32 = 4096;

const PAGE_BYTES: usize = BITMAP_PAGE as usize / 8;

/// A fixed number of bits, all clear at first. Bit `i` is bit `i % 8`, counted from
/// the least significant one, of byte `i / 8`; spare bits of the last byte are zero.
///
/// Takes one byte of memory for eight bits, so whoever chooses the length bounds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitmap {
    len: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Bitmap {
    /// `len` bits, all clear.
    pub fn new(len: u32) -> Bitmap {
        Bitmap {
            len,
            count: 0,
            bytes: vec![0; bytes_for(len)],
        }
    }

    /// From [`Bitmap::as_bytes`] of a bitmap of `len` bits; `None` if the number
    /// of bytes differs or a spare bit is set.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Option<Bitmap> {
        if bytes.len() != bytes_for(len) || !spare_bits_clear(len, bytes) {
            return None;
        }
        Some(Bitmap {
            len,
            count: ones(bytes),
            bytes: bytes.to_vec(),
        })
    }

    /// All bits, eight in a byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bits there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bits are set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether all bits are set. A bitmap without bits is full.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether the bit is set; false beyond the end.
    pub fn contains(&self, index: u32) -> bool {
        index < self.len
            && self
                .bytes
                .get(byte_of(index))
                .is_some_and(|byte| byte & mask_of(index) != 0)
    }

    /// Set a bit; true if it was clear. False, without effect, beyond the end.
    pub fn set(&mut self, index: u32) -> bool {
        if index >= self.len || self.contains(index) {
            return false;
        }
        let Some(byte) = self.bytes.get_mut(byte_of(index)) else {
            return false;
        };
        *byte |= mask_of(index);
        self.count += 1;
        true
    }

    /// Clear a bit; true if it was set. False, without effect, beyond the end.
    pub fn clear(&mut self, index: u32) -> bool {
        if !self.contains(index) {
            return false;
        }
        let Some(byte) = self.bytes.get_mut(byte_of(index)) else {
            return false;
        };
        *byte &= !mask_of(index);
        self.count -= 1;
        true
    }

    /// The first clear bit at or after `from`.
    pub fn first_missing_from(&self, from: u32) -> Option<u32> {
        if from >= self.len {
            return None;
        }
        // Bits before `from` count as set, so that one rule finds the first zero of any byte.
        let mut before = mask_of(from) - 1;
        for (at, byte) in (byte_of(from)..).zip(self.bytes.get(byte_of(from)..)?) {
            let byte = byte | before;
            before = 0;
            if byte != u8::MAX {
                let index = u32::try_from(at)
                    .ok()?
                    .checked_mul(8)?
                    .checked_add(byte.trailing_ones())?;
                return (index < self.len).then_some(index);
            }
        }
        None
    }

    /// All clear bits, ascending.
    pub fn iter_missing(&self) -> impl Iterator<Item = u32> + '_ {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let index = self.first_missing_from(next?)?;
            next = index.checked_add(1);
            Some(index)
        })
    }

    /// Number of pages of [`BITMAP_PAGE`] bits; the last one may be shorter.
    pub fn pages(&self) -> u32 {
        self.len.div_ceil(BITMAP_PAGE)
    }

    /// The bytes of a page: 512, fewer only for the last; `None` beyond the last.
    pub fn page_bytes(&self, page: u32) -> Option<&[u8]> {
        let start = page_start(page)?;
        let rest = self.bytes.get(start..)?;
        let bytes = rest.get(..PAGE_BYTES).unwrap_or(rest);
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Replace a page by what [`Bitmap::page_bytes`] gave. False, without effect, if there is no such
    /// page, the number of bytes differs or a spare bit is set.
    pub fn set_page(&mut self, page: u32, bytes: &[u8]) -> bool {
        let Some(old) = self.page_bytes(page) else {
            return false;
        };
        let last = page + 1 == self.pages();
        if old.len() != bytes.len() || (last && !spare_bits_clear(self.len, bytes)) {
            return false;
        }
        let count = self.count - ones(old) + ones(bytes);
        let Some(start) = page_start(page) else {
            return false;
        };
        let Some(place) = self.bytes.get_mut(start..start + bytes.len()) else {
            return false;
        };
        place.copy_from_slice(bytes);
        self.count = count;
        true
    }
}

/// How many of how many; the bits themselves would fill a log.
impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitmap({} of {})", self.count, self.len)
    }
}

fn bytes_for(len: u32) -> usize {
    len.div_ceil(8) as usize
}

fn byte_of(index: u32) -> usize {
    (index / 8) as usize
}

fn mask_of(index: u32) -> u8 {
    1 << (index % 8)
}

fn page_start(page: u32) -> Option<usize> {
    (page as usize).checked_mul(PAGE_BYTES)
}

fn ones(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| byte.count_ones()).sum()
}

/// Whether the last of these bytes, which end a bitmap of `len` bits, uses no bit beyond `len`.
fn spare_bits_clear(len: u32, bytes: &[u8]) -> bool {
    match (len % 8, bytes.last()) {
        (0, _) | (_, None) => true,
        (used, Some(last)) => last >> used == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_bitmap_without_bits_is_full_and_has_no_page() {
        let mut bits = Bitmap::new(0);
        assert!(bits.is_full() && bits.is_empty());
        assert!(!bits.set(0) && !bits.set_page(0, &[]));
        assert_eq!(
            (bits.first_missing_from(0), bits.pages(), bits.page_bytes(0)),
            (None, 0, None)
        );
    }

    #[test]
    fn spare_bits_and_wrong_lengths_are_refused() {
        assert!(Bitmap::from_bytes(9, &[0xff, 1]).is_some_and(|bits| bits.is_full()));
        assert_eq!(Bitmap::from_bytes(9, &[0xff, 2]), None);
        assert_eq!(Bitmap::from_bytes(9, &[0xff]), None);
        assert_eq!(Bitmap::from_bytes(9, &[0xff, 1, 0]), None);
        let mut bits = Bitmap::new(BITMAP_PAGE + 3);
        assert!(bits.set_page(1, &[7]));
        assert!(!bits.set_page(1, &[8]) && !bits.set_page(1, &[]) && !bits.set_page(2, &[0]));
        assert_eq!(
            (bits.count(), bits.first_missing_from(BITMAP_PAGE)),
            (3, None)
        );
    }

    proptest! {
        // A bitmap behaves as a set of the indexes below its length.
        #[test]
        fn it_is_a_set(len in 0u32..20_000, steps in vec((any::<bool>(), 0u32..20_010), 0..200)) {
            let mut bits = Bitmap::new(len);
            let mut model = BTreeSet::new();
            for (set, index) in steps {
                if set {
                    prop_assert_eq!(bits.set(index), index < len && model.insert(index));
                } else {
                    prop_assert_eq!(bits.clear(index), model.remove(&index));
                }
                prop_assert_eq!(bits.contains(index), model.contains(&index));
                let missing = (index..len).find(|at| !model.contains(at));
                prop_assert_eq!(bits.first_missing_from(index), missing);
            }
            prop_assert_eq!(bits.count() as usize, model.len());
            let missing: Vec<u32> = (0..len).filter(|at| !model.contains(at)).collect();
            prop_assert_eq!(bits.iter_missing().collect::<Vec<u32>>(), missing);
        }

        // Bytes and pages carry the whole bitmap.
        #[test]
        fn bytes_and_pages_restore_it(len in 0u32..20_000, set in vec(0u32..20_000, 0..400)) {
            let mut bits = Bitmap::new(len);
            for index in set {
                bits.set(index);
            }
            prop_assert_eq!(Bitmap::from_bytes(len, bits.as_bytes()), Some(bits.clone()));
            let mut paged = Bitmap::new(len);
            for page in 0..bits.pages() {
                let bytes = bits.page_bytes(page).expect("page below pages()");
                prop_assert!(paged.set_page(page, bytes));
            }
            prop_assert_eq!(bits.page_bytes(bits.pages()), None);
            prop_assert_eq!(paged, bits);
        }
    }
}
