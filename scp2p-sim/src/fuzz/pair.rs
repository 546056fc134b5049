//! Two nodes and a driver that does what it owes them in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use scp2p_proto::Node;
use scp2p_proto::command::{Command, CommandError, Reply};
use scp2p_proto::config::Config;
use scp2p_proto::id::{CommitId, LinkId, OpId};
use scp2p_proto::io::{Host, HostEvent, Input, Lane, LinkError, LinkEvent, LinkInfo, Output};
use scp2p_proto::keys::Keys;
use scp2p_proto::rng::Rng;
use scp2p_proto::storage::StoreError;
use scp2p_proto::time::{Now, Time, UnixTime};

use crate::disk::{Chunks, CommitNo, Disk};

const PORT: u16 = 7000;
/// Bytes that a link takes on a lane at a time.
const ROOM: u32 = 64 << 10;
/// What one accepted has this bit set, what it dialled has not.
const ACCEPTED: u64 = 1 << 63;

/// Two hosts, and what their driver owes them.
pub(super) struct Pair {
    now: Now,
    hosts: [Computer; 2],
    owed: Vec<Owed>,
    /// Bytes that a node lets its driver read.
    granted: BTreeMap<(usize, LinkId, Lane), usize>,
    chunks: Chunks,
    rng: Rng,
    dials: u64,
}

struct Computer {
    node: Node,
    disk: Disk,
    asked: BTreeSet<OpId>,
    next_op: u64,
    replies: Vec<Result<Reply, CommandError>>,
    /// Links that are up, by this end's number, and the other end's.
    links: BTreeMap<LinkId, LinkId>,
}

/// An input that a node must get, at any time but after those before it in its line.
struct Owed {
    host: usize,
    line: Line,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Whenever it may be.
    None,
    Commits,
    Link(LinkId),
    Lane(LinkId, Lane),
}

enum What {
    Input(Input),
    Committed(CommitId, Result<CommitNo, StoreError>),
}

impl Pair {
    pub(super) fn new() -> Pair {
        let now = Now {
            mono: Time(1),
            unix: UnixTime(1_700_000_000),
        };
        let host = |number: usize| {
            let disk = Disk::new(Default::default(), Rng::new(&[number as u8; 32], "disk"));
            Computer {
                node: start(number, 0, &disk, now),
                disk,
                asked: BTreeSet::new(),
                next_op: 1,
                replies: Vec::new(),
                links: BTreeMap::new(),
            }
        };
        let mut pair = Pair {
            now,
            hosts: [host(0), host(1)],
            owed: Vec::new(),
            granted: BTreeMap::new(),
            chunks: Chunks::default(),
            rng: Rng::new(&[7; 32], "pair"),
            dials: 0,
        };
        pair.greet(0);
        pair.greet(1);
        pair
    }

    pub(super) fn node(&self, host: usize) -> &Node {
        &self.hosts[host].node
    }

    /// What commands were answered, in the order of their answers.
    pub(super) fn replies(&self, host: usize) -> &[Result<Reply, CommandError>] {
        &self.hosts[host].replies
    }

