//! One download: its items, who has which of them, and its rows.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::file::{chunks_of, done_bytes};
use super::window::Meter;
use crate::command::RefusedItem;
use crate::content::Bitmap;
use crate::id::{ContentId, DownloadId, NodeKey, OpId, ShareId};
use crate::limits::{
    CONTENT_LEN_MAX, ITEM_NAME_MAX, JOB_PEERS_MAX, MANIFEST_ITEMS_MAX, ROW_TEXT_MAX,
};
use crate::path::RelPath;
use crate::storage::{LocalPath, OutboardKind, PartRef};
use crate::time::{Time, UnixTime};
use crate::view::DownloadState;
use crate::wire::DecodeError;
use crate::wire::cbor::{Field, Reader, Writer};

/// A download.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) root: LocalPath,
    pub(super) share: Option<ShareId>,
    pub(super) created: UnixTime,
    pub(super) state: DownloadState,
    /// Why it failed.
    pub(super) reason: Option<String>,
    /// Empty once the download has ended.
    pub(super) items: Vec<Item>,
    /// Items that wait to be opened.
    pub(super) waiting: BTreeSet<u32>,
    pub(super) totals: Totals,
    pub(super) peers: BTreeMap<NodeKey, JobPeer>,
    /// The command to answer when the download is durable.
    pub(super) begun: Option<Begun>,
    /// The disk is full; nothing is asked for until then.
    pub(super) stalled: Option<Time>,
    pub(super) meter: Meter,
    pub(super) progress_at: Time,
    /// When it last got on, or began to look for peers.
    pub(super) moved: Time,
    /// Its end is being made durable.
    pub(super) ending: bool,
}

/// A command that started a download.
pub(super) struct Begun {
    pub(super) op: OpId,
    pub(super) refused: Vec<RefusedItem>,
}

/// The sums that a view shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) items: u32,
    pub(super) items_done: u32,
    pub(super) items_failed: u32,
    pub(super) bytes: u64,
    /// Verified bytes on disk.
    pub(super) done: u64,
}

/// A file of a download.
pub(super) struct Item {
    pub(super) content: ContentId,
    pub(super) size: u64,
    pub(super) rel: RelPath,
    pub(super) chunk_list_hash: Option<[u8; 32]>,
    pub(super) state: ItemState,
    pub(super) known: Known,
    /// Verified bytes on disk.
    pub(super) done: u64,
    /// Chunk lists that turned out to be false.
    pub(super) lies: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemState {
    Waiting,
    Open,
    Done,
    Failed,
}

/// What is known of an item's file before it is opened.
pub(super) enum Known {
    /// It has to be looked at; the chunks of a saved have-map need no check.
    Unseen(Option<(OutboardKind, Box<Bitmap>)>),
    /// These chunks are on disk, taken by hashes of this kind; `None` if none is.
    Seen(Option<(OutboardKind, Box<Bitmap>)>),
}

/// What a peer means to a download. Kept after it is gone, for the view.
pub(super) struct JobPeer {
    /// Items that it serves, as far as we know.
    pub(super) have: Bitmap,
    /// Verified bytes from it.
    pub(super) bytes: u64,
    /// It is asked through a tunnel of deployed peers, and known by name alone.
    pub(super) tunnel: bool,
    /// Calls that ask what it has.
    pub(super) asking: u32,
    /// Items of which it sent what a chunk list denies. Nothing more is asked of them, and who is
    /// wrong shows when the whole is hashed.
    pub(super) doubted: Bitmap,
    /// It sent wrong bytes; nothing more is asked of it.
    pub(super) banned: bool,
    /// It was counted as a possible holder of everything.
    pub(super) tried: bool,
    /// Verified chunks from it.
    pub(super) chunks: u32,
}

impl Job {
    pub(super) fn new(
        name: String,
        root: LocalPath,
        share: Option<ShareId>,
        created: UnixTime,
        items: Vec<Item>,
    ) -> Job {
        let totals = Totals {
            items: items.len() as u32,
            bytes: items
                .iter()
                .fold(0, |sum, item| item.size.saturating_add(sum)),
            ..Totals::default()
        };
        Job {
            name,
            root,
            share,
            created,
            state: DownloadState::Running,
            reason: None,
            waiting: (0..totals.items).collect(),
            items,
            totals,
            peers: BTreeMap::new(),
            begun: None,
            stalled: None,
            meter: Meter::default(),
            progress_at: Time(0),
            moved: Time(0),
            ending: false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == DownloadState::Running && self.begun.is_none()
    }

    pub(super) fn item(&self, item: u32) -> Option<&Item> {
        self.items.get(item as usize)
    }

    pub(super) fn item_mut(&mut self, item: u32) -> Option<&mut Item> {
        self.items.get_mut(item as usize)
    }

    pub(super) fn part(&self, item: u32) -> Option<PartRef> {
        Some(PartRef {
            root: self.root.clone(),
            rel: self.item(item)?.rel.clone(),
        })
    }

    /// Whether this peer may be asked for an item.
    pub(super) fn holds(&self, peer: &NodeKey, item: u32) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.holds(item))
    }

