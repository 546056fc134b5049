//! Nodes and a villain in one process: links and rows in memory, time on a heap.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::Node;
use scp2p_proto::command::{Command, CommandError, Get, GetWhat, Publish, Reply};
use scp2p_proto::config::Config;
use scp2p_proto::event::Event;
use scp2p_proto::id::{LinkId, NodeKey, OpId, ShareId};
use scp2p_proto::io::{
    CloseCode, Dial, DialError, Host, HostEvent, Input, Lane, LinkError, LinkEvent, LinkInfo,
    Output, Transport,
};
use scp2p_proto::keys::Keys;
use scp2p_proto::record::ShareLink;
use scp2p_proto::rng::Rng;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::time::{Now, Time, UnixTime};
use scp2p_sim::scenario::VillainKind;
use scp2p_sim::villain::{Knowledge, Target, Villain, villain};

use crate::disk::Disk;

const LATENCY: Duration = Duration::from_millis(5);
const START: u64 = 1_700_000_000;
const PORTS: (u16, u16) = (7000, 7001);
const ROOM: u32 = 1 << 20;

/// The node that publishes.
pub const PUBLISHER: usize = 0;
/// The node that follows it.
pub const FRIEND: usize = 1;
/// The other one.
pub const VILLAIN: usize = 2;
/// Another node, where there is one.
const HUB: usize = 3;

pub struct World {
    pub now: Time,
    pub hosts: Vec<Computer>,
    queue: BTreeMap<(Time, u64), (usize, Input)>,
    seq: u64,
    ops: u64,
    links: u64,
    ends: BTreeMap<(usize, LinkId), End>,
    /// The share that the friend follows.
    pub share: Option<ShareLink>,
    /// Nobody can dial the publisher and its friend.
    walled: bool,
}

pub enum Program {
    Node(Box<Node>),
    Villain(Box<dyn Villain>),
}

pub struct Computer {
    pub program: Program,
    pub disk: Disk,
    pub events: Vec<Event>,
    done: BTreeMap<OpId, Result<Reply, CommandError>>,
    pub dials: Vec<(Time, Dial)>,
    /// How links from the villain ended that this node closed, and how long they were open.
    pub closed: Vec<(CloseCode, Duration)>,
    pub sent: u64,
}

struct End {
    peer: (usize, LinkId),
    since: Time,
    room: BTreeMap<Lane, i64>,
    granted: BTreeMap<Lane, u64>,
    waiting: BTreeMap<Lane, VecDeque<Bytes>>,
}

pub fn ip(host: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(5, 5, host as u8, 1))
}

pub fn keys(host: usize) -> Keys {
    Keys::from_seed([host as u8 + 1; 32])
}

pub fn key(host: usize) -> NodeKey {
    keys(host).public()
}

fn target(host: usize) -> Target {
    Target {
        key: key(host),
        quic: Some(SocketAddr::new(ip(host), PORTS.0)),
        tcp: Some(SocketAddr::new(ip(host), PORTS.1)),
    }
}

pub fn content(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(&[9; 32], "content").fill(&mut bytes);
    bytes
}

impl World {
    /// A publisher of a small and a large file, a friend that follows it, and a villain that knows both.
    pub fn new(kind: VillainKind) -> World {
        let mut world = World::with(kind, true);
        world.hosts[PUBLISHER].disk.put("/files/small", "small");
        world.hosts[PUBLISHER]
            .disk
            .put("/files/large", content(10 << 20));
        let link = world.publish(PUBLISHER);
        world.subscribe(FRIEND, link.clone());
        let targets = vec![target(PUBLISHER), target(FRIEND)];
        let knowledge = Knowledge {
            targets,
            shares: vec![link.clone()],
            own: Some(target(VILLAIN)),
        };
        world.villain_mut().learn(knowledge);
        world.share = Some(link);
        world
    }

    /// The same without a share; the nodes know each other or both the villain.
    pub fn with(kind: VillainKind, friends: bool) -> World {
        let mut world = World {
            now: Time(1),
            hosts: Vec::new(),
            queue: BTreeMap::new(),
            seq: 0,
            ops: 0,
            links: 0,
            ends: BTreeMap::new(),
            share: None,
            walled: false,
        };
        let hint = if friends { PUBLISHER } else { VILLAIN };
        world.add_node(if friends { &[] } else { &[VILLAIN] });
        world.add_node(&[hint]);
        world.add_villain(kind);
        world
    }

    /// Two that nobody can dial, who know a node and the villain.
    pub fn walled(kind: VillainKind) -> World {
        let mut world = World::with(kind, false);
        world.hosts.clear();
        world.queue.clear();
        world.walled = true;
        for _ in [PUBLISHER, FRIEND] {
            world.add_node(&[HUB, VILLAIN]);
        }
        world.add_villain(kind);
        world.add_node(&[]);
        world
    }

