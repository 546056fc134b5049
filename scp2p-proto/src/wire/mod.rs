//! The wire: every message as bytes and back (SPECIFICATION §2 to §8).

mod addr;
mod bootstrap;
mod capabilities;
pub(crate) mod cbor;
mod envelope;
mod ext;
mod frame;
mod hello;
mod message;

pub use addr::{PeerAddr, RelayRoute};
pub use bootstrap::{BootstrapAddr, ParseBootstrapError};
pub use capabilities::{Capabilities, Profile};
pub use cbor::DecodeError;
pub use envelope::{Envelope, FLAG_ERROR, FLAG_RESPONSE};
pub use ext::{Have, HeadAnnounce, Listening, Observed, SubtreePage};
pub use frame::{FrameError, FrameReader};
pub use hello::{Hello, HelloFields};
pub use message::{
    Answer, AnswerError, ChunkHashes, FoundValue, PublicShareSummary, Request, RequestError,
    StoreRecord,
};
