//! System errors as the node knows them.

use std::io;

use rustix::io::Errno;
use scp2p_proto::path::RelPath;
use scp2p_proto::storage::{LocalPath, StoreError};

/// What an error on a path of the user's means.
pub(super) fn on_path(path: &LocalPath, error: Errno) -> StoreError {
    match error {
        Errno::NOENT | Errno::NOTDIR => StoreError::NotFound(path.clone()),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => StoreError::Denied(path.clone()),
        Errno::NOSPC | Errno::DQUOT => StoreError::Full,
        other => StoreError::Failed(format!("{path}: {}", io::Error::from(other))),
    }
}

/// The same for an error of the standard library.
pub(super) fn on_path_io(path: &LocalPath, error: &io::Error) -> StoreError {
    match Errno::from_io_error(error) {
        Some(errno) => on_path(path, errno),
        None => StoreError::Failed(format!("{path}: {error}")),
    }
}

/// What an error below a download's folder means: anything but a folder or a plain
/// file on the way, or at the end of it, is an obstruction.
pub(super) fn beneath(root: &LocalPath, rel: &RelPath, error: Errno) -> StoreError {
    match error {
        Errno::LOOP
        | Errno::NOTDIR
        | Errno::ISDIR
        | Errno::EXIST
        | Errno::NXIO
        | Errno::XDEV
        | Errno::NODEV => StoreError::Obstructed(rel.clone()),
        other => on_path(&place(root, rel), other),
    }
}

/// The absolute path of `rel` below `root`.
pub(super) fn place(root: &LocalPath, rel: &RelPath) -> LocalPath {
    LocalPath(format!("{}/{}", root.0.trim_end_matches('/'), rel.as_str()))
}

/// Whether an error says that no space is left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT)
    )
}
