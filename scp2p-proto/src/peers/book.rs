//! The address book: who was met, where it was reached, and how it behaved.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;

use crate::id::NodeKey;
use crate::io::Transport;
use crate::limits::{BOOK_ADDRS_MAX, BOOK_PEERS_MAX, PLACES_WANTED};
use crate::netgroup::{Scope, scope};
use crate::time::UnixTime;
use crate::wire::cbor::{DecodeError, Field, Reader, Writer};
use crate::wire::{PeerAddr, Profile};
use crate::wish::Conduct;

/// The best and the worst a peer can be thought of.
const SCORE_MAX: i32 = 100;
/// A peer thought worse of than this is not dialled and not let in.
const SCORE_SHUNNED: i32 = -50;

/// Slowness alone makes nobody thought worse of than this: many calls that time out may be one
/// hiccup of the way, and one wrong chunk on top of it may be an accident.
const SCORE_SLOW: i32 = -15;

/// All peers known, bounded.
#[derive(Default)]
pub(super) struct Book {
    peers: BTreeMap<NodeKey, Record>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Record {
    /// Newest first; reached ones before merely heard of.
    pub addrs: Vec<Known>,
    /// It was seen bound once, so it is a node like ours and never comes unbound.
    pub ours: bool,
    /// It takes part in the DHT, as it says.
    pub dht: bool,
    /// It relays, as it says.
    pub relay: bool,
    /// The hello profile that worked last.
    pub profile: Option<Profile>,
    /// Transports of which it told no port last, as it cannot be reached over them from outside its network.
    pub untold: [Option<Transport>; 2],
    pub last_seen: Option<UnixTime>,
    pub score: i32,
    /// When the score was last moved towards zero.
    pub forgiven: UnixTime,
}

/// An address of a peer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub addr: PeerAddr,
    /// When it last answered there with its key.
    pub reached: Option<UnixTime>,
}

impl Book {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn peer(&self, key: &NodeKey) -> Option<&Record> {
        self.peers.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeKey, &Record)> {
        self.peers.iter()
    }

    /// All peers, those of this key and greater ones first.
    pub(super) fn from(&self, key: NodeKey) -> impl Iterator<Item = (&NodeKey, &Record)> {
        self.peers.range(key..).chain(self.peers.range(..key))
    }

    /// The record of a peer that we have to do with; made if it is new.
    pub(super) fn entry(&mut self, key: NodeKey) -> &mut Record {
        if !self.peers.contains_key(&key) {
            self.make_room();
        }
        self.peers.entry(key).or_default()
    }

    pub(super) fn insert(&mut self, key: NodeKey, record: Record) {
        *self.entry(key) = record;
    }

    /// Somebody says that this peer is there. Reached addresses are never displaced. True if it was not known.
    pub(super) fn heard_of(&mut self, key: NodeKey, addr: PeerAddr) -> bool {
        let is_new = !self.peers.contains_key(&key);
        let record = self.entry(key);
        let known = record.addrs.iter().any(|known| known.addr == addr);
        if !known && addr.relay_via.is_some() {
            record.make_room_for_route();
        }
        if !known && record.addrs.len() < BOOK_ADDRS_MAX {
            record.addrs.push(Known {
                addr,
                reached: None,
            });
        }
        is_new
    }

    /// A peer announced at this time that it relays, at this address. True if it was not known to. What it said in a later
    /// session goes before that.
    pub(super) fn heard_of_relay(&mut self, key: NodeKey, addr: PeerAddr, at: UnixTime) -> bool {
        self.heard_of(key, addr);
        let record = self.entry(key);
        let is_news = !record.relay && record.last_seen.is_none_or(|seen| seen < at);
        record.relay |= is_news;
        is_news
    }

    /// The peer answered at this address.
    pub(super) fn reached(&mut self, key: NodeKey, addr: PeerAddr, now: UnixTime) {
        let record = self.entry(key);
        record.addrs.retain(|known| known.addr != addr);
        if record.addrs.len() >= BOOK_ADDRS_MAX && !record.forget_spare() {
            record.addrs.pop();
        }
        record.addrs.insert(
            0,
            Known {
                addr,
                reached: Some(now),
            },
        );
        record.last_seen = Some(now);
    }

