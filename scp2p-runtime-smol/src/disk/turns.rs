//! Whose turn it is to write into a folder.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use scp2p_proto::id::WriteId;
use scp2p_proto::storage::{LocalPath, PieceWrite};

use super::beneath::split;

/// Pieces for the files of one folder are written one after the other, by the thread that came
/// first. File systems lock a file while it is written and a folder while a file is made in it, so
/// several threads would only wait for each other, and spin while they do.
#[derive(Default)]
pub(super) struct Turns(Mutex<BTreeMap<Folder, VecDeque<(WriteId, PieceWrite)>>>);

/// A root and the folder below it.
type Folder = (LocalPath, String);

/// The right to write into a folder.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    folder: Folder,
    first: Option<(WriteId, PieceWrite)>,
}

impl Turns {
    /// Begins a turn with a piece, or leaves it to the thread whose turn it is.
    pub(super) fn join(&self, id: WriteId, piece: PieceWrite) -> Option<Turn<'_>> {
        let part = &piece.part;
        let (inside, _) = split(part.rel.as_str());
        let folder = (part.root.clone(), inside.to_owned());
        let mut waiting = self.lock();
        if let Some(pieces) = waiting.get_mut(&folder) {
            pieces.push_back((id, piece));
            return None;
        }
        waiting.insert(folder.clone(), VecDeque::new());
        Some(Turn {
            turns: self,
            folder,
            first: Some((id, piece)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Folder, VecDeque<(WriteId, PieceWrite)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The next piece to write; the turn is over when there is none.
    pub(super) fn next(&mut self) -> Option<(WriteId, PieceWrite)> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut waiting = self.turns.lock();
        let next = waiting.get_mut(&self.folder)?.pop_front();
        if next.is_none() {
            waiting.remove(&self.folder);
        }
        next
    }
}
