//! Where records lie in the DHT and which values belong there (SPECIFICATION §6).

use core::fmt;

use alloc::boxed::Box;
use sha2::{Digest, Sha256};

use super::{Manifest, Providers, ShareHead};
use crate::id::{ContentId, DhtKey, ManifestId, ShareId};
use crate::wire::DecodeError;

/// Where the head of a share lies.
pub fn head_key(share: &ShareId) -> DhtKey {
    derive(b"share:head:", share.as_bytes())
}

/// Where a manifest lies.
pub fn manifest_key(manifest: &ManifestId) -> DhtKey {
    derive(b"manifest:loc:", manifest.as_bytes())
}

/// Where the providers of a content lie.
pub fn providers_key(content: &ContentId) -> DhtKey {
    derive(b"content:prov:", content.as_bytes())
}

fn derive(prefix: &[u8], id: &[u8; 32]) -> DhtKey {
    DhtKey(
        Sha256::new()
            .chain_update(prefix)
            .chain_update(id)
            .finalize()
            .into(),
    )
}

/// Which record a DHT value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueKind {
    /// The head of a share. Its signature is not checked: that takes the share's key.
    Head(ShareHead),
    /// The providers of a content.
    Providers(Providers),
    /// A manifest that hashes to the id behind its key. Its signature is not checked.
    Manifest(Box<Manifest>),
}

/// Why a value is not kept in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueError {
    /// It is longer than 64 KiB; the number is its length in bytes.
    TooLong(usize),
    /// It is a record, but its place is under another key.
    WrongKey,
    /// It is a record of a kind that is not kept here.
    Unsupported,
    /// It is a record of a kind that is kept, but broken.
    Malformed(DecodeError),
    /// It is no record.
    Unrecognized,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::TooLong(len) => write!(f, "a value of {len} bytes is longer than 64 KiB"),
            ValueError::WrongKey => f.write_str("the value belongs under another key"),
            ValueError::Unsupported => f.write_str("values of this kind are not kept"),
            ValueError::Malformed(error) => write!(f, "broken record: {error}"),
            ValueError::Unrecognized => f.write_str("the value is no record"),
        }
    }
}

impl core::error::Error for ValueError {}
