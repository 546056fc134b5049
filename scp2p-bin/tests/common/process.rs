//! Real nodes of the built command, on loopback ports that the system chooses. The module that this is in says by
//! `program` where the command is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a node may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// The built command, without settings from the environment.
pub fn scp2p() -> Command {
    without_settings(Command::new(super::program()))
}

/// A command without the settings that whoever runs the tests made for nodes of their own.
fn without_settings(mut command: Command) -> Command {
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| name.to_string_lossy().starts_with("SCP2P_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the built command with these arguments.
pub fn run(args: &[&str]) -> Output {
    finish(scp2p().args(args))
}

/// Runs a command to its end. One that does not end is killed and fails the test.
pub fn finish(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let stdout = read_aside(child.stdout.take().expect("it is piped"));
    let stderr = read_aside(child.stderr.take().expect("it is piped"));
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it runs");
            panic!("{command:?} does not end");
        }
        sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: stdout.join().expect("read"),
        stderr: stderr.join().expect("read"),
    }
}

/// Reads a pipe to its end in a thread.
pub fn read_aside(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe");
        bytes
    })
}

/// What a command wrote to standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

/// What a command wrote to standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("answers are UTF-8")
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(20));
    }
}

/// How a node is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Arguments beside those that every test node gets.
    pub args: Vec<String>,
    /// No QUIC.
    pub tcp_only: bool,
    /// No TCP.
    pub quic_only: bool,
    /// Listens on all addresses, at the ports that nodes have by default.
    pub everywhere: bool,
    /// Run by `scp2p relay`.
    pub relay: bool,
    /// The file that its log goes to.
    pub log: Option<PathBuf>,
    /// Of this node's folders, the name of one that is a disk of so many bytes by itself.
    pub small_disk: Option<(&'static str, u64)>,
}

impl Settings {
    /// With these peers to start from.
    pub fn bootstrap(mut self, peers: &[String]) -> Settings {
        for peer in peers {
            self.args.extend(["--bootstrap".to_owned(), peer.clone()]);
        }
        self
    }
}

/// A running node; dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Node {
    /// What it said when it got ready.
    pub ready: Value,
    settings: Settings,
    child: Child,
    dir: TempDir,
}

impl Node {
    /// Starts a node on a new data directory.
    pub fn start(settings: Settings) -> Node {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (child, ready) = spawn_node(dir.path(), &settings);
        Node {
            ready,
            settings,
            child,
            dir,
        }
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        match self.settings.small_disk {
            Some(("data", _)) => self.as_seen_by_it("data"),
            Some(_) | None => self.dir.path().join("data"),
        }
    }

    /// One of its folders, on its small disk too, which other processes do not see.
    pub fn as_seen_by_it(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        let root = Path::new("/proc").join(self.child.id().to_string());
        root.join("root")
            .join(folder.strip_prefix("/").expect("absolute"))
    }

    /// A folder that goes away with the node.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Its key.
    pub fn key(&self) -> String {
        text(&self.ready["key"])
    }

    /// Where others can start from.
    pub fn bootstrap(&self) -> Vec<String> {
        let mut peers = Vec::new();
        for transport in ["quic", "tcp"] {
            let listening = self.ready["listening"][transport]
                .as_array()
                .expect("a list");
            peers.extend(
                listening
                    .iter()
                    .map(|address| format!("{transport}://{}", text(address))),
            );
        }
        peers
    }

    /// Where it listens for TLS.
    pub fn tcp(&self) -> SocketAddr {
        let listening = text(&self.ready["listening"]["tcp"][0]);
        listening.parse().expect("an address")
    }

    /// Where it listens for QUIC.
    pub fn quic(&self) -> SocketAddr {
        let listening = text(&self.ready["listening"]["quic"][0]);
        listening.parse().expect("an address")
    }

    /// What happens at this node from now on.
    pub fn events(&self) -> Events {
        let mut stream =
            UnixStream::connect(self.data_dir().join("control.sock")).expect("it listens");
        stream
            .write_all(b"GET /v1/events HTTP/1.0\r\n\r\n")
            .expect("it reads");
        let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
        // With the head of the answer the stream has begun.
        let head = lines.by_ref().map_while(Result::ok);
        assert!(head.take_while(|line| !line.is_empty()).count() > 0);
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let list = seen.clone();
        spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("a line is JSON");
                list.lock().expect("no panic").push(event);
            }
        });
        Events { stream, seen }
    }

    /// Runs a command at this node; it need not succeed.
    pub fn try_cli(&self, args: &[&str]) -> Output {
        finish(scp2p().args(args).arg("--data-dir").arg(self.data_dir()))
    }

    /// Runs a command at this node with `--json` and reads its answer.
    pub fn cli(&self, args: &[&str]) -> Value {
        let output = self.try_cli(&[args, &["--json"]].concat());
        assert!(
            output.status.success(),
            "scp2p {args:?}: {}",
            stderr(&output)
        );
        serde_json::from_slice(&output.stdout).expect("--json answers in JSON")
    }

    /// Sends a signal to its process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("it runs");
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the end of a node", END_TIMEOUT, || {
            child.try_wait().expect("it is our child")
        })
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }

    /// Starts it again on its data directory, on other ports.
    pub fn restart(&mut self) {
        (self.child, self.ready) = spawn_node(self.dir.path(), &self.settings);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The events of a node.
pub struct Events {
    stream: UnixStream,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Events {
    /// Those of this name that came so far.
    pub fn of(&self, name: &str) -> Vec<Value> {
        let seen = self.seen.lock().expect("no panic");
        let named = seen.iter().filter(|event| event["event"] == name);
        named.cloned().collect()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // It fails only if the node has ended it already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// Mounts a disk of $1 bytes at $2 for the command that follows alone.
const ON_SMALL_DISK: &str = r#"mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@""#;

/// Whether nodes can have small disks here.
pub fn has_small_disks() -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tried = Command::new("unshare")
        .args(["-rm", "sh", "-c", ON_SMALL_DISK, "sh", "4096"])
        .arg(folder.path())
        .arg("true")
        .output();
    tried.is_ok_and(|output| output.status.success())
}

/// The built command with its small disk below this folder, if it is to have one.
fn scp2p_with_disk(folder: &Path, settings: &Settings) -> Command {
    let inner = scp2p();
    let Some((name, bytes)) = settings.small_disk else {
        return inner;
    };
    let disk = folder.join(name);
    std::fs::create_dir_all(&disk).expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", ON_SMALL_DISK, "sh", &bytes.to_string()]);
    command.arg(disk).arg(inner.get_program());
    without_settings(command)
}

/// Starts a node that ends when this process does.
fn spawn_node(folder: &Path, settings: &Settings) -> (Child, Value) {
    let mut command = scp2p_with_disk(folder, settings);
    command.args([
        if settings.relay { "relay" } else { "node" },
        "--json",
        "--stop-on-stdin-eof",
        "--log-level",
        "warn",
    ]);
    let [quic, tcp] = if settings.everywhere {
        ["0.0.0.0:7000", "0.0.0.0:7001"]
    } else {
        ["127.0.0.1:0"; 2]
    };
    command.args(["--bind-quic", if settings.tcp_only { "" } else { quic }]);
    command.args(["--bind-tcp", if settings.quic_only { "" } else { tcp }]);
    command
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(&settings.args);
    if let Some(log) = &settings.log {
        command.stderr(File::create(log).expect("a log"));
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the node starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped"))
        .read_line(&mut line)
        .expect("a line");
    let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
        let _ = child.kill();
        panic!(
            "the node did not get ready; it exited with {:?}",
            child.wait()
        );
    });
    (child, ready)
}
