//! Two nodes in one process, without sockets or disks: the driver contract by example.
//!
//! One node publishes a file, the other follows the share by its link and downloads it. Each driver below
//! does what every driver does: it pops outputs and carries them out in order, hands in what came of
//! them, and sleeps until the deadline. Here everything succeeds at once and time jumps.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use scp2p_proto::Node;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::config::Config;
use scp2p_proto::id::{ContentId, LinkId, OpId};
use scp2p_proto::io::{Host, Input, Lane, LinkError, LinkEvent, LinkInfo, Output};
use scp2p_proto::keys::Keys;
use scp2p_proto::storage::*;
use scp2p_proto::time::{Now, Time, UnixTime};

const PORT: u16 = 7000;

/// A node with its rows and files, and what waits to be handed in.
struct Driver {
    node: Node,
    inbox: VecDeque<Input>,
    rows: BTreeMap<(Table, Bytes), Bytes>,
    files: BTreeMap<String, Bytes>,
    answers: Vec<Reply>,
}

fn ip(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host as u8 + 1).into()
}

impl Driver {
    fn new(host: usize, now: Now) -> Driver {
        let config = Config {
            quic_port: Some(PORT),
            bound_ips: vec![ip(host)],
            ..Config::default()
        };
        // A real driver takes both from the system's entropy and keeps the first.
        let (keys, seed) = (Keys::from_seed([host as u8 + 1; 32]), [host as u8 + 9; 32]);
        let node = Node::new(config, keys, seed, Saved::default(), now);
        Driver {
            node,
            inbox: VecDeque::new(),
            rows: BTreeMap::new(),
            files: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// The disk: every load sees all earlier commits.
    fn load(&self, load: Load) -> Loaded {
        match load {
            Load::Row(table, key) => Loaded::Row(self.rows.get(&(table, key)).cloned()),
            Load::Piece { file, offset, len } => Loaded::Piece(
                self.files[&file.path.0].slice(offset as usize..offset as usize + len as usize),
            ),
            Load::Scan { roots, .. } => {
                Loaded::Scan(roots.into_iter().map(|path| self.scanned(path)).collect())
            }
            Load::Hash(paths) => Loaded::Hash(
                paths
                    .into_iter()
                    .map(|path| Ok(self.hashed(path)))
                    .collect(),
            ),
            Load::Resume { .. } => Loaded::Resume(Resumed::Fresh),
        }
    }

    fn scanned(&self, path: LocalPath) -> ScannedFile {
        let size = self.files[&path.0].len() as u64;
        ScannedFile {
            rel: path.0.trim_start_matches('/').to_string(),
            path,
            size,
        }
    }

    /// Files here have one chunk, so there are no hash pages to store.
    fn hashed(&self, path: LocalPath) -> HashedFile {
        let bytes = &self.files[&path.0];
        let hash = blake3::hash(bytes);
        let chunk_list_hash = *blake3::hash(hash.as_bytes()).as_bytes();
        let file = FileRef {
            path,
            size: bytes.len() as u64,
            mtime_ns: 0,
        };
        HashedFile {
            file,
            content: ContentId(*hash.as_bytes()),
            chunk_count: 1,
            chunk_list_hash,
        }
    }

    fn commit(&mut self, batch: Batch) {
        for part in batch.finish {
            let name = format!("{}/{}", part.root.0, part.rel);
            let bytes = self
                .files
                .remove(&format!("{name}.part"))
                .unwrap_or_default();
            self.files.insert(name, bytes);
        }
        for op in batch.rows {
            match op {
                RowOp::Put(table, key, value) => drop(self.rows.insert((table, key), value)),
                RowOp::Delete(table, key) => drop(self.rows.remove(&(table, key))),
            }
        }
    }
}

/// Carries out one output of a node; `far` is the node at the other end of every link.
fn carry_out(host: usize, near: &mut Driver, far: &mut Driver, output: Output) {
    match output {
        Output::Dial(link, dial) => {
            let Host::Ip(ip_dialed) = dial.host else {
                return;
            };
            // Both ends know a link by an id of their own; accepted ones have bit 63 set.
            let accepted = LinkId(link.0 | 1 << 63);
            let info = |ip| LinkInfo {
                transport: dial.transport,
                remote: SocketAddr::new(ip, dial.port),
                exporter: [7; 32],
            };
            far.inbox
                .push_back(Input::Link(accepted, LinkEvent::Accepted(info(ip(host)))));
            far.inbox.push_back(Input::Link(
                accepted,
                LinkEvent::Room(Lane::Control, u32::MAX),
            ));
            near.inbox
                .push_back(Input::Link(link, LinkEvent::Dialed(info(ip_dialed))));
            near.inbox
                .push_back(Input::Link(link, LinkEvent::Room(Lane::Control, u32::MAX)));
        }
        Output::Send(link, lane, frame) => {
            for piece in [frame.head, frame.body] {
                far.inbox.push_back(Input::Link(
                    LinkId(link.0 ^ 1 << 63),
                    LinkEvent::Bytes(lane, piece),
                ));
            }
        }
        // All that fits in memory here is within what was granted.
        Output::Grant(..) => {}
        Output::Close(link, _) => {
            let closed = LinkEvent::Closed(LinkError::Closed);
            far.inbox
                .push_back(Input::Link(LinkId(link.0 ^ 1 << 63), closed));
        }
        Output::Load(id, load) => near.inbox.push_back(Input::Loaded(id, Ok(near.load(load)))),
        Output::Write(id, piece) => {
            let name = format!("{}/{}.part", piece.part.root.0, piece.part.rel);
            let is_right =
                matches!(piece.proof, Proof::Hash(hash) if blake3::hash(&piece.data) == hash);
            near.files.insert(name, piece.data);
            near.inbox.push_back(Input::Written(
                id,
                if is_right {
                    Ok(())
                } else {
                    Err(WriteError::WrongBytes)
                },
            ));
        }
        Output::Commit(id, batch) => {
            near.commit(batch);
            near.inbox.push_back(Input::Committed(id, Ok(())));
        }
        Output::Done(_, result) => near
            .answers
            .push(result.expect("every command here succeeds")),
        Output::Event(event) => println!("node {host}: {event:?}"),
    }
}

/// Runs both nodes until `holds`.
fn run(drivers: &mut [Driver; 2], now: &mut Now, mut holds: impl FnMut(&[Driver; 2]) -> bool) {
    while !holds(drivers) {
        let [one, two] = &mut *drivers;
        for host in 0..2 {
            let (near, far) = if host == 0 {
                (&mut *one, &mut *two)
            } else {
                (&mut *two, &mut *one)
            };
            while let Some(output) = near.node.poll_output() {
                carry_out(host, near, far, output);
            }
            if let Some(input) = near.inbox.pop_front() {
                near.node.handle(*now, input);
            }
        }
        if drivers.iter_mut().all(|driver| driver.inbox.is_empty()) {
            // Nothing is under way: sleep to the next deadline, and tell whoever it belongs to.
            let due = drivers
                .iter()
                .filter_map(|driver| driver.node.deadline())
                .map(|(at, _)| at)
                .min();
            now.mono = due
                .expect("a running node always has a deadline")
                .max(now.mono);
            for driver in drivers.iter_mut() {
                driver.node.handle(*now, Input::Tick);
            }
        }
    }
}

fn main() {
    let mut now = Now {
        mono: Time(1),
        unix: UnixTime(1_700_000_000),
    };
    let mut drivers = [Driver::new(0, now), Driver::new(1, now)];
    drivers[0]
        .files
        .insert("/hello.txt".into(), Bytes::from_static(b"hello, world"));

    let publish = Publish {
        name: "greetings".into(),
        paths: vec![LocalPath("/hello.txt".into())],
        title: Some("Greetings".into()),
        description: None,
        tags: None,
        visibility: None,
    };
    drivers[0]
        .inbox
        .push_back(Input::Command(OpId(1), Command::Publish(publish)));
    run(&mut drivers, &mut now, |drivers| {
        !drivers[0].answers.is_empty()
    });
    let Some(Reply::Published { link, share, .. }) = drivers[0].answers.pop() else {
        unreachable!("it was published")
    };
    println!("published as {link}");

    drivers[1]
        .inbox
        .push_back(Input::Command(OpId(2), Command::Subscribe(link)));
    run(&mut drivers, &mut now, |drivers| {
        drivers[1]
            .node
            .subscriptions()
            .iter()
            .any(|view| view.seq == 1)
    });

    let get = Get {
        what: GetWhat::Share { share, path: None },
        root: LocalPath("/downloads".into()),
    };
    drivers[1]
        .inbox
        .push_back(Input::Command(OpId(3), Command::Get(get)));
    run(&mut drivers, &mut now, |drivers| {
        drivers[1].files.contains_key("/downloads/hello.txt")
    });
    println!("downloaded {:?}", drivers[1].files["/downloads/hello.txt"]);
}
