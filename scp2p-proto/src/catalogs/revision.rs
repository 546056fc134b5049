//! What is known of one revision of a share without reading its manifest.

use alloc::string::String;
use alloc::vec::Vec;

use crate::id::ManifestId;
use crate::limits::{HEAD_BYTES_MAX, MANIFEST_BYTES_MAX, TITLE_MAX, VALUE_MAX};
use crate::record::{Manifest, ShareHead};
use crate::wire::DecodeError;
use crate::wire::cbor::{Field, Reader, Writer};

/// A revision that is durable or about to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Revision {
    pub head: ShareHead,
    pub title: Option<String>,
    pub items: u32,
    pub bytes: u64,
    /// The manifest before it. Its row is kept for those who are still fetching it.
    pub previous: Option<ManifestId>,
}

impl Revision {
    /// The revision that follows `previous`.
    pub(super) fn new(
        head: ShareHead,
        manifest: &Manifest,
        previous: Option<&Revision>,
    ) -> Revision {
        Revision {
            head,
            title: manifest.title.clone(),
            items: manifest.items.len() as u32,
            bytes: manifest.total_size().unwrap_or(u64::MAX),
            previous: previous.map(Revision::manifest),
        }
    }

    pub(super) fn manifest(&self) -> ManifestId {
        self.head.latest_manifest
    }

    /// The manifests whose rows are kept.
    pub(super) fn manifests(&self) -> impl Iterator<Item = ManifestId> {
        [Some(self.manifest()), self.previous].into_iter().flatten()
    }

    /// The manifest whose row goes when `self` is replaced by a revision of `newer`.
    pub(super) fn outdated_by(&self, newer: ManifestId) -> Option<ManifestId> {
        self.previous
            .filter(|old| *old != newer && *old != self.manifest())
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.map(5);
        w.uint(0u8).bytes(&self.head.encode());
        w.uint(1u8).option(self.title.as_deref(), |w, title| {
            w.text(title);
        });
        w.uint(2u8).uint(self.items);
        w.uint(3u8).uint(self.bytes);
        w.uint(4u8).option(self.previous, |w, id| {
            w.bytes(&id.0);
        });
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Revision, DecodeError> {
        let (mut head, mut title) = (Field::new("head"), Field::new("title"));
        let (mut items, mut bytes) = (Field::new("items"), Field::new("bytes"));
        let mut previous = Field::new("previous");
        r.int_map(|key, r| match key {
            0 => head.first(r, |r, name| r.bytes(name, HEAD_BYTES_MAX)),
            1 => title.first(r, |r, name| r.string(name, TITLE_MAX)),
            2 => items.first(r, Reader::u32),
            3 => bytes.first(r, Reader::u64),
            4 => previous.first(r, Reader::exact),
            _ => r.skip(),
        })?;
        Ok(Revision {
            head: ShareHead::decode(&head.required()?)?,
            title: title.optional(),
            items: items.required()?,
            bytes: bytes.required()?,
            previous: previous.optional().map(ManifestId),
        })
    }
}

/// The bytes of a manifest as its row holds them and as it is sent: the plain form, or the compact
/// one if only that fits a payload. `None` if neither does.
pub(super) fn stored_form(manifest: &Manifest) -> Option<Vec<u8>> {
    form_within(manifest, MANIFEST_BYTES_MAX)
}

/// The bytes of a manifest as a DHT value, if it fits one.
pub(super) fn dht_form(manifest: &Manifest) -> Option<Vec<u8>> {
    form_within(manifest, VALUE_MAX)
}

fn form_within(manifest: &Manifest, max: usize) -> Option<Vec<u8>> {
    Some(manifest.encode())
        .filter(|bytes| bytes.len() <= max)
        .or_else(|| Some(manifest.encode_compact()).filter(|bytes| bytes.len() <= max))
}
