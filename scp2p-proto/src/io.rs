//! What passes between a [`Node`](crate::Node) and its driver.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::command::{Command, CommandError, Reply};
use crate::event::Event;
use crate::id::{CommitId, LinkId, LoadId, OpId, WriteId};
use crate::storage::{Batch, Load, Loaded, PieceWrite, StoreError, WriteError};

/// What the driver tells the node.
#[derive(Debug)]
pub enum Input {
    /// The deadline passed; nothing else happened.
    Tick,
    /// The local application wants something. Answered once by [`Output::Done`].
    Command(OpId, Command),
    /// Something happened on a link.
    Link(LinkId, LinkEvent),
    /// A load came to its end.
    Loaded(LoadId, Result<Loaded, StoreError>),
    /// A piece was checked and written, or was not.
    Written(WriteId, Result<(), WriteError>),
    /// A batch is as durable as asked, or was not applied at all.
    Committed(CommitId, Result<(), StoreError>),
    /// Something happened to the host.
    Host(HostEvent),
}

/// What happened to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// The addresses of the host's interfaces, loopback and link-local ones left out
    /// unless the node listens on nothing else.
    Addresses(Vec<IpAddr>),
    /// The host was asleep; every peer may be gone.
    Resumed,
}

/// What the node asks of the driver, to be carried out in order.
#[derive(Debug)]
pub enum Output {
    /// Open a link; answered by [`LinkEvent::Dialed`] or [`LinkEvent::Failed`].
    Dial(LinkId, Dial),
    /// Send a frame on a lane of a link.
    Send(LinkId, Lane, Frame),
    /// The driver may read so many more bytes from this lane of the link.
    Grant(LinkId, Lane, u32),
    /// Close the link after what was sent on it; no [`LinkEvent`] may follow.
    Close(LinkId, CloseCode),
    /// Read or work out something; answered by [`Input::Loaded`].
    Load(LoadId, Load),
    /// Check and write a piece of a download; answered by [`Input::Written`].
    Write(WriteId, PieceWrite),
    /// Apply a batch; answered by [`Input::Committed`].
    Commit(CommitId, Batch),
    /// The answer to a command.
    Done(OpId, Result<Reply, CommandError>),
    /// Something that the application may want to know.
    Event(Event),
}

/// How bytes reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC version 1.
    Quic,
    /// TLS 1.3 over TCP.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Quic => "quic",
            Transport::Tcp => "tcp",
        })
    }
}

/// The host part of something to dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name for the driver to resolve.
    Name(Box<str>),
}

/// A link to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Over which transport.
    pub transport: Transport,
    /// To which host.
    pub host: Host,
    /// To which port.
    pub port: u16,
}

/// Which of a link's byte streams. A QUIC link between nodes of ours has a second one,
/// so that a chunk never delays a ping; elsewhere everything goes over `Control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The stream of the handshake, requests and small replies.
    Control,
    /// Large replies. On QUIC a unidirectional stream in each direction that its sender
    /// opens with the first frame.
    Bulk,
}

/// One frame, in two pieces so that a payload is never copied to be framed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Length prefix and all CBOR up to the payload's bytes.
    pub head: Bytes,
    /// The payload's last byte string, or nothing.
    pub body: Bytes,
}

impl Frame {
    /// Bytes on the wire, length prefix included.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What happened on a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// A remote opened this link. Its handshake has a deadline in the node.
    Accepted(LinkInfo),
    /// The dialled link is up.
    Dialed(LinkInfo),
    /// The dialled link did not come up. The link is gone.
    Failed(DialError),
    /// Bytes arrived, in order within the lane.
    Bytes(Lane, Bytes),
    /// The driver takes so many more bytes on this lane. The node sends a frame only while a
    /// lane's room is positive; one frame may exceed what is left of it. A link
    /// starts without room on either lane; a lane that does not exist never gets any.
    Room(Lane, u32),
    /// The other end is at another address now, which it proved.
    Moved(SocketAddr),
    /// The link is gone.
    Closed(LinkError),
}

/// A link that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Over which transport.
    pub transport: Transport,
    /// The other end.
    pub remote: SocketAddr,
    /// TLS exporter value of this connection: 32 bytes, label
    /// [`EXPORTER_LABEL`](crate::session::EXPORTER_LABEL), no context.
    pub exporter: [u8; 32],
}

/// Why a dial failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialError {
    /// The host name has no address.
    NoSuchHost,
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The network or the host cannot be reached, or this transport is not available.
    Unreachable,
    /// TLS or QUIC could not agree.
    Tls,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialError::NoSuchHost => "the host name has no address",
            DialError::Refused => "nobody listens there",
            DialError::TimedOut => "no answer in time",
            DialError::Unreachable => "the address cannot be reached",
            DialError::Tls => "the transport handshake failed",
        })
    }
}

/// Why a link is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkError {
    /// The remote closed it.
    Closed,
    /// The transport gave up: reset, time-out, protocol violation.
    Lost,
}

/// Why the node closes a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// Nothing is left to do on it.
    Done,
    /// Neither end has a use for it.
    Idle,
    /// The handshake failed or took too long.
    Handshake,
    /// The remote broke the protocol.
    Offence,
    /// Another link to the same peer is used instead.
    Duplicate,
    /// Too many links.
    Busy,
    /// The node stops.
    Shutdown,
}
