//! Answers as bytes and back (SPECIFICATION §4.5).

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::cbor::{DecodeError, Field, Reader, Writer};
use super::circuit::NewCircuit;
use super::envelope::{Envelope, FLAG_ERROR, FLAG_RESPONSE, frame};
use super::message::{read_peers_field, write_peers_field};
use super::relay::{read_announcements, write_announcements};
use super::{
    ChunkHashes, DialedBack, Endpoints, FoundValue, Have, HeadAnnounce, Observed, PeerAddr,
    PublicShareSummary, RelayRegistered, RelayStream, Reservation, SubtreePage, kind,
};
use crate::id::{ContentId, ManifestId};
use crate::io::Frame;
use crate::limits::{
    CHUNK_LEN, ERROR_TEXT_MAX, IDS_MAX, MANIFEST_BYTES_MAX, PAYLOAD_MAX, PEER_ADDRS_MAX,
    PUBLIC_SHARES_MAX,
};
use crate::record::RelayAnnouncement;

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
        /// Its bytes, at most [`MANIFEST_BYTES_MAX`].
        bytes: Bytes,
    },
    /// Public shares.
    PublicShares(Vec<PublicShareSummary>),
    /// A slot at the answering relay.
    RelayRegistered(RelayRegistered),
    /// What the owner of a slot said, as the answering relay tells it.
    RelayStream(RelayStream),
    /// Announcements of relays, not verified. Of a longer list the first
    /// [`RELAY_ANNOUNCEMENTS_MAX`](crate::limits::RELAY_ANNOUNCEMENTS_MAX) are read.
    Relays(Vec<RelayAnnouncement>),
    /// A chunk, not verified.
    Chunk {
        /// The content.
        content: ContentId,
        /// Which chunk.
        index: u32,
        /// Its bytes, at most [`CHUNK_LEN`].
        data: Bytes,
    },
    /// Chunk hashes, not verified.
    ChunkHashes(ChunkHashes),
    /// Where the asker is seen.
    Observed(Observed),
    /// Where to dial the peer now.
    Endpoints(Endpoints),
    /// Whether the asker was reached.
    DialedBack(DialedBack),
    /// Heads of shares, at most [`IDS_MAX`], not verified.
    Heads(Vec<HeadAnnounce>),
    /// Subtree hashes, not verified.
    Subtrees(SubtreePage),
    /// Contents served.
    Have(Have),
    /// A place at a relay.
    Reserved(Reservation),
    /// A circuit that is open.
    Circuit(NewCircuit),
}

