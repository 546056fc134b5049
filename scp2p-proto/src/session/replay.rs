//! Memory of the hellos that were answered (SPECIFICATION §3.3).

use alloc::collections::{BTreeMap, BTreeSet};

use crate::limits::{NONCE_MEMORY_SECS, NONCES_MAX};
use crate::time::UnixTime;

/// The nonces of the hellos that this node answered lately, on all its listeners.
///
/// When it is full the oldest nonce is forgotten. A copy of that hello is then answered
/// again while its timestamp is fresh, which costs one signature; it still cannot become
/// a session, since the third message must sign a nonce of ours that is new each time.
/// Times are of the wall clock because that is what a hello's freshness is judged by; a
/// clock that went back forgets nothing.
#[derive(Debug, Default)]
pub struct NonceMemory {
    seen: BTreeMap<[u8; 32], UnixTime>,
    by_age: BTreeSet<(UnixTime, [u8; 32])>,
}

impl NonceMemory {
    /// Nothing seen yet.
    pub fn new() -> NonceMemory {
        NonceMemory::default()
    }

    /// Notes the nonce of a hello whose signature was right. False if it was seen within the
    /// last [`NONCE_MEMORY_SECS`].
    #[must_use]
    pub fn note(&mut self, nonce: [u8; 32], now: UnixTime) -> bool {
        self.forget_old(now);
        if self.seen.contains_key(&nonce) {
            return false;
        }
        if self.seen.len() >= NONCES_MAX {
            self.forget_oldest();
        }
        self.seen.insert(nonce, now);
        self.by_age.insert((now, nonce));
        true
    }

    /// Nonces remembered, at most [`NONCES_MAX`].
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn forget_old(&mut self, now: UnixTime) {
        while self
            .by_age
            .first()
            .is_some_and(|(seen, _)| now.since(*seen) > NONCE_MEMORY_SECS)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, nonce)) = self.by_age.pop_first() {
            self.seen.remove(&nonce);
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl NonceMemory {
    pub(crate) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most("nonces", self.seen.len(), NONCES_MAX);
        let aged = |(seen, nonce): &(UnixTime, [u8; 32])| self.seen.get(nonce) == Some(seen);
        let is_whole = self.by_age.len() == self.seen.len() && self.by_age.iter().all(aged);
        broken.unless(is_whole, || {
            "the order of nonces is not that of the nonces".into()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn nonce(n: u64) -> [u8; 32] {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&n.to_be_bytes());
        nonce
    }

    proptest! {
        /// While the clock goes forward a nonce is fresh exactly if it was not taken
        /// within the last 600 seconds.
        #[test]
        fn fresh_once_in_the_window(notes in prop::collection::vec((0_u64..12, 0_u64..250), 1..200)) {
            let mut memory = NonceMemory::new();
            let mut taken = BTreeMap::new();
            let mut now = 1_700_000_000;
            for (n, step) in notes {
                now += step;
                let fresh = taken.get(&n).is_none_or(|at| now - at > 600);
                prop_assert_eq!(memory.note(nonce(n), UnixTime(now)), fresh);
                if fresh {
                    taken.insert(n, now);
                }
            }
        }

        /// However the clock jumps, both views hold the same nonces.
        #[test]
        fn views_agree(notes in prop::collection::vec((0_u64..50, any::<u64>()), 0..100)) {
            let mut memory = NonceMemory::new();
            for (n, now) in notes {
                let _ = memory.note(nonce(n), UnixTime(now));
                let mut aged: Vec<_> = memory.by_age.iter().map(|(at, nonce)| (*nonce, *at)).collect();
                aged.sort();
                prop_assert_eq!(aged, memory.seen.iter().map(|(nonce, at)| (*nonce, *at)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_clock_that_went_back_forgets_nothing() {
        let mut memory = NonceMemory::new();
        assert!(memory.note(nonce(1), UnixTime(1_700_000_000)));
        assert!(!memory.note(nonce(1), UnixTime(1_600_000_000)));
        assert!(!memory.note(nonce(1), UnixTime(1_700_000_001)));
    }

    #[test]
    fn the_oldest_goes_when_full() {
        let mut memory = NonceMemory::new();
        for n in 0..=NONCES_MAX as u64 {
            assert!(memory.note(nonce(n), UnixTime(1_700_000_000 + n / 1000)));
        }
        assert_eq!(memory.len(), NONCES_MAX);
        let now = UnixTime(1_700_000_100);
        assert!(
            !memory.note(nonce(1), now),
            "the second oldest is still known"
        );
        assert!(memory.note(nonce(0), now), "the oldest is not");
    }
}
