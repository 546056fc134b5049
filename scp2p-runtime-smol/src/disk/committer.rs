//! The thread that applies batches, strictly in order.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_channel::Sender;
use scp2p_proto::id::CommitId;
use scp2p_proto::storage::{Batch, RowOp, StoreError};

use super::DiskEvent;
use super::index::IndexThread;
use super::parts::{self, Parts};
use super::store::Store;

/// How long an answered batch that is not urgent may stay in memory only.
const FLUSH_DELAY: Duration = Duration::from_secs(2);
/// Bytes of rows that wait no longer.
const UNFLUSHED_MAX: usize = 8 << 20;
/// Batches that share their flushes; it bounds how long the first of them waits.
const GROUP_MAX: usize = 512;

/// What the committer is handed, in order.
pub(super) enum Task {
    /// Apply a batch whose rows are staged.
    Batch(StagedBatch),
    /// Do this after the batches before: it needs their file work.
    Then(Box<dyn FnOnce() + Send>),
    /// Nothing follows.
    End,
}

/// A batch whose rows are staged.
pub(super) struct StagedBatch {
    /// Who is to be answered; none for rows of the driver's own.
    pub(super) id: Option<CommitId>,
    /// Its number in the store.
    pub(super) seq: u64,
    /// What to apply.
    pub(super) batch: Batch,
}

/// Applies batches in groups: one flush of files and one transaction serve all that are queued.
pub(super) struct Committer {
    store: Arc<Store>,
    parts: Arc<Parts>,
    index: IndexThread,
    events: Sender<DiskEvent>,
    /// Rows of answered batches that are not durable, in order.
    unflushed: Vec<(u64, Vec<RowOp>)>,
    unflushed_bytes: usize,
    /// When they are to be made durable.
    flush_at: Option<Instant>,
    /// The last flush failed, so no batch is answered before it is durable.
    failing: bool,
}

impl Committer {
    /// Starts the thread. It ends after [`Task::End`], with everything durable that can be.
    pub(super) fn start(
        store: Arc<Store>,
        parts: Arc<Parts>,
        index: IndexThread,
        events: Sender<DiskEvent>,
        tasks: Receiver<Task>,
    ) -> io::Result<JoinHandle<()>> {
        let committer = Committer {
            store,
            parts,
            index,
            events,
            unflushed: Vec::new(),
            unflushed_bytes: 0,
            flush_at: None,
            failing: false,
        };
        thread::Builder::new()
            .name("scp2p-commit".to_owned())
            .spawn(move || committer.run(&tasks))
    }

    fn run(mut self, tasks: &Receiver<Task>) {
        let mut next = None;
        loop {
            let task = match next.take() {
                Some(task) => Ok(task),
                None => self.wait(tasks),
            };
            match task {
                Ok(Task::Batch(first)) => {
                    let group;
                    (group, next) = gather(first, tasks);
                    self.carry_out(group);
                }
                Ok(Task::Then(job)) => job(),
                Err(RecvTimeoutError::Timeout) => drop(self.flush(&[])),
                Ok(Task::End) | Err(RecvTimeoutError::Disconnected) => {
                    return drop(self.flush(&[]));
                }
            }
        }
    }

    fn wait(&self, tasks: &Receiver<Task>) -> Result<Task, RecvTimeoutError> {
        match self.flush_at {
            None => tasks.recv().map_err(RecvTimeoutError::from),
            Some(at) => tasks.recv_timeout(at.saturating_duration_since(Instant::now())),
        }
    }

    /// Files first, then rows, then the index, then the answers.
    fn carry_out(&mut self, group: Vec<StagedBatch>) {
        group
            .iter()
            .for_each(|staged| self.parts.wait_written(&staged.batch));
        let batches: Vec<&Batch> = group.iter().map(|staged| &staged.batch).collect();
        let results = parts::carry_out(&batches, &self.parts);
        let mut accepted = Vec::new();
        for (staged, result) in group.into_iter().zip(results) {
            match result {
                Ok(()) => accepted.push(staged),
                Err(error) => self.refuse(&staged, error),
            }
        }
        let waiting: usize = accepted
            .iter()
            .map(|staged| size_of(&staged.batch.rows))
            .sum();
        let is_urgent = accepted.iter().any(|staged| staged.batch.urgent);
        if !is_urgent && !self.failing && self.unflushed_bytes + waiting <= UNFLUSHED_MAX {
            self.flush_at = self
                .flush_at
                .or_else(|| (waiting > 0).then(|| Instant::now() + FLUSH_DELAY));
            self.unflushed_bytes += waiting;
            for mut staged in accepted {
                let rows = std::mem::take(&mut staged.batch.rows);
                self.unflushed.push((staged.seq, rows));
                self.accept(staged);
            }
            return;
        }
        match self.flush(&accepted) {
            Ok(()) => accepted.into_iter().for_each(|staged| self.accept(staged)),
            Err(error) => accepted
                .iter()
                .for_each(|staged| self.refuse(staged, error.clone())),
        }
    }

    /// Makes durable what waits and then what these batches say, all of it or nothing.
    fn flush(&mut self, batches: &[StagedBatch]) -> Result<(), StoreError> {
        let waiting = self.unflushed.iter().map(|(seq, rows)| (*seq, rows));
        let rows = || {
            waiting.clone().chain(
                batches
                    .iter()
                    .map(|staged| (staged.seq, &staged.batch.rows)),
            )
        };
        if rows().any(|(_, rows)| !rows.is_empty())
            && let Err(error) = self.store.apply(rows().flat_map(|(_, rows)| rows))
        {
            tracing::warn!(%error, "the store refused a transaction");
            self.failing = true;
            self.flush_at = (!self.unflushed.is_empty()).then(|| Instant::now() + FLUSH_DELAY);
            return Err(error);
        }
        rows().for_each(|(seq, rows)| self.store.unstage(seq, rows));
        self.unflushed.clear();
        self.unflushed_bytes = 0;
        self.flush_at = None;
        self.failing = false;
        Ok(())
    }

    fn accept(&self, mut staged: StagedBatch) {
        let ops = std::mem::take(&mut staged.batch.index);
        if !ops.is_empty() {
            self.index.apply(ops);
        }
        self.answer(&staged, Ok(()));
    }

    fn refuse(&self, staged: &StagedBatch, error: StoreError) {
        self.store.unstage(staged.seq, &staged.batch.rows);
        self.answer(staged, Err(error));
    }

    fn answer(&self, staged: &StagedBatch, result: Result<(), StoreError>) {
        self.parts.end_batch(&staged.batch);
        if let Some(id) = staged.id {
            let _ = self.events.try_send(DiskEvent::Committed(id, result));
        }
    }
}

/// The batches queued behind `first` that can share its flushes, and the task after them. A batch
/// that discards starts a group, because discards come first in one.
fn gather(first: StagedBatch, tasks: &Receiver<Task>) -> (Vec<StagedBatch>, Option<Task>) {
    let mut group = vec![first];
    while group.len() < GROUP_MAX {
        match tasks.try_recv() {
            Ok(Task::Batch(staged)) if staged.batch.discard.is_empty() => group.push(staged),
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

/// Bytes of keys and values.
fn size_of(rows: &[RowOp]) -> usize {
    let bytes = |row: &RowOp| match row {
        RowOp::Put(_, key, value) => key.len() + value.len(),
        RowOp::Delete(_, key) => key.len(),
    };
    rows.iter().map(bytes).sum()
}