    pub(super) fn has_holder(&self, item: u32) -> bool {
        self.peers.values().any(|peer| peer.holds(item))
    }

    /// Whether somebody's chunks of an item are denied by a chunk list.
    pub(super) fn is_doubted(&self, item: u32) -> bool {
        self.peers.values().any(|peer| peer.doubted.contains(item))
    }

    /// The record of a peer; `None` if there are too many.
    pub(super) fn peer(&mut self, key: NodeKey) -> Option<&mut JobPeer> {
        if !self.peers.contains_key(&key) && self.peers.len() >= JOB_PEERS_MAX {
            let useless = self
                .peers
                .iter()
                .find(|(_, peer)| peer.bytes == 0 && peer.have.count() == 0 && !peer.banned)
                .map(|(key, _)| *key)?;
            self.peers.remove(&useless);
        }
        let items = self.totals.items;
        Some(self.peers.entry(key).or_insert_with(|| JobPeer {
            have: Bitmap::new(items),
            bytes: 0,
            tunnel: false,
            asking: 0,
            doubted: Bitmap::new(items),
            banned: false,
            tried: false,
            chunks: 0,
        }))
    }

    /// Items that are neither there nor given up.
    pub(super) fn missing(&self) -> impl Iterator<Item = (u32, &Item)> {
        (0..)
            .zip(&self.items)
            .filter(|(_, item)| matches!(item.state, ItemState::Waiting | ItemState::Open))
    }

    pub(super) fn left(&self) -> u32 {
        self.totals
            .items
            .saturating_sub(self.totals.items_done)
            .saturating_sub(self.totals.items_failed)
    }

    /// What the rows say is done.
    pub(super) fn restore_done(&mut self, done: &Bitmap) {
        for index in 0..self.totals.items {
            if done.contains(index) {
                self.waiting.remove(&index);
                let Some(item) = self.items.get_mut(index as usize) else {
                    return;
                };
                item.state = ItemState::Done;
                item.done = item.size;
                self.totals.items_done += 1;
                self.totals.done = self.totals.done.saturating_add(item.size);
            }
        }
    }

    /// A page of an item's have-map from its row.
    pub(super) fn restore_have(&mut self, item: u32, page: u32, kind: OutboardKind, bytes: &[u8]) {
        let Some(item) = self.items.get_mut(item as usize) else {
            return;
        };
        if item.state != ItemState::Waiting {
            return;
        }
        let Known::Unseen(saved) = &mut item.known else {
            return;
        };
        let chunks = chunks_of(item.size);
        let (weakest, have) = saved.get_or_insert_with(|| (kind, Box::new(Bitmap::new(chunks))));
        if kind == OutboardKind::Claimed {
            *weakest = kind;
        }
        have.set_page(page, bytes);
        let done = done_bytes(item.size, have);
        let before = core::mem::replace(&mut item.done, done);
        self.totals.done = self.totals.done.saturating_sub(before).saturating_add(done);
    }

    /// Which items are done, for their row.
    pub(super) fn done_row(&self) -> Vec<u8> {
        let mut done = Bitmap::new(self.totals.items);
        for (index, item) in (0..).zip(&self.items) {
            if item.state == ItemState::Done {
                done.set(index);
            }
        }
        done.as_bytes().to_vec()
    }

