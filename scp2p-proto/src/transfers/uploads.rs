//! What we serve, and serving it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::sources::{self, Source, Sources};
use crate::content::{chunk_count, chunk_len, level1_count, page_count, page_subtree};
use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, LinkId, ShareId};
use crate::limits::{
    CHUNK_HASHES_MAX, CHUNK_LEN, HASH_REQUESTS_MAX, IDS_MAX, UPLOAD_LOADS_MAX, UPLOAD_QUEUE_MAX,
};
use crate::session::Ticket;
use crate::storage::{FileRef, Load, Loaded, OutboardKind, Saved, StoreError, Table, outboard_key};
use crate::view::Status;
use crate::wire::{Answer, ChunkHashes, Have, SubtreePage};
use crate::wish::Wish;

/// Error texts, worded as deployed peers do.
const NO_CHUNK: &str = "chunk not found";
const NO_HASHES: &str = "chunk hashes not found";
const NO_SUBTREES: &str = "subtrees not found";

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A piece for this upload.
    Piece(u64),
    /// A page of hashes for this request.
    Page(u64),
    /// The hashes of a content that had none.
    Hashed(ContentId),
}

/// Contents served.
pub(super) struct Uploads {
    sources: Sources,
    links: BTreeMap<LinkId, Queue>,
    pieces: BTreeMap<u64, Piece>,
    requests: BTreeMap<u64, Pages>,
    /// Requests that wait until the hashes of their content are worked out.
    hashing: BTreeMap<ContentId, Vec<Pages>>,
    /// Subscribed shares of which something is served, as Catalogs was told.
    followed: BTreeSet<ShareId>,
    next: u64,
    uploaded: u64,
}

/// What one session asked for and has not got.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Ticket, ContentId, u32)>,
    loads: u32,
    bytes: u64,
}

/// A chunk being read.
struct Piece {
    ticket: Ticket,
    content: ContentId,
    file: FileRef,
    index: u32,
    len: u32,
}

/// Pages of hashes being collected for a request.
struct Pages {
    ticket: Ticket,
    content: ContentId,
    want: Want,
    /// Pages still to load, and what the loaded ones gave.
    page: u32,
    end: u32,
    hashes: Vec<u8>,
    /// The hashes were worked out anew for this request already.
    retried: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// All chunk hashes, for deployed peers.
    Chunks,
    /// One page of chaining values.
    Level0,
    /// The chaining value of each page.
    Level1,
}

impl Uploads {
    pub(super) fn new(saved: &Saved) -> Uploads {
        let mut sources = Sources::default();
        let rows = saved
            .rows
            .iter()
            .filter(|(table, ..)| *table == Table::Sources);
        for (content, source) in rows.filter_map(|(_, key, row)| sources::decode(key, row)) {
            sources.insert(content, source);
        }
        Uploads {
            sources,
            links: BTreeMap::new(),
            pieces: BTreeMap::new(),
            requests: BTreeMap::new(),
            hashing: BTreeMap::new(),
            followed: BTreeSet::new(),
            next: 0,
            uploaded: 0,
        }
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_>) {
        let contents: Vec<ContentId> = self.sources.contents().collect();
        if !contents.is_empty() {
            cx.wish(Wish::Offered(contents));
        }
        for share in self.sources.followed() {
            self.followed.insert(share);
            cx.wish(Wish::Serving(share));
        }
    }

