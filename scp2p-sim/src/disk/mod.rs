//! A host's disk in memory: rows, files, the search index, and what becomes of them at a crash.
//!
//! It keeps the driver contract as the runtime on real disks does. Effects are there at once; what a crash may take
//! back is told apart from what it may not:
//!
//! - Commits are durable up to the last that [`Disk::durable`] named. A crash keeps a random number of those after
//!   it, in order, with all their effects, and takes back the others.
//! - A piece of a download is durable when a commit is that named its file in `sync` or `finish`. A crash
//!   keeps, loses or tears each of the others.
//! - What the user does to files is durable at once.
//! - When only the process dies, files stay as they are, and commits that are not durable lose rows, in the same order.
//!   So it can find a download at its name of which its rows know nothing, or a part gone of which they do.

mod batch;
mod chunks;
mod files;
mod hashing;
mod resume;
#[cfg(test)]
mod tests;
mod view;

pub use chunks::Chunks;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::content::chunk_len;
use scp2p_proto::id::{ContentId, ShareId};
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::path::PART_SUFFIX;
use scp2p_proto::rng::Rng;
use scp2p_proto::storage::{
    Batch, FileRef, HashedFile, Load, Loaded, LocalPath, PieceWrite, Resumed, Saved, StoreError,
    Table, WriteError,
};

use crate::scenario;
use batch::{Contents, Undo};
use chunks::Piece;
use files::{File, part_place};
use resume::Resume;

/// The first modification time; each is a microsecond after the one before.
const EPOCH_NS: i64 = 1_700_000_000_000_000_000;
/// Probabilities of faults are in parts of this.
const MILLION: u32 = 1_000_000;

/// The number of a commit. Later commits have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitNo(pub u64);

/// A host's disk.
#[derive(Debug)]
pub struct Disk {
    model: scenario::Disk,
    rng: Rng,
    contents: Contents,
    /// Commits that are not durable, oldest first.
    log: VecDeque<Commit>,
    last: u64,
    /// The last commit whose files survive a crash.
    durable: u64,
    /// How many more writes there is room for; none for any number.
    room: Option<u32>,
    mtime_ns: i64,
}

#[derive(Debug)]
struct Commit {
    number: u64,
    undo: Vec<Undo>,
}

impl Disk {
    /// An empty disk. Its latencies and faults are drawn from `rng`.
    pub fn new(model: scenario::Disk, rng: Rng) -> Disk {
        Disk {
            model,
            rng,
            contents: Contents::default(),
            log: VecDeque::new(),
            last: 0,
            durable: 0,
            room: None,
            mtime_ns: EPOCH_NS,
        }
    }

    /// Draws how long the next load, write or commit takes.
    pub fn latency(&mut self) -> Duration {
        let [least, most] = self.model.latency;
        let spread = most.0.saturating_sub(least.0).saturating_add(1);
        Duration::from_micros(least.0.saturating_add(self.rng.below(spread)))
    }

    /// Carries out a load; it sees everything written and committed before. A [`Load::Hash`] commits the hash pages
    /// on its own account, not durably.
    pub fn load(&mut self, load: Load, chunks: &mut Chunks) -> Result<Loaded, StoreError> {
        // Of files to hash each may fail.
        if !matches!(load, Load::Hash(_)) && self.fails(self.model.read_error_ppm) {
            return Err(StoreError::Failed("reading failed".into()));
        }
        match load {
            Load::Row(table, key) => {
                Ok(Loaded::Row(self.contents.rows.get(&(table, key)).cloned()))
            }
            Load::Piece { file, offset, len } => self.piece(&file, offset, len).map(Loaded::Piece),
            Load::Scan { roots, files_max } => {
                let found = self.contents.files.scan(&roots, files_max);
                found.map(Loaded::Scan)
            }
            Load::Hash(paths) => {
                let hashed = paths.into_iter().map(|path| self.hash(path, chunks));
                Ok(Loaded::Hash(hashed.collect()))
            }
            Load::Resume {
                part,
                content,
                size,
                kind,
                verified,
            } => {
                let resume = Resume {
                    part,
                    content,
                    size,
                    kind,
                    verified,
                };
                self.resume(&resume, chunks).map(Loaded::Resume)
            }
        }
    }

    /// Checks a piece and writes it, not durably. A write that fails may leave a beginning of the piece.
    pub fn write(&mut self, write: PieceWrite, chunks: &mut Chunks) -> Result<(), WriteError> {
        self.contents.sizes.insert(write.part.clone(), write.size);
        let Some(piece) = chunks.right(&write) else {
            return Err(WriteError::WrongBytes);
        };
        self.put_piece(&write, piece).map_err(WriteError::Store)
    }