    fn add_villain(&mut self, kind: VillainKind) {
        let known = Knowledge {
            targets: vec![target(PUBLISHER), target(FRIEND)],
            shares: Vec::new(),
            own: Some(target(VILLAIN)),
        };
        let rng = Rng::new(&[7; 32], "villain");
        let program = Program::Villain(villain(kind, keys(VILLAIN), rng, known));
        self.hosts.push(Computer::new(program));
    }

    /// One more node.
    pub fn add_node(&mut self, bootstrap: &[usize]) -> usize {
        let number = self.hosts.len();
        let mut config = Config {
            quic_port: Some(PORTS.0),
            tcp_port: Some(PORTS.1),
            bound_ips: vec![ip(number)],
            ..Config::default()
        };
        let hints = bootstrap.iter();
        let hints = hints.map(|host| format!("quic://{}:{}", ip(*host), PORTS.0));
        config
            .bootstrap
            .extend(hints.map(|hint| hint.parse().expect("an address")));
        let seed = [number as u8 + 50; 32];
        let disk = Disk::default();
        let node = Node::new(config, keys(number), seed, disk.saved(), self.clock());
        self.hosts
            .push(Computer::new(Program::Node(Box::new(node))));
        let addresses = HostEvent::Addresses(vec![ip(number)]);
        self.push(number, Duration::ZERO, Input::Host(addresses));
        number
    }

    pub fn publish(&mut self, host: usize) -> ShareLink {
        let publish = Publish::new("share", vec![LocalPath("/files".into())]);
        match self.run(host, Command::Publish(publish)) {
            Ok(Reply::Published { link, .. }) => link,
            other => panic!("{other:?}"),
        }
    }

    pub fn subscribe(&mut self, host: usize, link: ShareLink) {
        let reply = self.run(host, Command::Subscribe(link));
        assert!(matches!(reply, Ok(Reply::Subscribed { .. })), "{reply:?}");
    }

    pub fn get(&mut self, host: usize, share: ShareId) -> Result<Reply, CommandError> {
        let root = LocalPath("/out".into());
        let what = GetWhat::Share { share, path: None };
        self.run(host, Command::Get(Get { what, root }))
    }

    pub fn node(&self, host: usize) -> &Node {
        match &self.hosts[host].program {
            Program::Node(node) => node,
            Program::Villain(_) => panic!("host {host} is no node"),
        }
    }

    pub fn villain(&self) -> &dyn Villain {
        match &self.hosts[VILLAIN].program {
            Program::Villain(villain) => villain.as_ref(),
            Program::Node(_) => panic!("the villain is the villain"),
        }
    }

    pub fn villain_mut(&mut self) -> &mut dyn Villain {
        match &mut self.hosts[VILLAIN].program {
            Program::Villain(villain) => villain.as_mut(),
            Program::Node(_) => panic!("the villain is the villain"),
        }
    }

    /// That the villain did this so often at least.
    pub fn did(&self, deed: &str, least: u64) {
        let deeds = self.villain().deeds();
        assert!(deeds.of(deed) >= least, "{deed}: {deeds:?}");
    }

    /// The revision of a share that a node follows.
    pub fn seq(&self, host: usize, share: &ShareId) -> u64 {
        let views = self.node(host).subscriptions();
        let view = views.iter().find(|view| view.id == *share);
        view.map_or(0, |view| view.seq)
    }

    pub fn are_connected(&self, host: usize, other: usize) -> bool {
        let peers = self.node(host).peers();
        peers
            .iter()
            .any(|peer| peer.key == key(other) && peer.session.is_some())
    }

    /// What must hold whatever the villain does.
    pub fn is_well(&mut self) {
        assert!(self.are_connected(PUBLISHER, FRIEND) && self.are_connected(FRIEND, PUBLISHER));
        for host in [PUBLISHER, FRIEND] {
            let status = self.node(host).status();
            assert!(status.connected <= 4, "{status:?}");
            let open = self.ends.keys().filter(|(at, _)| *at == host).count();
            assert!(open <= 300, "{open} links");
        }
        let share = self.share.as_ref().expect("a share").share();
        let before = self.seq(FRIEND, &share);
        assert!(before > 0, "the friend has a catalog");
        self.hosts[PUBLISHER]
            .disk
            .put("/files/more", format!("{before}"));
        self.publish(PUBLISHER);
        self.until("the new revision", |world| {
            world.seq(FRIEND, &share) > before
        });
        let seconds = self.now.0 / 1_000_000 + 1;
        let sent = self.hosts[VILLAIN].sent;
        assert!(sent / seconds < 100, "{sent} frames in {seconds} s");
    }

