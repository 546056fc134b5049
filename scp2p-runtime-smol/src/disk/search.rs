//! What a search asks and answers.

use std::fmt;

use scp2p_proto::id::{ContentId, ShareId};

/// Most hits on one page.
pub const PAGE_MAX: u32 = 200;

/// A search over the catalogs of all subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// Plain words; there is no query language. An entry must contain all of
    /// them, of the last one the beginning is enough. No words find nothing.
    pub text: String,
    /// Only entries of this share.
    pub share: Option<ShareId>,
    /// Hits to skip.
    pub offset: u32,
    /// Hits wanted, 1 to [`PAGE_MAX`].
    pub limit: u32,
}

/// One page of hits, best first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchPage {
    /// All hits of the query, not only those of this page.
    pub total: u64,
    /// The page; empty beyond the last hit.
    pub hits: Vec<SearchHit>,
}

/// An entry of a catalog. Its texts are the publisher's: escape them before showing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    /// The share it is in.
    pub share: ShareId,
    /// The share's title.
    pub share_title: Option<String>,
    /// Its path in the catalog, or its name where it has none.
    pub place: String,
    /// Its content.
    pub content: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type, as the publisher says.
    pub mime: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// How well it fits, in thousandths; comparable within one query only.
    pub score_milli: u32,
}

/// Why a search has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchError {
    /// The limit is not within 1 to [`PAGE_MAX`].
    Limit(u32),
    /// The index could be neither opened nor made anew; the text is the system's.
    Unavailable(String),
    /// The node stops.
    Stopping,
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SearchError::Limit(limit) => {
                write!(f, "{limit} hits per page: ask for 1 to {PAGE_MAX}")
            }
            SearchError::Unavailable(text) => write!(
                f,
                "the search index cannot be used: {text}; make room or check the data \
                 directory, then start the node again"
            ),
            SearchError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl std::error::Error for SearchError {}
