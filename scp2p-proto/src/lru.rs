//! A map of bounded size that forgets what was used longest ago.

use alloc::collections::BTreeMap;

/// A map that holds at most a fixed number of entries. All operations take time logarithmic in their number.
#[derive(Debug, Clone)]
pub struct Lru<K, V> {
    capacity: usize,
    entries: BTreeMap<K, (u64, V)>,
    /// The keys by when they were used last; the numbers only grow.
    order: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Ord + Clone, V> Lru<K, V> {
    /// An empty map that holds at most `capacity` entries, at least one.
    pub fn new(capacity: usize) -> Lru<K, V> {
        Lru {
            capacity: capacity.max(1),
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Insert or replace an entry; it counts as used. Gives what was replaced, or else what was
    /// used longest ago if the map was full.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        let replaced = self.remove(&key).map(|old| (key.clone(), old));
        let forgotten = if self.entries.len() >= self.capacity {
            self.pop_oldest()
        } else {
            None
        };
        self.uses += 1;
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key, (self.uses, value));
        replaced.or(forgotten)
    }

    /// The value of a key, which counts as used.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        let key = self.order.remove(used)?;
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, key);
        Some(value)
    }

    /// The value of a key, without counting as use.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Whether there is an entry of this key; no use of it.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Remove an entry.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (used, value) = self.entries.remove(key)?;
        self.order.remove(&used);
        Some(value)
    }

    /// The entry that was used longest ago.
    pub fn oldest(&self) -> Option<(&K, &V)> {
        let (_, key) = self.order.first_key_value()?;
        self.peek(key).map(|value| (key, value))
    }

    /// Remove the entry that was used longest ago.
    pub fn pop_oldest(&mut self) -> Option<(K, V)> {
        let (_, key) = self.order.pop_first()?;
        let (_, value) = self.entries.remove(&key)?;
        Some((key, value))
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(any(test, feature = "check"))]
impl<K: Ord + Clone, V> Lru<K, V> {
    pub(crate) fn check(&self, what: &str, broken: &mut crate::check::Broken) {
        broken.at_most(what, self.entries.len(), self.capacity);
        let entries = self.entries.iter();
        let mut by_use: alloc::vec::Vec<_> = entries.map(|(key, (used, _))| (used, key)).collect();
        by_use.sort_unstable();
        let is_whole = self.order.iter().eq(by_use);
        broken.unless(is_whole, || {
            alloc::format!("{what}: the order of use is not that of the entries")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn what_was_used_stays() {
        let mut lru = Lru::new(2);
        assert_eq!((lru.insert('a', 1), lru.insert('b', 2)), (None, None));
        assert_eq!(lru.get(&'a'), Some(&mut 1));
        assert_eq!(lru.peek(&'b'), Some(&2));
        assert_eq!(lru.insert('c', 3), Some(('b', 2)));
        assert_eq!(lru.insert('c', 4), Some(('c', 3)));
        assert_eq!(lru.oldest(), Some((&'a', &1)));
    }

    proptest! {
        // The map holds the keys used last, as many as its capacity, and gives up the others in order of use.
        #[test]
        fn the_latest_are_kept(capacity in 1usize..6, steps in vec((0u8..3, 0u8..9), 0..80)) {
            let mut lru = Lru::new(capacity);
            // Oldest first.
            let mut model: Vec<(u8, usize)> = Vec::new();
            for (time, (what, key)) in steps.into_iter().enumerate() {
                let at = model.iter().position(|(other, _)| *other == key);
                match what {
                    0 => {
                        let out = at.or((model.len() == capacity).then_some(0)).map(|at| model.remove(at));
                        model.push((key, time));
                        prop_assert_eq!(lru.insert(key, time), out);
                    }
                    1 => {
                        let used = at.map(|at| model.remove(at));
                        model.extend(used);
                        prop_assert_eq!(lru.get(&key).copied(), used.map(|(_, value)| value));
                    }
                    _ => {
                        let gone = at.map(|at| model.remove(at).1);
                        prop_assert_eq!(lru.remove(&key), gone);
                    }
                }
                prop_assert_eq!((lru.len(), lru.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(lru.contains(&key), model.iter().any(|(other, _)| *other == key));
                prop_assert_eq!(lru.oldest(), model.first().map(|(key, value)| (key, value)));
                let mut sorted = model.clone();
                sorted.sort_unstable();
                prop_assert!(lru.iter().map(|(key, value)| (*key, *value)).eq(sorted));
            }
            for entry in model {
                prop_assert_eq!(lru.pop_oldest(), Some(entry));
            }
            prop_assert_eq!(lru.pop_oldest(), None);
        }
    }
}
