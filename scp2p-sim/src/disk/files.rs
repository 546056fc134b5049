//! Files: pieces of them, and which of those a crash leaves alone.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use scp2p_proto::content::{OutboardBuilder, chunk_count, chunk_len};
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::path::PART_SUFFIX;
use scp2p_proto::rng::Rng;
use scp2p_proto::storage::{FileRef, LocalPath, PartRef, ScannedFile, StoreError};

use super::chunks::{Chunks, Piece};

/// What a file is durable by that nothing can undo.
pub(super) const ALWAYS: u64 = 0;

/// A file. Where no piece lies is a hole, which reads as zeros.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) len: u64,
    pub(super) mtime_ns: i64,
    pieces: BTreeMap<u32, Stored>,
    /// The commit by which it is durable that there is such a file.
    entry: Option<u64>,
}

/// What lies at a chunk's place.
#[derive(Debug, Clone)]
struct Stored {
    piece: Piece,
    /// The commit by which it is durable.
    synced: Option<u64>,
    /// What was there before, if it may come back.
    under: Option<Box<Stored>>,
}

impl File {
    /// A file without bytes, not durable.
    pub(super) fn empty(mtime_ns: i64) -> File {
        File {
            len: 0,
            mtime_ns,
            pieces: BTreeMap::new(),
            entry: None,
        }
    }

    /// A durable file of these bytes.
    pub(super) fn of(
        parts: impl IntoIterator<Item = Bytes>,
        mtime_ns: i64,
        chunks: &mut Chunks,
    ) -> File {
        let mut file = File::empty(mtime_ns);
        let mut rest = BytesMut::new();
        for part in parts {
            if rest.is_empty() && part.len() == CHUNK_LEN as usize {
                file.append(chunks.intern(&part));
                continue;
            }
            rest.extend_from_slice(&part);
            while rest.len() >= CHUNK_LEN as usize {
                file.append(chunks.intern(&rest.split_to(CHUNK_LEN as usize)));
            }
        }
        if !rest.is_empty() {
            file.append(chunks.intern(&rest));
        }
        file.settle();
        file
    }

    /// A chunk, holes filled with zeros; none beyond the end.
    pub(super) fn chunk(&self, index: u32) -> Option<Piece> {
        let len = chunk_len(self.len, index)? as usize;
        let data = self.pieces.get(&index).map(|stored| &stored.piece);
        match data {
            Some(piece) if piece.data.len() == len => Some(piece.clone()),
            piece => {
                let mut data = piece.map_or_else(Vec::new, |piece| piece.data.to_vec());
                data.resize(len, 0);
                Some(Piece::alone(data))
            }
        }
    }

    /// Whether something was written at a chunk's place.
    pub(super) fn has(&self, index: u32) -> bool {
        self.pieces.contains_key(&index)
    }

