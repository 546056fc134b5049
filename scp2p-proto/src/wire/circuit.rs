//! Circuits through relays of ours (SPECIFICATION §11).

use bytes::Bytes;

use super::cbor::{DecodeError, Field, Reader, Writer};
use super::envelope::{Envelope, frame};
use super::kind;
use crate::id::{CircuitId, RelaySlotId};
use crate::io::Frame;
use crate::limits::RECORD_MAX;

/// The slot in a [`RelayRoute`](super::RelayRoute) that is no tunnel of a deployed relay but a place for circuits.
pub const CIRCUIT_SLOT: RelaySlotId = RelaySlotId(0);

/// A place at a relay, where others ask for whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// For how long, in seconds, unless it is asked for again.
    pub lease_secs: u32,
    /// How many circuits may lead there at a time.
    pub circuits_max: u16,
    /// Whether these are for content too.
    pub content: bool,
}

impl Reservation {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(3).uint(0_u8).uint(self.lease_secs);
        w.uint(1_u8).uint(self.circuits_max);
        w.uint(2_u8).bool(self.content);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Reservation, DecodeError> {
        let (mut lease_secs, mut circuits_max) = (Field::new("lease"), Field::new("circuits"));
        let mut content = Field::new("content");
        r.int_map(|key, r| match key {
            0 => lease_secs.first(r, Reader::u32),
            1 => circuits_max.first(r, Reader::u16),
            2 => content.first(r, Reader::bool),
            _ => r.skip(),
        })?;
        Ok(Reservation {
            lease_secs: lease_secs.required()?,
            circuits_max: circuits_max.required()?,
            content: content.required()?,
        })
    }
}

/// A circuit, as a relay tells one of its ends of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCircuit {
    /// Its number in the session with the relay.
    pub circuit: CircuitId,
    /// Whether the relay has bytes to spare for content. If not, chunks are not to be asked for over it.
    pub content: bool,
}

impl NewCircuit {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(2).uint(0_u8).uint(self.circuit.0);
        w.uint(1_u8).bool(self.content);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<NewCircuit, DecodeError> {
        let (mut circuit, mut content) = (Field::new("circuit"), Field::new("content"));
        r.int_map(|key, r| match key {
            0 => circuit.first(r, Reader::u32),
            1 => content.first(r, Reader::bool),
            _ => r.skip(),
        })?;
        Ok(NewCircuit {
            circuit: CircuitId(circuit.required()?),
            content: content.required()?,
        })
    }
}

/// What passes between a relay and one end of a circuit. Nothing of it is answered; the envelope has the circuit
/// in the place of a request's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CircuitFrame {
    /// The next bytes, at most [`RECORD_MAX`], which the other end gets in one piece too.
    Data(Bytes),
    /// So many more bytes may be sent.
    Credit(u32),
    /// The circuit has ended; nothing follows.
    Close(CircuitEnd),
}

/// Why a circuit has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitEnd {
    /// One end has closed it.
    Closed,
    /// One end has lost its session with the relay.
    Lost,
    /// The relay takes no more of it: a quota is used up, it was idle for too long, or the relay stops.
    Limited,
    /// One end has broken the protocol.
    Offence,
}

impl CircuitEnd {
    fn code(self) -> u8 {
        match self {
            CircuitEnd::Closed => 0,
            CircuitEnd::Lost => 1,
            CircuitEnd::Limited => 2,
            CircuitEnd::Offence => 3,
        }
    }

    /// Codes that are not known mean no more than that it is over.
    fn of(code: u8) -> CircuitEnd {
        match code {
            1 => CircuitEnd::Lost,
            2 => CircuitEnd::Limited,
            3 => CircuitEnd::Offence,
            _ => CircuitEnd::Closed,
        }
    }
}

impl CircuitFrame {
    /// The frame of it for this circuit. Data is the frame's body and not copied.
    pub fn to_frame(&self, circuit: CircuitId) -> Frame {
        let (kind, number) = match self {
            CircuitFrame::Data(bytes) => {
                return frame(kind::CIRCUIT_DATA, circuit.0, 0, &[], bytes.clone());
            }
            CircuitFrame::Credit(bytes) => (kind::CIRCUIT_CREDIT, *bytes),
            CircuitFrame::Close(end) => (kind::CIRCUIT_CLOSE, end.code().into()),
        };
        let mut w = Writer::with_capacity(8);
        w.map(1).uint(0_u8).uint(number);
        frame(kind, circuit.0, 0, &w.finish(), Bytes::new())
    }

    /// Reads an envelope; `None` if it is of another kind.
    ///
    /// # Errors
    /// If the payload is not what the type says, or data is empty or too long.
    pub fn decode(envelope: &Envelope) -> Result<Option<CircuitFrame>, DecodeError> {
        let r = &mut Reader::new(&envelope.payload);
        Ok(Some(match envelope.kind {
            kind::CIRCUIT_DATA if (1..=RECORD_MAX).contains(&envelope.payload.len()) => {
                CircuitFrame::Data(envelope.payload.clone())
            }
            kind::CIRCUIT_DATA => return Err(DecodeError::Length("circuit data")),
            kind::CIRCUIT_CREDIT => CircuitFrame::Credit(read_number(r, "credit", Reader::u32)?),
            kind::CIRCUIT_CLOSE => {
                CircuitFrame::Close(CircuitEnd::of(read_number(r, "reason", Reader::u8)?))
            }
            _ => return Ok(None),
        }))
    }
}

fn read_number<'a, T>(
    r: &mut Reader<'a>,
    name: &'static str,
    read: fn(&mut Reader<'a>, &'static str) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut number = Field::new(name);
    r.int_map(|key, r| match key {
        0 => number.first(r, read),
        _ => r.skip(),
    })?;
    number.required()
}