    /// The download's row in this state. Items are left out once it has ended.
    pub(super) fn row(&self, state: DownloadState) -> Vec<u8> {
        let ended = state.has_ended();
        let mut w = Writer::new();
        w.map(9).uint(0_u8).text(&self.name);
        w.uint(1_u8).text(&self.root.0);
        w.uint(2_u8).option(self.share, |w, share| {
            w.bytes(&share.0);
        });
        w.uint(3_u8).uint(self.created.0);
        w.uint(4_u8).uint(state_number(state));
        w.uint(5_u8).text_or_null(self.reason.as_deref());
        w.uint(6_u8).map(5);
        w.uint(0_u8).uint(self.totals.items);
        w.uint(1_u8).uint(self.totals.items_done);
        w.uint(2_u8).uint(self.totals.items_failed);
        w.uint(3_u8).uint(self.totals.bytes);
        w.uint(4_u8).uint(self.totals.done);
        let items: &[Item] = if ended { &[] } else { &self.items };
        w.uint(7_u8).list(items, write_item);
        let gave: Vec<(&NodeKey, &JobPeer)> = self
            .peers
            .iter()
            .filter(|(_, peer)| ended && peer.bytes > 0)
            .collect();
        w.uint(8_u8).list(&gave, |w, (key, peer)| {
            w.map(3)
                .uint(0_u8)
                .bytes(&key.0)
                .uint(1_u8)
                .uint(peer.bytes);
            w.uint(2_u8).bool(peer.tunnel);
        });
        w.finish()
    }

    /// A download from its row.
    pub(super) fn from_row(row: &[u8]) -> Result<Job, DecodeError> {
        let (mut name, mut root) = (Field::new("name"), Field::new("root"));
        let (mut share, mut created) = (Field::new("share"), Field::new("created"));
        let (mut state, mut reason) = (Field::new("state"), Field::new("reason"));
        let (mut totals, mut items) = (Field::new("totals"), Field::new("items"));
        let mut gave = Field::new("peers");
        Reader::new(row).int_map(|key, r| match key {
            0 => name.first(r, |r, name| r.string(name, ROW_TEXT_MAX)),
            1 => root.first(r, |r, name| r.string(name, ROW_TEXT_MAX)),
            2 => share.first(r, Reader::exact),
            3 => created.first(r, Reader::time),
            4 => state.first(r, Reader::u8),
            5 => reason.first(r, |r, name| r.string(name, ROW_TEXT_MAX)),
            6 => totals.first(r, |r, _| read_totals(r)),
            7 => items.first(r, |r, name| r.list(name, MANIFEST_ITEMS_MAX, read_item)),
            8 => gave.first(r, |r, name| r.list(name, JOB_PEERS_MAX, read_peer)),
            _ => r.skip(),
        })?;
        let mut job = Job::new(
            name.required()?,
            LocalPath(root.required()?),
            share.optional().map(ShareId),
            created.required()?,
            items.required()?,
        );
        job.state = match state.required()? {
            0 => DownloadState::Running,
            1 => DownloadState::Finished,
            2 => DownloadState::Failed,
            3 => DownloadState::Paused,
            _ => return Err(DecodeError::Value("state")),
        };
        job.reason = reason.optional();
        if job.state.has_ended() {
            job.totals = totals.required()?;
            job.waiting.clear();
            job.items.clear();
        }
        for (key, bytes, tunnel) in gave.optional().unwrap_or_default() {
            if let Some(peer) = job.peer(key) {
                peer.bytes = bytes;
                peer.tunnel = tunnel;
            }
        }
        Ok(job)
    }
}

impl JobPeer {
    /// Whether it may be asked for an item.
    pub(super) fn holds(&self, item: u32) -> bool {
        !self.banned && self.have.contains(item) && !self.doubted.contains(item)
    }
}

impl Item {
    pub(super) fn chunks(&self) -> u32 {
        chunks_of(self.size)
    }
}

/// The key of a download's row.
pub(super) fn job_key(job: DownloadId) -> Bytes {
    Bytes::copy_from_slice(&job.0.to_be_bytes())
}

/// The key of the row that says which items are done.
pub(super) fn done_key(job: DownloadId) -> Bytes {
    let mut key = job.0.to_be_bytes().to_vec();
    key.push(1);
    key.into()
}

/// The key of a page of an item's have-map.
pub(super) fn have_key(job: DownloadId, item: u32, page: u32) -> Bytes {
    let mut key = job.0.to_be_bytes().to_vec();
    key.extend_from_slice(&item.to_be_bytes());
    key.extend_from_slice(&page.to_be_bytes());
    key.into()
}

