//! One lookup in the DHT: whom it asked, what it found so far.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Contact, Lookup, Next};
use crate::cx::Tag;
use crate::id::{DhtKey, NodeId, NodeKey};
use crate::limits::{DHT_BUCKET_LEN, HEADS_FOUND_MAX, PEER_ADDRS_MAX, RELAYS_FOUND_MAX};
use crate::record::{Manifest, Providers, RelayAnnouncement, ShareHead, ValueKind};
use crate::time::{Time, UnixTime};
use crate::view::{LookupKind, LookupView};
use crate::wire::{PeerAddr, Request};
use crate::wish::{Found, Want};
use bytes::Bytes;

/// A lookup under way.
pub(super) struct Search {
    pub key: DhtKey,
    pub then: Then,
    /// When it was asked for.
    pub since: Time,
    /// Queries sent, those to hubs too.
    pub queries: u32,
    lookup: Lookup,
    /// Hubs still to ask, and those that were asked and have not answered.
    hubs: Vec<NodeKey>,
    asked: BTreeSet<NodeKey>,
    answers: u32,
    /// The value that came last: most nodes have the same.
    latest: Bytes,
    heads: Vec<ShareHead>,
    manifest: Option<Manifest>,
    providers: Option<Providers>,
    relays: Vec<RelayAnnouncement>,
}

/// What a lookup is for.
pub(super) enum Then {
    /// Give what is found.
    Tell(Want, Tag),
    /// Store a value at the closest nodes and the hubs.
    Store {
        value: Bytes,
        ttl_secs: u64,
        tag: Option<Tag>,
    },
    /// Store our addresses in the provider list that is found.
    Provide(Tag),
    /// Get to know the nodes around a target.
    Refresh,
}

impl Then {
    /// Who gets the outcome.
    pub(super) fn tag(&self) -> Option<&Tag> {
        match self {
            Then::Tell(_, tag) | Then::Provide(tag) => Some(tag),
            Then::Store { tag, .. } => tag.as_ref(),
            Then::Refresh => None,
        }
    }

    pub(super) fn kind(&self) -> LookupKind {
        match self {
            Then::Tell(Want::Head, _) => LookupKind::Head,
            Then::Tell(Want::Manifest, _) => LookupKind::Manifest,
            Then::Tell(Want::Providers, _) => LookupKind::Providers,
            Then::Tell(Want::Relays, _) => LookupKind::Relays,
            Then::Provide(_) => LookupKind::Provide,
            Then::Store { .. } => LookupKind::Store,
            Then::Refresh => LookupKind::Refresh,
        }
    }
}

/// Whom to ask next.
pub(super) enum Ask {
    Contact(Contact),
    Hub(NodeKey),
    /// Answers are outstanding; at this time there is more to ask although none came.
    Wait(Option<Time>),
    Done,
}

impl Search {
    pub(super) fn new(
        own: NodeId,
        key: DhtKey,
        target: NodeId,
        seeds: Vec<Contact>,
        hubs: Vec<NodeKey>,
        then: Then,
        since: Time,
    ) -> Search {
        Search {
            key,
            then,
            since,
            queries: 0,
            lookup: Lookup::new(own, target, seeds),
            hubs,
            asked: BTreeSet::new(),
            answers: 0,
            latest: Bytes::new(),
            heads: Vec::new(),
            manifest: None,
            providers: None,
            relays: Vec::new(),
        }
    }

    /// What to ask: nodes around the target, or the value as well.
    pub(super) fn request(&self) -> Request {
        match self.then {
            Then::Tell(..) | Then::Provide(_) => Request::FindValue(self.key),
            Then::Store { .. } | Then::Refresh => Request::FindNode(self.lookup.target()),
        }
    }

    pub(super) fn next(&mut self, now: Time) -> Ask {
        if self.manifest.is_some() || self.relays.len() >= RELAYS_FOUND_MAX {
            return Ask::Done;
        }
        if let Some(hub) = self.hubs.pop() {
            self.queries += 1;
            self.asked.insert(hub);
            return Ask::Hub(hub);
        }
        match self.lookup.next(now) {
            Next::Query(contact) => {
                self.queries += 1;
                Ask::Contact(contact)
            }
            Next::Wait(until) => Ask::Wait(until),
            Next::Done if self.asked.is_empty() => Ask::Done,
            Next::Done => Ask::Wait(None),
        }
    }

    pub(super) fn on_reply(&mut self, from: &NodeKey, own: &NodeKey, closer: Vec<PeerAddr>) {
        self.answers += 1;
        if !self.asked.remove(from) {
            let named = closer.into_iter();
            let named = named.filter_map(|addr| Some((addr.key.filter(|key| key != own)?, addr)));
            self.lookup.on_reply(from, named);
        }
    }

