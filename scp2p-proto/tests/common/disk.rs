//! Rows and files in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use scp2p_proto::content::{
    Bitmap, OutboardBuilder, chunk_count, chunk_len, page_count, page_len, subtree_of,
};
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::storage::{
    Batch, FileRef, HashedFile, Load, Loaded, LocalPath, OUTBOARD_PAGE, OutboardKind, PartRef,
    PieceWrite, Resumed, RowOp, Saved, ScannedFile, StoreError, Table, WriteError, outboard_key,
};

type Rows = BTreeMap<(Table, Bytes), Bytes>;

/// A disk: what is applied, and what would survive a crash.
#[derive(Default)]
pub struct Disk {
    rows: Rows,
    durable: Rows,
    pub files: BTreeMap<String, (Vec<u8>, i64)>,
    pub full: bool,
    /// Files that are said to be so long; nothing of them can be read.
    pub huge: BTreeMap<String, u64>,
    /// Rows read.
    pub row_loads: u32,
    /// Pieces of files and pages of hashes read.
    pub content_loads: u32,
    /// Refuses the next batch for which this holds.
    pub refuse: Option<fn(&Batch) -> bool>,
    /// A file whose chunk list is said to be that of these bytes; that of none is left out.
    pub lie: Option<(String, Vec<u8>)>,
    time: i64,
}

