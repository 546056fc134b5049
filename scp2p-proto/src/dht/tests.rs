//! The component alone: the test plays disk and peers.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::{Contact, Dht};
use crate::config::Config;
use crate::cx::{self, Act, Acts, CallError, ConnectError, Cx, Outcome, Receipt};
use crate::id::{ContentId, DhtKey, LinkId, ManifestId, NodeKey, ShareId, ShareKey};
use crate::io::Transport;
use crate::keys::Keys;
use crate::limits::{SEARCHES_WAITING_MAX, VALUE_REQUESTS_MAX};
use crate::record::{Providers, ShareHead, head_key, providers_key};
use crate::rng::Rng;
use crate::session::{Roster, Session, Ticket};
use crate::storage::{Load, Loaded, RowOp, Saved, StoreError, Table};
use crate::time::{Now, Time, UnixTime};
use crate::view::Stats;
use crate::wire::{Answer, PeerAddr, Request, StoreRecord};
use crate::wish::{Want, Wish};

const PEER: NodeKey = NodeKey([9; 32]);

struct Bench {
    dht: Dht,
    now: Now,
    roster: Roster,
    config: Config,
    keys: Keys,
    acts: Acts,
    rows: BTreeMap<(Table, Bytes), Bytes>,
    loads: VecDeque<(Bytes, cx::Tag)>,
    calls: VecDeque<(NodeKey, Request, cx::Tag)>,
    replies: Vec<Result<Answer, String>>,
    /// Where peers are to be tried.
    probes: Vec<PeerAddr>,
    /// How many lookups and stores of siblings ended.
    ended: usize,
}

impl Bench {
    fn new() -> Bench {
        let keys = Keys::from_seed([1; 32]);
        let now = Now {
            mono: Time(1_000_000_000),
            unix: UnixTime(1_700_000_000),
        };
        let rng = Rng::new(&[1; 32], "dht");
        Bench {
            dht: Dht::new(&keys, rng, &Saved::default(), now),
            now,
            roster: Roster::default(),
            config: Config::default(),
            keys,
            acts: Acts::default(),
            rows: BTreeMap::new(),
            loads: VecDeque::new(),
            calls: VecDeque::new(),
            replies: Vec::new(),
            probes: Vec::new(),
            ended: 0,
        }
    }

    fn act(&mut self, what: impl FnOnce(&mut Dht, &mut Cx<'_>)) {
        let mut cx = Cx {
            now: self.now,
            config: &self.config,
            keys: &self.keys,
            roster: &self.roster,
            acts: &mut self.acts,
        };
        what(&mut self.dht, &mut cx);
        for op in core::mem::take(&mut self.acts.batch.rows) {
            match op {
                RowOp::Put(table, key, value) => self.rows.insert((table, key), value),
                RowOp::Delete(table, key) => self.rows.remove(&(table, key)),
            };
        }
        for act in core::mem::take(&mut self.acts.queue) {
            match act {
                Act::Load(Load::Row(Table::Values, key), tag) => self.loads.push_back((key, tag)),
                Act::Call {
                    peer, request, tag, ..
                } => self.calls.push_back((peer, request, tag)),
                Act::Answer(_, answer) => self.replies.push(Ok(answer)),
                Act::Refuse(_, text) => self.replies.push(Err(text)),
                Act::Outcome(..) => self.ended += 1,
                Act::Wish(Wish::Probe(addrs)) => self.probes.extend(addrs),
                Act::Load(..)
                | Act::Write(..)
                | Act::Release(_)
                | Act::Close { .. }
                | Act::Dial { .. }
                | Act::Circuit(..)
                | Act::Link(..)
                | Act::DialCircuit { .. }
                | Act::Turn(_)
                | Act::Tunnel(..)
                | Act::OpenTunnel { .. }
                | Act::Reach { .. }
                | Act::Unconnected(..)
                | Act::OwnAddrs(_)
                | Act::Wish(_)
                | Act::Done(..)
                | Act::Event(_) => {}
            }
        }
    }

    fn outcome(&mut self, tag: cx::Tag, outcome: Outcome) {
        let cx::Tag::Dht(tag) = tag else {
            panic!("asked by another component: {tag:?}")
        };
        self.act(|dht, cx| dht.on_outcome(cx, tag, outcome));
    }

    /// The disk answers all loads.
    fn read(&mut self) {
        while let Some((key, tag)) = self.loads.pop_front() {
            let row = self.rows.get(&(Table::Values, key)).cloned();
            self.outcome(tag, Outcome::Loaded(Ok(Loaded::Row(row))));
        }
    }

    /// All calls end like this, and those made for that, too.
    fn end_calls(&mut self, answer: &Result<Answer, CallError>) {
        while let Some((from, _, tag)) = self.calls.pop_front() {
            let (answer, receipt) = (answer.clone(), Receipt::NONE);
            let outcome = Outcome::Answer {
                from,
                answer,
                receipt,
            };
            self.outcome(tag, outcome);
        }
    }

    fn pass(&mut self, secs: u64) {
        self.now.mono = self.now.mono + Duration::from_secs(secs);
        self.now.unix = self.now.unix.plus(secs);
        self.act(|dht, cx| dht.on_time(cx));
    }

    fn store(&mut self, from: NodeKey, record: StoreRecord) {
        self.act(|dht, cx| dht.on_store(cx, from, ticket(), record));
    }

    fn stored(&mut self, record: StoreRecord) -> Result<Answer, String> {
        self.store(PEER, record);
        self.read();
        self.replies.pop().expect("a reply")
    }

    fn find(&mut self, key: DhtKey) -> Option<StoreRecord> {
        self.act(|dht, cx| dht.on_find_value(cx, PEER, ticket(), key));
        self.read();
        match self.replies.pop() {
            Some(Ok(Answer::Found(found))) => found.record,
            other => panic!("not an answer to FIND_VALUE: {other:?}"),
        }
    }

    fn add_contact(&mut self, key: NodeKey) {
        self.act(|dht, cx| dht.add_contact(cx, Contact::new(key, [addr(key)].into())));
    }

    /// A deployed bootstrap peer that we dialled.
    fn add_hub(&mut self, key: NodeKey) {
        let session = Session::dialled(LinkId(1), None, self.now.mono);
        self.roster.add(key, session);
        self.act(|dht, cx| dht.add_hub(cx, key));
    }
}

fn ticket() -> Ticket {
    Ticket {
        link: LinkId(1),
        req_id: 1,
        kind: 0,
    }
}

fn addr(key: NodeKey) -> PeerAddr {
    PeerAddr {
        ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, key.0[0])),
        port: 7000,
        transport: Transport::Quic,
        key: Some(key),
        relay_via: None,
    }
}

