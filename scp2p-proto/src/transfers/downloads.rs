//! Downloads.

use alloc::vec::Vec;

use crate::cx::{Cx, Outcome};
use crate::id::{DownloadId, NodeKey, OpId};
use crate::rng::Rng;
use crate::storage::Saved;
use crate::time::{Now, Time};
use crate::view::{DownloadView, Status};
use crate::wish::DownloadWish;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {}

/// All downloads.
pub(super) struct Downloads {}

#[allow(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Downloads {
    pub(super) fn new(rng: Rng, saved: &Saved, now: Now) -> Downloads {
        Downloads {}
    }
    pub(super) fn start(&mut self, cx: &mut Cx<'_>) {}
    pub(super) fn begin(&mut self, cx: &mut Cx<'_>, wish: DownloadWish) {}
    pub(super) fn cancel(&mut self, cx: &mut Cx<'_>, op: OpId, download: DownloadId) {}
    pub(super) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(super) fn on_down(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(super) fn on_stop(&mut self, cx: &mut Cx<'_>) {}
    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {}
    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>) {}
    pub(super) fn deadline(&self) -> Option<Time> {
        None
    }
    pub(super) fn fill_status(&self, status: &mut Status) {}
    pub(super) fn views(&self, now: Now) -> Vec<DownloadView> {
        Vec::new()
    }
}
