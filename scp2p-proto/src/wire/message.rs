//! What requests and answers are made of (SPECIFICATION §4.5).

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::PeerAddr;
use super::cbor::{DecodeError, Field, Reader, Writer};
use crate::id::{ContentId, DhtKey, ManifestId, ShareId, ShareKey};
use crate::limits::{
    CHUNK_HASHES_MAX, DESCRIPTION_MAX, PAYLOAD_MAX, PEER_ADDRS_MAX, TITLE_MAX, VALUE_MAX,
};

/// A value of the DHT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRecord {
    /// Its key.
    pub key: DhtKey,
    /// Its bytes, at most [`VALUE_MAX`].
    pub value: Bytes,
    /// How long to keep it, or how long it will still be kept. Below 2^63 where we write it:
    /// deployed peers write larger numbers as negative ones.
    pub ttl_secs: u64,
    /// The key of the share that a head is of, so that whoever keeps it can verify it. Deployed peers
    /// neither write nor read it.
    pub signer: Option<ShareKey>,
}

impl StoreRecord {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(if self.signer.is_some() { 4 } else { 3 });
        w.uint(0_u8).bytes(&self.key.0);
        w.uint(1_u8).bytes(&self.value);
        w.uint(2_u8).uint(self.ttl_secs);
        if let Some(signer) = self.signer {
            w.uint(3_u8).bytes(&signer.0);
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<StoreRecord, DecodeError> {
        let (mut key, mut value, mut ttl_secs) = (
            Field::new("key"),
            Field::new("value"),
            Field::new("ttl_secs"),
        );
        let mut signer = Field::new("signer");
        r.int_map(|number, r| match number {
            0 => key.first(r, Reader::exact),
            1 => value.first(r, |r, name| r.bytes(name, VALUE_MAX)),
            2 => ttl_secs.first(r, Reader::u64),
            3 => signer.first(r, Reader::exact),
            _ => r.skip(),
        })?;
        Ok(StoreRecord {
            key: DhtKey(key.required()?),
            value: value.required()?,
            ttl_secs: ttl_secs.required()?,
            signer: signer.optional().map(ShareKey),
        })
    }
}

/// The answer to FIND_VALUE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundValue {
    /// The value, if the answering side has it. Its key may be another than that asked for.
    pub record: Option<StoreRecord>,
    /// Peers closer to the key.
    pub peers: Vec<PeerAddr>,
}

impl FoundValue {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2)
            .uint(0_u8)
            .option(self.record.as_ref(), |w, record| record.write(w));
        w.uint(1_u8).list(&self.peers, |w, peer| peer.write(w));
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<FoundValue, DecodeError> {
        let (mut record, mut peers) = (Field::new("value"), Field::new("closer_peers"));
        r.int_map(|number, r| match number {
            0 => record.first(r, |r, _| StoreRecord::read(r)),
            1 => peers.first(r, |r, _| r.list_cut(PEER_ADDRS_MAX, PeerAddr::read)),
            _ => r.skip(),
        })?;
        Ok(FoundValue {
            record: record.optional(),
            peers: peers.required()?,
        })
    }
}

/// A share in a list of public shares. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicShareSummary {
    /// The share.
    pub share: ShareId,
    /// Its key.
    pub key: ShareKey,
    /// Its newest revision.
    pub latest_seq: u64,
    /// That revision's manifest.
    pub latest_manifest: ManifestId,
    /// Its title, at most [`TITLE_MAX`] bytes.
    pub title: Option<String>,
    /// Its description, at most [`DESCRIPTION_MAX`] bytes.
    pub description: Option<String>,
}