    /// Commands without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.hosts.iter().map(|host| host.asked.len()).sum()
    }

    /// How much is owed.
    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    pub(super) fn put(&mut self, host: usize, path: &str, bytes: Vec<u8>) {
        let disk = &mut self.hosts[host].disk;
        disk.put(path, [bytes.into()], &mut self.chunks);
    }

    pub(super) fn ask(&mut self, host: usize, command: Command) {
        let at = &mut self.hosts[host];
        let op = OpId(at.next_op);
        at.next_op += 1;
        at.asked.insert(op);
        self.give(host, Input::Command(op, command));
    }

    pub(super) fn tick(&mut self, host: usize) {
        self.give(host, Input::Tick);
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, span: Duration) {
        self.now.mono = self.now.mono + span;
        self.now.unix = UnixTime(1_700_000_000 + self.now.mono.0 / 1_000_000);
    }

    /// Lets time pass until a node has a deadline, and wakes those that have one then. How long that was.
    pub(super) fn wait_for_deadline(&mut self) -> Duration {
        let deadlines = self.hosts.iter().filter_map(|host| host.node.deadline());
        let Some(at) = deadlines.map(|(at, _)| at).min() else {
            return Duration::ZERO;
        };
        let passed = at.since(self.now.mono);
        self.wait(passed);
        for host in [0, 1] {
            let due = self.hosts[host].node.deadline();
            if due.is_some_and(|(at, _)| at <= self.now.mono) {
                self.tick(host);
            }
        }
        passed
    }

    /// Gives a node what it is owed: the `number`th of all, or what must come before that.
    pub(super) fn deliver(&mut self, number: usize) {
        if number >= self.owed.len() {
            return;
        }
        let Some(first) = (0..=number).find(|at| self.is_before(*at, number)) else {
            return;
        };
        let Owed { host, line, what } = self.owed.remove(first);
        match what {
            What::Committed(id, result) => {
                if let Ok(number) = &result {
                    self.hosts[host].disk.durable(*number);
                }
                self.give(host, Input::Committed(id, result.map(|_| ())));
            }
            What::Input(Input::Link(link, LinkEvent::Bytes(lane, bytes))) => {
                let granted = self.granted.entry((host, link, lane)).or_default();
                let most = bytes.len().min(*granted);
                *granted -= most;
                let (now, later) = (bytes.slice(..most), bytes.slice(most..));
                if !later.is_empty() {
                    let what = What::Input(Input::Link(link, LinkEvent::Bytes(lane, later)));
                    self.owed.insert(first, Owed { host, line, what });
                }
                if let Some(other) = self.hosts[host].links.get(&link).copied() {
                    let room = LinkEvent::Room(lane, most as u32);
                    self.owe_link(1 - host, other, room);
                }
                if !now.is_empty() {
                    self.give(host, Input::Link(link, LinkEvent::Bytes(lane, now)));
                }
            }
            What::Input(input) => {
                if let Input::Link(link, LinkEvent::Closed(_)) = &input {
                    self.forget(host, *link);
                }
                self.give(host, input);
            }
        }
    }

    /// A load that is owed comes to nothing.
    pub(super) fn refuse(&mut self, number: usize) {
        let Some(Owed { what, .. }) = self.owed.get_mut(number) else {
            return;
        };
        let failed = StoreError::Failed("the disk failed".into());
        if let What::Input(Input::Loaded(_, result)) = what {
            *result = Err(failed);
        }
    }

    /// A link breaks: each end notices at some time.
    pub(super) fn cut(&mut self, number: usize) {
        let links = &self.hosts[0].links;
        let Some((near, far)) = links.iter().nth(number % links.len().max(1)) else {
            return;
        };
        for (host, link) in [(0, *near), (1, *far)] {
            self.hosts[host].links.remove(&link);
            self.owe_link(host, link, LinkEvent::Closed(LinkError::Lost));
        }
    }

    /// The power is cut, and the node starts again from what is left on the disk.
    pub(super) fn crash(&mut self, host: usize) {
        let links = std::mem::take(&mut self.hosts[host].links);
        for other in links.into_values() {
            self.hosts[1 - host].links.remove(&other);
            self.owe_link(1 - host, other, LinkEvent::Closed(LinkError::Lost));
        }
        self.owed.retain(|owed| owed.host != host);
        self.granted.retain(|(of, _, _), _| *of != host);
        let at = &mut self.hosts[host];
        at.disk.crash(&mut self.rng);
        at.asked.clear();
        at.node = start(host, self.rng.below(1 << 32), &at.disk, self.now);
        self.greet(host);
    }

    /// Whether this is of the line of the other, or what its line waits for.
    fn is_before(&self, at: usize, number: usize) -> bool {
        let (first, wanted) = (&self.owed[at], &self.owed[number]);
        let is_up = |owed: &Owed| {
            matches!(
                owed.what,
                What::Input(Input::Link(
                    _,
                    LinkEvent::Accepted(_) | LinkEvent::Dialed(_)
                ))
            )
        };
        let is_of_link = match (first.line, wanted.line) {
            (Line::Link(one), Line::Lane(other, _)) => one == other && is_up(first),
            (one, other) => one == other && one != Line::None,
        };
        at == number || (first.host == wanted.host && is_of_link)
    }

    fn greet(&mut self, host: usize) {
        let addresses = HostEvent::Addresses(vec![ip(host)]);
        self.give(host, Input::Host(addresses));
    }

    /// Gives a node an input and carries out what it asks for.
    fn give(&mut self, host: usize, input: Input) {
        let now = self.now;
        self.hosts[host].node.handle(now, input);
        while let Some(output) = self.hosts[host].node.poll_output() {
            self.carry_out(host, output);
        }
        let node = &self.hosts[host].node;
        let broken = node.check();
        assert!(broken.is_empty(), "{broken:#?}");
        let due = node.deadline();
        assert!(
            due.is_none_or(|(at, _)| at > now.mono),
            "{due:?} at {now:?}"
        );
    }

    fn carry_out(&mut self, host: usize, output: Output) {
        match output {
            Output::Dial(link, dial) => {
                let other = 1 - host;
                if dial.host != Host::Ip(ip(other)) || dial.port != PORT {
                    let failed = LinkEvent::Failed(scp2p_proto::io::DialError::Refused);
                    return self.owe_link(host, link, failed);
                }
                self.dials += 1;
                let far = LinkId(self.dials | ACCEPTED);
                let info = |of: usize| LinkInfo {
                    transport: dial.transport,
                    remote: SocketAddr::new(ip(of), PORT),
                    exporter: [self.dials as u8; 32],
                };
                let (near_info, far_info) = (info(other), info(host));
                self.hosts[host].links.insert(link, far);
                self.hosts[other].links.insert(far, link);
                self.owe_link(other, far, LinkEvent::Accepted(far_info));
                self.owe_link(host, link, LinkEvent::Dialed(near_info));
                for (host, link) in [(host, link), (other, far)] {
                    self.owe_link(host, link, LinkEvent::Room(Lane::Control, ROOM));
                    self.owe_link(host, link, LinkEvent::Room(Lane::Bulk, ROOM));
                }
            }
            Output::Send(link, lane, frame) => {
                if let Some(other) = self.hosts[host].links.get(&link).copied() {
                    for bytes in [frame.head, frame.body] {
                        let what = Input::Link(other, LinkEvent::Bytes(lane, bytes));
                        self.owe(1 - host, Line::Lane(other, lane), What::Input(what));
                    }
                }
            }
            Output::Grant(link, lane, bytes) => {
                *self.granted.entry((host, link, lane)).or_default() += bytes as usize;
            }
            Output::Close(link, _) => {
                if let Some(other) = self.hosts[host].links.remove(&link) {
                    self.hosts[1 - host].links.remove(&other);
                    self.owe_link(1 - host, other, LinkEvent::Closed(LinkError::Closed));
                }
                self.forget(host, link);
            }
            Output::Load(id, load) => {
                let result = self.hosts[host].disk.load(load, &mut self.chunks);
                self.owe(host, Line::None, What::Input(Input::Loaded(id, result)));
            }
            Output::Write(id, piece) => {
                let result = self.hosts[host].disk.write(piece, &mut self.chunks);
                self.owe(host, Line::None, What::Input(Input::Written(id, result)));
            }
            Output::Commit(id, batch) => {
                let result = self.hosts[host].disk.commit(batch, &mut self.chunks);
                self.owe(host, Line::Commits, What::Committed(id, result));
            }
            Output::Done(op, result) => {
                let at = &mut self.hosts[host];
                assert!(at.asked.remove(&op), "{op:?} is answered twice");
                at.replies.push(result);
            }
            Output::Event(_) => {}
        }
    }

    /// Nothing of a link reaches its end any more.
    fn forget(&mut self, host: usize, link: LinkId) {
        self.owed
            .retain(|owed| owed.host != host || !owed.line.is_of(link));
    }

    fn owe_link(&mut self, host: usize, link: LinkId, event: LinkEvent) {
        self.owe(
            host,
            Line::Link(link),
            What::Input(Input::Link(link, event)),
        );
    }

    fn owe(&mut self, host: usize, line: Line, what: What) {
        self.owed.push(Owed { host, line, what });
    }
}

impl Line {
    fn is_of(self, link: LinkId) -> bool {
        match self {
            Line::Link(own) | Line::Lane(own, _) => own == link,
            Line::None | Line::Commits => false,
        }
    }
}

fn start(host: usize, boot: u64, disk: &Disk, now: Now) -> Node {
    let keys = |host: usize| Keys::from_seed([host as u8 + 1; 32]);
    let other = 1 - host;
    let bootstrap = format!("quic://{}:{PORT}@{}", ip(other), keys(other).public());
    let config = Config {
        quic_port: Some(PORT),
        bootstrap: bootstrap.parse().into_iter().collect(),
        ..Config::default()
    };
    let mut seed = [host as u8; 32];
    seed[8..16].copy_from_slice(&boot.to_le_bytes());
    Node::new(config, keys(host), seed, disk.saved(), now)
}

fn ip(host: usize) -> IpAddr {
    Ipv4Addr::new(5, 0, host as u8, 1).into()
}
