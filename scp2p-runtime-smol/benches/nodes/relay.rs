//! A relay between two nodes that listen nowhere, and between peers that only hold circuits.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use scp2p_proto::id::{CircuitId, NodeKey};
use scp2p_proto::io::Transport;
use scp2p_proto::limits::{CIRCUIT_COST, CIRCUIT_WINDOW, RECORD_MAX};
use scp2p_proto::wire::{Answer, CircuitFrame, Request};

use super::client::Client;
use super::measure::{Sample, Series};
use super::roles::{HiddenSeeder, RelayProcess, SeederProcess};

/// What one address may ask a relay for at once.
const ASKS: u32 = 60;
/// Bytes a second that the relay passes for one address while it is flooded.
const RATE: u32 = 8 << 20;
/// How many addresses it is flooded from.
const ADDRESSES: u32 = 4;

/// A download through a relay beside one that goes direct: three processes, and two.
pub fn throughput(dir: &Path, file: &Path, by: Transport, mib: u64, rounds: u64) {
    let mut relay = RelayProcess::start(dir, None);
    let mut open = SeederProcess::start(dir, by, u16::MAX, file);
    let mut hidden = HiddenSeeder::start(dir, relay.hides(by), file);
    let (mut direct, mut relayed) = (Series::default(), Series::default());
    let mut relay_cpu = 0.0;
    for _ in 0..rounds {
        direct.push(open.transfer().sample);
        let before = relay.usage().cpu;
        relayed.push(hidden.transfer(dir));
        relay_cpu += relay.usage().cpu - before;
    }
    println!("download of {mib} MiB through a relay over {by}");
    println!("    direct          {}", direct.throughput(mib));
    println!("    relayed         {}", relayed.throughput(mib));
    let of_relay = relay_cpu / rounds as f64 * 1024.0 / mib as f64;
    println!("    the relay       {of_relay:.2} CPU seconds per GiB");
    let ratio = direct.median() / relayed.median();
    println!("    relayed / direct {ratio:.2}");
}

/// The memory that a relay takes for circuits through which nothing goes.
pub fn idle(dir: &Path) {
    const CIRCUITS: u32 = 1000;
    let mut relay = RelayProcess::start(dir, None);
    let to = relay.tcp();
    let owner = take_place(to, 0);
    let openers = CIRCUITS.div_ceil(ASKS);
    let mut openers: Vec<Client> = (1..=openers)
        .map(|n| Client::meet(from(n), to, n).expect("a session"))
        .collect();
    thread::sleep(Duration::from_secs(1));
    let before = relay.usage().memory;
    let mut left = CIRCUITS;
    for opener in &mut openers {
        for _ in 0..left.min(ASKS) {
            connect(opener, owner).expect("a circuit");
        }
        left = left.saturating_sub(ASKS);
    }
    thread::sleep(Duration::from_secs(1));
    let taken = (relay.usage().memory - before) * 1024.0 / f64::from(CIRCUITS);
    println!("{CIRCUITS} idle circuits\n    {taken:.1} KiB of the relay's memory for each");
}

/// A download through a relay that keeps to a rate, beside the same while others ask for places and circuits as fast
/// as they can, send on circuits that are not theirs, and have circuits full of what nobody takes.
pub fn flood(dir: &Path, file: &Path, mib: u64, rounds: u64) {
    let mut relay = RelayProcess::start(dir, Some(RATE));
    let to = relay.tcp();
    let mut hidden = HiddenSeeder::start(dir, relay.hides(Transport::Tcp), file);
    let slow = take_place(to, ADDRESSES + 1);
    let (mut quiet, mut flooded) = (Series::default(), Series::default());
    let (mut asked, mut guessed, mut stalled, mut seconds) = (0, 0, 0, 0.0);
    let before = relay.usage().memory;
    for _ in 0..rounds {
        quiet.push(hidden.transfer(dir));
        let flood = Flood::default();
        let began = Instant::now();
        let clients: Vec<(Client, usize)> = (1..=ADDRESSES)
            .filter_map(|address| stall(to, address, slow).ok())
            .collect();
        stalled += clients.iter().map(|(_, circuits)| circuits).sum::<usize>();
        let sample: Sample = thread::scope(|scope| {
            let flood = &flood;
            for address in 1..=ADDRESSES {
                scope.spawn(move || flood.ask(to, address));
                scope.spawn(move || flood.guess(to, address));
            }
            let sample = hidden.transfer(dir);
            flood.over.store(true, Ordering::Relaxed);
            sample
        });
        seconds += began.elapsed().as_secs_f64();
        flooded.push(sample);
        asked += flood.asked.load(Ordering::Relaxed);
        guessed += flood.guessed.load(Ordering::Relaxed);
    }
    let grown = relay.usage().memory - before;
    println!(
        "a relay at {} MiB/s that is flooded from {ADDRESSES} addresses",
        RATE >> 20
    );
    println!(
        "    {:.0} places and circuits asked for a second",
        asked as f64 / seconds
    );
    println!("    {guessed} records sent on circuits of others");
    println!("    {stalled} circuits full of what nobody takes");
    println!("    quiet           {}", quiet.throughput(mib));
    println!("    flooded         {}", flooded.throughput(mib));
    println!(
        "    flooded / quiet {:.2}",
        quiet.median() / flooded.median()
    );
    println!("    memory          {grown:+.1} MiB");
}

