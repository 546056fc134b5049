//! Finding the nodes closest to a target by asking ever closer ones (SPECIFICATION §6).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::distance::Distance;
use super::table::Contact;
use crate::id::{NodeId, NodeKey};
use crate::limits::{
    DHT_BUCKET_LEN, LOOKUP_CANDIDATES_MAX, LOOKUP_OPEN_MAX, LOOKUP_PARALLEL_MAX, LOOKUP_QUERIES_MAX,
};
use crate::time::Time;
use crate::wire::PeerAddr;

/// A query that has no answer by then makes room for another and is no longer waited for where enough others
/// answer, long before it is given up: who has left must not hold up the lookup.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// One search for the 20 nodes closest to a target.
///
/// The caller asks whom [`Lookup::next`] names and reports each answer, failure or lost session; every query must
/// end in one of them, so the caller has a deadline for each. It is done when the closest of all nodes that it
/// knows, those aside that failed or are slow, have answered, or when it has asked as often as it may.
#[derive(Debug, Clone)]
pub struct Lookup {
    own: NodeId,
    target: NodeId,
    candidates: BTreeMap<Distance, Candidate>,
    /// Where each of them is, as most nodes are named again and again and distances take a hash.
    places: BTreeMap<NodeKey, Distance>,
    asked: u32,
    queries: u32,
}

/// What a lookup wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask this node for the ones it knows closest to the target.
    Query(Contact),
    /// Nothing before one of the queries ends, or is so slow at this time that others need not wait for it.
    Wait(Option<Time>),
    /// Nothing any more.
    Done,
}

#[derive(Debug, Clone)]
struct Candidate {
    contact: Contact,
    state: State,
    /// 1 for a seed, one more than that of the node that named it for others.
    hop: u32,
    /// A session with it ended while it was asked.
    lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Heard,
    /// Since when.
    Asked(Time),
    Answered,
    Failed,
}

impl Lookup {
    /// A lookup by the node `own`, which is never asked itself, that starts from `seeds`.
    pub fn new(own: NodeId, target: NodeId, seeds: Vec<Contact>) -> Lookup {
        let mut lookup = Lookup {
            own,
            target,
            candidates: BTreeMap::new(),
            places: BTreeMap::new(),
            asked: 0,
            queries: 0,
        };
        for seed in seeds {
            lookup.meet(seed, 1);
        }
        lookup
    }

    /// What it looks for.
    pub fn target(&self) -> NodeId {
        self.target
    }

    /// What to do next at `now`, which does not decrease. A contact that is given counts as asked from now on.
    pub fn next(&mut self, now: Time) -> Next {
        let candidates = self.candidates.values();
        let slow = candidates
            .filter(|candidate| candidate.is_slow(now))
            .count() as u32;
        let sound = self
            .candidates
            .values_mut()
            .filter(|candidate| candidate.state != State::Failed && !candidate.is_slow(now));
        let (mut answered, mut next) = (0, None);
        for candidate in sound.take(DHT_BUCKET_LEN) {
            answered += usize::from(candidate.state == State::Answered);
            if candidate.state == State::Heard && next.is_none() {
                next = Some(candidate);
            }
        }
        if answered == DHT_BUCKET_LEN {
            return Next::Done;
        }
        let Some(candidate) = next.filter(|_| self.queries < LOOKUP_QUERIES_MAX) else {
            return match self.asked {
                0 => Next::Done,
                _ if self.has_others() => Next::Wait(self.slow_at(now)),
                _ => Next::Wait(None),
            };
        };
        if self.asked - slow >= LOOKUP_PARALLEL_MAX || self.asked >= LOOKUP_OPEN_MAX {
            return Next::Wait(self.slow_at(now));
        }
        candidate.state = State::Asked(now);
        self.asked += 1;
        self.queries += 1;
        Next::Query(candidate.contact.clone())
    }

    /// Whether there are more than are to answer, so that some may be left aside.
    fn has_others(&self) -> bool {
        let candidates = self.candidates.values();
        let left = candidates.filter(|candidate| candidate.state != State::Failed);
        left.count() > DHT_BUCKET_LEN
    }

    /// When the first of the queries will be slow that are not.
    fn slow_at(&self, now: Time) -> Option<Time> {
        let asked = self.candidates.values();
        let moments = asked.filter_map(Candidate::slow_at);
        moments.filter(|slow_at| *slow_at > now).min()
    }

    /// A node that was asked has named others and their addresses. Answers of nodes that were not asked have no
    /// effect.
    pub fn on_reply(
        &mut self,
        from: &NodeKey,
        named: impl IntoIterator<Item = (NodeKey, PeerAddr)>,
    ) {
        if let Some(hop) = self.end_query(from, State::Answered) {
            for (key, addr) in named {
                self.hear(key, addr, hop.saturating_add(1));
            }
        }
    }

    /// A node that was asked could not be reached or did not answer.
    pub fn on_failure(&mut self, from: &NodeKey) {
        self.end_query(from, State::Failed);
    }