/// What [`have_key`] was made of.
pub(super) fn parse_have_key(key: &[u8]) -> Option<(DownloadId, u32, u32)> {
    let (job, rest) = key.split_first_chunk::<8>()?;
    let (item, rest) = rest.split_first_chunk::<4>()?;
    let page: [u8; 4] = rest.try_into().ok()?;
    Some((
        DownloadId(u64::from_be_bytes(*job)),
        u32::from_be_bytes(*item),
        u32::from_be_bytes(page),
    ))
}

/// The row of a page of a have-map.
pub(super) fn have_row(kind: OutboardKind, page: &[u8]) -> Vec<u8> {
    let number = match kind {
        OutboardKind::Subtrees => 0_u8,
        OutboardKind::Chunks | OutboardKind::Claimed => 1,
    };
    let mut w = Writer::with_capacity(page.len() + 8);
    w.map(2).uint(0_u8).uint(number).uint(1_u8).bytes(page);
    w.finish()
}

/// What [`have_row`] wrote.
pub(super) fn parse_have_row(row: &[u8]) -> Result<(OutboardKind, Bytes), DecodeError> {
    let (mut kind, mut page) = (Field::new("kind"), Field::new("page"));
    Reader::new(row).int_map(|key, r| match key {
        0 => kind.first(r, Reader::u8),
        1 => page.first(r, |r, name| r.bytes(name, 512)),
        _ => r.skip(),
    })?;
    let kind = match kind.required()? {
        0 => OutboardKind::Subtrees,
        1 => OutboardKind::Claimed,
        _ => return Err(DecodeError::Value("kind")),
    };
    Ok((kind, page.required()?))
}

fn state_number(state: DownloadState) -> u8 {
    match state {
        DownloadState::Running => 0,
        DownloadState::Finished => 1,
        DownloadState::Failed => 2,
        DownloadState::Paused => 3,
    }
}

fn write_item(w: &mut Writer, item: &Item) {
    w.map(4).uint(0_u8).bytes(&item.content.0);
    w.uint(1_u8).uint(item.size);
    w.uint(2_u8).text(item.rel.as_str());
    w.uint(3_u8).option(item.chunk_list_hash, |w, hash| {
        w.bytes(&hash);
    });
}

fn read_item(r: &mut Reader<'_>) -> Result<Item, DecodeError> {
    let (mut content, mut size) = (Field::new("content"), Field::new("size"));
    let (mut rel, mut list) = (Field::new("place"), Field::new("chunk list hash"));
    r.int_map(|key, r| match key {
        0 => content.first(r, Reader::exact),
        1 => size.first(r, Reader::u64),
        2 => rel.first(r, |r, name| r.string(name, ITEM_NAME_MAX)),
        3 => list.first(r, Reader::exact),
        _ => r.skip(),
    })?;
    let rel = RelPath::from_untrusted(&rel.required()?).map_err(|_| DecodeError::Value("place"))?;
    let size = size.required()?;
    if size > CONTENT_LEN_MAX {
        return Err(DecodeError::Value("size"));
    }
    Ok(Item {
        content: ContentId(content.required()?),
        size,
        rel,
        chunk_list_hash: list.optional(),
        state: ItemState::Waiting,
        known: Known::Unseen(None),
        done: 0,
        lies: 0,
    })
}

