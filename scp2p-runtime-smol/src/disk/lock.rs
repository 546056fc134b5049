//! One node per data directory.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::OpenError;

/// The name of the file that is locked.
const FILE: &str = "lock";

/// The right to use a data directory, held until it is dropped; the system takes
/// it back from a process that dies.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory, private to its owner, where it is missing, and locks it.
    pub(super) fn acquire(dir: &Path) -> Result<DirLock, OpenError> {
        let failed = |error| OpenError::Io {
            path: dir.to_owned(),
            error,
        };
        make_private(dir).map_err(failed)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(dir.join(FILE))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(OpenError::Busy {
                path: dir.to_owned(),
            }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_at_a_time_and_is_private() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let dir = parent.path().join("a/b");
        let lock = DirLock::acquire(&dir).expect("first lock");
        assert!(matches!(DirLock::acquire(&dir), Err(OpenError::Busy { path }) if path == dir));
        drop(lock);
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("open up");
        let _lock = DirLock::acquire(&dir).expect("free again");
        let mode = fs::metadata(&dir).expect("directory").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
