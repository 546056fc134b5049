//! Lookups by themselves, in networks that are tables in memory.

use super::super::table::RoutingTable;
use super::*;
use crate::io::Transport;
use crate::rng::Rng;
use alloc::collections::BTreeSet;
use core::net::{IpAddr, Ipv4Addr};
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

const OWN: NodeId = NodeId([0; 20]);

fn contact(rng: &mut Rng) -> Contact {
    let mut key = [0; 32];
    rng.fill(&mut key);
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let addr = PeerAddr {
        ip,
        port: 7000,
        transport: Transport::Quic,
        key: None,
        relay_via: None,
    };
    Contact::new(NodeKey(key), alloc::vec![addr])
}

/// These contacts as answers name them.
fn named<'a>(contacts: impl IntoIterator<Item = &'a Contact>) -> Vec<(NodeKey, PeerAddr)> {
    let each = contacts.into_iter();
    each.flat_map(|contact| contact.addrs.iter().map(|addr| (contact.key, addr.clone())))
        .collect()
}

/// Nodes that know of each other what their tables hold.
struct Network {
    tables: BTreeMap<NodeKey, RoutingTable>,
    contacts: Vec<Contact>,
}

impl Network {
    fn new(size: usize, rng: &mut Rng) -> Network {
        let contacts: Vec<Contact> = (0..size).map(|_| contact(rng)).collect();
        let mut tables = BTreeMap::new();
        for node in &contacts {
            let mut table = RoutingTable::new(node.id);
            let mut others = contacts.clone();
            rng.shuffle(&mut others);
            for other in others {
                table.insert(other, Time(0));
            }
            table.assert_sound();
            tables.insert(node.key, table);
        }
        Network { tables, contacts }
    }

    /// Carry a lookup out, answering its queries in random order; whom it asked.
    fn run(&self, lookup: &mut Lookup, dead: &BTreeSet<NodeKey>, rng: &mut Rng) -> Vec<NodeKey> {
        let (mut pending, mut asked) = (Vec::new(), Vec::new());
        loop {
            match lookup.next(Time(0)) {
                Next::Query(contact) => {
                    pending.push(contact.key);
                    asked.push(contact.key);
                    assert!(pending.len() <= LOOKUP_PARALLEL_MAX as usize);
                }
                Next::Wait(_) => {
                    let at = rng.below(pending.len() as u64) as usize;
                    let key = pending.swap_remove(at);
                    if dead.contains(&key) {
                        lookup.on_failure(&key);
                    } else {
                        let closer = self.tables[&key].closest(&lookup.target(), DHT_BUCKET_LEN);
                        lookup.on_reply(&key, named(closer));
                    }
                }
                Next::Done => return asked,
            }
        }
    }

    /// The true answer.
    fn closest(&self, target: &NodeId, dead: &BTreeSet<NodeKey>) -> Vec<NodeKey> {
        let mut live: Vec<&Contact> = self
            .contacts
            .iter()
            .filter(|node| !dead.contains(&node.key))
            .collect();
        live.sort_by_key(|node| Distance::between(&node.id, target));
        live.iter()
            .take(DHT_BUCKET_LEN)
            .map(|node| node.key)
            .collect()
    }
}

fn target(rng: &mut Rng) -> NodeId {
    contact(rng).id
}

