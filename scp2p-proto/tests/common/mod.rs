//! Several nodes in one process: links, rows and files in memory, time on a heap. It keeps the
//! driver contract to the letter and adds nothing of its own.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod deployed;
mod disk;
pub mod talkers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::Node;
use scp2p_proto::command::{Command, CommandError, Reply};
use scp2p_proto::config::Config;
use scp2p_proto::event::Event;
use scp2p_proto::id::{LinkId, LoadId, NodeKey, OpId};
use scp2p_proto::io::{
    CloseCode, Dial, DialError, Frame, Host, HostEvent, Input, Lane, LinkError, LinkEvent,
    LinkInfo, Output, Transport,
};
use scp2p_proto::keys::Keys;
use scp2p_proto::storage::Load;
use scp2p_proto::time::{Now, Time, UnixTime};
use scp2p_proto::view::{Cause, DownloadState, Subject};
use scp2p_proto::wire::{Answer, Request};

pub use deployed::Deployed;
pub use disk::Disk;

/// Where a node's QUIC port is; its TCP port is one more.
const QUIC_PORT: u16 = 7000;
/// One way between any two nodes.
const LATENCY: Duration = Duration::from_millis(2);
/// After this a link to a host that is no more is given up.
const SILENCE: Duration = Duration::from_secs(30);
const START: u64 = 1_700_000_000;

pub struct World {
    pub now: Time,
    pub hosts: Vec<Host_>,
    queue: BTreeMap<(Time, u64), (usize, Input)>,
    seq: u64,
    next_op: u64,
    next_link: u64,
    /// Each end of a link, and its other end.
    ends: BTreeMap<(usize, LinkId), End>,
    /// What was sent to peers that read nothing, by its sender.
    unread: BTreeMap<(usize, LinkId, Lane), u32>,
}

pub struct Host_ {
    pub node: Option<Node>,
    /// A deployed peer in the place of a node.
    pub deployed: Option<Deployed>,
    /// Where it is.
    pub at: IpAddr,
    /// Nobody can dial it: it is behind a router that lets nothing in.
    pub walled: bool,
    /// How far its clock is ahead.
    pub ahead_secs: i64,
    /// Who can dial it, if it is not walled, from which address over what.
    pub admits: fn(IpAddr, Transport) -> bool,
    /// All that links brought it, if somebody wants to know.
    pub brought: Option<BTreeMap<(LinkId, Lane), Vec<u8>>>,
    pub disk: Disk,
    pub config: Config,
    pub events: Vec<Event>,
    pub done: BTreeMap<OpId, Result<Reply, CommandError>>,
    /// Loads that hash files, under way, and how many there were at a time.
    hashing: BTreeSet<LoadId>,
    pub hashing_most: usize,
    /// Loads that look for what of a download is there; held back while there is a list.
    pub resumes: Option<Vec<(LoadId, Load)>>,
    seed: u8,
    starts: u8,
}

struct End {
    peer: (usize, LinkId),
    granted: BTreeMap<Lane, u64>,
    waiting: BTreeMap<Lane, VecDeque<Bytes>>,
}

pub fn ip(host: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, host as u8, 1))
}

impl World {
    pub fn new() -> World {
        World {
            now: Time(1),
            hosts: Vec::new(),
            queue: BTreeMap::new(),
            seq: 0,
            next_op: 0,
            next_link: 0,
            ends: BTreeMap::new(),
            unread: BTreeMap::new(),
        }
    }

    /// A node that starts from the nodes of these numbers.
    pub fn add(&mut self, bootstrap: &[usize]) -> usize {
        self.add_with(bootstrap, |_| {})
    }

    pub fn add_with(&mut self, bootstrap: &[usize], change: impl FnOnce(&mut Config)) -> usize {
        self.add_at(ip(self.hosts.len()), bootstrap, change)
    }

    /// One that is elsewhere than others.
    pub fn add_at(
        &mut self,
        at: IpAddr,
        bootstrap: &[usize],
        change: impl FnOnce(&mut Config),
    ) -> usize {
        let number = self.hosts.len();
        let mut config = Config {
            quic_port: Some(QUIC_PORT),
            tcp_port: Some(QUIC_PORT + 1),
            bound_ips: vec![at],
            ..Config::default()
        };
        for peer in bootstrap {
            let at = self.hosts.get(*peer).map_or(ip(*peer), |host| host.at);
            config
                .bootstrap
                .push(format!("quic://{at}:{QUIC_PORT}").parse().unwrap());
        }
        change(&mut config);
        self.hosts.push(Host_ {
            node: None,
            deployed: None,
            at,
            walled: false,
            ahead_secs: 0,
            admits: |_, _| true,
            brought: None,
            disk: Disk::default(),
            config,
            events: Vec::new(),
            done: BTreeMap::new(),
            hashing: BTreeSet::new(),
            hashing_most: 0,
            resumes: None,
            seed: number as u8 + 1,
            starts: 0,
        });
        self.start(number);
        number
    }

