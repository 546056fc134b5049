//! How many chunks a deployed peer is asked for: it refuses more than 600 in its minute, wherever that begins.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Time;
use crate::token_bucket::TokenBucket;

/// Chunks in any minute, somewhat less than a deployed peer answers in one: requests take a while to arrive.
const PER_MINUTE: usize = 570;
const MINUTE: Duration = Duration::from_secs(60);
/// So many at once, which is all of most shares of small files, and then an even flow rather than a burst a minute.
const AT_ONCE: u32 = 200;
const PER_SECOND: u32 = 9;

/// The requests to one peer in the last minute.
pub(super) struct Budget {
    flow: TokenBucket,
    last: VecDeque<Time>,
}

impl Budget {
    pub(super) fn new(now: Time) -> Budget {
        Budget {
            flow: TokenBucket::new(AT_ONCE, PER_SECOND, now),
            last: VecDeque::new(),
        }
    }

    /// When one more chunk may be asked for.
    pub(super) fn ready_at(&self, now: Time) -> Time {
        let is_full = self.last.len() >= PER_MINUTE;
        let free = self.last.front().filter(|_| is_full);
        let free = free.map_or(now, |first| *first + MINUTE);
        let flow = self.flow.ready_at(now, 1).unwrap_or(now);
        flow.max(free)
    }

    /// A chunk is asked for.
    pub(super) fn asked(&mut self, now: Time) {
        self.flow.take(now, 1);
        while self.last.len() >= PER_MINUTE {
            self.last.pop_front();
        }
        self.last.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Asks as soon as it may after each of these pauses.
    fn asks(pauses: impl IntoIterator<Item = u64>) -> Vec<Time> {
        let mut budget = Budget::new(Time(0));
        let mut now = Time(0);
        let ask = |pause| {
            now = budget.ready_at(now + Duration::from_millis(pause));
            budget.asked(now);
            now
        };
        pauses.into_iter().map(ask).collect()
    }

    #[test]
    fn a_share_of_small_files_is_asked_for_at_once() {
        assert!(asks([0; AT_ONCE as usize]).iter().all(|at| *at == Time(0)));
    }

    #[test]
    fn in_the_long_run_the_flow_is_even() {
        let asks = asks([0; 10 * PER_MINUTE]);
        let last = asks.last().expect("many").0 / 1_000_000;
        assert!(
            last <= asks.len() as u64 / u64::from(PER_SECOND),
            "{last} s"
        );
    }

    proptest! {
        #[test]
        fn in_no_minute_are_more_asked_for(pauses in vec(0_u64..3000, 0..50)) {
            // After each pause as many as there may be.
            let busy = [0; 60];
            let all = pauses.iter().flat_map(|pause| [*pause].into_iter().chain(busy));
            let asks = asks(all);
            for (at, begin) in asks.iter().enumerate() {
                let within = asks.iter().skip(at).filter(|ask| **ask < *begin + MINUTE);
                prop_assert!(within.count() <= PER_MINUTE);
            }
        }
    }
}