fn owner() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn head(seq: u64, ttl_secs: u64) -> StoreRecord {
    let signer = ShareKey(owner().verifying_key().to_bytes());
    let head = ShareHead {
        share: signer.share_id(),
        latest_seq: seq,
        latest_manifest: ManifestId([2; 32]),
        updated_at: UnixTime(1_700_000_000),
        signature: [0; 64],
    };
    StoreRecord {
        key: head_key(&head.share),
        value: head.sign(&owner()).encode().into(),
        ttl_secs,
        signer: Some(signer),
    }
}

fn providers(content: ContentId, peer: NodeKey) -> StoreRecord {
    let list = Providers {
        content,
        providers: [addr(peer)].into(),
        updated_at: UnixTime(1_700_000_000),
    };
    StoreRecord {
        key: providers_key(&content),
        value: list.encode().into(),
        ttl_secs: 86_400,
        signer: None,
    }
}

fn unattended() -> cx::Tag {
    crate::catalogs::Tag::Unattended.into()
}

#[test]
fn a_head_lives_as_long_as_its_owner_stores_it_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.stored(head(3, 1000)), Ok(Answer::Ack));
    bench.pass(900);
    assert_eq!(bench.stored(head(3, 1000)), Ok(Answer::Ack));
    bench.pass(900);
    let found = bench.find(head(3, 0).key).expect("still kept");
    assert_eq!((found.value, found.ttl_secs), (head(3, 0).value, 100));
    bench.pass(101);
    assert_eq!(bench.find(head(3, 0).key), None);
}

#[test]
fn nobody_ends_a_value_early() {
    let mut bench = Bench::new();
    assert_eq!(bench.stored(head(3, 100_000)), Ok(Answer::Ack));
    assert_eq!(bench.stored(head(3, 60)), Ok(Answer::Ack));
    assert_eq!(bench.stored(head(2, 60)), Ok(Answer::Ack));
    bench.pass(61);
    let found = bench.find(head(3, 0).key).expect("still kept");
    assert_eq!(found.value, head(3, 0).value);
}

