//! Finding the nodes closest to a target by asking ever closer ones (SPECIFICATION §6).

use alloc::collections::{BTreeMap, BTreeSet};
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

/// Whoever named so many more nodes that do not answer than nodes that do is doubted.
const VAIN_MAX: u32 = 4;
/// So many queries of a lookup may go to nodes named only by who is doubted.
const DOUBTED_MAX: u32 = 16;
/// How many of those who named a node are remembered.
const NAMERS_MAX: usize = 4;

/// One search for the 20 nodes closest to a target.
///
/// Anybody can name nodes that are not there, as close to the target as it likes. So nodes that nobody named but who
/// named several such come after all others, few of them are asked, and of one answer no more than 20 nodes count.
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
    /// What came of the nodes that somebody named.
    credits: BTreeMap<NodeKey, Credit>,
    asked: u32,
    queries: u32,
    /// Queries to nodes that were doubted.
    doubted: u32,
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
    /// Its slowness counts against those who named it.
    slow: bool,
    /// The first who named it, others in place of those who are doubted; nobody if it was known before.
    namers: Vec<NodeKey>,
}

/// Of the nodes that one node named.
#[derive(Debug, Clone, Copy, Default)]
struct Credit {
    answered: u32,
    /// Failed, or slow for now.
    vain: u32,
}

