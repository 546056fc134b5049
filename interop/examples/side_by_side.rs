//! One large file, downloaded side by side: ours from ours, theirs from theirs, ours from theirs and theirs from ours,
//! over QUIC and over TLS, on loopback.
//!
//! ```text
//! cargo run --release --manifest-path interop/Cargo.toml --example side_by_side -- [ROUNDS]
//! ```
//!
//! Each end is a process of its own. A published node is this program once more, with the limits of the crate lifted; our
//! downloader keeps to what deployed publishers answer by default, so it waits for most of its time there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use scp2p_interop::ours::{self, Node, text, until};
use scp2p_interop::theirs::{Release, Setup};
use scp2p_proto::io::{Host, Transport};
use scp2p_proto::record::ShareLink;
use scp2p_proto::wire::{BootstrapAddr, PeerAddr};

const SIZE: u64 = 256 << 20;
/// The release that the published ends are of.
const RELEASE: Release = Release::V0_6;
const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => compare(1),
        [rounds] => compare(rounds.parse().expect("how often each pair is measured")),
        ["publish", transport, file] => publish(transport_of(transport), Path::new(file)),
        ["fetch", peer, link, to] => fetch(peer, link, Path::new(to)),
        _ => panic!("only a number of rounds may follow"),
    }
}

/// Measures each pair so often; the round of median time counts.
fn compare(rounds: usize) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let original = dir.path().join("original");
    write_random(&original);
    println!("{} MiB, the median of {rounds}", SIZE >> 20);
    println!("                                      publisher            downloader");
    println!("         downloader  from       time  CPU        peak      CPU        peak");
    for transport in [Transport::Quic, Transport::Tcp] {
        let mut base = None;
        for (publisher, downloader) in [
            (Side::Ours, Side::Ours),
            (Side::Theirs, Side::Theirs),
            (Side::Theirs, Side::Ours),
            (Side::Ours, Side::Theirs),
        ] {
            let mut all: Vec<Measured> = (0..rounds)
                .map(|_| measure(transport, publisher, downloader, &original))
                .collect();
            all.sort_by_key(|round| round.time);
            let measured = all.get(rounds / 2).expect("at least one round");
            let seconds = measured.time.as_secs_f64();
            let base = *base.get_or_insert(seconds);
            println!(
                "{:8} {:11} {:7} {seconds:6.2} s  {}  {}  {:.1} times ours from ours",
                name_of(transport),
                downloader.name(),
                publisher.name(),
                measured.publisher,
                measured.downloader,
                seconds / base,
            );
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Theirs => "theirs",
        }
    }
}

struct Measured {
    time: Duration,
    publisher: Spent,
    downloader: Spent,
}

/// What a process took during the download, and the most memory it ever had.
struct Spent {
    cpu: Duration,
    peak_kib: u64,
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (cpu, peak) = (self.cpu.as_secs_f64(), self.peak_kib >> 10);
        write!(f, "{cpu:5.2} s  {peak:5} MiB")
    }
}

/// Downloads once between new processes.
fn measure(transport: Transport, publisher: Side, downloader: Side, original: &Path) -> Measured {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (publisher, link, at) = match publisher {
        Side::Ours => {
            let node = Node::start(ours::only(transport));
            let args = [
                "publish",
                path(original),
                "--share",
                "s",
                "--title",
                "Things",
            ];
            let published = node.cli(&args);
            let link: ShareLink = text(&published["link"]).parse().expect("a link");
            let at = ours::addr(&node, transport);
            (End::Ours(node), link, at)
        }
        Side::Theirs => {
            let mut child = Theirs::start(&["publish", name_of(transport), path(original)]);
            let link: ShareLink = child.line().parse().expect("a link");
            let at = peer_at(&child.line());
            (End::Theirs(child), link, at)
        }
    };
    let to = dir.path().join("copy");
    let (mut downloader, copy) = match downloader {
        Side::Ours => {
            let node = Node::start(ours::only(transport).bootstrap(&[at.to_string()]));
            node.cli(&["subscribe", &link.to_string()]);
            until("the catalog", LIMIT, || {
                node.cli(&["sync"]);
                (node.cli(&["subscriptions"])[0]["seq"] == 1).then_some(())
            });
            (End::Ours(node), to.join("original"))
        }
        Side::Theirs => {
            let args = ["fetch", &at.to_string(), &link.to_string(), path(&to)];
            let mut child = Theirs::start(&args);
            assert_eq!(child.line(), "ready");
            (End::Theirs(child), to.clone())
        }
    };
    let before = [publisher.cpu(), downloader.cpu()];
    let started = Instant::now();
    match &mut downloader {
        End::Ours(node) => drop(node.cli(&["get", "Things", "-o", path(&to)])),
        End::Theirs(child) => {
            child.go();
            assert_eq!(child.line(), "done");
        }
    }
    let time = started.elapsed();
    let spent = |end: &End, before| Spent {
        cpu: end.cpu() - before,
        peak_kib: end.peak_kib(),
    };
    let measured = Measured {
        time,
        publisher: spent(&publisher, before[0]),
        downloader: spent(&downloader, before[1]),
    };
    assert!(is_same(original, &copy), "what came is another file");
    measured
}

