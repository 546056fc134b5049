//! One byte stream of a link, in both directions.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use quinn_proto::{Connection, FinishError, ReadError, StreamId, WriteError};
use scp2p_proto::io::{Frame, Lane};

use super::super::{BULK_ROOM, CONTROL_ROOM, READ_MAX, ROOM_PARTS};

/// Pieces at least as large as this are handed on as they came; smaller ones are joined, because
/// each costs the node a step.
const PIECE_MIN: usize = 16 << 10;

/// A lane's streams, what waits to be written and what may be read.
#[derive(Debug)]
pub(super) struct LaneState {
    /// The stream that we write.
    pub(super) send: Option<StreamId>,
    /// The stream that we read.
    pub(super) recv: Option<StreamId>,
    /// What quinn had no window for yet.
    queue: VecDeque<Bytes>,
    /// Room that the node may have, now and with what is queued.
    room_max: u32,
    /// Room used up: taken from the node and not given back.
    used: u64,
    /// Bytes of the queue.
    queued: u64,
    /// Whether the node knows that this lane exists.
    pub(super) announced: bool,
    /// How much more the node wants to read.
    pub(super) granted: u64,
    /// Whether reading may give something.
    pub(super) readable: bool,
    /// Whether the end of our stream is sent and not acknowledged.
    pub(super) finishing: bool,
}

/// What reading a lane gave.
#[derive(Debug)]
pub(super) enum Reading {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing now, or nothing that may be read.
    Nothing,
    /// The remote finished its stream.
    End,
    /// The remote gave its stream up in the middle.
    Reset,
}

impl LaneState {
    pub(super) fn new(lane: Lane) -> LaneState {
        LaneState {
            send: None,
            recv: None,
            queue: VecDeque::new(),
            room_max: match lane {
                Lane::Control => CONTROL_ROOM,
                Lane::Bulk => BULK_ROOM,
            },
            used: 0,
            queued: 0,
            announced: false,
            granted: 0,
            readable: false,
            finishing: false,
        }
    }

    /// Queues a frame without copying it.
    pub(super) fn push(&mut self, frame: Frame) {
        let len = frame.len() as u64;
        self.used += len;
        self.queued += len;
        self.queue.extend(
            [frame.head, frame.body]
                .into_iter()
                .filter(|piece| !piece.is_empty()),
        );
    }

    /// Whether everything pushed is with quinn.
    pub(super) fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes what quinn has window for. False if the stream cannot be written any more.
    pub(super) fn flush(&mut self, quic: &mut Connection) -> bool {
        let Some(id) = self.send else { return true };
        while !self.queue.is_empty() {
            match quic
                .send_stream(id)
                .write_chunks(self.queue.make_contiguous())
            {
                Ok(written) => {
                    self.queue.drain(..written.chunks);
                    self.queued -= written.bytes as u64;
                }
                Err(WriteError::Blocked) => break,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    self.queue.clear();
                    self.queued = 0;
                    return false;
                }
            }
        }
        true
    }

    /// Room to give to the node: all of it at first, then what was written, in pieces worth an
    /// event.
    pub(super) fn room(&mut self) -> Option<u32> {
        if !self.announced {
            self.announced = true;
            return Some(self.room_max);
        }
        let freed = self.used - self.queued;
        if freed < u64::from(self.room_max / ROOM_PARTS) {
            return None;
        }
        self.used = self.queued;
        Some(u32::try_from(freed).unwrap_or(u32::MAX))
    }

    /// Ends our stream after what was written. False if there is nothing to wait for.
    pub(super) fn finish(&mut self, quic: &mut Connection) -> bool {
        let Some(id) = self.send else { return false };
        match quic.send_stream(id).finish() {
            Ok(()) => {
                self.finishing = true;
                true
            }
            Err(FinishError::Stopped(_) | FinishError::ClosedStream) => false,
        }
    }

    /// Reads one piece within the grant. `scratch` is empty before and after.
    pub(super) fn read(&mut self, quic: &mut Connection, scratch: &mut Vec<Bytes>) -> Reading {
        let Some(id) = self.recv else {
            return Reading::Nothing;
        };
        if !self.readable || self.granted == 0 {
            return Reading::Nothing;
        }
        let most = usize::try_from(self.granted).map_or(READ_MAX, |granted| granted.min(READ_MAX));
        let mut stream = quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            self.recv = None;
            return Reading::End;
        };
        let mut len = 0;
        let mut end = None;
        while len < most {
            match chunks.next(most - len) {
                Ok(Some(chunk)) => {
                    let whole = scratch.is_empty() && chunk.bytes.len() >= PIECE_MIN;
                    len += chunk.bytes.len();
                    scratch.push(chunk.bytes);
                    if whole {
                        break;
                    }
                }
                Err(ReadError::Blocked) => {
                    self.readable = false;
                    break;
                }
                Ok(None) => {
                    end = Some(Reading::End);
                    break;
                }
                Err(ReadError::Reset(_)) => {
                    end = Some(Reading::Reset);
                    break;
                }
            }
        }
        // Whatever must be sent because of this goes out when the connection is driven next.
        let _ = chunks.finalize();
        if len > 0 {
            // An end is met again by the next read, of a stream that is closed then.
            self.granted -= len as u64;
            return Reading::Bytes(join(scratch, len));
        }
        if let Some(end) = end {
            self.recv = None;
            return end;
        }
        Reading::Nothing
    }
}

/// One piece out of several, copied only if there are several.
fn join(pieces: &mut Vec<Bytes>, len: usize) -> Bytes {
    if pieces.len() == 1
        && let Some(piece) = pieces.pop()
    {
        return piece;
    }
    let mut joined = BytesMut::with_capacity(len);
    for piece in pieces.drain(..) {
        joined.extend_from_slice(&piece);
    }
    joined.freeze()
}
