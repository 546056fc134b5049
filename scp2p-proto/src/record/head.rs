//! Share heads: which revision of a share is the newest (SPECIFICATION §5.1).

use crate::id::{ManifestId, ShareId};
use crate::time::UnixTime;

/// A share's newest revision as its owner signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareHead {
    /// The share.
    pub share: ShareId,
    /// Sequence number of its newest revision; the first is 1.
    pub latest_seq: u64,
    /// That revision's manifest.
    pub latest_manifest: ManifestId,
    /// When the owner signed this.
    pub updated_at: UnixTime,
    /// Ed25519 signature by the share's key, which is not part of the head.
    pub signature: [u8; 64],
}
