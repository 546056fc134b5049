//! What can go wrong in a demonstration.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use crate::api::ClientError;

/// Why a demonstration failed.
#[derive(Debug)]
pub enum DemoError {
    /// A file or folder cannot be used.
    File(PathBuf, io::Error),
    /// There is neither a plain file nor a folder with a UTF-8 name to publish.
    NotPublishable(PathBuf),
    /// A node cannot be started.
    Spawn(&'static str, io::Error),
    /// A node ended before it was ready; its log tells why.
    NotReady(&'static str),
    /// A node did not answer, or refused.
    Node(&'static str, ClientError),
    /// Something did not happen in time.
    Late(&'static str, String, Duration),
    /// A download did not complete.
    Download(&'static str, String),
    /// The catalog is not what was published.
    Catalog {
        /// What is in one but not in the other.
        path: String,
    },
    /// Publishing again did not make the next revision of the same share.
    NotNext {
        /// The share it made.
        share: String,
        /// The revision it made.
        seq: u64,
    },
    /// The search did not find a file by a word of its name.
    NotFound(String),
    /// A file arrived with other bytes.
    Differs(PathBuf),
    /// There is a file that nobody published.
    Surplus(PathBuf),
    /// A download was not shared by those who could have given to it.
    OneGiver(&'static str),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the demonstration failed: ")?;
        match self {
            DemoError::File(path, error) => write!(f, "{}: {error}", path.display()),
            DemoError::NotPublishable(path) => {
                write!(
                    f,
                    "{}: name a file or a folder whose name is UTF-8",
                    path.display()
                )
            }
            DemoError::Spawn(name, error) => write!(f, "the {name} cannot be started: {error}"),
            DemoError::NotReady(name) => {
                write!(f, "the {name} did not get ready; see its log above")
            }
            DemoError::Node(name, error) => write!(f, "the {name}: {error}"),
            DemoError::Late(name, what, limit) => {
                write!(
                    f,
                    "the {name}: {what} did not happen within {} s",
                    limit.as_secs()
                )
            }
            DemoError::Download(name, reason) => write!(f, "the {name}'s download: {reason}"),
            DemoError::Catalog { path } => {
                write!(
                    f,
                    "the catalog that arrived is not what was published: {path:?}"
                )
            }
            DemoError::NotNext { share, seq } => {
                write!(
                    f,
                    "publishing again made revision {seq} of share {share}, not the next of the same share"
                )
            }
            DemoError::NotFound(word) => write!(
                f,
                "the search for {word:?} did not find the file of that name"
            ),
            DemoError::Differs(path) => {
                write!(f, "{}: not the bytes that were published", path.display())
            }
            DemoError::Surplus(path) => write!(f, "{}: nobody published this", path.display()),
            DemoError::OneGiver(name) => write!(f, "the {name}'s download came from one node only"),
        }
    }
}

impl std::error::Error for DemoError {}
