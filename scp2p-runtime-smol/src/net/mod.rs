//! Links over real transports: QUIC on UDP sockets, TLS on TCP sockets.

mod half_open;
pub(crate) mod mtu;
pub(crate) mod quic;
pub(crate) mod resolve;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use scp2p_proto::id::LinkId;

/// From a connection attempt to a finished TLS or QUIC handshake, in either direction.
pub const OPENING_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a link that the node closed may take to deliver what was sent on it.
pub(crate) const CLOSING_TIME_MAX: Duration = Duration::from_secs(1);
/// Room of a control lane. Twice the largest frame less its envelope, so that a large reply does
/// not stop small ones.
pub(crate) const CONTROL_ROOM: u32 = 2 << 20;
/// Room of a bulk lane: enough chunks that the transport never waits for the disk.
pub(crate) const BULK_ROOM: u32 = 4 << 20;
/// Room is given back when this part of it was used, so that small frames do not cost an event each; the
/// rest takes any frame.
pub(crate) const ROOM_PARTS: u32 = 16;
/// Bytes given to the node at a time, so that no link keeps others waiting: a chunk's worth, as each
/// time may wake another thread.
pub(crate) const READ_MAX: usize = 256 << 10;
/// Accepted links of a transport whose handshake is not finished, in all: each may hold a
/// descriptor, of which a process often has 1024.
pub(crate) const HALF_OPEN_MAX: usize = 384;
/// Of these, from one address; loopback is exempt. Deployed clients dial anew for each
/// request, eight at a time, and several may share an address.
pub(crate) const HALF_OPEN_PER_IP_MAX: usize = 64;

/// Chooses ids of accepted links. Clones choose from the same sequence.
#[derive(Debug, Clone, Default)]
pub struct AcceptedIds(Arc<AtomicU64>);

impl AcceptedIds {
    /// An id that was not chosen before.
    pub fn next(&self) -> LinkId {
        LinkId(1 << 63 | self.0.fetch_add(1, Ordering::Relaxed))
    }
}
