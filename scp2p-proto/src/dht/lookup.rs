//! Finding the nodes closest to a target by asking ever closer ones (SPECIFICATION §6).

#[cfg(test)]
mod tests;

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
        match known.state {
            State::Heard => {
                known.is_named_by(namer, &self.credits);
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
