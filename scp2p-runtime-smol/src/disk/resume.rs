//! What of a download is on disk already.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, SeekFrom, Stat, fstat, openat, seek};
use rustix::io::Errno;
use scp2p_proto::content::{Bitmap, chunk_count, chunk_len};
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::path::PART_SUFFIX;
use scp2p_proto::storage::{
    FileRef, LocalPath, OUTBOARD_PAGE, OutboardKind, PartRef, Resumed, StoreError, Table,
    outboard_key,
};

use super::beneath::Root;
use super::error::{beneath, place};
use super::files::{is_plain, mtime_of, read_exactly, size_of};
use super::parts::{check_own, subtree};
use super::store::Store;

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// How much is read at a time.
const STRIDE: u64 = 1 << 20;

/// A download that is taken up again.
pub(super) struct Resume {
    /// Its file.
    pub(super) part: PartRef,
    /// The content wanted.
    pub(super) content: ContentId,
    /// Its size.
    pub(super) size: u64,
    /// Which hash pages are stored.
    pub(super) kind: OutboardKind,
    /// Chunks that need no check.
    pub(super) verified: Bitmap,
}

impl Resume {
    /// Looks at the final file, then at the part, and checks what was not verified before.
    pub(super) fn run(&self, store: &Store, stop: &AtomicBool) -> Result<Resumed, StoreError> {
        let PartRef { root, rel } = &self.part;
        let folder = match Root::open(root) {
            Ok(root) => root.parent(rel.as_str()),
            Err(StoreError::NotFound(_)) => return Ok(Resumed::Fresh),
            Err(error) => return Err(error),
        };
        let folder = match folder {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(Resumed::Fresh),
            Err(error) => return Err(beneath(root, rel, error)),
        };
        let part = self.open_part(&folder)?;
        if let Some(found) = self.look_at_final(&folder, part.is_none(), stop)? {
            return Ok(found);
        }
        match part {
            None => Ok(Resumed::Fresh),
            Some((file, len)) => {
                let right = self.check_chunks(store, &file, len, stop)?;
                Ok(if right.count() == 0 {
                    Resumed::Fresh
                } else {
                    Resumed::Partial(right)
                })
            }
        }
    }