#[test]
fn a_forged_head_is_refused_once_the_key_is_known() {
    let mut bench = Bench::new();
    assert_eq!(bench.stored(head(3, 1000)), Ok(Answer::Ack));
    let mut forged = ShareHead::decode(&head(9, 0).value).expect("a head");
    forged.signature = [1; 64];
    let record = StoreRecord {
        value: forged.encode().into(),
        signer: None,
        ..head(9, 1000)
    };
    assert!(bench.stored(record).is_err());
    let found = bench.find(head(3, 0).key).expect("kept");
    assert_eq!(found.value, head(3, 0).value);
}

#[test]
fn only_who_knows_that_a_value_is_current_stores_it_at_hubs() {
    let mut bench = Bench::new();
    let (hub, contact) = (NodeKey([7; 32]), NodeKey([8; 32]));
    bench.add_hub(hub);
    bench.add_contact(contact);
    let stores = |bench: &mut Bench| {
        let mut to = Vec::new();
        for _ in 0..20 {
            let calls = core::mem::take(&mut bench.calls);
            for (from, request, tag) in calls {
                let answer = if let Request::Store(record) = &request {
                    to.push((from, record.signer.is_some()));
                    Ok(Answer::Ack)
                } else {
                    Ok(Answer::Peers(Vec::new()))
                };
                let receipt = Receipt::NONE;
                bench.outcome(
                    tag,
                    Outcome::Answer {
                        from,
                        answer,
                        receipt,
                    },
                );
            }
            bench.read();
        }
        to
    };
    assert_eq!(bench.stored(head(3, 100_000)), Ok(Answer::Ack));
    bench.pass(3700);
    bench.pass(100);
    assert_eq!(stores(&mut bench), [(contact, true)]);
    let StoreRecord { key, value, .. } = head(4, 0);
    bench.act(|dht, cx| dht.store(cx, key, value, 1000, unattended()));
    let mut own = stores(&mut bench);
    own.sort();
    assert_eq!(own, [(hub, true), (contact, true)]);
    assert_eq!(bench.ended, 1);
}

#[test]
fn stores_that_wait_for_one_list_are_bounded_and_each_is_answered() {
    let mut bench = Bench::new();
    let content = ContentId([3; 32]);
    for _ in 0..VALUE_REQUESTS_MAX * 2 {
        bench.store(PEER, providers(content, PEER));
    }
    assert_eq!(bench.loads.len(), 1);
    let refused = bench.replies.len();
    assert!(refused >= VALUE_REQUESTS_MAX, "{refused} were refused");
    bench.read();
    assert_eq!(bench.replies.len(), VALUE_REQUESTS_MAX * 2);
}

#[test]
fn a_list_that_cannot_be_read_is_not_lost() {
    let mut bench = Bench::new();
    let content = ContentId([3; 32]);
    let other = NodeKey([4; 32]);
    assert_eq!(bench.stored(providers(content, PEER)), Ok(Answer::Ack));
    bench.store(other, providers(content, other));
    let (_, tag) = bench.loads.pop_front().expect("it is read");
    let failed = StoreError::Failed("broken".into());
    bench.outcome(tag, Outcome::Loaded(Err(failed)));
    assert!(bench.replies.pop().expect("a reply").is_err());
    assert_eq!(bench.stored(providers(content, other)), Ok(Answer::Ack));
    let found = bench.find(providers_key(&content)).expect("kept");
    let list = Providers::decode(&found.value).expect("a list");
    assert_eq!(list.providers, [addr(PEER), addr(other)]);
}

#[test]
fn what_we_serve_is_found_though_nobody_stored_it() {
    let mut bench = Bench::new();
    let (content, own) = (ContentId([3; 32]), bench.keys.public());
    bench.roster.own_addrs = [addr(own)].into();
    bench.dht.offered(&[content]);
    let found = bench.find(providers_key(&content)).expect("told");
    let list = Providers::decode(&found.value).expect("a list");
    assert_eq!(list.providers, [addr(own)]);
    bench.dht.withdrawn(&[content]);
    assert_eq!(bench.find(providers_key(&content)), None);
}

#[test]
fn many_lookups_end_when_the_last_contact_is_gone() {
    let mut bench = Bench::new();
    bench.add_contact(PEER);
    let lookups = SEARCHES_WAITING_MAX;
    for n in 0..lookups as u32 {
        let mut key = DhtKey([0; 32]);
        key.0[..4].copy_from_slice(&n.to_be_bytes());
        bench.act(|dht, cx| dht.lookup(cx, key, Want::Head, unattended()));
    }
    bench.end_calls(&Err(CallError::Connect(ConnectError::Unreachable)));
    assert_eq!(bench.ended, lookups);
}

