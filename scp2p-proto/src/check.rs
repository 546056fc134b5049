//! Structural invariants: what must hold between any two inputs.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::time::Time;

/// The invariants that do not hold, a sentence for each.
#[derive(Default)]
pub(crate) struct Broken {
    sentences: Vec<String>,
}

impl Broken {
    /// Notes a sentence unless it does not apply.
    pub(crate) fn unless(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        if !holds {
            self.sentences.push(sentence());
        }
    }

    pub(crate) fn at_most(&mut self, what: &str, count: usize, bound: usize) {
        self.unless(count <= bound, || {
            format!("{what}: there are {count}, more than {bound}")
        });
    }

    pub(crate) fn equal(&mut self, what: &str, one: u64, other: u64) {
        self.unless(one == other, || format!("{what}: {one} is not {other}"));
    }

    /// What was due before this moment was worked off.
    pub(crate) fn not_overdue(&mut self, what: &str, due: Option<Time>, now: Time) {
        self.unless(due.is_none_or(|due| due >= now), || {
            format!("{what}: something was due at {due:?} and it is {now:?}")
        });
    }

    pub(crate) fn into_sentences(self) -> Vec<String> {
        self.sentences
    }
}

/// How often each key comes.
pub(crate) fn counted<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, u64> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}
