//! Nodes of ours: processes of the built command, driven as its own tests drive them.

#[path = "../../scp2p-bin/tests/common/process.rs"]
mod process;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use scp2p_proto::id::NodeKey;
use scp2p_proto::io::Transport;
use scp2p_proto::wire::PeerAddr;
use serde_json::Value;

pub use process::*;

use crate::port::Reserved;

/// The variable that names the command to test. Without it, it is built.
const PROGRAM: &str = "SCP2P_INTEROP_PROGRAM";

/// The command that is tested.
fn program() -> &'static Path {
    static PROGRAM_PATH: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::var_os(PROGRAM).map_or_else(build, PathBuf::from));
    &PROGRAM_PATH
}

/// Builds the command as the tests of the product do; where it is.
fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    // Cargo tells tests what package they are of. Build scripts that look at that would run again.
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    // What is measured is built as it is released.
    let profile = (!cfg!(debug_assertions)).then_some("--release");
    let built = cargo
        .args(["build", "--package", "scp2p-bin", "--manifest-path"])
        .arg(workspace)
        .args(profile)
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(built.status.success(), "scp2p-bin does not build");
    let messages = String::from_utf8(built.stdout).expect("cargo writes UTF-8");
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(message["executable"].as_str()?.into()))
        .expect("cargo tells where the command is")
}

/// With one transport only.
pub fn only(transport: Transport) -> Settings {
    Settings {
        tcp_only: transport == Transport::Tcp,
        quic_only: transport == Transport::Quic,
        ..Settings::default()
    }
}

/// What deployed peers call its address, its key included.
pub fn addr(node: &Node, transport: Transport) -> PeerAddr {
    let at = match transport {
        Transport::Quic => node.quic(),
        Transport::Tcp => node.tcp(),
    };
    PeerAddr {
        ip: at.ip(),
        port: at.port(),
        transport,
        key: Some(key(node)),
        relay_via: None,
    }
}

/// Its key.
pub fn key(node: &Node) -> NodeKey {
    node.key().parse().expect("a key")
}

/// The counters of a node of ours.
pub struct Counters {
    port: Reserved,
}

impl Counters {
    /// For a node that is not started yet, and the arguments it takes to serve them.
    pub fn of_next() -> (Counters, [String; 2]) {
        let port = Reserved::new();
        let args = ["--metrics".to_owned(), port.addr().to_string()];
        (Counters { port }, args)
    }

    /// The value of one, named with its labels.
    pub fn get(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.port.addr()).expect("it listens");
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        let value = page.lines().find_map(|line| line.strip_prefix(name));
        let value = value.unwrap_or_else(|| panic!("no {name} in {page}"));
        value.trim().parse().expect("a number")
    }
}

/// What a node of ours tells of a peer.
pub fn seen(node: &Node, peer: NodeKey) -> Option<Value> {
    let peers = node.cli(&["peers"]);
    let peers = peers.as_array().expect("a list");
    let peer = peer.to_string();
    peers.iter().find(|listed| listed["key"] == *peer).cloned()
}

/// What a node of ours tells of its session with a peer, if there is one.
pub fn session(node: &Node, peer: NodeKey) -> Option<Value> {
    let session = seen(node, peer)?["session"].clone();
    (!session.is_null()).then_some(session)
}
