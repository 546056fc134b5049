//! The nodes that a node knows, more of them the closer they are (SPECIFICATION §6).

use core::net::IpAddr;
use core::time::Duration;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::distance::Distance;
use crate::id::{NodeId, NodeKey};
use crate::limits::{CONTACT_ADDRS_MAX, DHT_BUCKET_LEN, DHT_NETWORK_MAX};
use crate::time::Time;
use crate::wire::PeerAddr;

/// Failures in a row after which a contact is forgotten.
const FAILURES_MAX: u8 = 2;

/// A node of the DHT and where it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its key.
    pub key: NodeKey,
    /// Its id, that of the key.
    pub id: NodeId,
    /// Its addresses, the most promising first; at most four.
    pub addrs: Vec<PeerAddr>,
}

impl Contact {
    /// A node by its key and the first four different ones of these addresses.
    pub fn new(key: NodeKey, addrs: Vec<PeerAddr>) -> Contact {
        let mut contact = Contact {
            key,
            id: key.node_id(),
            addrs: Vec::new(),
        };
        contact.add_addrs(addrs);
        contact
    }

    /// Append addresses that are new as long as there is room; whether any was.
    pub(super) fn add_addrs(&mut self, addrs: impl IntoIterator<Item = PeerAddr>) -> bool {
        let before = self.addrs.len();
        for addr in addrs {
            if self.addrs.len() < CONTACT_ADDRS_MAX && !self.addrs.contains(&addr) {
                self.addrs.push(addr);
            }
        }
        self.addrs.len() > before
    }
}

/// What became of a contact that was to be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the table now.
    Added,
    /// It was there before; its addresses and the time it was seen are up to date.
    Refreshed,
    /// Its bucket is full. If the stalest contact there does not answer, remove that and insert again.
    Full {
        /// The contact of the bucket to ask whether it still lives.
        stalest: NodeKey,
    },
    /// Its bucket has enough contacts of its network: whoever has many
    /// addresses of one network must not fill the table.
    Crowded,
    /// It is this node itself.
    Own,
}

/// Whether a bucket has a place for a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has one, or the contact is in it.
    Free,
    /// It is full, but this contact may have left: if it does not answer, its place is free.
    Unsure {
        /// Who is to be asked.
        stalest: NodeKey,
    },
    /// It is full of others who are there, or has enough contacts of its network, or the contact is this node itself.
    None,
}

/// Contacts in buckets by the number of leading bits that their ids share with the own one.
///
/// A bucket holds 20 contacts, at most two of any IPv4 /24 or IPv6 /48 (loopback, link-local and private
/// addresses aside). Contacts enter only when they were heard of directly, and live ones are never
/// replaced: the longer a node has been there, the longer it will stay.
#[derive(Debug, Clone)]
pub struct RoutingTable {
    pub(super) own: NodeId,
    pub(super) buckets: BTreeMap<u32, Bucket>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    pub(super) entries: Vec<Entry>,
    /// When a lookup for the bucket's sake was made last.
    pub(super) refreshed: Option<Time>,
    /// How many of these were made since anybody came or may have gone.
    pub(super) quiet: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) contact: Contact,
    pub(super) seen: Time,
    /// In a row.
    pub(super) failures: u8,
}

impl RoutingTable {
    /// An empty table of the node with this id.
    pub fn new(own: NodeId) -> RoutingTable {
        RoutingTable {
            own,
            buckets: BTreeMap::new(),
        }
    }

    /// Insert a contact that was heard of directly at `now`.
    pub fn insert(&mut self, contact: Contact, now: Time) -> Inserted {
        let Some(index) = self.bucket_of(&contact.id) else {
            return Inserted::Own;
        };
        let bucket = self.buckets.entry(index).or_default();
        if bucket.is_crowded_for(&contact) {
            return Inserted::Crowded;
        }
        if let Some(entry) = bucket
            .entries
            .iter_mut()
            .find(|entry| entry.contact.key == contact.key)
        {
            entry.refresh(contact.addrs, now);
            return Inserted::Refreshed;
        }
        if bucket.entries.len() >= DHT_BUCKET_LEN
            && let Some(stalest) = bucket.stalest()
        {
            return Inserted::Full {
                stalest: stalest.contact.key,
            };
        }
        bucket.quiet = 0;
        bucket.entries.push(Entry {
            contact,
            seen: now,
            failures: 0,
        });
        Inserted::Added
    }

