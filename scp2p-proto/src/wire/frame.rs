//! Frames out of a byte stream (SPECIFICATION §2): four bytes of big-endian length, then the body.

use core::fmt;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Buf, Bytes};

/// A frame's buffer grows at most this far ahead of the bytes that have arrived, until as many
/// have, so that an announced length costs its sender something before it costs us memory.
const AHEAD_MAX: usize = 65_536;

/// Puts frames together out of pieces of any size.
///
/// A body that lies within one piece is a slice of it; others are copied once, as their
/// pieces come. Call [`FrameReader::next`] until it gives `None` after every
/// [`FrameReader::push`].
#[derive(Debug)]
pub struct FrameReader {
    limit: u32,
    pieces: VecDeque<Bytes>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Reading the length, of which so many bytes are there.
    Prefix { bytes: [u8; 4], have: u32 },
    /// Reading a body of this length. The buffer is unused while the body may yet lie within one piece.
    Body { len: u32, buffer: Vec<u8> },
    /// The stream cannot be read on.
    Failed(FrameError),
}

const START: State = State::Prefix {
    bytes: [0; 4],
    have: 0,
};

/// Why a stream has no next frame, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The next frame's body is of this length, longer than allowed.
    TooLong(u32),
    /// The next frame's body is empty.
    Empty,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong(len) => write!(f, "a frame of {len} bytes, longer than allowed"),
            FrameError::Empty => f.write_str("an empty frame"),
        }
    }
}

impl core::error::Error for FrameError {}

impl FrameReader {
    /// A reader that refuses bodies longer than `limit` bytes.
    pub fn new(limit: u32) -> FrameReader {
        FrameReader {
            limit,
            pieces: VecDeque::new(),
            state: START,
        }
    }

    /// Changes the limit, for frames whose length was not read yet.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Takes the next bytes of the stream. After an error they are dropped.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() && !matches!(self.state, State::Failed(_)) {
            self.pieces.push_back(piece);
        }
    }

    /// The body of the next frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// Once an error was given it is given for ever.
    // Not an iterator: `None` is no end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            match &mut self.state {
                State::Prefix { bytes, have } => {
                    let Some(byte) = next_byte(&mut self.pieces) else {
                        return Ok(None);
                    };
                    *bytes = [bytes[1], bytes[2], bytes[3], byte];
                    *have += 1;
                    if *have == 4 {
                        let len = u32::from_be_bytes(*bytes);
                        self.start_body(len);
                    }
                }
                State::Body { len, buffer } => {
                    let Some(body) = assemble(&mut self.pieces, *len as usize, buffer) else {
                        return Ok(None);
                    };
                    self.state = START;
                    return Ok(Some(body));
                }
                State::Failed(error) => return Err(*error),
            }
        }
    }

    /// Bytes pushed that belong to no frame given yet, lengths included; none after an error.
    pub fn buffered(&self) -> usize {
        let begun = match &self.state {
            State::Prefix { have, .. } => *have as usize,
            State::Body { buffer, .. } => buffer.len().saturating_add(4),
            State::Failed(_) => 0,
        };
        self.pieces
            .iter()
            .fold(begun, |sum, piece| sum.saturating_add(piece.len()))
    }

    fn start_body(&mut self, len: u32) {
        self.state = match len {
            0 => State::Failed(FrameError::Empty),
            len if len > self.limit => State::Failed(FrameError::TooLong(len)),
            len => State::Body {
                len,
                buffer: Vec::new(),
            },
        };
        if matches!(self.state, State::Failed(_)) {
            self.pieces.clear();
        }
    }
}

fn next_byte(pieces: &mut VecDeque<Bytes>) -> Option<u8> {
    let piece = pieces.front_mut()?;
    // Pieces in the queue are never empty.
    let byte = piece.get_u8();
    if piece.is_empty() {
        pieces.pop_front();
    }
    Some(byte)
}

/// Moves bytes towards a body of `len` bytes; gives it when it is complete.
fn assemble(pieces: &mut VecDeque<Bytes>, len: usize, buffer: &mut Vec<u8>) -> Option<Bytes> {
    while let Some(mut piece) = pieces.pop_front() {
        let missing = len.saturating_sub(buffer.len());
        let part = piece.split_to(missing.min(piece.len()));
        if !piece.is_empty() {
            pieces.push_front(piece);
        }
        if part.len() == len {
            return Some(part);
        }
        reserve(buffer, part.len(), len);
        buffer.extend_from_slice(&part);
        if buffer.len() == len {
            return Some(Bytes::from(core::mem::take(buffer)));
        }
    }
    None
}

/// Makes room for `part` more bytes of a body of `len`: all of the body once [`AHEAD_MAX`] bytes
/// of it have arrived, else not more than so many ahead.
fn reserve(buffer: &mut Vec<u8>, part: usize, len: usize) {
    let arrived = buffer.len().saturating_add(part);
    let wanted = if arrived >= AHEAD_MAX {
        len
    } else {
        len.min(AHEAD_MAX)
    };
    buffer.reserve_exact(wanted.saturating_sub(buffer.len()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn capacity(reader: &FrameReader) -> usize {
        match &reader.state {
            State::Body { buffer, .. } => buffer.capacity(),
            State::Prefix { .. } | State::Failed(_) => 0,
        }
    }

    /// Somebody who announces the longest frame and sends little of it takes little memory; the rest
    /// is reserved in one go when the sender has shown to mean it.
    #[test]
    fn an_announced_length_reserves_little() {
        let len = 2_097_152;
        let mut reader = FrameReader::new(len);
        reader.push(Bytes::copy_from_slice(&len.to_be_bytes()));
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(capacity(&reader), 0);
        for _ in 0..AHEAD_MAX - 1 {
            reader.push(Bytes::from_static(&[7]));
            assert_eq!(reader.next(), Ok(None));
            assert_eq!(capacity(&reader), AHEAD_MAX);
        }
        reader.push(Bytes::from_static(&[7]));
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(capacity(&reader), len as usize);
        reader.push(vec![7; len as usize - AHEAD_MAX].into());
        assert_eq!(reader.next(), Ok(Some(vec![7; len as usize].into())));
        assert_eq!(reader.buffered(), 0);
    }
}
