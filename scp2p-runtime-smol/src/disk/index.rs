//! The search index: a projection of the catalogs of subscriptions, kept with tantivy.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use scp2p_proto::id::{ManifestId, ShareId};
use scp2p_proto::record::Manifest;
use scp2p_proto::storage::{IndexOp, Table};
use tantivy::indexer::IndexWriterOptions;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyError, Term};

use super::query::{Fields, document};
use super::store::Store;
use super::words::Words;

/// The first line of a commit's payload; another one means an index to be made anew.
const VERSION: &str = "scp2p index 2";
/// What the writer buffers before it writes a segment; little more than the least it takes.
const WRITER_BYTES: usize = 20 << 20;
/// Changes closer together than this share a commit.
const COMMIT_DELAY: Duration = Duration::from_millis(300);

/// The index's thread, as the others see it. Requests are taken in order.
#[derive(Clone)]
pub(super) struct IndexThread {
    requests: mpsc::Sender<Request>,
}

enum Request {
    /// Apply changes.
    Apply(Vec<IndexOp>),
    /// Commit what was applied and give a view of it, or say why there is none.
    View(async_channel::Sender<Result<Searcher, String>>),
    /// The index turned out to be damaged.
    Damaged,
    /// Nothing follows.
    End,
}

impl IndexThread {
    /// Starts the thread; it opens or makes the index in `dir`. It ends, with
    /// everything committed, after [`IndexThread::end`].
    pub(super) fn start(
        dir: PathBuf,
        store: Arc<Store>,
    ) -> io::Result<(IndexThread, JoinHandle<()>)> {
        let (requests, queue) = mpsc::channel();
        let indexer = Indexer {
            dir,
            store,
            open: None,
            failure: String::new(),
            wanted: BTreeMap::new(),
            changed: None,
        };
        let handle = thread::Builder::new()
            .name("scp2p-index".to_owned())
            .spawn(move || indexer.run(&queue))?;
        Ok((IndexThread { requests }, handle))
    }

    /// Queues changes.
    pub(super) fn apply(&self, ops: Vec<IndexOp>) {
        let _ = self.requests.send(Request::Apply(ops));
    }

    /// Has the index made anew.
    pub(super) fn damaged(&self) {
        let _ = self.requests.send(Request::Damaged);
    }

    /// Ends the thread after what is queued.
    pub(super) fn end(&self) {
        let _ = self.requests.send(Request::End);
    }

    /// A view of the index with all changes queued before; none if the thread is gone,
    /// an error if there is no index.
    pub(super) async fn view(&self) -> Option<Result<Searcher, String>> {
        let (reply, view) = async_channel::bounded(1);
        self.requests.send(Request::View(reply)).ok()?;
        view.recv().await.ok()
    }
}

struct Indexer {
    dir: PathBuf,
    store: Arc<Store>,
    open: Option<OpenIndex>,
    /// Why nothing is open.
    failure: String,
    /// What the index was asked to hold since the start, to make it anew.
    wanted: BTreeMap<ShareId, ManifestId>,
    /// When the first change was made that is not committed.
    changed: Option<Instant>,
}

