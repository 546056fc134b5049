mod crashes;
mod files;
mod store;

use bytes::Bytes;
use scp2p_proto::content::subtree_of;
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::path::RelPath;
use scp2p_proto::rng::Rng;
use scp2p_proto::storage::{Batch, LocalPath, PartRef, PieceWrite, Proof, RowOp, Table};

use super::{Chunks, Disk};
use crate::scenario;

const CHUNK: usize = CHUNK_LEN as usize;

fn rng(seed: u64) -> Rng {
    Rng::new(blake3::hash(&seed.to_le_bytes()).as_bytes(), "test")
}

fn disk() -> Disk {
    Disk::new(scenario::Disk::default(), rng(0))
}

/// Bytes that differ from chunk to chunk.
fn content(len: usize, salt: u8) -> Vec<u8> {
    let mut bytes = vec![salt; len];
    for (index, chunk) in (1..).zip(bytes.chunks_mut(CHUNK)) {
        chunk[0] = index;
    }
    bytes
}

fn id(bytes: &[u8]) -> ContentId {
    ContentId(blake3::hash(bytes).into())
}

fn part(rel: &str) -> PartRef {
    PartRef {
        root: LocalPath("/dl".into()),
        rel: RelPath::from_untrusted(rel).expect("a plain path"),
    }
}

/// Chunk `index` of a download of these bytes.
fn piece(part: &PartRef, bytes: &[u8], index: usize) -> PieceWrite {
    let offset = index * CHUNK;
    let data = &bytes[offset..bytes.len().min(offset + CHUNK)];
    let proof = if bytes.len() > CHUNK {
        Proof::Subtree(subtree_of(data, offset as u64).expect("a chunk"))
    } else {
        Proof::Hash(blake3::hash(data).into())
    };
    PieceWrite {
        part: part.clone(),
        size: bytes.len() as u64,
        offset: offset as u64,
        data: Bytes::copy_from_slice(data),
        proof,
    }
}

fn write_all(disk: &mut Disk, chunks: &mut Chunks, part: &PartRef, bytes: &[u8]) {
    for index in 0..bytes.len().div_ceil(CHUNK) {
        let written = disk.write(piece(part, bytes, index), chunks);
        assert_eq!(written, Ok(()));
    }
}

fn finish(part: &PartRef) -> Batch {
    Batch {
        finish: vec![part.clone()],
        ..Batch::default()
    }
}

fn discard(part: &PartRef) -> Batch {
    Batch {
        discard: vec![part.clone()],
        ..Batch::default()
    }
}

fn rows(rows: Vec<RowOp>) -> Batch {
    Batch {
        rows,
        ..Batch::default()
    }
}

fn put_row(table: Table, key: u8, value: u8) -> RowOp {
    RowOp::Put(table, vec![key].into(), vec![value].into())
}

fn all_rows(disk: &Disk) -> Vec<(Table, Bytes, Bytes)> {
    let rows = disk.rows();
    rows.map(|(table, key, value)| (table, key.clone(), value.clone()))
        .collect()
}

fn all_files(disk: &Disk) -> Vec<(String, Option<Vec<Bytes>>)> {
    let paths = disk.paths();
    paths
        .map(|path| (path.to_owned(), disk.file(path)))
        .collect()
}
