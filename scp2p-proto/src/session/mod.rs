//! A link becomes a session: handshake, channel binding, and the bookkeeping of calls and
//! credit (SPECIFICATION §3).

mod binding;
mod calls;
mod credit;
mod handshake;
mod profile_memory;
mod replay;
mod roster;
mod seal;
mod sessions;

pub use binding::{Binding, EXTENSION_LEVEL};
pub use calls::{Calls, Ticket, UnexpectedReply};
pub use credit::{Grants, Room};
pub use handshake::{Established, HandshakeError, Initiator, Params, Responder};
pub use profile_memory::ProfileMemory;
pub use replay::NonceMemory;
pub(crate) use roster::{Carriage, Roster, Session};
pub(crate) use sessions::{DialPlan, LinkFailure, Purpose, SessionEvent, Sessions};

/// The label under which a driver exports 32 bytes, without context, from a link's TLS
/// connection. Both ends of one connection get the same value, nobody else does.
pub const EXPORTER_LABEL: &str = "EXPORTER-scp2p-channel-binding";
