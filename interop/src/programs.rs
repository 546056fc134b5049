//! The published programs, which are installed once and kept in the build folder.

use std::io::{Read, Write};
use std::net::TcpStream;
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

/// The published relay. It listens for TLS alone, since it does not tell which port it got for QUIC.
pub struct Relay {
    port: Reserved,
    _program: Running,
    _data: TempDir,
}

impl Relay {
    /// Starts one of this version.
    pub fn start(version: &str) -> Relay {
        let program = installed("scp2p-relay", version);
        let port = Reserved::new();
        let data = tempfile::tempdir().expect("a temporary folder");
        let running = command(program)
            .args(["--bind-quic", "", "--log-level", "warn"])
            .args(["--bind-tcp", &port.addr().to_string()])
            .arg("--data-dir")
            .arg(data.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("the relay starts");
        let relay = Relay {
            port,
            _program: Running(running),
            _data: data,
        };
        until("a listener", SOON, || {
            TcpStream::connect(relay.port.addr()).ok()
        });
        relay
    }

    /// Where it listens. It does not tell its key to who starts it.
    pub fn addr(&self) -> PeerAddr {
        let at = self.port.addr();
        PeerAddr {
            ip: at.ip(),
            port: at.port(),
            transport: Transport::Tcp,
            key: None,
            relay_via: None,
        }
    }
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