    /// Notes how a peer behaved. What is not in the book is no peer, but the name of a slot.
    pub(super) fn judge(&mut self, key: NodeKey, conduct: Conduct, now: UnixTime) {
        let Some(record) = self.peers.get_mut(&key) else {
            return;
        };
        record.forgive(now);
        let score = match conduct {
            Conduct::Good => record.score + 1,
            Conduct::Slow => record.score.min((record.score - 2).max(SCORE_SLOW)),
            Conduct::Corrupt | Conduct::Offence => record.score - 30,
        };
        record.score = score.clamp(-SCORE_MAX, SCORE_MAX);
    }

    pub(super) fn is_shunned(&mut self, key: &NodeKey, now: UnixTime) -> bool {
        let Some(record) = self.peers.get_mut(key) else {
            return false;
        };
        record.forgive(now);
        record.score <= SCORE_SHUNNED
    }

    /// Forgets the peer that is least worth knowing when the book is full.
    fn make_room(&mut self) {
        if self.peers.len() < BOOK_PEERS_MAX {
            return;
        }
        let least = self
            .peers
            .iter()
            .min_by_key(|(_, record)| (record.last_seen, record.score))
            .map(|(key, _)| *key);
        if let Some(least) = least {
            self.peers.remove(&least);
        }
    }
}

impl Record {
    /// Whether there may be a place at it: a deployed peer that relays gives none.
    pub(super) fn may_relay(&self) -> bool {
        self.relay && (self.ours || self.last_seen.is_none())
    }

    /// How much it is preferred to others, by what it did: twice as much if it was reached before.
    pub(super) fn esteem(&self, now: UnixTime) -> u64 {
        let score = self.score_at(now).saturating_sub(SCORE_SHUNNED).max(1);
        let is_reached = self.addrs.iter().any(|known| known.reached.is_some());
        u64::from(score.unsigned_abs()) * if is_reached { 2 } else { 1 }
    }

    /// Forgets the oldest of the ways through relays if there are many: those change as relays come and go. If there are
    /// few, an address at which the peer was never reached gives way: who names relays cannot be dialled by most.
    fn make_room_for_route(&mut self) {
        let routes = |record: &Record| {
            let via = |known: &Known| known.addr.relay_via.is_some();
            let first = record.addrs.iter().position(via);
            (
                first,
                record.addrs.iter().filter(|known| via(known)).count(),
            )
        };
        if let (Some(oldest), PLACES_WANTED..) = routes(self) {
            self.addrs.remove(oldest);
        } else if self.addrs.len() >= BOOK_ADDRS_MAX {
            self.forget_spare();
        }
    }

    /// Forgets an address that is no way through a relay and was never reached, if there is one.
    fn forget_spare(&mut self) -> bool {
        let is_spare = |known: &Known| known.reached.is_none() && known.addr.relay_via.is_none();
        let last = self.addrs.iter().rposition(is_spare);
        last.map(|last| self.addrs.remove(last)).is_some()
    }

    /// Addresses that answered after `since` and may be handed on, best to dial first.
    pub(super) fn reached_since(&self, since: UnixTime) -> impl Iterator<Item = &PeerAddr> {
        self.addrs
            .iter()
            .filter(move |known| known.reached.is_some_and(|at| at >= since))
            .map(|known| &known.addr)
            .filter(|addr| !self.is_untold(addr))
    }

    /// Where it listens over TCP at this IP, as far as it says.
    pub(super) fn over_tcp_at(&self, ip: IpAddr) -> Option<&PeerAddr> {
        let mut addrs = self.addrs.iter().map(|known| &known.addr);
        addrs.find(|addr| {
            let is_own = addr.ip == ip && addr.relay_via.is_none();
            is_own && addr.transport == Transport::Tcp && !self.is_untold(addr)
        })
    }

