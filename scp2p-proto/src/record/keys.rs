//! Where records lie in the DHT and which values belong there (SPECIFICATION §6).

use core::fmt;
use core::ops::RangeInclusive;

use alloc::boxed::Box;
use sha2::{Digest, Sha256};

use super::{Manifest, Providers, RelayAnnouncement, ShareHead};
use crate::id::{ContentId, DhtKey, ManifestId, ShareId};
use crate::limits::VALUE_MAX;
use crate::wire::cbor::Reader;

/// First bytes of tagged records. None of them starts a CBOR map, as other records do.
const TAGS: RangeInclusive<u8> = 0x31..=0x37;

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

/// The key of what these bytes name among the values with this prefix.
pub(super) fn derive(prefix: &[u8], name: &[u8]) -> DhtKey {
    DhtKey(
        Sha256::new()
            .chain_update(prefix)
            .chain_update(name)
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
    /// A relay's word that it relays, which may lie under this key. Neither its time nor its signature is checked.
    Relay(Box<RelayAnnouncement>),
}

/// Why a value is not kept in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueError {
    /// It is longer than 64 KiB; the number is its length in bytes.
    TooLong(usize),
    /// It is a record, but its place is under another key.
    WrongKey,
    /// It is a record of a kind that is not kept here: those of communities and keys.
    Unsupported,
    /// It is no record, or a broken one.
    Unrecognized,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::TooLong(len) => write!(f, "a value of {len} bytes is longer than 64 KiB"),
            ValueError::WrongKey => f.write_str("the value belongs under another key"),
            ValueError::Unsupported => f.write_str("values of this kind are not kept"),
            ValueError::Unrecognized => f.write_str("the value is no record that can be read"),
        }
    }
}

impl core::error::Error for ValueError {}

/// Which record `value` is. As with deployed peers the first kind that can be read decides,
/// and its place must be under `key`.
pub fn classify(key: &DhtKey, value: &[u8]) -> Result<ValueKind, ValueError> {
    if value.len() > VALUE_MAX {
        return Err(ValueError::TooLong(value.len()));
    }
    let (kind, belongs) = if let Ok(head) = ShareHead::decode(value) {
        let place = head_key(&head.share);
        (ValueKind::Head(head), place == *key)
    } else if let Ok(providers) = Providers::decode(value) {
        let place = providers_key(&providers.content);
        (ValueKind::Providers(providers), place == *key)
    } else if let Ok(manifest) = Manifest::decode(value) {
        let place = manifest_key(&manifest.id());
        (ValueKind::Manifest(Box::new(manifest)), place == *key)
    } else if let Ok(announcement) = RelayAnnouncement::decode(value) {
        let belongs = announcement.belongs_at(key);
        (ValueKind::Relay(Box::new(announcement)), belongs)
    } else if is_unsupported(value) {
        return Err(ValueError::Unsupported);
    } else {
        return Err(ValueError::Unrecognized);
    };
    if belongs {
        Ok(kind)
    } else {
        Err(ValueError::WrongKey)
    }
}

/// Whether the value is a tagged record or a list of community members.
fn is_unsupported(value: &[u8]) -> bool {
    if value.first().is_some_and(|tag| TAGS.contains(tag)) {
        return true;
    }
    let mut known = false;
    let read = Reader::new(value).text_map(|name, r| {
        known |= name == "community_share_id";
        r.skip()
    });
    read.is_ok() && known
}