    /// Whether there is a place for a contact at `now`, where others may have left who failed or were not seen for
    /// `stale_after`.
    pub fn place_for(&self, contact: &Contact, now: Time, stale_after: Duration) -> Place {
        let Some(index) = self.bucket_of(&contact.id) else {
            return Place::None;
        };
        let Some(bucket) = self.buckets.get(&index) else {
            return Place::Free;
        };
        if bucket.is_crowded_for(contact) {
            return Place::None;
        }
        let is_known = |entry: &Entry| entry.contact.key == contact.key;
        if bucket.entries.len() < DHT_BUCKET_LEN || bucket.entries.iter().any(is_known) {
            return Place::Free;
        }
        let stalest = bucket.stalest();
        let stalest = stalest.filter(|entry| entry.may_be_gone(now, stale_after));
        stalest.map_or(Place::None, |entry| Place::Unsure {
            stalest: entry.contact.key,
        })
    }

    /// A contact has answered at `now`. False if it is not in the table.
    pub fn seen(&mut self, key: &NodeKey, now: Time) -> bool {
        let Some(entry) = self.entry_mut(key) else {
            return false;
        };
        entry.refresh(Vec::new(), now);
        true
    }

    /// A contact's session was alive at `at`, which undoes no failure.
    pub fn heard(&mut self, key: &NodeKey, at: Time) {
        let entry = self.entry_mut(key).filter(|entry| entry.failures == 0);
        if let Some(entry) = entry {
            entry.seen = entry.seen.max(at);
        }
    }

    /// A contact could not be reached or did not answer. True if it was forgotten for that:
    /// after the second time in a row.
    pub fn failed(&mut self, key: &NodeKey) -> bool {
        self.disturb(key);
        let Some(entry) = self.entry_mut(key) else {
            return false;
        };
        entry.failures = entry.failures.saturating_add(1);
        entry.failures >= FAILURES_MAX && self.remove(key)
    }

    /// A contact's session ended, so it may have left: until it answers again it counts as having failed once.
    pub fn doubt(&mut self, key: &NodeKey) {
        self.disturb(key);
        if let Some(entry) = self.entry_mut(key) {
            entry.failures = entry.failures.max(1);
        }
    }

    /// Forget a contact. False if it is not in the table.
    pub fn remove(&mut self, key: &NodeKey) -> bool {
        let index = self.bucket_of(&key.node_id());
        let Some(bucket) = index.and_then(|index| self.buckets.get_mut(&index)) else {
            return false;
        };
        let before = bucket.entries.len();
        bucket.entries.retain(|entry| entry.contact.key != *key);
        bucket.entries.len() < before
    }

    /// Whether a contact is in the table.
    pub fn contains(&self, key: &NodeKey) -> bool {
        let bucket = self
            .bucket_of(&key.node_id())
            .and_then(|index| self.buckets.get(&index));
        bucket.is_some_and(|bucket| bucket.entries.iter().any(|entry| entry.contact.key == *key))
    }

    /// The `n` contacts closest to a target, the closest first; those that failed lately only where there are too
    /// few others, after those.
    pub fn closest(&self, target: &NodeId, n: usize) -> Vec<&Contact> {
        let mut contacts = self.closest_sound(target, n);
        let doubtful = self.entries().filter(|entry| entry.failures > 0);
        let missing = n.saturating_sub(contacts.len());
        contacts.extend(closest_of(doubtful, target, missing));
        contacts
    }

