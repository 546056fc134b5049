//! Whole nodes beside what is below them, on loopback: bare transports, bare hashes. Ratios are of medians
//! taken in turns, because machines are noisy.
//!
//! `cargo bench -p scp2p-runtime-smol -- [download] [memory] [publish] [small] [handshakes] [relay] [--mib N] [--rounds N]`

mod bare;
mod client;
mod measure;
mod node;
mod relay;
mod roles;
mod stranger;
mod tls;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use scp2p_proto::io::Transport;
use tempfile::TempDir;

use measure::{Series, measured};
use node::{Follower, Seeder};
use roles::SeederProcess;

/// The packets of ordinary networks, in bytes.
const ETHERNET: u16 = 1500;
/// Bytes of content are hashed in pieces of this size, as chunk lists have them.
const CHUNK: usize = 256 << 10;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut plan = Plan {
        parts: Vec::new(),
        mib: 1024,
        rounds: 5,
    };
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse().ok()).expect("a number");
        match arg.as_str() {
            "--mib" => plan.mib = number(),
            "--rounds" => plan.rounds = number(),
            "--role" => return roles::play(args),
            _ => plan.parts.push(arg),
        }
    }
    if plan.has("download") {
        download(&plan);
    }
    if plan.has("memory") {
        memory(&plan);
    }
    if plan.has("publish") {
        publish(&plan);
    }
    if plan.has("small") {
        small_files(&plan);
    }
    if plan.has("handshakes") {
        handshakes(&plan);
    }
    if plan.has("relay") {
        relayed(&plan);
    }
}

/// What to measure.
struct Plan {
    /// Names of parts; none for all.
    parts: Vec<String>,
    /// How large the one file is.
    mib: u64,
    rounds: u64,
}

impl Plan {
    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

/// A verified download of one file to disk, beside the same bytes over bare transports.
fn download(plan: &Plan) {
    let dir = scratch();
    let file = random_file(dir.path(), plan.mib);
    let bytes = plan.mib << 20;
    let mut cases = [
        (Transport::Quic, ETHERNET, "QUIC, packets of 1500 bytes"),
        (
            Transport::Quic,
            u16::MAX,
            "QUIC, packets as large as loopback takes",
        ),
        (Transport::Tcp, u16::MAX, "TLS over TCP"),
    ]
    .map(|(by, packet_max, name)| {
        let seeder = SeederProcess::start(dir.path(), by, packet_max, &file);
        let (bare, node) = (Series::default(), Series::default());
        (by, packet_max, name, seeder, bare, node)
    });
    for _ in 0..plan.rounds {
        for (by, packet_max, _, seeder, bare, node) in &mut cases {
            bare.push(roles::bare(*by, bytes, *packet_max));
            node.push(seeder.transfer().sample);
        }
    }
    println!("download of {} MiB", plan.mib);
    for (_, _, name, _, bare, node) in &cases {
        println!("  {name}");
        println!("    bare stream     {}", bare.throughput(plan.mib));
        println!("    node to disk    {}", node.throughput(plan.mib));
        println!("    node / bare     {:.2}", bare.median() / node.median());
    }
}

/// The memory of two processes, one of which fetches four times the file from the other.
fn memory(plan: &Plan) {
    let dir = scratch();
    let mib = plan.mib * 4;
    let file = random_file(dir.path(), mib);
    println!("peak memory, file of {mib} MiB");
    for by in [Transport::Quic, Transport::Tcp] {
        let peaks = SeederProcess::start(dir.path(), by, u16::MAX, &file).transfer();
        println!(
            "  {by}: publisher {:.0} MiB, downloader {:.0} MiB",
            peaks.seeder_peak, peaks.follower_peak
        );
    }
}

/// Publishing one file, beside both of its hashes in memory, each on a thread.
fn publish(plan: &Plan) {
    let dir = scratch();
    let file = random_file(dir.path(), plan.mib);
    let content = std::fs::read(&file).expect("the file");
    let (mut hashes, mut node) = (Series::default(), Series::default());
    for _ in 0..plan.rounds {
        hashes.push(measured(|| both_hashes(&content)));
        let seeder = Seeder::start(dir.path(), Transport::Quic, None);
        node.push(measured(|| {
            seeder.publish("file", &file);
        }));
    }
    println!("publishing {} MiB", plan.mib);
    println!("    both hashes     {}", hashes.throughput(plan.mib));
    println!("    node, durable   {}", node.throughput(plan.mib));
    println!("    node / hashes   {:.2}", hashes.median() / node.median());
}

/// That of the whole, and those of its chunks.
fn both_hashes(content: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| std::hint::black_box(blake3::hash(content)));
        for chunk in content.chunks(CHUNK) {
            std::hint::black_box(blake3::hash(chunk));
        }
    });
}

