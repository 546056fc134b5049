//! Lookups that keep the routing table fresh (SPECIFICATION §6.2).

use core::time::Duration;

use super::distance::ID_BITS;
use super::table::{Bucket, RoutingTable};
use crate::id::NodeId;
use crate::limits::DHT_BUCKET_LEN;
use crate::rng::Rng;
use crate::time::Time;

/// A bucket in which nobody comes or goes is refreshed up to two to this power times as rarely.
const QUIET_MAX: u32 = 3;

/// When buckets are refreshed.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// After this a bucket is refreshed again, after twice as long for each time, up to three, since anybody of it
    /// came or may have gone.
    pub bucket: Duration,
    /// Who was not seen for so long may be gone. A full bucket is not refreshed by itself before anybody of it may be.
    pub contact: Duration,
}

impl RoutingTable {
    /// The id to look up for the table's sake, if it is time to: a random one that belongs into the bucket for whose
    /// sake none was looked up for longest, or the own id, for all buckets that together have no more than 20 contacts, as
    /// those are the closest nodes. Counts as looked up at `now`.
    pub fn to_refresh(&mut self, now: Time, freshness: Freshness, rng: &mut Rng) -> Option<NodeId> {
        if self.is_empty() {
            return None;
        }
        let near = self.near();
        let due = (0..=near).filter(|index| self.is_due(*index, near, now, freshness));
        let index = due.min_by_key(|index| self.refreshed(*index, near))?;
        let bucket = self.buckets.entry(index).or_default();
        bucket.refresh(now);
        if index < near {
            return Some(self.random_target_in(index, rng));
        }
        for (_, bucket) in self.buckets.range_mut(index.saturating_add(1)..) {
            bucket.refresh(now);
        }
        Some(self.own)
    }

    /// The farthest bucket that has, with all closer ones, no more contacts than one lookup finds.
    fn near(&self) -> u32 {
        let mut contacts = 0;
        for (index, bucket) in self.buckets.iter().rev() {
            contacts += bucket.entries.len();
            if contacts > DHT_BUCKET_LEN {
                return index.saturating_add(1);
            }
        }
        0
    }

    fn is_due(&self, index: u32, near: u32, now: Time, freshness: Freshness) -> bool {
        let may_be_gone = |bucket: &Bucket| {
            let mut entries = bucket.entries.iter();
            entries.any(|entry| entry.may_be_gone(now, freshness.contact))
        };
        let bucket = self.buckets.get(&index);
        let is_full = bucket.is_some_and(|bucket| bucket.entries.len() >= DHT_BUCKET_LEN);
        if index < near && is_full && !bucket.is_some_and(may_be_gone) {
            return false;
        }
        let quiet = self.looked_up_for(index, near).map(|bucket| bucket.quiet);
        let quiet = quiet.min().unwrap_or(0);
        let enough = 1 << quiet.saturating_sub(1).min(QUIET_MAX);
        let enough = freshness.bucket.saturating_mul(enough);
        let refreshed = self.refreshed(index, near);
        refreshed.is_none_or(|at| now.since(at) >= enough)
    }

    /// When a lookup for this bucket's sake was made last.
    fn refreshed(&self, index: u32, near: u32) -> Option<Time> {
        let buckets = self.looked_up_for(index, near);
        buckets.filter_map(|bucket| bucket.refreshed).max()
    }

    /// The buckets for whose sake one lookup is made.
    fn looked_up_for(&self, index: u32, near: u32) -> impl Iterator<Item = &Bucket> {
        let last = if index < near { index } else { ID_BITS };
        self.buckets.range(index..=last).map(|(_, bucket)| bucket)
    }

    /// A random id that belongs into this bucket.
    pub fn random_target_in(&self, bucket: u32, rng: &mut Rng) -> NodeId {
        let mut random = [0; NodeId::LEN];
        rng.fill(&mut random);
        let mut target = self.own;
        for ((index, byte), random) in (0u32..).zip(target.0.iter_mut()).zip(random) {
            // Bits before the bucket's are the own ones, its bit is not, those behind are random.
            let before = bucket.saturating_sub(index * 8);
            *byte = match before {
                8.. => *byte,
                _ if index * 8 > bucket => random,
                _ => {
                    let bit = 0x80 >> before;
                    let behind = bit - 1;
                    ((*byte ^ bit) & !behind) | (random & behind)
                }
            };
        }
        target
    }
}

