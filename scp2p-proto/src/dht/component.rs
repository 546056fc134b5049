//! The DHT: contacts, lookups, and the values we keep (SPECIFICATION §6).

use bytes::Bytes;

use super::Contact;
use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, DhtKey, NodeId, NodeKey};
use crate::keys::Keys;
use crate::rng::Rng;
use crate::session::Ticket;
use crate::storage::Saved;
use crate::time::{Now, Time};
use crate::view::Status;
use crate::wire::StoreRecord;
use crate::wish::Want;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {}

/// Our part of the DHT.
pub(crate) struct Dht {}

#[expect(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Dht {
    pub(crate) fn new(keys: &Keys, rng: Rng, saved: &Saved, now: Now) -> Dht {
        Dht {}
    }
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {}
    pub(crate) fn add_contact(&mut self, cx: &mut Cx<'_>, contact: Contact) {}
    pub(crate) fn add_hub(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(crate) fn drop_contact(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {}
    pub(crate) fn lookup(&mut self, cx: &mut Cx<'_>, key: DhtKey, want: Want, tag: crate::cx::Tag) {
    }
    pub(crate) fn store(
        &mut self,
        cx: &mut Cx<'_>,
        key: DhtKey,
        value: Bytes,
        ttl_secs: u64,
        tag: crate::cx::Tag,
    ) {
    }
    pub(crate) fn provide(&mut self, cx: &mut Cx<'_>, content: ContentId, tag: crate::cx::Tag) {}
    /// We serve these contents.
    pub(crate) fn offered(&mut self, contents: &[ContentId]) {}
    /// We no longer serve these contents.
    pub(crate) fn withdrawn(&mut self, contents: &[ContentId]) {}
    pub(crate) fn on_find_node(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        target: NodeId,
    ) {
    }
    pub(crate) fn on_find_value(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        key: DhtKey,
    ) {
    }
    pub(crate) fn on_store(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        record: StoreRecord,
    ) {
    }
    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {}
    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {}
    pub(crate) fn deadline(&self) -> Option<Time> {
        None
    }
    pub(crate) fn fill_status(&self, status: &mut Status) {}
}
