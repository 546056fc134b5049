//! Transfers: downloads from many peers at once, and uploads (SPECIFICATION §7).

use alloc::vec::Vec;

use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, DownloadId, LinkId, NodeKey, OpId, ShareId};
use crate::rng::Rng;
use crate::session::Ticket;
use crate::storage::{FileRef, Saved};
use crate::time::{Now, Time};
use crate::view::{DownloadView, Status};
use crate::wish::DownloadWish;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {}

/// Downloads and uploads.
pub(crate) struct Transfers {}

#[expect(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Transfers {
    pub(crate) fn new(rng: Rng, saved: &Saved, now: Now) -> Transfers {
        Transfers {}
    }
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {}
    pub(crate) fn download(&mut self, cx: &mut Cx<'_>, wish: DownloadWish) {}
    pub(crate) fn on_cancel(&mut self, cx: &mut Cx<'_>, op: OpId, download: DownloadId) {}
    pub(crate) fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        share: ShareId,
        files: Vec<(ContentId, FileRef)>,
    ) {
    }
    pub(crate) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(crate) fn on_down(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(crate) fn on_room(&mut self, cx: &mut Cx<'_>, peer: NodeKey, link: LinkId) {}
    pub(crate) fn on_stop(&mut self, cx: &mut Cx<'_>) {}
    pub(crate) fn on_get_chunk(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        content: ContentId,
        index: u32,
    ) {
    }
    pub(crate) fn on_get_chunk_hashes(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        content: ContentId,
    ) {
    }
    pub(crate) fn on_get_subtrees(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        content: ContentId,
        level: u8,
        page: u32,
    ) {
    }
    pub(crate) fn on_have(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        contents: Vec<ContentId>,
    ) {
    }
    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {}
    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {}
    pub(crate) fn deadline(&self) -> Option<Time> {
        None
    }
    pub(crate) fn fill_status(&self, status: &mut Status) {}
    pub(crate) fn views(&self, now: Now) -> Vec<DownloadView> {
        Vec::new()
    }
}
