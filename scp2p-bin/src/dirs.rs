//! The data directory.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::settings::{Origin, Setting, SettingError};

/// Mode of the data directory: nobody else has business in it.
const DIR_MODE: u32 = 0o700;

/// The data directory: the option's, else that of SCP2P_DATA_DIR, else the user's own
/// (`~/.local/share/scp2p` on Linux); absolute.
///
/// # Errors
/// It is empty, or there is no home directory.
pub fn data_dir(
    option: Option<&Path>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, SettingError> {
    let setting = Setting::DataDir;
    let given = match (option, env(setting.variable())) {
        (Some(dir), _) => Some((Origin::Option(setting.option()), dir.to_owned())),
        (None, Some(dir)) => Some((Origin::Variable(setting.variable()), dir.into())),
        (None, None) => None,
    };
    absolute_data_dir(given)
}

/// The data directory that was given, or the user's own; absolute.
///
/// # Errors
/// It is empty, or there is no home directory.
pub fn absolute_data_dir(given: Option<(Origin, PathBuf)>) -> Result<PathBuf, SettingError> {
    let Some((origin, dir)) = given else {
        let dirs = directories::ProjectDirs::from("", "", "scp2p").ok_or(SettingError::NoHome)?;
        return Ok(dirs.data_dir().to_owned());
    };
    if dir.as_os_str().is_empty() {
        return Err(SettingError::Value {
            origin,
            value: String::new(),
            takes: "a directory",
        });
    }
    std::path::absolute(&dir).map_err(|_| SettingError::NoCurrentDir(dir))
}

/// The control socket in a data directory.
pub fn control_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Where the results of the last search are kept, so that they can be named by number.
pub fn last_search(data_dir: &Path) -> PathBuf {
    data_dir.join("last-search.json")
}

/// Makes the data directory if it is not there, and sees that it is the user's own and closed to
/// others. An open directory with files in it is left as it is: it may be anything.
///
/// # Errors
/// It cannot be used.
pub fn prepare(dir: &Path) -> Result<(), DataDirError> {
    let failed = |error: io::Error| DataDirError::Io(dir.to_owned(), error);
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(dir)
        .map_err(failed)?;
    let metadata = fs::metadata(dir).map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(DataDirError::Foreign(dir.to_owned()));
    }
    if metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    if fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(DataDirError::Open(dir.to_owned()));
    }
    fs::set_permissions(dir, Permissions::from_mode(DIR_MODE)).map_err(failed)
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DataDirError {
    /// It belongs to somebody else.
    Foreign(PathBuf),
    /// Others can read it, and there are files in it.
    Open(PathBuf),
    /// The system refuses.
    Io(PathBuf, io::Error),
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataDirError::Foreign(dir) => {
                write!(
                    f,
                    "{}: the data directory belongs to another user; choose one with --data-dir",
                    dir.display()
                )
            }
            DataDirError::Open(dir) => write!(
                f,
                "{0}: other users can enter this directory; if it is the data directory, run: chmod 700 {0}",
                dir.display()
            ),
            DataDirError::Io(dir, error) => write!(
                f,
                "{}: not usable as data directory: {error}",
                dir.display()
            ),
        }
    }
}

impl std::error::Error for DataDirError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").mode() & 0o777
    }

    #[test]
    fn a_new_or_empty_directory_is_closed_to_others() {
        let temp = tempfile::tempdir().expect("temp");
        let new = temp.path().join("a/b");
        prepare(&new).expect("made");
        assert_eq!(mode(&new), 0o700);

        let empty = temp.path().join("empty");
        fs::create_dir(&empty).expect("made");
        fs::set_permissions(&empty, Permissions::from_mode(0o755)).expect("opened");
        prepare(&empty).expect("closed");
        assert_eq!(mode(&empty), 0o700);
    }

    #[test]
    fn an_open_directory_with_files_is_not_touched() {
        let temp = tempfile::tempdir().expect("temp");
        let dir = temp.path().join("dir");
        fs::create_dir(&dir).expect("made");
        fs::write(dir.join("file"), "x").expect("written");
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("opened");
        assert!(matches!(prepare(&dir), Err(DataDirError::Open(_))));
        assert_eq!(mode(&dir), 0o755);
    }

    #[test]
    fn a_file_is_no_data_directory() {
        let temp = tempfile::tempdir().expect("temp");
        let file = temp.path().join("file");
        fs::write(&file, "x").expect("written");
        assert!(matches!(prepare(&file), Err(DataDirError::Io(..))));
        assert!(matches!(
            prepare(&file.join("below")),
            Err(DataDirError::Io(..))
        ));
    }
}
