//! Requests as bytes and back (SPECIFICATION §4.5).

use core::fmt;

use alloc::vec::Vec;
use bytes::Bytes;

use super::cbor::{DecodeError, Field, Reader, Writer};
use super::circuit::NewCircuit;
use super::envelope::{frame, unframed};
use super::message::{read_peers_field, write_peers_field};
use super::{
    HeadAnnounce, Listening, PeerAddr, Punch, RelayRegister, RelayStream, StoreRecord, kind,
};
use crate::id::{ContentId, DhtKey, ManifestId, NodeId, NodeKey, RelaySlotId, ShareId};
use crate::io::Frame;
use crate::limits::IDS_MAX;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Here are peers. Answered by [`Answer::Ack`](super::Answer::Ack).
    PexOffer(Vec<PeerAddr>),
    /// Name so many peers at most. Answered by [`Answer::Peers`](super::Answer::Peers).
    PexRequest {
        /// The most.
        max_peers: u8,
    },
    /// Who is close to this id? Answered by [`Answer::Peers`](super::Answer::Peers).
    FindNode(NodeId),
    /// What is stored under this key? Answered by [`Answer::Found`](super::Answer::Found).
    FindValue(DhtKey),
    /// Keep this. Answered by [`Answer::Ack`](super::Answer::Ack).
    Store(StoreRecord),
    /// Answered by [`Answer::Manifest`](super::Answer::Manifest).
    GetManifest(ManifestId),
    /// Answered by [`Answer::PublicShares`](super::Answer::PublicShares).
    ListPublicShares {
        /// The most.
        max_entries: u16,
    },
    /// Keep a slot for me, and perhaps make this connection its tunnel. Answered by
    /// [`Answer::RelayRegistered`](super::Answer::RelayRegistered).
    RelayRegister(RelayRegister),
    /// I want to reach the owner of this slot; needless where the slot has a tunnel. Answered by
    /// [`Answer::Ack`](super::Answer::Ack).
    RelayConnect(RelaySlotId),
    /// Give this to the owner of a slot. Answered by [`Answer::RelayStream`](super::Answer::RelayStream) with what
    /// the owner said.
    RelayStream(RelayStream),
    /// Which relays do you know? Answered by [`Answer::Relays`](super::Answer::Relays).
    ListRelays {
        /// The most.
        max_count: u16,
    },
    /// I have this content. Answered by [`Answer::Ack`](super::Answer::Ack).
    HaveContent(ContentId),
    /// Answered by [`Answer::Chunk`](super::Answer::Chunk).
    GetChunk {
        /// The content.
        content: ContentId,
        /// Which chunk.
        index: u32,
    },
    /// Answered by [`Answer::ChunkHashes`](super::Answer::ChunkHashes).
    GetChunkHashes(ContentId),
    /// Are you there? Between nodes of ours. Answered by [`Answer::Ack`](super::Answer::Ack).
    Ping,
    /// These are the ports I listen on. Between nodes of ours. Answered by
    /// [`Answer::Observed`](super::Answer::Observed).
    Listening(Listening),
    /// Dial me at these ports, where you see me, and tell whether I answer. Between nodes of ours. Answered by
    /// [`Answer::DialedBack`](super::Answer::DialedBack).
    DialBack(Listening),
    /// Dial me there when it is time, as I dial you: routers on both ways let in what they have seen go out. Over a
    /// circuit. Answered by [`Answer::Endpoints`](super::Answer::Endpoints).
    Punch(Punch),
    /// I have no use for this session; have you? Between nodes of ours. Answered by
    /// [`Answer::Ack`](super::Answer::Ack) if not, and then closed by the asker.
    Part,
    /// Tell me the heads you have of these shares, at most [`IDS_MAX`], and new ones from now on;
    /// replaces the list given before. Between nodes of ours. Answered by
    /// [`Answer::Heads`](super::Answer::Heads).
    Watch(Vec<ShareId>),
    /// A share that you watch has this head. Between nodes of ours. Answered by
    /// [`Answer::Ack`](super::Answer::Ack).
    HeadAnnounce(HeadAnnounce),
    /// A page of a content's subtree hashes. Between nodes of ours. Answered by
    /// [`Answer::Subtrees`](super::Answer::Subtrees).
    GetSubtrees {
        /// The content.
        content: ContentId,
        /// The level of the tree, 0 or 1.
        level: u8,
        /// Which page of that level.
        page: u32,
    },
    /// Which of these contents, at most [`IDS_MAX`], do you serve? Between nodes of ours. Answered
    /// by [`Answer::Have`](super::Answer::Have).
    Have(Vec<ContentId>),
    /// Let others ask you for me (SPECIFICATION §11.1); said again before the lease ends. Between nodes of ours.
    /// Answered by [`Answer::Reserved`](super::Answer::Reserved).
    Reserve,
    /// Connect me to who has a reservation with you. Between nodes of ours. Answered by
    /// [`Answer::Circuit`](super::Answer::Circuit).
    Connect(NodeKey),
    /// Somebody asks for you; this is the circuit. Between nodes of ours, from a relay. Answered by
    /// [`Answer::Ack`](super::Answer::Ack).
    Incoming(NewCircuit),
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

