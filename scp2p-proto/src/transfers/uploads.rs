//! What we serve, and serving it.

#[cfg(any(test, feature = "check"))]
mod check;
mod hashing;
mod line;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use self::hashing::Hashing;
use self::line::{Job, Lines, Need};
use super::sources::{self, Source, Sources};
use crate::content::{chunk_count, chunk_len, level1_count, page_count, page_len, page_subtree};
use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, LinkId, ShareId};
use crate::limits::{CHUNK_HASHES_MAX, CHUNK_LEN, IDS_MAX, LEVEL1_CACHED_MAX};
use crate::lru::Lru;
use crate::session::Ticket;
use crate::storage::{
    FileRef, Load, Loaded, OUTBOARD_PAGE, OutboardKind, Saved, StoreError, Table, outboard_key,
};
use crate::view::{Stats, Status};
use crate::wire::{Answer, ChunkHashes, Have, SubtreePage};
use crate::wish::Wish;

/// Error texts, worded as deployed peers do.
const NO_CHUNK: &str = "chunk not found";
const NO_HASHES: &str = "chunk hashes not found";
const NO_SUBTREES: &str = "subtrees not found";
const TOO_MANY: &str = "rate limit: too much asked for at a time";
/// Bytes of a hash.
const HASH_LEN: usize = 32;
/// A chunk hash in the reply that takes most.
const HASH_COST: u32 = 64;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A chunk of this copy, for a job.
    Piece(u64, FileRef),
    /// A page of hashes for a job.
    Row(u64),
    /// The hashes of a content, worked out from this copy.
    Hashed(ContentId, FileRef),
}

