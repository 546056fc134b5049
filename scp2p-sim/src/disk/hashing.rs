//! Files hashed for publication.

use bytes::Bytes;
use scp2p_proto::content::OutboardBuilder;
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::storage::{HashedFile, OUTBOARD_PAGE, OutboardKind, RowOp, Table, outboard_key};

use super::chunks::Chunks;
use super::files::{File, start_of};

/// What a file hashes to, and the hash pages to store for it, none for up to one chunk.
pub(super) fn hash(path: &str, file: &File, chunks: &mut Chunks) -> (HashedFile, Vec<RowOp>) {
    let list: Vec<[u8; 32]> = file.chunks().map(|piece| piece.hash).collect();
    let hashed = |content, list: &[[u8; 32]]| HashedFile {
        file: file.reference(path),
        content,
        chunk_count: u32::try_from(list.len()).expect("files are shorter than 1 TiB"),
        chunk_list_hash: blake3::hash(list.as_flattened()).into(),
    };
    if file.len <= u64::from(CHUNK_LEN) {
        return (hashed(file.content(chunks), &list), Vec::new());
    }
    let mut builder = OutboardBuilder::new();
    let mut subtrees = Vec::new();
    for (index, piece) in (0..).zip(file.chunks()) {
        let value = chunks
            .subtree(&piece, start_of(index))
            .expect("it is a chunk");
        subtrees.extend(builder.push(value));
    }
    let outboard = builder.finish().expect("more than one chunk was pushed");
    subtrees.push(outboard.last_page);
    let alone = list.chunks(OUTBOARD_PAGE as usize);
    let alone = alone.map(|page| page.as_flattened().to_vec()).collect();
    let mut rows = pages(&outboard.content, OutboardKind::Subtrees, subtrees);
    rows.extend(pages(&outboard.content, OutboardKind::Chunks, alone));
    (hashed(outboard.content, &list), rows)
}

fn pages(content: &ContentId, kind: OutboardKind, pages: Vec<Vec<u8>>) -> Vec<RowOp> {
    let put = |(number, page)| {
        let key = outboard_key(content, kind, number);
        RowOp::Put(Table::Outboard, key, Bytes::from(page))
    };
    (0..).zip(pages).map(put).collect()
}
