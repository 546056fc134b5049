//! What messages about relays are made of (SPECIFICATION §9.7): text-keyed maps.

use alloc::vec::Vec;
use bytes::Bytes;

use super::cbor::{DecodeError, Field, Reader, Writer};
use super::envelope::Envelope;
use crate::id::RelaySlotId;
use crate::limits::{RELAY_ANNOUNCEMENTS_MAX, RELAY_PAYLOAD_MAX};
use crate::record::RelayAnnouncement;
use crate::time::UnixTime;

/// Longest name of a kind.
const WORD_MAX: usize = 16;

/// A wish for a slot at a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayRegister {
    /// The slot to keep for longer, `None` for a new one.
    pub slot: Option<RelaySlotId>,
    /// Whether the connection becomes the slot's tunnel with the reply: from then on the relay asks on it and the
    /// owner of the slot answers.
    pub tunnel: bool,
}

impl RelayRegister {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2);
        w.text("relay_slot_id")
            .uint_or_null(self.slot.map(|slot| slot.0));
        w.text("tunnel").bool(self.tunnel);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<RelayRegister, DecodeError> {
        let (mut slot, mut tunnel) = (Field::new("relay_slot_id"), Field::new("tunnel"));
        r.text_map(|name, r| match name {
            "relay_slot_id" => slot.once(r, Reader::u64),
            "tunnel" => tunnel.once(r, Reader::bool),
            _ => r.skip(),
        })?;
        Ok(RelayRegister {
            slot: slot.optional().map(RelaySlotId),
            tunnel: tunnel.optional().unwrap_or_default(),
        })
    }
}

/// A slot that a relay keeps for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayRegistered {
    /// The slot.
    pub slot: RelaySlotId,
    /// Until when it is kept; a tunnel outlives that.
    pub expires_at: UnixTime,
}

impl RelayRegistered {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2).text("relay_slot_id").uint(self.slot.0);
        w.text("expires_at").uint(self.expires_at.0);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<RelayRegistered, DecodeError> {
        let (mut slot, mut expires_at) = (Field::new("relay_slot_id"), Field::new("expires_at"));
        r.text_map(|name, r| match name {
            "relay_slot_id" => slot.once(r, Reader::u64),
            "expires_at" => expires_at.once(r, Reader::time),
            _ => r.skip(),
        })?;
        Ok(RelayRegistered {
            slot: RelaySlotId(slot.required()?),
            expires_at: expires_at.required()?,
        })
    }
}

/// A message for or from the owner of a slot, which the relay can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStream {
    /// The slot.
    pub slot: RelaySlotId,
    /// Chosen by the asker; without a meaning where the slot has a tunnel. The reply has the request's.
    pub stream_id: u32,
    /// What the asker calls it. The reply has the request's.
    pub kind: RelayStreamKind,
    /// An envelope without a length before it, at most [`RELAY_PAYLOAD_MAX`] bytes: the request as the owner shall read
    /// it, or the owner's reply, which may be an error although this is none.
    pub payload: Bytes,
}

/// What a relayed message is called, by which relays without a tunnel ration it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RelayStreamKind {
    /// Small things.
    #[default]
    Control,
    /// Anything; deployed peers call all that they have relayed so.
    Content,
}

impl RelayStream {
    /// The request that has `inner` relayed to the owner of a slot, as deployed peers make it. See
    /// [`Request::to_envelope`](super::Request::to_envelope).
    pub fn for_owner(slot: RelaySlotId, inner: Bytes) -> RelayStream {
        RelayStream {
            slot,
            stream_id: 0,
            kind: RelayStreamKind::Content,
            payload: inner,
        }
    }

    /// The same with this number for what is relayed too, as deployed peers have it.
    pub(crate) fn numbered(&self, req_id: u32) -> RelayStream {
        let payload = match self.inner() {
            Ok(inner) => Envelope { req_id, ..inner }.encode(),
            Err(_) => self.payload.clone(),
        };
        RelayStream {
            payload,
            ..self.clone()
        }
    }

    /// The envelope that is relayed. Its payload is a slice of this one.
    ///
    /// # Errors
    /// If what is relayed is no envelope.
    pub fn inner(&self) -> Result<Envelope, DecodeError> {
        Envelope::decode(&self.payload)
    }

    /// Writes all but the payload itself, which follows.
    pub(super) fn write_head(&self, w: &mut Writer) {
        w.map(4).text("relay_slot_id").uint(self.slot.0);
        w.text("stream_id").uint(self.stream_id);
        w.text("kind").text(self.kind.name());
        w.text("payload").bytes_head(self.payload.len());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<RelayStream, DecodeError> {
        let (mut slot, mut stream_id) = (Field::new("relay_slot_id"), Field::new("stream_id"));
        let (mut kind, mut payload) = (Field::new("kind"), Field::new("payload"));
        r.text_map(|name, r| match name {
            "relay_slot_id" => slot.once(r, Reader::u64),
            "stream_id" => stream_id.once(r, Reader::u32),
            "kind" => kind.once(r, RelayStreamKind::read),
            "payload" => payload.once(r, |r, name| r.loose_bytes(name, RELAY_PAYLOAD_MAX)),
            _ => r.skip(),
        })?;
        Ok(RelayStream {
            slot: RelaySlotId(slot.required()?),
            stream_id: stream_id.required()?,
            kind: kind.optional().unwrap_or_default(),
            payload: payload.required()?,
        })
    }
}

impl RelayStreamKind {
    fn name(self) -> &'static str {
        match self {
            RelayStreamKind::Control => "control",
            RelayStreamKind::Content => "content",
        }
    }

    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<RelayStreamKind, DecodeError> {
        match r.text(name, WORD_MAX)?.as_ref() {
            "control" => Ok(RelayStreamKind::Control),
            "content" => Ok(RelayStreamKind::Content),
            _ => Err(DecodeError::Value(name)),
        }
    }
}

/// Writes the text-keyed map that is all of a RELAY_LIST_RESPONSE.
pub(super) fn write_announcements(w: &mut Writer, announcements: &[RelayAnnouncement]) {
    w.map(1)
        .text("announcements")
        .list(announcements, |w, announcement| announcement.write(w));
}

/// Reads the text-keyed map that is all of a RELAY_LIST_RESPONSE. Of a longer list the first
/// [`RELAY_ANNOUNCEMENTS_MAX`] entries count. Others than the answering relay made the entries, so one that cannot be read
/// is left out and does not spoil the rest.
pub(super) fn read_announcements(
    r: &mut Reader<'_>,
) -> Result<Vec<RelayAnnouncement>, DecodeError> {
    let mut announcements = Field::new("announcements");
    r.text_map(|name, r| match name {
        "announcements" => announcements.once(r, |r, _| {
            r.list_cut(RELAY_ANNOUNCEMENTS_MAX, |r| {
                let ((), entry) = r.with_source(Reader::skip)?;
                Ok(RelayAnnouncement::decode(entry).ok())
            })
        }),
        _ => r.skip(),
    })?;
    let entries = announcements.required()?;
    Ok(entries.into_iter().flatten().collect())
}
