//! Which chunk of a file is fetched next.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::content::Bitmap;

/// A chunk may be asked of so many peers at a time: of a second one when the first is slow.
const COPIES_MAX: u8 = 2;

/// The chunks of one file: there, being written, asked for, or neither.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    have: Bitmap,
    /// Chunks asked for, and of how many peers.
    asked: BTreeMap<u32, u8>,
    /// Chunks that came and are being written.
    writing: BTreeSet<u32>,
    /// No chunk before it is free.
    cursor: u32,
}

impl Plan {
    pub(super) fn new(have: Bitmap) -> Plan {
        Plan {
            have,
            asked: BTreeMap::new(),
            writing: BTreeSet::new(),
            cursor: 0,
        }
    }

    pub(super) fn have(&self) -> &Bitmap {
        &self.have
    }

    /// The first chunk that is neither there nor on its way.
    pub(super) fn next(&mut self) -> Option<u32> {
        loop {
            let Some(index) = self.have.first_missing_from(self.cursor) else {
                self.cursor = self.have.len();
                return None;
            };
            self.cursor = index;
            if !self.is_busy(index) {
                return Some(index);
            }
            self.cursor = index.saturating_add(1);
        }
    }

    /// The chunk was asked of one more peer.
    pub(super) fn ask(&mut self, index: u32) {
        let copies = self.asked.entry(index).or_insert(0);
        *copies = copies.saturating_add(1);
    }

    /// A peer sent the chunk. True if it is wanted: it is being written then.
    pub(super) fn came(&mut self, index: u32) -> bool {
        self.end_copy(index);
        !self.have.contains(index) && self.writing.insert(index)
    }

    /// A peer that was asked will not send the chunk.
    pub(super) fn missed(&mut self, index: u32) {
        self.end_copy(index);
        self.free(index);
    }

    /// The chunk is right and written.
    pub(super) fn written(&mut self, index: u32) {
        self.writing.remove(&index);
        self.have.set(index);
    }

    /// The chunk was not written.
    pub(super) fn unwritten(&mut self, index: u32) {
        self.writing.remove(&index);
        self.free(index);
    }

    /// Whether the chunk is on its way and one more peer may be asked for it.
    pub(super) fn may_copy(&self, index: u32) -> bool {
        !self.writing.contains(&index)
            && self
                .asked
                .get(&index)
                .is_some_and(|copies| *copies < COPIES_MAX)
    }

    /// Requests without an answer.
    pub(super) fn requests(&self) -> u32 {
        self.asked.values().map(|copies| u32::from(*copies)).sum()
    }

    /// Chunks being written.
    pub(super) fn writing(&self) -> u32 {
        self.writing.len() as u32
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.writing.is_empty()
    }

    /// Whether all chunks are there.
    pub(super) fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    fn is_busy(&self, index: u32) -> bool {
        self.asked.contains_key(&index) || self.writing.contains(&index)
    }

    fn end_copy(&mut self, index: u32) {
        if let Some(copies) = self.asked.get_mut(&index) {
            *copies = copies.saturating_sub(1);
            if *copies == 0 {
                self.asked.remove(&index);
            }
        }
    }

    fn free(&mut self, index: u32) {
        if !self.is_busy(index) {
            self.cursor = self.cursor.min(index);
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Plan {
    /// Chunks asked for, and of how many peers.
    pub(super) fn asked(&self) -> impl Iterator<Item = (u32, u8)> {
        self.asked.iter().map(|(index, copies)| (*index, *copies))
    }

    pub(super) fn being_written(&self) -> impl Iterator<Item = u32> {
        self.writing.iter().copied()
    }

    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        let len = self.have.len();
        let twice = self
            .writing
            .iter()
            .filter(|index| self.have.contains(**index));
        broken.at_most("chunks that are there and being written", twice.count(), 0);
        let beyond = self.writing.iter().chain(self.asked.keys());
        broken.at_most(
            "chunks beyond the end",
            beyond.filter(|index| **index >= len).count(),
            0,
        );
        let copies = self
            .asked
            .values()
            .filter(|copies| !(1..=COPIES_MAX).contains(*copies));
        broken.at_most("chunks asked for too often", copies.count(), 0);
        // Chunks before the cursor are there or on their way, so that none is passed over.
        let busy = self.asked.keys().chain(self.writing.iter());
        let busy: BTreeSet<u32> = busy.copied().collect();
        let mut from = 0;
        while let Some(index) = self
            .have
            .first_missing_from(from)
            .filter(|at| *at < self.cursor)
        {
            broken.unless(busy.contains(&index), || {
                alloc::format!("chunk {index} is free and passed over")
            });
            from = index.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        // Whatever peers do, no chunk is forgotten, none is given out twice while on its way, and
        // serving what is asked completes the file.
        #[test]
        fn every_chunk_comes(len in 1_u32..40, steps in vec((0_u8..5, any::<prop::sample::Index>()), 0..200)) {
            let mut plan = Plan::new(Bitmap::new(len));
            let (mut asked, mut writing) = (Vec::<u32>::new(), Vec::<u32>::new());
            for (what, which) in steps {
                match what {
                    0 => if let Some(index) = plan.next() {
                        prop_assert!(!asked.contains(&index) && !writing.contains(&index));
                        prop_assert!(!plan.have().contains(index));
                        plan.ask(index);
                        asked.push(index);
                    },
                    1 if !asked.is_empty() => {
                        let index = asked.swap_remove(which.index(asked.len()));
                        let wanted = !plan.have().contains(index) && !writing.contains(&index);
                        prop_assert_eq!(plan.came(index), wanted);
                        if wanted {
                            writing.push(index);
                        }
                    }
                    2 if !asked.is_empty() => plan.missed(asked.swap_remove(which.index(asked.len()))),
                    3 if !writing.is_empty() => plan.written(writing.swap_remove(which.index(writing.len()))),
                    4 if !writing.is_empty() => plan.unwritten(writing.swap_remove(which.index(writing.len()))),
                    _ => if let Some(index) = asked.first().copied().filter(|index| plan.may_copy(*index)) {
                        plan.ask(index);
                        asked.push(index);
                    },
                }
                prop_assert_eq!(plan.is_idle(), asked.is_empty() && writing.is_empty());
            }
            for index in asked {
                plan.missed(index);
            }
            for index in writing {
                plan.unwritten(index);
            }
            while let Some(index) = plan.next() {
                plan.ask(index);
                prop_assert!(plan.came(index));
                plan.written(index);
            }
            prop_assert!(plan.is_complete() && plan.is_idle());
        }
    }

    #[test]
    fn a_chunk_is_asked_of_two_peers_at_most() {
        let mut plan = Plan::new(Bitmap::new(1));
        assert!(!plan.may_copy(0));
        plan.ask(0);
        assert!(plan.may_copy(0));
        plan.ask(0);
        assert!(!plan.may_copy(0));
        assert!(plan.came(0), "the first answer wins");
        assert!(!plan.came(0), "the late one is not used");
    }
}
