//! Rows that nobody waits for: kept until they are durable, tried again when the disk refuses them.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::id::CommitId;
use crate::storage::{RowOp, Table};
use crate::time::Time;

/// How long rows that could not be committed wait for the next try.
const RETRY: Duration = Duration::from_secs(5);

/// A row's table and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Table, Bytes);

/// Rows under way, and rows that failed. What somebody promised with a commit is not among them:
/// who learns of a failure decides what becomes of it.
#[derive(Default)]
pub(crate) struct Unsaved {
    /// Batches without an answer yet, oldest first.
    under_way: VecDeque<Sent>,
    failed: BTreeMap<Key, RowOp>,
    retry_at: Option<Time>,
}

/// A batch given to the driver.
struct Sent {
    id: CommitId,
    /// All rows that it changes.
    touched: BTreeSet<Key>,
    /// Those that nobody waits for.
    loose: Vec<RowOp>,
}

impl Unsaved {
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.retry_at
    }

    /// Whether rows that failed are to be tried again.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// Rows that failed, to go before those of a new batch. What a batch under way or the new one
    /// changes stays, because it is older.
    pub(crate) fn take(&mut self, newer: &[RowOp]) -> Vec<RowOp> {
        let newer: BTreeSet<Key> = newer.iter().map(key).collect();
        let is_old = |key: &Key| {
            newer.contains(key) || self.under_way.iter().any(|sent| sent.touched.contains(key))
        };
        let (old, due): (BTreeMap<_, _>, BTreeMap<_, _>) = core::mem::take(&mut self.failed)
            .into_iter()
            .partition(|(key, _)| is_old(key));
        self.failed = old;
        self.retry_at = None;
        due.into_values().collect()
    }

    /// A batch goes to the driver. `loose` are those of its rows that nobody waits for.
    pub(crate) fn sent(&mut self, id: CommitId, rows: &[RowOp], loose: Vec<RowOp>) {
        self.under_way.push_back(Sent {
            id,
            touched: rows.iter().map(key).collect(),
            loose,
        });
    }

    /// A batch was answered. True if rows failed that nobody waits for; they are tried again.
    pub(crate) fn ended(&mut self, id: CommitId, is_ok: bool, now: Time) -> bool {
        let at = self.under_way.iter().position(|sent| sent.id == id);
        let Some(sent) = at.and_then(|at| self.under_way.remove(at)) else {
            return false;
        };
        if is_ok {
            self.failed.retain(|key, _| !sent.touched.contains(key));
        }
        let lost = !is_ok && !sent.loose.is_empty();
        if !is_ok {
            let loose = sent.loose.into_iter().map(|row| (key(&row), row));
            self.failed.extend(loose);
        }
        if !self.failed.is_empty() && self.retry_at.is_none() {
            self.retry_at = Some(now + RETRY);
        }
        lost
    }
}

fn key(row: &RowOp) -> Key {
    match row {
        RowOp::Put(table, key, _) | RowOp::Delete(table, key) => Key(*table, key.clone()),
    }
}

#[cfg(any(test, feature = "check"))]
impl Unsaved {
    pub(crate) fn check(
        &self,
        commits: impl Iterator<Item = CommitId>,
        broken: &mut crate::check::Broken,
    ) {
        broken.unless(
            self.under_way.iter().map(|sent| sent.id).eq(commits),
            || "the batches under way are not those that are waited for".into(),
        );
        let tried = self.retry_at.is_some() || !self.under_way.is_empty();
        broken.unless(self.failed.is_empty() || tried, || {
            "rows that failed are not tried again".into()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn put(key: u8, value: u8) -> RowOp {
        RowOp::Put(
            Table::Meta,
            Bytes::copy_from_slice(&[key]),
            Bytes::copy_from_slice(&[value]),
        )
    }

    const NOW: Time = Time(1_000_000);

    #[test]
    fn loose_rows_of_a_failed_batch_are_tried_again_and_promised_ones_are_not() {
        let mut unsaved = Unsaved::default();
        unsaved.sent(CommitId(1), &[put(1, 1), put(2, 2)], vec![put(1, 1)]);
        assert!(unsaved.ended(CommitId(1), false, NOW));
        assert!(!unsaved.is_due(NOW));
        assert!(unsaved.is_due(NOW + RETRY));
        assert_eq!(unsaved.take(&[]), [put(1, 1)]);
        assert_eq!(unsaved.deadline(), None);
    }

    #[test]
    fn a_row_that_failed_never_takes_the_place_of_a_newer_one() {
        let mut unsaved = Unsaved::default();
        unsaved.sent(CommitId(1), &[put(1, 1)], vec![put(1, 1)]);
        unsaved.sent(CommitId(2), &[put(1, 2)], vec![]);
        unsaved.ended(CommitId(1), false, NOW);
        assert_eq!(unsaved.take(&[]), [], "the newer one is under way");
        unsaved.ended(CommitId(2), true, NOW);
        assert_eq!(unsaved.take(&[]), [], "the newer one is there");
    }

    proptest! {
        /// Whatever fails, once the disk works every loose row is as it was put last.
        #[test]
        fn nothing_loose_is_lost(
            steps in prop::collection::vec((0_u8..4, any::<bool>(), any::<bool>()), 1..40),
        ) {
            let (mut unsaved, mut disk) = (Unsaved::default(), BTreeMap::new());
            let (mut expected, mut sent) = (BTreeMap::new(), VecDeque::new());
            let commit = |unsaved: &mut Unsaved, sent: &mut VecDeque<_>, rows: Vec<RowOp>, id| {
                let mut all = unsaved.take(&rows);
                all.extend(rows);
                unsaved.sent(CommitId(id), &all, all.clone());
                sent.push_back((CommitId(id), all));
            };
            let mut answer = |unsaved: &mut Unsaved, sent: &mut VecDeque<(CommitId, Vec<RowOp>)>, is_ok| {
                let Some((id, rows)) = sent.pop_front() else { return };
                if is_ok {
                    disk.extend(rows.into_iter().map(|row| (key(&row), row)));
                }
                unsaved.ended(id, is_ok, NOW);
            };
            for (number, (row, is_ok, waits)) in (0_u8..).zip(steps) {
                expected.insert(key(&put(row, number)), put(row, number));
                commit(&mut unsaved, &mut sent, vec![put(row, number)], u64::from(number));
                if !waits {
                    answer(&mut unsaved, &mut sent, is_ok);
                }
            }
            for id in 1000..1003 {
                while !sent.is_empty() {
                    answer(&mut unsaved, &mut sent, true);
                }
                commit(&mut unsaved, &mut sent, vec![], id);
            }
            while !sent.is_empty() {
                answer(&mut unsaved, &mut sent, true);
            }
            prop_assert_eq!(disk, expected);
        }
    }
}