impl From<DecodeError> for RequestError {
    fn from(error: DecodeError) -> RequestError {
        RequestError::Malformed(error)
    }
}

impl Request {
    /// The message's number.
    pub fn kind(&self) -> u16 {
        match self {
            Request::PexOffer(_) => kind::PEX_OFFER,
            Request::PexRequest { .. } => kind::PEX_REQUEST,
            Request::FindNode(_) => kind::FIND_NODE,
            Request::FindValue(_) => kind::FIND_VALUE,
            Request::Store(_) => kind::STORE,
            Request::GetManifest(_) => kind::GET_MANIFEST,
            Request::ListPublicShares { .. } => kind::LIST_PUBLIC_SHARES,
            Request::RelayRegister(_) => kind::RELAY_REGISTER,
            Request::RelayConnect(_) => kind::RELAY_CONNECT,
            Request::RelayStream(_) => kind::RELAY_STREAM,
            Request::ListRelays { .. } => kind::RELAY_LIST_REQUEST,
            Request::HaveContent(_) => kind::HAVE_CONTENT,
            Request::GetChunk { .. } => kind::GET_CHUNK,
            Request::GetChunkHashes(_) => kind::GET_CHUNK_HASHES,
            Request::Ping => kind::PING,
            Request::Listening(_) => kind::LISTENING,
            Request::DialBack(_) => kind::DIAL_BACK,
            Request::Punch(_) => kind::PUNCH,
            Request::Part => kind::PART,
            Request::Watch(_) => kind::WATCH,
            Request::HeadAnnounce(_) => kind::HEAD_ANNOUNCE,
            Request::GetSubtrees { .. } => kind::GET_SUBTREES,
            Request::Have(_) => kind::HAVE,
            Request::Reserve => kind::RESERVE,
            Request::Connect(_) => kind::CONNECT,
            Request::Incoming(_) => kind::INCOMING,
        }
    }