/// Contents served.
pub(super) struct Uploads {
    sources: Sources,
    lines: Lines,
    hashing: Hashing,
    /// Level 1 of large contents, which takes all their pages to work out.
    level1: Lru<ContentId, Bytes>,
    uploaded: u64,
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
            lines: Lines::default(),
            hashing: Hashing::default(),
            level1: Lru::new(LEVEL1_CACHED_MAX),
            uploaded: 0,
        }
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_>) {
        let contents: Vec<ContentId> = self.sources.contents().collect();
        if !contents.is_empty() {
            cx.wish(Wish::Offered(contents));
        }
        for share in self.sources.followed() {
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
        if let Some(share) = share {
            cx.wish(Wish::Serving(share));
        }
    }

    /// Some sessions are gone, and with them what they waited for.
    pub(super) fn on_down(&mut self, cx: &Cx<'_>) {
        self.lines.retain(|link| cx.roster.is_up(link));
        self.hashing.retain(|link| cx.roster.is_up(link));
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
        let len = self.size(&content).and_then(|size| chunk_len(size, index));
        self.enqueue(cx, ticket, content, Need::Chunk(index), len);
    }

    pub(super) fn on_get_chunk_hashes(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        content: ContentId,
    ) {
        let count = self
            .size(&content)
            .and_then(chunk_count)
            .filter(|count| *count as usize <= CHUNK_HASHES_MAX);
        let hashes = match count {
            Some(0) => Bytes::new(),
            // The only chunk is the content.
            Some(1) => Bytes::copy_from_slice(&content.0),
            Some(_) | None => {
                let cost = count.map(|count| count.saturating_mul(HASH_COST));
                let need = Need::ChunkHashes(Vec::new());
                return self.enqueue(cx, ticket, content, need, cost);
            }
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
        let size = self.size(&content);
        let (need, count) = match level {
            0 => (Need::Page(page), size.and_then(|size| page_len(size, page))),
            _ => {
                let count = size
                    .and_then(level1_count)
                    .filter(|count| level == 1 && page == 0 && *count > 0);
                (Need::Level1(Vec::new()), count)
            }
        };
        let cost = count.map(|count| count.saturating_mul(HASH_LEN as u32));
        self.enqueue(cx, ticket, content, need, cost);
    }

    pub(super) fn on_have(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        contents: &[ContentId],
        is_served: bool,
    ) {
        let size = |content| {
            let source = self.sources.source(content).filter(|_| is_served);
            source.map(|source| source.file.size)
        };
        let sizes = contents.iter().take(IDS_MAX).map(size).collect();
        cx.answer(ticket, Answer::Have(Have { sizes }));
    }

    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        let Outcome::Loaded(result) = outcome else {
            return;
        };
        match tag {
            Tag::Piece(id, file) => {
                if let Some(job) = self.lines.take(id) {
                    self.piece_loaded(cx, job, file, result);
                }
            }
            Tag::Row(id) => {
                if let Some(job) = self.lines.take(id) {
                    self.row_loaded(cx, job, result);
                }
            }
            Tag::Hashed(content, file) => self.hashed(cx, content, file, result),
        }
    }

    pub(super) fn fill_status(&self, status: &mut Status) {
        status.sources = self.sources.len() as u32;
        status.uploaded = self.uploaded;
    }

    pub(super) fn fill_stats(&self, stats: &mut Stats) {
        stats.uploaded = self.uploaded;
    }

    fn size(&self, content: &ContentId) -> Option<u64> {
        Some(self.sources.source(content)?.file.size)
    }

    /// Queues a request; without a cost there is no such thing to be had.
    fn enqueue(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        content: ContentId,
        need: Need,
        cost: Option<u32>,
    ) {
        let Some(cost) = cost else {
            return cx.refuse(ticket, refusal(&need));
        };
        let link = ticket.link();
        let job = Job {
            ticket,
            content,
            need,
            cost,
            failed: Vec::new(),
            hashed: false,
        };
        match self.lines.push(job) {
            Ok(()) => self.pump(cx, link),
            Err(job) => cx.refuse(job.ticket, TOO_MANY),
        }
    }

    /// Has the disk work for a session, as far as the session reads what it asked for.
    fn pump(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let bytes_max = u64::from(cx.config.uploads_per_peer_max) * u64::from(CHUNK_LEN);
        if !cx.roster.is_up(link) {
            return self.lines.retain(|link| cx.roster.is_up(link));
        }
        while !cx.roster.is_held_up(link)
            && let Some(job) = self.lines.next(link, bytes_max)
        {
            if let Err(job) = self.load(cx, job) {
                self.lines.left(link, job.cost);
                cx.refuse(job.ticket, refusal(&job.need));
            }
        }
    }

    /// The disk no longer works on a job: what waited for that goes on.
    fn left(&mut self, cx: &mut Cx<'_>, link: LinkId, cost: u32) {
        self.lines.left(link, cost);
        self.pump(cx, link);
        while let Some(link) = self.lines.starved() {
            self.pump(cx, link);
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, job: Job, answer: Answer) {
        let link = job.ticket.link();
        cx.answer(job.ticket, answer);
        self.left(cx, link, job.cost);
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, job: Job) {
        let link = job.ticket.link();
        cx.refuse(job.ticket, refusal(&job.need));
        self.left(cx, link, job.cost);
    }

    /// Loads what a job needs next. Gives it back if that is not to be had.
    fn load(&mut self, cx: &mut Cx<'_>, job: Job) -> Result<(), Job> {
        let Some(source) = self.sources.copy(&job.content, &job.failed) else {
            return Err(job);
        };
        if let Need::Chunk(index) = job.need {
            let Some(len) = chunk_len(source.file.size, index) else {
                return Err(job);
            };
            let file = source.file.clone();
            let load = Load::Piece {
                file: file.clone(),
                offset: u64::from(index) * u64::from(CHUNK_LEN),
                len,
            };
            cx.load(load, Tag::Piece(self.lines.keep(job), file));
            return Ok(());
        }
        if matches!(job.need, Need::Level1(_))
            && let Some(hashes) = self.level1.get(&job.content)
        {
            let answer = level1_answer(job.content, source.file.size, hashes.clone());
            // One that was answered has no more bytes on the disk.
            self.lines.left(job.ticket.link(), job.cost);
            cx.answer(job.ticket, answer);
            return Ok(());
        }
        let Some((kind, page)) = next_row(&job.need) else {
            return Err(job);
        };
        let load = Load::Row(Table::Outboard, outboard_key(&job.content, kind, page));
        cx.load(load, Tag::Row(self.lines.keep(job)));
        Ok(())
    }

    fn piece_loaded(
        &mut self,
        cx: &mut Cx<'_>,
        mut job: Job,
        file: FileRef,
        result: Result<Loaded, StoreError>,
    ) {
        match (&job.need, result) {
            (Need::Chunk(index), Ok(Loaded::Piece(data))) if data.len() == job.cost as usize => {
                self.uploaded = self.uploaded.saturating_add(u64::from(job.cost));
                let (content, index) = (job.content, *index);
                let answer = Answer::Chunk {
                    content,
                    index,
                    data,
                };
                return self.answer(cx, job, answer);
            }
            (_, Err(error)) => self.lost(cx, job.content, &file, &error),
            (_, Ok(_)) => {}
        }
        // Another copy may do.
        job.failed.push(file);
        self.go_on(cx, job);
    }

    /// Loads what a job under way needs next.
    fn go_on(&mut self, cx: &mut Cx<'_>, job: Job) {
        let link = job.ticket.link();
        if !cx.roster.is_up(link) {
            return self.left(cx, link, job.cost);
        }
        if let Err(job) = self.load(cx, job) {
            self.refuse(cx, job);
        }
    }

    fn row_loaded(&mut self, cx: &mut Cx<'_>, mut job: Job, result: Result<Loaded, StoreError>) {
        let Some(size) = self.size(&job.content) else {
            return self.refuse(cx, job);
        };
        match result {
            Ok(Loaded::Row(Some(row))) if Some(row.len()) == row_len(&job.need, size) => {
                let Some(answer) = self.take_row(&mut job, size, &row) else {
                    return self.go_on(cx, job);
                };
                self.answer(cx, job, answer);
            }
            // The content came with hashes of another kind only.
            Ok(_) if !job.hashed => self.work_out(cx, job),
            Ok(_) | Err(_) => self.refuse(cx, job),
        }
    }

    /// Adds a row to what a job has; the answer if that was the last.
    fn take_row(&mut self, job: &mut Job, size: u64, row: &Bytes) -> Option<Answer> {
        let content = job.content;
        match &mut job.need {
            Need::Chunk(_) => None,
            Need::Page(page) => Some(Answer::Subtrees(SubtreePage {
                content,
                size,
                level: 0,
                page: *page,
                hashes: row.clone(),
            })),
            Need::ChunkHashes(hashes) => {
                hashes.extend_from_slice(row);
                let all = chunk_count(size)? as usize * HASH_LEN;
                (hashes.len() >= all).then(|| {
                    let hashes = core::mem::take(hashes).into();
                    Answer::ChunkHashes(ChunkHashes { content, hashes })
                })
            }
            Need::Level1(hashes) => {
                hashes.extend_from_slice(&page_subtree(row)?);
                let all = page_count(size)? as usize * HASH_LEN;
                (hashes.len() >= all).then(|| {
                    let hashes = Bytes::from(core::mem::take(hashes));
                    self.level1.insert(content, hashes.clone());
                    level1_answer(content, size, hashes)
                })
            }
        }
    }

    /// Lets a job wait until its content is hashed. The disk works for others meanwhile.
    fn work_out(&mut self, cx: &mut Cx<'_>, mut job: Job) {
        let (link, cost) = (job.ticket.link(), job.cost);
        if let Need::ChunkHashes(hashes) | Need::Level1(hashes) = &mut job.need {
            hashes.clear();
        }
        if let Err(job) = self.hashing.push(job) {
            cx.refuse(job.ticket, TOO_MANY);
        }
        self.hash_next(cx);
        self.left(cx, link, cost);
    }

    fn hash_next(&mut self, cx: &mut Cx<'_>) {
        while let Some(content) = self.hashing.next() {
            self.hash(cx, content, &[]);
        }
    }

    /// Hashes a copy of a content that is none of these.
    fn hash(&mut self, cx: &mut Cx<'_>, content: ContentId, failed: &[FileRef]) {
        if let Some(source) = self.sources.copy(&content, failed) {
            let file = source.file.clone();
            let load = Load::Hash([file.path.clone()].into());
            return cx.load(load, Tag::Hashed(content, file));
        }
        for job in self.hashing.end(&content) {
            cx.refuse(job.ticket, refusal(&job.need));
        }
    }

    fn hashed(
        &mut self,
        cx: &mut Cx<'_>,
        content: ContentId,
        file: FileRef,
        result: Result<Loaded, StoreError>,
    ) {
        let found = match result {
            Ok(Loaded::Hash(files)) => files.into_iter().next(),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        let error = match found {
            Some(Ok(hashed)) if hashed.content == content => None,
            Some(Ok(_)) => Some(StoreError::Changed(file.path.clone())),
            Some(Err(error)) => Some(error),
            None => Some(StoreError::NotFound(file.path.clone())),
        };
        if let Some(error) = error {
            self.lost(cx, content, &file, &error);
            let failed = self.hashing.failed(&content, file).to_vec();
            self.hash(cx, content, &failed);
        } else {
            let mut links = BTreeSet::new();
            for mut job in self.hashing.end(&content) {
                job.hashed = true;
                links.insert(job.ticket.link());
                self.lines.push_front(job);
            }
            for link in links {
                self.pump(cx, link);
            }
        }
        self.hash_next(cx);
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
}

/// The row that a job needs next.
fn next_row(need: &Need) -> Option<(OutboardKind, u32)> {
    let pages = |hashes: &[u8], per_page: usize| u32::try_from(hashes.len() / per_page).ok();
    match need {
        Need::Chunk(_) => None,
        Need::Page(page) => Some((OutboardKind::Subtrees, *page)),
        Need::Level1(hashes) => Some((OutboardKind::Subtrees, pages(hashes, HASH_LEN)?)),
        Need::ChunkHashes(hashes) => {
            let page = pages(hashes, OUTBOARD_PAGE as usize * HASH_LEN)?;
            Some((OutboardKind::Chunks, page))
        }
    }
}

/// Bytes of that row, for a content of this size.
fn row_len(need: &Need, size: u64) -> Option<usize> {
    let (_, page) = next_row(need)?;
    // Both kinds have a hash per chunk.
    Some(page_len(size, page)? as usize * HASH_LEN)
}

fn level1_answer(content: ContentId, size: u64, hashes: Bytes) -> Answer {
    Answer::Subtrees(SubtreePage {
        content,
        size,
        level: 1,
        page: 0,
        hashes,
    })
}

fn refusal(need: &Need) -> &'static str {
    match need {
        Need::Chunk(_) => NO_CHUNK,
        Need::ChunkHashes(_) => NO_HASHES,
        Need::Page(_) | Need::Level1(_) => NO_SUBTREES,
    }
}

fn delete_row(cx: &mut Cx<'_>, content: &ContentId, share: Option<ShareId>, own: bool) {
    cx.delete(Table::Sources, sources::row_key(content, share, own));
}
