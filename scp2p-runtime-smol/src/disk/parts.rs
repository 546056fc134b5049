//! Files being downloaded: pieces checked and written, made durable, moved to their names.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use blake3::hazmat::HasherExt;
use rustix::fs::{
    AtFlags, OFlags, RenameFlags, fstat, fsync, ftruncate, renameat, renameat_with, statat, syncfs,
    unlinkat,
};
use rustix::io::Errno;
use scp2p_proto::path::PART_SUFFIX;
use scp2p_proto::storage::{Batch, PartRef, StoreError};

use super::beneath::{Root, ancestors};
use super::error::{beneath, place};
use super::files::{is_plain, size_of};

/// More files than this are made durable by flushing their file system once:
/// that takes about as long as flushing a few files one by one.
const ONE_BY_ONE_MAX: usize = 8;

/// The chaining value of one chunk that starts at `offset` of a longer content.
pub(super) fn subtree(chunk: &[u8], offset: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(chunk);
    hasher.finalize_non_root()
}

/// Does the file work of batches that are independent of each other: discards all, then makes
/// durable what is to be synced and finished, then moves what is finished to its name. One result
/// per batch; what a failed batch has done already is done again when it is repeated.
pub(super) fn carry_out(batches: &[&Batch], parts: &Parts) -> Vec<Result<(), StoreError>> {
    let files: usize = batches
        .iter()
        .map(|batch| batch.sync.len() + batch.finish.len())
        .sum();
    let mut results: Vec<_> = batches
        .iter()
        .map(|batch| batch.discard.iter().try_for_each(discard))
        .collect();
    let mut step = |work: &dyn Fn(&Batch, &mut Syncer) -> Result<(), StoreError>| {
        let mut syncer = Syncer {
            whole: files > ONE_BY_ONE_MAX,
            systems: BTreeMap::new(),
        };
        for (batch, result) in batches.iter().zip(&mut results) {
            if result.is_ok() {
                *result = work(batch, &mut syncer);
            }
        }
        if let Err(error) = syncer.flush() {
            let failed = batches
                .iter()
                .zip(&mut results)
                .filter(|(batch, _)| has_files(batch));
            failed.for_each(|(_, result)| *result = Err(error.clone()));
        }
    };
    step(&|batch, syncer| {
        batch
            .sync
            .iter()
            .try_for_each(|part| prepare(part, None, syncer))?;
        batch
            .finish
            .iter()
            .try_for_each(|part| prepare(part, Some(parts.size(part)), syncer))
    });
    step(&|batch, syncer| {
        batch
            .finish
            .iter()
            .try_for_each(|part| finish(part, parts.size(part), syncer))
    });
    for (batch, result) in batches.iter().zip(&results) {
        let gone = batch
            .discard
            .iter()
            .chain(batch.finish.iter().filter(|_| result.is_ok()));
        gone.for_each(|part| parts.forget(part));
    }
    results
}

fn has_files(batch: &Batch) -> bool {
    !batch.sync.is_empty() || !batch.finish.is_empty()
}