    /// A deployed peer; nodes reach it as a bootstrap peer.
    pub fn add_deployed(&mut self) -> usize {
        self.add_deployed_at(ip(self.hosts.len()))
    }

    /// A deployed peer that is elsewhere than others.
    pub fn add_deployed_at(&mut self, at: IpAddr) -> usize {
        let number = self.add_at(at, &[], |_| {});
        let host = &mut self.hosts[number];
        host.node = None;
        host.deployed = Some(Deployed::new(host.seed));
        self.queue.retain(|_, (to, _)| *to != number);
        number
    }

    pub fn deployed(&mut self, number: usize) -> &mut Deployed {
        self.hosts[number]
            .deployed
            .as_mut()
            .expect("a deployed peer")
    }

    /// A deployed peer asks whoever is connected to it.
    pub fn ask(&mut self, number: usize, requests: &[Request]) {
        for output in self.deployed(number).ask(requests) {
            self.carry_out(number, output);
        }
    }

    /// A deployed peer dials a node.
    pub fn dial_from(&mut self, number: usize, target: usize) -> LinkId {
        let at = self.hosts[target].at;
        let (link, dial) = self.deployed(number).dial(Dial {
            transport: Transport::Quic,
            host: Host::Ip(at),
            port: QUIC_PORT,
        });
        self.carry_out(number, dial);
        link
    }

    /// A deployed peer opens a session.
    pub fn session_from(&mut self, number: usize, target: usize) -> LinkId {
        let link = self.dial_from(number, target);
        self.until("a session", |world| {
            let deployed = world.hosts[number].deployed.as_ref();
            deployed.is_some_and(|peer| peer.is_up(link))
        });
        link
    }

    /// A deployed peer asks on one of its sessions, and gets an answer to each.
    pub fn asked_on(
        &mut self,
        number: usize,
        link: LinkId,
        requests: &[Request],
    ) -> Vec<Result<Answer, String>> {
        let before = self.deployed(number).answers.len();
        self.ask_on(number, link, requests);
        let after = before + requests.len();
        self.until("the answers", |world| {
            let deployed = world.hosts[number].deployed.as_ref();
            deployed.is_some_and(|peer| peer.answers.len() >= after)
        });
        let answers = self.deployed(number).answers.values();
        answers.skip(before).cloned().collect()
    }

    /// A deployed peer asks on one of its sessions.
    pub fn ask_on(&mut self, number: usize, link: LinkId, requests: &[Request]) {
        for output in self.deployed(number).ask_on(link, requests) {
            self.carry_out(number, output);
        }
    }

    /// A deployed peer sends something that nobody asked for.
    pub fn blurt(&mut self, number: usize, link: LinkId, frame: Frame) {
        self.carry_out(number, Output::Send(link, Lane::Control, frame));
    }

    /// A deployed peer gives the answers that it held back.
    pub fn release(&mut self, number: usize) {
        for output in self.deployed(number).release() {
            self.carry_out(number, output);
        }
    }

    /// A deployed peer closes one of its sessions.
    pub fn hang_up(&mut self, number: usize, link: LinkId) {
        self.carry_out(number, Output::Close(link, CloseCode::Done));
    }

    /// A deployed peer that read nothing reads everything.
    pub fn read(&mut self, number: usize) {
        self.deployed(number).reads = true;
        for ((sender, link, lane), bytes) in std::mem::take(&mut self.unread) {
            let room = LinkEvent::Room(lane, bytes);
            self.push(sender, LATENCY, Input::Link(link, room));
        }
    }

    /// What was held back of looking for downloads is answered.
    pub fn release_resumes(&mut self, number: usize) {
        for (id, load) in self.hosts[number].resumes.take().unwrap_or_default() {
            self.carry_out(number, Output::Load(id, load));
        }
    }