    /// All chunks in order.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Piece> + '_ {
        let count = chunk_count(self.len).unwrap_or(0);
        (0..count).filter_map(|index| self.chunk(index))
    }

    /// Bytes within the file, without a copy where they are a chunk or within one.
    pub(super) fn read(&self, offset: u64, len: u32) -> Bytes {
        let end = offset + u64::from(len);
        let mut bytes = BytesMut::new();
        let mut at = offset;
        while at < end {
            let Some(piece) = self.chunk(index_of(at)) else {
                break;
            };
            let start = (at % u64::from(CHUNK_LEN)) as usize;
            let take = (piece.data.len() - start).min((end - at) as usize);
            let slice = piece.data.slice(start..start + take);
            if take == len as usize {
                return slice;
            }
            bytes.extend_from_slice(&slice);
            at += take as u64;
        }
        bytes.freeze()
    }

    /// BLAKE3 of the whole, of the hashes that are known.
    pub(super) fn content(&self, chunks: &mut Chunks) -> ContentId {
        if self.len <= u64::from(CHUNK_LEN) {
            return ContentId(self.chunk(0).unwrap_or_else(|| Piece::alone(&[][..])).hash);
        }
        let mut builder = OutboardBuilder::new();
        for (index, piece) in (0..).zip(self.chunks()) {
            if let Some(value) = chunks.subtree(&piece, start_of(index)) {
                builder.push(value);
            }
        }
        let outboard = builder.finish().expect("more than one chunk was pushed");
        outboard.content
    }

    /// Puts a piece to a chunk's place, not durable. What was `durable` there may come back.
    pub(super) fn write(&mut self, index: u32, piece: Piece, durable: u64) {
        self.len = self.len.max(start_of(index) + piece.len());
        let Some(mut old) = self.pieces.remove(&index) else {
            self.pieces.insert(index, Stored::fresh(piece, None));
            return;
        };
        let piece = over(piece, &old.piece);
        if old.piece.hash == piece.hash {
            self.pieces.insert(index, old);
            return;
        }
        if old.is_durable(durable) {
            old.under = None;
        }
        let under = match old.synced {
            Some(_) => Some(Box::new(old)),
            None => old.under,
        };
        self.pieces.insert(index, Stored::fresh(piece, under));
    }

    /// Changes bytes in place; the whole file is durable then.
    pub(super) fn edit(&mut self, offset: u64, bytes: &[u8], chunks: &mut Chunks) {
        self.len = self.len.max(offset + bytes.len() as u64);
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let index = index_of(at);
            let start = (at % u64::from(CHUNK_LEN)) as usize;
            let take = rest.len().min(CHUNK_LEN as usize - start);
            let (now, later) = rest.split_at(take);
            let mut data = self
                .chunk(index)
                .map_or_else(Vec::new, |piece| piece.data.to_vec());
            data.resize(data.len().max(start + take), 0);
            data[start..start + take].copy_from_slice(now);
            let piece = chunks.intern(&data);
            self.pieces.insert(index, Stored::fresh(piece, None));
            at += take as u64;
            rest = later;
        }
        self.settle();
    }

    /// Cuts the file.
    pub(super) fn truncate(&mut self, len: u64) {
        self.len = len;
        let count = chunk_count(len).unwrap_or(0);
        self.pieces.retain(|index, _| *index < count);
        if let Some((index, stored)) = self.pieces.last_key_value() {
            let index = *index;
            let room = len - start_of(index);
            if stored.piece.len() > room {
                let piece = Piece::alone(stored.piece.data.slice(..room as usize));
                let cut = Stored {
                    piece,
                    synced: stored.synced,
                    under: None,
                };
                self.pieces.insert(index, cut);
            }
        }
    }

    /// What is written is durable by this commit.
    pub(super) fn sync(&mut self, commit: u64) {
        self.entry.get_or_insert(commit);
        for stored in self.pieces.values_mut() {
            stored.synced.get_or_insert(commit);
        }
    }

    /// This commit has not happened.
    pub(super) fn unsync(&mut self, commit: u64) {
        self.entry.take_if(|by| *by == commit);
        for stored in self.pieces.values_mut() {
            stored.synced.take_if(|by| *by == commit);
        }
    }

    /// Makes everything durable for good.
    pub(super) fn settle(&mut self) {
        self.entry = Some(ALWAYS);
        for stored in self.pieces.values_mut() {
            stored.synced = Some(ALWAYS);
            stored.under = None;
        }
    }

    /// Whether nothing can undo that there is such a file.
    pub(super) fn is_settled(&self) -> bool {
        self.entry == Some(ALWAYS)
    }

    /// The system went down: what no commit up to `survivor` made durable is kept, lost or torn. Whether the
    /// file is still there.
    pub(super) fn crash(&mut self, survivor: u64, rng: &mut Rng) -> bool {
        let pieces = std::mem::take(&mut self.pieces);
        let before = pieces.len();
        for (index, stored) in pieces {
            if let Some(piece) = stored.after_crash(survivor, rng) {
                self.pieces.insert(index, Stored::fresh(piece, None));
            }
        }
        if self.pieces.len() < before && rng.chance(1, 2) {
            let end = |(index, stored): (&u32, &Stored)| start_of(*index) + stored.piece.len();
            self.len = self.pieces.last_key_value().map_or(0, end);
        }
        let named = self.entry.is_some_and(|by| by <= survivor);
        let stays = named || !self.pieces.is_empty() || rng.chance(1, 2);
        self.settle();
        stays
    }

    /// A reference to it as it is.
    pub(super) fn reference(&self, path: &str) -> FileRef {
        FileRef {
            path: LocalPath(path.to_owned()),
            size: self.len,
            mtime_ns: self.mtime_ns,
        }
    }

    /// Whether it is as it was when it was hashed.
    pub(super) fn is_as_hashed(&self, file: &FileRef) -> bool {
        let unknown = file.mtime_ns == FileRef::MTIME_UNKNOWN;
        self.len == file.size && (unknown || self.mtime_ns == file.mtime_ns)
    }

    fn append(&mut self, piece: Piece) {
        let index = chunk_count(self.len).unwrap_or(0);
        self.len += piece.len();
        self.pieces.insert(index, Stored::fresh(piece, None));
    }
}

impl Stored {
    fn fresh(piece: Piece, under: Option<Box<Stored>>) -> Stored {
        Stored {
            piece,
            synced: None,
            under,
        }
    }

    fn is_durable(&self, survivor: u64) -> bool {
        self.synced.is_some_and(|by| by <= survivor)
    }

