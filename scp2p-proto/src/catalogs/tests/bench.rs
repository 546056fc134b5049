//! A bench for tests: the component alone, with a disk in memory and everybody else played by the test.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::catalogs::{Catalogs, plan};
use crate::command::{CommandError, Publish, Reply};
use crate::config::Config;
use crate::cx::{self, Act, Acts, CallError, Cx, Outcome, Receipt};
use crate::event::Event;
use crate::id::{ContentId, LinkId, NodeKey, OpId, ShareId, ShareKey};
use crate::keys::Keys;
use crate::record::{Manifest, ShareHead, ShareLink};
use crate::rng::Rng;
use crate::session::{Roster, Session, Ticket};
use crate::storage::{
    FileRef, HashedFile, IndexOp, Load, Loaded, LocalPath, RowOp, Saved, ScannedFile, StoreError,
    Table,
};
use crate::time::{Now, Time, UnixTime};
use crate::wire::{Answer, HeadAnnounce, Request};
use crate::wish::{Found, Want, Wish};

/// The component and what it asked of others.
pub(super) struct Bench {
    pub catalogs: Catalogs,
    pub now: Now,
    pub roster: Roster,
    config: Config,
    keys: Keys,
    acts: Acts,
    pub rows: BTreeMap<(Table, Bytes), Bytes>,
    pub index: Vec<IndexOp>,
    /// Commits fail from now on.
    pub disk_fails: bool,
    /// Commits wait from now on.
    pub disk_waits: bool,
    waiting: Vec<(Vec<RowOp>, Vec<cx::Tag>)>,
    pub done: BTreeMap<OpId, Result<Reply, CommandError>>,
    pub events: Vec<Event>,
    /// Calls without an answer.
    pub calls: Vec<(NodeKey, Request, cx::Tag)>,
    pub wishes: Vec<Wish>,
    pub answers: Vec<Result<Answer, String>>,
    ops: u64,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::from_rows(BTreeMap::new(), 1)
    }

    /// What comes after `kill -9`: only rows are left.
    pub(super) fn restarted(self) -> Bench {
        Bench::from_rows(self.rows, 2)
    }

    fn from_rows(rows: BTreeMap<(Table, Bytes), Bytes>, seed: u8) -> Bench {
        let config = Config::default();
        let now = Now {
            mono: Time(1_000_000_000),
            unix: UnixTime(1_700_000_000),
        };
        let resident = rows.iter().filter(|((table, _), _)| table.resident());
        let saved = Saved {
            rows: resident
                .map(|((table, key), value)| (*table, key.clone(), value.clone()))
                .collect(),
        };
        let rng = Rng::new(&[seed; 32], "catalogs");
        let mut bench = Bench {
            catalogs: Catalogs::new(&config, rng, &saved, now),
            now,
            roster: Roster::default(),
            config,
            keys: Keys::from_seed([1; 32]),
            acts: Acts::default(),
            rows,
            index: Vec::new(),
            disk_fails: false,
            disk_waits: false,
            waiting: Vec::new(),
            done: BTreeMap::new(),
            events: Vec::new(),
            calls: Vec::new(),
            wishes: Vec::new(),
            answers: Vec::new(),
            ops: 0,
        };
        bench.act(|catalogs, cx| catalogs.start(cx));
        bench
    }

    /// Lets the component do something and carries out what it asks for.
    pub(super) fn act(&mut self, what: impl FnOnce(&mut Catalogs, &mut Cx<'_>)) {
        let mut cx = Cx {
            now: self.now,
            config: &self.config,
            keys: &self.keys,
            roster: &self.roster,
            acts: &mut self.acts,
        };
        what(&mut self.catalogs, &mut cx);
        self.commit();
        while let Some(act) = self.acts.queue.pop_front() {
            self.carry_out(act);
        }
    }

    /// Lets time pass, timer by timer.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        while let Some(at) = self.catalogs.deadline().filter(|at| *at <= end) {
            self.now.mono = at.max(self.now.mono);
            self.act(|catalogs, cx| catalogs.on_time(cx));
            assert!(
                self.catalogs
                    .deadline()
                    .is_none_or(|next| next > self.now.mono)
            );
        }
        self.now.mono = end;
    }

    pub(super) fn command(&mut self, what: impl FnOnce(&mut Catalogs, &mut Cx<'_>, OpId)) -> OpId {
        self.ops += 1;
        let op = OpId(self.ops);
        self.act(|catalogs, cx| what(catalogs, cx, op));
        op
    }

    pub(super) fn publish(&mut self, name: &str, files: &[&str]) -> OpId {
        let publish = Publish {
            name: name.to_string(),
            paths: files
                .iter()
                .map(|file| LocalPath(file.to_string()))
                .collect(),
            title: None,
            description: None,
            tags: None,
            visibility: None,
        };
        self.command(|catalogs, cx, op| catalogs.on_publish(cx, op, publish))
    }

    pub(super) fn subscribe(&mut self, owner: &Owner) -> OpId {
        let link = ShareLink {
            key: owner.key(),
            bootstrap: Vec::new(),
        };
        self.command(|catalogs, cx, op| catalogs.on_subscribe(cx, op, link))
    }

    /// A node of ours comes up and what it is told first is dropped.
    pub(super) fn connect(&mut self, peer: u8) -> NodeKey {
        self.connect_at_level(peer, Some(1))
    }

    /// A deployed peer that we dialled comes up.
    pub(super) fn connect_deployed(&mut self, peer: u8) -> NodeKey {
        self.connect_at_level(peer, None)
    }

    fn connect_at_level(&mut self, peer: u8, level: Option<u8>) -> NodeKey {
        let key = NodeKey([peer; 32]);
        let session = Session::dialled(LinkId(peer.into()), level, self.now.mono);
        self.roster.add(key, session);
        self.act(|catalogs, cx| catalogs.on_up(cx, key));
        key
    }

    pub(super) fn announce(&mut self, from: NodeKey, owner: &Owner, head: &ShareHead) {
        let announce = HeadAnnounce {
            key: owner.key(),
            head: head.clone(),
        };
        self.act(|catalogs, cx| catalogs.on_head_announce(cx, from, ticket(611), announce));
    }

    pub(super) fn watch(&mut self, from: NodeKey, shares: &[ShareId]) -> Vec<HeadAnnounce> {
        self.act(|catalogs, cx| catalogs.on_watch(cx, from, ticket(610), shares.to_vec()));
        match self.answers.pop() {
            Some(Ok(Answer::Heads(heads))) => heads,
            other => panic!("not an answer to WATCH: {other:?}"),
        }
    }

    /// Answers the oldest call for a manifest.
    pub(super) fn give_manifest(&mut self, manifest: Option<&Manifest>) -> NodeKey {
        let is_get = |(_, request, _): &(_, Request, _)| matches!(request, Request::GetManifest(_));
        let place = self
            .calls
            .iter()
            .position(is_get)
            .expect("a manifest is asked for");
        let (peer, request, tag) = self.calls.remove(place);
        let Request::GetManifest(id) = request else {
            unreachable!("found as such")
        };
        let answer = match manifest {
            Some(manifest) => Ok(Answer::Manifest {
                id,
                bytes: manifest.encode().into(),
            }),
            None => Err(CallError::TimedOut),
        };
        self.outcome(
            tag,
            Outcome::Answer {
                from: peer,
                answer,
                receipt: Receipt::NONE,
            },
        );
        peer
    }

    pub(super) fn answer(&mut self, from: NodeKey, tag: cx::Tag, answer: Answer) {
        self.outcome(
            tag,
            Outcome::Answer {
                from,
                answer: Ok(answer),
                receipt: Receipt::NONE,
            },
        );
    }

    /// Ends the oldest lookup of this kind.
    pub(super) fn end_lookup(&mut self, want: Want, found: Found) {
        let wanted =
            |wish: &Wish| matches!(wish, Wish::Lookup { want: wants, .. } if *wants == want);
        let place = self
            .wishes
            .iter()
            .position(wanted)
            .expect("a lookup is under way");
        let Wish::Lookup { tag, .. } = self.wishes.remove(place) else {
            unreachable!("found as such")
        };
        self.outcome(tag, Outcome::Found(found));
    }

    pub(super) fn lookups(&self, want: Want) -> usize {
        let wanted =
            |wish: &&Wish| matches!(wish, Wish::Lookup { want: wants, .. } if *wants == want);
        self.wishes.iter().filter(wanted).count()
    }

    /// The heads that were announced to a peer, as sequence numbers.
    pub(super) fn told(&self, to: NodeKey) -> Vec<u64> {
        let mut told = Vec::new();
        for (peer, request, _) in &self.calls {
            if let Request::HeadAnnounce(announce) = request
                && *peer == to
            {
                told.push(announce.head.latest_seq);
            }
        }
        told
    }

    /// Lets the oldest commit that waits come to its end.
    pub(super) fn end_commit(&mut self) {
        let (rows, tags) = self.waiting.remove(0);
        self.apply(rows);
        for tag in tags {
            self.outcome(tag, Outcome::Committed(Ok(())));
        }
    }

    pub(super) fn row(&self, table: Table, key: &[u8]) -> Option<&Bytes> {
        self.rows.get(&(table, Bytes::copy_from_slice(key)))
    }

    fn outcome(&mut self, tag: cx::Tag, outcome: Outcome) {
        let cx::Tag::Catalogs(tag) = tag else {
            panic!("not ours: {tag:?}")
        };
        self.act(|catalogs, cx| catalogs.on_outcome(cx, tag, outcome));
    }

    fn commit(&mut self) {
        let batch = core::mem::take(&mut self.acts.batch);
        let tags = core::mem::take(&mut self.acts.after);
        if self.disk_fails && !tags.is_empty() {
            for tag in tags {
                self.outcome(tag, Outcome::Committed(Err(StoreError::Full)));
            }
            return;
        }
        self.index.extend(batch.index);
        if self.disk_waits && !tags.is_empty() {
            return self.waiting.push((batch.rows, tags));
        }
        self.apply(batch.rows);
        for tag in tags {
            self.outcome(tag, Outcome::Committed(Ok(())));
        }
    }

    fn apply(&mut self, rows: Vec<RowOp>) {
        for row in rows {
            match row {
                RowOp::Put(table, key, value) => drop(self.rows.insert((table, key), value)),
                RowOp::Delete(table, key) => drop(self.rows.remove(&(table, key))),
            }
        }
    }

    fn carry_out(&mut self, act: Act) {
        match act {
            Act::Load(load, tag) => {
                let loaded = self.load(load);
                self.outcome(tag, Outcome::Loaded(loaded));
            }
            Act::Call {
                peer, request, tag, ..
            } => self.calls.push((peer, request, tag)),
            Act::Wish(wish) => self.wishes.push(wish),
            Act::Answer(_, answer) => self.answers.push(Ok(answer)),
            Act::Refuse(_, text) => self.answers.push(Err(text)),
            Act::Done(op, result) => {
                assert!(self.done.insert(op, result).is_none(), "answered twice")
            }
            Act::Event(event) => self.events.push(event),
            Act::Reach { .. } => {}
            Act::Write(..)
            | Act::Release(_)
            | Act::Close { .. }
            | Act::Dial { .. }
            | Act::Circuit(..)
            | Act::Link(..)
            | Act::DialCircuit { .. }
            | Act::Turn(_)
            | Act::Tunnel(..)
            | Act::OpenTunnel { .. }
            | Act::Unconnected(..)
            | Act::OwnAddrs(_)
            | Act::Outcome(..) => panic!("not for this component to ask"),
        }
    }

    /// A disk on which every file holds its own name.
    fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        match load {
            Load::Row(table, key) => Ok(Loaded::Row(self.rows.get(&(table, key)).cloned())),
            Load::Scan { roots, .. } => {
                let file = |path: LocalPath| ScannedFile {
                    rel: path.0.trim_start_matches('/').to_string(),
                    size: path.0.len() as u64,
                    path,
                };
                Ok(Loaded::Scan(roots.into_iter().map(file).collect()))
            }
            Load::Hash(paths) => Ok(Loaded::Hash(paths.into_iter().map(hash).collect())),
            Load::Piece { .. } | Load::Resume { .. } => panic!("not for this component to ask"),
        }
    }
}