    /// The message's name in the registry.
    pub fn name(&self) -> &'static str {
        match self {
            Request::PexOffer(_) => "PEX_OFFER",
            Request::PexRequest { .. } => "PEX_REQUEST",
            Request::FindNode(_) => "FIND_NODE",
            Request::FindValue(_) => "FIND_VALUE",
            Request::Store(_) => "STORE",
            Request::GetManifest(_) => "GET_MANIFEST",
            Request::ListPublicShares { .. } => "LIST_PUBLIC_SHARES",
            Request::RelayRegister(_) => "RELAY_REGISTER",
            Request::RelayConnect(_) => "RELAY_CONNECT",
            Request::RelayStream(_) => "RELAY_STREAM",
            Request::ListRelays { .. } => "RELAY_LIST_REQUEST",
            Request::HaveContent(_) => "HAVE_CONTENT",
            Request::GetChunk { .. } => "GET_CHUNK",
            Request::GetChunkHashes(_) => "GET_CHUNK_HASHES",
            Request::Ping => "PING",
            Request::Listening(_) => "LISTENING",
            Request::DialBack(_) => "DIAL_BACK",
            Request::Punch(_) => "PUNCH",
            Request::Part => "PART",
            Request::Watch(_) => "WATCH",
            Request::HeadAnnounce(_) => "HEAD_ANNOUNCE",
            Request::GetSubtrees { .. } => "GET_SUBTREES",
            Request::Have(_) => "HAVE",
            Request::Reserve => "RESERVE",
            Request::Connect(_) => "CONNECT",
            Request::Incoming(_) => "INCOMING",
        }
    }

    /// Whether it only keeps a session and what is known of peers up to date, and is no use of the session.
    pub(crate) fn is_upkeep(&self) -> bool {
        match self {
            Request::PexOffer(_)
            | Request::PexRequest { .. }
            | Request::Ping
            | Request::Listening(_)
            | Request::DialBack(_)
            | Request::Punch(_)
            | Request::Watch(_)
            | Request::Reserve
            | Request::RelayRegister(_)
            | Request::ListRelays { .. } => true,
            // Whoever was asked to part is not asked again soon.
            Request::Part
            | Request::FindNode(_)
            | Request::FindValue(_)
            | Request::Store(_)
            | Request::GetManifest(_)
            | Request::ListPublicShares { .. }
            | Request::HaveContent(_)
            | Request::GetChunk { .. }
            | Request::GetChunkHashes(_)
            | Request::HeadAnnounce(_)
            | Request::GetSubtrees { .. }
            | Request::Have(_)
            | Request::RelayConnect(_)
            | Request::RelayStream(_)
            | Request::Connect(_)
            | Request::Incoming(_) => false,
        }
    }

    /// Whether it may go through a tunnel of deployed peers, whose ends do not know each other: the answer proves itself,
    /// or is no more than a hint.
    pub(crate) fn may_be_relayed(&self) -> bool {
        match self {
            Request::FindValue(_)
            | Request::GetManifest(_)
            | Request::ListPublicShares { .. }
            | Request::HaveContent(_)
            | Request::GetChunk { .. }
            | Request::GetChunkHashes(_) => true,
            Request::PexOffer(_)
            | Request::PexRequest { .. }
            | Request::FindNode(_)
            | Request::Store(_)
            | Request::RelayRegister(_)
            | Request::RelayConnect(_)
            | Request::RelayStream(_)
            | Request::ListRelays { .. }
            | Request::Ping
            | Request::Part
            | Request::Listening(_)
            | Request::DialBack(_)
            | Request::Punch(_)
            | Request::Watch(_)
            | Request::HeadAnnounce(_)
            | Request::GetSubtrees { .. }
            | Request::Have(_)
            | Request::Reserve
            | Request::Connect(_)
            | Request::Incoming(_) => false,
        }
    }

    /// Whether messages of this number pass between nodes of ours only.
    pub fn is_extension(kind: u16) -> bool {
        (600..=699).contains(&kind)
    }

    /// Reads a request's payload. Values are slices of it.
    ///
    /// # Errors
    /// If the number is not that of a request we serve, or the payload does not fit it.
    pub fn decode(kind: u16, payload: &Bytes) -> Result<Request, RequestError> {
        let r = &mut Reader::shared(payload);
        Ok(match kind {
            kind::PEX_OFFER => Request::PexOffer(read_peers_field(r)?),
            kind::PEX_REQUEST => Request::PexRequest {
                max_peers: read_text_field(r, "max_peers", Reader::u8)?,
            },
            kind::FIND_NODE => Request::FindNode(NodeId(read_first(r, "target", Reader::exact)?)),
            kind::FIND_VALUE => Request::FindValue(DhtKey(read_first(r, "key", Reader::exact)?)),
            kind::STORE => Request::Store(StoreRecord::read(r)?),
            kind::GET_MANIFEST => Request::GetManifest(ManifestId(read_text_field(
                r,
                "manifest_id",
                Reader::octets,
            )?)),
            kind::LIST_PUBLIC_SHARES => Request::ListPublicShares {
                max_entries: read_text_field(r, "max_entries", Reader::u16)?,
            },
            kind::RELAY_REGISTER => Request::RelayRegister(RelayRegister::read(r)?),
            kind::RELAY_CONNECT => Request::RelayConnect(RelaySlotId(read_text_field(
                r,
                "relay_slot_id",
                Reader::u64,
            )?)),
            kind::RELAY_STREAM => Request::RelayStream(RelayStream::read(r)?),
            kind::RELAY_LIST_REQUEST => Request::ListRelays {
                max_count: read_text_field(r, "max_count", Reader::u16)?,
            },
            kind::HAVE_CONTENT => {
                Request::HaveContent(ContentId(read_text_field(r, "content_id", Reader::octets)?))
            }
            kind::GET_CHUNK => read_get_chunk(r)?,
            kind::GET_CHUNK_HASHES => {
                Request::GetChunkHashes(ContentId(read_first(r, "content_id", Reader::exact)?))
            }
            kind::PING => {
                r.int_map(|_, r| r.skip())?;
                Request::Ping
            }
            kind::PART => {
                r.int_map(|_, r| r.skip())?;
                Request::Part
            }
            kind::LISTENING => Request::Listening(Listening::read(r)?),
            kind::WATCH => Request::Watch(read_ids(r)?.into_iter().map(ShareId).collect()),
            kind::HEAD_ANNOUNCE => Request::HeadAnnounce(HeadAnnounce::read(r)?),
            kind::GET_SUBTREES => read_get_subtrees(r)?,
            kind::DIAL_BACK => Request::DialBack(Listening::read(r)?),
            kind::PUNCH => Request::Punch(Punch::read(r)?),
            kind::RESERVE => {
                r.int_map(|_, r| r.skip())?;
                Request::Reserve
            }
            kind::CONNECT => Request::Connect(NodeKey(read_first(r, "node key", Reader::exact)?)),
            kind::INCOMING => Request::Incoming(NewCircuit::read(r)?),
            kind::HAVE => Request::Have(read_ids(r)?.into_iter().map(ContentId).collect()),
            other if kind::is_registered(other) => return Err(RequestError::Unsupported(other)),
            other => return Err(RequestError::Unknown(other)),
        })
    }

    /// The request's frame. What is relayed becomes the frame's body without being copied.
    pub fn to_frame(&self, req_id: u32) -> Frame {
        let mut w = Writer::with_capacity(128);
        let body = self.write(&mut w);
        frame(self.kind(), req_id, 0, &w.finish(), body)
    }

    /// The request's envelope without a length before it, as [`RelayStream`] carries it.
    pub fn to_envelope(&self, req_id: u32) -> Bytes {
        unframed(self.to_frame(req_id))
    }

    /// Writes the payload up to its last byte string, which is returned if it is a long one.
    fn write(&self, w: &mut Writer) -> Bytes {
        match self {
            Request::PexOffer(peers) => write_peers_field(w, peers),
            Request::PexRequest { max_peers } => {
                w.map(1).text("max_peers").uint(*max_peers);
            }
            Request::FindNode(target) => write_id(w, &target.0),
            Request::FindValue(key) => write_id(w, &key.0),
            Request::Store(record) => record.write(w),
            Request::GetManifest(id) => {
                w.map(1).text("manifest_id").octets(&id.0);
            }
            Request::ListPublicShares { max_entries } => {
                w.map(1).text("max_entries").uint(*max_entries);
            }
            Request::RelayRegister(register) => register.write(w),
            Request::RelayConnect(slot) => {
                w.map(1).text("relay_slot_id").uint(slot.0);
            }
            Request::RelayStream(stream) => {
                stream.write_head(w);
                return stream.payload.clone();
            }
            Request::ListRelays { max_count } => {
                w.map(1).text("max_count").uint(*max_count);
            }
            Request::HaveContent(content) => {
                w.map(1).text("content_id").octets(&content.0);
            }
            Request::GetChunk { content, index } => {
                w.map(2).uint(0_u8).bytes(&content.0);
                w.uint(1_u8).uint(*index);
            }
            Request::GetChunkHashes(content) => write_id(w, &content.0),
            Request::Connect(target) => write_id(w, &target.0),
            Request::Incoming(circuit) => circuit.write(w),
            Request::Ping | Request::Part | Request::Reserve => {
                w.map(0);
            }
            Request::Listening(listening) | Request::DialBack(listening) => listening.write(w),
            Request::Punch(punch) => punch.write(w),
            Request::Watch(shares) => write_ids(w, shares.iter().map(ShareId::as_bytes)),
            Request::HeadAnnounce(announce) => announce.write(w),
            Request::GetSubtrees {
                content,
                level,
                page,
            } => {
                w.map(3).uint(0_u8).bytes(&content.0);
                w.uint(1_u8).uint(*level);
                w.uint(2_u8).uint(*page);
            }
            Request::Have(contents) => write_ids(w, contents.iter().map(ContentId::as_bytes)),
        }
        Bytes::new()
    }
}

