//! Strangers who talk nonsense, or nothing, while a download runs.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use scp2p_proto::keys::Keys;
use scp2p_proto::wire::{Profile, Request};

use super::common::peer::{Peer, deployed_hello, random};
use super::common::tls::{Channel, client_hello};
use super::common::{Node, Settings, until};
use super::{SOON, content, follow, publish, utf8};

/// Connections that say nothing, at each node.
const SILENT: usize = 100;
/// Accepted links whose handshake is not finished, of one transport; a node has no more.
const HALF_OPEN_MAX: usize = 384;
/// A pause between two tries of a villain, so that the machine does something else too.
const PAUSE: Duration = Duration::from_millis(5);
/// What comes one by one comes so slowly.
const DRIP: Duration = Duration::from_millis(100);

/// What strangers do, again and again.
struct Villain {
    name: &'static str,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// All strangers, until they are told to stop.
struct Villains {
    all: Vec<Villain>,
    stop: Arc<AtomicBool>,
}

impl Villains {
    fn new() -> Villains {
        Villains {
            all: Vec::new(),
            stop: Arc::default(),
        }
    }

    fn add(
        &mut self,
        name: &'static str,
        mut round: impl FnMut(&AtomicBool) -> io::Result<()> + Send + 'static,
    ) {
        let (stop, rounds) = (self.stop.clone(), Arc::<AtomicU64>::default());
        let count = rounds.clone();
        let thread = spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // That the node hangs up is what is expected of it.
                let _ = round(&stop);
                count.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE);
            }
        });
        self.all.push(Villain {
            name,
            rounds,
            thread,
        });
    }

    /// All that this file knows, against one node.
    fn surround(&mut self, node: &Node) {
        let (tcp, quic) = (node.tcp(), node.quic());
        self.add("garbage before TLS", move |_| garbage(tcp));
        self.add("garbage after TLS", move |_| garbage_within(tcp));
        self.add("lying lengths", move |_| lying_lengths(tcp));
        self.add("lying lengths after the handshake", move |_| {
            lying_lengths_of_a_peer(tcp)
        });
        self.add("a dripping TLS hello", move |stop| {
            let mut tcp = TcpStream::connect(tcp)?;
            drip(stop, &client_hello(), |byte| tcp.write_all(byte))
        });
        self.add("a dripping hello", move |stop| {
            let mut channel = Channel::dial(tcp)?;
            let hello = deployed_hello(&stranger(), Profile::C, random(), None);
            drip(stop, &hello, |byte| channel.send(byte))
        });
        self.add("silence", silence(tcp, SILENT));
        self.add("datagrams", move |_| datagrams(quic));
    }

    /// Waits until each has come so far once more, while it is tried that all else is well.
    fn wait_for_a_round(&self, mut well: impl FnMut()) {
        let before: Vec<u64> = self.all.iter().map(Villain::rounds).collect();
        for (villain, before) in self.all.iter().zip(before) {
            until(villain.name, SOON, || {
                well();
                (villain.rounds() > before).then_some(())
            });
        }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for villain in self.all {
            villain.thread.join().expect(villain.name);
        }
    }
}

