//! Files hashed for publication.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{Advice, fadvise, fstat};
use scp2p_proto::content::{OutboardBuilder, chunk_count};
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::{CHUNK_LEN, CONTENT_LEN_MAX};
use scp2p_proto::storage::{
    FileRef, HashedFile, LocalPath, OUTBOARD_PAGE, OutboardKind, RowOp, StoreError, Table,
    outboard_key,
};

use super::error::on_path;
use super::files::{mtime_of, open_plain, read_exactly, size_of};
use super::parts::subtree;
use super::pool::Pool;

/// How much is read at a time: large enough for the disk, small enough for the processor's cache.
const STRIDE: u64 = 1 << 20;
/// What one thread hashes of a file before it looks for more.
const SEGMENT: u64 = 8 << 20;
/// Bytes of a hash.
const HASH_LEN: usize = 32;

/// Hashes files on all threads of a pool, small ones side by side and large ones in segments.
/// Takes 64 bytes of memory for each chunk of the files being hashed.
pub(super) struct HashLoad {
    paths: Vec<LocalPath>,
    pool: Pool,
    stop: Arc<AtomicBool>,
    next: AtomicUsize,
    results: Mutex<Results>,
    sink: Box<dyn Sink>,
}

/// Where hashes go.
pub(super) trait Sink: Send + Sync + 'static {
    /// Takes the hash pages of one file, before the results.
    fn keep(&self, rows: Vec<RowOp>);

    /// Takes one result per file, in order; called once.
    fn done(&self, files: Vec<Result<HashedFile, StoreError>>);
}

struct Results {
    files: Vec<Option<Result<HashedFile, StoreError>>>,
    missing: usize,
}

impl HashLoad {
    /// Starts hashing. When `stop` is set, the rest fails.
    pub(super) fn start(
        paths: Vec<LocalPath>,
        pool: &Pool,
        stop: &Arc<AtomicBool>,
        sink: impl Sink,
    ) {
        let count = paths.len();
        if count == 0 {
            return sink.done(Vec::new());
        }
        let load = Arc::new(HashLoad {
            paths,
            pool: pool.clone(),
            stop: stop.clone(),
            next: AtomicUsize::new(0),
            results: Mutex::new(Results {
                files: vec![None; count],
                missing: count,
            }),
            sink: Box::new(sink),
        });
        for _ in 0..count.min(pool.threads()) {
            let load = load.clone();
            pool.run(move || load.work());
        }
    }

    fn work(&self) {
        while let Some((index, path)) = self.claim() {
            let result = self.hash(path);
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.files[index] = Some(result);
            results.missing -= 1;
            if results.missing == 0 {
                let files = std::mem::take(&mut results.files);
                self.sink.done(files.into_iter().flatten().collect());
            }
        }
    }

    fn claim(&self) -> Option<(usize, &LocalPath)> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.paths.get(index).map(|path| (index, path))
    }

    fn hash(&self, path: &LocalPath) -> Result<HashedFile, StoreError> {
        let (file, before) = open_plain(path)?;
        let size = size_of(&before);
        let hashed = if size <= u64::from(CHUNK_LEN) {
            hash_small(&file, size, path)?
        } else {
            self.hash_large(
                file.try_clone()
                    .map_err(|error| super::error::on_path_io(path, &error))?,
                size,
                path,
            )?
        };
        let after = fstat(&file).map_err(|error| on_path(path, error))?;
        if size_of(&after) != size || mtime_of(&after) != mtime_of(&before) {
            return Err(StoreError::Changed(path.clone()));
        }
        if !hashed.rows.is_empty() {
            self.sink.keep(hashed.rows);
        }
        Ok(HashedFile {
            file: FileRef {
                path: path.clone(),
                size,
                mtime_ns: mtime_of(&after),
            },
            content: hashed.content,
            chunk_count: hashed.chunk_count,
            chunk_list_hash: hashed.chunk_list_hash,
        })
    }

    fn hash_large(&self, file: File, size: u64, path: &LocalPath) -> Result<Hashed, StoreError> {
        let too_large = || StoreError::Failed(format!("{path}: larger than 1 TiB; split it"));
        let chunks = chunk_count(size)
            .filter(|_| size <= CONTENT_LEN_MAX)
            .ok_or_else(too_large)?;
        let segments = size.div_ceil(SEGMENT);
        let large = Arc::new(LargeFile {
            file,
            path: path.clone(),
            size,
            segments,
            next: AtomicU64::new(0),
            threads: self.pool.threads() as u64,
            failed: AtomicBool::new(false),
            stop: self.stop.clone(),
        });
        let (sender, receiver) = mpsc::channel();
        for _ in 1..segments.min(large.threads) {
            let (large, sender) = (large.clone(), sender.clone());
            self.pool.run(move || large.work(&sender));
        }
        large.work(&sender);
        // A helper whose turn has not come holds a sender too, so results are counted.
        let mut pairs = vec![HashPair::default(); chunks as usize];
        for _ in 0..segments {
            let (segment, found) = receiver
                .recv()
                .map_err(|_| StoreError::Failed(format!("{path}: hashing failed")))?;
            let start = (segment * (SEGMENT / u64::from(CHUNK_LEN))) as usize;
            for (pair, found) in pairs[start..].iter_mut().zip(found?) {
                *pair = found;
            }
        }
        Hashed::of_chunks(&pairs).ok_or_else(too_large)
    }
}

