//! What the node tells the application unasked, in the order it happened.

use alloc::string::String;

use crate::command::RefusedItem;
use crate::id::{DownloadId, ManifestId, NodeKey, ShareId};
use crate::io::Transport;
use crate::path::RelPath;
use crate::storage::LocalPath;
use crate::view::{ClockDoubt, Reachability};
use core::net::SocketAddr;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A session with a peer is up.
    PeerConnected {
        /// The peer.
        peer: NodeKey,
        /// Over which transport.
        transport: Transport,
        /// From or to where.
        remote: SocketAddr,
        /// Whether the session is bound to its TLS channel; false for deployed peers.
        bound: bool,
        /// The relay that carries it.
        via: Option<NodeKey>,
    },
    /// Others can dial us, or can no longer; or they find us through relays, or can no longer.
    Reachability(Reachability),
    /// Our clock may be wrong, or is more likely to be than was told before; handshakes are refused for it.
    ClockDoubt(ClockDoubt),
    /// The last session with a peer ended.
    PeerDisconnected {
        /// The peer.
        peer: NodeKey,
    },
    /// A handshake was refused because somebody sits between us and the peer, or
    /// a peer of ours came without its binding.
    Interception {
        /// Whom it claimed to be.
        claimed: NodeKey,
        /// From or to where.
        remote: SocketAddr,
    },
    /// A peer was refused because its session would not be bound to its TLS channel, which
    /// the configuration demands.
    UnboundRefused {
        /// The peer.
        peer: NodeKey,
        /// From or to where.
        remote: SocketAddr,
    },
    /// A bootstrap address answered with another key than it did before.
    PinMismatch {
        /// The address, as configured.
        address: String,
        /// The key it had.
        expected: NodeKey,
        /// The key it has now.
        found: NodeKey,
    },
    /// An own share has a new revision.
    SharePublished {
        /// The share.
        share: ShareId,
        /// Its sequence number.
        seq: u64,
    },
    /// A subscribed share has a new catalog.
    ManifestUpdated {
        /// The share.
        share: ShareId,
        /// Its sequence number.
        seq: u64,
        /// The manifest.
        manifest: ManifestId,
    },
    /// Something offered for a subscribed share was refused; the share goes on as it was.
    ShareRejected {
        /// The share.
        share: ShareId,
        /// Why.
        reason: ShareRejection,
    },
    /// A published file is not what it was; it is no longer served. Publish it again.
    FileChanged {
        /// The file.
        path: LocalPath,
    },
    /// An item of a download is refused.
    ItemRefused {
        /// The download.
        download: DownloadId,
        /// Which and why.
        item: RefusedItem,
    },
    /// A file of a download cannot be had or written; the others go on.
    ItemFailed {
        /// The download.
        download: DownloadId,
        /// The file's place below the download's folder.
        path: RelPath,
        /// Why, for people.
        reason: String,
    },
    /// A download got on; at most a few times a second per download.
    DownloadProgress {
        /// The download.
        download: DownloadId,
        /// Verified bytes on disk.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// All items of a download are complete and durable under their names.
    DownloadFinished {
        /// The download.
        download: DownloadId,
    },
    /// A download cannot go on by itself.
    DownloadFailed {
        /// The download.
        download: DownloadId,
        /// Why, for people.
        reason: String,
    },
    /// The store failed; what is not durable is kept in memory and tried again.
    StoreTrouble {
        /// As the system words it.
        reason: String,
    },
}

/// Why something offered for a subscribed share was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareRejection {
    /// A signature does not verify.
    Signature,
    /// The manifest's sequence number is not its head's (somebody freezes the share).
    Frozen,
    /// Another manifest claims the sequence number that we hold.
    Equivocation,
    /// The manifest expired.
    Expired,
    /// It cannot be decoded or breaks a limit.
    Malformed,
}
