//! Batches: applied at once, and taken back if they fail or a crash comes before they are durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use scp2p_proto::id::{ManifestId, ShareId};
use scp2p_proto::record::Manifest;
use scp2p_proto::storage::{Batch, IndexOp, LocalPath, PartRef, RowOp, StoreError, Table};

use super::chunks::Chunks;
use super::files::{File, Files, part_place, place};

/// All that is on a disk.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) rows: BTreeMap<(Table, Bytes), Bytes>,
    pub(super) files: Files,
    /// The manifest by which each share is found.
    pub(super) index: BTreeMap<ShareId, ManifestId>,
    /// How large parts become, known to the process since they were resumed or written.
    pub(super) sizes: BTreeMap<PartRef, u64>,
}

/// How to take back a step of a batch.
#[derive(Debug)]
pub(super) enum Undo {
    /// A row was this.
    Row(Table, Bytes, Option<Bytes>),
    /// A share was found by this manifest.
    Index(ShareId, Option<ManifestId>),
    /// What was written of the file became durable.
    Synced(String),
    /// This part was deleted.
    Discarded(String, Box<File>),
    /// A part, which was this, was moved to its name.
    Moved {
        from: String,
        to: String,
        before: Box<File>,
    },
    /// An empty file was made.
    Created(String),
    /// A part was known to become so large.
    Size(PartRef, u64),
}

impl Undo {
    /// Whether it is about which file lies at a path.
    pub(super) fn concerns(&self, path: &str) -> bool {
        match self {
            Undo::Discarded(at, _) | Undo::Created(at) => at == path,
            Undo::Moved { to, .. } => to == path,
            Undo::Row(..) | Undo::Index(..) | Undo::Synced(_) | Undo::Size(..) => false,
        }
    }

    /// Whether it is about the store and the index, not about files.
    pub(super) fn is_of_store(&self) -> bool {
        match self {
            Undo::Row(..) | Undo::Index(..) => true,
            Undo::Synced(_)
            | Undo::Discarded(..)
            | Undo::Moved { .. }
            | Undo::Created(_)
            | Undo::Size(..) => false,
        }
    }
}

impl Contents {
    /// Applies a batch as commit `number`, and notes how to take it back, also when it fails.
    pub(super) fn apply(
        &mut self,
        number: u64,
        batch: Batch,
        mtime_ns: i64,
        chunks: &mut Chunks,
        undo: &mut Vec<Undo>,
    ) -> Result<(), StoreError> {
        for part in &batch.discard {
            self.discard(part, undo);
        }
        for part in &batch.sync {
            self.sync(part, number, undo)?;
        }
        for part in &batch.finish {
            self.finish(part, number, mtime_ns, undo)?;
        }
        for op in batch.rows {
            let (table, key, value) = match op {
                RowOp::Put(table, key, value) => (table, key, Some(chunks.row(value))),
                RowOp::Delete(table, key) => (table, key, None),
            };
            let old = self.set_row(table, key.clone(), value);
            undo.push(Undo::Row(table, key, old));
        }
        for op in batch.index {
            self.index(op, undo);
        }
        Ok(())
    }

    /// Takes steps of commit `number` back.
    pub(super) fn undo(&mut self, number: u64, steps: impl DoubleEndedIterator<Item = Undo>) {
        for step in steps.rev() {
            match step {
                Undo::Row(table, key, old) => drop(self.set_row(table, key, old)),
                Undo::Index(share, Some(old)) => drop(self.index.insert(share, old)),
                Undo::Index(share, None) => drop(self.index.remove(&share)),
                Undo::Synced(path) => {
                    if let Some(file) = self.files.0.get_mut(&path) {
                        file.unsync(number);
                    }
                }
                Undo::Discarded(path, file) => drop(self.files.0.insert(path, *file)),
                Undo::Moved { from, to, before } => self.move_back(from, &to, *before),
                Undo::Created(path) => drop(self.files.0.remove(&path)),
                Undo::Size(part, size) => drop(self.sizes.insert(part, size)),
            }
        }
    }

    /// Shares and places of their files of which the name, the place or a tag contains the text, whatever its case.
    pub(super) fn search(&self, text: &str) -> Vec<(ShareId, String)> {
        let text = text.to_lowercase();
        let mut found = Vec::new();
        for (share, manifest) in &self.index {
            let Some(Ok(manifest)) = self.manifest(manifest).map(|row| Manifest::decode(row))
            else {
                continue;
            };
            for item in &manifest.items {
                let mut texts = item.tags.iter().chain([&item.name]).map(String::as_str);
                let has = |of: &str| of.to_lowercase().contains(&text);
                if has(item.place()) || texts.any(has) {
                    found.push((*share, item.place().to_owned()));
                }
            }
        }
        found
    }

