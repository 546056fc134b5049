//! What is going to happen, and when.

use std::collections::BTreeMap;

use scp2p_proto::time::Time;

/// Things due at times; those of one time in the order in which they were put in.
#[derive(Debug)]
pub struct Agenda<T> {
    due: BTreeMap<(Time, u64), T>,
    seq: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Agenda<T> {
        Agenda {
            due: BTreeMap::new(),
            seq: 0,
        }
    }
}

impl<T> Agenda<T> {
    /// Puts in something due at a time.
    pub fn push(&mut self, at: Time, what: T) {
        self.seq += 1;
        self.due.insert((at, self.seq), what);
    }

    /// When the first of them is due.
    pub fn next_at(&self) -> Option<Time> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out the first of them.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.due.pop_first().map(|((at, _), what)| (at, what))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}
