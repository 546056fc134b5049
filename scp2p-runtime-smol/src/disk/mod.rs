//! Loads, writes, commits and searches, carried out on threads of their own.
//!
//! ```text
//! load  ─┬─ rows, pieces ─────────────▶ quick threads ─┐
//!        └─ scan, hash, resume ───────▶ slow threads ──┤ hash pages
//! write ──── check, write ────────────▶ quick threads  ▼
//! commit ─── stage rows ──────────────▶ committer: files, rows, index ops ─▶ index thread
//! search ──────────── view ◀── index thread; lookup on the quick threads
//! ```
//!
//! Rows are visible to loads from the moment they are committed. Whatever needs the file
//! work of a batch that is still queued goes through the committer's queue.

mod beneath;
mod committer;
mod error;
mod files;
mod hash;
mod index;
mod lock;
mod parts;
mod pieces;
mod pool;
mod query;
mod resume;
mod scan;
mod search;
mod store;
#[cfg(test)]
mod tests;
mod turns;
mod words;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use async_channel::{Receiver, Sender};
use scp2p_proto::id::{CommitId, LoadId, WriteId};
use scp2p_proto::storage::{
    Batch, HashedFile, Load, Loaded, PieceWrite, Resumed, RowOp, Saved, StoreError, WriteError,
};

use committer::{Committer, StagedBatch, Task};
use hash::HashLoad;
use index::IndexThread;
use lock::DirLock;
use parts::Parts;
use pieces::PieceWriter;
use pool::Pool;
use resume::Resume;
pub use search::{PAGE_MAX, SearchError, SearchHit, SearchPage, SearchQuery};
use store::Store;
use turns::Turns;

/// Threads for rows, pieces and searches at least: some wait for the disk while others hash.
const QUICK_THREADS_MIN: usize = 4;

thread_local! {
    /// Each thread's, as its buffer is as large as a chunk.
    static WRITER: RefCell<PieceWriter> = RefCell::default();
}

/// The disk of one node: its data directory, the files it serves and those it downloads.
///
/// No call blocks. The node bounds what it has outstanding, so queues inside have no bound of
/// their own. Dropping the last clone writes what is still soft and waits for the threads.
#[derive(Clone)]
pub struct Disk(Arc<Threads>);

impl Disk {
    /// Opens the data directory and makes it, private to the user, where it is missing.
    /// Blocks while the rows of resident tables are read.
    pub fn open(dir: &Path) -> Result<(Disk, Saved, Completions), OpenError> {
        let lock = DirLock::acquire(dir)?;
        let (store, saved) = Store::open(dir)?;
        let (threads, completions) =
            Threads::start(dir, store, lock).map_err(|error| OpenError::Io {
                path: dir.to_owned(),
                error,
            })?;
        Ok((Disk(Arc::new(threads)), saved, completions))
    }

    /// Carries out a load; it sees all earlier commits. Answered by [`DiskEvent::Loaded`].
    pub fn load(&self, id: LoadId, load: Load) {
        let shared = self.0.shared.clone();
        match load {
            Load::Row(table, key) => self.0.shared.quick.run(move || {
                let row = shared.store.read(table, &key);
                shared.loaded(id, row.map(Loaded::Row));
            }),
            Load::Piece { file, offset, len } => self.0.shared.quick.run(move || {
                let piece = files::read_piece(&file, offset, len);
                shared.loaded(id, piece.map(Loaded::Piece));
            }),
            Load::Scan { roots, files_max } => {
                let ordered = self.0.shared.parts.any_batch();
                self.0.shared.slow(ordered, move || {
                    let found = scan::scan(&roots, files_max);
                    shared.loaded(id, found.map(Loaded::Scan));
                });
            }
            Load::Hash(paths) => {
                let ordered = self.0.shared.parts.any_batch();
                self.0.shared.slow(ordered, move || {
                    let (pool, stop) = (shared.slow.clone(), shared.stop.clone());
                    HashLoad::start(paths, &pool, &stop, HashAnswer { shared, id });
                });
            }
            Load::Resume {
                part,
                content,
                size,
                kind,
                verified,
            } => {
                let ordered = !self.0.shared.parts.begin_resume(&part, size);
                let resume = Resume {
                    part,
                    content,
                    size,
                    kind,
                    verified,
                };
                self.0.shared.slow(ordered, move || {
                    let found = resume.run(&shared.store, &shared.stop);
                    if let Ok(Resumed::Complete(_) | Resumed::Occupied) = found {
                        shared.parts.forget(&resume.part);
                    }
                    shared.loaded(id, found.map(Loaded::Resume));
                });
            }
        }
    }

