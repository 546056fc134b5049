//! The file that holds the node's secret key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use scp2p_proto::keys::Keys;

use crate::entropy;
use crate::options::StartError;

/// The file's name in the data folder.
const NAME: &str = "node.key";
/// What it is called until it is whole.
const NAME_UNFINISHED: &str = "node.key.new";

/// Reads the key, or makes one that survives a crash from now on. The data folder is locked by the
/// caller.
pub(crate) fn load_or_create(dir: &Path) -> Result<Keys, StartError> {
    let path = dir.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => {
            let seed = bytes
                .try_into()
                .map_err(|_| StartError::BadKeyFile { path })?;
            Ok(Keys::from_seed(seed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed = entropy::seed()?;
            create(dir, &seed).map_err(|error| StartError::Io { path, error })?;
            Ok(Keys::from_seed(seed))
        }
        Err(error) => Err(StartError::Io { path, error }),
    }
}

fn create(dir: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let unfinished = dir.join(NAME_UNFINISHED);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(seed)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(NAME))?;
    // The new name is durable only with its folder; other systems have no such call.
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key stays the same from start to start, and only its owner can read it.
    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(NAME_UNFINISHED), "left by a crash").expect("a file");
        let first = load_or_create(dir.path()).expect("a key").public();
        let second = load_or_create(dir.path()).expect("a key").public();
        assert_eq!(first, second);
        assert!(!dir.path().join(NAME_UNFINISHED).exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.path().join(NAME))
                .expect("the file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let other = tempfile::tempdir().expect("a folder");
        assert_ne!(load_or_create(other.path()).expect("a key").public(), first);
    }

    /// A damaged file is an error, never a reason for a new identity.
    #[test]
    fn a_damaged_key_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(NAME), [7; 31]).expect("a file");
        let error = load_or_create(dir.path()).expect_err("31 bytes are no key");
        assert!(matches!(error, StartError::BadKeyFile { path } if path.ends_with(NAME)));
    }
}
