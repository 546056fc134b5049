//! What the local application asks of the node, and the answers.

use core::fmt;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::RelayLimits;
use crate::id::{ContentId, DownloadId, ManifestId, ShareId};
use crate::record::{Manifest, ShareLink, Visibility};
use crate::storage::{LocalPath, StoreError};
use crate::wire::BootstrapAddr;

/// A wish of the local application.
#[derive(Debug, Clone)]
pub enum Command {
    /// Publish files as the next revision of the own share of this name, which is made if
    /// there is none. Answered by [`Reply::Published`] when the revision is durable.
    Publish(Publish),
    /// Follow a share. Answered by [`Reply::Subscribed`] when that is durable; the catalog may
    /// arrive later.
    Subscribe(ShareLink),
    /// Take back an own share: its files are no longer served for it and nothing of it is announced
    /// any more. What others have of it stays with them. Its key, name and last sequence number are kept, so
    /// publishing under the same name goes on with a higher one. Answered by [`Reply::Ok`] when that is durable.
    Unpublish(ShareId),
    /// Stop following. Answered by [`Reply::Ok`].
    Unsubscribe(ShareId),
    /// Look for a newer revision now, of one share or of all. Answered by [`Reply::Synced`] when
    /// everybody who could be asked was asked.
    Sync(Option<ShareId>),
    /// Ask the connected peers for their public shares. Answered by [`Reply::Public`] when all have
    /// answered or had their time.
    ListPublic,
    /// Read the newest catalog known of an own or subscribed share. Answered by [`Reply::Catalog`].
    Browse(ShareId),
    /// The link of an own or subscribed share. Answered by [`Reply::Link`].
    Link(ShareId),
    /// Download. Answered by [`Reply::Started`] when the download is durable.
    Get(Get),
    /// End a download and delete its partial files. Answered by [`Reply::Ok`].
    Cancel(DownloadId),
    /// Stop asking anybody for a download until [`Command::Resume`], after a restart too; what was asked
    /// for already is still taken. Answered by [`Reply::Ok`] when that is durable; with an error of the
    /// store the download waits, but not after a restart.
    Pause(DownloadId),
    /// Go on with a download that was paused. Answered by [`Reply::Ok`] when that is durable.
    Resume(DownloadId),
    /// Add a bootstrap peer for this run, or dial one again that is not connected. Answered by [`Reply::Ok`].
    AddBootstrap(BootstrapAddr),
    /// Relay for others from now on, within these limits, whatever [`Config::relay`](crate::config::Config::relay) was;
    /// the newest places, slots and circuits that these would refuse end, others go on at the new rates. Answered by
    /// [`Reply::Ok`].
    SetRelay(RelayLimits),
    /// Close all links and flush. Answered by [`Reply::Ok`]; the node is done when
    /// [`Node::is_done`](crate::Node::is_done) says so.
    Shutdown,
}

/// What to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The share's local name; 1 to 64 bytes, no control characters.
    pub name: String,
    /// Files and folders; folders are taken with all below them.
    pub paths: Vec<LocalPath>,
    /// Title; `None` keeps that of the last revision.
    pub title: Option<String>,
    /// Description; `None` keeps that of the last revision.
    pub description: Option<String>,
    /// Tags for every item; `None` keeps those of the last revision.
    pub tags: Option<Vec<String>>,
    /// Visibility; `None` keeps that of the last revision, private at first.
    pub visibility: Option<Visibility>,
}

impl Publish {
    /// Publishes with everything else as in the last revision.
    pub fn new(name: impl Into<String>, paths: Vec<LocalPath>) -> Publish {
        Publish {
            name: name.into(),
            paths,
            title: None,
            description: None,
            tags: None,
            visibility: None,
        }
    }
}

/// What to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// The items.
    pub what: GetWhat,
    /// The folder to write into. It is made if it is not there.
    pub root: LocalPath,
}

/// The items to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetWhat {
    /// Items of a share's newest catalog: those at or below `path`, or all.
    Share {
        /// The share, own or subscribed.
        share: ShareId,
        /// An item's path or a folder of the catalog.
        path: Option<String>,
    },
    /// One content. Its name is taken from a subscribed catalog that lists it, else it is its id.
    Content(ContentId),
}

/// A public share as peers tell of it. Only that the key belongs to the share is sure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicShare {
    /// What to subscribe with; it has no hints, as somebody who has the share is connected.
    pub link: ShareLink,
    /// The newest revision told.
    pub seq: u64,
    /// Its title, untrusted text.
    pub title: Option<String>,
    /// Its description, untrusted text.
    pub description: Option<String>,
    /// How many peers told of it.
    pub peers: u32,
}