    /// Those `n` that were seen longest ago of those that failed lately.
    pub fn doubted(&self, n: usize) -> Vec<NodeKey> {
        let doubted = self.entries().filter(|entry| entry.failures > 0);
        let mut doubted: Vec<(Time, NodeKey)> = doubted
            .map(|entry| (entry.seen, entry.contact.key))
            .collect();
        doubted.sort_unstable();
        doubted.into_iter().take(n).map(|(_, key)| key).collect()
    }

    /// The `n` closest of those that did not fail lately, the closest first: those that others should be told of.
    pub fn closest_sound(&self, target: &NodeId, n: usize) -> Vec<&Contact> {
        let sound = self.entries().filter(|entry| entry.failures == 0);
        closest_of(sound, target, n)
    }

    /// How many contacts there are.
    pub fn len(&self) -> usize {
        self.buckets
            .values()
            .map(|bucket| bucket.entries.len())
            .sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All contacts, the farthest buckets first.
    pub fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.entries().map(|entry| &entry.contact)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.values().flat_map(|bucket| &bucket.entries)
    }

    /// The bucket of an id; none for the own one.
    fn bucket_of(&self, id: &NodeId) -> Option<u32> {
        Distance::between(&self.own, id).common_prefix()
    }

    /// Somebody of a contact's bucket came or may have gone.
    fn disturb(&mut self, key: &NodeKey) {
        let index = self.bucket_of(&key.node_id());
        if let Some(bucket) = index.and_then(|index| self.buckets.get_mut(&index))
            && bucket.entries.iter().any(|entry| entry.contact.key == *key)
        {
            bucket.quiet = 0;
        }
    }

    fn entry_mut(&mut self, key: &NodeKey) -> Option<&mut Entry> {
        let index = self.bucket_of(&key.node_id())?;
        self.buckets
            .get_mut(&index)?
            .entries
            .iter_mut()
            .find(|entry| entry.contact.key == *key)
    }
}

impl Bucket {
    fn stalest(&self) -> Option<&Entry> {
        let by_doubt = |entry: &&Entry| (core::cmp::Reverse(entry.failures), entry.seen);
        self.entries.iter().min_by_key(by_doubt)
    }

    /// Whether one of the contact's networks has its share of the other contacts already.
    fn is_crowded_for(&self, contact: &Contact) -> bool {
        let others = || {
            self.entries
                .iter()
                .map(|entry| &entry.contact)
                .filter(|other| other.key != contact.key)
        };
        contact.addrs.iter().filter_map(network).any(|wanted| {
            let in_it = |other: &&Contact| {
                other
                    .addrs
                    .iter()
                    .filter_map(network)
                    .any(|network| network == wanted)
            };
            others().filter(in_it).count() >= DHT_NETWORK_MAX
        })
    }
}

impl Entry {
    /// Whether it failed or was not seen for `stale_after`.
    pub(super) fn may_be_gone(&self, now: Time, stale_after: Duration) -> bool {
        self.failures > 0 || now.since(self.seen) >= stale_after
    }

    /// Newer addresses come first, older ones stay as long as there is room.
    fn refresh(&mut self, addrs: Vec<PeerAddr>, now: Time) {
        let older = core::mem::take(&mut self.contact.addrs);
        self.contact.add_addrs(addrs);
        self.contact.add_addrs(older);
        self.seen = self.seen.max(now);
        self.failures = 0;
    }
}

fn closest_of<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    target: &NodeId,
    n: usize,
) -> Vec<&'a Contact> {
    let mut contacts: Vec<&Contact> = entries.map(|entry| &entry.contact).collect();
    contacts.sort_by_cached_key(|contact| Distance::between(&contact.id, target));
    contacts.truncate(n);
    contacts
}

/// What one party can be expected to hold: an IPv4 /24 or an IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