    fn after_crash(self, survivor: u64, rng: &mut Rng) -> Option<Piece> {
        if self.is_durable(survivor) {
            return Some(self.piece);
        }
        let under = self.under.and_then(|old| old.after_crash(survivor, rng));
        match rng.below(3) {
            0 => Some(self.piece),
            1 => under,
            _ => Some(torn(&self.piece, under, rng)),
        }
    }
}

/// A piece of which only the first bytes were written, over what lay there: zeros or garbage if nothing did.
fn torn(piece: &Piece, under: Option<Piece>, rng: &mut Rng) -> Piece {
    let cut = rng.below(piece.len()) as usize;
    let mut data = match under {
        Some(old) => old.data.to_vec(),
        None => {
            let mut data = vec![0; piece.data.len()];
            if rng.chance(1, 2) {
                rng.fill(&mut data);
            }
            data
        }
    };
    data.resize(data.len().max(piece.data.len()), 0);
    data[..cut].copy_from_slice(&piece.data[..cut]);
    Piece::alone(data)
}

/// A piece written over another, of which the end stays if that is longer.
fn over(piece: Piece, old: &Piece) -> Piece {
    match old.data.get(piece.data.len()..) {
        None | Some([]) => piece,
        Some(end) => Piece::alone([&piece.data[..], end].concat()),
    }
}

fn index_of(offset: u64) -> u32 {
    u32::try_from(offset / u64::from(CHUNK_LEN)).expect("files are shorter than 1 TiB")
}

/// Where a chunk starts.
pub(super) fn start_of(index: u32) -> u64 {
    u64::from(index) * u64::from(CHUNK_LEN)
}

/// All files by path. Folders are where files are.
#[derive(Debug, Default)]
pub(super) struct Files(pub(super) BTreeMap<String, File>);

impl Files {
    /// A file that a user named.
    pub(super) fn plain(&self, path: &LocalPath) -> Result<&File, StoreError> {
        match self.0.get(&path.0) {
            Some(file) => Ok(file),
            None if self.is_folder(&path.0) => Err(StoreError::Unsuitable(path.clone())),
            None => Err(StoreError::NotFound(path.clone())),
        }
    }

    /// That nothing but folders is on the way to a part, and no folder in its place.
    pub(super) fn check_way(&self, part: &PartRef) -> Result<(), StoreError> {
        let root = part.root.0.trim_end_matches('/');
        if self.0.contains_key(root) {
            return Err(StoreError::NotFound(part.root.clone()));
        }
        let place = place(part);
        let below_root = place.char_indices().skip_while(|(at, _)| *at <= root.len());
        let mut folders = below_root
            .filter(|(_, char)| *char == '/')
            .map(|(at, _)| &place[..at]);
        if folders.any(|folder| self.0.contains_key(folder)) || self.is_folder(&part_place(part)) {
            return Err(StoreError::Obstructed(part.rel.clone()));
        }
        Ok(())
    }

    /// Whether files are below this path.
    pub(super) fn is_folder(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }

    /// Lists all files below files and folders, sorted by their place in the catalog.
    pub(super) fn scan(
        &self,
        roots: &[LocalPath],
        files_max: u32,
    ) -> Result<Vec<ScannedFile>, StoreError> {
        let mut found = Vec::new();
        for root in roots {
            let path = root.0.trim_end_matches('/');
            let parent = path.rfind('/').map_or(0, |slash| slash + 1);
            let itself = self.0.get_key_value(path);
            let before = found.len();
            for (path, file) in itself.into_iter().chain(self.below(path)) {
                if found.len() >= files_max as usize {
                    return Err(StoreError::TooMany(files_max));
                }
                found.push(ScannedFile {
                    path: LocalPath(path.clone()),
                    rel: path[parent..].trim_start_matches('/').to_owned(),
                    size: file.len,
                });
            }
            if found.len() == before {
                return Err(StoreError::NotFound(root.clone()));
            }
        }
        found.sort_by(|a, b| (&a.rel, &a.path).cmp(&(&b.rel, &b.path)));
        found.dedup();
        Ok(found)
    }

    fn below(&self, path: &str) -> impl Iterator<Item = (&String, &File)> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.0
            .range(folder.clone()..)
            .take_while(move |(path, _)| path.starts_with(&folder))
    }
}

/// Where a download's file will be.
pub(super) fn place(part: &PartRef) -> String {
    format!("{}/{}", part.root.0.trim_end_matches('/'), part.rel)
}

/// Where it is until it is complete.
pub(super) fn part_place(part: &PartRef) -> String {
    format!("{}{PART_SUFFIX}", place(part))
}
