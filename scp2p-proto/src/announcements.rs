//! Announcements of relays, bounded so that no network fills the list alone.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::netgroup::Netgroup;
use crate::record::RelayAnnouncement;
use crate::time::UnixTime;

/// Verified announcements, at most one of each relay.
///
/// Keys cost nothing, so anybody can announce any number of relays. What a list holds is counted by the networks that
/// it came from: a newcomer of a full one takes the place of somebody of the network that has most, and
/// only if its own has fewer even then. Else who came first stays until its time is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Announcements {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    announcement: RelayAnnouncement,
    /// The network that it came from first.
    network: Netgroup,
}

impl Announcements {
    /// Takes an announcement that was verified. Of one relay the newest counts; with `most` others there may be no place
    /// for it. True if it is in the list and was not before.
    pub(crate) fn insert(
        &mut self,
        announcement: RelayAnnouncement,
        network: Netgroup,
        most: usize,
        now: UnixTime,
    ) -> bool {
        self.expire(now);
        let mut known = self.entries.iter_mut();
        if let Some(known) = known.find(|it| it.announcement.relay == announcement.relay) {
            let is_newer = announcement.offer.issued_at > known.announcement.offer.issued_at;
            if is_newer {
                known.announcement = announcement;
            }
            return is_newer;
        }
        if self.entries.len() >= most && !self.make_room(network) {
            return false;
        }
        self.entries.push(Entry {
            announcement,
            network,
        });
        true
    }

    /// All whose time is not over, those that came first first.
    pub(crate) fn live(&self, now: UnixTime) -> impl Iterator<Item = &RelayAnnouncement> {
        let announcements = self.entries.iter().map(|entry| &entry.announcement);
        announcements.filter(move |it| it.offer.expires_at > now)
    }

    pub(crate) fn expire(&mut self, now: UnixTime) {
        let is_over = |entry: &Entry| entry.announcement.offer.expires_at <= now;
        self.entries.retain(|entry| !is_over(entry));
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The network that has most gives up who came last, if the newcomer's has fewer even with the newcomer.
    fn make_room(&mut self, network: Netgroup) -> bool {
        let mut counts: BTreeMap<Netgroup, usize> = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.network).or_default() += 1;
        }
        let with_it = counts.get(&network).map_or(1, |count| count + 1);
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((crowd, _)) = most.filter(|(_, count)| with_it < *count) else {
            return false;
        };
        let last = self.entries.iter().rposition(|it| it.network == crowd);
        last.map(|place| self.entries.remove(place)).is_some()
    }
}

#[cfg(any(test, feature = "check"))]
impl Announcements {
    pub(crate) fn check(&self, what: &str, most: usize, broken: &mut crate::check::Broken) {
        broken.at_most(what, self.entries.len(), most);
        let mut relays: Vec<_> = self
            .entries
            .iter()
            .map(|it| it.announcement.relay)
            .collect();
        relays.sort_unstable();
        relays.dedup();
        broken.equal(
            "announcements and the relays that they are of",
            self.entries.len() as u64,
            relays.len() as u64,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use crate::record::{BandwidthClass, RelayCapacity, RelayOffer};
    use crate::wire::{Capabilities, Profile};

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn announcement(relay: u8, issued_at: u64) -> RelayAnnouncement {
        let offer = RelayOffer {
            addrs: Vec::new(),
            capabilities: Capabilities::none(),
            capacity: RelayCapacity {
                max_tunnels: 1,
                bandwidth: BandwidthClass::Low,
                max_bytes_per_tunnel: None,
            },
            issued_at: UnixTime(issued_at),
            expires_at: UnixTime(issued_at + 100),
        };
        RelayAnnouncement::sign(Keys::from_seed([relay; 32]).signing(), Profile::C, offer)
    }

    fn list(entries: &[(u8, u8)]) -> Announcements {
        let mut list = Announcements::default();
        for (relay, network) in entries {
            list.insert(
                announcement(*relay, NOW.0),
                Netgroup::V4([*network, 0]),
                4,
                NOW,
            );
        }
        list
    }

    fn relays(list: &Announcements) -> Vec<u8> {
        let keys: Vec<_> = (1..=20)
            .map(|n| (n, Keys::from_seed([n; 32]).public()))
            .collect();
        let number = |it: &RelayAnnouncement| keys.iter().find(|(_, key)| *key == it.relay);
        list.live(NOW).filter_map(number).map(|(n, _)| *n).collect()
    }

    #[test]
    fn no_network_fills_a_list_alone_and_who_came_first_stays() {
        let flood: Vec<(u8, u8)> = (1..=9).map(|relay| (relay, 1)).collect();
        assert_eq!(relays(&list(&flood)), [1, 2, 3, 4]);
        let others = [(11, 2), (12, 2), (13, 2), (14, 3)];
        let all: Vec<(u8, u8)> = flood.iter().chain(&others).copied().collect();
        assert_eq!(relays(&list(&all)), [1, 2, 11, 14]);
        let apart = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 1)];
        assert_eq!(relays(&list(&apart)), [1, 2, 3, 4]);
    }

    #[test]
    fn of_one_relay_the_newest_counts_until_its_time_is_over() {
        let mut list = list(&[(1, 1)]);
        assert!(list.insert(announcement(1, NOW.0 + 5), Netgroup::V4([2, 0]), 4, NOW));
        assert!(!list.insert(announcement(1, NOW.0 + 5), Netgroup::V4([1, 0]), 4, NOW));
        assert!(!list.insert(announcement(1, NOW.0), Netgroup::V4([1, 0]), 4, NOW));
        assert_eq!(list.live(UnixTime(NOW.0 + 104)).count(), 1);
        assert_eq!(list.live(UnixTime(NOW.0 + 105)).count(), 0);
        list.expire(UnixTime(NOW.0 + 105));
        assert_eq!(list.len(), 0);
    }
}
