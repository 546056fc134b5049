//! Messages: what is asked and what is answered (SPECIFICATION §8).

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::{DecodeError, Have, HeadAnnounce, Listening, Observed, PeerAddr, SubtreePage};
use crate::id::{ContentId, DhtKey, ManifestId, NodeId, ShareId, ShareKey};

/// A value of the DHT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRecord {
    /// Its key.
    pub key: DhtKey,
    /// Its bytes, at most [`VALUE_MAX`](crate::limits::VALUE_MAX).
    pub value: Bytes,
    /// How long to keep it, or how long it will still be kept. Below 2^63 where we write it.
    pub ttl_secs: u64,
}

/// The answer to FIND_VALUE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundValue {
    /// The value, if the answering side has it. Its key may be another than that asked for.
    pub record: Option<StoreRecord>,
    /// Peers closer to the key.
    pub peers: Vec<PeerAddr>,
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
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
}

/// The hashes of a content's chunks, one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHashes {
    /// The content.
    pub content: ContentId,
    /// The hashes, 32 bytes each, at most [`CHUNK_HASHES_MAX`](crate::limits::CHUNK_HASHES_MAX).
    pub hashes: Bytes,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Here are peers. Answered by [`Answer::Ack`].
    PexOffer(Vec<PeerAddr>),
    /// Name so many peers at most. Answered by [`Answer::Peers`].
    PexRequest {
        /// The most.
        max_peers: u8,
    },
    /// Who is close to this id? Answered by [`Answer::Peers`].
    FindNode(NodeId),
    /// What is stored under this key? Answered by [`Answer::Found`].
    FindValue(DhtKey),
    /// Keep this. Answered by [`Answer::Ack`].
    Store(StoreRecord),
    /// Answered by [`Answer::Manifest`].
    GetManifest(ManifestId),
    /// Answered by [`Answer::PublicShares`].
    ListPublicShares {
        /// The most.
        max_entries: u16,
    },
    /// I have this content. Answered by [`Answer::Ack`].
    HaveContent(ContentId),
    /// Answered by [`Answer::Chunk`].
    GetChunk {
        /// The content.
        content: ContentId,
        /// Which chunk.
        index: u32,
    },
    /// Answered by [`Answer::ChunkHashes`].
    GetChunkHashes(ContentId),
    /// Are you there? Between nodes of ours. Answered by [`Answer::Ack`].
    Ping,
    /// These are the ports I listen on. Between nodes of ours. Answered by [`Answer::Observed`].
    Listening(Listening),
    /// Tell me of new heads of these shares, and of those you have, from now on; replaces the list
    /// given before. Between nodes of ours. Answered by [`Answer::Heads`].
    Watch(Vec<ShareId>),
    /// A share that you watch has this head. Between nodes of ours. Answered by [`Answer::Ack`].
    HeadAnnounce(HeadAnnounce),
    /// A page of a content's subtree hashes. Between nodes of ours. Answered by [`Answer::Subtrees`].
    GetSubtrees {
        /// The content.
        content: ContentId,
        /// The level of the tree, 0 or 1.
        level: u8,
        /// Which page of that level.
        page: u32,
    },
    /// Which of these contents do you serve? Between nodes of ours. Answered by [`Answer::Have`].
    Have(Vec<ContentId>),
}

/// A reply that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ack,
    /// Peers.
    Peers(Vec<PeerAddr>),
    /// A DHT value, or peers that are closer to it.
    Found(FoundValue),
    /// A manifest's CBOR, not verified.
    Manifest {
        /// The manifest asked for.
        id: ManifestId,
        /// Its bytes, at most [`MANIFEST_BYTES_MAX`](crate::limits::MANIFEST_BYTES_MAX).
        bytes: Bytes,
    },
    /// Public shares.
    PublicShares(Vec<PublicShareSummary>),
    /// A chunk, not verified.
    Chunk {
        /// The content.
        content: ContentId,
        /// Which chunk.
        index: u32,
        /// Its bytes, at most [`CHUNK_LEN`](crate::limits::CHUNK_LEN).
        data: Bytes,
    },
    /// Chunk hashes, not verified.
    ChunkHashes(ChunkHashes),
    /// Where the asker is seen.
    Observed(Observed),
    /// Heads of shares, not verified.
    Heads(Vec<HeadAnnounce>),
    /// Subtree hashes, not verified.
    Subtrees(SubtreePage),
    /// Contents served.
    Have(Have),
}

/// Why a request cannot be served. The text is that of the error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// No message has this number.
    Unknown(u16),
    /// A message of this number is no request that we serve.
    Unsupported(u16),
    /// The payload is not what the type says.
    Malformed(DecodeError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Unknown(kind) => write!(f, "unknown message type {kind}"),
            RequestError::Unsupported(_) => f.write_str("unsupported message type"),
            RequestError::Malformed(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RequestError {}

/// Why a reply is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerError {
    /// The peer refused.
    Refused {
        /// Because of too many requests; ask again later.
        rate_limited: bool,
        /// What it said, at most [`ERROR_TEXT_MAX`](crate::limits::ERROR_TEXT_MAX) bytes of untrusted text.
        text: String,
    },
    /// The reply is of this type, which does not answer the request.
    WrongType(u16),
    /// The payload is not what the type says.
    Malformed(DecodeError),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerError::Refused { text, .. } => write!(f, "the peer refused: {text}"),
            AnswerError::WrongType(kind) => write!(f, "a reply of type {kind}, which is no answer"),
            AnswerError::Malformed(error) => write!(f, "the reply cannot be read: {error}"),
        }
    }
}

impl core::error::Error for AnswerError {}
