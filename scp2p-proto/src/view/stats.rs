//! What a node did, in numbers.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::DhtKey;

/// Counters since the start of the node. They only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Lookups for the nodes closest to a target: stores of values, and refreshes of the routing table.
    pub find_node: LookupCounts,
    /// Lookups for a value.
    pub find_value: LookupCounts,
    /// The last [`LOOKUPS_REMEMBERED_MAX`](crate::limits::LOOKUPS_REMEMBERED_MAX) lookups that ended,
    /// oldest first.
    pub lookups: Vec<LookupView>,
    /// Values given to other nodes to keep, once for each node.
    pub stores_sent: u64,
    /// Those of them that the node took.
    pub stores_acknowledged: u64,
    /// Sessions that peers dialled.
    pub sessions_inbound: u64,
    /// Sessions that we dialled.
    pub sessions_outbound: u64,
    /// Links that we dialled for a session and that came to nothing.
    pub dials_failed: u64,
    /// Requests of peers that were answered with what they asked for.
    pub requests_answered: u64,
    /// Requests of peers that were answered with an error.
    pub requests_refused: u64,
    /// Bytes received by all sessions from when they were up.
    pub received: u64,
    /// Bytes sent by all sessions; where we dialled, the last message of the handshake is among them.
    pub sent: u64,
    /// Payload bytes of chunks received and verified.
    pub downloaded: u64,
    /// Payload bytes of chunks sent.
    pub uploaded: u64,
}

/// Lookups of one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LookupCounts {
    /// Wanted, those that wait for their turn included.
    pub begun: u64,
    /// Ended as [`LookupView::found`] says.
    pub succeeded: u64,
    /// Ended otherwise: nobody could be asked, nobody answered, or nothing was found.
    pub failed: u64,
    /// Queries of those that ended.
    pub queries: u64,
    /// How long those that ended took, all together.
    pub took: Duration,
}

/// A lookup that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupView {
    /// Counts the lookups that ended, from 1, so that a reader that comes again can tell new ones.
    pub number: u64,
    /// What it was for.
    pub kind: LookupKind,
    /// The key looked for; zeros for [`LookupKind::Refresh`].
    pub key: DhtKey,
    /// Whether it found the value that it was after, or, where it was after nodes, any that answered.
    pub found: bool,
    /// Queries sent.
    pub queries: u32,
    /// Answers received.
    pub answers: u32,
    /// The longest way to a node that answered: 1 if it was known at the start, 2 if one of those
    /// named it, and so on; 0 if nobody of the routing table answered.
    pub hops: u32,
    /// From the wish to the end, waiting for its turn included.
    pub took: Duration,
}

/// What a lookup was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookupKind {
    /// The head of a share (FIND_VALUE).
    Head,
    /// A manifest (FIND_VALUE).
    Manifest,
    /// The providers of a content (FIND_VALUE).
    Providers,
    /// The providers of a content, to be named among them (FIND_VALUE); found if anybody answered.
    Provide,
    /// Relays that announced themselves (FIND_VALUE).
    Relays,
    /// The nodes to store a value at (FIND_NODE).
    Store,
    /// The nodes around a target, to get to know them (FIND_NODE).
    Refresh,
}

impl LookupKind {
    /// Whether it asks for a value, not only for nodes.
    pub fn is_find_value(self) -> bool {
        match self {
            LookupKind::Head
            | LookupKind::Manifest
            | LookupKind::Providers
            | LookupKind::Relays
            | LookupKind::Provide => true,
            LookupKind::Store | LookupKind::Refresh => false,
        }
    }
}