    fn discard(&mut self, part: &PartRef, undo: &mut Vec<Undo>) {
        let path = part_place(part);
        if let Some(file) = self.files.0.remove(&path) {
            undo.push(Undo::Discarded(path, Box::new(file)));
        }
        self.forget_size(part, undo);
    }

    fn sync(
        &mut self,
        part: &PartRef,
        number: u64,
        undo: &mut Vec<Undo>,
    ) -> Result<(), StoreError> {
        self.files.check_way(part)?;
        let path = part_place(part);
        let Some(file) = self.files.0.get_mut(&path) else {
            return Err(StoreError::NotFound(LocalPath(place(part))));
        };
        file.sync(number);
        undo.push(Undo::Synced(path));
        Ok(())
    }

    /// Moves a part to its name, or finds that this has happened. An empty file is made here.
    fn finish(
        &mut self,
        part: &PartRef,
        number: u64,
        mtime_ns: i64,
        undo: &mut Vec<Undo>,
    ) -> Result<(), StoreError> {
        self.files.check_way(part)?;
        let (from, to) = (part_place(part), place(part));
        let obstructed = || Err(StoreError::Obstructed(part.rel.clone()));
        let size = self.sizes.get(part).copied();
        if self.files.is_folder(&to) {
            return obstructed();
        }
        let last = self.files.0.get(&to);
        match (self.files.0.get(&from), last) {
            (Some(file), _) if size.is_some_and(|size| file.len < size) => {
                return Err(StoreError::Changed(LocalPath(to)));
            }
            (Some(_), Some(_)) => return obstructed(),
            (Some(_), None) => self.move_to_name(from, to, size, number, undo),
            (None, Some(last)) if size.is_some_and(|size| last.len != size) => return obstructed(),
            (None, Some(_)) => {}
            (None, None) if size == Some(0) => {
                let mut file = File::empty(mtime_ns);
                file.sync(number);
                self.files.0.insert(to.clone(), file);
                undo.push(Undo::Created(to));
            }
            (None, None) => return Err(StoreError::NotFound(LocalPath(to))),
        }
        self.forget_size(part, undo);
        Ok(())
    }

    fn move_to_name(
        &mut self,
        from: String,
        to: String,
        size: Option<u64>,
        number: u64,
        undo: &mut Vec<Undo>,
    ) {
        let Some(mut file) = self.files.0.remove(&from) else {
            return;
        };
        let before = Box::new(file.clone());
        if let Some(size) = size.filter(|size| *size < file.len) {
            file.truncate(size);
        }
        file.sync(number);
        self.files.0.insert(to.clone(), file);
        undo.push(Undo::Moved { from, to, before });
    }

    fn move_back(&mut self, from: String, to: &str, before: File) {
        let users = self.files.0.get(&from).is_some_and(File::is_settled);
        match self.files.0.get_mut(to) {
            // The user put another file in the part's place meanwhile.
            Some(file) if users => file.settle(),
            Some(_) => {
                self.files.0.remove(to);
                self.files.0.insert(from, before);
            }
            None => {}
        }
    }

    fn forget_size(&mut self, part: &PartRef, undo: &mut Vec<Undo>) {
        if let Some(size) = self.sizes.remove(part) {
            undo.push(Undo::Size(part.clone(), size));
        }
    }

    fn set_row(&mut self, table: Table, key: Bytes, value: Option<Bytes>) -> Option<Bytes> {
        match value {
            Some(value) => self.rows.insert((table, key), value),
            None => self.rows.remove(&(table, key)),
        }
    }

    fn index(&mut self, op: IndexOp, undo: &mut Vec<Undo>) {
        match op {
            // A manifest that is not there changes nothing.
            IndexOp::Set(share, manifest) => {
                if self.manifest(&manifest).is_some() {
                    let old = self.index.insert(share, manifest);
                    undo.push(Undo::Index(share, old));
                }
            }
            IndexOp::Retain(shares) => self.index.retain(|share, manifest| {
                let stays = shares.contains(share);
                if !stays {
                    undo.push(Undo::Index(*share, Some(*manifest)));
                }
                stays
            }),
        }
    }

    fn manifest(&self, id: &ManifestId) -> Option<&Bytes> {
        let key = Bytes::copy_from_slice(&id.0);
        self.rows.get(&(Table::Manifests, key))
    }
}