    /// Whether it says that nobody reaches it there.
    fn is_untold(&self, addr: &PeerAddr) -> bool {
        scope(&addr.ip) == Scope::World && self.untold.contains(&Some(addr.transport))
    }

    /// All addresses in the order of dialling: reached before heard of, QUIC before TCP.
    pub(super) fn dial_order(&self) -> Vec<&Known> {
        let mut addrs: Vec<&Known> = self.addrs.iter().collect();
        addrs.sort_by_key(|known| {
            (
                known.addr.relay_via.is_some(),
                known.reached.is_none(),
                known.addr.transport == Transport::Tcp,
            )
        });
        addrs
    }

    /// The row that keeps what is worth keeping: reached addresses and experience.
    pub(super) fn encode(&self) -> Bytes {
        let reached: Vec<&Known> = self
            .addrs
            .iter()
            .filter(|known| known.reached.is_some())
            .collect();
        let mut w = Writer::new();
        w.map(8);
        w.uint(0u8).list(&reached, |w, known| {
            w.map(2);
            w.uint(0u8);
            known.addr.write(w);
            w.uint(1u8).uint_or_null(known.reached.map(|at| at.0));
        });
        w.uint(1u8).bool(self.ours);
        w.uint(2u8).bool(self.dht);
        w.uint(3u8).uint_or_null(self.profile.map(profile_code));
        w.uint(4u8).uint_or_null(self.last_seen.map(|at| at.0));
        // CBOR's unsigned integers: the score is moved into their range.
        w.uint(5u8)
            .uint(self.score.saturating_add(SCORE_MAX).unsigned_abs());
        w.uint(6u8).uint(self.forgiven.0);
        w.uint(7u8).bool(self.relay);
        w.finish().into()
    }

    pub(super) fn decode(row: &Bytes) -> Result<Record, DecodeError> {
        let mut addrs = Field::new("addrs");
        let (mut ours, mut dht, mut profile) =
            (Field::new("ours"), Field::new("dht"), Field::new("profile"));
        let (mut seen, mut score, mut forgiven) = (
            Field::new("seen"),
            Field::new("score"),
            Field::new("forgiven"),
        );
        let mut relay = Field::new("relay");
        Reader::new(row).int_map(|key, r| match key {
            0 => addrs.first(r, |r, _| r.list_cut(BOOK_ADDRS_MAX, read_known)),
            1 => ours.first(r, Reader::bool),
            2 => dht.first(r, Reader::bool),
            3 => profile.first(r, Reader::u8),
            4 => seen.first(r, Reader::time),
            5 => score.first(r, Reader::u32),
            6 => forgiven.first(r, Reader::time),
            7 => relay.first(r, Reader::bool),
            _ => r.skip(),
        })?;
        let score = i32::try_from(score.required()?).unwrap_or(0);
        Ok(Record {
            addrs: addrs.required()?,
            ours: ours.required()?,
            dht: dht.required()?,
            relay: relay.optional().unwrap_or(false),
            profile: profile.optional().and_then(profile_of),
            untold: [None; 2],
            last_seen: seen.optional(),
            score: score.saturating_sub(SCORE_MAX).clamp(-SCORE_MAX, SCORE_MAX),
            forgiven: forgiven.required()?,
        })
    }

    /// Whether it is not dialled and not let in at this time.
    pub(super) fn is_shunned_at(&self, now: UnixTime) -> bool {
        self.score_at(now) <= SCORE_SHUNNED
    }

    /// Scores return to zero by one in ten minutes.
    fn score_at(&self, now: UnixTime) -> i32 {
        let steps = i32::try_from(now.since(self.forgiven) / 600).unwrap_or(i32::MAX);
        if self.score < 0 {
            self.score.saturating_add(steps).min(0)
        } else {
            self.score.saturating_sub(steps).max(0)
        }
    }

    fn forgive(&mut self, now: UnixTime) {
        if now.since(self.forgiven) >= 600 {
            self.score = self.score_at(now);
            self.forgiven = now;
        }
    }
}