    /// Starts a node from what its disk has.
    pub fn start(&mut self, number: usize) {
        let now = self.clock_of(number);
        let host = &mut self.hosts[number];
        host.starts += 1;
        let keys = Keys::from_seed([host.seed; 32]);
        let seed = [host.seed.wrapping_mul(31).wrapping_add(host.starts); 32];
        host.node = Some(Node::new(
            host.config.clone(),
            keys,
            seed,
            host.disk.saved(),
            now,
        ));
        self.drain(number);
    }

    /// The node is gone; what is not durable is lost. Others notice by their broken links.
    pub fn kill(&mut self, number: usize) {
        self.end(number, LATENCY);
    }

    /// The node is gone without a word, and others notice by its silence.
    pub fn vanish(&mut self, number: usize) {
        self.end(number, SILENCE);
    }

    fn end(&mut self, number: usize, noticed: Duration) {
        self.hosts[number].node = None;
        self.hosts[number].deployed = None;
        self.hosts[number].disk.crash();
        let ends: Vec<LinkId> = self
            .ends
            .keys()
            .filter(|(host, _)| *host == number)
            .map(|(_, link)| *link)
            .collect();
        for link in ends {
            self.cut(number, link, noticed);
        }
        self.queue.retain(|_, (host, _)| *host != number);
    }

    pub fn key(&self, number: usize) -> NodeKey {
        Keys::from_seed([self.hosts[number].seed; 32]).public()
    }

    pub fn node(&self, number: usize) -> &Node {
        self.hosts[number].node.as_ref().expect("the node runs")
    }

    pub fn clock(&self) -> Now {
        Now {
            mono: self.now,
            unix: UnixTime(START + self.now.0 / 1_000_000),
        }
    }

    /// What a host takes the time for.
    fn clock_of(&self, number: usize) -> Now {
        let now = self.clock();
        let unix = now
            .unix
            .0
            .saturating_add_signed(self.hosts[number].ahead_secs);
        Now {
            unix: UnixTime(unix),
            ..now
        }
    }

    /// Gives a command and lets time pass until it is answered.
    pub fn run(&mut self, number: usize, command: Command) -> Result<Reply, CommandError> {
        let op = self.give(number, command);
        self.until("the command's answer", |world| {
            world.hosts[number].done.contains_key(&op)
        });
        self.hosts[number].done.remove(&op).unwrap()
    }