/// Files called `gone` are not there any more when they are hashed.
fn hash(path: LocalPath) -> Result<HashedFile, StoreError> {
    if path.0.ends_with("gone") {
        return Err(StoreError::NotFound(path));
    }
    let hash = blake3::hash(path.0.as_bytes());
    Ok(HashedFile {
        content: ContentId(hash.into()),
        chunk_count: 1,
        chunk_list_hash: blake3::hash(hash.as_bytes()).into(),
        file: FileRef {
            size: path.0.len() as u64,
            mtime_ns: 1,
            path,
        },
    })
}

pub(super) fn ticket(kind: u16) -> Ticket {
    Ticket {
        link: LinkId(1),
        req_id: 1,
        kind,
    }
}

/// Somebody else's share.
pub(super) struct Owner(SigningKey);

impl Owner {
    pub(super) fn new(seed: u8) -> Owner {
        Owner(SigningKey::from_bytes(&[seed; 32]))
    }

    pub(super) fn key(&self) -> ShareKey {
        ShareKey(self.0.verifying_key().to_bytes())
    }

    pub(super) fn id(&self) -> ShareId {
        self.key().share_id()
    }

    pub(super) fn revision(&self, seq: u64) -> (ShareHead, Manifest) {
        self.revision_with(seq, seq, |_| ())
    }

    /// A head of number `head_seq` for a manifest of number `seq` that is changed before it is signed.
    pub(super) fn revision_with(
        &self,
        head_seq: u64,
        seq: u64,
        change: impl FnOnce(&mut Manifest),
    ) -> (ShareHead, Manifest) {
        let about = plan::About {
            title: Some(format!("rev {seq}")),
            ..Default::default()
        };
        let mut manifest = about.manifest(self.key(), seq, UnixTime(1_600_000_000), Vec::new());
        change(&mut manifest);
        let manifest = manifest.sign(&self.0);
        let head = plan::head_of(self.id(), head_seq, manifest.id(), UnixTime(1_600_000_000));
        (head.sign(&self.0), manifest)
    }
}