/// One end of a download.
enum End {
    Ours(Node),
    Theirs(Theirs),
}

impl End {
    fn pid(&self) -> String {
        match self {
            End::Ours(node) => node.cli(&["status"])["pid"].to_string(),
            End::Theirs(child) => child.child.id().to_string(),
        }
    }

    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        // The name of the program may have blanks; it is in parentheses.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|it| it.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.expect("a peak").trim().trim_end_matches(" kB");
        peak.parse().expect("a number")
    }
}

/// A process with a published node, which ends with this.
struct Theirs {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Theirs {
    fn start(args: &[&str]) -> Theirs {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        Theirs {
            stdin: child.stdin.take().expect("it is piped"),
            stdout: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a pipe");
        line.trim_end().to_owned()
    }

    fn go(&mut self) {
        writeln!(self.stdin, "go").expect("it reads");
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A published node with the file, until nobody holds the other end of standard input.
fn publish(transport: Transport, file: &Path) {
    let node = RELEASE.start(Setup::listening(transport).without_limits());
    let link = node.publish("Things", &[PathBuf::from(file)], None);
    tell(&link.to_string());
    tell(&node.addr(transport).to_string());
    wait();
    wait();
}

/// A published node that has the catalog, and the file when it is told to go on.
fn fetch(peer: &str, link: &str, to: &Path) {
    let seeds = [peer_at(peer)];
    let link: ShareLink = link.parse().expect("a link");
    let node = RELEASE.start(Setup::default().seeds(seeds).without_limits());
    node.subscribe(&link);
    node.sync().expect("a sync");
    let content = node.items(link.share())[0].content;
    tell("ready");
    wait();
    node.download(content, to).expect("a download");
    tell("done");
    wait();
}

fn tell(line: &str) {
    let mut stdout = stdout().lock();
    writeln!(stdout, "{line}").expect("somebody reads");
    stdout.flush().expect("somebody reads");
}

/// Until there is a line, or nobody any more.
fn wait() {
    stdin()
        .lock()
        .read_line(&mut String::new())
        .expect("a pipe");
}

/// The address that was written as one to start from.
fn peer_at(text: &str) -> PeerAddr {
    let at: BootstrapAddr = text.parse().expect("an address");
    let Host::Ip(ip) = at.host else {
        panic!("{text} has a name");
    };
    PeerAddr {
        ip,
        port: at.port,
        transport: at.transport.expect("one transport"),
        key: at.key,
        relay_via: None,
    }
}

fn transport_of(name: &str) -> Transport {
    match name {
        "QUIC" => Transport::Quic,
        _ => Transport::Tcp,
    }
}

fn name_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Quic => "QUIC",
        Transport::Tcp => "TLS",
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Bytes of which no part comes twice.
fn write_random(file: &Path) {
    let mut numbers = blake3::Hasher::new().finalize_xof();
    let mut out = BufWriter::new(File::create(file).expect("a file"));
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
        numbers.fill(&mut buffer);
        out.write_all(&buffer).expect("room on the disk");
    }
    out.flush().expect("room on the disk");
}

fn is_same(one: &Path, other: &Path) -> bool {
    let hash = |file| {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(File::open(file).expect("a file"))
            .expect("it is read");
        hasher.finalize()
    };
    hash(one) == hash(other)
}