fn read_known(r: &mut Reader<'_>) -> Result<Known, DecodeError> {
    let (mut addr, mut reached) = (Field::new("addr"), Field::new("reached"));
    r.int_map(|key, r| match key {
        0 => addr.first(r, |r, _| PeerAddr::read(r)),
        1 => reached.first(r, Reader::time),
        _ => r.skip(),
    })?;
    Ok(Known {
        addr: addr.required()?,
        reached: reached.optional(),
    })
}

fn profile_code(profile: Profile) -> u8 {
    match profile {
        Profile::A => 0,
        Profile::B => 1,
        Profile::C => 2,
    }
}

fn profile_of(code: u8) -> Option<Profile> {
    match code {
        0 => Some(Profile::A),
        1 => Some(Profile::B),
        2 => Some(Profile::C),
        _ => None,
    }
}

#[cfg(any(test, feature = "check"))]
impl Book {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most("peers in the book", self.peers.len(), BOOK_PEERS_MAX);
        for (key, record) in &self.peers {
            broken.at_most("addresses of a peer", record.addrs.len(), BOOK_ADDRS_MAX);
            let mut rest = record.addrs.as_slice();
            while let [known, others @ ..] = rest {
                broken.unless(others.iter().all(|other| other.addr != known.addr), || {
                    alloc::format!("an address of {key} is in the book twice")
                });
                rest = others;
            }
            broken.unless(record.score.abs() <= SCORE_MAX, || {
                alloc::format!("{key} has a score of {}", record.score)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Transport;
    use crate::wire::{CIRCUIT_SLOT, RelayRoute};
    use alloc::boxed::Box;
    use core::net::{IpAddr, Ipv4Addr};

    fn addr(port: u16, transport: Transport) -> PeerAddr {
        PeerAddr {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port,
            transport,
            key: None,
            relay_via: None,
        }
    }

    fn route(port: u16) -> PeerAddr {
        PeerAddr {
            relay_via: Some(Box::new(RelayRoute {
                relay: addr(port, Transport::Quic),
                slot: CIRCUIT_SLOT,
            })),
            ..addr(port, Transport::Quic)
        }
    }

    #[test]
    fn an_address_that_is_reached_displaces_no_way_through_a_relay() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        for port in 1..BOOK_ADDRS_MAX as u16 {
            book.heard_of(key, addr(port, Transport::Tcp));
        }
        let route = route(100);
        book.heard_of(key, route.clone());
        book.reached(key, addr(200, Transport::Quic), UnixTime(5));
        let record = book.entry(key);
        assert_eq!(record.addrs.len(), BOOK_ADDRS_MAX);
        assert!(record.addrs.iter().any(|known| known.addr == route));
    }

    #[test]
    fn a_record_survives_its_row_without_what_was_only_heard_of() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        book.reached(key, addr(1, Transport::Tcp), UnixTime(5));
        book.heard_of(key, addr(2, Transport::Tcp));
        book.judge(key, Conduct::Corrupt, UnixTime(5));
        let record = book.entry(key);
        record.profile = Some(Profile::A);
        let read = Record::decode(&record.encode()).expect("a row of ours");
        record.addrs.truncate(1);
        assert_eq!(&read, record);
    }

    #[test]
    fn nobody_is_shunned_for_being_slow() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        book.heard_of(key, addr(1, Transport::Quic));
        let mut judge = |conduct, times: u32| {
            for _ in 0..times {
                book.judge(key, conduct, UnixTime(5));
            }
            book.is_shunned(&key, UnixTime(5))
        };
        assert!(!judge(Conduct::Slow, 1000));
        assert!(!judge(Conduct::Corrupt, 1));
        assert!(!judge(Conduct::Slow, 1000));
        assert!(judge(Conduct::Corrupt, 1));
    }

