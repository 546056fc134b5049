//! How often something may happen.

use crate::time::Time;

const MICROS: u64 = 1_000_000;

/// Tokens that come back at a constant rate up to a capacity, counted exactly in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    capacity: u64,
    per_second: u64,
    /// Millionths of a token at `counted`.
    micro_tokens: u64,
    counted: Time,
}

impl TokenBucket {
    /// A full bucket of `capacity` tokens, refilled by `per_second` tokens a second.
    pub fn new(capacity: u32, per_second: u32, now: Time) -> TokenBucket {
        let capacity = u64::from(capacity) * MICROS;
        TokenBucket {
            capacity,
            per_second: u64::from(per_second),
            micro_tokens: capacity,
            counted: now,
        }
    }

    /// Take `n` tokens if there are as many; false, without effect, if not.
    pub fn take(&mut self, now: Time, n: u32) -> bool {
        self.refill(now);
        match self.micro_tokens.checked_sub(u64::from(n) * MICROS) {
            Some(rest) => {
                self.micro_tokens = rest;
                true
            }
            None => false,
        }
    }

    /// Whole tokens there are.
    pub fn tokens(&self, now: Time) -> u32 {
        let mut bucket = *self;
        bucket.refill(now);
        u32::try_from(bucket.micro_tokens / MICROS).unwrap_or(u32::MAX)
    }

    /// When [`TokenBucket::take`] of `n` tokens will succeed if none is taken before: `now` if it
    /// would at once, `None` if never.
    pub fn ready_at(&self, now: Time, n: u32) -> Option<Time> {
        let wanted = u64::from(n) * MICROS;
        let mut bucket = *self;
        bucket.refill(now);
        let missing = wanted.saturating_sub(bucket.micro_tokens);
        if missing == 0 {
            return Some(now);
        }
        if wanted > self.capacity || self.per_second == 0 {
            return None;
        }
        // A token a second is a millionth of one a microsecond.
        Some(Time(
            bucket
                .counted
                .0
                .saturating_add(missing.div_ceil(self.per_second)),
        ))
    }

    fn refill(&mut self, now: Time) {
        if now <= self.counted {
            return;
        }
        let gained = (now.0 - self.counted.0).saturating_mul(self.per_second);
        self.micro_tokens = self.micro_tokens.saturating_add(gained).min(self.capacity);
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_starts_full_and_refills_slowly() {
        let mut bucket = TokenBucket::new(2, 1, Time(5));
        assert!(bucket.take(Time(5), 2) && !bucket.take(Time(5), 1));
        assert_eq!(bucket.ready_at(Time(5), 1), Some(Time(5 + MICROS)));
        assert_eq!(bucket.ready_at(Time(5), 3), None);
        assert!(!bucket.take(Time(4 + MICROS), 1) && bucket.take(Time(5 + MICROS), 1));
        assert_eq!(bucket.tokens(Time(u64::MAX)), 2);
    }

    #[test]
    fn without_a_rate_what_is_gone_is_gone() {
        let mut bucket = TokenBucket::new(u32::MAX, 0, Time(0));
        assert!(bucket.take(Time(0), u32::MAX) && !bucket.take(Time(u64::MAX), 1));
        assert_eq!(bucket.ready_at(Time(9), 1), None);
        assert_eq!(bucket.ready_at(Time(9), 0), Some(Time(9)));
    }

    proptest! {
        // In no span are more tokens taken than the capacity and what came back within the span.
        #[test]
        fn the_rate_is_kept(capacity in 0u32..50, rate in 0u32..50, steps in vec((0u64..400_000, 0u32..20), 1..80)) {
            let mut bucket = TokenBucket::new(capacity, rate, Time(0));
            let (mut now, mut taken) = (0, 0u64);
            for (wait, n) in steps {
                now += wait;
                if bucket.take(Time(now), n) {
                    taken += u64::from(n);
                }
                prop_assert!(taken * MICROS <= u64::from(capacity) * MICROS + now * u64::from(rate));
            }
        }

        // The time at which a bucket says to be ready is the first at which it is.
        #[test]
        fn ready_at_is_exact(capacity in 0u32..50, rate in 0u32..50, used in 0u32..50, wait in 0u64..3_000_000, n in 0u32..60) {
            let mut bucket = TokenBucket::new(capacity, rate, Time(0));
            bucket.take(Time(0), used);
            let now = Time(wait);
            match bucket.ready_at(now, n) {
                None => prop_assert!(!bucket.take(Time(1 << 60), n)),
                Some(at) => {
                    prop_assert!(at >= now);
                    let mut early = bucket;
                    prop_assert!(at == now || !early.take(Time(at.0 - 1), n));
                    prop_assert!(bucket.take(at, n));
                }
            }
        }
    }
}
