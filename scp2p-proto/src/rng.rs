//! Randomness that a seed determines: the core has no other.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// A stream of random numbers, the same for the same seed and label. Streams of different labels tell nothing of
/// each other or of the seed: they are output of keyed BLAKE3.
#[derive(Clone)]
pub struct Rng {
    stream: blake3::OutputReader,
}

impl Rng {
    /// The stream of this label.
    pub fn new(seed: &[u8; 32], label: &str) -> Rng {
        Rng {
            stream: blake3::Hasher::new_keyed(seed)
                .update(label.as_bytes())
                .finalize_xof(),
        }
    }

    /// Fill with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.stream.fill(bytes);
    }

    /// Any number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Any number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `n`, each equally likely; 0 for an `n` of 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // The last, incomplete run of `n` numbers is drawn again, or small results would be likelier.
        let incomplete = (u64::MAX % n + 1) % n;
        loop {
            let drawn = self.u64();
            if drawn <= u64::MAX - incomplete {
                return drawn % n;
            }
        }
    }

    /// True with probability `numer / denom`: always from 1 upwards, never for a `denom` of 0.
    pub fn chance(&mut self, numer: u32, denom: u32) -> bool {
        self.below(u64::from(denom)) < u64::from(numer) && denom > 0
    }

    /// A span within a quarter of this one, more or less, in microseconds.
    pub fn jitter(&mut self, span: Duration) -> Duration {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let quarter = micros / 4;
        let shift = self.below(quarter.saturating_mul(2).saturating_add(1));
        Duration::from_micros((micros - quarter).saturating_add(shift))
    }

    /// Put the items into a random order, each equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }

    /// Keeps at most so many of the items, all equally likely, in a random order.
    pub fn choose<T>(&mut self, items: &mut Vec<T>, most: usize) {
        for at in 0..most.min(items.len()) {
            let other = at + self.index(items.len() - at);
            items.swap(at, other);
        }
        items.truncate(most);
    }

    /// One of the items, each equally likely; `None` if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

/// Nothing: what comes next is nobody's business.
impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;

    fn rng() -> Rng {
        Rng::new(&[7; 32], "test")
    }

    #[test]
    fn the_stream_is_what_seed_and_label_make_it() {
        let first = rng().u64();
        assert_eq!(rng().u64(), first);
        assert_ne!(Rng::new(&[7; 32], "other").u64(), first);
        assert_ne!(Rng::new(&[8; 32], "test").u64(), first);
        // Fixed for ever, or recorded runs would not replay.
        assert_eq!(
            first.to_le_bytes(),
            blake3::keyed_hash(&[7; 32], b"test").as_bytes()[..8]
        );
    }

    #[test]
    fn small_numbers_are_equally_likely() {
        let mut rng = rng();
        let mut drawn = [0u32; 7];
        for _ in 0..7000 {
            drawn[rng.below(7) as usize] += 1;
        }
        assert!(
            drawn.iter().all(|count| (850..1150).contains(count)),
            "{drawn:?}"
        );
        let heads = (0..4000).filter(|_| rng.chance(1, 4)).count();
        assert!((850..1150).contains(&heads), "{heads}");
    }

    #[test]
    fn edges_are_defined() {
        let mut rng = rng();
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        assert!(!rng.chance(0, 5) && !rng.chance(1, 0) && rng.chance(5, 5) && rng.chance(6, 5));
        assert_eq!(rng.pick::<u8>(&[]), None);
        assert_eq!(rng.jitter(Duration::ZERO), Duration::ZERO);
        assert!(rng.jitter(Duration::MAX) >= Duration::from_micros(u64::MAX / 4 * 3));
    }

    #[test]
    fn every_order_of_three_turns_up() {
        let mut rng = rng();
        let mut seen: Vec<[u8; 3]> = Vec::new();
        for _ in 0..200 {
            let mut items = [1, 2, 3];
            rng.shuffle(&mut items);
            if !seen.contains(&items) {
                seen.push(items);
            }
        }
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn every_choice_of_two_turns_up() {
        let mut rng = rng();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for _ in 0..200 {
            let mut items = Vec::from([1, 2, 3]);
            rng.choose(&mut items, 2);
            if !seen.contains(&items) {
                seen.push(items);
            }
        }
        assert!(
            seen.len() == 6
                && seen
                    .iter()
                    .all(|items| items.len() == 2 && items[0] != items[1])
        );
        let mut items = Vec::from([1, 2]);
        rng.choose(&mut items, 5);
        assert_eq!(items.len(), 2);
    }

    proptest! {
        // A number below n is below n, and a jittered span within a quarter of the span.
        #[test]
        fn results_are_in_range(seed: [u8; 32], n in 1u64.., micros in 0u64..1 << 50) {
            let mut rng = Rng::new(&seed, "range");
            prop_assert!(rng.below(n) < n);
            let span = Duration::from_micros(micros);
            let jittered = rng.jitter(span);
            prop_assert!(jittered >= span * 3 / 4 && jittered <= span * 5 / 4);
        }
    }
}
