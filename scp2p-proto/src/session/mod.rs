//! A link becomes a session: handshake, channel binding, and the bookkeeping of calls and
//! credit (SPECIFICATION §3).

/// The label under which a driver exports 32 bytes, without context, from a link's TLS
/// connection. Both ends of one connection get the same value, nobody else does.
pub const EXPORTER_LABEL: &str = "EXPORTER-scp2p-channel-binding";
