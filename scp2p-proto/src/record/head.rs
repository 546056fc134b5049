//! Share heads: which revision of a share is the newest (SPECIFICATION §5.1).

use alloc::vec::Vec;
use ed25519_dalek::{Signer, SigningKey};

use super::verify_strict;
use crate::id::{ManifestId, ShareId, ShareKey};
use crate::time::UnixTime;
use crate::wire::DecodeError;
use crate::wire::cbor::{Field, Reader, Writer};

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

impl ShareHead {
    /// Reads a head. Bytes after it are ignored; its signature is not checked.
    pub fn decode(bytes: &[u8]) -> Result<ShareHead, DecodeError> {
        let (mut share, mut seq) = (Field::new("share_id"), Field::new("latest_seq"));
        let (mut manifest, mut updated_at) =
            (Field::new("latest_manifest_id"), Field::new("updated_at"));
        let mut signature = Field::new("sig");
        Reader::new(bytes).text_map(|name, r| match name {
            "share_id" => share.once(r, Reader::octets),
            "latest_seq" => seq.once(r, Reader::u64),
            "latest_manifest_id" => manifest.once(r, Reader::octets),
            "updated_at" => updated_at.once(r, Reader::time),
            "sig" => signature.once(r, Reader::loose_exact),
            _ => r.skip(),
        })?;
        Ok(ShareHead {
            share: ShareId(share.required()?),
            latest_seq: seq.required()?,
            latest_manifest: ManifestId(manifest.required()?),
            updated_at: updated_at.required()?,
            signature: signature.required()?,
        })
    }

    /// The head as it is sent and stored, at most 335 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(336);
        w.map(5);
        w.text("share_id").octets(&self.share.0);
        w.text("latest_seq").uint(self.latest_seq);
        w.text("latest_manifest_id").octets(&self.latest_manifest.0);
        w.text("updated_at").uint(self.updated_at.0);
        w.text("sig").octets(&self.signature);
        w.finish()
    }

    /// What the signature is made over.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(160);
        w.array(4).octets(&self.share.0).uint(self.latest_seq);
        w.octets(&self.latest_manifest.0).uint(self.updated_at.0);
        w.finish()
    }

    /// This head signed by its share's key.
    pub fn sign(mut self, key: &SigningKey) -> ShareHead {
        self.signature = key.sign(&self.signed_bytes()).to_bytes();
        self
    }

    /// Whether `key` is the share's and signed this.
    pub fn verify(&self, key: &ShareKey) -> bool {
        key.share_id() == self.share && verify_strict(&key.0, &self.signed_bytes(), &self.signature)
    }

    /// Whether this head replaces `other`: by sequence number, then by time.
    pub fn newer_than(&self, other: &ShareHead) -> bool {
        (self.latest_seq, self.updated_at) > (other.latest_seq, other.updated_at)
    }
}
