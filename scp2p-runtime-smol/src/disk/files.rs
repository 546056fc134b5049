//! Pieces of files that are served in place.

use std::fs::File;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, pread};
use scp2p_proto::storage::{FileRef, LocalPath, StoreError};

use super::error::on_path;

/// Reads a piece of a file that is as it was when it was hashed, into a buffer of its own.
///
/// The file is opened anew for each piece: that costs little against reading one, and no open
/// file outlives a deletion or a replacement.
pub(super) fn read_piece(file: &FileRef, offset: u64, len: u32) -> Result<Bytes, StoreError> {
    let changed = || StoreError::Changed(file.path.clone());
    let (opened, stat) = open_plain(&file.path)?;
    if !is_as_hashed(file, &stat) {
        return Err(changed());
    }
    let mut piece = Vec::with_capacity(len as usize);
    read_exactly(&opened, &mut piece, offset, len as usize, &file.path)?;
    let stat = fstat(&opened).map_err(|error| on_path(&file.path, error))?;
    if !is_as_hashed(file, &stat) {
        return Err(changed());
    }
    Ok(Bytes::from(piece))
}

/// Opens a plain file for reading. Never waits for the other end of a pipe.
pub(super) fn open_plain(path: &LocalPath) -> Result<(File, Stat), StoreError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = openat(CWD, path.0.as_str(), flags, Mode::empty()).map_err(|error| match error {
        Errno::NXIO | Errno::NODEV => StoreError::Unsuitable(path.clone()),
        other => on_path(path, other),
    })?;
    let stat = fstat(&fd).map_err(|error| on_path(path, error))?;
    if !is_plain(&stat) {
        return Err(StoreError::Unsuitable(path.clone()));
    }
    Ok((File::from(fd), stat))
}

/// Replaces the contents of `buffer` by exactly `len` bytes of a file. A
/// file that ends before is [`StoreError::Changed`].
pub(super) fn read_exactly(
    file: &File,
    buffer: &mut Vec<u8>,
    offset: u64,
    len: usize,
    path: &LocalPath,
) -> Result<(), StoreError> {
    buffer.clear();
    buffer.reserve_exact(len);
    while buffer.len() < len {
        let at = offset.saturating_add(buffer.len() as u64);
        match pread(file, spare_capacity(buffer), at) {
            Ok(0) => return Err(StoreError::Changed(path.clone())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(on_path(path, error)),
        }
    }
    buffer.truncate(len);
    Ok(())
}

/// Whether this is a plain file.
pub(super) fn is_plain(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

/// A file's size.
pub(super) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// A file's modification time in nanoseconds since 1970, saturating.
pub(super) fn mtime_of(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos)
}

fn is_as_hashed(file: &FileRef, stat: &Stat) -> bool {
    let unknown = file.mtime_ns == FileRef::MTIME_UNKNOWN;
    size_of(stat) == file.size && (unknown || mtime_of(stat) == file.mtime_ns)
}
