//! The wire: every message as bytes and back (SPECIFICATION §2 to §10).

mod addr;
mod answer;
mod bootstrap;
mod capabilities;
pub(crate) mod cbor;
mod circuit;
mod envelope;
mod ext;
mod frame;
mod hello;
pub(crate) mod kind;
mod message;
mod relay;
mod request;

pub use addr::{PeerAddr, RelayRoute};
pub use answer::{Answer, AnswerError};
pub use bootstrap::{BootstrapAddr, ParseBootstrapError};
pub use capabilities::{Capabilities, Profile};
pub use cbor::DecodeError;
pub use circuit::{CIRCUIT_SLOT, CircuitEnd, CircuitFrame, NewCircuit, Reservation};
pub(crate) use envelope::unframed;
pub use envelope::{Envelope, FLAG_ERROR, FLAG_RESPONSE};
pub use ext::{DialedBack, Endpoints, Have, HeadAnnounce, Listening, Observed, Punch, SubtreePage};
pub use frame::{FrameError, FrameReader};
pub use hello::{Hello, HelloFields};
pub use message::{ChunkHashes, FoundValue, PublicShareSummary, StoreRecord};
pub use relay::{RelayRegister, RelayRegistered, RelayStream, RelayStreamKind};
pub use request::{Request, RequestError};
