//! Two nodes in one process, without sockets or disks: the driver contract by example.
//!
//! One node publishes a file; the other follows the share by its link and downloads it. The driver does what every
//! driver does: it pops outputs and carries them out in order, hands in what came of them, and sleeps until the
//! next deadline. Here everything succeeds at once, and sleeping is setting the clock.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use scp2p_proto::Node;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::config::Config;
use scp2p_proto::id::{LinkId, OpId};
use scp2p_proto::io::{Input, Lane, LinkError, LinkEvent, LinkInfo, Output};
use scp2p_proto::keys::Keys;
use scp2p_proto::storage::{LocalPath, Saved};
use scp2p_proto::time::{Now, Time, UnixTime};

#[path = "loopback/disk.rs"]
mod disk;
use disk::Disk;

const PORT: u16 = 7000;
const HELLO: &[u8] = b"hello, world";

fn main() {
    let mut world = World::new(Now {
        mono: Time(1),
        unix: UnixTime(1_700_000_000),
    });
    let files = &mut world.disks[0].files;
    files.insert("/hello.txt".into(), Bytes::from_static(HELLO));

    let publish = Publish::new("greetings", vec![LocalPath("/hello.txt".into())]);
    let Reply::Published { link, share, .. } = world.ask(0, Command::Publish(publish)) else {
        unreachable!("the answer to a publish")
    };
    println!("published as {link}");

    world.ask(1, Command::Subscribe(link));
    world.run_until(|world| world.nodes[1].subscriptions()[0].seq == 1);

    let what = GetWhat::Share { share, path: None };
    let root = LocalPath("/downloads".into());
    world.ask(1, Command::Get(Get { what, root }));
    world.run_until(|world| world.disks[1].files.contains_key("/downloads/hello.txt"));
    assert_eq!(world.disks[1].files["/downloads/hello.txt"], HELLO);
    println!("downloaded {} bytes, all of them right", HELLO.len());
}

/// Two hosts, and what is on its way to either node.
struct World {
    now: Now,
    nodes: [Node; 2],
    disks: [Disk; 2],
    inbox: VecDeque<(usize, Input)>,
    answer: Option<Reply>,
}

impl World {
    fn new(now: Now) -> World {
        let node = |host: u8| {
            let mut config = Config::default();
            (config.quic_port, config.bound_ips) = (Some(PORT), vec![addr(host).ip()]);
            // A real driver takes both from the system's entropy and keeps the first.
            let (keys, seed) = (Keys::from_seed([host + 1; 32]), [host + 9; 32]);
            Node::new(config, keys, seed, Saved::default(), now)
        };
        let (nodes, disks) = ([node(0), node(1)], Default::default());
        let (inbox, answer) = (VecDeque::new(), None);
        World {
            now,
            nodes,
            disks,
            inbox,
            answer,
        }
    }

    /// Hands a command in and drives both nodes until it is answered.
    fn ask(&mut self, host: usize, command: Command) -> Reply {
        self.hand_in(host, Input::Command(OpId(1), command));
        self.run_until(|world| world.answer.is_some());
        self.answer.take().expect("waited for")
    }

    fn run_until(&mut self, holds: impl Fn(&World) -> bool) {
        while !holds(self) {
            if let Some((host, input)) = self.inbox.pop_front() {
                self.nodes[host].handle(self.now, input);
            } else {
                // Nothing is under way: sleep to the next deadline.
                let due = self
                    .nodes
                    .iter()
                    .filter_map(Node::deadline)
                    .min_by_key(|due| due.0);
                let (at, _why) = due.expect("a running node has a deadline");
                self.now.mono = self.now.mono.max(at);
                for node in &mut self.nodes {
                    node.handle(self.now, Input::Tick);
                }
            }
            for host in [0, 1] {
                while let Some(output) = self.nodes[host].poll_output() {
                    self.carry_out(host, output);
                }
            }
        }
    }

    fn carry_out(&mut self, near: usize, output: Output) {
        let far = 1 - near;
        // The ends number a link by themselves: what one accepted has bit 63 set, what it dialled has not.
        let other_end = |link: LinkId| LinkId(link.0 ^ 1 << 63);
        match output {
            Output::Dial(link, dial) => {
                // The exporter is what both ends of one TLS connection know, and nobody in between.
                let info = |host| LinkInfo {
                    transport: dial.transport,
                    remote: addr(host as u8),
                    exporter: [7; 32],
                };
                self.on_link(far, other_end(link), LinkEvent::Accepted(info(near)));
                self.on_link(near, link, LinkEvent::Dialed(info(far)));
                for (host, link) in [(far, other_end(link)), (near, link)] {
                    self.on_link(host, link, LinkEvent::Room(Lane::Control, u32::MAX));
                }
            }
            Output::Send(link, lane, frame) => {
                for bytes in [frame.head, frame.body] {
                    self.on_link(far, other_end(link), LinkEvent::Bytes(lane, bytes));
                }
            }
            Output::Close(link, _) => {
                self.on_link(far, other_end(link), LinkEvent::Closed(LinkError::Closed));
            }
            // All that these two ever say is less than what is granted at first.
            Output::Grant(..) => {}
            Output::Load(id, load) => {
                let loaded = self.disks[near].load(load);
                self.hand_in(near, Input::Loaded(id, Ok(loaded)));
            }
            Output::Write(id, piece) => {
                let written = self.disks[near].write(piece);
                self.hand_in(near, Input::Written(id, written));
            }
            Output::Commit(id, batch) => {
                self.disks[near].commit(batch);
                self.hand_in(near, Input::Committed(id, Ok(())));
            }
            Output::Done(_, result) => {
                self.answer = Some(result.expect("every command here succeeds"))
            }
            Output::Event(event) => println!("node {near}: {event:?}"),
        }
    }

    fn hand_in(&mut self, host: usize, input: Input) {
        self.inbox.push_back((host, input));
    }

    fn on_link(&mut self, host: usize, link: LinkId, event: LinkEvent) {
        self.hand_in(host, Input::Link(link, event));
    }
}

fn addr(host: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, host + 1), PORT).into()
}
