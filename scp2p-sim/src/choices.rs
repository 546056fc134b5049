//! One source of choices for seeds and for fuzzers.

use scp2p_proto::rng::Rng;

/// Where choices come from.
#[derive(Debug)]
pub struct Choices<'a> {
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    Seed(Box<Rng>),
    /// What is left of given bytes; when there are none every choice is the first.
    Bytes(&'a [u8]),
}

impl<'a> Choices<'a> {
    /// Choices that a seed determines.
    pub fn from_seed(seed: u64) -> Choices<'static> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Choices {
            source: Source::Seed(Box::new(Rng::new(&key, "choices"))),
        }
    }

    /// Choices that bytes spell out, so that a fuzzer can change them one by one.
    pub fn from_bytes(bytes: &'a [u8]) -> Choices<'a> {
        Choices {
            source: Source::Bytes(bytes),
        }
    }

    /// Whether all that follows is the same choice, because there were bytes and none are left.
    pub fn is_spent(&self) -> bool {
        match &self.source {
            Source::Seed(_) => false,
            Source::Bytes(bytes) => bytes.is_empty(),
        }
    }

    /// A number below `n`; 0 for an `n` of 0.
    pub fn below(&mut self, n: u64) -> u64 {
        match &mut self.source {
            Source::Seed(rng) => rng.below(n),
            Source::Bytes(bytes) => {
                // As many bytes as the range needs, so that a change of one moves few others.
                let mut number = 0_u64;
                let mut range = 1_u64;
                while range < n && !bytes.is_empty() {
                    number = number << 8 | u64::from(bytes[0]);
                    range = range.saturating_mul(256);
                    *bytes = &bytes[1..];
                }
                number.checked_rem(n).unwrap_or(0)
            }
        }
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        // The highest numbers, so that a fuzzer without bytes chooses no.
        self.below(100) >= 100_u64.saturating_sub(percent)
    }

    /// One of the items; none if there are none.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// One of some values.
    pub fn one_of<T: Copy, const N: usize>(&mut self, values: [T; N]) -> T {
        const { assert!(N > 0) };
        values[self.below(N as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Whatever choices come from, they are in range.
        #[test]
        fn choices_are_in_range(bytes: Vec<u8>, seed: u64, ns in prop::collection::vec(1_u64.., 1..50)) {
            let mut sources = [Choices::from_bytes(&bytes), Choices::from_seed(seed)];
            for n in ns {
                for choices in &mut sources {
                    prop_assert!(choices.below(n) < n);
                    prop_assert!(choices.between(n / 2, n) <= n);
                }
            }
        }
    }

    #[test]
    fn without_bytes_every_choice_is_the_first() {
        let mut choices = Choices::from_bytes(&[]);
        assert_eq!(choices.below(1000), 0);
        assert!(!choices.percent(99));
        assert_eq!(choices.one_of([7, 8, 9]), 7);
    }
}
