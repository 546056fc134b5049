//! Provider lists: who may have a content (SPECIFICATION §5.3).

use alloc::vec::Vec;

use crate::id::ContentId;
use crate::limits::PEER_ADDRS_MAX;
use crate::time::UnixTime;
use crate::wire::cbor::{Field, Reader, Writer};
use crate::wire::{DecodeError, PeerAddr};

/// Who is said to serve a content. Nobody signs this; it is a hint only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Providers {
    /// The content.
    pub content: ContentId,
    /// Addresses of peers that serve it. Of a longer list the first 128 are read.
    pub providers: Vec<PeerAddr>,
    /// When the list was last changed.
    pub updated_at: UnixTime,
}

impl Providers {
    /// Reads a list. Bytes after it are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Providers, DecodeError> {
        let (mut content, mut providers) = (Field::new("content_id"), Field::new("providers"));
        let mut updated_at = Field::new("updated_at");
        Reader::new(bytes).text_map(|name, r| match name {
            "content_id" => content.once(r, Reader::octets),
            "providers" => providers.once(r, |r, _| r.list_cut(PEER_ADDRS_MAX, PeerAddr::read)),
            "updated_at" => updated_at.once(r, Reader::time),
            _ => r.skip(),
        })?;
        Ok(Providers {
            content: ContentId(content.required()?),
            providers: providers.required()?,
            updated_at: updated_at.required()?,
        })
    }

    /// The list as it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        w.text("content_id").octets(&self.content.0);
        w.text("providers")
            .list(&self.providers, |w, address| address.write(w));
        w.text("updated_at").uint(self.updated_at.0);
        w.finish()
    }
}
