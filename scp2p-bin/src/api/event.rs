//! The lines of `GET events`.

use std::net::SocketAddr;

use scp2p_proto::event::{Event, ShareRejection};
use scp2p_proto::id::{ManifestId, NodeKey, ShareId};
use scp2p_runtime_smol::{Numbered, Streamed};
use serde::{Deserialize, Serialize};

use super::{ClockDoubt, Refused, Text, convert};

/// A line of the event stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// How many events came before it on this stream.
    pub seq: u64,
    /// When, in seconds since 1970.
    pub unix: u64,
    /// What happened.
    #[serde(flatten)]
    pub happened: Happened,
}

/// What happened; the field `event` tells which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happened {
    /// A session with a peer is up.
    PeerConnected {
        /// The peer.
        peer: Text<NodeKey>,
        /// `quic` or `tcp`.
        transport: String,
        /// The other end.
        remote: SocketAddr,
        /// Whether it is bound to its TLS channel.
        bound: bool,
        /// The relay that carries it.
        via: Option<Text<NodeKey>>,
    },
    /// Others can dial this node or find it through relays, or can no longer.
    Reachability {
        /// `direct`, `relayed`, `outbound-only` or `unknown`.
        state: String,
        /// Over QUIC: `reached`, `not-reached` or `unknown`.
        quic: String,
        /// Over TCP, in the same words.
        tcp: String,
        /// So many tried.
        voices: u32,
    },
    /// The node's clock may be wrong, or is more likely to be than was told before.
    ClockDoubt(ClockDoubt),
    /// The last session with a peer ended.
    PeerDisconnected {
        /// The peer.
        peer: Text<NodeKey>,
    },
    /// A handshake was refused because somebody sits in between.
    Interception {
        /// Whom it claimed to be.
        claimed: Text<NodeKey>,
        /// The other end.
        remote: SocketAddr,
    },
    /// A peer was refused because it is not bound to its channel, which is demanded.
    UnboundRefused {
        /// The peer.
        peer: Text<NodeKey>,
        /// The other end.
        remote: SocketAddr,
    },
    /// A bootstrap address answered with another key than before.
    PinMismatch {
        /// The address.
        address: String,
        /// The key it had.
        expected: Text<NodeKey>,
        /// The key it has now.
        found: Text<NodeKey>,
    },
    /// An own share has a new revision.
    SharePublished {
        /// The share.
        share: Text<ShareId>,
        /// Its sequence number.
        share_seq: u64,
    },
    /// A subscribed share has a new catalog.
    ManifestUpdated {
        /// The share.
        share: Text<ShareId>,
        /// Its sequence number.
        share_seq: u64,
        /// The manifest.
        manifest: Text<ManifestId>,
    },
    /// Something offered for a subscribed share was refused.
    ShareRejected {
        /// The share.
        share: Text<ShareId>,
        /// Why.
        reason: Rejection,
    },
    /// A published file is not what it was and is no longer served.
    FileChanged {
        /// The file.
        path: String,
    },
    /// An item of a download is refused.
    ItemRefused {
        /// The download.
        download: u64,
        /// Which and why.
        item: Refused,
    },
    /// A file of a download cannot be had or written.
    ItemFailed {
        /// The download.
        download: u64,
        /// Its place below the download's folder.
        path: String,
        /// Why, for people.
        reason: String,
    },
    /// A download got on.
    DownloadProgress {
        /// The download.
        download: u64,
        /// Verified bytes on disk.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A download is complete.
    DownloadFinished {
        /// The download.
        download: u64,
    },
    /// A download cannot go on by itself.
    DownloadFailed {
        /// The download.
        download: u64,
        /// Why, for people.
        reason: String,
    },
    /// The store failed.
    StoreTrouble {
        /// As the system words it.
        reason: String,
    },
    /// The reader was too slow.
    Lagged {
        /// How many events it missed.
        missed: u64,
    },
}