#[test]
fn a_contact_makes_room_only_if_it_is_gone() {
    for (error, stays) in [
        (CallError::TimedOut, false),
        (CallError::Busy, true),
        (CallError::Connect(ConnectError::Busy), true),
        (CallError::Refused { rate_limited: true }, true),
    ] {
        let (mut bench, newcomer) = with_a_full_bucket();
        assert!(bench.calls.is_empty(), "all were seen lately");
        bench.now.mono = bench.now.mono + STALE;
        bench.add_contact(newcomer);
        let stalest = bench.calls[0].0;
        bench.end_calls(&Err(error));
        assert_eq!(is_contact(&bench, stalest), stays);
        assert_eq!(bench.probes == [addr(newcomer)], !stays);
    }
}

/// Nobody is dialled only to be turned away.
#[test]
fn who_would_not_become_a_contact_is_not_probed() {
    let (mut bench, newcomer) = with_a_full_bucket();
    let offer = |bench: &mut Bench, key: NodeKey| {
        let contact = Contact::new(key, [addr(key)].into());
        bench.act(|dht, cx| dht.candidate(cx, contact));
    };
    offer(&mut bench, newcomer);
    assert!(bench.probes.is_empty() && bench.calls.is_empty(), "no room");
    bench.now.mono = bench.now.mono + STALE;
    offer(&mut bench, newcomer);
    let stalest = bench.calls[0].0;
    assert!(bench.probes.is_empty(), "there may be room");
    bench.end_calls(&Err(CallError::TimedOut));
    assert_eq!(bench.probes, [addr(newcomer)], "there is");
    assert!(!is_contact(&bench, stalest));
}

#[test]
fn contacts_that_are_connected_are_there_if_their_sessions_are_alive() {
    for (heard_after, answered, is_there) in [
        (Duration::from_secs(1), true, true),
        (Duration::ZERO, true, false),
        (STALE, false, false),
    ] {
        let (mut bench, newcomer) = with_a_full_bucket();
        let heard = bench.now.mono + heard_after;
        bench.now.mono = bench.now.mono + STALE;
        for key in (1..newcomer.0[0]).map(|n| NodeKey([n; 32])) {
            let session = Session::dialled(LinkId(0), Some(1), heard);
            bench.roster.add(key, session);
            if !answered {
                bench.act(|dht, cx| dht.drop_contact(cx, key));
            }
        }
        bench.act(Dht::on_time);
        bench.calls.clear();
        bench.add_contact(newcomer);
        assert_eq!(bench.calls.is_empty(), is_there);
    }
}

const STALE: Duration = Duration::from_secs(2 * 3600);

fn is_contact(bench: &Bench, key: NodeKey) -> bool {
    bench.dht.knows(&key)
}

/// And one for whom it has no room: half of all keys fall into the farthest bucket, so it is full soon.
fn with_a_full_bucket() -> (Bench, NodeKey) {
    let mut bench = Bench::new();
    let mut keys = (1..).map(|n| NodeKey([n; 32]));
    loop {
        let newcomer = keys.next().expect("a bucket is full before keys end");
        bench.add_contact(newcomer);
        if !is_contact(&bench, newcomer) {
            return (bench, newcomer);
        }
    }
}

#[test]
fn contacts_in_doubt_are_pinged_and_forgotten_if_they_are_gone() {
    for (answer, stays) in [(Ok(Answer::Ack), true), (Err(CallError::TimedOut), false)] {
        let mut bench = Bench::new();
        bench.add_contact(PEER);
        bench.pass(2);
        bench.end_calls(&Ok(Answer::Peers(Vec::new())));
        bench.act(|dht, cx| dht.on_down(cx, PEER));
        let is_named = |bench: &Bench| !bench.dht.closest_addrs(&PEER.node_id()).is_empty();
        assert!(!is_named(&bench));
        bench.pass(1000);
        let is_ping = |(to, request, _): &(NodeKey, Request, _)| {
            *to == PEER && matches!(request, Request::Ping)
        };
        assert!(bench.calls.iter().any(is_ping));
        bench.end_calls(&answer);
        assert_eq!(is_named(&bench), stays);
    }
}

#[test]
fn a_lookup_with_nobody_to_ask_ends_at_once_and_counts_as_none() {
    let mut bench = Bench::new();
    let key = head_key(&ShareId([7; 32]));
    bench.act(|dht, cx| dht.lookup(cx, key, Want::Head, unattended()));
    let mut stats = Stats::default();
    bench.dht.fill_stats(&mut stats);
    assert!(bench.ended == 1 && stats.lookups.is_empty());
}