    /// Checks and writes a piece. Answered by [`DiskEvent::Written`].
    pub fn write(&self, id: WriteId, piece: PieceWrite) {
        self.0.shared.write(id, piece);
    }

    /// Applies a batch after all earlier ones. Answered by [`DiskEvent::Committed`].
    pub fn commit(&self, id: CommitId, batch: Batch) {
        self.0.shared.commit(Some(id), batch);
    }

    /// Searches the catalogs of subscriptions; index changes of answered commits are seen.
    pub async fn search(&self, query: SearchQuery) -> Result<SearchPage, SearchError> {
        if !(1..=PAGE_MAX).contains(&query.limit) {
            return Err(SearchError::Limit(query.limit));
        }
        let index = &self.0.shared.index;
        let view = index
            .view()
            .await
            .ok_or(SearchError::Stopping)?
            .map_err(SearchError::Unavailable)?;
        let (reply, page) = async_channel::bounded(1);
        self.0.shared.quick.run(move || {
            let _ = reply.try_send(query::find(&view, &query));
        });
        // No answer at all: the lookup panicked, as a damaged index may make it.
        let found = page
            .recv()
            .await
            .map_err(|_| "the lookup failed".to_owned());
        found
            .and_then(|found| found.map_err(|error| error.to_string()))
            .map_err(|text| {
                index.damaged();
                SearchError::Unavailable(text)
            })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// All threads; dropping it ends them.
struct Threads {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    _lock: DirLock,
}

impl Threads {
    fn start(dir: &Path, store: Store, lock: DirLock) -> io::Result<(Threads, Completions)> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (store, parts) = (Arc::new(store), Arc::new(Parts::default()));
        let (events, completions) = async_channel::unbounded();
        let (quick, mut others) = Pool::start("scp2p-disk", cores.max(QUICK_THREADS_MIN))?;
        let (slow, slow_handles) = Pool::start("scp2p-hash", cores)?;
        others.extend(slow_handles);
        let (index, index_handle) = IndexThread::start(dir.join("index"), store.clone())?;
        let (tasks, queue) = mpsc::channel();
        let committer = Committer::start(
            store.clone(),
            parts.clone(),
            index.clone(),
            events.clone(),
            queue,
        )?;
        others.push(index_handle);
        let shared = Shared {
            store,
            parts,
            turns: Turns::default(),
            index,
            quick,
            slow,
            events,
            stop: Arc::default(),
            commits: Mutex::new(Commits { seq: 0, tasks }),
        };
        Ok((
            Threads {
                shared: Arc::new(shared),
                committer: Some(committer),
                others,
                _lock: lock,
            },
            Completions(completions),
        ))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.stop.store(true, Ordering::Relaxed);
        let _ = shared.commits().tasks.send(Task::End);
        // The committer waits for pieces that it hands to the pools, so they end after it.
        join(self.committer.take());
        shared.quick.close();
        shared.slow.close();
        shared.index.end();
        join(self.others.drain(..));
    }
}

fn join(handles: impl IntoIterator<Item = JoinHandle<()>>) {
    for handle in handles {
        let _ = handle.join();
    }
}

/// What threads and callers use together.
struct Shared {
    store: Arc<Store>,
    parts: Arc<Parts>,
    turns: Turns,
    index: IndexThread,
    quick: Pool,
    slow: Pool,
    events: Sender<DiskEvent>,
    /// Set when the disk is closed: long work gives up.
    stop: Arc<AtomicBool>,
    commits: Mutex<Commits>,
}

/// The way into the committer; under one lock, so that batches are staged in the order they are applied.
struct Commits {
    seq: u64,
    tasks: mpsc::Sender<Task>,
}

impl Shared {
    fn commit(&self, id: Option<CommitId>, batch: Batch) {
        self.parts.begin_batch(&batch);
        let mut commits = self.commits();
        commits.seq += 1;
        let seq = commits.seq;
        self.store.stage(seq, &batch.rows);
        let _ = commits
            .tasks
            .send(Task::Batch(StagedBatch { id, seq, batch }));
    }

