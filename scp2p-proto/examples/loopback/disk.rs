//! A disk in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use scp2p_proto::id::ContentId;
use scp2p_proto::storage::*;

/// What a host keeps. Files here are of one chunk, which their content id alone proves.
#[derive(Default)]
pub struct Disk {
    rows: BTreeMap<(Table, Bytes), Bytes>,
    /// Bytes by path.
    pub files: BTreeMap<String, Bytes>,
}

impl Disk {
    /// Answers a load; it sees all that was committed.
    pub fn load(&self, load: Load) -> Loaded {
        match load {
            Load::Row(table, key) => Loaded::Row(self.rows.get(&(table, key)).cloned()),
            Load::Piece { file, offset, len } => {
                let range = offset as usize..offset as usize + len as usize;
                Loaded::Piece(self.files[&file.path.0].slice(range))
            }
            Load::Scan { roots, .. } => {
                let scanned = |path: LocalPath| ScannedFile {
                    rel: path.0.trim_start_matches('/').into(),
                    size: self.files[&path.0].len() as u64,
                    path,
                };
                Loaded::Scan(roots.into_iter().map(scanned).collect())
            }
            Load::Hash(paths) => {
                let hashed = |path| Ok(self.hashed(path));
                Loaded::Hash(paths.into_iter().map(hashed).collect())
            }
            Load::Resume { .. } => Loaded::Resume(Resumed::Fresh),
        }
    }

    fn hashed(&self, path: LocalPath) -> HashedFile {
        let bytes = &self.files[&path.0];
        let (size, mtime_ns) = (bytes.len() as u64, 0);
        let hash = blake3::hash(bytes);
        HashedFile {
            file: FileRef {
                path,
                size,
                mtime_ns,
            },
            content: ContentId(*hash.as_bytes()),
            chunk_count: 1,
            chunk_list_hash: *blake3::hash(hash.as_bytes()).as_bytes(),
        }
    }

    /// Writes a piece if it is right.
    pub fn write(&mut self, piece: PieceWrite) -> Result<(), WriteError> {
        if !piece.is_right() {
            return Err(WriteError::WrongBytes);
        }
        self.files
            .insert(format!("{}.part", piece.part), piece.data);
        Ok(())
    }

    /// Applies a batch. There is nothing to make durable here.
    pub fn commit(&mut self, batch: Batch) {
        for part in batch.finish {
            let bytes = self.files.remove(&format!("{part}.part"));
            self.files
                .insert(part.to_string(), bytes.unwrap_or_default());
        }
        for op in batch.rows {
            match op {
                RowOp::Put(table, key, value) => self.rows.insert((table, key), value),
                RowOp::Delete(table, key) => self.rows.remove(&(table, key)),
            };
        }
    }
}
