//! The disk through its public interface, on real files.

mod downloads;
mod hashing;
mod rows;
mod searching;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_lite::future::block_on;
use scp2p_proto::id::{CommitId, LoadId, WriteId};
use scp2p_proto::path::RelPath;
use scp2p_proto::storage::{
    Batch, Load, Loaded, LocalPath, PartRef, PieceWrite, RowOp, Saved, StoreError, Table,
    WriteError,
};
use tempfile::TempDir;

use super::{Completions, Disk, DiskEvent};

/// An open disk whose calls wait for their answers.
struct Rig {
    disk: Disk,
    completions: Completions,
    saved: Saved,
    ids: AtomicU64,
}

impl Rig {
    fn open(dir: &Path) -> Rig {
        let (disk, saved, completions) = Disk::open(dir).expect("disk opens");
        Rig {
            disk,
            completions,
            saved,
            ids: AtomicU64::new(0),
        }
    }

    fn load(&self, load: Load) -> Result<Loaded, StoreError> {
        let id = LoadId(self.id());
        self.disk.load(id, load);
        let event = self.next();
        let DiskEvent::Loaded(answered, result) = event else {
            panic!("not the load's answer: {other:?}", other = event);
        };
        assert_eq!(answered, id);
        result
    }

    fn write(&self, piece: PieceWrite) -> Result<(), WriteError> {
        let id = WriteId(self.id());
        self.disk.write(id, piece);
        let event = self.next();
        let DiskEvent::Written(answered, result) = event else {
            panic!("not the write's answer: {other:?}", other = event);
        };
        assert_eq!(answered, id);
        result
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let id = CommitId(self.id());
        self.disk.commit(id, batch);
        let event = self.next();
        let DiskEvent::Committed(answered, result) = event else {
            panic!("not the commit's answer: {other:?}", other = event);
        };
        assert_eq!(answered, id);
        result
    }

    fn row(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        match self.load(Load::Row(table, Bytes::copy_from_slice(key))) {
            Ok(Loaded::Row(row)) => row,
            other => panic!("not a row: {other:?}"),
        }
    }

    fn next(&self) -> DiskEvent {
        block_on(self.completions.next()).expect("disk is open")
    }

    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

fn temp() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn local(path: &Path) -> LocalPath {
    LocalPath(path.to_str().expect("UTF-8").to_owned())
}

fn rel(path: &str) -> RelPath {
    RelPath::from_untrusted(path).expect("path")
}

fn part(root: &Path, path: &str) -> PartRef {
    PartRef {
        root: local(root),
        rel: rel(path),
    }
}

fn put(table: Table, key: &str, value: &str) -> RowOp {
    RowOp::Put(
        table,
        Bytes::copy_from_slice(key.as_bytes()),
        Bytes::copy_from_slice(value.as_bytes()),
    )
}

/// Bytes that repeat nowhere near a chunk's length.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// What a data directory holds at this moment, as a process that is killed now leaves it.
fn killed_copy(dir: &Path) -> TempDir {
    let copy = temp();
    std::fs::copy(dir.join("store.redb"), copy.path().join("store.redb"))
        .expect("copy of the store");
    copy
}

fn file(dir: &Path, name: &str, data: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, data).expect("file");
    path
}
