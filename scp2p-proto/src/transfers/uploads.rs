//! What we serve, and serving it.

use alloc::vec::Vec;

use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, LinkId, NodeKey, ShareId};
use crate::session::Ticket;
use crate::storage::{FileRef, Saved};
use crate::view::Status;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {}

/// Contents served.
pub(super) struct Uploads {}

#[allow(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Uploads {
    pub(super) fn new(saved: &Saved) -> Uploads {
        Uploads {}
    }
    pub(super) fn start(&mut self, cx: &mut Cx<'_>) {}
    pub(super) fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        share: ShareId,
        files: Vec<(ContentId, FileRef)>,
    ) {
    }
    pub(super) fn serve_finished(
        &mut self,
        cx: &mut Cx<'_>,
        share: Option<ShareId>,
        files: Vec<(ContentId, FileRef)>,
    ) {
    }
    pub(super) fn on_down(&mut self, peer: NodeKey) {}
    pub(super) fn on_room(&mut self, cx: &mut Cx<'_>, link: LinkId) {}
    pub(super) fn on_get_chunk(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        content: ContentId,
        index: u32,
    ) {
    }
    pub(super) fn on_get_chunk_hashes(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        content: ContentId,
    ) {
    }
    pub(super) fn on_get_subtrees(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        content: ContentId,
        level: u8,
        page: u32,
    ) {
    }
    pub(super) fn on_have(&mut self, cx: &mut Cx<'_>, ticket: Ticket, contents: &[ContentId]) {}
    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {}
    pub(super) fn fill_status(&self, status: &mut Status) {}
}
