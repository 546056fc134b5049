//! What a run did, as one number.

use scp2p_proto::io::{Input, LinkEvent, Output};
use scp2p_proto::storage::{Load, Loaded, RowOp};
use scp2p_proto::time::{Now, Time};

use crate::id::HostId;

/// BLAKE3 over all that goes into and comes out of the hosts.
#[derive(Debug, Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    text: String,
}

impl Digest {
    pub(super) fn input(&mut self, at: Time, now: Now, host: HostId, input: &Input) {
        self.numbers([1, at.0, now.mono.0, now.unix.0, u64::from(host.0)]);
        match input {
            // Bytes by themselves: they are most of what there is.
            Input::Link(link, LinkEvent::Bytes(lane, bytes)) => {
                self.numbers([2, link.0, *lane as u64, bytes.len() as u64]);
                self.hasher.update(bytes);
            }
            Input::Loaded(id, Ok(Loaded::Piece(bytes))) => {
                self.numbers([3, id.0, bytes.len() as u64]);
                self.hasher.update(bytes);
            }
            Input::Loaded(id, Ok(Loaded::Row(Some(bytes)))) => {
                self.numbers([8, id.0, bytes.len() as u64]);
                self.hasher.update(bytes);
            }
            Input::Committed(id, Ok(())) => self.numbers([9, id.0]),
            Input::Tick => self.numbers([10]),
            Input::Command(..)
            | Input::Link(..)
            | Input::Loaded(..)
            | Input::Written(..)
            | Input::Committed(..)
            | Input::Host(_) => self.debug(input),
        }
    }

    pub(super) fn output(&mut self, host: HostId, output: &Output) {
        self.numbers([4, u64::from(host.0)]);
        match output {
            Output::Send(link, lane, frame) => {
                self.numbers([5, link.0, *lane as u64, frame.len() as u64]);
                self.hasher.update(&frame.head);
                self.hasher.update(&frame.body);
            }
            Output::Write(id, piece) => {
                self.numbers([6, id.0, piece.offset, piece.data.len() as u64]);
                self.hasher.update(&piece.data);
                self.debug(&piece.part);
            }
            Output::Commit(id, batch) => {
                self.numbers([7, id.0, u64::from(batch.urgent), batch.rows.len() as u64]);
                self.debug(&(&batch.discard, &batch.sync, &batch.finish, &batch.index));
                for op in &batch.rows {
                    let (table, key, value) = match op {
                        RowOp::Put(table, key, value) => (table, key, Some(value)),
                        RowOp::Delete(table, key) => (table, key, None),
                    };
                    let value_len = value.map_or(u64::MAX, |value| value.len() as u64);
                    self.numbers([*table as u64, key.len() as u64, value_len]);
                    self.hasher.update(key);
                    self.hasher.update(value.map_or(&[], |value| value));
                }
            }
            Output::Load(id, Load::Row(table, key)) => {
                self.numbers([11, id.0, *table as u64, key.len() as u64]);
                self.hasher.update(key);
            }
            Output::Grant(link, lane, bytes) => {
                self.numbers([12, link.0, *lane as u64, u64::from(*bytes)]);
            }
            Output::Dial(..)
            | Output::Close(..)
            | Output::Load(..)
            | Output::Done(..)
            | Output::Event(_) => self.debug(output),
        }
    }

    /// A row or file as a run left it.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.numbers([bytes.len() as u64]);
        self.hasher.update(bytes);
    }

    pub(super) fn finish(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        let bytes = numbers.map(u64::to_le_bytes);
        self.hasher.update(bytes.as_flattened());
    }

    fn debug(&mut self, what: &impl std::fmt::Debug) {
        use std::fmt::Write;
        self.text.clear();
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{what:?}");
        self.hasher.update(self.text.as_bytes());
    }
}