    /// The files of an own share's newest revision take the place of those of the last one.
    pub(super) fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        share: ShareId,
        files: Vec<(ContentId, FileRef)>,
    ) {
        let mut withdrawn = self.sources.of_own_share(share);
        for content in &withdrawn {
            self.sources.remove(content, Some(share), true);
        }
        for (content, file) in &files {
            let source = Source {
                share: Some(share),
                own: true,
                file: file.clone(),
            };
            cx.put(
                Table::Sources,
                sources::row_key(content, source.share, true),
                sources::encode(&source),
            );
            self.sources.insert(*content, source);
        }
        let offered: Vec<ContentId> = files.into_iter().map(|(content, _)| content).collect();
        let kept: BTreeSet<ContentId> = offered.iter().copied().collect();
        withdrawn.retain(|content| !kept.contains(content));
        for content in &withdrawn {
            delete_row(cx, content, Some(share), true);
        }
        withdrawn.retain(|content| self.sources.source(content).is_none());
        cx.wish(Wish::Withdrawn(withdrawn));
        cx.wish(Wish::Offered(offered));
    }

    /// Files of a download are served too.
    pub(super) fn serve_finished(
        &mut self,
        cx: &mut Cx<'_>,
        share: Option<ShareId>,
        files: Vec<(ContentId, FileRef)>,
    ) {
        let mut offered = Vec::new();
        for (content, file) in files {
            let source = Source {
                share,
                own: false,
                file,
            };
            cx.put(
                Table::Sources,
                sources::row_key(&content, source.share, false),
                sources::encode(&source),
            );
            self.sources.insert(content, source);
            offered.push(content);
        }
        cx.wish(Wish::Offered(offered));
        if let Some(share) = share
            && self.followed.insert(share)
        {
            cx.wish(Wish::Serving(share));
        }
    }

    /// The peer's sessions are gone, and with them what they waited for.
    pub(super) fn on_down(&mut self, cx: &Cx<'_>) {
        let live = |link: &LinkId| cx.roster.is_up(*link);
        self.links.retain(|link, _| live(link));
        self.requests.retain(|_, pages| live(&pages.ticket.link()));
        for waiting in self.hashing.values_mut() {
            waiting.retain(|pages| live(&pages.ticket.link()));
        }
    }

    /// The link takes frames again.
    pub(super) fn on_room(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        self.pump(cx, link);
    }

    pub(super) fn on_get_chunk(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        content: ContentId,
        index: u32,
    ) {
        let link = ticket.link();
        let queue = self.links.entry(link).or_default();
        if queue.waiting.len() >= UPLOAD_QUEUE_MAX {
            return cx.refuse(ticket, "rate limit: too many chunks asked for at a time");
        }
        queue.waiting.push_back((ticket, content, index));
        self.pump(cx, link);
    }

    pub(super) fn on_get_chunk_hashes(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        content: ContentId,
    ) {
        let Some(source) = self.sources.source(&content) else {
            return cx.refuse(ticket, NO_HASHES);
        };
        let count =
            chunk_count(source.file.size).filter(|count| *count as usize <= CHUNK_HASHES_MAX);
        let hashes = match count {
            None => return cx.refuse(ticket, NO_HASHES),
            Some(0) => Bytes::new(),
            // The only chunk is the content.
            Some(1) => Bytes::copy_from_slice(&content.0),
            Some(_) => return self.collect(cx, ticket, content, Want::Chunks, 0),
        };
        cx.answer(ticket, Answer::ChunkHashes(ChunkHashes { content, hashes }));
    }

    pub(super) fn on_get_subtrees(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        content: ContentId,
        level: u8,
        page: u32,
    ) {
        let size = self.sources.source(&content).map(|source| source.file.size);
        let pages = size.and_then(page_count).unwrap_or(0);
        let level1 = size.and_then(level1_count).unwrap_or(0);
        match level {
            0 if page < pages => self.collect(cx, ticket, content, Want::Level0, page),
            1 if page == 0 && level1 > 0 => self.collect(cx, ticket, content, Want::Level1, 0),
            _ => cx.refuse(ticket, NO_SUBTREES),
        }
    }

    pub(super) fn on_have(&mut self, cx: &mut Cx<'_>, ticket: Ticket, contents: &[ContentId]) {
        let size = |content| self.sources.source(content).map(|source| source.file.size);
        let sizes = contents.iter().take(IDS_MAX).map(size).collect();
        cx.answer(ticket, Answer::Have(Have { sizes }));
    }

    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        let Outcome::Loaded(result) = outcome else {
            return;
        };
        match tag {
            Tag::Piece(id) => self.piece_loaded(cx, id, result),
            Tag::Page(id) => self.page_loaded(cx, id, result),
            Tag::Hashed(content) => self.hashed(cx, content, result),
        }
    }

    pub(super) fn fill_status(&self, status: &mut Status) {
        status.sources = self.sources.len() as u32;
        status.uploaded = self.uploaded;
    }

    /// Reads what a session waits for, as far as its link and its share of the disk allow.
    fn pump(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let bytes_max = u64::from(cx.config.uploads_per_peer_max) * u64::from(CHUNK_LEN);
        loop {
            let Some(queue) = self.links.get_mut(&link) else {
                return;
            };
            if !cx.roster.is_up(link) {
                self.links.remove(&link);
                return;
            }
            let is_busy = queue.loads >= UPLOAD_LOADS_MAX || queue.bytes >= bytes_max;
            if is_busy || cx.roster.is_held_up(link) {
                return;
            }
            let Some((ticket, content, index)) = queue.waiting.pop_front() else {
                if queue.loads == 0 {
                    self.links.remove(&link);
                }
                return;
            };
            let source = self.sources.source(&content);
            let found =
                source.and_then(|source| Some((source, chunk_len(source.file.size, index)?)));
            let Some((source, len)) = found else {
                cx.refuse(ticket, NO_CHUNK);
                continue;
            };
            queue.loads += 1;
            queue.bytes += u64::from(len);
            self.next += 1;
            let file = source.file.clone();
            let offset = u64::from(index) * u64::from(CHUNK_LEN);
            let load = Load::Piece {
                file: file.clone(),
                offset,
                len,
            };
            cx.load(load, Tag::Piece(self.next));
            self.pieces.insert(
                self.next,
                Piece {
                    ticket,
                    content,
                    file,
                    index,
                    len,
                },
            );
        }
    }

    fn piece_loaded(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<Loaded, StoreError>) {
        let Some(Piece {
            ticket,
            content,
            file,
            index,
            len,
        }) = self.pieces.remove(&id)
        else {
            return;
        };
        let link = ticket.link();
        if let Some(queue) = self.links.get_mut(&link) {
            queue.loads = queue.loads.saturating_sub(1);
            queue.bytes = queue.bytes.saturating_sub(u64::from(len));
        }
        match result {
            Ok(Loaded::Piece(data)) if data.len() == len as usize => {
                self.uploaded = self.uploaded.saturating_add(u64::from(len));
                cx.answer(
                    ticket,
                    Answer::Chunk {
                        content,
                        index,
                        data,
                    },
                );
            }
            Ok(_) => cx.refuse(ticket, NO_CHUNK),
            Err(error) => {
                cx.refuse(ticket, NO_CHUNK);
                self.lost(cx, content, &file, &error);
            }
        }
        self.pump(cx, link);
    }

    /// A file that is not what it was is not served any more. Several loads may tell of it; other
    /// files with the same content stay.
    fn lost(&mut self, cx: &mut Cx<'_>, content: ContentId, file: &FileRef, error: &StoreError) {
        let is_gone = match error {
            StoreError::NotFound(_) | StoreError::Changed(_) | StoreError::Denied(_) => true,
            StoreError::Unsuitable(_)
            | StoreError::TooMany(_)
            | StoreError::Full
            | StoreError::Obstructed(_)
            | StoreError::Failed(_) => false,
        };
        if !is_gone {
            return;
        }
        for source in self.sources.at(&content, file) {
            delete_row(cx, &content, source.share, source.own);
            if self.sources.remove(&content, source.share, source.own) {
                cx.wish(Wish::Withdrawn([content].into()));
            }
            if let Some(share) = source.share.filter(|_| source.own) {
                let path = source.file.path;
                cx.wish(Wish::Changed { share, path });
            }
        }
    }

    /// Begins to collect the pages that a request is about.
    fn collect(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        content: ContentId,
        want: Want,
        page: u32,
    ) {
        if self.requests.len() >= HASH_REQUESTS_MAX {
            return cx.refuse(ticket, "rate limit: too many hashes asked for at a time");
        }
        let size = self
            .sources
            .source(&content)
            .map_or(0, |source| source.file.size);
        let end = match want {
            Want::Level0 => page.saturating_add(1),
            Want::Chunks | Want::Level1 => page_count(size).unwrap_or(0),
        };
        let pages = Pages {
            ticket,
            content,
            want,
            page,
            end,
            hashes: Vec::new(),
            retried: false,
        };
        self.load_page(cx, pages);
    }

    fn load_page(&mut self, cx: &mut Cx<'_>, pages: Pages) {
        self.next += 1;
        let kind = match pages.want {
            Want::Chunks => OutboardKind::Chunks,
            Want::Level0 | Want::Level1 => OutboardKind::Subtrees,
        };
        let key = outboard_key(&pages.content, kind, pages.page);
        cx.load(Load::Row(Table::Outboard, key), Tag::Page(self.next));
        self.requests.insert(self.next, pages);
    }

    fn page_loaded(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<Loaded, StoreError>) {
        let Some(mut pages) = self.requests.remove(&id) else {
            return;
        };
        let row = match result {
            Ok(Loaded::Row(Some(row))) => row,
            Ok(_) if !pages.retried => return self.work_out(cx, pages),
            Ok(_) | Err(_) => return refuse(cx, pages),
        };
        match pages.want {
            Want::Chunks | Want::Level0 => pages.hashes.extend_from_slice(&row),
            Want::Level1 => match page_subtree(&row) {
                Some(value) => pages.hashes.extend_from_slice(&value),
                None => return refuse(cx, pages),
            },
        }
        let page = pages.page;
        pages.page = page.saturating_add(1);
        if pages.page < pages.end {
            return self.load_page(cx, pages);
        }
        let Some(source) = self.sources.source(&pages.content) else {
            return refuse(cx, pages);
        };
        let (content, size, hashes) = (pages.content, source.file.size, Bytes::from(pages.hashes));
        let answer = match pages.want {
            Want::Chunks => Answer::ChunkHashes(ChunkHashes { content, hashes }),
            Want::Level0 => Answer::Subtrees(SubtreePage {
                content,
                size,
                level: 0,
                page,
                hashes,
            }),
            Want::Level1 => Answer::Subtrees(SubtreePage {
                content,
                size,
                level: 1,
                page: 0,
                hashes,
            }),
        };
        cx.answer(pages.ticket, answer);
    }

    /// The content came with hashes of the other kind only: both are worked out from the file.
    fn work_out(&mut self, cx: &mut Cx<'_>, mut pages: Pages) {
        let content = pages.content;
        let Some(source) = self.sources.source(&content) else {
            return refuse(cx, pages);
        };
        pages.retried = true;
        let waiting = self.hashing.entry(content).or_default();
        if waiting.is_empty() {
            cx.load(
                Load::Hash([source.file.path.clone()].into()),
                Tag::Hashed(content),
            );
        }
        if waiting.len() >= HASH_REQUESTS_MAX {
            return refuse(cx, pages);
        }
        waiting.push(pages);
    }

    fn hashed(&mut self, cx: &mut Cx<'_>, content: ContentId, result: Result<Loaded, StoreError>) {
        let is_same = match &result {
            Ok(Loaded::Hash(files)) => {
                matches!(files.first(), Some(Ok(hashed)) if hashed.content == content)
            }
            Ok(_) | Err(_) => false,
        };
        for pages in self.hashing.remove(&content).unwrap_or_default() {
            if is_same {
                self.load_page(cx, pages);
            } else {
                refuse(cx, pages);
            }
        }
    }
}

fn refuse(cx: &mut Cx<'_>, pages: Pages) {
    let text = match pages.want {
        Want::Chunks => NO_HASHES,
        Want::Level0 | Want::Level1 => NO_SUBTREES,
    };
    cx.refuse(pages.ticket, text);
}

fn delete_row(cx: &mut Cx<'_>, content: &ContentId, share: Option<ShareId>, own: bool) {
    cx.delete(Table::Sources, sources::row_key(content, share, own));
}