/// Both hashes of one chunk.
#[derive(Debug, Clone, Copy, Default)]
struct HashPair {
    subtree: [u8; HASH_LEN],
    alone: [u8; HASH_LEN],
}

/// A file that several threads hash.
struct LargeFile {
    file: File,
    path: LocalPath,
    size: u64,
    segments: u64,
    next: AtomicU64,
    threads: u64,
    failed: AtomicBool,
    stop: Arc<AtomicBool>,
}

impl LargeFile {
    fn work(&self, results: &Sender<(u64, Result<Vec<HashPair>, StoreError>)>) {
        let mut buffer = Vec::new();
        loop {
            let segment = self.next.fetch_add(1, Ordering::Relaxed);
            if segment >= self.segments {
                return;
            }
            // The disk reads what is claimed next while this is hashed; it is only a hint.
            let ahead = segment.saturating_add(self.threads).saturating_mul(SEGMENT);
            let _ = fadvise(&self.file, ahead, SEGMENT.try_into().ok(), Advice::WillNeed);
            let result = self.hash_segment(segment, &mut buffer);
            if result.is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            let _ = results.send((segment, result));
        }
    }

    fn hash_segment(
        &self,
        segment: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Vec<HashPair>, StoreError> {
        let mut pairs = Vec::with_capacity((SEGMENT / u64::from(CHUNK_LEN)) as usize);
        let mut at = segment * SEGMENT;
        let end = self.size.min(at + SEGMENT);
        while at < end {
            if self.failed.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed) {
                return Err(StoreError::Failed(format!(
                    "{}: hashing was stopped",
                    self.path
                )));
            }
            let len = STRIDE.min(end - at);
            read_exactly(&self.file, buffer, at, len as usize, &self.path)?;
            for chunk in buffer.chunks(CHUNK_LEN as usize) {
                pairs.push(HashPair {
                    subtree: subtree(chunk, at),
                    alone: blake3::hash(chunk).into(),
                });
                at += chunk.len() as u64;
            }
        }
        Ok(pairs)
    }
}

/// What hashing gives, and the rows to store for it.
struct Hashed {
    content: ContentId,
    chunk_count: u32,
    chunk_list_hash: [u8; HASH_LEN],
    rows: Vec<RowOp>,
}

fn hash_small(file: &File, size: u64, path: &LocalPath) -> Result<Hashed, StoreError> {
    let mut data = Vec::new();
    read_exactly(file, &mut data, 0, size as usize, path)?;
    let content = blake3::hash(&data);
    // The chunk list of an empty file is empty.
    let list: &[u8] = if data.is_empty() {
        &[]
    } else {
        content.as_bytes()
    };
    Ok(Hashed {
        content: ContentId(content.into()),
        chunk_count: u32::from(!data.is_empty()),
        chunk_list_hash: blake3::hash(list).into(),
        rows: Vec::new(),
    })
}

impl Hashed {
    /// From the hashes of at least two chunks.
    fn of_chunks(pairs: &[HashPair]) -> Option<Hashed> {
        let mut builder = OutboardBuilder::new();
        let mut subtrees: Vec<Vec<u8>> = pairs
            .iter()
            .filter_map(|pair| builder.push(pair.subtree))
            .collect();
        let outboard = builder.finish()?;
        subtrees.push(outboard.last_page);
        let mut list = blake3::Hasher::new();
        let mut pages = Vec::new();
        for page in pairs.chunks(OUTBOARD_PAGE as usize) {
            let page: Vec<u8> = page.iter().flat_map(|pair| pair.alone).collect();
            list.update(&page);
            pages.push(page);
        }
        let mut rows = Vec::with_capacity(subtrees.len() + pages.len());
        for (kind, pages) in [
            (OutboardKind::Subtrees, subtrees),
            (OutboardKind::Chunks, pages),
        ] {
            rows.extend((0..).zip(pages).map(|(number, page)| {
                RowOp::Put(
                    Table::Outboard,
                    outboard_key(&outboard.content, kind, number),
                    Bytes::from(page),
                )
            }));
        }
        Some(Hashed {
            content: outboard.content,
            chunk_count: u32::try_from(pairs.len()).ok()?,
            chunk_list_hash: list.finalize().into(),
            rows,
        })
    }
}