impl Bucket {
    fn refresh(&mut self, now: Time) {
        self.quiet = self.quiet.saturating_add(1);
        self.refreshed = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::distance::Distance;
    use super::super::table::{Contact, tests};
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    const OWN: NodeId = tests::OWN;
    const HOUR: Duration = Duration::from_secs(3600);
    const FRESHNESS: Freshness = Freshness {
        bucket: HOUR,
        contact: Duration::from_secs(100 * 3600),
    };

    fn contact(prefix: u32, n: usize) -> Contact {
        tests::contact(prefix, n, "10.0.0.1")
    }

    fn table(contacts: impl IntoIterator<Item = (u32, usize)>) -> RoutingTable {
        let mut table = RoutingTable::new(OWN);
        for (prefix, n) in contacts {
            table.insert(contact(prefix, n), Time(0));
        }
        table
    }

    /// The bucket of what is to be looked up, `Some(None)` for the own id.
    fn to_refresh(table: &mut RoutingTable, now: Time) -> Option<Option<u32>> {
        let target = table.to_refresh(now, FRESHNESS, &mut Rng::new(&[1; 32], "target"));
        target.map(|target| Distance::between(&target, &OWN).common_prefix())
    }

    #[test]
    fn the_farthest_buckets_are_refreshed_one_by_one_and_the_closest_by_one_lookup() {
        let mut table = table([]);
        assert_eq!(to_refresh(&mut table, Time(0)), None);
        // Sixteen in the last two, which are one lookup's.
        for n in 0..15 {
            for prefix in 0..4 {
                table.insert(contact(prefix, n), Time(0));
            }
        }
        table.insert(contact(5, 0), Time(0));
        let mut now = Time(0);
        for due in [
            Some(Some(0)),
            Some(Some(1)),
            Some(Some(2)),
            Some(None),
            None,
        ] {
            assert_eq!(to_refresh(&mut table, now), due);
            now.0 += 1;
        }
        assert_eq!(to_refresh(&mut table, Time(0) + HOUR), Some(Some(0)));
        table.assert_sound();
    }

    #[test]
    fn in_a_small_network_the_own_id_is_looked_up_only() {
        let mut table = table((0..9).map(|n| (0, n)).chain((0..9).map(|n| (2, n))));
        assert_eq!(to_refresh(&mut table, Time(0)), Some(None));
        assert_eq!(to_refresh(&mut table, Time(1)), None);
        assert_eq!(to_refresh(&mut table, Time(0) + HOUR), Some(None));
    }

    // There may be closer ones, whom only a lookup of the own id finds.
    #[test]
    fn the_own_id_is_looked_up_although_the_closest_bucket_is_full() {
        let mut table = table((0..DHT_BUCKET_LEN).map(|n| (0, n)));
        assert_eq!(to_refresh(&mut table, Time(0)), Some(None));
    }

    #[test]
    fn a_full_bucket_is_refreshed_when_one_of_its_contacts_may_be_gone() {
        let far = (0..DHT_BUCKET_LEN).map(|n| (0, n));
        let mut table = table(far.chain([(1, 0)]));
        assert_eq!(to_refresh(&mut table, Time(0)), Some(None));
        assert_eq!(to_refresh(&mut table, Time(1)), None);
        table.doubt(&contact(0, 7).key);
        assert_eq!(to_refresh(&mut table, Time(2)), Some(Some(0)));
        table.seen(&contact(0, 7).key, Time(3));
        let mut now = Time(0);
        while to_refresh(&mut table, now) != Some(Some(0)) {
            now = now + HOUR;
        }
        assert_eq!(now, Time(0) + FRESHNESS.contact, "unseen for so long");
    }

    #[test]
    fn a_bucket_is_refreshed_ever_more_rarely_while_nobody_comes_or_goes() {
        let mut table = table([(0, 0)]);
        let mut now = Time(0);
        assert_eq!(to_refresh(&mut table, now), Some(None));
        for hours in [1, 2, 4, 8, 8] {
            let due = now + HOUR * hours;
            assert_eq!(to_refresh(&mut table, Time(due.0 - 1)), None);
            assert_eq!(to_refresh(&mut table, due), Some(None));
            now = due;
        }
        let changes: [fn(&mut RoutingTable); 2] = [
            |table| table.doubt(&contact(0, 0).key),
            |table| {
                table.insert(contact(3, 0), Time(0));
            },
        ];
        for change in changes {
            assert_eq!(to_refresh(&mut table, now + HOUR), None);
            change(&mut table);
            now = now + HOUR;
            assert_eq!(to_refresh(&mut table, now), Some(None));
            now = now + HOUR;
            assert_eq!(to_refresh(&mut table, now), Some(None));
        }
    }

    proptest! {
        // A random target of a bucket belongs into that bucket, whatever the own id.
        #[test]
        fn targets_lie_in_their_bucket(own: [u8; 20], bucket in 0..ID_BITS, seed: [u8; 32]) {
            let table = RoutingTable::new(NodeId(own));
            let target = table.random_target_in(bucket, &mut Rng::new(&seed, "target"));
            prop_assert_eq!(Distance::between(&target, &NodeId(own)).common_prefix(), Some(bucket));
        }
    }
}
