//! Catalogs: own shares and subscriptions (SPECIFICATION §5, §8).

use alloc::vec::Vec;

use crate::command::{Get, Publish};
use crate::config::Config;
use crate::cx::{Cx, Outcome};
use crate::id::{ManifestId, NodeKey, OpId, ShareId};
use crate::record::{ShareHead, ShareLink};
use crate::rng::Rng;
use crate::session::Ticket;
use crate::storage::{LocalPath, Saved};
use crate::time::{Now, Time};
use crate::view::{ShareView, Status, SubscriptionView};
use crate::wire::HeadAnnounce;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {}

/// Own shares and subscriptions.
pub(crate) struct Catalogs {}

#[expect(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Catalogs {
    pub(crate) fn new(config: &Config, rng: Rng, saved: &Saved, now: Now) -> Catalogs {
        Catalogs {}
    }
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {}
    pub(crate) fn on_publish(&mut self, cx: &mut Cx<'_>, op: OpId, publish: Publish) {}
    pub(crate) fn on_subscribe(&mut self, cx: &mut Cx<'_>, op: OpId, link: ShareLink) {}
    pub(crate) fn on_unsubscribe(&mut self, cx: &mut Cx<'_>, op: OpId, share: ShareId) {}
    pub(crate) fn on_sync(&mut self, cx: &mut Cx<'_>, op: OpId, share: Option<ShareId>) {}
    pub(crate) fn on_browse(&mut self, cx: &mut Cx<'_>, op: OpId, share: ShareId) {}
    pub(crate) fn on_link(&mut self, cx: &mut Cx<'_>, op: OpId, share: ShareId) {}
    pub(crate) fn on_get(&mut self, cx: &mut Cx<'_>, op: OpId, get: Get) {}
    pub(crate) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(crate) fn on_down(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(crate) fn on_get_manifest(&mut self, cx: &mut Cx<'_>, ticket: Ticket, id: ManifestId) {}
    pub(crate) fn on_list_public(&mut self, cx: &mut Cx<'_>, ticket: Ticket, max_entries: u16) {}
    pub(crate) fn on_watch(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        shares: Vec<ShareId>,
    ) {
    }
    pub(crate) fn on_head_announce(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        announce: HeadAnnounce,
    ) {
    }
    pub(crate) fn on_head(&mut self, cx: &mut Cx<'_>, from: NodeKey, head: ShareHead) {}
    pub(crate) fn on_changed(&mut self, cx: &mut Cx<'_>, share: ShareId, path: LocalPath) {}
    pub(crate) fn on_serving(&mut self, cx: &mut Cx<'_>, share: ShareId) {}
    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {}
    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {}
    pub(crate) fn deadline(&self) -> Option<Time> {
        None
    }
    pub(crate) fn fill_status(&self, status: &mut Status) {}
    pub(crate) fn share_views(&self) -> Vec<ShareView> {
        Vec::new()
    }
    pub(crate) fn subscription_views(&self) -> Vec<SubscriptionView> {
        Vec::new()
    }
}