fn keys(contacts: &[Contact]) -> Vec<NodeKey> {
    contacts.iter().map(|contact| contact.key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // In a network whose tables are full a lookup finds exactly the closest nodes, asking each at most once.
    #[test]
    fn the_closest_nodes_are_found(seed: [u8; 32]) {
        let mut rng = Rng::new(&seed, "lookup");
        let network = Network::new(200, &mut rng);
        let seeds = network.contacts.iter().take(3).cloned().collect();
        let mut lookup = Lookup::new(OWN, target(&mut rng), seeds);
        let mut asked = network.run(&mut lookup, &BTreeSet::new(), &mut rng);
        prop_assert_eq!(keys(&lookup.closest()), network.closest(&lookup.target(), &BTreeSet::new()));
        prop_assert!(lookup.queries() <= LOOKUP_QUERIES_MAX && asked.len() == lookup.queries() as usize);
        asked.sort();
        asked.dedup();
        prop_assert_eq!(asked.len(), lookup.queries() as usize);
    }

    // With a third of the nodes dead, and still in all tables, a lookup ends with exactly
    // the closest of all live nodes that were named to it.
    #[test]
    fn dead_nodes_are_passed_by(seed: [u8; 32]) {
        let (lookup, dead, _) = among_dead(&seed);
        let named = lookup.candidates.values().map(|candidate| candidate.contact.key);
        let live: Vec<NodeKey> = named.filter(|key| !dead.contains(key)).take(DHT_BUCKET_LEN).collect();
        prop_assert_eq!(keys(&lookup.closest()), live);
        prop_assert!(lookup.queries() <= LOOKUP_QUERIES_MAX);
    }
}

/// A lookup in a network a third of which is dead; the dead; the closest live nodes.
fn among_dead(seed: &[u8; 32]) -> (Lookup, BTreeSet<NodeKey>, Vec<NodeKey>) {
    let mut rng = Rng::new(seed, "lookup");
    let network = Network::new(200, &mut rng);
    let mortal = network.contacts.iter().skip(3);
    let dead: BTreeSet<NodeKey> = mortal
        .filter(|_| rng.chance(3, 10))
        .map(|node| node.key)
        .collect();
    let seeds = network.contacts.iter().take(3).cloned().collect();
    let mut lookup = Lookup::new(OWN, target(&mut rng), seeds);
    network.run(&mut lookup, &dead, &mut rng);
    let closest = network.closest(&lookup.target(), &dead);
    (lookup, dead, closest)
}

// Tables full of dead nodes hide some live ones, yet nine of ten are found, and the very closest.
#[test]
fn few_live_nodes_are_missed_among_dead_ones() {
    let mut missed = 0;
    for seed in 0..10 {
        let (lookup, _, closest) = among_dead(&[seed; 32]);
        let found = keys(&lookup.closest());
        assert_eq!(found.first(), closest.first());
        missed += closest.iter().filter(|key| !found.contains(key)).count();
    }
    assert!(
        missed <= DHT_BUCKET_LEN,
        "{missed} of {}",
        10 * DHT_BUCKET_LEN
    );
}

// A quarter of the nodes name none but made-up ones, all of them closest to the target: everybody else is found, and
// few of those that are not there are asked.
#[test]
fn liars_hide_nobody() {
    for seed in 0..10 {
        let mut rng = Rng::new(&[seed; 32], "lookup");
        let network = Network::new(100, &mut rng);
        let target = target(&mut rng);
        let liars: BTreeSet<NodeKey> = network.contacts[75..].iter().map(|c| c.key).collect();
        let seeds = network.contacts.iter().skip(60).take(20).cloned();
        let mut lookup = Lookup::new(OWN, target, seeds.collect());
        let mut vain = 0;
        while let Next::Query(asked) = lookup.next(Time(0)) {
            if liars.contains(&asked.key) {
                let mut made_up: Vec<Contact> = (0..200).map(|_| contact(&mut rng)).collect();
                made_up.sort_by_cached_key(|at| Distance::between(&at.id, &target));
                lookup.on_reply(&asked.key, named(&made_up));
            } else if let Some(table) = network.tables.get(&asked.key) {
                let honest = table.closest(&target, DHT_BUCKET_LEN);
                lookup.on_reply(&asked.key, named(honest));
            } else {
                vain += 1;
                lookup.on_failure(&asked.key);
            }
        }
        let found = lookup.closest();
        assert_eq!(keys(&found), network.closest(&target, &BTreeSet::new()));
        assert!(vain <= 50, "{vain} asked in vain");
    }
}

// Whoever always names nodes that are closer still is not asked for ever.
#[test]
fn a_hostile_network_is_left_after_a_bounded_effort() {
    let mut rng = Rng::new(&[1; 32], "hostile");
    let mut lookup = Lookup::new(OWN, OWN, alloc::vec![contact(&mut rng)]);
    let mut queries = 0;
    while let Next::Query(asked) = lookup.next(Time(0)) {
        queries += 1;
        let closer: Vec<Contact> = (0..200).map(|_| contact(&mut rng)).collect();
        lookup.on_reply(&asked.key, named(&closer));
        assert!(lookup.candidates.len() <= LOOKUP_CANDIDATES_MAX);
    }
    assert_eq!(lookup.next(Time(0)), Next::Done);
    assert!(queries <= LOOKUP_QUERIES_MAX && lookup.queries() == queries);
    assert_eq!(lookup.closest().len(), DHT_BUCKET_LEN);
}

// Three of the closest are asked at once, and others as soon as those are slow, up to nine.
#[test]
fn slow_nodes_hold_up_nobody_for_long() {
    let mut rng = Rng::new(&[5; 32], "slow");
    let seeds: Vec<Contact> = (0..20).map(|_| contact(&mut rng)).collect();
    let mut lookup = Lookup::new(OWN, target(&mut rng), seeds);
    let mut now = Time(7);
    let mut asked = Vec::new();
    while asked.len() < LOOKUP_OPEN_MAX as usize {
        for _ in 0..LOOKUP_PARALLEL_MAX {
            let next = lookup.next(now);
            assert!(matches!(next, Next::Query(_)), "{next:?}");
            asked.extend(match next {
                Next::Query(contact) => Some(contact),
                Next::Wait(_) | Next::Done => None,
            });
        }
        if asked.len() < LOOKUP_OPEN_MAX as usize {
            let slow_at = now + SLOW_AFTER;
            assert_eq!(lookup.next(now), Next::Wait(Some(slow_at)));
            now = slow_at;
        }
    }
    now = now + SLOW_AFTER;
    assert_eq!(lookup.next(now), Next::Wait(None));
    lookup.on_failure(&asked[0].key);
    assert!(matches!(lookup.next(now), Next::Query(_)));
}

// A session that was dead tells nothing, one that dies again does.
#[test]
fn who_was_asked_over_a_dead_session_is_asked_once_more() {
    let mut rng = Rng::new(&[7; 32], "lost");
    let only = contact(&mut rng);
    let mut lookup = Lookup::new(OWN, target(&mut rng), Vec::from([only.clone()]));
    lookup.on_lost(&only.key);
    for _ in 0..2 {
        assert_eq!(lookup.next(Time(0)), Next::Query(only.clone()));
        lookup.on_lost(&only.key);
    }
    assert_eq!((lookup.next(Time(0)), lookup.queries()), (Next::Done, 2));
}

// Who is slow is not waited for when twenty others have answered, and else is.
#[test]
fn the_slow_are_waited_for_only_where_they_are_needed() {
    for size in [DHT_BUCKET_LEN + 2, DHT_BUCKET_LEN + 1] {
        let mut rng = Rng::new(&[6; 32], "needed");
        let seeds: Vec<Contact> = (0..size).map(|_| contact(&mut rng)).collect();
        let mut lookup = Lookup::new(OWN, target(&mut rng), seeds);
        let (mut now, mut silent) = (Time(7), Vec::new());
        let end = loop {
            match lookup.next(now) {
                Next::Query(contact) if silent.len() < 2 => silent.push(contact.key),
                Next::Query(contact) => lookup.on_reply(&contact.key, None),
                Next::Wait(Some(until)) => now = until,
                end @ (Next::Wait(None) | Next::Done) => break end,
            }
        };
        let enough = size - silent.len() == DHT_BUCKET_LEN;
        assert_eq!(end == Next::Done, enough, "{size}: {end:?}");
        assert_eq!(now, Time(7) + SLOW_AFTER);
        if !enough {
            silent.iter().for_each(|key| lookup.on_failure(key));
            assert_eq!(lookup.next(now), Next::Done);
        }
    }
}

#[test]
fn nothing_is_done_without_seeds_or_with_oneself() {
    let mut rng = Rng::new(&[2; 32], "empty");
    let own = contact(&mut rng);
    assert_eq!(
        Lookup::new(own.id, OWN, Vec::new()).next(Time(0)),
        Next::Done
    );
    assert_eq!(
        Lookup::new(own.id, OWN, alloc::vec![own]).next(Time(0)),
        Next::Done
    );
}

#[test]
fn hops_are_counted_along_those_that_answered() {
    let mut rng = Rng::new(&[4; 32], "test");
    let own = target(&mut rng);
    let [one, two, three] = core::array::from_fn(|_| contact(&mut rng));
    let mut lookup = Lookup::new(own, target(&mut rng), Vec::from([one.clone()]));
    assert_eq!(lookup.hops(), 0);
    assert_eq!(lookup.next(Time(0)), Next::Query(one.clone()));
    lookup.on_reply(&one.key, named([&two]));
    assert_eq!(lookup.hops(), 1);
    assert_eq!(lookup.next(Time(0)), Next::Query(two.clone()));
    lookup.on_reply(&two.key, named([&one, &three]));
    assert_eq!(lookup.next(Time(0)), Next::Query(three.clone()));
    lookup.on_failure(&three.key);
    assert_eq!((lookup.hops(), lookup.next(Time(0))), (2, Next::Done));
}

#[test]
fn only_those_asked_are_listened_to() {
    let mut rng = Rng::new(&[3; 32], "ask");
    let (first, second) = (contact(&mut rng), contact(&mut rng));
    let mut lookup = Lookup::new(OWN, OWN, alloc::vec![first.clone()]);
    lookup.on_reply(&first.key, named([&second]));
    assert_eq!(lookup.next(Time(0)), Next::Query(first.clone()));
    lookup.on_reply(&second.key, named([&second]));
    assert_eq!(lookup.next(Time(0)), Next::Wait(None));
    lookup.on_failure(&first.key);
    lookup.on_reply(&first.key, named([&second]));
    assert_eq!(
        (lookup.next(Time(0)), lookup.closest().len()),
        (Next::Done, 0)
    );
}

#[test]
fn a_failed_node_is_asked_again_at_another_address_only() {
    let mut rng = Rng::new(&[4; 32], "again");
    let (teller, told) = (contact(&mut rng), contact(&mut rng));
    let mut lookup = Lookup::new(OWN, OWN, alloc::vec![teller.clone(), told.clone()]);
    assert!(matches!(
        (lookup.next(Time(0)), lookup.next(Time(0))),
        (Next::Query(_), Next::Query(_))
    ));
    lookup.on_failure(&told.key);
    let mut moved = told.clone();
    moved.addrs[0].port += 1;
    lookup.on_reply(&teller.key, named([&told, &moved]));
    let addrs = [told.addrs[0].clone(), moved.addrs[0].clone()];
    assert!(matches!(lookup.next(Time(0)), Next::Query(again) if again.addrs == addrs));
}