/// Why something offered for a subscribed share was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// A signature does not verify.
    Signature,
    /// The manifest's sequence number is not its head's.
    Frozen,
    /// Another manifest claims the sequence number held.
    Equivocation,
    /// The manifest expired.
    Expired,
    /// It cannot be decoded or breaks a limit.
    Malformed,
}

impl From<Numbered> for EventLine {
    fn from(numbered: Numbered) -> Self {
        let happened = match numbered.item {
            Streamed::Event(event) => event.into(),
            Streamed::Lagged(missed) => Happened::Lagged { missed },
        };
        EventLine {
            seq: numbered.seq,
            unix: numbered.unix.0,
            happened,
        }
    }
}

impl From<Event> for Happened {
    fn from(event: Event) -> Self {
        match event {
            Event::PeerConnected {
                peer,
                transport,
                remote,
                bound,
                via,
            } => Happened::PeerConnected {
                peer: Text(peer),
                transport: convert::transport(transport),
                remote,
                bound,
                via: via.map(Text),
            },
            Event::Reachability(reach) => Happened::Reachability {
                state: convert::reach_state(reach.state()),
                quic: convert::reached(reach.quic),
                tcp: convert::reached(reach.tcp),
                voices: reach.voices,
            },
            Event::ClockDoubt(doubt) => Happened::ClockDoubt(doubt.into()),
            Event::PeerDisconnected { peer } => Happened::PeerDisconnected { peer: Text(peer) },
            Event::Interception { claimed, remote } => Happened::Interception {
                claimed: Text(claimed),
                remote,
            },
            Event::UnboundRefused { peer, remote } => Happened::UnboundRefused {
                peer: Text(peer),
                remote,
            },
            Event::PinMismatch {
                address,
                expected,
                found,
            } => Happened::PinMismatch {
                address,
                expected: Text(expected),
                found: Text(found),
            },
            Event::SharePublished { share, seq } => Happened::SharePublished {
                share: Text(share),
                share_seq: seq,
            },
            Event::ManifestUpdated {
                share,
                seq,
                manifest,
            } => Happened::ManifestUpdated {
                share: Text(share),
                share_seq: seq,
                manifest: Text(manifest),
            },
            Event::ShareRejected { share, reason } => Happened::ShareRejected {
                share: Text(share),
                reason: reason.into(),
            },
            Event::FileChanged { path } => Happened::FileChanged { path: path.0 },
            Event::ItemRefused { download, item } => Happened::ItemRefused {
                download: download.0,
                item: item.into(),
            },
            Event::ItemFailed {
                download,
                path,
                reason,
            } => Happened::ItemFailed {
                download: download.0,
                path: path.as_str().to_owned(),
                reason,
            },
            Event::DownloadProgress {
                download,
                done,
                total,
            } => Happened::DownloadProgress {
                download: download.0,
                done,
                total,
            },
            Event::DownloadFinished { download } => Happened::DownloadFinished {
                download: download.0,
            },
            Event::DownloadFailed { download, reason } => Happened::DownloadFailed {
                download: download.0,
                reason,
            },
            Event::StoreTrouble { reason } => Happened::StoreTrouble { reason },
        }
    }
}

impl From<ShareRejection> for Rejection {
    fn from(rejection: ShareRejection) -> Self {
        match rejection {
            ShareRejection::Signature => Rejection::Signature,
            ShareRejection::Frozen => Rejection::Frozen,
            ShareRejection::Equivocation => Rejection::Equivocation,
            ShareRejection::Expired => Rejection::Expired,
            ShareRejection::Malformed => Rejection::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_its_number_time_and_event_at_one_level() {
        let line = EventLine {
            seq: 7,
            unix: 9,
            happened: Happened::Lagged { missed: 3 },
        };
        let json = serde_json::to_string(&line).expect("writable");
        assert_eq!(json, r#"{"seq":7,"unix":9,"event":"lagged","missed":3}"#);
        assert_eq!(
            serde_json::from_str::<EventLine>(&json).expect("readable"),
            line
        );
    }
}
