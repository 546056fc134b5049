//! What a world asks about a disk, and the end of its faults.

use scp2p_proto::id::ContentId;
use scp2p_proto::storage::Table;

use super::Disk;
use super::batch::Undo;
use super::chunks::Chunks;

impl Disk {
    /// A file's length, if there is one.
    pub fn len(&self, path: &str) -> Option<u64> {
        self.contents.files.0.get(path).map(|file| file.len)
    }

    /// A file's content id, if there is one.
    pub fn content(&self, path: &str, chunks: &mut Chunks) -> Option<ContentId> {
        let file = self.contents.files.0.get(path)?;
        Some(file.content(chunks))
    }

    /// Whether a row is there and will be after a crash.
    pub fn is_durable(&self, table: Table, key: &[u8]) -> bool {
        let undos = self.log.iter().flat_map(|commit| &commit.undo);
        let is_of =
            |undo: &Undo| matches!(undo, Undo::Row(of, row, _) if *of == table && row == key);
        self.row(table, key).is_some() && !undos.into_iter().any(is_of)
    }

    /// From now on nothing fails and there is room.
    pub fn calm(&mut self) {
        self.model.read_error_ppm = 0;
        self.model.write_error_ppm = 0;
        self.free();
    }
}