/// Why a reply is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerError {
    /// The peer refused.
    Refused {
        /// Because of too many requests; ask again later.
        rate_limited: bool,
        /// What it said, at most [`ERROR_TEXT_MAX`] bytes of untrusted text.
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

impl From<DecodeError> for AnswerError {
    fn from(error: DecodeError) -> AnswerError {
        AnswerError::Malformed(error)
    }
}

impl Answer {
    /// The frame of this reply to a request of type `request_kind`. Chunk data, manifests, subtree
    /// hashes and what is relayed become the frame's body without being copied. An answer that would not fit a payload
    /// becomes an error reply.
    pub fn to_frame(&self, request_kind: u16, req_id: u32) -> Frame {
        let mut w = Writer::with_capacity(64);
        let body = self.write(&mut w, request_kind);
        let head = w.finish();
        if head.len().saturating_add(body.len()) > PAYLOAD_MAX {
            return Answer::error_frame(
                request_kind,
                req_id,
                "the answer is too long for a message",
            );
        }
        frame(
            kind::reply_to(request_kind),
            req_id,
            FLAG_RESPONSE,
            &head,
            body,
        )
    }

    /// The frame of an error reply with this text, which is cut at [`ERROR_TEXT_MAX`] bytes. A
    /// refusal for too many requests must contain `rate limit`: deployed peers slow down then.
    pub fn error_frame(request_kind: u16, req_id: u32, text: &str) -> Frame {
        frame(
            request_kind,
            req_id,
            FLAG_RESPONSE | FLAG_ERROR,
            cut(text).as_bytes(),
            Bytes::new(),
        )
    }

    /// Reads the reply to a request of type `request_kind`. Long values are slices of the payload.
    ///
    /// # Errors
    /// If the peer refused, or the payload does not answer the request.
    pub fn decode(request_kind: u16, envelope: &Envelope) -> Result<Answer, AnswerError> {
        if envelope.is_error() {
            return Err(refusal(&envelope.payload));
        }
        if envelope.kind != kind::reply_to(request_kind) {
            return Err(AnswerError::WrongType(envelope.kind));
        }
        let r = &mut Reader::shared(&envelope.payload);
        Ok(match request_kind {
            kind::PEX_OFFER
            | kind::STORE
            | kind::RELAY_CONNECT
            | kind::HAVE_CONTENT
            | kind::PING
            | kind::PART
            | kind::HEAD_ANNOUNCE
            | kind::INCOMING => Answer::Ack,
            kind::RESERVE => Answer::Reserved(Reservation::read(r)?),
            kind::CONNECT => Answer::Circuit(NewCircuit::read(r)?),
            kind::PEX_REQUEST => Answer::Peers(read_peers_field(r)?),
            kind::FIND_NODE => {
                read_first_list(r, "peers", PEER_ADDRS_MAX, PeerAddr::read).map(Answer::Peers)?
            }
            kind::FIND_VALUE => Answer::Found(FoundValue::read(r)?),
            kind::GET_MANIFEST => read_manifest(r)?,
            kind::LIST_PUBLIC_SHARES => read_public_shares(r)?,
            kind::RELAY_REGISTER => Answer::RelayRegistered(RelayRegistered::read(r)?),
            kind::RELAY_STREAM => Answer::RelayStream(RelayStream::read(r)?),
            kind::RELAY_LIST_REQUEST => Answer::Relays(read_announcements(r)?),
            kind::GET_CHUNK => read_chunk(r)?,
            kind::GET_CHUNK_HASHES => Answer::ChunkHashes(ChunkHashes::read(r)?),
            kind::LISTENING => Answer::Observed(Observed::read(r)?),
            kind::PUNCH => Answer::Endpoints(Endpoints::read(r)?),
            kind::DIAL_BACK => Answer::DialedBack(DialedBack::read(r)?),
            kind::WATCH => {
                read_first_list(r, "heads", IDS_MAX, HeadAnnounce::read).map(Answer::Heads)?
            }
            kind::GET_SUBTREES => Answer::Subtrees(SubtreePage::read(r)?),
            kind::HAVE => Answer::Have(Have::read(r)?),
            _ => return Err(AnswerError::WrongType(envelope.kind)),
        })
    }

    /// Writes the payload up to its last byte string, which is returned if it is a long one.
    fn write(&self, w: &mut Writer, request_kind: u16) -> Bytes {
        match self {
            Answer::Ack => {}
            Answer::Peers(peers) if request_kind == kind::FIND_NODE => {
                w.map(1).uint(0_u8).list(peers, |w, peer| peer.write(w));
            }
            Answer::Peers(peers) => write_peers_field(w, peers),
            Answer::Found(found) => found.write(w),
            Answer::Manifest { id, bytes } => {
                w.map(2)
                    .text("manifest_id")
                    .octets(&id.0)
                    .text("bytes")
                    .bytes_head(bytes.len());
                return bytes.clone();
            }
            Answer::PublicShares(shares) => {
                w.map(1)
                    .text("shares")
                    .list(shares, |w, share| share.write(w));
            }
            Answer::RelayRegistered(registered) => registered.write(w),
            Answer::RelayStream(stream) => {
                stream.write_head(w);
                return stream.payload.clone();
            }
            Answer::Relays(announcements) => write_announcements(w, announcements),
            Answer::Chunk {
                content,
                index,
                data,
            } => {
                w.map(3)
                    .uint(0_u8)
                    .bytes(&content.0)
                    .uint(1_u8)
                    .uint(*index);
                w.uint(2_u8).bytes_head(data.len());
                return data.clone();
            }
            Answer::ChunkHashes(hashes) => hashes.write(w),
            Answer::Observed(observed) => observed.write(w),
            Answer::DialedBack(reached) => reached.write(w),
            Answer::Endpoints(endpoints) => endpoints.write(w),
            Answer::Heads(heads) => {
                w.map(1).uint(0_u8).list(heads, |w, head| head.write(w));
            }
            Answer::Subtrees(page) => {
                page.write_head(w);
                return page.hashes.clone();
            }
            Answer::Have(have) => have.write(w),
            Answer::Reserved(reservation) => reservation.write(w),
            Answer::Circuit(circuit) => circuit.write(w),
        }
        Bytes::new()
    }
}

fn refusal(payload: &[u8]) -> AnswerError {
    let start = payload.get(..ERROR_TEXT_MAX).unwrap_or(payload);
    let text = String::from_utf8_lossy(start);
    AnswerError::Refused {
        rate_limited: text.contains("rate limit"),
        text: cut(&text).into(),
    }
}

/// The first [`ERROR_TEXT_MAX`] bytes, or a few less so that no character is split.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(ERROR_TEXT_MAX);
    text.get(..end).unwrap_or_default()
}

/// Field 0 of an integer-keyed reply: a list, cut at `max` entries.
fn read_first_list<T>(
    r: &mut Reader<'_>,
    name: &'static str,
    max: usize,
    entry: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut list = Field::new(name);
    r.int_map(|key, r| match key {
        0 => list.first(r, |r, _| r.list_cut(max, &entry)),
        _ => r.skip(),
    })?;
    list.required()
}

fn read_manifest(r: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let (mut id, mut bytes) = (Field::new("manifest_id"), Field::new("bytes"));
    r.text_map(|key, r| match key {
        "manifest_id" => id.once(r, Reader::octets),
        "bytes" => bytes.once(r, |r, name| r.loose_bytes(name, MANIFEST_BYTES_MAX)),
        _ => r.skip(),
    })?;
    Ok(Answer::Manifest {
        id: ManifestId(id.required()?),
        bytes: bytes.required()?,
    })
}

fn read_public_shares(r: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let mut shares = Field::new("shares");
    r.text_map(|key, r| match key {
        "shares" => shares.once(r, |r, _| {
            r.list_cut(PUBLIC_SHARES_MAX, PublicShareSummary::read)
        }),
        _ => r.skip(),
    })?;
    shares.required().map(Answer::PublicShares)
}

fn read_chunk(r: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let (mut content, mut index, mut data) = (
        Field::new("content_id"),
        Field::new("chunk_index"),
        Field::new("bytes"),
    );
    r.int_map(|key, r| match key {
        0 => content.first(r, Reader::exact),
        1 => index.first(r, Reader::u32),
        2 => data.first(r, |r, name| r.bytes(name, CHUNK_LEN as usize)),
        _ => r.skip(),
    })?;
    Ok(Answer::Chunk {
        content: ContentId(content.required()?),
        index: index.required()?,
        data: data.required()?,
    })
}
