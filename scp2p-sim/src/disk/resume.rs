//! What of a download is on disk already.

use bytes::Bytes;
use scp2p_proto::content::{Bitmap, chunk_count, chunk_len};
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::storage::{
    OUTBOARD_PAGE, OutboardKind, PartRef, Resumed, StoreError, Table, outboard_key,
};

use super::batch::Contents;
use super::chunks::{Chunks, Piece};
use super::files::{File, part_place, place, start_of};

/// A download that is taken up again.
pub(super) struct Resume {
    pub(super) part: PartRef,
    pub(super) content: ContentId,
    pub(super) size: u64,
    pub(super) kind: OutboardKind,
    pub(super) verified: Bitmap,
}

impl Resume {
    /// Looks at the final file, then at the part, and checks what was not verified before.
    pub(super) fn run(
        &self,
        contents: &Contents,
        chunks: &mut Chunks,
    ) -> Result<Resumed, StoreError> {
        contents.files.check_way(&self.part)?;
        let part = contents.files.0.get(&part_place(&self.part));
        let path = place(&self.part);
        if contents.files.is_folder(&path) {
            return Ok(Resumed::Occupied);
        }
        if let Some(file) = contents.files.0.get(&path) {
            let moved = part.is_none() && self.is_proven();
            let right = file.len == self.size && (moved || file.content(chunks) == self.content);
            return Ok(if right {
                Resumed::Complete(file.reference(&path))
            } else {
                Resumed::Occupied
            });
        }
        let right = part.map(|file| self.check_chunks(contents, file, chunks));
        Ok(match right {
            Some(right) if right.count() > 0 => Resumed::Partial(right),
            Some(_) | None => Resumed::Fresh,
        })
    }

    /// Whether all chunks were verified: a final file without a part was moved there then.
    fn is_proven(&self) -> bool {
        let claimed = self.kind == OutboardKind::Claimed;
        self.size > 0 && !claimed && self.verified.is_full() && self.verified_fits()
    }

    fn check_chunks(&self, contents: &Contents, file: &File, chunks: &mut Chunks) -> Bitmap {
        let count = chunk_count(self.size).unwrap_or(0);
        let mut right = Bitmap::new(count);
        for index in 0..count {
            let len = u64::from(chunk_len(self.size, index).unwrap_or(0));
            if start_of(index) + len > file.len {
                break;
            }
            if self.verified_fits() && self.verified.contains(index) {
                right.set(index);
                continue;
            }
            // Holes were never written.
            if !file.has(index) {
                continue;
            }
            let Some(expected) = self.hash_of(contents, index) else {
                continue;
            };
            let mut piece = file.chunk(index);
            // The part is longer than the file will be.
            if let Some(long) = piece.take_if(|piece| piece.len() > len) {
                piece = Some(Piece::alone(long.data.slice(..len as usize)));
            }
            if piece.and_then(|piece| self.hash(&piece, index, count, chunks)) == Some(expected) {
                right.set(index);
            }
        }
        right
    }

    fn hash(&self, piece: &Piece, index: u32, count: u32, chunks: &mut Chunks) -> Option<[u8; 32]> {
        match self.kind {
            OutboardKind::Subtrees if count > 1 => chunks.subtree(piece, start_of(index)),
            OutboardKind::Subtrees | OutboardKind::Chunks | OutboardKind::Claimed => {
                Some(piece.hash)
            }
        }
    }

    /// The hash that a chunk must have; none if it is not stored.
    fn hash_of(&self, contents: &Contents, index: u32) -> Option<[u8; 32]> {
        if self.size <= u64::from(CHUNK_LEN) {
            return Some(self.content.0);
        }
        let key = outboard_key(&self.content, self.kind, index / OUTBOARD_PAGE);
        let page: &Bytes = contents.rows.get(&(Table::Outboard, key))?;
        let start = (index % OUTBOARD_PAGE) as usize * 32;
        page.get(start..start + 32)?.try_into().ok()
    }

    fn verified_fits(&self) -> bool {
        chunk_count(self.size) == Some(self.verified.len())
    }
}