    fn write(self: &Arc<Self>, id: WriteId, piece: PieceWrite) {
        let shared = self.clone();
        if self.parts.begin_write(&piece.part, piece.size) {
            self.quick.run(move || shared.finish_write(id, piece));
            return;
        }
        // A queued batch may discard what this would write.
        self.then(move || {
            shared.parts.begin_ordered_write(&piece.part, piece.size);
            let quick = shared.quick.clone();
            quick.run(move || shared.finish_write(id, piece));
        });
    }

    /// Checks a piece and writes it if it is right, and pieces that came to wait for their turn.
    fn finish_write(&self, id: WriteId, piece: PieceWrite) {
        if !piece.is_right() {
            return self.written(id, &piece, Err(WriteError::WrongBytes));
        }
        let Some(mut turn) = self.turns.join(id, piece) else {
            return;
        };
        WRITER.with_borrow_mut(|writer| {
            while let Some((id, piece)) = turn.next() {
                let result = writer.put(&piece).map_err(WriteError::Store);
                self.written(id, &piece, result);
            }
        });
    }

    fn written(&self, id: WriteId, piece: &PieceWrite, result: Result<(), WriteError>) {
        self.parts.end_write(&piece.part);
        let _ = self.events.try_send(DiskEvent::Written(id, result));
    }

    /// Runs a job on a slow thread, after the queued batches if it needs their file work.
    fn slow(self: &Arc<Self>, ordered: bool, job: impl FnOnce() + Send + 'static) {
        if ordered {
            let slow = self.slow.clone();
            self.then(move || slow.run(job));
        } else {
            self.slow.run(job);
        }
    }

    fn then(&self, job: impl FnOnce() + Send + 'static) {
        let _ = self.commits().tasks.send(Task::Then(Box::new(job)));
    }

    fn loaded(&self, id: LoadId, result: Result<Loaded, StoreError>) {
        let _ = self.events.try_send(DiskEvent::Loaded(id, result));
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a hash load.
struct HashAnswer {
    shared: Arc<Shared>,
    id: LoadId,
}

impl hash::Sink for HashAnswer {
    fn keep(&self, rows: Vec<RowOp>) {
        // Before anything that is committed later.
        self.shared.commit(
            None,
            Batch {
                rows,
                ..Batch::default()
            },
        );
    }

    fn done(&self, files: Vec<Result<HashedFile, StoreError>>) {
        self.shared.loaded(self.id, Ok(Loaded::Hash(files)));
    }
}

/// What a [`Disk`] has finished, each id once, in no particular order.
#[derive(Debug)]
pub struct Completions(Receiver<DiskEvent>);

impl Completions {
    /// The next one; none once the disk is gone.
    pub async fn next(&self) -> Option<DiskEvent> {
        self.0.recv().await.ok()
    }
}

/// The end of something asked of a [`Disk`].
#[derive(Debug)]
pub enum DiskEvent {
    /// A load came to its end.
    Loaded(LoadId, Result<Loaded, StoreError>),
    /// A piece was checked and written, or was not.
    Written(WriteId, Result<(), WriteError>),
    /// A batch is as durable as asked, or was not applied at all.
    Committed(CommitId, Result<(), StoreError>),
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another node uses it.
    Busy {
        /// The data directory.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The version of its layout.
        found: u64,
    },
    /// The store is damaged beyond repair; the text is the store's.
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Busy { path } => write!(
                f,
                "{}: another node uses this data directory; stop it or name another one",
                path.display()
            ),
            OpenError::Newer { path, found } => write!(
                f,
                "{}: written by a newer version (layout {found}); use that version",
                path.display()
            ),
            OpenError::Damaged { path, reason } => write!(
                f,
                "{}: damaged ({reason}); restore it from a backup or move it away",
                path.display()
            ),
            OpenError::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}