impl Indexer {
    fn run(mut self, queue: &Receiver<Request>) {
        self.open_or_remake();
        loop {
            let request = match self.changed {
                None => queue.recv().map_err(RecvTimeoutError::from),
                Some(since) => queue.recv_timeout(COMMIT_DELAY.saturating_sub(since.elapsed())),
            };
            match request {
                Ok(Request::Apply(ops)) => self.apply(ops),
                Ok(Request::View(reply)) => {
                    self.commit();
                    let view = self.open.as_ref().map(|open| open.reader.searcher());
                    let _ = reply.try_send(view.ok_or_else(|| self.failure.clone()));
                }
                Ok(Request::Damaged) => self.remake("a search found it damaged"),
                Err(RecvTimeoutError::Timeout) => self.commit(),
                Ok(Request::End) | Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
        }
    }

    fn apply(&mut self, ops: Vec<IndexOp>) {
        if self.open.is_none() {
            self.remake("trying again");
        }
        for op in ops {
            match &op {
                IndexOp::Set(share, manifest) => drop(self.wanted.insert(*share, *manifest)),
                IndexOp::Retain(shares) => self.wanted.retain(|share, _| shares.contains(share)),
            }
            let Some(open) = &mut self.open else { continue };
            let changed = match op {
                IndexOp::Set(share, manifest) => open.set(share, manifest, &self.store),
                IndexOp::Retain(shares) => Ok(open.retain(&shares)),
            };
            match changed {
                Ok(true) => self.changed = self.changed.or_else(|| Some(Instant::now())),
                Ok(false) => {}
                Err(error) => self.remake(&error.to_string()),
            }
        }
    }

    fn commit(&mut self) {
        if self.changed.take().is_some()
            && let Some(open) = &mut self.open
            && let Err(error) = open.commit()
        {
            self.remake(&error.to_string());
        }
    }

    fn open_or_remake(&mut self) {
        // A damaged index may make its reader panic.
        match catch_unwind(AssertUnwindSafe(|| OpenIndex::open(&self.dir))) {
            Ok(Ok(open)) => self.open = Some(open),
            Ok(Err(error)) => self.remake(&error.to_string()),
            Err(_) => self.remake("opening it failed"),
        }
    }

    /// Throws the index away and makes it anew of the stored manifests.
    fn remake(&mut self, reason: &str) {
        if self.dir.exists() {
            tracing::info!(reason, "the search index is made anew");
        }
        self.open = None;
        self.changed = None;
        let made = OpenIndex::create(&self.dir).and_then(|mut open| {
            for (share, manifest) in &self.wanted {
                open.set(*share, *manifest, &self.store)?;
            }
            open.commit()?;
            Ok(open)
        });
        match made {
            Ok(open) => self.open = Some(open),
            Err(error) => self.failure = error.to_string(),
        }
    }
}

/// An index that is open for writing.
struct OpenIndex {
    fields: Fields,
    words: Words,
    writer: IndexWriter,
    reader: IndexReader,
    /// Which manifest each share's entries are of.
    marks: BTreeMap<ShareId, ManifestId>,
}

impl OpenIndex {
    fn open(dir: &Path) -> Result<OpenIndex, TantivyError> {
        let damaged = |what: &str| TantivyError::InvalidArgument(what.to_owned());
        let index = Index::open_in_dir(dir)?;
        let (schema, fields) = Fields::schema();
        if index.schema() != schema {
            return Err(damaged("it is of another version"));
        }
        if !index.validate_checksum()?.is_empty() {
            return Err(damaged("a file of it is damaged"));
        }
        let payload = index.load_metas()?.payload.unwrap_or_default();
        let marks = parse_marks(&payload).ok_or_else(|| damaged("it is of another version"))?;
        OpenIndex::of(&index, fields, marks)
    }

    fn create(dir: &Path) -> Result<OpenIndex, TantivyError> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        DirBuilder::new().mode(0o700).create(dir)?;
        let (schema, fields) = Fields::schema();
        OpenIndex::of(&Index::create_in_dir(dir, schema)?, fields, BTreeMap::new())
    }

    fn of(
        index: &Index,
        fields: Fields,
        marks: BTreeMap<ShareId, ManifestId>,
    ) -> Result<OpenIndex, TantivyError> {
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_BYTES)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer = index.writer_with_options(options)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(OpenIndex {
            fields,
            words: Words::new(),
            writer,
            reader,
            marks,
        })
    }

    /// Replaces a share's entries; whether anything changed.
    fn set(
        &mut self,
        share: ShareId,
        manifest: ManifestId,
        store: &Store,
    ) -> Result<bool, TantivyError> {
        if self.marks.get(&share) == Some(&manifest) {
            return Ok(false);
        }
        let row = store.read(Table::Manifests, &Bytes::copy_from_slice(&manifest.0));
        let Some(bytes) = row.map_err(|error| TantivyError::SystemError(error.to_string()))? else {
            tracing::warn!(%share, %manifest, "no such manifest to index");
            return Ok(false);
        };
        self.remove(share);
        match Manifest::decode(&bytes) {
            Ok(decoded) => {
                for item in &decoded.items {
                    self.writer.add_document(document(
                        &self.fields,
                        &mut self.words,
                        share,
                        &decoded,
                        item,
                    ))?;
                }
                self.marks.insert(share, manifest);
            }
            Err(error) => {
                tracing::warn!(%share, %manifest, %error, "a stored manifest cannot be read")
            }
        }
        Ok(true)
    }

    /// Removes the entries of all other shares; whether anything changed.
    fn retain(&mut self, shares: &[ShareId]) -> bool {
        let gone: Vec<ShareId> = self
            .marks
            .keys()
            .filter(|share| !shares.contains(share))
            .copied()
            .collect();
        for share in &gone {
            self.remove(*share);
        }
        !gone.is_empty()
    }

    fn remove(&mut self, share: ShareId) {
        self.writer
            .delete_term(Term::from_field_bytes(self.fields.share, &share.0));
        self.marks.remove(&share);
    }

    fn commit(&mut self) -> Result<(), TantivyError> {
        let payload = marks_text(&self.marks);
        let mut prepared = self.writer.prepare_commit()?;
        prepared.set_payload(&payload);
        prepared.commit()?;
        self.reader.reload()
    }
}

fn marks_text(marks: &BTreeMap<ShareId, ManifestId>) -> String {
    let mut text = VERSION.to_owned();
    for (share, manifest) in marks {
        text.push_str(&format!("\n{share} {manifest}"));
    }
    text
}

fn parse_marks(text: &str) -> Option<BTreeMap<ShareId, ManifestId>> {
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return None;
    }
    let mark = |line: &str| {
        let (share, manifest) = line.split_once(' ')?;
        Some((share.parse().ok()?, manifest.parse().ok()?))
    };
    lines.map(mark).collect()
}
