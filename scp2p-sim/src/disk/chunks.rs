//! Contents of files, held once for all disks of a world.

use std::collections::BTreeMap;

use bytes::Bytes;
use scp2p_proto::content::subtree_of;
use scp2p_proto::storage::{PieceWrite, Proof};

/// Entries put in between two sweeps, at least.
const SWEEP_MIN: usize = 1024;
/// Shorter rows are not worth an entry.
const ROW_MIN: usize = 4096;

/// The pool that all disks of a world share: each distinct piece of a file is in memory once, however many hosts
/// have it, and is hashed as a part of a tree once. What no disk has any more is dropped after a while, which
/// nothing but the use of memory shows.
#[derive(Debug, Default)]
pub struct Chunks {
    held: BTreeMap<[u8; 32], Held>,
    added: usize,
}

#[derive(Debug)]
struct Held {
    data: Bytes,
    /// Chaining values by the offset that they are for.
    subtrees: BTreeMap<u64, [u8; 32]>,
}

/// A piece of a file and its BLAKE3.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) data: Bytes,
    pub(super) hash: [u8; 32],
}

impl Piece {
    /// A piece that is in no pool.
    pub(super) fn alone(data: impl Into<Bytes>) -> Piece {
        let data = data.into();
        let hash = blake3::hash(&data).into();
        Piece { data, hash }
    }

    pub(super) fn len(&self) -> u64 {
        self.data.len() as u64
    }
}

impl Chunks {
    /// How many distinct pieces are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Drops what only the pool holds. Done by itself now and then.
    pub fn sweep(&mut self) {
        self.held.retain(|_, held| !held.data.is_unique());
        self.added = 0;
    }

    /// The piece of these bytes.
    pub(super) fn intern(&mut self, data: &[u8]) -> Piece {
        self.hold(data, blake3::hash(data).into())
    }

    /// The bytes of a row; long ones are shared.
    pub(super) fn row(&mut self, value: Bytes) -> Bytes {
        if value.len() < ROW_MIN {
            return value;
        }
        self.intern(&value).data
    }

    /// The piece to write, if its bytes are right: as [`PieceWrite::is_right`], but what is known is not hashed again.
    pub(super) fn right(&mut self, write: &PieceWrite) -> Option<Piece> {
        let hash = blake3::hash(&write.data).into();
        let right = match (write.proof, self.held.get(&hash)) {
            (Proof::Subtree(value), Some(held)) => {
                let piece = Piece {
                    data: held.data.clone(),
                    hash,
                };
                self.subtree(&piece, write.offset) == Some(value)
            }
            (Proof::Hash(value), _) => hash == value,
            (Proof::Subtree(_), None) => write.is_right(),
        };
        right.then(|| self.hold(&write.data, hash))
    }

    /// The chaining value of a piece at an offset; none if it is not a chunk.
    pub(super) fn subtree(&mut self, piece: &Piece, offset: u64) -> Option<[u8; 32]> {
        let Some(held) = self.held.get_mut(&piece.hash) else {
            return subtree_of(&piece.data, offset);
        };
        if let Some(value) = held.subtrees.get(&offset) {
            return Some(*value);
        }
        let value = subtree_of(&piece.data, offset)?;
        held.subtrees.insert(offset, value);
        Some(value)
    }

    fn hold(&mut self, data: &[u8], hash: [u8; 32]) -> Piece {
        if let Some(held) = self.held.get(&hash) {
            let data = held.data.clone();
            return Piece { data, hash };
        }
        if self.added >= SWEEP_MIN.max(self.held.len() / 2) {
            self.sweep();
        }
        self.added += 1;
        // Its own copy: the bytes may be a slice of a larger buffer, which would stay too.
        let data = Bytes::copy_from_slice(data);
        self.held.insert(
            hash,
            Held {
                data: data.clone(),
                subtrees: BTreeMap::new(),
            },
        );
        Piece { data, hash }
    }
}