    #[test]
    fn reached_addresses_are_dialled_first_and_quic_before_tcp() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        book.heard_of(key, addr(1, Transport::Quic));
        book.reached(key, addr(2, Transport::Tcp), UnixTime(5));
        book.reached(key, addr(3, Transport::Quic), UnixTime(6));
        let ports: Vec<u16> = book
            .entry(key)
            .dial_order()
            .iter()
            .map(|known| known.addr.port)
            .collect();
        assert_eq!(ports, [3, 2, 1]);
    }

    #[test]
    fn a_way_through_a_relay_displaces_an_address_that_nobody_answered_at() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        book.reached(key, addr(1, Transport::Quic), UnixTime(5));
        for port in 2..20 {
            book.heard_of(key, addr(port, Transport::Quic));
        }
        let routes = PLACES_WANTED as u16;
        for n in 0..=routes {
            book.heard_of(key, route(100 + n));
        }
        // Named again, it displaces nothing.
        book.heard_of(key, addr(8, Transport::Quic));
        let known = book.peer(&key).map(|record| record.addrs.as_slice());
        let ports = known.iter().flat_map(|addrs| addrs.iter());
        let ports: Vec<u16> = ports.map(|known| known.addr.port).collect();
        let direct = 1..=BOOK_ADDRS_MAX as u16 - routes;
        assert_eq!(
            ports,
            direct.chain(101..=100 + routes).collect::<Vec<u16>>()
        );
    }

    #[test]
    fn relays_that_were_reached_and_behaved_well_are_preferred() {
        let [good, new, slow] = [1, 2, 3].map(|n| NodeKey([n; 32]));
        let mut book = Book::default();
        for relay in [good, new, slow] {
            assert!(book.heard_of_relay(relay, addr(1, Transport::Quic), UnixTime(5)));
            assert!(!book.heard_of_relay(relay, addr(2, Transport::Quic), UnixTime(5)));
        }
        book.reached(good, addr(1, Transport::Quic), UnixTime(5));
        book.judge(good, Conduct::Good, UnixTime(5));
        book.judge(slow, Conduct::Slow, UnixTime(5));
        let esteem = |relay| book.peer(&relay).map(|record| record.esteem(UnixTime(5)));
        assert!(esteem(good) > esteem(new) && esteem(new) > esteem(slow));
    }

    #[test]
    fn what_a_peer_said_in_a_session_goes_before_what_it_announced_earlier() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        book.reached(key, addr(1, Transport::Quic), UnixTime(10));
        assert!(!book.heard_of_relay(key, addr(1, Transport::Quic), UnixTime(10)));
        assert!(book.heard_of_relay(key, addr(1, Transport::Quic), UnixTime(11)));
        assert!(!book.entry(key).may_relay(), "a deployed peer");
        book.entry(key).ours = true;
        assert!(book.entry(key).may_relay());
    }

    /// Nothing in an announcement says that a relay is a deployed one; that it is is remembered once it was met.
    #[test]
    fn a_deployed_relay_that_announces_itself_is_dialled_once() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        book.heard_of_relay(key, addr(1, Transport::Quic), UnixTime(5));
        assert!(book.entry(key).may_relay());
        book.reached(key, addr(1, Transport::Quic), UnixTime(6));
        assert!(!book.entry(key).may_relay());
        let row = book.entry(key).encode();
        let mut restarted = Book::default();
        restarted.insert(key, Record::decode(&row).expect("a row of ours"));
        restarted.heard_of_relay(key, addr(1, Transport::Quic), UnixTime(3600));
        assert!(!restarted.entry(key).may_relay());
    }

    #[test]
    fn corrupt_peers_are_shunned_for_a_while() {
        let key = NodeKey([1; 32]);
        let mut book = Book::default();
        book.heard_of(key, addr(1, Transport::Quic));
        book.judge(key, Conduct::Corrupt, UnixTime(0));
        assert!(!book.is_shunned(&key, UnixTime(1)));
        book.judge(key, Conduct::Corrupt, UnixTime(1));
        assert!(book.is_shunned(&key, UnixTime(2)));
        assert!(!book.is_shunned(&key, UnixTime(7200)));
    }
}