fn read_totals(r: &mut Reader<'_>) -> Result<Totals, DecodeError> {
    let mut totals = Totals::default();
    r.int_map(|key, r| {
        match key {
            0 => totals.items = r.u32("items")?,
            1 => totals.items_done = r.u32("items done")?,
            2 => totals.items_failed = r.u32("items failed")?,
            3 => totals.bytes = r.u64("bytes")?,
            4 => totals.done = r.u64("done")?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(totals)
}

fn read_peer(r: &mut Reader<'_>) -> Result<(NodeKey, u64, bool), DecodeError> {
    let (mut key, mut bytes) = (Field::new("peer"), Field::new("bytes"));
    let mut tunnel = Field::new("tunnel");
    r.int_map(|number, r| match number {
        0 => key.first(r, Reader::exact),
        1 => bytes.first(r, Reader::u64),
        2 => tunnel.first(r, Reader::bool),
        _ => r.skip(),
    })?;
    let tunnel = tunnel.optional().unwrap_or_default();
    Ok((NodeKey(key.required()?), bytes.required()?, tunnel))
}

#[cfg(any(test, feature = "check"))]
impl Job {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most("peers of a download", self.peers.len(), JOB_PEERS_MAX);
        if self.state.has_ended() {
            return;
        }
        broken.equal(
            "items of a download",
            self.totals.items.into(),
            self.items.len() as u64,
        );
        let count = |state| self.items.iter().filter(|item| item.state == state).count() as u64;
        broken.equal(
            "items done",
            self.totals.items_done.into(),
            count(ItemState::Done),
        );
        broken.equal(
            "items failed",
            self.totals.items_failed.into(),
            count(ItemState::Failed),
        );
        let done = self
            .items
            .iter()
            .fold(0, |sum: u64, item| sum.saturating_add(item.done));
        broken.equal("bytes done", self.totals.done, done);
        let waits = |index: &u32| {
            self.item(*index)
                .is_some_and(|item| item.state == ItemState::Waiting)
        };
        let all = self.waiting.len() as u64 == count(ItemState::Waiting);
        broken.unless(all && self.waiting.iter().all(waits), || {
            "the items that wait are not those listed".into()
        });
        for peer in self.peers.values() {
            let len = self.totals.items;
            broken.unless(peer.have.len() == len && peer.doubted.len() == len, || {
                "what a peer has is not of this download's length".into()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn job() -> Job {
        let item = |rel: &str, size| Item {
            content: ContentId([size as u8; 32]),
            size,
            rel: RelPath::from_untrusted(rel).expect("a plain path"),
            chunk_list_hash: Some([3; 32]),
            state: ItemState::Waiting,
            known: Known::Unseen(None),
            done: 0,
            lies: 0,
        };
        let items = vec![item("a/b", 10), item("a/c", 6 << 20)];
        Job::new(
            "name".into(),
            LocalPath("/root".into()),
            Some(ShareId([9; 32])),
            UnixTime(77),
            items,
        )
    }

    #[test]
    fn a_running_download_comes_back_from_its_rows() {
        let mut before = job();
        before.items[0].state = ItemState::Done;
        let mut after = Job::from_row(&before.row(before.state)).expect("our own row");
        assert_eq!(
            (after.name.as_str(), after.root.0.as_str()),
            ("name", "/root")
        );
        assert_eq!((after.share, after.created), (before.share, before.created));
        assert_eq!(after.items[1].content, before.items[1].content);
        let done = Bitmap::from_bytes(2, &before.done_row()).expect("two bits");
        after.restore_done(&done);
        assert_eq!((after.totals.items_done, after.totals.done), (1, 10));
        assert_eq!(after.waiting, [1].into());
        let mut have = Bitmap::new(24);
        have.set(23);
        let row = have_row(OutboardKind::Chunks, have.as_bytes());
        let (kind, bytes) = parse_have_row(&row).expect("our own row");
        after.restore_have(1, 0, kind, &bytes);
        assert_eq!(after.totals.done, 10 + 262_144);
        let key = have_key(DownloadId(4), 1, 2);
        assert_eq!(parse_have_key(&key), Some((DownloadId(4), 1, 2)));
    }

    #[test]
    fn an_ended_download_keeps_its_sums_and_who_gave() {
        let mut before = job();
        before.state = DownloadState::Failed;
        before.reason = Some("why".into());
        before.totals.done = 5;
        before.peer(NodeKey([1; 32])).expect("room").bytes = 5;
        let through = before.peer(NodeKey([2; 32])).expect("room");
        (through.bytes, through.tunnel) = (6, true);
        let after = Job::from_row(&before.row(before.state)).expect("our own row");
        assert_eq!(after.totals, before.totals);
        assert_eq!(after.reason, before.reason);
        assert_eq!(after.state, DownloadState::Failed);
        assert!(after.items.is_empty() && after.waiting.is_empty());
        let gave = |key| {
            let peer = &after.peers[&NodeKey([key; 32])];
            (peer.bytes, peer.tunnel)
        };
        assert_eq!([gave(1), gave(2)], [(5, false), (6, true)]);
    }

    #[test]
    fn a_row_that_is_none_is_an_error() {
        assert!(Job::from_row(b"\xa0").is_err());
        assert!(Job::from_row(b"").is_err());
        assert!(parse_have_row(b"\x01").is_err());
        assert_eq!(parse_have_key(b"short"), None);
    }
}