/// The network of an address, or of the relay it is reached through; none of those that are local to a
/// host or a site.
fn network(addr: &PeerAddr) -> Option<Network> {
    let ip = addr
        .relay_via
        .as_ref()
        .map_or(addr.ip, |route| route.relay.ip);
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() || ip.is_link_local() => None,
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Some(Network::V4([a, b, c]))
        }
        IpAddr::V6(ip)
            if ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() =>
        {
            None
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Some(Network::V6([a, b, c, d, e, f]))
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl RoutingTable {
    /// Every contact is in its bucket once, and no bucket is overfull or crowded.
    pub(crate) fn check(&self, broken: &mut crate::check::Broken) {
        for (index, bucket) in &self.buckets {
            broken.at_most("contacts in a bucket", bucket.entries.len(), DHT_BUCKET_LEN);
            for (at, entry) in bucket.entries.iter().enumerate() {
                let (key, id) = (entry.contact.key, entry.contact.id);
                broken.unless(
                    id == key.node_id() && self.bucket_of(&id) == Some(*index),
                    || alloc::format!("{key} is in bucket {index}, which is not its own"),
                );
                let addrs = entry.contact.addrs.len();
                broken.at_most("addresses of a contact", addrs, CONTACT_ADDRS_MAX);
                broken.unless(entry.failures < FAILURES_MAX, || {
                    alloc::format!("{key} failed {} times and is still there", entry.failures)
                });
                let mut others = bucket.entries.iter().skip(at + 1);
                broken.unless(others.all(|other| other.contact.key != key), || {
                    alloc::format!("{key} is in bucket {index} twice")
                });
            }
            let networks = bucket.entries.iter().flat_map(|entry| {
                let networks = entry.contact.addrs.iter().filter_map(network);
                networks.collect::<alloc::collections::BTreeSet<_>>()
            });
            for (network, contacts) in crate::check::counted(networks) {
                broken.unless(contacts <= DHT_NETWORK_MAX as u64, || {
                    alloc::format!("bucket {index} has {contacts} contacts of {network:?}")
                });
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn assert_sound(&self) {
        let mut broken = crate::check::Broken::default();
        self.check(&mut broken);
        assert_eq!(broken.into_sentences(), Vec::<alloc::string::String>::new());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Contact, Distance, Inserted, Place, RoutingTable};
    use crate::id::{NodeId, NodeKey};
    use crate::io::Transport;
    use crate::limits::{CONTACT_ADDRS_MAX, DHT_BUCKET_LEN};
    use crate::time::Time;
    use crate::wire::PeerAddr;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::IpAddr;
    use core::time::Duration;
    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    pub const OWN: NodeId = NodeId([0; 20]);

    fn addr(ip: &str) -> PeerAddr {
        let ip: IpAddr = ip.parse().expect(ip);
        PeerAddr {
            ip,
            port: 1,
            transport: Transport::Tcp,
            key: None,
            relay_via: None,
        }
    }

    /// The `n`th of the contacts whose ids share exactly `prefix` bits with the own id.
    pub fn contact(prefix: u32, n: usize, ip: &str) -> Contact {
        let keys = (0u32..).map(|n| NodeKey(*blake3::hash(&n.to_le_bytes()).as_bytes()));
        let mut fitting = keys
            .filter(|key| Distance::between(&key.node_id(), &OWN).common_prefix() == Some(prefix));
        Contact::new(fitting.nth(n).expect("keys never end"), vec![addr(ip)])
    }

    #[test]
    fn a_full_bucket_has_a_place_for_another_only_where_one_of_its_may_be_gone() {
        const STALE: Duration = Duration::from_secs(1800);
        let mut table = RoutingTable::new(OWN);
        for n in 0..DHT_BUCKET_LEN {
            let ip = alloc::format!("5.5.{n}.1");
            let contact = contact(0, n, &ip);
            let place = table.place_for(&contact, Time(n as u64), STALE);
            assert_eq!(place, Place::Free);
            table.insert(contact, Time(n as u64));
        }
        let (newcomer, other_bucket) = (
            contact(0, DHT_BUCKET_LEN, "6.6.6.6"),
            contact(1, 0, "6.6.6.6"),
        );
        let known = contact(0, 3, "5.5.3.1");
        let soon = Time(DHT_BUCKET_LEN as u64);
        assert_eq!(table.place_for(&newcomer, soon, STALE), Place::None);
        for contact in [&known, &other_bucket] {
            assert_eq!(table.place_for(contact, soon, STALE), Place::Free);
        }
        let of = |n: usize| Place::Unsure {
            stalest: contact(0, n, "5.5.5.5").key,
        };
        assert_eq!(
            table.place_for(&newcomer, Time(0) + STALE, STALE),
            of(0),
            "unseen for longest"
        );
        table.doubt(&known.key);
        assert_eq!(table.place_for(&newcomer, soon, STALE), of(3), "in doubt");
    }

    #[test]
    fn a_full_bucket_takes_another_only_for_one_that_is_gone() {
        let mut table = RoutingTable::new(OWN);
        for n in 0..DHT_BUCKET_LEN {
            assert_eq!(
                table.insert(contact(0, n, "10.0.0.1"), Time(n as u64)),
                Inserted::Added
            );
        }
        let late = contact(0, DHT_BUCKET_LEN, "10.0.0.1");
        let key = |n| contact(0, n, "10.0.0.1").key;
        assert_eq!(
            table.insert(late.clone(), Time(99)),
            Inserted::Full { stalest: key(0) }
        );
        assert!(table.seen(&key(0), Time(100)));
        assert_eq!(
            table.insert(late.clone(), Time(101)),
            Inserted::Full { stalest: key(1) }
        );
        assert!(!table.failed(&key(7)));
        assert_eq!(
            table.insert(late.clone(), Time(102)),
            Inserted::Full { stalest: key(7) }
        );
        assert!(table.remove(&key(7)) && !table.remove(&key(7)));
        assert_eq!(table.insert(late.clone(), Time(103)), Inserted::Added);
        assert_eq!(table.insert(late, Time(104)), Inserted::Refreshed);
        assert_eq!(
            table.insert(contact(1, 0, "10.0.0.1"), Time(105)),
            Inserted::Added
        );
        table.assert_sound();
    }

    #[test]
    fn the_second_failure_in_a_row_removes() {
        let mut table = RoutingTable::new(OWN);
        let only = contact(0, 0, "10.0.0.1");
        table.insert(only.clone(), Time(0));
        assert!(
            !table.failed(&only.key) && table.seen(&only.key, Time(1)) && !table.failed(&only.key)
        );
        assert!(table.contains(&only.key));
        assert!(table.failed(&only.key) && !table.contains(&only.key));
        assert!(!table.failed(&only.key) && !table.seen(&only.key, Time(2)) && table.is_empty());
    }

    #[test]
    fn who_may_have_left_comes_last_and_is_named_to_nobody() {
        let mut table = RoutingTable::new(OWN);
        let [near, far] = [9, 0].map(|prefix| contact(prefix, 0, "10.0.0.1"));
        for contact in [&near, &far] {
            table.insert(contact.clone(), Time(0));
        }
        assert_eq!(table.closest(&OWN, 2), [&near, &far]);
        for _ in 0..3 {
            table.doubt(&near.key);
        }
        assert_eq!(table.closest(&OWN, 2), [&far, &near]);
        assert_eq!(table.closest(&OWN, 1), [&far]);
        assert_eq!(table.closest_sound(&OWN, 2), [&far]);
        assert_eq!(table.doubted(2), [near.key]);
        table.doubt(&far.key);
        assert_eq!(table.doubted(1).len(), 1);
        assert!(table.seen(&near.key, Time(1)) && table.seen(&far.key, Time(1)));
        assert!(table.doubted(2).is_empty());
        assert_eq!(table.closest_sound(&OWN, 2), [&near, &far]);
    }

    #[test]
    fn one_network_has_two_places_in_a_bucket() {
        let mut table = RoutingTable::new(OWN);
        let outcomes = |table: &mut RoutingTable, prefix, ips: [&str; 4]| {
            let insert = |(n, ip)| table.insert(contact(prefix, n, ip), Time(0));
            (0..).zip(ips).map(insert).collect::<Vec<_>>()
        };
        let two = [
            Inserted::Added,
            Inserted::Added,
            Inserted::Crowded,
            Inserted::Added,
        ];
        assert_eq!(
            outcomes(&mut table, 0, ["1.2.3.4", "1.2.3.5", "1.2.3.6", "1.2.4.6"]),
            two
        );
        assert_eq!(
            outcomes(
                &mut table,
                1,
                ["1.2.3.4", "::ffff:1.2.3.5", "1.2.3.6", "1.2.4.6"]
            ),
            two
        );
        assert_eq!(
            outcomes(
                &mut table,
                2,
                [
                    "2001:db8:7::1",
                    "2001:db8:7:1::",
                    "2001:db8:7:2::",
                    "2001:db8:8::"
                ]
            ),
            two
        );
        let local = [Inserted::Added; 4];
        assert_eq!(outcomes(&mut table, 3, ["127.0.0.1"; 4]), local);
        assert_eq!(outcomes(&mut table, 4, ["192.168.1.1"; 4]), local);
        assert_eq!(outcomes(&mut table, 5, ["fd00::1"; 4]), local);
        assert_eq!(
            table.insert(contact(0, 1, "1.2.3.9"), Time(0)),
            Inserted::Refreshed
        );
        assert_eq!(
            table.insert(contact(0, 3, "1.2.3.9"), Time(0)),
            Inserted::Crowded
        );
        table.assert_sound();
    }

    #[test]
    fn newer_addresses_come_first_and_are_few() {
        let mut table = RoutingTable::new(OWN);
        for last in 1..=6 {
            table.insert(contact(0, 0, &alloc::format!("10.0.0.{last}")), Time(0));
        }
        let addrs = &table.closest(&OWN, 1)[0].addrs;
        assert_eq!(addrs.len(), CONTACT_ADDRS_MAX);
        assert_eq!(
            (&addrs[0], &addrs[3]),
            (&addr("10.0.0.6"), &addr("10.0.0.3"))
        );
    }

    proptest! {
        // Whatever happens to a table, its invariants hold, and the closest contacts are the closest of those that did
        // not fail lately, and then of the others.
        #[test]
        fn the_table_stays_consistent(steps in vec_of((0u8..7, 0u32..60, 0u8..6), 0..300), target: [u8; 20]) {
            let mut table = RoutingTable::new(NodeKey([0; 32]).node_id());
            for (time, (what, key, network)) in (0u64..).zip(steps) {
                let key = NodeKey(match key {
                    0 => [0; 32],
                    _ => *blake3::hash(&key.to_le_bytes()).as_bytes(),
                });
                match what {
                    0 => prop_assert_eq!(table.contains(&key), table.remove(&key)),
                    1 => prop_assert_eq!(table.contains(&key), table.seen(&key, Time(time))),
                    2 => {
                        table.failed(&key);
                    }
                    3 => table.doubt(&key),
                    _ => {
                        let known = table.contains(&key);
                        let ip = alloc::format!("1.1.{network}.1");
                        match table.insert(Contact::new(key, vec![addr(&ip)]), Time(time)) {
                            Inserted::Added => prop_assert!(!known && table.contains(&key)),
                            Inserted::Refreshed => prop_assert!(known),
                            Inserted::Full { stalest } => prop_assert!(!known && table.contains(&stalest)),
                            Inserted::Crowded => prop_assert_eq!(table.contains(&key), known),
                            Inserted::Own => prop_assert_eq!(key, NodeKey([0; 32])),
                        }
                    }
                }
                table.assert_sound();
            }
            let target = NodeId(target);
            let mut all: Vec<&Contact> = table.iter().collect();
            prop_assert_eq!(all.len(), table.len());
            let sound = table.closest_sound(&target, all.len());
            let place = |contact: &&Contact| (!sound.contains(contact), Distance::between(&contact.id, &target));
            all.sort_by_key(place);
            prop_assert!(all.starts_with(&sound));
            all.truncate(DHT_BUCKET_LEN);
            prop_assert_eq!(table.closest(&target, DHT_BUCKET_LEN), all);
        }
    }
}