    pub fn give(&mut self, number: usize, command: Command) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.push(number, Duration::ZERO, Input::Command(op, command));
        op
    }

    /// Something happens to a node's host.
    pub fn tell(&mut self, number: usize, event: HostEvent) {
        self.push(number, Duration::ZERO, Input::Host(event));
    }

    /// A host is elsewhere, and goes on with the links that it dialled, as QUIC does: after a while it has proved to
    /// their other ends where it is.
    pub fn move_to(&mut self, number: usize, at: IpAddr, interface: IpAddr) {
        self.hosts[number].at = at;
        let ends = self
            .ends
            .iter()
            .filter(|((host, link), _)| *host == number && link.0 >> 63 == 0);
        let others: Vec<(usize, LinkId)> = ends.map(|(_, end)| end.peer).collect();
        for (other, link) in others {
            let moved = LinkEvent::Moved(SocketAddr::new(at, 40_001));
            self.push(other, Duration::from_millis(200), Input::Link(link, moved));
        }
        self.tell(number, HostEvent::Addresses(vec![interface]));
    }

    /// Lets time pass until something holds, at most two virtual minutes.
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

    /// Whether an event was seen.
    pub fn saw(&self, number: usize, test: impl Fn(&Event) -> bool) -> bool {
        self.hosts[number].events.iter().any(test)
    }

    fn next_at(&self) -> Option<Time> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let due = self
            .hosts
            .iter()
            .filter_map(|host| Some(host.node.as_ref()?.deadline()?.0))
            .min();
        [queued, due].into_iter().flatten().min()
    }

    /// The next input, or the next deadline if that is earlier.
    fn step(&mut self) {
        let due = self
            .hosts
            .iter()
            .enumerate()
            .filter_map(|(number, host)| Some((host.node.as_ref()?.deadline()?.0, number)))
            .min();
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let (at, number, input) = match (due, queued) {
            (Some((at, number)), queued) if queued.is_none_or(|queued| at < queued) => {
                (at, number, Input::Tick)
            }
            _ => {
                let Some(((at, _), (number, input))) = self.queue.pop_first() else {
                    panic!("nothing will ever happen")
                };
                (at, number, input)
            }
        };
        self.now = self.now.max(at);
        let now = self.clock_of(number);
        if let Some(deployed) = self.hosts[number].deployed.as_mut() {
            for output in deployed.handle(now, input) {
                self.carry_out(number, output);
            }
            return;
        }
        let host = &mut self.hosts[number];
        if let (Some(brought), Input::Link(link, LinkEvent::Bytes(lane, bytes))) =
            (&mut host.brought, &input)
        {
            let stream = brought.entry((*link, *lane)).or_default();
            stream.extend_from_slice(bytes);
        }
        if let Input::Loaded(id, _) = &input {
            host.hashing.remove(id);
        }
        let Some(node) = host.node.as_mut() else {
            return;
        };
        node.handle(now, input);
        if let Some((deadline, why)) = node.deadline() {
            assert!(deadline > now.mono, "{why:?} is due in the past");
        }
        explained(node, now.mono);
        self.drain(number);
        let node = self.hosts[number].node.as_ref();
        let broken = node.map(Node::check).unwrap_or_default();
        assert_eq!(broken, Vec::<String>::new());
    }

    fn push(&mut self, number: usize, after: Duration, input: Input) {
        self.seq += 1;
        self.queue
            .insert((self.now + after, self.seq), (number, input));
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.hosts[number].node.as_mut().and_then(Node::poll_output) {
            self.carry_out(number, output);
        }
    }

    fn carry_out(&mut self, number: usize, output: Output) {
        let soon = Duration::from_micros(100);
        match output {
            Output::Dial(link, dial) => self.dial(number, link, &dial),
            Output::Send(link, lane, frame) => {
                self.send(number, link, lane, [frame.head, frame.body])
            }
            Output::Grant(link, lane, bytes) => self.grant(number, link, lane, bytes),
            Output::Close(link, _) => {
                if let Some(end) = self.ends.remove(&(number, link)) {
                    let (host, link) = end.peer;
                    self.push(
                        host,
                        LATENCY,
                        Input::Link(link, LinkEvent::Closed(LinkError::Closed)),
                    );
                }
            }
            Output::Load(id, load) => {
                let host = &mut self.hosts[number];
                if let (Some(held), Load::Resume { .. }) = (&mut host.resumes, &load) {
                    return held.push((id, load));
                }
                let mut after = soon;
                if let Load::Hash(_) = load {
                    host.hashing.insert(id);
                    host.hashing_most = host.hashing_most.max(host.hashing.len());
                    after = Duration::from_millis(20);
                }
                let result = host.disk.load(load);
                self.push(number, after, Input::Loaded(id, result));
            }
            Output::Write(id, piece) => {
                let result = self.hosts[number].disk.write(piece);
                self.push(number, soon, Input::Written(id, result));
            }
            Output::Commit(id, batch) => {
                let result = self.hosts[number].disk.commit(batch);
                self.push(number, soon, Input::Committed(id, result));
            }
            Output::Done(op, result) => {
                self.hosts[number].done.insert(op, result);
            }
            Output::Event(event) => self.hosts[number].events.push(event),
        }
    }

    fn dial(&mut self, number: usize, link: LinkId, dial: &Dial) {
        let Host::Ip(target) = dial.host else {
            panic!("names are not resolved here")
        };
        let port = match dial.transport {
            Transport::Quic => QUIC_PORT,
            Transport::Tcp => QUIC_PORT + 1,
        };
        let from = number;
        let callee = (0..self.hosts.len()).find(|number| {
            let host = &self.hosts[*number];
            host.at == target
                && !host.walled
                && (host.admits)(self.hosts[from].at, dial.transport)
                && (host.node.is_some() || host.deployed.is_some())
        });
        let Some(callee) = callee.filter(|_| dial.port == port) else {
            return self.push(
                number,
                LATENCY * 2,
                Input::Link(link, LinkEvent::Failed(DialError::Refused)),
            );
        };
        self.next_link += 1;
        let accepted = LinkId(self.next_link | 1 << 63);
        let exporter = [self.next_link as u8; 32];
        let near = SocketAddr::new(self.hosts[number].at, 40_000);
        let far = SocketAddr::new(target, dial.port);
        for (end, peer) in [
            ((number, link), (callee, accepted)),
            ((callee, accepted), (number, link)),
        ] {
            self.ends.insert(
                end,
                End {
                    peer,
                    granted: BTreeMap::new(),
                    waiting: BTreeMap::new(),
                },
            );
        }
        let info = |remote| LinkInfo {
            transport: dial.transport,
            remote,
            exporter,
        };
        self.push(
            callee,
            LATENCY,
            Input::Link(accepted, LinkEvent::Accepted(info(near))),
        );
        self.push(
            number,
            LATENCY * 2,
            Input::Link(link, LinkEvent::Dialed(info(far))),
        );
        for (host, link) in [(callee, accepted), (number, link)] {
            self.push(
                host,
                LATENCY * 2,
                Input::Link(link, LinkEvent::Room(Lane::Control, 1 << 20)),
            );
            if dial.transport == Transport::Quic {
                self.push(
                    host,
                    LATENCY * 2,
                    Input::Link(link, LinkEvent::Room(Lane::Bulk, 1 << 20)),
                );
            }
        }
    }

    fn send(&mut self, number: usize, link: LinkId, lane: Lane, pieces: [Bytes; 2]) {
        let bytes: u32 = pieces.iter().map(|piece| piece.len() as u32).sum();
        let Some(peer) = self.ends.get(&(number, link)).map(|end| end.peer) else {
            return;
        };
        let reader = self.hosts[peer.0].deployed.as_ref();
        if reader.is_none_or(|deployed| deployed.reads) {
            let room = LinkEvent::Room(lane, bytes);
            self.push(number, LATENCY, Input::Link(link, room));
        } else {
            *self.unread.entry((number, link, lane)).or_default() += bytes;
        }
        let Some(end) = self.ends.get_mut(&peer) else {
            return;
        };
        end.waiting
            .entry(lane)
            .or_default()
            .extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
        self.deliver(peer, lane);
    }

    fn grant(&mut self, number: usize, link: LinkId, lane: Lane, bytes: u32) {
        let Some(end) = self.ends.get_mut(&(number, link)) else {
            return;
        };
        *end.granted.entry(lane).or_default() += u64::from(bytes);
        self.deliver((number, link), lane);
    }

    /// Hands over what waits, as far as it is granted.
    fn deliver(&mut self, at: (usize, LinkId), lane: Lane) {
        let mut ready = Vec::new();
        let Some(end) = self.ends.get_mut(&at) else {
            return;
        };
        let granted = end.granted.entry(lane).or_default();
        let waiting = end.waiting.entry(lane).or_default();
        while *granted > 0 {
            let Some(mut piece) = waiting.pop_front() else {
                break;
            };
            let most = usize::try_from(*granted).unwrap().min(16 * 1024);
            if piece.len() > most {
                waiting.push_front(piece.split_off(most));
            }
            *granted -= piece.len() as u64;
            ready.push(piece);
        }
        for piece in ready {
            self.push(
                at.0,
                LATENCY,
                Input::Link(at.1, LinkEvent::Bytes(lane, piece)),
            );
        }
    }

    fn cut(&mut self, number: usize, link: LinkId, noticed: Duration) {
        let Some(end) = self.ends.remove(&(number, link)) else {
            return;
        };
        let (host, link) = end.peer;
        self.ends.remove(&end.peer);
        self.push(
            host,
            noticed,
            Input::Link(link, LinkEvent::Closed(LinkError::Lost)),
        );
    }
}

/// Everything unfinished has a cause, and what is a matter of time is not over.
fn explained(node: &Node, now: Time) {
    let Some((deadline, _)) = node.deadline() else {
        return;
    };
    let downloads = node.downloads().into_iter();
    let downloads = downloads.filter(|view| view.state != DownloadState::Finished);
    let shares = node.shares().into_iter().filter(|view| view.seq == 0);
    let subscriptions = node.subscriptions().into_iter();
    let subjects = (downloads.map(|view| Subject::Download(view.id)))
        .chain(shares.map(|view| Subject::Share(view.id)))
        .chain(subscriptions.map(|view| Subject::Subscription(view.id)))
        .chain(node.peers().into_iter().map(|view| Subject::Peer(view.key)));
    for subject in subjects {
        let causes = node.why(subject);
        assert!(!causes.is_empty(), "{subject:?} has no cause");
        for cause in causes {
            assert_ne!(cause, Cause::Unknown, "{subject:?}");
            if let Some(at) = cause.until() {
                let due = deadline <= now + Duration::from_micros(1);
                assert!(at > now || due, "{cause:?} is over");
            }
        }
    }
}
