//! What a runtime is started with, and why it did not start.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use scp2p_proto::config::Config;
use scp2p_proto::io::Transport;
use scp2p_proto::wire::BootstrapAddr;

use crate::disk::OpenError;

/// The UDP port that QUIC listens on unless told otherwise (SPECIFICATION §1).
pub const DEFAULT_QUIC_PORT: u16 = 7000;
/// The TCP port that TLS listens on unless told otherwise (SPECIFICATION §1).
pub const DEFAULT_TCP_PORT: u16 = 7001;

/// How to run a node.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the node's key, store and search index; made with mode 0700 if it is not
    /// there. One process at a time may use it.
    pub data_dir: PathBuf,
    /// The addresses that QUIC listens on; empty for no QUIC. Port 0 lets the system choose.
    pub bind_quic: Vec<SocketAddr>,
    /// The addresses that TLS over TCP listens on; empty for none, outgoing connections
    /// work all the same. Port 0 lets the system choose.
    pub bind_tcp: Vec<SocketAddr>,
    /// The largest IP packets that QUIC sends, in bytes, 1280 at least; `None` for what the
    /// interfaces take. Paths that take less are noticed either way.
    pub quic_packet_max: Option<u16>,
    /// Peers to start from.
    pub bootstrap: Vec<BootstrapAddr>,
    /// Settings of the node. Its ports, bound addresses and bootstrap peers are
    /// replaced by what is above.
    pub config: Config,
}

impl Options {
    /// The defaults: all addresses of both families, ports [`DEFAULT_QUIC_PORT`] and
    /// [`DEFAULT_TCP_PORT`]. A host without IPv6 is then no error.
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        Options {
            data_dir: data_dir.into(),
            bind_quic: any_address(DEFAULT_QUIC_PORT),
            bind_tcp: any_address(DEFAULT_TCP_PORT),
            quic_packet_max: None,
            bootstrap: Vec::new(),
            config: Config::default(),
        }
    }
}

/// The unspecified addresses of both families with this port.
pub(crate) fn any_address(port: u16) -> Vec<SocketAddr> {
    vec![
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    ]
}

/// The addresses that a runtime really listens on, ports filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    /// QUIC.
    pub quic: Vec<SocketAddr>,
    /// TLS over TCP.
    pub tcp: Vec<SocketAddr>,
}

/// Why a runtime did not start.
#[derive(Debug)]
pub enum StartError {
    /// Another process uses the data folder.
    DataDirBusy {
        /// The folder.
        path: PathBuf,
    },
    /// Another process listens there.
    PortTaken {
        /// Where.
        addr: SocketAddr,
        /// With which transport.
        transport: Transport,
    },
    /// The address cannot be listened on.
    Bind {
        /// Which.
        addr: SocketAddr,
        /// With which transport.
        transport: Transport,
        /// What the system says.
        error: io::Error,
    },
    /// The node's key file does not hold a key.
    BadKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The data folder cannot be used for another reason.
    Store(OpenError),
    /// A file or folder cannot be made or read.
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives no entropy, thread or certificate.
    System {
        /// What it says.
        reason: String,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::DataDirBusy { path } => write!(
                f,
                "{}: another node is running with this data folder; stop it, or choose another folder",
                path.display()
            ),
            StartError::PortTaken { addr, transport } => write!(
                f,
                "{addr} ({transport}): another program listens there; stop it, or choose another port"
            ),
            StartError::Bind {
                addr,
                transport,
                error,
            } => write!(
                f,
                "{addr} ({transport}): cannot listen there: {error}; choose an address of this host"
            ),
            StartError::BadKeyFile { path } => write!(
                f,
                "{}: not a node key of 32 bytes; restore it from a backup, or delete it to get a new identity",
                path.display()
            ),
            StartError::Store(error) => error.fmt(f),
            StartError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            StartError::System { reason } => write!(f, "the system does not cooperate: {reason}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Bind { error, .. } | StartError::Io { error, .. } => Some(error),
            StartError::Store(error) => Some(error),
            StartError::DataDirBusy { .. }
            | StartError::PortTaken { .. }
            | StartError::BadKeyFile { .. }
            | StartError::System { .. } => None,
        }
    }
}
