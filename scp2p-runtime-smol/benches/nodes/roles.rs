//! Processes that each play one part, as nodes do for their users: they share no memory, no reactor
//! and no threads.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;

use scp2p_proto::io::Transport;
use scp2p_proto::record::ShareLink;

use super::bare;
use super::measure::{Sample, cpu_seconds, measured, memory_now, peak_memory};
use super::node::{self, Follower, Seeder};

/// A transfer between two processes.
pub struct Transfer {
    /// How long the fetch took, and the processor time of both processes meanwhile.
    pub sample: Sample,
    /// The most memory that the publisher had, in MiB.
    pub seeder_peak: f64,
    /// The most memory that the downloader had, in MiB.
    pub follower_peak: f64,
}

/// A process that has published a file.
pub struct SeederProcess {
    child: Child,
    out: BufReader<ChildStdout>,
    dir: String,
    by: Transport,
    packet_max: u16,
    link: String,
    addr: String,
}

impl SeederProcess {
    pub fn start(dir: &Path, by: Transport, packet_max: u16, file: &Path) -> SeederProcess {
        let [dir, file] = [dir, file].map(|path| path.to_str().expect("a path in Unicode"));
        let mut child = role(&["seeder", dir, scheme(by), &packet_max.to_string(), file]);
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let [link, addr] = [line(&mut out), line(&mut out)];
        SeederProcess {
            child,
            out,
            dir: dir.to_owned(),
            by,
            packet_max,
            link,
            addr,
        }
    }

    /// Has another process fetch the file.
    pub fn transfer(&mut self) -> Transfer {
        let (_, cpu) = self.usage();
        let packet_max = self.packet_max.to_string();
        let mut follower = role(&[
            "follower",
            &self.dir,
            scheme(self.by),
            &packet_max,
            &self.link,
            &self.addr,
        ]);
        let mut out = BufReader::new(follower.stdout.take().expect("piped"));
        let mut sample: Sample = parse(&line(&mut out));
        let follower_peak = parse(&line(&mut out));
        follower.wait().expect("a child");
        let (seeder_peak, cpu_after) = self.usage();
        sample.cpu += cpu_after - cpu;
        Transfer {
            sample,
            seeder_peak,
            follower_peak,
        }
    }

    /// The process's peak of memory in MiB and its processor time in seconds.
    fn usage(&mut self) -> (f64, f64) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").expect("a pipe");
        [(); 2].map(|()| parse(&line(&mut self.out))).into()
    }
}

