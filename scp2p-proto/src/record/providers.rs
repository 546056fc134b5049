//! Provider lists: who may have a content (SPECIFICATION §5.3).

use alloc::vec::Vec;

use crate::id::ContentId;
use crate::time::UnixTime;
use crate::wire::PeerAddr;

/// Who is said to serve a content. Nobody signs this; it is a hint only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Providers {
    /// The content.
    pub content: ContentId,
    /// Addresses of peers that serve it.
    pub providers: Vec<PeerAddr>,
    /// When the list was last changed.
    pub updated_at: UnixTime,
}