#[derive(Default)]
struct Flood {
    over: AtomicBool,
    asked: AtomicU64,
    guessed: AtomicU64,
}

/// One thread of a flood does so many things a second at most.
const PER_SECOND: u32 = 2500;

impl Flood {
    /// Asks for places and for circuits to anybody, with a new key for every thousand times.
    fn ask(&self, to: SocketAddr, address: u32) {
        self.with_keys(to, address * 100_000, |client, turn| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&turn.to_be_bytes());
            for request in [Request::Reserve, Request::Connect(NodeKey(key))] {
                client.ask(&request)?;
                client.next()?;
                self.asked.fetch_add(1, Ordering::Relaxed);
            }
            Ok(turn < 500)
        });
    }

    /// Sends on circuits that others may have.
    fn guess(&self, to: SocketAddr, address: u32) {
        self.with_keys(to, address * 100_000 + 50_000, |client, turn| {
            let frame = CircuitFrame::Data(Bytes::from_static(&[7; 64]));
            client.send(&frame.to_frame(CircuitId(turn % 4096)))?;
            self.guessed.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        });
    }

    /// Has peers with ever new keys do something again and again, each until it says or fails.
    fn with_keys(
        &self,
        to: SocketAddr,
        first: u32,
        act: impl Fn(&mut Client, u32) -> io::Result<bool>,
    ) {
        let is_over = || self.over.load(Ordering::Relaxed);
        let mut pause = 0;
        for n in first.. {
            let Ok(mut client) = Client::meet(from(first / 100_000), to, n) else {
                if is_over() {
                    return;
                }
                continue;
            };
            for turn in 0.. {
                pause += 1;
                if pause % (PER_SECOND / 50) == 0 {
                    thread::sleep(Duration::from_millis(20));
                }
                if is_over() {
                    return;
                }
                if !act(&mut client, turn).unwrap_or(false) {
                    break;
                }
            }
        }
    }
}

/// Fills circuits to somebody who grants nothing; with how many there were.
fn stall(to: SocketAddr, address: u32, slow: NodeKey) -> io::Result<(Client, usize)> {
    let mut client = Client::meet(from(address), to, 900_000 + address)?;
    let piece = Bytes::from(vec![7; RECORD_MAX - CIRCUIT_COST as usize]);
    let mut circuits = 0;
    while circuits < 8
        && let Ok(circuit) = connect(&mut client, slow)
    {
        for _ in 0..CIRCUIT_WINDOW / RECORD_MAX as u64 {
            client.send(&CircuitFrame::Data(piece.clone()).to_frame(circuit))?;
        }
        circuits += 1;
    }
    Ok((client, circuits))
}

/// One of the addresses of loopback.
fn from(n: u32) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, n as u8)
}

/// Somebody takes a place at a relay, and all circuits that lead there from then on.
fn take_place(to: SocketAddr, n: u32) -> NodeKey {
    let mut owner = Client::meet(from(n), to, n).expect("a session");
    let place = owner.call(&Request::Reserve).expect("an answer");
    assert!(matches!(place, Ok(Answer::Reserved(_))), "{place:?}");
    let key = owner.key();
    thread::spawn(move || while owner.next().is_ok() {});
    key
}

fn connect(opener: &mut Client, target: NodeKey) -> io::Result<CircuitId> {
    match opener.call(&Request::Connect(target))? {
        Ok(Answer::Circuit(new)) => Ok(new.circuit),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}