impl Villain {
    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

fn stranger() -> Keys {
    Keys::from_seed(random())
}

fn garbage(to: SocketAddr) -> io::Result<()> {
    let mut tcp = TcpStream::connect(to)?;
    tcp.write_all(&random().repeat(64))
}

fn garbage_within(to: SocketAddr) -> io::Result<()> {
    let mut channel = Channel::dial(to)?;
    channel.send(&random().repeat(64))?;
    channel.receive().map(drop)
}

/// Frames that say to be longer than they may, or than what follows; hung up in their middle.
fn lying_lengths(to: SocketAddr) -> io::Result<()> {
    for len in [u32::MAX, 1 << 31, 65_537, 65_536, 5, 0] {
        let mut channel = Channel::dial(to)?;
        channel.send(&len.to_be_bytes())?;
        channel.send(&random())?;
    }
    Ok(())
}

/// The same by somebody who has a session.
fn lying_lengths_of_a_peer(to: SocketAddr) -> io::Result<()> {
    for len in [u32::MAX, 2_097_153, 2_097_152, 70_000, 0] {
        let mut peer = Peer::dial_deployed(to, &stranger(), Profile::C)?;
        peer.ask(&Request::PexRequest { max_peers: 1 })?;
        peer.send(&len.to_be_bytes())?;
        peer.send(&random().repeat(2_048))?;
    }
    Ok(())
}

/// Sends byte by byte, until the other end has enough.
fn drip(
    stop: &AtomicBool,
    bytes: &[u8],
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    for byte in bytes.chunks(1) {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        send(byte)?;
        sleep(DRIP);
    }
    Ok(())
}

/// Holds so many connections that say nothing; those that the node gave up are made anew.
fn silence(to: SocketAddr, count: usize) -> impl FnMut(&AtomicBool) -> io::Result<()> {
    let mut held: Vec<TcpStream> = Vec::new();
    move |_| {
        held.retain(|tcp| {
            let mut tcp = tcp;
            matches!(tcp.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        });
        while held.len() < count {
            let tcp = TcpStream::connect(to)?;
            tcp.set_nonblocking(true)?;
            held.push(tcp);
        }
        Ok(())
    }
}

/// Noise, and noise that looks like the beginning of a QUIC connection or the rest of one.
fn datagrams(to: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let noise = random().repeat(38);
    let initial = [
        &[0xc3, 0, 0, 0, 1, 8][..],
        &noise[..8],
        &[0, 0, 0x44, 0x96],
        &noise,
    ]
    .concat();
    let unknown_version = [&[0xc0, 0xfa, 0xce, 0xb0, 0x0c, 8][..], &noise].concat();
    let short = [&[0x40][..], &noise].concat();
    for datagram in [
        &noise[..],
        &initial[..1200],
        &initial[..60],
        &unknown_version,
        &short,
        &[],
    ] {
        socket.send_to(datagram, to)?;
    }
    Ok(())
}

/// Files and sockets that a node has open.
#[cfg(target_os = "linux")]
fn open_files(node: &Node) -> usize {
    let folder = format!("/proc/{}/fd", node.ready["pid"]);
    fs::read_dir(folder).expect("it runs").count()
}

#[test]
fn does_not_disturb_a_download() {
    let bytes = content(64 << 20, 41);
    let (publisher, node) = (
        Node::start(Settings::default()),
        Node::start(Settings::default()),
    );
    follow(&node, &publish(&publisher, &bytes));
    let mut villains = Villains::new();
    villains.surround(&publisher);
    villains.surround(&node);
    villains.wait_for_a_round(|| {});

    let out = node.folder("out");
    let rounds = |villains: &Villains| villains.all.iter().map(Villain::rounds).sum::<u64>();
    let before = rounds(&villains);
    node.cli(&["get", "Things", "-o", utf8(&out), "--detach"]);
    until("the end", SOON, || {
        for node in [&publisher, &node] {
            assert_eq!(node.cli(&["status"])["key"], node.key());
        }
        (node.cli(&["downloads"])[0]["state"] == "finished").then_some(())
    });
    assert!(rounds(&villains) > before, "somebody was there meanwhile");
    assert!(fs::read(out.join("file")).expect("it is there") == bytes);

    let other = publisher.key();
    let peers = node.cli(&["peers"]);
    let peers = peers.as_array().expect("a list");
    let peer = peers.iter().find(|peer| peer["key"] == other);
    assert_eq!(peer.expect("it is known")["session"]["bound"], true);
    villains.stop();
}

/// However many knock and say nothing, a node holds few of them, lets others in as soon as
/// these are gone, and keeps nothing of them.
#[cfg(target_os = "linux")]
#[test]
fn half_open_connections_are_few_and_do_not_stay() {
    let node = Node::start(Settings::default());
    let before = open_files(&node);
    let mut villains = Villains::new();
    villains.add("silence", silence(node.tcp(), HALF_OPEN_MAX + 100));
    let most = before + HALF_OPEN_MAX + 20;
    let mut seen = 0;
    until("as many as there may be", SOON, || {
        seen = seen.max(open_files(&node));
        assert!(seen <= most, "{seen} open files, {before} before");
        (seen >= before + HALF_OPEN_MAX / 2).then_some(())
    });
    villains.wait_for_a_round(|| assert!(open_files(&node) <= most));
    villains.stop();
    until("a session", SOON, || {
        Peer::dial(node.tcp(), &stranger()).ok()
    });
    until("nothing of them", SOON, || {
        (open_files(&node) <= before + 5).then_some(())
    });
}