impl Drop for SeederProcess {
    fn drop(&mut self) {
        // The process ends when the pipe does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A process that relays.
pub struct RelayProcess {
    child: Child,
    out: BufReader<ChildStdout>,
    tcp: SocketAddr,
    quic: [SocketAddr; 2],
}

/// What a process has and has used.
pub struct Usage {
    /// In MiB.
    pub memory: f64,
    /// Processor time in seconds.
    pub cpu: f64,
}

impl RelayProcess {
    /// So many bytes pass a second for one address, if that is bounded.
    pub fn start(dir: &Path, rate: Option<u32>) -> RelayProcess {
        let dir = dir.to_str().expect("a path in Unicode");
        let mut child = role(&["relay", dir, &rate.unwrap_or(0).to_string()]);
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let [tcp, one, other] = [(); 3].map(|()| parse(&line(&mut out)));
        RelayProcess {
            child,
            out,
            tcp,
            quic: [one, other],
        }
    }

    /// What the publisher and the downloader of a measurement dial. Over QUIC each has an IP version of its own, as they
    /// would dial each other otherwise.
    pub fn hides(&self, by: Transport) -> [String; 2] {
        let addrs = match by {
            Transport::Tcp => [self.tcp; 2],
            Transport::Quic => self.quic,
        };
        addrs.map(|addr| format!("{}://{addr}", scheme(by)))
    }

    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    pub fn usage(&mut self) -> Usage {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").expect("a pipe");
        let [memory, cpu] = [(); 2].map(|()| parse(&line(&mut self.out)));
        Usage { memory, cpu }
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A process that has published a file and is found at a relay only.
pub struct HiddenSeeder {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Where others find the relay.
    relay: String,
    link: String,
}

impl HiddenSeeder {
    pub fn start(dir: &Path, relay: [String; 2], file: &Path) -> HiddenSeeder {
        let [own, relay] = relay;
        let [dir, file] = [dir, file].map(|path| path.to_str().expect("a path in Unicode"));
        let mut child = role(&["hidden-seeder", dir, &own, file]);
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let link = line(&mut out);
        HiddenSeeder {
            child,
            out,
            relay,
            link,
        }
    }

    /// Has another process fetch the file.
    pub fn transfer(&mut self, dir: &Path) -> Sample {
        let dir = dir.to_str().expect("a path in Unicode");
        let cpu = self.cpu();
        let mut follower = role(&["hidden-follower", dir, &self.relay, &self.link]);
        let out = line(&mut BufReader::new(follower.stdout.take().expect("piped")));
        follower.wait().expect("a child");
        let mut sample: Sample = parse(&out);
        sample.cpu += self.cpu() - cpu;
        sample
    }

    /// The process's processor time in seconds.
    fn cpu(&mut self) -> f64 {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").expect("a pipe");
        parse(&line(&mut self.out))
    }
}

impl Drop for HiddenSeeder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Has a process move bytes over a bare stream.
pub fn bare(by: Transport, bytes: u64, packet_max: u16) -> Sample {
    let mut child = role(&[
        "bare",
        scheme(by),
        &bytes.to_string(),
        &packet_max.to_string(),
    ]);
    let sample = line(&mut BufReader::new(child.stdout.take().expect("piped")));
    child.wait().expect("a child");
    parse(&sample)
}

/// What a process does that was started by one of the above.
pub fn play(mut args: impl Iterator<Item = String>) {
    let mut next = || args.next().expect("an argument");
    let role = next();
    if role == "bare" {
        let by = next();
        let bytes = next().parse().expect("a number");
        let packet_max = next().parse().expect("a number");
        let sample = measured(|| match by.as_str() {
            "quic" => bare::quic(bytes, packet_max),
            _ => bare::tls(bytes),
        });
        return println!("{sample}");
    }
    let dir = PathBuf::from(next());
    if role == "relay" {
        let rate = next().parse().expect("a number");
        let (relay, _data) = node::relay(&dir, Some(rate).filter(|rate| *rate > 0));
        let listening = relay.listening();
        for addr in listening.tcp.iter().chain(&listening.quic) {
            println!("{addr}");
        }
        for _ in std::io::stdin().lines() {
            println!("{}\n{}", memory_now(), cpu_seconds());
        }
        return;
    }
    if role == "hidden-seeder" {
        let seeder = Seeder::start_hidden(&dir, next().parse().expect("an address"));
        println!("{}", seeder.publish("file", Path::new(&next())));
        for _ in std::io::stdin().lines() {
            println!("{}", cpu_seconds());
        }
        return;
    }
    if role == "hidden-follower" {
        let follower = Follower::start_hidden(&dir, next().parse().expect("an address"));
        let link: ShareLink = next().parse().expect("a link");
        follower.follow(std::slice::from_ref(&link));
        return println!("{}", measured(|| follower.fetch(&[link])));
    }
    let by = match next().as_str() {
        "quic" => Transport::Quic,
        _ => Transport::Tcp,
    };
    let packet_max = Some(next().parse().expect("a number"));
    if role == "seeder" {
        let seeder = Seeder::start(&dir, by, packet_max);
        println!("{}", seeder.publish("file", Path::new(&next())));
        println!("{}", seeder.bootstrap(by));
        // The other process is done when the pipe is closed.
        for _ in std::io::stdin().lines() {
            println!("{}\n{}", peak_memory(), cpu_seconds());
        }
    } else {
        let link: ShareLink = next().parse().expect("a link");
        let from = next().parse().expect("an address");
        let follower = Follower::start_from(&dir, by, packet_max, from);
        follower.follow(std::slice::from_ref(&link));
        let sample = measured(|| follower.fetch(&[link]));
        println!("{sample}\n{}", peak_memory());
    }
}

fn role(args: &[&str]) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .arg("--role")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

fn line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).expect("a pipe");
    line.trim().to_owned()
}

fn parse<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("what the other process measured")
}

fn scheme(by: Transport) -> &'static str {
    match by {
        Transport::Quic => "quic",
        Transport::Tcp => "tcp",
    }
}
