//! What is to happen when.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// At most one moment for each key. All operations take time logarithmic in the number of keys,
/// which the caller bounds.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    moments: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers {
            moments: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// No timers.
    pub fn new() -> Timers<K> {
        Timers::default()
    }

    /// Let the timer of `key` run out at `at`, and no longer at any other time.
    pub fn set(&mut self, key: K, at: Time) {
        self.cancel(&key);
        self.moments.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    /// Stop the timer of `key`; when it would have run out, if it was running.
    pub fn cancel(&mut self, key: &K) -> Option<Time> {
        let (key, at) = self.moments.remove_entry(key)?;
        self.order.remove(&(at, key));
        Some(at)
    }

    /// When the timer of `key` runs out, if it is running.
    pub fn at(&self, key: &K) -> Option<Time> {
        self.moments.get(key).copied()
    }

    /// The timer that runs out first; of several at once the one of the smallest key.
    pub fn next(&self) -> Option<(Time, &K)> {
        self.order.first().map(|(at, key)| (*at, key))
    }

    /// Take the first timer, in the order of [`Timers::next`], if it ran out at or before `now`.
    pub fn pop_due(&mut self, now: Time) -> Option<K> {
        if self.next()?.0 > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.moments.remove(&key);
        Some(key)
    }

    /// How many timers are running.
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    /// Whether no timer is running.
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        // Timers are a map from keys to times that is emptied in the order of the times.
        #[test]
        fn they_run_out_in_order(steps in vec((0u8..3, 0u8..6, 0u64..40), 0..60)) {
            let mut timers = Timers::new();
            let mut model = BTreeMap::new();
            for (what, key, at) in steps {
                let at = Time(at);
                match what {
                    0 => {
                        timers.set(key, at);
                        model.insert(key, at);
                    }
                    1 => prop_assert_eq!(timers.cancel(&key), model.remove(&key)),
                    _ => {
                        let due = model.iter().map(|(key, at)| (*at, *key)).min().filter(|(due, _)| *due <= at);
                        prop_assert_eq!(timers.pop_due(at), due.map(|(_, key)| key));
                        due.map(|(_, key)| model.remove(&key));
                    }
                }
                prop_assert_eq!((timers.len(), timers.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(timers.at(&key), model.get(&key).copied());
                let first = model.iter().map(|(key, at)| (*at, key)).min();
                prop_assert_eq!(timers.next(), first);
            }
        }
    }
}
