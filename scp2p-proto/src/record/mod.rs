//! Signed objects and DHT values (SPECIFICATION §5, §6).

mod head;
mod keys;
mod link;
mod manifest;
mod providers;

use ed25519_dalek::{Signature, VerifyingKey};

use crate::id::ShareKey;
use crate::wire::DecodeError;
use crate::wire::cbor::Reader;

pub use head::ShareHead;
pub use keys::{ValueError, ValueKind, classify, head_key, manifest_key, providers_key};
pub use link::{ParseLinkError, ShareLink};
pub use manifest::{Item, Manifest, ManifestError, Visibility};
pub use providers::Providers;

/// Reads a signature: 64 bytes, or as many integers, in any place.
fn read_signature(r: &mut Reader<'_>, name: &'static str) -> Result<[u8; 64], DecodeError> {
    let bytes = r.loose_bytes(name, 64)?;
    bytes.as_ref().try_into().map_err(|_| DecodeError::Length(name))
}

/// Whether `key` signed `message`. Keys and signatures of small order are refused, under which one
/// signature can fit several messages.
fn verify_strict(key: &ShareKey, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&key.0)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
