//! What the node asks of the driver's disk, and what it gets back.

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::content::{Bitmap, subtree_of};
use crate::id::{ContentId, ManifestId, ShareId};
use crate::path::RelPath;

/// A table of rows. Keys and values are the node's own encodings; the driver
/// only stores them, keys ordered as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Single values: schema version, last wall time seen.
    Meta,
    /// The address book.
    Peers,
    /// Keys seen first at bootstrap addresses.
    Pins,
    /// Own shares: secret key, name, reserved sequence number, current manifest.
    Shares,
    /// Files served: content id to path, size and mtime.
    Sources,
    /// Subscriptions and what is known of each.
    Subscriptions,
    /// Downloads of the application and their items.
    Downloads,
    /// Pages of have-maps of unfinished downloads.
    Have,
    /// What is known of each stored DHT value without reading it.
    ValueIndex,
    /// DHT values.
    Values,
    /// Manifests by id, as CBOR.
    Manifests,
    /// Hash pages of contents, keyed by [`outboard_key`].
    Outboard,
}

impl Table {
    /// All tables, in the order of [`Saved`].
    pub const ALL: [Table; 12] = [
        Table::Meta,
        Table::Peers,
        Table::Pins,
        Table::Shares,
        Table::Sources,
        Table::Subscriptions,
        Table::Downloads,
        Table::Have,
        Table::ValueIndex,
        Table::Values,
        Table::Manifests,
        Table::Outboard,
    ];

    /// Whether the node keeps this table's rows in memory and wants them in [`Saved`].
    /// The others stay behind [`Load::Row`].
    pub fn resident(self) -> bool {
        match self {
            Table::Meta
            | Table::Peers
            | Table::Pins
            | Table::Shares
            | Table::Sources
            | Table::Subscriptions
            | Table::Downloads
            | Table::Have
            | Table::ValueIndex => true,
            Table::Values | Table::Manifests | Table::Outboard => false,
        }
    }

    /// The table's name in a store.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Peers => "peers",
            Table::Pins => "pins",
            Table::Shares => "shares",
            Table::Sources => "sources",
            Table::Subscriptions => "subscriptions",
            Table::Downloads => "downloads",
            Table::Have => "have",
            Table::ValueIndex => "value_index",
            Table::Values => "values",
            Table::Manifests => "manifests",
            Table::Outboard => "outboard",
        }
    }
}

/// The rows of all resident tables, as the last durable batch left them.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    /// `(table, key, value)`, in table and key order.
    pub rows: Vec<(Table, Bytes, Bytes)>,
}

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOp {
    /// Insert or replace.
    Put(Table, Bytes, Bytes),
    /// Remove if there.
    Delete(Table, Bytes),
}

/// Changes that are applied together: discard, sync, finish, then rows (atomically), then index.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The batch is durable before it is answered. Others become
    /// durable with the next urgent one or within a few seconds.
    pub urgent: bool,
    /// Partial downloads to delete. A missing one is no error.
    pub discard: Vec<PartRef>,
    /// Partial downloads whose pieces that were answered as written are made durable before `finish`
    /// and `rows`.
    pub sync: Vec<PartRef>,
    /// Complete downloads to make durable and move to their names.
    pub finish: Vec<PartRef>,
    /// Row changes, in order.
    pub rows: Vec<RowOp>,
    /// Changes of the search index, which follows the rows.
    pub index: Vec<IndexOp>,
}

impl Batch {
    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.discard.is_empty()
            && self.sync.is_empty()
            && self.finish.is_empty()
            && self.rows.is_empty()
            && self.index.is_empty()
    }
}

/// A change of the search index, which is a projection of subscribed manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexOp {
    /// The share's entries become those of this manifest, a row of
    /// [`Table::Manifests`]. Nothing to do when the index has marked it so.
    Set(ShareId, ManifestId),
    /// Only these shares stay in the index.
    Retain(Vec<ShareId>),
}

/// An absolute path on this host. UTF-8, because catalogs are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalPath(pub String);

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file served in place, as it was when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Where it lies.
    pub path: LocalPath,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time in nanoseconds since 1970, or [`FileRef::MTIME_UNKNOWN`].
    pub mtime_ns: i64,
}

impl FileRef {
    /// Stands for the modification time of a file that a download has just written: a file with it
    /// counts as unchanged as long as its size is right.
    pub const MTIME_UNKNOWN: i64 = i64::MIN;
}

/// A file being downloaded: `rel` below `root`, with ".part" appended to its name until it is
/// complete. The driver resolves it beneath `root` without following symbolic links.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartRef {
    /// The folder that the user chose; links in it are the user's own.
    pub root: LocalPath,
    /// The place below it, already checked.
    pub rel: RelPath,
}

impl fmt::Display for PartRef {
    /// Where the file will be when it is complete.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.root, self.rel)
    }
}

/// Something to read or work out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Load {
    /// A row of any table. Answered by [`Loaded::Row`].
    Row(Table, Bytes),
    /// Bytes of a file, if it is unchanged. Answered by [`Loaded::Piece`] of exactly `len` bytes.
    Piece {
        /// The file.
        file: FileRef,
        /// Where to start.
        offset: u64,
        /// How much, at most 256 KiB.
        len: u32,
    },
    /// List all files below the given files and folders. Answered by [`Loaded::Scan`].
    Scan {
        /// What the user named.
        roots: Vec<LocalPath>,
        /// More files than this are an error, [`StoreError::TooMany`].
        files_max: u32,
    },
    /// Hash files and store their [`Table::Outboard`] rows, both kinds. Answered by
    /// [`Loaded::Hash`], one result per file in order.
    Hash(Vec<LocalPath>),
    /// Find out what of a download is on disk already. Answered by [`Loaded::Resume`].
    Resume {
        /// The download's file.
        part: PartRef,
        /// The content wanted.
        content: ContentId,
        /// Its size.
        size: u64,
        /// Which hash pages the store has for it; for at most one chunk the content id alone serves.
        kind: OutboardKind,
        /// Chunks known to be verified and durable; the driver checks only others.
        verified: Bitmap,
    },
}