    pub(super) fn on_failure(&mut self, from: &NodeKey) {
        if !self.asked.remove(from) {
            self.lookup.on_failure(from);
        }
    }

    pub(super) fn on_lost(&mut self, from: &NodeKey) {
        if !self.asked.remove(from) {
            self.lookup.on_lost(from);
        }
    }

    /// Whether a value is another one than that which came before it.
    pub(super) fn is_news(&mut self, value: &Bytes) -> bool {
        let is_news = self.latest != value;
        self.latest = value.clone();
        is_news
    }

    /// Takes a value that lies under the key; whoever wants it verifies what we cannot.
    pub(super) fn take(&mut self, value: ValueKind, now: UnixTime) {
        match value {
            ValueKind::Head(head) => {
                if !self.heads.contains(&head) {
                    self.heads.push(head);
                    self.heads
                        .sort_by_key(|head| core::cmp::Reverse((head.latest_seq, head.updated_at)));
                    self.heads.truncate(HEADS_FOUND_MAX);
                }
            }
            ValueKind::Manifest(manifest) => {
                if manifest.verify(now).is_ok() {
                    self.manifest = Some(*manifest);
                }
            }
            ValueKind::Providers(found) => match &mut self.providers {
                None => self.providers = Some(found),
                Some(known) => {
                    for addr in found.providers {
                        if known.providers.len() < PEER_ADDRS_MAX
                            && !known.providers.contains(&addr)
                        {
                            known.providers.push(addr);
                        }
                    }
                }
            },
            ValueKind::Relay(found) => self.take_relay(*found, now),
        }
    }

    /// Takes a relay's announcement if it is good and no other of it is known.
    pub(super) fn take_relay(&mut self, found: RelayAnnouncement, now: UnixTime) {
        let is_known = self.relays.iter().any(|known| known.relay == found.relay);
        let is_full = self.relays.len() >= RELAYS_FOUND_MAX;
        if !is_known && !is_full && found.verify(now).is_ok() {
            self.relays.push(found);
        }
    }

    /// The nodes closest to the target that answered.
    pub(super) fn closest(&self) -> Vec<Contact> {
        let mut closest = self.lookup.closest();
        closest.truncate(DHT_BUCKET_LEN);
        closest
    }

    /// Providers named by anybody.
    pub(super) fn provider_addrs(&self) -> Vec<PeerAddr> {
        self.providers
            .as_ref()
            .map(|found| found.providers.clone())
            .unwrap_or_default()
    }

    /// What came of it, for the counters.
    pub(super) fn view(&self, number: u64, now: Time) -> LookupView {
        let converged = || !self.lookup.closest().is_empty();
        let found = match &self.then {
            Then::Tell(Want::Head, _) => !self.heads.is_empty(),
            Then::Tell(Want::Manifest, _) => self.manifest.is_some(),
            Then::Tell(Want::Providers, _) => self.providers.is_some(),
            Then::Tell(Want::Relays, _) => !self.relays.is_empty(),
            Then::Provide(_) => self.answers > 0,
            Then::Store { .. } | Then::Refresh => converged(),
        };
        LookupView {
            number,
            kind: self.then.kind(),
            key: self.key,
            found,
            queries: self.queries,
            answers: self.answers,
            hops: self.lookup.hops(),
            took: now.since(self.since),
        }
    }

    pub(super) fn found(self, want: Want) -> Found {
        let nothing = Found::Nothing {
            asked: self.answers,
        };
        match want {
            Want::Head if self.heads.is_empty() => nothing,
            Want::Head => Found::Heads(self.heads),
            Want::Manifest => self
                .manifest
                .map_or(nothing, |manifest| Found::Manifest(manifest.into())),
            Want::Providers => self.providers.map_or(nothing, Found::Providers),
            Want::Relays if self.relays.is_empty() => nothing,
            Want::Relays => Found::Relays(self.relays),
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Search {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        self.lookup.check(broken);
        broken.at_most("heads of a lookup", self.heads.len(), HEADS_FOUND_MAX);
        broken.at_most(
            "providers of a lookup",
            self.provider_addrs().len(),
            PEER_ADDRS_MAX,
        );
        broken.at_most("relays of a lookup", self.relays.len(), RELAYS_FOUND_MAX);
    }

    /// Queries without an answer.
    pub(super) fn open(&self) -> u64 {
        u64::from(self.lookup.open()).saturating_add(self.asked.len() as u64)
    }
}
