//! Manifests: the catalog of one revision of a share (SPECIFICATION §5.2).

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;
use ed25519_dalek::{Signer, SigningKey};

use super::verify_strict;
use crate::id::{ContentId, ManifestId, ShareId, ShareKey};
use crate::limits::{
    DESCRIPTION_MAX, ITEM_MIME_MAX, ITEM_NAME_MAX, ITEM_TAG_MAX, ITEM_TAGS_MAX, MANIFEST_ITEMS_MAX,
    MANIFEST_SHARES_MAX, TITLE_MAX,
};
use crate::time::UnixTime;
use crate::wire::DecodeError;
use crate::wire::cbor::{Field, Reader, Writer};

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
    /// Reads a manifest from its transmitted form. Bytes after it are ignored; its signature
    /// is not checked.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, DecodeError> {
        let (mut version, mut key, mut share) = (
            Field::new("version"),
            Field::new("share_pubkey"),
            Field::new("share_id"),
        );
        let (mut seq, mut created_at, mut expires_at) = (
            Field::new("seq"),
            Field::new("created_at"),
            Field::new("expires_at"),
        );
        let (mut title, mut description, mut visibility) = (
            Field::new("title"),
            Field::new("description"),
            Field::new("visibility"),
        );
        let (mut communities, mut items, mut recommended) = (
            Field::new("communities"),
            Field::new("items"),
            Field::new("recommended_shares"),
        );
        let mut signature = Field::new("signature");
        Reader::new(bytes).text_map(|name, r| match name {
            "version" => version.once(r, Reader::u8),
            "share_pubkey" => key.once(r, Reader::octets),
            "share_id" => share.once(r, Reader::octets),
            "seq" => seq.once(r, Reader::u64),
            "created_at" => created_at.once(r, Reader::time),
            "expires_at" => expires_at.once(r, Reader::time),
            "title" => title.once(r, |r, name| r.string(name, TITLE_MAX)),
            "description" => description.once(r, |r, name| r.string(name, DESCRIPTION_MAX)),
            "visibility" => visibility.once(r, Visibility::read),
            "communities" => communities.once(r, read_shares),
            "items" => items.once(r, |r, name| r.list(name, MANIFEST_ITEMS_MAX, Item::read)),
            "recommended_shares" => recommended.once(r, read_shares),
            "signature" => signature.once(r, Reader::loose_exact),
            _ => r.skip(),
        })?;
        Ok(Manifest {
            version: version.required()?,
            key: ShareKey(key.required()?),
            share: ShareId(share.required()?),
            seq: seq.required()?,
            created_at: created_at.required()?,
            expires_at: expires_at.optional(),
            title: title.optional(),
            description: description.optional(),
            visibility: visibility.optional().unwrap_or_default(),
            communities: communities.optional().unwrap_or_default(),
            items: items.required()?,
            recommended_shares: recommended.required()?,
            signature: signature.optional(),
        })
    }

    /// The transmitted form, with hashes as octet arrays as deployed peers write it.
    pub fn encode(&self) -> Vec<u8> {
        self.transmitted(HashForm::Octets)
    }

    /// The transmitted form with hashes as byte strings, which deployed peers read too. It is
    /// about 60 bytes shorter per item.
    pub fn encode_compact(&self) -> Vec<u8> {
        self.transmitted(HashForm::Bytes)
    }

    /// The signed form.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.size_hint());
        w.array(12);
        self.write_positional(&mut w, Item::write_positional);
        w.finish()
    }

    /// The manifest's id: BLAKE3 of the identified form. The layout it was received in
    /// plays no part.
    pub fn id(&self) -> ManifestId {
        let mut w = Writer::with_capacity(self.size_hint());
        w.array(13);
        self.write_positional(&mut w, |item, w| item.write_map(w, HashForm::Octets));
        match &self.signature {
            Some(signature) => w.octets(signature),
            None => w.null(),
        };
        ManifestId(blake3::hash(&w.finish()).into())
    }

    /// This manifest signed by `key`, which must be the secret of [`Manifest::key`].
    pub fn sign(mut self, key: &SigningKey) -> Manifest {
        self.signature = Some(key.sign(&self.signed_bytes()).to_bytes());
        self
    }

    /// Whether the manifest is its share's and valid at `now`. Like deployed peers this looks at
    /// neither `version` nor `created_at`.
    pub fn verify(&self, now: UnixTime) -> Result<(), ManifestError> {
        let signature = self.signature.as_ref().ok_or(ManifestError::Unsigned)?;
        if self.key.share_id() != self.share {
            return Err(ManifestError::ShareIdMismatch);
        }
        if !verify_strict(&self.key.0, &self.signed_bytes(), signature) {
            return Err(ManifestError::Signature);
        }
        match self.expires_at {
            Some(expires_at) if expires_at <= self.created_at => Err(ManifestError::Lifetime),
            Some(expires_at) if expires_at < now => Err(ManifestError::Expired(expires_at)),
            Some(_) | None => Ok(()),
        }
    }

    /// Bytes of all items together, `None` if that is more than a `u64` holds.
    pub fn total_size(&self) -> Option<u64> {
        self.items
            .iter()
            .try_fold(0u64, |sum, item| sum.checked_add(item.size))
    }

    fn transmitted(&self, form: HashForm) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.size_hint());
        w.map(13);
        w.text("version").uint(self.version);
        form.write(w.text("share_pubkey"), &self.key.0);
        form.write(w.text("share_id"), &self.share.0);
        w.text("seq").uint(self.seq);
        w.text("created_at").uint(self.created_at.0);
        write_time(w.text("expires_at"), self.expires_at);
        write_text(w.text("title"), self.title.as_deref());
        write_text(w.text("description"), self.description.as_deref());
        w.text("visibility").text(self.visibility.name());
        w.text("communities")
            .list(&self.communities, |w, id| form.write(w, &id.0));
        w.text("items")
            .list(&self.items, |w, item| item.write_map(w, form));
        w.text("recommended_shares")
            .list(&self.recommended_shares, |w, id| form.write(w, &id.0));
        w.text("signature");
        match &self.signature {
            Some(signature) => w.bytes(signature),
            None => w.null(),
        };
        w.finish()
    }

    /// The twelve fields that the signed and the identified form share, which differ in
    /// how they write an item.
    fn write_positional(&self, w: &mut Writer, item: fn(&Item, &mut Writer)) {
        w.uint(self.version)
            .octets(&self.key.0)
            .octets(&self.share.0);
        w.uint(self.seq).uint(self.created_at.0);
        write_time(w, self.expires_at);
        write_text(w, self.title.as_deref());
        write_text(w, self.description.as_deref());
        w.text(self.visibility.name());
        w.list(&self.communities, |w, id| HashForm::Octets.write(w, &id.0));
        w.list(&self.items, |w, entry| item(entry, w));
        w.list(&self.recommended_shares, |w, id| {
            HashForm::Octets.write(w, &id.0)
        });
    }

    /// About as many bytes as any form takes, so that writing it rarely moves what is written.
    fn size_hint(&self) -> usize {
        self.items.len().saturating_mul(320).saturating_add(1024)
    }
}

