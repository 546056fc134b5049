//! Counts lookups and stores.

use alloc::collections::VecDeque;

use super::search::Search;
use crate::limits::LOOKUPS_REMEMBERED_MAX;
use crate::time::Time;
use crate::view::{LookupCounts, LookupKind, LookupView, Stats};

/// What the DHT did since the start.
#[derive(Default)]
pub(super) struct Ledger {
    find_node: LookupCounts,
    find_value: LookupCounts,
    /// Lookups that ended, those that never got their turn left out.
    ended: u64,
    /// The last of them, oldest first.
    last: VecDeque<LookupView>,
    sent: u64,
    acknowledged: u64,
}

impl Ledger {
    pub(super) fn begun(&mut self, kind: LookupKind) {
        self.counts(kind).begun += 1;
    }

    /// Too many lookups wait already.
    pub(super) fn given_up(&mut self, kind: LookupKind) {
        self.counts(kind).failed += 1;
    }

    pub(super) fn ended(&mut self, search: &Search, now: Time) {
        self.ended += 1;
        let view = search.view(self.ended, now);
        let counts = self.counts(view.kind);
        match view.found {
            true => counts.succeeded += 1,
            false => counts.failed += 1,
        }
        counts.queries = counts.queries.saturating_add(view.queries.into());
        counts.took = counts.took.saturating_add(view.took);
        if self.last.len() >= LOOKUPS_REMEMBERED_MAX {
            self.last.pop_front();
        }
        self.last.push_back(view);
    }

    /// A value goes to a node.
    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    /// A node answered for a value, or did not.
    pub(super) fn acknowledged(&mut self, taken: bool) {
        self.acknowledged += u64::from(taken);
    }

    pub(super) fn fill_stats(&self, stats: &mut Stats) {
        stats.find_node = self.find_node;
        stats.find_value = self.find_value;
        stats.lookups = self.last.iter().cloned().collect();
        stats.stores_sent = self.sent;
        stats.stores_acknowledged = self.acknowledged;
    }

    fn counts(&mut self, kind: LookupKind) -> &mut LookupCounts {
        match kind.is_find_value() {
            true => &mut self.find_value,
            false => &mut self.find_node,
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Ledger {
    /// `open` lookups have not ended.
    pub(super) fn check(&self, open: usize, broken: &mut crate::check::Broken) {
        broken.at_most(
            "lookups remembered",
            self.last.len(),
            LOOKUPS_REMEMBERED_MAX,
        );
        let all = [self.find_node, self.find_value];
        let begun = all.iter().map(|counts| counts.begun).sum::<u64>();
        let ended = all.iter().map(|counts| counts.succeeded + counts.failed);
        let counted = ended.sum::<u64>().saturating_add(open as u64);
        broken.equal(
            "lookups begun, and those that ended or are open",
            begun,
            counted,
        );
    }
}
