//! A disk that may be damaged.

use alloc::collections::BTreeMap;
use alloc::vec;

use bytes::Bytes;

use crate::content::{chunk_count, page_len};
use crate::id::ContentId;
use crate::storage::{
    Batch, FileRef, HashedFile, Load, Loaded, LocalPath, OutboardKind, PieceWrite, Resumed, RowOp,
    Saved, ScannedFile, StoreError, Table, WriteError, outboard_key,
};

/// The size of its one file: three chunks, the last of them short.
const SIZE: u64 = 600_000;
/// Where downloads go.
pub(super) const ROOT: &str = "/got";

/// Rows in memory, and one file of which nobody checks the bytes.
#[derive(Default)]
pub(super) struct Disk {
    rows: BTreeMap<(Table, Bytes), Bytes>,
    /// The content of every finished download; none if the bytes are not what they should be.
    pub(super) got: Option<ContentId>,
    /// Nothing can be read or written.
    pub(super) fails: bool,
    /// Pieces are found not to be what they should.
    pub(super) wrong: bool,
}

impl Disk {
    /// The content of its file.
    pub(super) fn content() -> ContentId {
        ContentId([5; 32])
    }

    pub(super) fn saved(&self) -> Saved {
        let resident = self.rows.iter().filter(|((table, _), _)| table.resident());
        Saved {
            rows: resident
                .map(|((table, key), row)| (*table, key.clone(), row.clone()))
                .collect(),
        }
    }

    /// Changes bits of a byte of some row, or cuts the row there for 0.
    pub(super) fn damage(&mut self, at: u16, bits: u8) {
        let count = self.rows.len().max(1);
        let at = usize::from(at);
        let Some(row) = self.rows.values_mut().nth(at % count) else {
            return;
        };
        let mut bytes = row.to_vec();
        if bits == 0 {
            bytes.truncate(at / count);
        } else if let Some(byte) = bytes.get_mut(at / count) {
            *byte ^= bits;
        }
        *row = bytes.into();
    }

    pub(super) fn load(&mut self, load: Load) -> Result<Loaded, StoreError> {
        if self.fails {
            return Err(StoreError::Full);
        }
        match load {
            Load::Row(table, key) => Ok(Loaded::Row(self.rows.get(&(table, key)).cloned())),
            Load::Piece { file, .. } if self.wrong => Err(StoreError::Changed(file.path)),
            Load::Piece { file, offset, len } => {
                let end = offset.checked_add(u64::from(len));
                assert!(end.is_some_and(|end| end <= file.size), "beyond the file");
                Ok(Loaded::Piece(vec![0; len as usize].into()))
            }
            Load::Scan { roots, .. } => {
                let file = |path: LocalPath| ScannedFile {
                    rel: path.0.trim_start_matches('/').into(),
                    path,
                    size: SIZE,
                };
                Ok(Loaded::Scan(roots.into_iter().map(file).collect()))
            }
            Load::Hash(paths) => {
                let hashed = paths.into_iter().map(|path| Ok(self.hash(path)));
                Ok(Loaded::Hash(hashed.collect()))
            }
            Load::Resume { verified, .. } if verified.count() > 0 => {
                Ok(Loaded::Resume(Resumed::Partial(verified)))
            }
            Load::Resume { .. } => Ok(Loaded::Resume(Resumed::Fresh)),
        }
    }

    pub(super) fn write(&self, piece: &PieceWrite) -> Result<(), WriteError> {
        let end = piece.offset.checked_add(piece.data.len() as u64);
        assert!(end.is_some_and(|end| end <= piece.size), "beyond the file");
        match (self.fails, self.wrong) {
            (true, _) => Err(WriteError::Store(StoreError::Full)),
            (false, true) => Err(WriteError::WrongBytes),
            (false, false) => Ok(()),
        }
    }

    pub(super) fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.fails {
            return Err(StoreError::Full);
        }
        for op in batch.rows {
            match op {
                RowOp::Put(table, key, row) => drop(self.rows.insert((table, key), row)),
                RowOp::Delete(table, key) => drop(self.rows.remove(&(table, key))),
            }
        }
        Ok(())
    }

    fn hash(&mut self, path: LocalPath) -> HashedFile {
        let got = self.got.filter(|_| path.0.starts_with(ROOT));
        let content = got.unwrap_or_else(Disk::content);
        let hashes = page_len(SIZE, 0).expect("it has a page") as usize;
        for kind in [OutboardKind::Subtrees, OutboardKind::Chunks] {
            let key = outboard_key(&content, kind, 0);
            let row = vec![6; hashes * 32];
            self.rows.insert((Table::Outboard, key), row.into());
        }
        HashedFile {
            file: FileRef {
                path,
                size: SIZE,
                mtime_ns: 1,
            },
            content,
            chunk_count: chunk_count(SIZE).expect("it is not too long"),
            chunk_list_hash: [6; 32],
        }
    }
}