    fn open_part(&self, folder: &OwnedFd) -> Result<Option<(File, u64)>, StoreError> {
        let name = format!("{}{PART_SUFFIX}", self.part.rel.file_name());
        match openat(folder, &*name, READ, Mode::empty()) {
            Ok(file) => {
                let len = check_own(&self.part, &file)?;
                Ok(Some((File::from(file), len)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(beneath(&self.part.root, &self.part.rel, error)),
        }
    }

    /// What the final name holds; none if it is free.
    fn look_at_final(
        &self,
        folder: &OwnedFd,
        no_part: bool,
        stop: &AtomicBool,
    ) -> Result<Option<Resumed>, StoreError> {
        let path = self.path();
        let failed = |error| super::error::on_path(&path, error);
        let file = match openat(folder, self.part.rel.file_name(), READ, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(Some(Resumed::Occupied)),
            Err(error) => return Err(failed(error)),
        };
        let before = fstat(&file).map_err(failed)?;
        if !is_plain(&before) || size_of(&before) != self.size {
            return Ok(Some(Resumed::Occupied));
        }
        // All chunks were verified and the part is gone: it was moved here.
        let proven = self.kind != OutboardKind::Claimed && self.verified.is_full();
        let moved = no_part && self.size > 0 && proven && self.verified_fits();
        if !moved && hash_whole(&file, self.size, &path, stop)? != self.content {
            return Ok(Some(Resumed::Occupied));
        }
        let after = fstat(&file).map_err(failed)?;
        if mtime_of(&before) != mtime_of(&after) || size_of(&after) != self.size {
            return Err(StoreError::Changed(path));
        }
        Ok(Some(Resumed::Complete(self.file_ref(&after))))
    }

    fn check_chunks(
        &self,
        store: &Store,
        file: &File,
        len: u64,
        stop: &AtomicBool,
    ) -> Result<Bitmap, StoreError> {
        let count = chunk_count(self.size).unwrap_or(0);
        let mut right = Bitmap::new(count);
        let mut pages = Pages {
            store,
            resume: self,
            page: None,
        };
        let mut buffer = Vec::new();
        let mut index = 0;
        while index < count {
            check_stop(stop, &self.path())?;
            let start = u64::from(index) * u64::from(CHUNK_LEN);
            let chunk = chunk_len(self.size, index).unwrap_or(0);
            if start + u64::from(chunk) > len {
                break;
            }
            if self.verified_fits() && self.verified.contains(index) {
                right.set(index);
                index += 1;
                continue;
            }
            // Holes were never written.
            match next_data(file, start) {
                None => break,
                Some(at) if at >= start + u64::from(chunk) => {
                    index = u32::try_from(at / u64::from(CHUNK_LEN)).unwrap_or(count);
                    continue;
                }
                Some(_) => {}
            }
            if let Some(expected) = pages.hash_of(index)? {
                read_exactly(file, &mut buffer, start, chunk as usize, &self.path())?;
                if self.hash(&buffer, start, count) == expected {
                    right.set(index);
                }
            }
            index += 1;
        }
        Ok(right)
    }

    fn hash(&self, chunk: &[u8], start: u64, count: u32) -> [u8; 32] {
        match self.kind {
            OutboardKind::Subtrees if count > 1 => subtree(chunk, start),
            OutboardKind::Subtrees | OutboardKind::Chunks | OutboardKind::Claimed => {
                blake3::hash(chunk).into()
            }
        }
    }

    fn verified_fits(&self) -> bool {
        chunk_count(self.size) == Some(self.verified.len())
    }

    fn path(&self) -> LocalPath {
        place(&self.part.root, &self.part.rel)
    }

    fn file_ref(&self, stat: &Stat) -> FileRef {
        FileRef {
            path: self.path(),
            size: self.size,
            mtime_ns: mtime_of(stat),
        }
    }
}

/// The hashes that chunks must have, read page by page.
struct Pages<'a> {
    store: &'a Store,
    resume: &'a Resume,
    page: Option<(u32, Option<Bytes>)>,
}

impl Pages<'_> {
    /// The hash of a chunk; none if it is not stored.
    fn hash_of(&mut self, index: u32) -> Result<Option<[u8; 32]>, StoreError> {
        let resume = self.resume;
        if resume.size <= u64::from(CHUNK_LEN) {
            return Ok(Some(resume.content.0));
        }
        let number = index / OUTBOARD_PAGE;
        if self.page.as_ref().is_none_or(|(at, _)| *at != number) {
            let key = outboard_key(&resume.content, resume.kind, number);
            self.page = Some((number, self.store.read(Table::Outboard, &key)?));
        }
        let hashes = self.page.as_ref().and_then(|(_, hashes)| hashes.as_ref());
        let start = (index % OUTBOARD_PAGE) as usize * 32;
        Ok(hashes
            .and_then(|hashes| hashes.get(start..start + 32))
            .and_then(|hash| hash.try_into().ok()))
    }
}

/// Where data starts at or after `offset`; none if only a hole follows.
fn next_data(file: &File, offset: u64) -> Option<u64> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(at) => Some(at),
        Err(Errno::NXIO) => None,
        // A file system that does not tell has data everywhere.
        Err(_) => Some(offset),
    }
}

fn hash_whole(
    file: &File,
    size: u64,
    path: &LocalPath,
    stop: &AtomicBool,
) -> Result<ContentId, StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < size {
        check_stop(stop, path)?;
        let len = STRIDE.min(size - at);
        read_exactly(file, &mut buffer, at, len as usize, path)?;
        hasher.update(&buffer);
        at += len;
    }
    Ok(ContentId(hasher.finalize().into()))
}

fn check_stop(stop: &AtomicBool, path: &LocalPath) -> Result<(), StoreError> {
    if stop.load(Ordering::Relaxed) {
        return Err(StoreError::Failed(format!("{path}: the node is stopping")));
    }
    Ok(())
}
