//! Settings that cannot be used.

use std::fmt;
use std::path::PathBuf;

use super::Origin;

/// Why there are no settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingError {
    /// The value given here is not what the setting takes.
    Value {
        /// Where it was given.
        origin: Origin,
        /// The value.
        value: String,
        /// What the setting takes.
        takes: &'static str,
    },
    /// The environment variable is not UTF-8.
    NotUtf8(&'static str),
    /// The settings file cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A line of the settings file means nothing.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The name of a host to announce leads nowhere.
    Unresolved {
        /// The address as it was given.
        address: String,
        /// Why.
        reason: String,
    },
    /// The system knows no home directory to have a data directory in.
    NoHome,
    /// The current directory cannot be found out, so a relative path means nothing.
    NoCurrentDir(PathBuf),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Value {
                origin,
                value,
                takes,
            } => {
                write!(f, "{origin}: {value:?} is not {takes}")
            }
            SettingError::NotUtf8(name) => write!(f, "{name}: the value is not UTF-8"),
            SettingError::File { path, reason } => write!(
                f,
                "{}: the settings file cannot be read: {reason}",
                path.display()
            ),
            SettingError::Line {
                path,
                line,
                message,
            } => write!(f, "{}, line {line}: {message}", path.display()),
            SettingError::Unresolved { address, reason } => write!(
                f,
                "--announce {address}: {reason}; announce an address that leads here, or correct the name"
            ),
            SettingError::NoHome => {
                f.write_str("there is no home directory; name a data directory with --data-dir")
            }
            SettingError::NoCurrentDir(path) => {
                write!(
                    f,
                    "{}: the current directory is gone; give an absolute path",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for SettingError {}
