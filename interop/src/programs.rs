//! The published programs, which are installed once and kept in the build folder.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use scp2p_proto::io::Transport;
use scp2p_proto::wire::PeerAddr;
use tempfile::TempDir;

use crate::ours::until;
use crate::port::Reserved;

/// What must come comes within this time, even on a machine that does much else.
const SOON: Duration = Duration::from_secs(120);

/// Where the tests are built; the programs are kept beside them.
fn build_folder() -> PathBuf {
    let this = std::env::current_exe().expect("a program");
    let folder = this.ancestors().nth(3).expect("TARGET/debug/deps/PROGRAM");
    folder.join("published")
}

/// Where a published program is, which is installed if it was not yet.
pub fn installed(name: &str, version: &str) -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().expect("no panic");
    let folder = build_folder();
    let root = folder.join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.exists() {
        let status = Command::new(env!("CARGO"))
            .args(["install", name, "--version", version, "--locked", "--debug"])
            .arg("--root")
            .arg(&root)
            .env("CARGO_TARGET_DIR", folder.join("build"))
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .stdout(Stdio::null())
            .status()
            .expect("cargo starts");
        assert!(status.success(), "{name} {version} does not install");
    }
    program
}

/// A program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command without settings from the environment.
fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SCP2P_") || text == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// The published relay, which listens over one transport.
pub struct Relay {
    addr: PeerAddr,
    _program: Running,
    _port: Option<Reserved>,
    _data: TempDir,
}

impl Relay {
    /// Starts one of this version.
    pub fn start(version: &str, transport: Transport) -> Relay {
        let program = installed("scp2p-relay", version);
        let port = (transport == Transport::Tcp).then(Reserved::new);
        let data = tempfile::tempdir().expect("a temporary folder");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (quic, tcp) = match &port {
            Some(port) => (String::new(), port.addr().to_string()),
            None => (any.to_string(), String::new()),
        };
        let running = command(program)
            .args(["--log-level", "warn"])
            .args(["--bind-quic", &quic, "--bind-tcp", &tcp])
            .arg("--data-dir")
            .arg(data.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("the relay starts");
        let running = Running(running);
        let at = until("a listener", SOON, || match &port {
            Some(port) => TcpStream::connect(port.addr()).ok().map(|_| port.addr()),
            None => udp_port(running.0.id()),
        });
        Relay {
            addr: PeerAddr {
                ip: at.ip(),
                port: at.port(),
                transport,
                // It does not tell it to who starts it.
                key: None,
                relay_via: None,
            },
            _program: running,
            _port: port,
            _data: data,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> PeerAddr {
        self.addr.clone()
    }
}

/// The UDP port on loopback that a process has, which it does not tell.
fn udp_port(pid: u32) -> Option<SocketAddr> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let targets = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let sockets: Vec<String> = targets
        .filter_map(|target| {
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            Some(inode.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = fs::read_to_string("/proc/net/udp").ok()?;
    table.lines().skip(1).find_map(|line| {
        // Of a socket the second field is where it is bound, in hexadecimal, and the tenth its inode.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (bound, inode) = (fields.get(1)?, fields.get(9)?);
        let (_, port) = bound.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let is_its = sockets.iter().any(|socket| socket == inode);
        is_its.then_some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    })
}

/// The published interactive client, at a terminal of its own.
pub struct Shell {
    keys: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen was dealt with.
    seen: usize,
    _program: Running,
    _port: Reserved,
    _data: TempDir,
}

impl Shell {
    /// Starts one of this version that knows a peer, which it asks over TLS.
    pub fn start(version: &str, peer: &PeerAddr) -> Shell {
        let program = installed("scp2p-cli", version);
        let port = Reserved::new();
        let data = tempfile::tempdir().expect("a temporary folder");
        let inner = format!(
            "stty cols 200 rows 50; exec '{}' --db '{}' --bootstrap {}:{} --port {} --quic-port 0",
            program.display(),
            data.path().join("scp2p.db").display(),
            peer.ip,
            peer.port,
            port.addr().port(),
        );
        let mut running = command("script")
            .args(["--quiet", "--flush", "--command", &inner, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux, starts");
        let keys = running.stdin.take().expect("it is piped");
        let mut output = running.stdout.take().expect("it is piped");
        let screen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let written = screen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut buffer) {
                written.lock().expect("no panic").extend(&buffer[..len]);
            }
        });
        Shell {
            keys,
            screen,
            seen: 0,
            _program: Running(running),
            _port: port,
            _data: data,
        }
    }

    /// Waits until this is on the screen, after what was waited for before.
    pub fn shows(&mut self, text: &str) {
        let (screen, seen) = (&self.screen, &mut self.seen);
        until(text, SOON, || {
            let screen = screen.lock().expect("no panic");
            let new = String::from_utf8_lossy(&screen[*seen..]);
            assert!(!new.contains('✗'), "{new}");
            let screen = &screen[*seen..];
            let at = screen
                .windows(text.len())
                .position(|part| part == text.as_bytes())?;
            *seen += at + text.len();
            Some(())
        });
    }

    /// Waits for a question and answers it.
    pub fn answer(&mut self, question: &str, answer: &str) {
        self.shows(question);
        write!(self.keys, "{answer}\r").expect("it reads");
    }
}
