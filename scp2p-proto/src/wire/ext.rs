//! Messages between nodes of ours only, types 600 to 699 (SPECIFICATION §8): integer-keyed maps
//! and true byte strings.

use core::net::IpAddr;

use alloc::vec::Vec;
use bytes::Bytes;

use crate::id::{ContentId, ShareKey};
use crate::record::ShareHead;

/// The ports a node listens on, on the address that the other side sees it at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listening {
    /// For QUIC.
    pub quic_port: Option<u16>,
    /// For TLS over TCP.
    pub tcp_port: Option<u16>,
}

/// Where the answering side sees the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The address.
    pub ip: IpAddr,
    /// The port, which is not one it listens on if it dialled over TCP.
    pub port: u16,
}

/// A share's head with the key that verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadAnnounce {
    /// The share's key.
    pub key: ShareKey,
    /// Its head, not verified.
    pub head: ShareHead,
}

/// A page of the hashes of a content's subtrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtreePage {
    /// The content.
    pub content: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// The level of the tree.
    pub level: u8,
    /// Which page of that level.
    pub page: u32,
    /// The hashes, 32 bytes each, at most [`OUTBOARD_PAGE`](crate::storage::OUTBOARD_PAGE) of them.
    pub hashes: Bytes,
}

/// Which contents are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Have {
    /// In the order asked: the size of a content served whole, `None` for any other.
    pub sizes: Vec<Option<u64>>,
}
