//! Signed objects and DHT values (SPECIFICATION §5, §6).

mod head;
mod keys;
mod link;
mod manifest;
mod providers;
mod relay;
mod rendezvous;

use ed25519_dalek::{Signature, VerifyingKey};

pub use head::ShareHead;
pub use keys::{ValueError, ValueKind, classify, head_key, manifest_key, providers_key};
pub use link::{ParseLinkError, ShareLink};
pub use manifest::{Item, Manifest, ManifestError, Visibility};
pub use providers::Providers;
pub use relay::{
    BandwidthClass, RelayAnnouncement, RelayAnnouncementError, RelayCapacity, RelayOffer,
};
pub use rendezvous::{RendezvousHour, RendezvousSlot, rendezvous_key};

/// Whether `key` signed `message`. Keys and signatures of small order are refused, under which one
/// signature can fit several messages.
fn verify_strict(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}
