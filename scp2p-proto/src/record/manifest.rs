//! Manifests: the catalog of one revision of a share (SPECIFICATION §5.2).

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{ContentId, ManifestId, ShareId, ShareKey};
use crate::time::UnixTime;

/// Who may list a share. It hides nothing from those who know the share's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Visibility {
    /// Only those who were given the link.
    #[default]
    Private,
    /// Everybody who asks its owner for shares.
    Public,
}

/// The catalog of one revision of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Format version, 1 so far; receivers do not check it.
    pub version: u8,
    /// The share's key.
    pub key: ShareKey,
    /// The share, which must be the SHA-256 of `key`.
    pub share: ShareId,
    /// Sequence number of this revision; the first is 1.
    pub seq: u64,
    /// When its owner made it.
    pub created_at: UnixTime,
    /// The last second in which it is valid; never written by us.
    pub expires_at: Option<UnixTime>,
    /// Title, untrusted text of at most 4 KiB.
    pub title: Option<String>,
    /// Description, untrusted text of at most 64 KiB.
    pub description: Option<String>,
    /// Who may list the share.
    pub visibility: Visibility,
    /// Communities in which the share is listed.
    pub communities: Vec<ShareId>,
    /// The files, at most 3000.
    pub items: Vec<Item>,
    /// Other shares the owner recommends.
    pub recommended_shares: Vec<ShareId>,
    /// Ed25519 signature by `key` over the signed form.
    pub signature: Option<[u8; 64]>,
}

/// A file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The file's content.
    pub content: ContentId,
    /// Its size in bytes as claimed by the owner.
    pub size: u64,
    /// Its name, untrusted text.
    pub name: String,
    /// Its place in a folder share, `/` separated, untrusted text.
    pub path: Option<String>,
    /// Its media type, untrusted text.
    pub mime: Option<String>,
    /// Its tags, untrusted texts.
    pub tags: Vec<String>,
    /// Number of 256 KiB chunks as claimed by the owner.
    pub chunk_count: u32,
    /// BLAKE3 of the concatenated chunk hashes.
    pub chunk_list_hash: [u8; 32],
}

impl Item {
    /// Where the item lies in the catalog: its path, else its name. Untrusted text.
    pub fn place(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.name)
    }
}

/// Why a manifest is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestError {
    /// It has no signature.
    Unsigned,
    /// Its share id is not that of its key.
    ShareIdMismatch,
    /// Its signature does not verify under its key.
    Signature,
    /// It was valid until this time only.
    Expired(UnixTime),
    /// It expires no later than it was made.
    Lifetime,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManifestError::Unsigned => f.write_str("the manifest is not signed"),
            ManifestError::ShareIdMismatch => {
                f.write_str("the manifest's share id is not that of its key")
            }
            ManifestError::Signature => f.write_str("the manifest's signature does not verify"),
            ManifestError::Expired(at) => write!(f, "the manifest expired at unix time {}", at.0),
            ManifestError::Lifetime => f.write_str("the manifest expires before it was made"),
        }
    }
}

impl core::error::Error for ManifestError {}

impl Manifest {
    /// Bytes of all items together, `None` if that is more than a `u64` holds.
    pub fn total_size(&self) -> Option<u64> {
        self.items
            .iter()
            .try_fold(0u64, |sum, item| sum.checked_add(item.size))
    }
}
