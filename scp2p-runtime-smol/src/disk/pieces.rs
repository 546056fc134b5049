//! Pieces of downloads, written to their places in part files.

use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, pwrite};
use scp2p_proto::storage::{PartRef, PieceWrite, StoreError};

use super::beneath::Root;
use super::error::beneath;
use super::parts::{WRITE, check_own, part_name};

/// What memory, lengths and places of direct writes are multiples of: pages and the blocks of disks.
const BLOCK: usize = 4096;
/// Less than this is not worth going around the page cache.
const DIRECT_MIN: usize = 128 << 10;

/// Writes pieces, which were found right, to disk.
///
/// Large ones go around the page cache: nobody reads them soon, so caching them would cost a copy, fresh
/// pages, the work of writing them back, and the pages of others.
#[derive(Default)]
pub(super) struct PieceWriter {
    buffer: Vec<u8>,
}

impl PieceWriter {
    /// Writes one piece; its part file and the folders on the way are made where they are missing.
    pub(super) fn put(&mut self, piece: &PieceWrite) -> Result<(), StoreError> {
        let PartRef { root, rel } = &piece.part;
        let failed = |error| beneath(root, rel, error);
        let end = piece.offset.checked_add(piece.data.len() as u64);
        if end.is_none_or(|end| end > piece.size) {
            return Err(failed(Errno::FBIG));
        }
        let folder = Root::open_or_create(root)?;
        let file = folder
            .create_at(&part_name(&piece.part), WRITE)
            .map_err(failed)?;
        check_own(&piece.part, &file)?;
        let direct = self
            .write_direct(&file, &piece.data, piece.offset)
            .map_err(failed)?;
        write_all(&file, &piece.data[direct..], piece.offset + direct as u64).map_err(failed)
    }

    /// Writes whole blocks from the start of `data` directly, as far as the file system lets us. How much
    /// was written.
    fn write_direct(&mut self, file: &OwnedFd, data: &[u8], at: u64) -> Result<usize, Errno> {
        let len = data.len() - data.len() % BLOCK;
        if len < DIRECT_MIN
            || !at.is_multiple_of(BLOCK as u64)
            || fcntl_setfl(file, WRITE | OFlags::DIRECT).is_err()
        {
            return Ok(0);
        }
        self.buffer.resize(self.buffer.len().max(len + BLOCK), 0);
        let start = self.buffer.as_ptr().align_offset(BLOCK);
        let aligned = &mut self.buffer[start..start + len];
        aligned.copy_from_slice(&data[..len]);
        let written = match write_all(file, aligned, at) {
            Ok(()) => len,
            // Blocks are larger here.
            Err(Errno::INVAL) => 0,
            Err(error) => return Err(error),
        };
        fcntl_setfl(file, WRITE)?;
        Ok(written)
    }
}

fn write_all(file: &OwnedFd, mut data: &[u8], mut at: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        match pwrite(file, data, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => {
                data = &data[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