fn write_id(w: &mut Writer, id: &[u8]) {
    w.map(1).uint(0_u8).bytes(id);
}

fn write_ids<'a>(w: &mut Writer, ids: impl ExactSizeIterator<Item = &'a [u8; 32]>) {
    w.map(1).uint(0_u8).array(ids.len());
    for id in ids {
        w.bytes(id);
    }
}

/// The one field of a text-keyed message.
fn read_text_field<'a, T>(
    r: &mut Reader<'a>,
    name: &'static str,
    read: impl Fn(&mut Reader<'a>, &'static str) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut field = Field::new(name);
    r.text_map(|key, r| {
        if key == name {
            field.once(r, &read)
        } else {
            r.skip()
        }
    })?;
    field.required()
}

/// Field 0 of an integer-keyed message that has no other.
fn read_first<'a, T>(
    r: &mut Reader<'a>,
    name: &'static str,
    read: impl Fn(&mut Reader<'a>, &'static str) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut field = Field::new(name);
    r.int_map(|key, r| {
        if key == 0 {
            field.first(r, &read)
        } else {
            r.skip()
        }
    })?;
    field.required()
}

fn read_ids(r: &mut Reader<'_>) -> Result<Vec<[u8; 32]>, DecodeError> {
    read_first(r, "ids", |r, name| r.list(name, IDS_MAX, |r| r.exact(name)))
}

fn read_get_chunk(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut content, mut index) = (Field::new("content_id"), Field::new("chunk_index"));
    r.int_map(|key, r| match key {
        0 => content.first(r, Reader::exact),
        1 => index.first(r, Reader::u32),
        _ => r.skip(),
    })?;
    Ok(Request::GetChunk {
        content: ContentId(content.required()?),
        index: index.required()?,
    })
}

fn read_get_subtrees(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut content, mut level, mut page) = (
        Field::new("content"),
        Field::new("level"),
        Field::new("page"),
    );
    r.int_map(|key, r| match key {
        0 => content.first(r, Reader::exact),
        1 => level.first(r, super::ext::read_level),
        2 => page.first(r, Reader::u32),
        _ => r.skip(),
    })?;
    Ok(Request::GetSubtrees {
        content: ContentId(content.required()?),
        level: level.required()?,
        page: page.required()?,
    })
}