/// Four shares of many small files, from publishing until all are on another node's disk.
fn small_files(plan: &Plan) {
    const SHARES: usize = 4;
    const FILES: usize = 2500;
    let dir = scratch();
    let folders: Vec<PathBuf> = (0..SHARES)
        .map(|share| {
            let folder = dir.path().join(format!("share {share}"));
            std::fs::create_dir(&folder).expect("a folder");
            let mut bytes = random(share as u64);
            for file in 0..FILES {
                let mut content = [0; 1024];
                bytes.fill(&mut content);
                std::fs::write(folder.join(format!("file {file:04}")), content).expect("a file");
            }
            folder
        })
        .collect();
    let mut series = Series::default();
    let mut kept = Vec::new();
    for _ in 0..plan.rounds {
        let seeder = Seeder::start(dir.path(), Transport::Quic, None);
        let follower = Follower::start(dir.path(), Transport::Quic, None, &seeder);
        series.push(measured(|| {
            let links: Vec<_> = folders
                .iter()
                .map(|folder| seeder.publish(&folder.display().to_string(), folder))
                .collect();
            follower.follow(&links);
            follower.fetch(&links);
        }));
        // For seconds after files are deleted, ext4 takes long to make as many.
        kept.push(follower.stop());
    }
    let files = (SHARES * FILES) as f64;
    println!("{SHARES} shares of {FILES} files of 1 KiB, from publishing to the other disk");
    println!("    {:.0} files/s", files / series.median());
}

/// Sessions of strangers, each with a connection of its own, at one node.
fn handshakes(plan: &Plan) {
    const COUNT: u32 = 2000;
    let dir = scratch();
    println!("authenticated handshakes");
    for by in [Transport::Quic, Transport::Tcp] {
        let mut series = Series::default();
        for _ in 0..plan.rounds {
            let seeder = Seeder::start(dir.path(), by, None);
            series.push(measured(|| stranger::meet(&seeder, by, COUNT)));
        }
        println!(
            "    {by}: {:.0} a second",
            f64::from(COUNT) / series.median()
        );
    }
}

/// What a relay costs, and what it stands.
fn relayed(plan: &Plan) {
    let dir = scratch();
    let file = random_file(dir.path(), plan.mib);
    for by in [Transport::Tcp, Transport::Quic] {
        relay::throughput(dir.path(), &file, by, plan.mib, plan.rounds);
    }
    relay::idle(dir.path());
    let small = plan.mib.min(64);
    let file = random_file(dir.path(), small);
    relay::flood(dir.path(), &file, small, plan.rounds);
}

/// A folder on the disk of the build, deleted when dropped.
fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn random_file(dir: &Path, mib: u64) -> PathBuf {
    let path = dir.join("file");
    let mut file = File::create(&path).expect("a file");
    let mut bytes = random(mib);
    let mut piece = vec![0; 1 << 20];
    for _ in 0..mib {
        bytes.fill(&mut piece);
        file.write_all(&piece).expect("place on the disk");
    }
    file.sync_all().expect("a disk");
    path
}

/// Bytes without end that nothing compresses.
fn random(seed: u64) -> blake3::OutputReader {
    blake3::Hasher::new()
        .update(&seed.to_be_bytes())
        .finalize_xof()
}
