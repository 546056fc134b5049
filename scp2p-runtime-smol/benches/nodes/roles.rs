//! Processes that each play one part, so that the memory of nodes is told apart and bare streams
//! share nothing with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use scp2p_proto::io::Transport;
use scp2p_proto::record::ShareLink;

use super::bare;
use super::measure::{Sample, measured, peak_memory};
use super::node::{Follower, Seeder};

/// The most memory that each process had, in MiB.
pub struct Peaks {
    pub seeder: f64,
    pub follower: f64,
}

/// Has one process publish the file and another fetch it.
pub fn transfer(dir: &Path, by: Transport, file: &Path) -> Peaks {
    let [dir, file] = [dir, file].map(|path| path.to_str().expect("a path in Unicode"));
    let scheme = scheme(by);
    let mut seeder = role(&["seeder", dir, scheme, file]);
    let mut out = BufReader::new(seeder.stdout.take().expect("piped"));
    let [link, addr] = [line(&mut out), line(&mut out)];
    let mut follower = role(&["follower", dir, scheme, &link, &addr]);
    let mut follower_out = BufReader::new(follower.stdout.take().expect("piped"));
    let follower_peak = line(&mut follower_out);
    drop(seeder.stdin.take());
    let seeder_peak = line(&mut out);
    for child in [&mut seeder, &mut follower] {
        child.wait().expect("a child");
    }
    let [seeder, follower] =
        [seeder_peak, follower_peak].map(|peak| peak.parse().expect("a number of MiB"));
    Peaks { seeder, follower }
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
    sample.parse().expect("a sample")
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
    let by = match next().as_str() {
        "quic" => Transport::Quic,
        _ => Transport::Tcp,
    };
    if role == "seeder" {
        let seeder = Seeder::start(&dir, by, None);
        println!("{}", seeder.publish("file", Path::new(&next())));
        println!("{}", seeder.bootstrap(by));
        // The other process is done when the pipe is closed.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    } else {
        let link: ShareLink = next().parse().expect("a link");
        let from = next().parse().expect("an address");
        let follower = Follower::start_from(&dir, by, None, from);
        follower.follow(std::slice::from_ref(&link));
        follower.fetch(&[link]);
    }
    println!("{}", peak_memory());
    std::io::stdout().flush().expect("a pipe");
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

fn scheme(by: Transport) -> &'static str {
    match by {
        Transport::Quic => "quic",
        Transport::Tcp => "tcp",
    }
}