/// The end of a [`Load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// The row's value, if there is one.
    Row(Option<Bytes>),
    /// The bytes asked for.
    Piece(Bytes),
    /// The files found, sorted by `rel`.
    Scan(Vec<ScannedFile>),
    /// One result per file.
    Hash(Vec<Result<HashedFile, StoreError>>),
    /// What is there.
    Resume(Resumed),
}

/// A file found by [`Load::Scan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// Where it lies.
    pub path: LocalPath,
    /// Its place in the catalog, `/` separated: below the named folder's parent for files of a
    /// folder (`folder/a/b`), the bare file name for files named themselves.
    pub rel: String,
    /// Its size.
    pub size: u64,
}

/// A file hashed by [`Load::Hash`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedFile {
    /// The file as it was while being hashed; a file that changed meanwhile is an error.
    pub file: FileRef,
    /// BLAKE3 of the whole.
    pub content: ContentId,
    /// Number of 256 KiB chunks.
    pub chunk_count: u32,
    /// BLAKE3 of the chunk hashes.
    pub chunk_list_hash: [u8; 32],
}

/// What [`Load::Resume`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// Nothing, or nothing of use.
    Fresh,
    /// A partial file with these chunks right.
    Partial(Bitmap),
    /// The final file is there with the right content.
    Complete(FileRef),
    /// The final name is taken by something else.
    Occupied,
}

/// A piece of a download to be checked and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceWrite {
    /// Into which file.
    pub part: PartRef,
    /// The whole file's size.
    pub size: u64,
    /// Where the piece starts; a multiple of 256 KiB.
    pub offset: u64,
    /// The piece: one chunk, shorter only at the file's end.
    pub data: Bytes,
    /// What it must hash to.
    pub proof: Proof,
}

impl PieceWrite {
    /// Whether the bytes hash to what they must. Drivers write nothing else.
    pub fn is_right(&self) -> bool {
        match self.proof {
            Proof::Hash(hash) => blake3::hash(&self.data) == hash,
            Proof::Subtree(value) => subtree_of(&self.data, self.offset) == Some(value),
        }
    }
}

/// What a piece must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// BLAKE3 of the piece by itself: a one-chunk file, or an entry of a chunk list.
    Hash([u8; 32]),
    /// The chaining value of the subtree that starts at the piece's offset.
    Subtree([u8; 32]),
}

/// The kinds of hash pages of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutboardKind {
    /// Chaining values of the 256 KiB subtrees (SPECIFICATION §7).
    Subtrees,
    /// Independent chunk hashes, as deployed peers use them.
    Chunks,
    /// Chunk hashes from a peer, which nothing proves before the whole content was hashed.
    Claimed,
}

/// Hashes in one row of [`Table::Outboard`]; each is 32 bytes, so a row is at most 128 KiB.
pub const OUTBOARD_PAGE: u32 = 4096;

/// The key of a page of hashes: content id, kind, big-endian page number. Contents
/// of at most one chunk have no rows.
pub fn outboard_key(content: &ContentId, kind: OutboardKind, page: u32) -> Bytes {
    let mut key = Vec::with_capacity(37);
    key.extend_from_slice(&content.0);
    key.push(match kind {
        OutboardKind::Subtrees => 0,
        OutboardKind::Chunks => 1,
        OutboardKind::Claimed => 2,
    });
    key.extend_from_slice(&page.to_be_bytes());
    key.into()
}

/// Why the disk did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The file or folder is not there.
    NotFound(LocalPath),
    /// The file is not what it was when it was hashed, or changed while being read.
    Changed(LocalPath),
    /// The name cannot be in a catalog: it is not UTF-8, or not a plain file.
    Unsuitable(LocalPath),
    /// More files than allowed; the number is the limit.
    TooMany(u32),
    /// Not allowed by the system.
    Denied(LocalPath),
    /// No space is left, or a quota is used up.
    Full,
    /// A symbolic link or other file is where a folder of the download should be.
    Obstructed(RelPath),
    /// Anything else, as the system words it.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotFound(path) => write!(f, "{path}: no such file or folder"),
            StoreError::Changed(path) => write!(f, "{path}: changed since it was published"),
            StoreError::Unsuitable(path) => {
                write!(
                    f,
                    "{path}: neither a plain file nor a folder, or its name is not UTF-8"
                )
            }
            StoreError::TooMany(limit) => write!(f, "more than {limit} files; split the share"),
            StoreError::Denied(path) => write!(f, "{path}: permission denied"),
            StoreError::Full => f.write_str("no space is left on the disk"),
            StoreError::Obstructed(rel) => {
                write!(f, "{rel}: a link or another file is in the way")
            }
            StoreError::Failed(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for StoreError {}

/// Why a piece was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// The bytes do not hash to what they must; nothing was written.
    WrongBytes,
    /// The disk refused.
    Store(StoreError),
}