    /// Applies a batch, or nothing of it. It is not durable until [`Disk::durable`] says so, urgent or not.
    pub fn commit(&mut self, batch: Batch, chunks: &mut Chunks) -> Result<CommitNo, StoreError> {
        if self.fails(self.model.write_error_ppm) {
            return Err(StoreError::Failed("committing failed".into()));
        }
        if !batch.rows.is_empty() && !self.take_room() {
            return Err(StoreError::Full);
        }
        self.apply(batch, chunks)
    }

    /// This commit and all before it survive from now on.
    pub fn durable(&mut self, commit: CommitNo) {
        while self
            .log
            .pop_front_if(|first| first.number <= commit.0)
            .is_some()
        {}
        self.durable = self.durable.max(commit.0.min(self.last));
    }

    /// The last commit made, with which everything so far becomes durable.
    pub fn last(&self) -> CommitNo {
        CommitNo(self.last)
    }

    /// The system goes down.
    pub fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.log.len() as u64 + 1) as usize;
        for commit in self.log.drain(kept..).rev() {
            self.contents.undo(commit.number, commit.undo.into_iter());
        }
        let survivor = self.log.back().map_or(self.durable, |last| last.number);
        self.contents
            .files
            .0
            .retain(|_, file| file.crash(survivor, rng));
        // The index is a file of its own and need not survive.
        if rng.chance(1, 4) {
            self.contents.index.clear();
        }
        self.restarted();
    }

    /// The process dies, the system stays.
    pub fn kill(&mut self) {
        let kept = self.rng.below(self.log.len() as u64 + 1) as usize;
        for commit in self.log.drain(kept..).rev() {
            let store = commit.undo.into_iter().filter(Undo::is_of_store);
            self.contents.undo(commit.number, store);
        }
        self.restarted();
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&mut self) {
        self.contents = Contents::default();
        self.restarted();
    }

    /// There is room for so many more writes of pieces and commits with rows, then for none.
    pub fn full_after(&mut self, writes: u32) {
        self.room = Some(writes);
    }

    /// There is room again.
    pub fn free(&mut self) {
        self.room = None;
    }

    /// The user puts a file, or replaces it: durable, and with a new modification time. The pieces may be of any
    /// lengths; chunks of 256 KiB are the quickest.
    pub fn put(
        &mut self,
        path: &str,
        pieces: impl IntoIterator<Item = Bytes>,
        chunks: &mut Chunks,
    ) {
        let file = File::of(pieces, self.next_mtime(), chunks);
        self.settle(path);
        self.contents.files.0.insert(path.to_owned(), file);
    }

    /// The user changes a file in place, or adds to its end; the modification time is new. Whether there is one.
    pub fn edit(&mut self, path: &str, offset: u64, bytes: &[u8], chunks: &mut Chunks) -> bool {
        let mtime_ns = self.next_mtime();
        let Some(file) = self.contents.files.0.get_mut(path) else {
            return false;
        };
        file.edit(offset, bytes, chunks);
        file.mtime_ns = mtime_ns;
        self.settle(path);
        true
    }

    /// The user deletes a file. Whether there was one.
    pub fn remove(&mut self, path: &str) -> bool {
        self.settle(path);
        self.contents.files.0.remove(path).is_some()
    }

    /// A file's bytes, chunk by chunk.
    pub fn file(&self, path: &str) -> Option<Vec<Bytes>> {
        let file = self.contents.files.0.get(path)?;
        Some(file.chunks().map(|piece| piece.data).collect())
    }

    /// BLAKE3 of a chunk of a file by itself; none where nothing was written.
    pub fn chunk_hash(&self, path: &str, index: u32) -> Option<[u8; 32]> {
        let file = self.contents.files.0.get(path)?;
        let written = file.has(index).then(|| file.chunk(index))?;
        written.map(|piece| piece.hash)
    }

    /// The paths of all files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.contents.files.0.keys().map(String::as_str)
    }

    /// The paths of unfinished downloads, with their suffix.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.paths().filter(|path| path.ends_with(PART_SUFFIX))
    }

    /// Whether a file is there and has this content.
    pub fn is_finished_right(&self, path: &str, content: &ContentId, chunks: &mut Chunks) -> bool {
        let file = self.contents.files.0.get(path);
        file.is_some_and(|file| file.content(chunks) == *content)
    }

    /// What a node that starts now is given.
    pub fn saved(&self) -> Saved {
        let resident = self.rows().filter(|(table, ..)| table.resident());
        let rows = resident.map(|(table, key, value)| (table, key.clone(), value.clone()));
        Saved {
            rows: rows.collect(),
        }
    }

    /// A row.
    pub fn row(&self, table: Table, key: &[u8]) -> Option<&Bytes> {
        let key = Bytes::copy_from_slice(key);
        self.contents.rows.get(&(table, key))
    }

    /// All rows in table and key order.
    pub fn rows(&self) -> impl Iterator<Item = (Table, &Bytes, &Bytes)> {
        let rows = self.contents.rows.iter();
        rows.map(|((table, key), value)| (*table, key, value))
    }

    /// Searches the index: shares and places of their files whose name, place or tags contain the word, whatever
    /// its case.
    pub fn search(&self, word: &str) -> Vec<(ShareId, String)> {
        self.contents.search(word)
    }

    fn piece(&self, file: &FileRef, offset: u64, len: u32) -> Result<Bytes, StoreError> {
        let found = self.contents.files.plain(&file.path)?;
        let end = offset.checked_add(u64::from(len));
        if !found.is_as_hashed(file) || end.is_none_or(|end| end > found.len) {
            return Err(StoreError::Changed(file.path.clone()));
        }
        Ok(found.read(offset, len))
    }

    fn hash(&mut self, path: LocalPath, chunks: &mut Chunks) -> Result<HashedFile, StoreError> {
        if self.fails(self.model.read_error_ppm) {
            return Err(StoreError::Failed(format!("{path}: reading failed")));
        }
        let file = self.contents.files.plain(&path)?;
        let (hashed, rows) = hashing::hash(&path.0, file, chunks);
        if !rows.is_empty() {
            let batch = Batch {
                rows,
                ..Batch::default()
            };
            // Kept in memory until the next durable commit, so there is always room.
            self.apply(batch, chunks)?;
        }
        Ok(hashed)
    }

    fn resume(&mut self, resume: &Resume, chunks: &mut Chunks) -> Result<Resumed, StoreError> {
        let sizes = &mut self.contents.sizes;
        sizes.insert(resume.part.clone(), resume.size);
        let found = resume.run(&self.contents, chunks)?;
        match found {
            Resumed::Complete(_) | Resumed::Occupied => {
                self.contents.sizes.remove(&resume.part);
            }
            Resumed::Fresh | Resumed::Partial(_) => {}
        }
        Ok(found)
    }

    fn put_piece(&mut self, write: &PieceWrite, piece: Piece) -> Result<(), StoreError> {
        let chunk = u64::from(CHUNK_LEN);
        let index = u32::try_from(write.offset / chunk).ok();
        let len = index.and_then(|index| chunk_len(write.size, index));
        let (Some(index), Some(len), true) = (index, len, write.offset.is_multiple_of(chunk))
        else {
            return Err(not_a_chunk(write));
        };
        if u64::from(len) != piece.len() {
            return Err(not_a_chunk(write));
        }
        self.contents.files.check_way(&write.part)?;
        if !self.take_room() {
            return Err(StoreError::Full);
        }
        if self.fails(self.model.write_error_ppm) {
            let cut = self.rng.below(piece.len());
            if cut > 0 && self.rng.chance(1, 2) {
                self.store(write, index, Piece::alone(piece.data.slice(..cut as usize)));
            }
            return Err(StoreError::Failed(format!(
                "{}: writing failed",
                write.part
            )));
        }
        self.store(write, index, piece);
        Ok(())
    }

    fn store(&mut self, write: &PieceWrite, index: u32, piece: Piece) {
        let mtime_ns = self.next_mtime();
        let files = &mut self.contents.files.0;
        let file = files
            .entry(part_place(&write.part))
            .or_insert_with(|| File::empty(mtime_ns));
        file.write(index, piece, self.durable);
        file.mtime_ns = mtime_ns;
    }

    fn apply(&mut self, batch: Batch, chunks: &mut Chunks) -> Result<CommitNo, StoreError> {
        let number = self.last + 1;
        let mtime_ns = self.next_mtime();
        let mut undo = Vec::new();
        let applied = self
            .contents
            .apply(number, batch, mtime_ns, chunks, &mut undo);
        if let Err(error) = applied {
            self.contents.undo(number, undo.into_iter());
            return Err(error);
        }
        self.last = number;
        self.log.push_back(Commit { number, undo });
        Ok(CommitNo(number))
    }

    /// What the user did to a path is not taken back with what was done to it before.
    fn settle(&mut self, path: &str) {
        for commit in &mut self.log {
            commit.undo.retain(|step| !step.concerns(path));
        }
    }

    /// What is there now stays, and what only the process knew is gone.
    fn restarted(&mut self) {
        self.log.clear();
        self.durable = self.last;
        self.contents.sizes.clear();
    }

    fn fails(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.rng.chance(ppm, MILLION)
    }

    fn take_room(&mut self) -> bool {
        let left = self.room.map(|room| room.checked_sub(1));
        match left {
            None => true,
            Some(None) => false,
            Some(rest) => {
                self.room = rest;
                true
            }
        }
    }

    fn next_mtime(&mut self) -> i64 {
        self.mtime_ns += 1000;
        self.mtime_ns
    }
}

fn not_a_chunk(write: &PieceWrite) -> StoreError {
    StoreError::Failed(format!("{}: not a chunk of the file", write.part))
}