impl Item {
    /// Where the item lies in the catalog: its path, else its name. Untrusted text.
    pub fn place(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.name)
    }

    fn read(r: &mut Reader<'_>) -> Result<Item, DecodeError> {
        let (mut content, mut size, mut item_name) = (
            Field::new("content_id"),
            Field::new("size"),
            Field::new("name"),
        );
        let (mut path, mut mime, mut tags) =
            (Field::new("path"), Field::new("mime"), Field::new("tags"));
        let (mut chunk_count, mut chunk_list_hash) =
            (Field::new("chunk_count"), Field::new("chunk_list_hash"));
        r.text_map(|name, r| match name {
            "content_id" => content.once(r, Reader::octets),
            "size" => size.once(r, Reader::u64),
            "name" => item_name.once(r, |r, name| r.string(name, ITEM_NAME_MAX)),
            "path" => path.once(r, |r, name| r.string(name, ITEM_NAME_MAX)),
            "mime" => mime.once(r, |r, name| r.string(name, ITEM_MIME_MAX)),
            "tags" => tags.once(r, |r, name| {
                r.list(name, ITEM_TAGS_MAX, |r| r.string(name, ITEM_TAG_MAX))
            }),
            "chunk_count" => chunk_count.once(r, Reader::u32),
            "chunk_list_hash" => chunk_list_hash.once(r, Reader::octets),
            _ => r.skip(),
        })?;
        Ok(Item {
            content: ContentId(content.required()?),
            size: size.required()?,
            name: item_name.required()?,
            path: path.optional(),
            mime: mime.optional(),
            tags: tags.required()?,
            chunk_count: chunk_count.optional().unwrap_or_default(),
            chunk_list_hash: chunk_list_hash.optional().unwrap_or_default(),
        })
    }

    /// The item in the transmitted and the identified form: without `path` if it has none.
    fn write_map(&self, w: &mut Writer, form: HashForm) {
        w.map(if self.path.is_some() { 8 } else { 7 });
        form.write(w.text("content_id"), &self.content.0);
        w.text("size").uint(self.size);
        w.text("name").text(&self.name);
        if let Some(path) = &self.path {
            w.text("path").text(path);
        }
        write_text(w.text("mime"), self.mime.as_deref());
        write_tags(w.text("tags"), &self.tags);
        w.text("chunk_count").uint(self.chunk_count);
        form.write(w.text("chunk_list_hash"), &self.chunk_list_hash);
    }

    /// The item in the signed form: `path` is null if it has none.
    fn write_positional(&self, w: &mut Writer) {
        w.array(8)
            .octets(&self.content.0)
            .uint(self.size)
            .text(&self.name);
        write_text(w, self.path.as_deref());
        write_text(w, self.mime.as_deref());
        write_tags(w, &self.tags);
        w.uint(self.chunk_count).octets(&self.chunk_list_hash);
    }
}

impl Visibility {
    fn name(self) -> &'static str {
        match self {
            Visibility::Private => "private",
            Visibility::Public => "public",
        }
    }

    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<Visibility, DecodeError> {
        match r.text(name, 16)?.as_ref() {
            "private" => Ok(Visibility::Private),
            "public" => Ok(Visibility::Public),
            _ => Err(DecodeError::Value(name)),
        }
    }
}

/// How a hash is written in the transmitted form.
#[derive(Clone, Copy)]
enum HashForm {
    Octets,
    Bytes,
}

impl HashForm {
    fn write(self, w: &mut Writer, hash: &[u8; 32]) {
        match self {
            HashForm::Octets => w.octets(hash),
            HashForm::Bytes => w.bytes(hash),
        };
    }
}

fn read_shares(r: &mut Reader<'_>, name: &'static str) -> Result<Vec<ShareId>, DecodeError> {
    r.list(name, MANIFEST_SHARES_MAX, |r| r.octets(name).map(ShareId))
}

fn write_text(w: &mut Writer, text: Option<&str>) {
    match text {
        Some(text) => w.text(text),
        None => w.null(),
    };
}

fn write_time(w: &mut Writer, time: Option<UnixTime>) {
    match time {
        Some(time) => w.uint(time.0),
        None => w.null(),
    };
}

fn write_tags(w: &mut Writer, tags: &[String]) {
    w.list(tags, |w, tag| write_text(w, Some(tag)));
}