/// The answer to a [`Command`].
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Done.
    Ok,
    /// The revision is durable and being announced.
    Published {
        /// The share.
        share: ShareId,
        /// Its new sequence number.
        seq: u64,
        /// The manifest's id.
        manifest: ManifestId,
        /// How many items it lists.
        items: u32,
        /// How many bytes they have.
        bytes: u64,
        /// The link to give to others.
        link: ShareLink,
    },
    /// The subscription is durable.
    Subscribed {
        /// The share.
        share: ShareId,
        /// False if it was followed already.
        new: bool,
    },
    /// What a sync found.
    Synced {
        /// How many shares were looked up.
        shares: u32,
        /// How many of them got a newer revision.
        updated: u32,
    },
    /// Public shares of connected peers, those that most peers have first.
    Public(Vec<PublicShare>),
    /// A catalog.
    Catalog(Box<Manifest>),
    /// A link.
    Link(ShareLink),
    /// The download is durable and running.
    Started {
        /// Its id.
        download: DownloadId,
        /// Items that will be fetched.
        items: u32,
        /// Bytes they have.
        bytes: u64,
        /// Items refused for their names; nothing is written for them.
        refused: Vec<RefusedItem>,
    },
}

/// An item that is not downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedItem {
    /// The path in the catalog, untrusted text.
    pub path: String,
    /// Why.
    pub reason: RefusedReason,
}

/// Why an item is not downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedReason {
    /// The name cannot be a file below the chosen folder.
    Path(crate::path::PathError),
    /// Another item of the same download has this name, or a name that some systems take for it.
    Collision,
    /// The file's size and chunk count cannot both be true.
    Inconsistent,
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusedReason::Path(error) => error.fmt(f),
            RefusedReason::Collision => f.write_str("its name collides with another item's"),
            RefusedReason::Inconsistent => {
                f.write_str("its size and chunk count contradict each other")
            }
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The share is neither own nor subscribed.
    UnknownShare,
    /// No download of this id.
    UnknownDownload,
    /// The download has ended, so it cannot be paused or resumed.
    DownloadEnded,
    /// No catalog of this share has arrived yet.
    NoCatalog,
    /// The share's catalog has nothing at this path.
    NoSuchItem,
    /// Nobody who has this content could be found.
    UnknownContent,
    /// Every item was refused, the first for this reason.
    Refused(RefusedItem),
    /// The share name is empty, longer than 64 bytes or has control characters.
    BadName,
    /// A text is too long; the number is the limit in bytes.
    TooLong(&'static str, u32),
    /// Nothing was named to publish, or the folders are empty.
    NothingToPublish,
    /// Two files would have the same place in the catalog.
    DuplicatePath(String),
    /// The file's place in the catalog is longer than 1,024 bytes.
    PathTooLong(String),
    /// More files than a manifest can list.
    TooManyItems {
        /// The limit.
        limit: u32,
    },
    /// The manifest would be too large.
    ManifestTooLarge {
        /// What it would have.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// This share is being published or taken back already.
    Busy,
    /// More subscriptions, downloads or bootstrap peers than allowed; the number is the limit.
    LimitReached(&'static str, u32),
    /// The link's share is one of our own.
    OwnShare,
    /// The disk did not do it.
    Store(StoreError),
    /// The node is stopping.
    Stopping,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::UnknownShare => f.write_str("no own or subscribed share of this id"),
            CommandError::UnknownDownload => f.write_str("no download of this id"),
            CommandError::DownloadEnded => {
                f.write_str("this download has ended; to get what is missing, start it again")
            }
            CommandError::NoCatalog => {
                f.write_str("the catalog has not arrived yet; a peer that has it must be reachable")
            }
            CommandError::NoSuchItem => f.write_str("the catalog has nothing at this path"),
            CommandError::UnknownContent => {
                f.write_str("nobody who has this content could be found")
            }
            CommandError::Refused(item) => {
                write!(
                    f,
                    "every item was refused, the first because {}",
                    item.reason
                )
            }
            CommandError::BadName => {
                f.write_str("a share name has 1 to 64 bytes and no control characters")
            }
            CommandError::TooLong(what, limit) => {
                write!(f, "the {what} is longer than {limit} bytes")
            }
            CommandError::NothingToPublish => f.write_str("there is no file to publish"),
            CommandError::DuplicatePath(path) => {
                write!(
                    f,
                    "two files would be {path:?} in the catalog; publish their parent folder instead"
                )
            }
            CommandError::PathTooLong(path) => {
                write!(
                    f,
                    "{path:?}: longer than the 1024 bytes a catalog path may have"
                )
            }
            CommandError::TooManyItems { limit } => {
                write!(
                    f,
                    "more than the {limit} files a share can list; split it into several shares"
                )
            }
            CommandError::ManifestTooLarge { bytes, limit } => {
                write!(
                    f,
                    "the catalog would have {bytes} bytes, more than {limit}; split it into several shares"
                )
            }
            CommandError::Busy => f.write_str(
                "this share is being published or unpublished; try again when that is done",
            ),
            CommandError::LimitReached(what, limit) => {
                write!(f, "there are {limit} {what} already, which is the limit")
            }
            CommandError::OwnShare => f.write_str("this is a share of your own"),
            CommandError::Store(error) => error.fmt(f),
            CommandError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl core::error::Error for CommandError {}