impl Disk {
    pub fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.time += 1;
        self.files
            .insert(path.to_string(), (bytes.into(), self.time));
    }

    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|(bytes, _)| bytes.as_slice())
    }

    pub fn saved(&self) -> Saved {
        let resident = self.rows.iter().filter(|((table, _), _)| table.resident());
        Saved {
            rows: resident
                .map(|((table, key), value)| (*table, key.clone(), value.clone()))
                .collect(),
        }
    }

    /// Changes or removes a row.
    pub fn set_row(&mut self, table: Table, key: Bytes, row: Option<Bytes>) {
        match row {
            Some(row) => self.rows.insert((table, key), row),
            None => self.rows.remove(&(table, key)),
        };
    }

    /// All rows of a table.
    pub fn table(&self, table: Table) -> Vec<(Bytes, Bytes)> {
        let rows = self.rows.iter().filter(|((of, _), _)| *of == table);
        rows.map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    pub fn crash(&mut self) {
        self.rows = self.durable.clone();
    }

    pub fn load(&mut self, load: Load) -> Result<Loaded, StoreError> {
        match load {
            Load::Row(table, key) => {
                self.row_loads += 1;
                self.content_loads += u32::from(table == Table::Outboard);
                Ok(Loaded::Row(self.rows.get(&(table, key)).cloned()))
            }
            Load::Piece { file, offset, len } => {
                self.content_loads += 1;
                let bytes = self.unchanged(&file)?;
                let piece = &bytes[offset as usize..][..len as usize];
                Ok(Loaded::Piece(Bytes::copy_from_slice(piece)))
            }
            Load::Scan { roots, files_max } => self.scan(&roots, files_max),
            Load::Hash(paths) => Ok(Loaded::Hash(
                paths.into_iter().map(|path| self.hash(path)).collect(),
            )),
            Load::Resume {
                part,
                content,
                size,
                kind,
                verified,
            } => Ok(Loaded::Resume(
                self.resume(&part, &content, size, kind, &verified),
            )),
        }
    }

    pub fn write(&mut self, piece: PieceWrite) -> Result<(), WriteError> {
        if !piece.is_right() {
            return Err(WriteError::WrongBytes);
        }
        if self.full {
            return Err(WriteError::Store(StoreError::Full));
        }
        let (bytes, _) = self.files.entry(part_path(&piece.part)).or_default();
        let end = piece.offset as usize + piece.data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[piece.offset as usize..end].copy_from_slice(&piece.data);
        Ok(())
    }

    pub fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.full && !batch.rows.is_empty() {
            return Err(StoreError::Full);
        }
        if self.refuse.is_some_and(|refuse| refuse(&batch)) {
            self.refuse = None;
            return Err(StoreError::Failed("refused".into()));
        }
        for part in &batch.discard {
            self.files.remove(&part_path(part));
        }
        for part in &batch.finish {
            let bytes = self
                .files
                .remove(&part_path(part))
                .map(|(bytes, _)| bytes)
                .unwrap_or_default();
            self.put(&final_path(part), bytes);
        }
        for op in batch.rows {
            match op {
                RowOp::Put(table, key, value) => {
                    self.rows.insert((table, key), value);
                }
                RowOp::Delete(table, key) => {
                    self.rows.remove(&(table, key));
                }
            }
        }
        if batch.urgent {
            self.durable = self.rows.clone();
        }
        Ok(())
    }

    fn unchanged(&self, file: &FileRef) -> Result<&[u8], StoreError> {
        let Some((bytes, mtime)) = self.files.get(&file.path.0) else {
            return Err(StoreError::NotFound(file.path.clone()));
        };
        let changed = *mtime != file.mtime_ns && file.mtime_ns != i64::MIN;
        if bytes.len() as u64 != file.size || changed {
            return Err(StoreError::Changed(file.path.clone()));
        }
        Ok(bytes)
    }

    fn scan(&self, roots: &[LocalPath], files_max: u32) -> Result<Loaded, StoreError> {
        let mut found = Vec::new();
        for root in roots {
            let parent = root.0.rfind('/').map_or(0, |slash| slash + 1);
            let below = format!("{}/", root.0);
            let here = self
                .files
                .iter()
                .filter(|(path, _)| **path == root.0 || path.starts_with(&below));
            let before = found.len();
            found.extend(here.map(|(path, (bytes, _))| ScannedFile {
                path: LocalPath(path.clone()),
                rel: path[parent..].to_string(),
                size: self.size(path, bytes),
            }));
            if found.len() == before {
                return Err(StoreError::NotFound(root.clone()));
            }
        }
        if found.len() > files_max as usize {
            return Err(StoreError::TooMany(files_max));
        }
        found.sort_by(|a, b| a.rel.cmp(&b.rel));
        Ok(Loaded::Scan(found))
    }

    fn size(&self, path: &str, bytes: &[u8]) -> u64 {
        self.huge.get(path).copied().unwrap_or(bytes.len() as u64)
    }

    /// Makes up the hashes of a file that is only said to be there. Its content id is the hash of
    /// its path.
    fn hash_huge(&mut self, path: LocalPath, size: u64) -> HashedFile {
        let content = ContentId(*blake3::hash(path.0.as_bytes()).as_bytes());
        for page in 0..page_count(size).unwrap() {
            for kind in [OutboardKind::Subtrees, OutboardKind::Chunks] {
                let key = outboard_key(&content, kind, page);
                let row = vec![page as u8; page_len(size, page).unwrap() as usize * 32];
                self.rows.insert((Table::Outboard, key), row.into());
            }
        }
        HashedFile {
            file: FileRef {
                path,
                size,
                mtime_ns: 1,
            },
            content,
            chunk_count: chunk_count(size).unwrap(),
            chunk_list_hash: [1; 32],
        }
    }

    fn hash(&mut self, path: LocalPath) -> Result<HashedFile, StoreError> {
        if let Some(size) = self.huge.get(&path.0) {
            return Ok(self.hash_huge(path, *size));
        }
        let Some((bytes, mtime)) = self.files.get(&path.0).cloned() else {
            return Err(StoreError::NotFound(path));
        };
        let content = ContentId(*blake3::hash(&bytes).as_bytes());
        let chunks: Vec<&[u8]> = bytes.chunks(CHUNK_LEN as usize).collect();
        let list: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| *blake3::hash(chunk).as_bytes())
            .collect();
        if chunks.len() > 1 {
            let mut builder = OutboardBuilder::new();
            let mut pages = Vec::new();
            for (index, chunk) in chunks.iter().enumerate() {
                pages.extend(
                    builder.push(subtree_of(chunk, index as u64 * u64::from(CHUNK_LEN)).unwrap()),
                );
            }
            let outboard = builder.finish().unwrap();
            assert_eq!(outboard.content, content);
            pages.push(outboard.last_page);
            let lists = list
                .chunks(OUTBOARD_PAGE as usize * 32)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>();
            for (kind, rows) in [
                (OutboardKind::Subtrees, pages),
                (OutboardKind::Chunks, lists),
            ] {
                for (page, row) in rows.into_iter().enumerate() {
                    let key = outboard_key(&content, kind, page as u32);
                    self.rows
                        .insert((Table::Outboard, key.clone()), row.clone().into());
                    self.durable.insert((Table::Outboard, key), row.into());
                }
            }
        }
        let mut chunk_list_hash = *blake3::hash(&list).as_bytes();
        if let Some((of, false_bytes)) = &self.lie
            && *of == path.0
        {
            let chunks = false_bytes.chunks(CHUNK_LEN as usize);
            let list: Vec<u8> = chunks
                .flat_map(|chunk| *blake3::hash(chunk).as_bytes())
                .collect();
            chunk_list_hash = match false_bytes.as_slice() {
                [] => [0; 32],
                _ => *blake3::hash(&list).as_bytes(),
            };
        }
        Ok(HashedFile {
            file: FileRef {
                path,
                size: bytes.len() as u64,
                mtime_ns: mtime,
            },
            content,
            chunk_count: chunks.len() as u32,
            chunk_list_hash,
        })
    }

    fn resume(
        &self,
        part: &PartRef,
        content: &ContentId,
        size: u64,
        kind: OutboardKind,
        verified: &Bitmap,
    ) -> Resumed {
        let path = final_path(part);
        if let Some((bytes, mtime_ns)) = self.files.get(&path) {
            let right = bytes.len() as u64 == size && blake3::hash(bytes).as_bytes() == &content.0;
            let file = FileRef {
                path: LocalPath(path),
                size,
                mtime_ns: *mtime_ns,
            };
            return if right {
                Resumed::Complete(file)
            } else {
                Resumed::Occupied
            };
        }
        let Some(bytes) = self.file(&part_path(part)) else {
            return Resumed::Fresh;
        };
        let count = chunk_count(size).unwrap();
        let mut have = Bitmap::new(count);
        for index in 0..count {
            let offset = u64::from(index) * u64::from(CHUNK_LEN);
            let len = chunk_len(size, index).unwrap() as usize;
            let Some(chunk) = bytes.get(offset as usize..offset as usize + len) else {
                continue;
            };
            if verified.contains(index) || self.proves(content, kind, count, index, chunk, offset) {
                have.set(index);
            }
        }
        if have.count() == 0 {
            Resumed::Fresh
        } else {
            Resumed::Partial(have)
        }
    }

    fn proves(
        &self,
        content: &ContentId,
        kind: OutboardKind,
        count: u32,
        index: u32,
        chunk: &[u8],
        offset: u64,
    ) -> bool {
        if count == 1 {
            return blake3::hash(chunk).as_bytes() == &content.0;
        }
        let key = outboard_key(content, kind, index / OUTBOARD_PAGE);
        let Some(row) = self.rows.get(&(Table::Outboard, key)) else {
            return false;
        };
        let Some(hash) = row
            .get((index % OUTBOARD_PAGE) as usize * 32..)
            .and_then(|rest| rest.get(..32))
        else {
            return false;
        };
        match kind {
            OutboardKind::Subtrees => {
                subtree_of(chunk, offset).as_ref().map(|value| &value[..]) == Some(hash)
            }
            OutboardKind::Chunks | OutboardKind::Claimed => {
                &blake3::hash(chunk).as_bytes()[..] == hash
            }
        }
    }
}

fn final_path(part: &PartRef) -> String {
    format!("{}/{}", part.root.0, part.rel)
}

fn part_path(part: &PartRef) -> String {
    format!("{}.part", final_path(part))
}