impl PublicShareSummary {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(6).text("share_id").octets(&self.share.0);
        w.text("share_pubkey").octets(&self.key.0);
        w.text("latest_seq").uint(self.latest_seq);
        w.text("latest_manifest_id").octets(&self.latest_manifest.0);
        w.text("title").text_or_null(self.title.as_deref());
        w.text("description")
            .text_or_null(self.description.as_deref());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<PublicShareSummary, DecodeError> {
        let (mut share, mut key) = (Field::new("share_id"), Field::new("share_pubkey"));
        let (mut seq, mut manifest) = (Field::new("latest_seq"), Field::new("latest_manifest_id"));
        let (mut title, mut description) = (Field::new("title"), Field::new("description"));
        r.text_map(|name, r| match name {
            "share_id" => share.once(r, Reader::octets),
            "share_pubkey" => key.once(r, Reader::octets),
            "latest_seq" => seq.once(r, Reader::u64),
            "latest_manifest_id" => manifest.once(r, Reader::octets),
            "title" => title.once(r, |r, name| r.string(name, TITLE_MAX)),
            "description" => description.once(r, |r, name| r.string(name, DESCRIPTION_MAX)),
            _ => r.skip(),
        })?;
        Ok(PublicShareSummary {
            share: ShareId(share.required()?),
            key: ShareKey(key.required()?),
            latest_seq: seq.required()?,
            latest_manifest: ManifestId(manifest.required()?),
            title: title.optional(),
            description: description.optional(),
        })
    }
}

/// The hashes of a content's chunks, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHashes {
    /// The content.
    pub content: ContentId,
    /// The hashes, 32 bytes each, at most [`CHUNK_HASHES_MAX`].
    pub hashes: Bytes,
}

/// Bytes of a message's map that holds chunk hashes, beside the hashes.
const CHUNK_HASHES_HEAD_MAX: usize = 64;

impl ChunkHashes {
    /// Writes the hashes as octet arrays, or as byte strings where a payload cannot hold those.
    pub(super) fn write(&self, w: &mut Writer) {
        let octets = |byte: &u8| if *byte < 24 { 1 } else { 2 };
        let (hashes, _) = self.hashes.as_chunks::<32>();
        let long = self
            .hashes
            .iter()
            .map(octets)
            .sum::<usize>()
            .saturating_add(hashes.len() * 2);
        let fits = long <= PAYLOAD_MAX - CHUNK_HASHES_HEAD_MAX;
        w.map(2).uint(0_u8).bytes(&self.content.0);
        w.uint(1_u8).list(hashes, |w, hash| {
            if fits {
                w.octets(hash)
            } else {
                w.bytes(hash)
            };
        });
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<ChunkHashes, DecodeError> {
        let (mut content, mut hashes) = (Field::new("content_id"), Field::new("hashes"));
        r.int_map(|number, r| match number {
            0 => content.first(r, Reader::exact),
            1 => hashes.first(r, read_hashes),
            _ => r.skip(),
        })?;
        Ok(ChunkHashes {
            content: ContentId(content.required()?),
            hashes: hashes.required()?,
        })
    }
}

fn read_hashes(r: &mut Reader<'_>, name: &'static str) -> Result<Bytes, DecodeError> {
    let mut hashes = Vec::new();
    r.array(|r| {
        if hashes.len() >= CHUNK_HASHES_MAX * 32 {
            return Err(DecodeError::TooMany(name));
        }
        hashes.extend_from_slice(&r.octets::<32>(name)?);
        Ok(())
    })?;
    Ok(hashes.into())
}

/// Writes the text-keyed map that is all of a PEX_OFFER.
pub(super) fn write_peers_field(w: &mut Writer, peers: &[PeerAddr]) {
    w.map(1).text("peers").list(peers, |w, peer| peer.write(w));
}

/// Reads the text-keyed map that is all of a PEX_OFFER; a longer list is cut at [`PEER_ADDRS_MAX`].
pub(super) fn read_peers_field(r: &mut Reader<'_>) -> Result<Vec<PeerAddr>, DecodeError> {
    let mut peers = Field::new("peers");
    r.text_map(|key, r| match key {
        "peers" => peers.once(r, |r, _| r.list_cut(PEER_ADDRS_MAX, PeerAddr::read)),
        _ => r.skip(),
    })?;
    peers.required()
}
