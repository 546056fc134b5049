//! Share links (SPECIFICATION §9.2).

use core::fmt;

use alloc::vec::Vec;

use crate::id::{ShareId, ShareKey};
use crate::wire::BootstrapAddr;

/// What is given to others so that they can follow a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLink {
    /// The share's key.
    pub key: ShareKey,
    /// Peers that know the share, at most 16.
    pub bootstrap: Vec<BootstrapAddr>,
}

impl ShareLink {
    /// The share's id.
    pub fn share(&self) -> ShareId {
        self.key.share_id()
    }
}

/// Why a text is not a share link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseLinkError {
    /// It does not start with `scp2p://s/`.
    Scheme,
    /// What follows is not Base64.
    Base64,
    /// What follows has not the 64 bytes of an id and a key; the number is what it has.
    Length(usize),
    /// The id is not that of the key.
    Mismatch,
}

impl fmt::Display for ParseLinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseLinkError::Scheme => f.write_str("a share link starts with scp2p://s/"),
            ParseLinkError::Base64 => f.write_str(
                "the link has a character that does not belong there; copy it again as a whole",
            ),
            ParseLinkError::Length(found) => {
                write!(
                    f,
                    "the link holds {found} bytes instead of 64; copy it again as a whole"
                )
            }
            ParseLinkError::Mismatch => {
                f.write_str("the link's id is not that of its key; ask for the link again")
            }
        }
    }
}

impl core::error::Error for ParseLinkError {}
