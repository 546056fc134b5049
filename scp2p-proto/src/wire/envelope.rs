//! Envelopes: what every frame after the handshake holds (SPECIFICATION §4.1).

use alloc::vec::Vec;
use bytes::Bytes;

use super::cbor::{DecodeError, Field, Reader, Writer};
use crate::io::Frame;
use crate::limits::PAYLOAD_MAX;

/// The flag of a reply.
pub const FLAG_RESPONSE: u16 = 1;
/// The flag of an error; its payload is text.
pub const FLAG_ERROR: u16 = 2;

/// Bytes of the length before every frame.
const LENGTH: usize = 4;
/// Bytes that the length prefix and an envelope take beside its payload, at most.
const ENVELOPE_HEAD_MAX: usize = 48;

/// A message and whose answer it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The message type.
    pub kind: u16,
    /// Chosen by the asker; the reply has the request's.
    pub req_id: u32,
    /// [`FLAG_RESPONSE`] and [`FLAG_ERROR`]; other bits mean nothing.
    pub flags: u16,
    /// The message, at most [`PAYLOAD_MAX`] bytes.
    pub payload: Bytes,
}

impl Envelope {
    /// Reads a frame's body. The payload is a slice of it, so it keeps the body's memory.
    ///
    /// # Errors
    /// If the body is no envelope or the payload is longer than [`PAYLOAD_MAX`].
    pub fn decode(body: &Bytes) -> Result<Envelope, DecodeError> {
        let (mut kind, mut req_id) = (Field::new("type"), Field::new("req_id"));
        let (mut flags, mut payload) = (Field::new("flags"), Field::new("payload"));
        Reader::shared(body).text_map(|key, r| match key {
            "type" => kind.once(r, Reader::u16),
            "req_id" => req_id.once(r, Reader::u32),
            "flags" => flags.once(r, Reader::u16),
            "payload" => payload.once(r, |r, name| r.loose_bytes(name, PAYLOAD_MAX)),
            _ => r.skip(),
        })?;
        Ok(Envelope {
            kind: kind.required()?,
            req_id: req_id.required()?,
            flags: flags.required()?,
            payload: payload.required()?,
        })
    }

    /// The frame of this envelope. The payload is not copied.
    pub fn into_frame(self) -> Frame {
        frame(self.kind, self.req_id, self.flags, &[], self.payload)
    }

    /// This envelope without a length before it, as [`RelayStream`](super::RelayStream) carries it. The payload is
    /// copied, since what is carried is in one piece.
    pub fn encode(self) -> Bytes {
        unframed(self.into_frame())
    }

    /// Whether this is a reply, an error or not.
    pub fn is_response(&self) -> bool {
        self.flags & FLAG_RESPONSE != 0
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        self.flags & FLAG_ERROR != 0
    }
}

/// What follows the length in a frame, in one piece: a slice of the head if all lies there, else a copy of both.
pub(crate) fn unframed(frame: Frame) -> Bytes {
    let head = frame.head.slice(LENGTH..);
    if frame.body.is_empty() {
        return head;
    }
    let mut whole = Vec::with_capacity(head.len() + frame.body.len());
    whole.extend_from_slice(&head);
    whole.extend_from_slice(&frame.body);
    whole.into()
}

/// The frame of an envelope whose payload is `payload_head` followed by `body`, which is not copied.
pub(crate) fn frame(kind: u16, req_id: u32, flags: u16, payload_head: &[u8], body: Bytes) -> Frame {
    let mut w = Writer::with_capacity(ENVELOPE_HEAD_MAX + payload_head.len());
    w.raw(&[0; LENGTH]).map(4);
    w.text("type").uint(kind);
    w.text("req_id").uint(req_id);
    w.text("flags").uint(flags);
    w.text("payload")
        .bytes_head(payload_head.len() + body.len())
        .raw(payload_head);
    let mut head: Vec<u8> = w.finish();
    // Messages are bounded far below what the prefix can say.
    let len = (head.len() - LENGTH + body.len()) as u32;
    for (place, byte) in head.iter_mut().zip(len.to_be_bytes()) {
        *place = byte;
    }
    Frame {
        head: head.into(),
        body,
    }
}