fn discard(part: &PartRef) -> Result<(), StoreError> {
    let root = match Root::open(&part.root) {
        Ok(root) => root,
        Err(StoreError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    // What is no plain file, or not reached without links, is none of ours.
    let Ok(folder) = root.parent(part.rel.as_str()) else {
        return Ok(());
    };
    let name = format!("{}{PART_SUFFIX}", part.rel.file_name());
    match statat(&folder, &*name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_plain(&stat) => match unlinkat(&folder, &*name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(beneath(&part.root, &part.rel, error)),
        },
        Ok(_) | Err(_) => return Ok(()),
    }
    for folder in ancestors(&part.rel) {
        let name = folder.rsplit('/').next().unwrap_or(folder);
        let Ok(outer) = root.parent(folder) else {
            break;
        };
        if unlinkat(&outer, name, AtFlags::REMOVEDIR).is_err() {
            break;
        }
    }
    Ok(())
}

/// Makes what is written of a part durable. A part to be finished, for which `finished` holds
/// its size if that is known, is cut to it; it may be gone if it was finished before.
fn prepare(
    part: &PartRef,
    finished: Option<Option<u64>>,
    syncer: &mut Syncer,
) -> Result<(), StoreError> {
    let failed = |error| beneath(&part.root, &part.rel, error);
    let opened = match Root::open(&part.root) {
        Ok(root) => root.open_at(&part_name(part), WRITE).map_err(failed),
        Err(error) => Err(error),
    };
    let file = match (opened, finished) {
        (Err(StoreError::NotFound(_)), Some(_)) => return Ok(()),
        (opened, _) => opened?,
    };
    let len = check_own(part, &file)?;
    if let Some(Some(size)) = finished {
        if len < size {
            return Err(StoreError::Changed(place(&part.root, &part.rel)));
        }
        if len > size {
            ftruncate(&file, size).map_err(failed)?;
        }
    }
    syncer.add(file).map_err(failed)
}

/// Moves a durable part to its name, or finds that this has happened. An empty file is made here.
fn finish(part: &PartRef, size: Option<u64>, syncer: &mut Syncer) -> Result<(), StoreError> {
    let failed = |error| beneath(&part.root, &part.rel, error);
    let root = Root::open_or_create(&part.root)?;
    if size == Some(0) {
        root.make_parents(part.rel.as_str()).map_err(failed)?;
    }
    let folder = root.parent(part.rel.as_str()).map_err(failed)?;
    match move_to_name(&folder, part.rel.file_name()) {
        Ok(()) => {}
        Err(Errno::NOENT) => {
            match root.open_at(part.rel.as_str(), OFlags::RDONLY | OFlags::NONBLOCK) {
                Ok(file) => {
                    let stat = fstat(&file).map_err(failed)?;
                    if !is_plain(&stat) || size.is_some_and(|size| size != size_of(&stat)) {
                        return Err(StoreError::Obstructed(part.rel.clone()));
                    }
                }
                Err(Errno::NOENT) if size == Some(0) => {
                    root.create_at(part.rel.as_str(), WRITE | OFlags::EXCL)
                        .map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(error) => return Err(failed(error)),
    }
    syncer.add(folder).map_err(failed)?;
    for outer in ancestors(&part.rel) {
        syncer
            .add(root.parent(outer).map_err(failed)?)
            .map_err(failed)?;
    }
    Ok(())
}

fn move_to_name(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    let part = format!("{name}{PART_SUFFIX}");
    match renameat_with(folder, &*part, folder, name, RenameFlags::NOREPLACE) {
        // Not every file system knows the flag.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => renameat(folder, &*part, folder, name),
            Ok(_) => Err(Errno::EXIST),
            Err(error) => Err(error),
        },
        other => other,
    }
}

/// Makes files and folders durable: one by one, or many by flushing each file system.
struct Syncer {
    whole: bool,
    systems: BTreeMap<u64, OwnedFd>,
}

impl Syncer {
    fn add(&mut self, file: OwnedFd) -> Result<(), Errno> {
        if !self.whole {
            return fsync(&file);
        }
        let system = fstat(&file)?.st_dev;
        self.systems.entry(system).or_insert(file);
        Ok(())
    }

    fn flush(self) -> Result<(), StoreError> {
        self.systems
            .values()
            .try_for_each(syncfs)
            .map_err(|error| match error {
                Errno::NOSPC | Errno::DQUOT => StoreError::Full,
                other => StoreError::Failed(format!("flushing a file system: {other}")),
            })
    }
}

pub(super) const WRITE: OFlags = OFlags::WRONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// The place of a part file below its root.
pub(super) fn part_name(part: &PartRef) -> String {
    format!("{}{PART_SUFFIX}", part.rel)
}

/// That an opened part is a plain file with no other name, so that writing it
/// changes nothing else; its length.
pub(super) fn check_own(part: &PartRef, file: &OwnedFd) -> Result<u64, StoreError> {
    let stat = fstat(file).map_err(|error| beneath(&part.root, &part.rel, error))?;
    if !is_plain(&stat) || stat.st_nlink != 1 {
        return Err(StoreError::Obstructed(part.rel.clone()));
    }
    Ok(size_of(&stat))
}

/// What is going on with which part: pieces of a part and batches that take it away wait for each other.
#[derive(Default)]
pub(super) struct Parts {
    uses: Mutex<BTreeMap<PartRef, PartUse>>,
    written: Condvar,
}

#[derive(Default)]
struct PartUse {
    /// Pieces handed to a thread.
    writes: u32,
    /// Batches queued that take it away.
    batches: u32,
    /// How large it becomes, known since it was resumed or written.
    size: Option<u64>,
}

impl PartUse {
    fn is_idle(&self) -> bool {
        self.writes == 0 && self.batches == 0 && self.size.is_none()
    }
}

impl Parts {
    /// Counts a piece in, unless a queued batch comes first.
    pub(super) fn begin_write(&self, part: &PartRef, size: u64) -> bool {
        let mut uses = self.lock();
        let state = uses.entry(part.clone()).or_default();
        state.size = Some(size);
        let is_free = state.batches == 0;
        state.writes += u32::from(is_free);
        is_free
    }

    /// Counts a piece in whose turn has come; batches that are queued now come after it.
    pub(super) fn begin_ordered_write(&self, part: &PartRef, size: u64) {
        let mut uses = self.lock();
        let state = uses.entry(part.clone()).or_default();
        state.size = Some(size);
        state.writes += 1;
    }

    /// Counts a piece out.
    pub(super) fn end_write(&self, part: &PartRef) {
        if let Some(part) = self.lock().get_mut(part) {
            part.writes = part.writes.saturating_sub(1);
        }
        self.written.notify_all();
    }

    /// Remembers how large a part becomes; whether a queued batch comes first.
    pub(super) fn begin_resume(&self, part: &PartRef, size: u64) -> bool {
        let mut uses = self.lock();
        let part = uses.entry(part.clone()).or_default();
        part.size = Some(size);
        part.batches == 0
    }

    /// Counts a batch in.
    pub(super) fn begin_batch(&self, batch: &Batch) {
        let mut uses = self.lock();
        for part in taken_by(batch) {
            uses.entry(part.clone()).or_default().batches += 1;
        }
    }

    /// Waits for pieces, handed to a thread, of parts that the batch takes away.
    pub(super) fn wait_written(&self, batch: &Batch) {
        let mut uses = self.lock();
        while taken_by(batch).any(|part| uses.get(part).is_some_and(|part| part.writes > 0)) {
            uses = self
                .written
                .wait(uses)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts a batch out.
    pub(super) fn end_batch(&self, batch: &Batch) {
        let mut uses = self.lock();
        for part in taken_by(batch) {
            if let Some(state) = uses.get_mut(part) {
                state.batches = state.batches.saturating_sub(1);
                if state.is_idle() {
                    uses.remove(part);
                }
            }
        }
    }

    /// Whether any batch is queued that takes a part away.
    pub(super) fn any_batch(&self) -> bool {
        self.lock().values().any(|part| part.batches > 0)
    }

    fn size(&self, part: &PartRef) -> Option<u64> {
        self.lock().get(part).and_then(|part| part.size)
    }

    /// Forgets how large a part becomes: there is none any more.
    pub(super) fn forget(&self, part: &PartRef) {
        let mut uses = self.lock();
        if let Some(state) = uses.get_mut(part) {
            state.size = None;
            if state.is_idle() {
                uses.remove(part);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartRef, PartUse>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a batch takes away. Making durable what is written is no reason for others to wait.
fn taken_by(batch: &Batch) -> impl Iterator<Item = &PartRef> {
    batch.discard.iter().chain(&batch.finish)
}
