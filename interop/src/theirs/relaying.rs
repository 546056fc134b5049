//! What published nodes do about relays.

use scp2p_proto::id::{ContentId, NodeKey, RelaySlotId};
use scp2p_proto::wire::PeerAddr;

/// A published node that has itself reached through relays, asks through them, finds them, and is one. What it says of a
/// failure is its own text.
pub trait Relaying {
    /// Registers for a new slot at a relay, which turns the connection around, and provides from then on all it has
    /// there and nowhere else, as the published programs do.
    fn tunnel(&self, relay: &PeerAddr) -> Result<RelaySlotId, String>;

    /// Its slots whose connections are there.
    fn slots(&self) -> Vec<RelaySlotId>;

    /// Registers with a relay over a new connection, for a new slot or for this one again, and keeps the connection
    /// without a word.
    fn register(&self, relay: &PeerAddr, slot: Option<RelaySlotId>) -> Result<Held, String>;

    /// Whom its seeds name as providers of a content.
    fn providers(&self, content: ContentId) -> Vec<PeerAddr>;

    /// The titles of the public shares of a peer, which it asks through the relay in the address if there is one.
    fn public_shares(&self, peer: &PeerAddr) -> Result<Vec<String>, String>;

    /// Announces that it relays, at where it listens, to whoever asks it and at its seeds; how many values were taken.
    fn announce(&self) -> usize;

    /// Asks a peer which relays it knows; those whose announcements it can verify.
    fn relays_of(&self, peer: &PeerAddr) -> Vec<NodeKey>;

    /// Looks for announcements in the places of this hour, and among the relays that it then knows for one at this address.
    fn finds_relay(&self, at: &PeerAddr) -> bool;
}

/// A connection on which a relay waits, until this is dropped.
pub struct Held {
    /// The slot.
    pub slot: RelaySlotId,
    pub(super) is_open: Box<dyn Fn() -> bool + Send>,
}

impl Held {
    /// Whether the relay has not ended it.
    pub fn is_open(&self) -> bool {
        (self.is_open)()
    }
}