impl Credit {
    fn is_spent(self) -> bool {
        self.vain >= self.answered.saturating_add(VAIN_MAX)
    }
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
            credits: BTreeMap::new(),
            asked: 0,
            queries: 0,
            doubted: 0,
        };
        for seed in seeds {
            lookup.meet(seed, 1, None);
        }
        lookup
    }

    /// What it looks for.
    pub fn target(&self) -> NodeId {
        self.target
    }

    /// What to do next at `now`, which does not decrease. A contact that is given counts as asked from now on.
    pub fn next(&mut self, now: Time) -> Next {
        let slow = self.note_slow(now);
        let answered = self.closest_in_question(now);
        let answered = answered.filter(|(_, candidate)| candidate.state == State::Answered);
        if answered.count() == DHT_BUCKET_LEN {
            return Next::Done;
        }
        let next = self.first_to_ask(now);
        let Some((place, candidate)) = next.filter(|_| self.queries < LOOKUP_QUERIES_MAX) else {
            return match self.asked {
                0 => Next::Done,
                _ if self.has_others() => Next::Wait(self.slow_at(now)),
                _ => Next::Wait(None),
            };
        };
        if self.asked - slow >= LOOKUP_PARALLEL_MAX || self.asked >= LOOKUP_OPEN_MAX {
            return Next::Wait(self.slow_at(now));
        }
        let (place, contact) = (*place, candidate.contact.clone());
        self.doubted += u32::from(self.is_doubted(candidate));
        self.asked += 1;
        self.queries += 1;
        if let Some(candidate) = self.candidates.get_mut(&place) {
            candidate.state = State::Asked(now);
        }
        Next::Query(contact)
    }

    /// Those that have not failed and are not slow, the closest first.
    fn sound(&self, now: Time) -> impl Iterator<Item = (&Distance, &Candidate)> {
        let candidates = self.candidates.iter();
        candidates.filter(move |(_, candidate)| {
            candidate.state != State::Failed && !candidate.is_slow(now)
        })
    }

    /// The nodes that are to answer before the lookup is done.
    fn closest_in_question(&self, now: Time) -> impl Iterator<Item = (&Distance, &Candidate)> {
        let is_left_out = |candidate: &Candidate| {
            let is_enough = self.doubted >= DOUBTED_MAX;
            is_enough && candidate.state == State::Heard && self.is_doubted(candidate)
        };
        let sound = self.sound(now);
        let in_question = sound.filter(move |(_, candidate)| !is_left_out(candidate));
        in_question.take(DHT_BUCKET_LEN)
    }

    /// The closest that was not asked yet, doubted ones after all others.
    fn first_to_ask(&self, now: Time) -> Option<(&Distance, &Candidate)> {
        let is_heard = |(_, candidate): &(&Distance, &Candidate)| candidate.state == State::Heard;
        let trusted = self.sound(now);
        let trusted = trusted.filter(|(_, candidate)| !self.is_doubted(candidate));
        let first = trusted.take(DHT_BUCKET_LEN).find(is_heard);
        first.or_else(|| self.closest_in_question(now).find(is_heard))
    }

    /// How many queries are slow; those that were not so before count against whoever named the nodes.
    fn note_slow(&mut self, now: Time) -> u32 {
        let mut slow = 0;
        for candidate in self.candidates.values_mut() {
            if !candidate.is_slow(now) {
                continue;
            }
            slow += 1;
            if !core::mem::replace(&mut candidate.slow, true) {
                for namer in &candidate.namers {
                    self.credits.entry(*namer).or_default().vain += 1;
                }
            }
        }
        slow
    }

    /// Whether only those named a node who named too many that are not there.
    fn is_doubted(&self, candidate: &Candidate) -> bool {
        let is_spent = |namer| {
            self.credits
                .get(namer)
                .is_some_and(|credit| credit.is_spent())
        };
        candidate.state != State::Answered
            && !candidate.namers.is_empty()
            && candidate.namers.iter().all(is_spent)
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

    /// A node that was asked has named others and their addresses, of whom the first 20 count. Answers of nodes that
    /// were not asked have no effect.
    pub fn on_reply(
        &mut self,
        from: &NodeKey,
        named: impl IntoIterator<Item = (NodeKey, PeerAddr)>,
    ) {
        if let Some(hop) = self.end_query(from, State::Answered) {
            let mut heard = BTreeSet::new();
            for (key, addr) in named {
                if heard.len() < DHT_BUCKET_LEN || heard.contains(&key) {
                    heard.insert(key);
                    self.hear(key, addr, hop.saturating_add(1), *from);
                }
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
        let candidate = self.candidates.get_mut(place)?;
        if !candidate.is_asked() {
            return None;
        }
        candidate.state = state;
        self.asked = self.asked.saturating_sub(1);
        let was_slow = core::mem::replace(&mut candidate.slow, false);
        for namer in &candidate.namers {
            let credit = self.credits.entry(*namer).or_default();
            credit.vain -= u32::from(was_slow);
            credit.vain += u32::from(state == State::Failed);
            credit.answered += u32::from(state == State::Answered);
        }
        Some(candidate.hop)
    }

    fn hear(&mut self, key: NodeKey, addr: PeerAddr, hop: u32, namer: NodeKey) {
        let place = self.places.get(&key);
        let Some(known) = place.and_then(|place| self.candidates.get_mut(place)) else {
            return self.meet(Contact::new(key, Vec::from([addr])), hop, Some(namer));
        };
        if known.state == State::Heard {
            known.is_named_by(namer, &self.credits);
        }
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
    fn meet(&mut self, contact: Contact, hop: u32, namer: Option<NodeKey>) {
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
            slow: false,
            namers: namer.into_iter().collect(),
        };
        self.candidates.insert(place, candidate);
        self.forget_farthest();
    }

    /// Stay within the bound: those go first who are doubted. A node that was asked stays, its query will end.
    fn forget_farthest(&mut self) {
        if self.candidates.len() <= LOOKUP_CANDIDATES_MAX {
            return;
        }
        let farthest = || {
            let candidates = self.candidates.iter().rev();
            candidates.filter(|(_, candidate)| !candidate.is_asked())
        };
        let mut doubted = farthest().filter(|(_, candidate)| self.is_doubted(candidate));
        let place = doubted.next().or_else(|| farthest().next());
        let place = place.map(|(place, _)| *place);
        if let Some(forgotten) = place.and_then(|place| self.candidates.remove(&place)) {
            self.places.remove(&forgotten.contact.key);
        }
    }
}

impl Candidate {
    /// Somebody names it as well. Who is doubted makes room for others.
    fn is_named_by(&mut self, namer: NodeKey, credits: &BTreeMap<NodeKey, Credit>) {
        if self.namers.is_empty() || self.namers.contains(&namer) {
            return;
        }
        if self.namers.len() < NAMERS_MAX {
            return self.namers.push(namer);
        }
        let is_spent = |namer: &&mut NodeKey| credits.get(namer).is_some_and(|c| c.is_spent());
        if let Some(spent) = self.namers.iter_mut().find(is_spent) {
            *spent = namer;
        }
    }

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
        broken.at_most(
            "nodes that named others",
            self.credits.len(),
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
}
