//! Transfers: downloads from many peers at once, and uploads (SPECIFICATION §7).

mod downloads;
mod sources;
mod uploads;

use alloc::vec::Vec;

use self::downloads::Downloads;
use self::uploads::Uploads;
use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, DownloadId, LinkId, NodeKey, OpId, ShareId};
use crate::rng::Rng;
use crate::session::Ticket;
use crate::storage::{FileRef, Saved};
use crate::time::{Now, Time};
use crate::view::{DownloadCause, DownloadView, Stats, Status};
use crate::wish::DownloadWish;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    Downloads(downloads::Tag),
    Uploads(uploads::Tag),
}

/// Downloads and uploads.
pub(crate) struct Transfers {
    downloads: Downloads,
    uploads: Uploads,
}

impl Transfers {
    pub(crate) fn new(rng: Rng, saved: &Saved, now: Now) -> Transfers {
        Transfers {
            downloads: Downloads::new(rng, saved, now),
            uploads: Uploads::new(saved),
        }
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        self.uploads.start(cx);
        self.downloads.start(cx);
    }

    pub(crate) fn download(&mut self, cx: &mut Cx<'_>, wish: DownloadWish) {
        self.downloads.begin(cx, wish);
    }

    pub(crate) fn on_cancel(&mut self, cx: &mut Cx<'_>, op: OpId, download: DownloadId) {
        self.downloads.cancel(cx, op, download);
    }

    pub(crate) fn on_pause(&mut self, cx: &mut Cx<'_>, op: OpId, download: DownloadId) {
        self.downloads.pause(cx, op, download);
    }

    pub(crate) fn on_resume(&mut self, cx: &mut Cx<'_>, op: OpId, download: DownloadId) {
        self.downloads.resume(cx, op, download);
    }

    /// The files of an own share's newest revision, served in place of what it had before.
    pub(crate) fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        share: ShareId,
        files: Vec<(ContentId, FileRef)>,
    ) {
        self.uploads.serve(cx, share, files);
    }

    /// Files of a download are complete and durable under their names.
    pub(crate) fn serve_finished(
        &mut self,
        cx: &mut Cx<'_>,
        share: Option<ShareId>,
        files: Vec<(ContentId, FileRef)>,
    ) {
        self.uploads.serve_finished(cx, share, files);
    }

    pub(crate) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.downloads.on_up(cx, peer);
    }

    /// A session ended; there may be another one with the same peer.
    pub(crate) fn on_session_down(&mut self, cx: &mut Cx<'_>) {
        self.uploads.on_down(cx);
    }

    /// The last session with a peer ended.
    pub(crate) fn on_down(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.downloads.on_down(cx, peer);
    }

    /// Whether the peer's session is kept although it is idle.
    pub(crate) fn needs(&self, peer: &NodeKey) -> bool {
        self.downloads.needs(peer)
    }

    pub(crate) fn on_room(&mut self, cx: &mut Cx<'_>, _peer: NodeKey, link: LinkId) {
        self.uploads.on_room(cx, link);
    }

    pub(crate) fn on_stop(&mut self, cx: &mut Cx<'_>) {
        self.downloads.on_stop(cx);
    }

    pub(crate) fn on_get_chunk(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        content: ContentId,
        index: u32,
    ) {
        if !cx.roster.takes_content(&from, ticket.link()) {
            return cx.refuse(ticket, "the relay between us takes no content");
        }
        self.uploads.on_get_chunk(cx, ticket, content, index);
    }

    pub(crate) fn on_get_chunk_hashes(
        &mut self,
        cx: &mut Cx<'_>,
        _from: NodeKey,
        ticket: Ticket,
        content: ContentId,
    ) {
        self.uploads.on_get_chunk_hashes(cx, ticket, content);
    }

    pub(crate) fn on_get_subtrees(
        &mut self,
        cx: &mut Cx<'_>,
        _from: NodeKey,
        ticket: Ticket,
        content: ContentId,
        level: u8,
        page: u32,
    ) {
        self.uploads
            .on_get_subtrees(cx, ticket, content, level, page);
    }

    pub(crate) fn on_have(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        contents: Vec<ContentId>,
    ) {
        // What cannot be fetched over this session is not there.
        let is_served = cx.roster.takes_content(&from, ticket.link());
        self.uploads.on_have(cx, ticket, &contents, is_served);
    }

    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        match tag {
            Tag::Downloads(tag) => self.downloads.on_outcome(cx, tag, outcome),
            Tag::Uploads(tag) => self.uploads.on_outcome(cx, tag, outcome),
        }
    }

    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {
        self.downloads.on_time(cx);
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.downloads.deadline()
    }

    pub(crate) fn fill_status(&self, status: &mut Status) {
        self.downloads.fill_status(status);
        self.uploads.fill_status(status);
    }

    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        self.downloads.fill_stats(stats);
        self.uploads.fill_stats(stats);
    }

    pub(crate) fn why<'a>(
        &self,
        id: DownloadId,
        open: impl Iterator<Item = &'a crate::cx::Tag>,
    ) -> Option<Vec<DownloadCause>> {
        let open = open.filter_map(|tag| {
            if let crate::cx::Tag::Transfers(Tag::Downloads(tag)) = tag {
                return Some(tag);
            }
            None
        });
        self.downloads.why(id, open)
    }

    pub(crate) fn views(&self, now: Now) -> Vec<DownloadView> {
        self.downloads.views(now)
    }
}

#[cfg(any(test, feature = "check"))]
impl Transfers {
    /// `tags` is what all components wait for.
    pub(crate) fn check(
        &self,
        tags: &[&crate::cx::Tag],
        config: &crate::config::Config,
        roster: &crate::session::Roster,
        now: Now,
        broken: &mut crate::check::Broken,
    ) {
        let (mut of_downloads, mut of_uploads) = (Vec::new(), Vec::new());
        for tag in tags {
            if let crate::cx::Tag::Transfers(tag) = tag {
                match tag {
                    Tag::Downloads(tag) => of_downloads.push(tag),
                    Tag::Uploads(tag) => of_uploads.push(tag),
                }
            }
        }
        self.downloads
            .check_all(&of_downloads, config, roster, now, broken);
        self.uploads.check(&of_uploads, roster, broken);
    }

    /// Requests to be answered, by session.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.uploads.tickets()
    }
}

impl From<downloads::Tag> for crate::cx::Tag {
    fn from(tag: downloads::Tag) -> crate::cx::Tag {
        crate::cx::Tag::Transfers(Tag::Downloads(tag))
    }
}

impl From<uploads::Tag> for crate::cx::Tag {
    fn from(tag: uploads::Tag) -> crate::cx::Tag {
        crate::cx::Tag::Transfers(Tag::Uploads(tag))
    }
}