    /// That nobody sent a node to where nobody outside its network may send it.
    pub fn dials_are_public(&self, host: usize) {
        for (_, dial) in &self.hosts[host].dials {
            let Host::Ip(to) = dial.host else {
                panic!("names are not dialled here")
            };
            let to = to.to_canonical();
            let local = match to {
                IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_broadcast(),
                IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
            };
            let is_plain = !(to.is_unspecified() || to.is_loopback() || to.is_multicast());
            assert!(is_plain && !local, "host {host} dialled {to}");
        }
    }

    pub fn run(&mut self, host: usize, command: Command) -> Result<Reply, CommandError> {
        self.ops += 1;
        let op = OpId(self.ops);
        self.push(host, Duration::ZERO, Input::Command(op, command));
        self.until("an answer", |world| {
            world.hosts[host].done.contains_key(&op)
        });
        self.hosts[host].done.remove(&op).expect("there")
    }

    /// Lets time pass until something holds, at most two minutes.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&World) -> bool) {
        let end = self.now + Duration::from_secs(120);
        while !holds(self) {
            assert!(self.now < end, "not within two minutes: {what}");
            self.step();
        }
    }

    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    fn clock(&self) -> Now {
        Now {
            mono: self.now,
            unix: UnixTime(START + self.now.0 / 1_000_000),
        }
    }

    fn next_at(&self) -> Option<Time> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let due = self.hosts.iter().filter_map(Computer::deadline).min();
        [queued, due].into_iter().flatten().min()
    }

    fn step(&mut self) {
        let due = self.hosts.iter().enumerate();
        let due = due
            .filter_map(|(host, it)| Some((it.deadline()?, host)))
            .min();
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let (at, host, input) = match due {
            Some((at, host)) if queued.is_none_or(|queued| at < queued) => (at, host, Input::Tick),
            Some(_) | None => {
                let ((at, _), (host, input)) = self.queue.pop_first().expect("something happens");
                (at, host, input)
            }
        };
        self.now = self.now.max(at);
        let now = self.clock();
        match &mut self.hosts[host].program {
            Program::Node(node) => node.handle(now, input),
            Program::Villain(villain) => villain.handle(now, input),
        }
        let deadline = self.hosts[host].deadline();
        assert!(deadline.is_none_or(|at| at > now.mono), "due in the past");
        while let Some(output) = self.hosts[host].poll() {
            self.carry_out(host, output);
        }
    }

    fn push(&mut self, host: usize, after: Duration, input: Input) {
        self.seq += 1;
        self.queue
            .insert((self.now + after, self.seq), (host, input));
    }

    fn carry_out(&mut self, host: usize, output: Output) {
        let soon = Duration::from_micros(100);
        let at = &mut self.hosts[host];
        match output {
            Output::Dial(link, dial) => self.dial(host, link, dial),
            Output::Send(link, lane, frame) => {
                at.sent += 1;
                self.send(host, link, lane, [frame.head, frame.body]);
            }
            Output::Grant(link, lane, bytes) => {
                if let Some(end) = self.ends.get_mut(&(host, link)) {
                    *end.granted.entry(lane).or_default() += u64::from(bytes);
                    self.deliver((host, link), lane);
                }
            }
            Output::Close(link, code) => self.close(host, link, code),
            Output::Load(id, load) => {
                let result = at.disk.load(load);
                self.push(host, soon, Input::Loaded(id, result));
            }
            Output::Write(id, piece) => {
                let result = at.disk.write(piece);
                self.push(host, soon, Input::Written(id, result));
            }
            Output::Commit(id, batch) => {
                let result = at.disk.commit(batch);
                self.push(host, soon, Input::Committed(id, result));
            }
            Output::Done(op, result) => drop(at.done.insert(op, result)),
            Output::Event(event) => at.events.push(event),
        }
    }

    fn dial(&mut self, host: usize, link: LinkId, dial: Dial) {
        self.hosts[host].dials.push((self.now, dial.clone()));
        let Host::Ip(to) = dial.host else {
            panic!("names are not resolved here")
        };
        let port = match dial.transport {
            Transport::Quic => PORTS.0,
            Transport::Tcp => PORTS.1,
        };
        let callee = (0..self.hosts.len()).find(|number| ip(*number) == to && dial.port == port);
        let is_open = |callee: &usize| !(self.walled && [PUBLISHER, FRIEND].contains(callee));
        let Some(callee) = callee.filter(is_open) else {
            let failed = LinkEvent::Failed(DialError::TimedOut);
            return self.push(host, Duration::from_secs(5), Input::Link(link, failed));
        };
        self.links += 1;
        let accepted = LinkId(self.links | 1 << 63);
        let mut exporter = [0; 32];
        exporter[..8].copy_from_slice(&self.links.to_be_bytes());
        let (near, far) = ((host, link), (callee, accepted));
        for (end, peer) in [(near, far), (far, near)] {
            self.ends.insert(end, End::new(peer, self.now));
        }
        let info = |remote| LinkInfo {
            transport: dial.transport,
            remote,
            exporter,
        };
        let from = SocketAddr::new(ip(host), 40_000 + (self.links % 20_000) as u16);
        let accept = LinkEvent::Accepted(info(from));
        self.push(callee, LATENCY, Input::Link(accepted, accept));
        let dialed = LinkEvent::Dialed(info(SocketAddr::new(to, dial.port)));
        self.push(host, LATENCY * 2, Input::Link(link, dialed));
        for (host, link) in [near, far] {
            self.make_room(host, link, Lane::Control, ROOM, LATENCY * 2);
            if dial.transport == Transport::Quic {
                self.make_room(host, link, Lane::Bulk, ROOM, LATENCY * 2);
            }
        }
    }

    fn make_room(&mut self, host: usize, link: LinkId, lane: Lane, bytes: u32, after: Duration) {
        if let Some(end) = self.ends.get_mut(&(host, link)) {
            *end.room.entry(lane).or_default() += i64::from(bytes);
            self.push(host, after, Input::Link(link, LinkEvent::Room(lane, bytes)));
        }
    }

    fn send(&mut self, host: usize, link: LinkId, lane: Lane, pieces: [Bytes; 2]) {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let Some(end) = self.ends.get_mut(&(host, link)) else {
            return;
        };
        let room = end.room.entry(lane).or_default();
        assert!(*room > 0, "host {host} sends without room");
        *room -= bytes as i64;
        let peer = end.peer;
        if let Some(end) = self.ends.get_mut(&peer) {
            let waiting = end.waiting.entry(lane).or_default();
            waiting.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
            self.deliver(peer, lane);
        }
    }

    /// Hands over what waits, as far as it is granted; that much room its sender has again.
    fn deliver(&mut self, at: (usize, LinkId), lane: Lane) {
        let Some(end) = self.ends.get_mut(&at) else {
            return;
        };
        let (granted, waiting) = (
            end.granted.entry(lane).or_default(),
            end.waiting.entry(lane).or_default(),
        );
        let (mut ready, mut bytes) = (Vec::new(), 0);
        while let Some(piece) = waiting.front_mut().filter(|_| *granted > 0) {
            let most = usize::try_from(*granted).expect("small").min(64 << 10);
            let part = piece.split_to(piece.len().min(most));
            if piece.is_empty() {
                waiting.pop_front();
            }
            *granted -= part.len() as u64;
            bytes += part.len() as u32;
            ready.push(part);
        }
        let peer = end.peer;
        for piece in ready {
            self.push(
                at.0,
                LATENCY,
                Input::Link(at.1, LinkEvent::Bytes(lane, piece)),
            );
        }
        if bytes > 0 {
            self.make_room(peer.0, peer.1, lane, bytes, LATENCY);
        }
    }

    fn close(&mut self, host: usize, link: LinkId, code: CloseCode) {
        let Some(end) = self.ends.remove(&(host, link)) else {
            return;
        };
        let (peer, there) = end.peer;
        if peer == VILLAIN {
            self.hosts[host]
                .closed
                .push((code, self.now.since(end.since)));
        }
        self.ends.remove(&end.peer);
        let closed = LinkEvent::Closed(LinkError::Closed);
        self.push(peer, LATENCY, Input::Link(there, closed));
    }
}

impl Computer {
    fn new(program: Program) -> Computer {
        Computer {
            program,
            disk: Disk::default(),
            events: Vec::new(),
            done: BTreeMap::new(),
            dials: Vec::new(),
            closed: Vec::new(),
            sent: 0,
        }
    }

    fn deadline(&self) -> Option<Time> {
        match &self.program {
            Program::Node(node) => node.deadline().map(|(at, _)| at),
            Program::Villain(villain) => villain.deadline(),
        }
    }

    fn poll(&mut self) -> Option<Output> {
        match &mut self.program {
            Program::Node(node) => node.poll_output(),
            Program::Villain(villain) => villain.poll_output(),
        }
    }

    /// How many links from the villain this node closed for this reason.
    pub fn closed_as(&self, code: CloseCode) -> usize {
        self.closed.iter().filter(|(of, _)| *of == code).count()
    }
}

impl End {
    fn new(peer: (usize, LinkId), since: Time) -> End {
        End {
            peer,
            since,
            room: BTreeMap::new(),
            granted: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }
}