    /// The session with a node that was asked ended before it answered. That says nothing about the node, as sessions
    /// may be long dead when they are used again, so it is asked once more.
    pub fn on_lost(&mut self, from: &NodeKey) {
        let place = self.places.get(from);
        let asked = place.and_then(|place| self.candidates.get_mut(place));
        if let Some(candidate) = asked.filter(|candidate| candidate.is_asked()) {
            let again = !core::mem::replace(&mut candidate.lost, true);
            self.end_query(from, if again { State::Heard } else { State::Failed });
        }
    }

    /// The closest nodes that have answered, at most 20, the closest first.
    pub fn closest(&self) -> Vec<Contact> {
        let answered = self
            .candidates
            .values()
            .filter(|candidate| candidate.state == State::Answered);
        answered
            .take(DHT_BUCKET_LEN)
            .map(|candidate| candidate.contact.clone())
            .collect()
    }

    /// How many queries were made; at most 80.
    pub fn queries(&self) -> u32 {
        self.queries
    }

    /// The longest way to a node that answered: 1 if it was known at the start, 2 if one of those
    /// named it, and so on; 0 if nobody answered.
    pub fn hops(&self) -> u32 {
        let answered = self
            .candidates
            .values()
            .filter(|candidate| candidate.state == State::Answered);
        answered.map(|candidate| candidate.hop).max().unwrap_or(0)
    }

    /// The hop of the node whose query ended; `None` if none was open.
    fn end_query(&mut self, from: &NodeKey, state: State) -> Option<u32> {
        let place = self.places.get(from)?;
        match self.candidates.get_mut(place) {
            Some(candidate) if candidate.is_asked() => {
                candidate.state = state;
                self.asked = self.asked.saturating_sub(1);
                Some(candidate.hop)
            }
            Some(_) | None => None,
        }
    }

    fn hear(&mut self, key: NodeKey, addr: PeerAddr, hop: u32) {
        let place = self.places.get(&key);
        let Some(known) = place.and_then(|place| self.candidates.get_mut(place)) else {
            return self.meet(Contact::new(key, Vec::from([addr])), hop);
        };
        match known.state {
            State::Heard => {
                known.contact.add_addrs([addr]);
            }
            // Whoever named it first may have lied about where it is. Since
            // addresses are few, it is not asked again for ever.
            State::Failed => {
                if known.contact.add_addrs([addr]) {
                    known.state = State::Heard;
                }
            }
            State::Asked(_) | State::Answered => {}
        }
    }

    /// A node not heard of before.
    fn meet(&mut self, contact: Contact, hop: u32) {
        if contact.id == self.own {
            return;
        }
        let place = Distance::between(&contact.id, &self.target);
        self.places.insert(contact.key, place);
        let state = State::Heard;
        let candidate = Candidate {
            contact,
            state,
            hop,
            lost: false,
        };
        self.candidates.insert(place, candidate);
        self.forget_farthest();
    }

    /// Stay within the bound. A node that was asked stays, its query will end.
    fn forget_farthest(&mut self) {
        if self.candidates.len() <= LOOKUP_CANDIDATES_MAX {
            return;
        }
        let mut farthest = self
            .candidates
            .iter()
            .rev()
            .filter(|(_, candidate)| !candidate.is_asked());
        let place = farthest.next().map(|(place, _)| *place);
        if let Some(forgotten) = place.and_then(|place| self.candidates.remove(&place)) {
            self.places.remove(&forgotten.contact.key);
        }
    }
}

impl Candidate {
    fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }

    /// When it will be slow, or was.
    fn slow_at(&self) -> Option<Time> {
        match self.state {
            State::Asked(since) => Some(since + SLOW_AFTER),
            State::Heard | State::Answered | State::Failed => None,
        }
    }

    fn is_slow(&self, now: Time) -> bool {
        self.slow_at().is_some_and(|slow_at| slow_at <= now)
    }
}

#[cfg(any(test, feature = "check"))]
impl Lookup {
    pub(crate) fn check(&self, broken: &mut crate::check::Broken) {
        let known = self.candidates.len();
        broken.at_most("nodes of a lookup", known, LOOKUP_CANDIDATES_MAX);
        let is_found = |(place, candidate): (&Distance, &Candidate)| {
            self.places.get(&candidate.contact.key) == Some(place)
        };
        let are_found = self.candidates.iter().all(is_found) && self.places.len() == known;
        broken.unless(are_found, || {
            "places of a lookup are not those of its nodes".into()
        });
        broken.at_most(
            "queries of a lookup",
            self.queries as usize,
            LOOKUP_QUERIES_MAX as usize,
        );
        let open = self.asked as usize;
        broken.at_most("open queries of a lookup", open, LOOKUP_OPEN_MAX as usize);
        let candidates = self.candidates.values();
        let asked = candidates.filter(|candidate| candidate.is_asked()).count() as u64;
        broken.equal(
            "open queries of a lookup and nodes asked",
            self.asked.into(),
            asked,
        );
    }

    /// Queries without an answer.
    pub(crate) fn open(&self) -> u32 {
        self.asked
    }
}

#[cfg(test)]
mod tests {
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
        fn run(
            &self,
            lookup: &mut Lookup,
            dead: &BTreeSet<NodeKey>,
            rng: &mut Rng,
        ) -> Vec<NodeKey> {
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
                            let closer =
                                self.tables[&key].closest(&lookup.target(), DHT_BUCKET_LEN);
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
}
