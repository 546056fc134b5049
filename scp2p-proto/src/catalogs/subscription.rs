//! A subscription, its row, and what is going on about it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::candidates::Candidates;
use super::revision::Revision;
use crate::id::{ManifestId, NodeKey, ShareId, ShareKey};
use crate::limits::{COMPLAINTS_MAX, LINK_HINTS_MAX, SHARE_HOLDERS_MAX};
use crate::record::ShareHead;
use crate::time::{Time, UnixTime};
use crate::view::SubscriptionView;
use crate::wire::cbor::{Field, Reader, Writer};
use crate::wire::{BootstrapAddr, DecodeError, HeadAnnounce};

/// Bytes of a hint in a row; host names have at most 253.
const HINT_BYTES_MAX: usize = 512;

/// The same peer's refused heads of a share are reported once in this time.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(600);

/// So many connected peers that push revisions make lookups rarer, and no more: they could all be one.
const PUSHERS_MAX: u32 = 10;

/// A share that we follow.
pub(super) struct Subscription {
    pub key: ShareKey,
    pub hints: Vec<BootstrapAddr>,
    /// The newest revision held; none before the first is durable.
    pub revision: Option<Revision>,
    pub candidates: Candidates,
    pub work: Work,
    pub asks: Asks,
    /// Lookups in a row that found no head while we hold none.
    pub misses: u32,
    /// When somebody was last asked successfully.
    pub checked: Option<UnixTime>,
    /// We serve something of it, so we are one of its providers.
    pub serving: bool,
    /// So often we said so since the start.
    pub rounds: u32,
    /// Connected peers that showed us a head, and its sequence number.
    holders: BTreeMap<NodeKey, u64>,
    complaints: BTreeMap<Option<NodeKey>, Time>,
}

/// What is being done to get a newer revision. `round` tells late outcomes from those awaited.
#[derive(Debug)]
pub(super) enum Work {
    Idle,
    Fetching(Fetch),
    /// Waiting for the revision to become durable.
    Storing {
        round: u64,
        revision: Revision,
    },
}

/// A manifest being fetched from one source after another.
#[derive(Debug)]
pub(super) struct Fetch {
    pub round: u64,
    pub head: ShareHead,
    /// Sources not asked yet.
    pub sources: VecDeque<Source>,
}

/// Where a manifest may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Peer(NodeKey),
    Dht,
}

/// Questions about the newest head that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Asks {
    pub heads: Looking,
    pub providers: bool,
    /// Providers being reached or asked.
    pub peers: u32,
}

/// Whether the DHT is being asked for a head.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looking {
    #[default]
    No,
    Yes,
    /// And it is to be asked again, because the question is older than the wish.
    Again,
}

impl Subscription {
    /// A subscription that has just begun.
    pub(super) fn new(key: ShareKey, hints: Vec<BootstrapAddr>) -> Subscription {
        Subscription {
            key,
            hints,
            revision: None,
            candidates: Candidates::default(),
            work: Work::Idle,
            asks: Asks::default(),
            misses: 0,
            checked: None,
            serving: false,
            rounds: 0,
            holders: BTreeMap::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// What remains of a subscription whose end did not become durable.
    pub(super) fn resumed(left: Subscription) -> Subscription {
        let (revision, serving) = (left.revision, left.serving);
        Subscription {
            revision,
            serving,
            ..Subscription::new(left.key, left.hints)
        }
    }

    /// The sequence number held, 0 before the first.
    pub(super) fn seq(&self) -> u64 {
        self.revision
            .as_ref()
            .map_or(0, |revision| revision.head.latest_seq)
    }

    pub(super) fn announcement(&self) -> Option<HeadAnnounce> {
        let head = self.revision.as_ref()?.head.clone();
        Some(HeadAnnounce {
            key: self.key,
            head,
        })
    }

    /// Whether all questions were answered and there is nothing to fetch now.
    pub(super) fn is_settled(&self) -> bool {
        let asked = self.asks.heads == Looking::No && !self.asks.providers && self.asks.peers == 0;
        match self.work {
            Work::Idle => asked,
            Work::Fetching(_) | Work::Storing { .. } => false,
        }
    }

    /// Whether a revision is on its way to the disk.
    pub(super) fn is_storing(&self) -> bool {
        match self.work {
            Work::Storing { .. } => true,
            Work::Idle | Work::Fetching(_) => false,
        }
    }

    /// Leaves a manifest that is being fetched for that of a newer head. It stays a candidate.
    pub(super) fn turn_to(&mut self, head: &ShareHead) {
        if let Work::Fetching(fetch) = &self.work
            && head.newer_than(&fetch.head)
        {
            self.work = Work::Idle;
        }
    }

    /// Adds hints that are not known yet.
    pub(super) fn merge_hints(&mut self, hints: &[BootstrapAddr]) {
        for hint in hints {
            if self.hints.len() < LINK_HINTS_MAX && !self.hints.contains(hint) {
                self.hints.push(hint.clone());
            }
        }
    }

    /// Notes that a connected peer showed us a head of this number.
    pub(super) fn add_holder(&mut self, peer: NodeKey, seq: u64) {
        if let Some(known) = self.holders.get_mut(&peer) {
            *known = seq.max(*known);
        } else if self.holders.len() < SHARE_HOLDERS_MAX {
            self.holders.insert(peer, seq);
        }
    }

    pub(super) fn remove_holder(&mut self, peer: &NodeKey) {
        self.holders.remove(peer);
    }

    pub(super) fn has_holders(&self) -> bool {
        !self.holders.is_empty()
    }

    /// How many share the work of asking the DHT for newer revisions: who finds one pushes it to the others.
    /// One alone could keep them back.
    pub(super) fn askers(&self) -> u32 {
        (self.holders.len() as u32).clamp(1, PUSHERS_MAX)
    }

    /// Whether this peer is one of few that have the share and push its revisions.
    pub(super) fn needs(&self, peer: &NodeKey) -> bool {
        self.holders.len() <= PUSHERS_MAX as usize && self.holders.contains_key(peer)
    }

    /// Connected peers that showed us a head of at least this number.
    pub(super) fn holders(&self, seq: u64) -> impl Iterator<Item = NodeKey> {
        let holds = move |(peer, known): (&NodeKey, &u64)| (*known >= seq).then_some(*peer);
        self.holders.iter().filter_map(holds)
    }

    /// Whether to report that something from this peer was refused.
    pub(super) fn complain(&mut self, now: Time, from: Option<NodeKey>) -> bool {
        self.complaints
            .retain(|_, at| now.since(*at) < COMPLAINT_PAUSE);
        if self.complaints.contains_key(&from) || self.complaints.len() >= COMPLAINTS_MAX {
            return false;
        }
        self.complaints.insert(from, now);
        true
    }

    /// The manifests whose rows are kept, the one being stored included.
    pub(super) fn manifests(&self) -> Vec<ManifestId> {
        let incoming = match &self.work {
            Work::Storing { revision, .. } => Some(revision.manifest()),
            Work::Idle | Work::Fetching(_) => None,
        };
        let held = self.revision.iter().flat_map(Revision::manifests);
        held.chain(incoming).collect()
    }

    pub(super) fn view(
        &self,
        share: ShareId,
        watchers: impl Iterator<Item = NodeKey>,
    ) -> SubscriptionView {
        let revision = self.revision.as_ref();
        let more = watchers
            .filter(|peer| !self.holders.contains_key(peer))
            .count();
        SubscriptionView {
            id: share,
            title: revision.and_then(|revision| revision.title.clone()),
            seq: self.seq(),
            manifest: revision.map(Revision::manifest),
            items: revision.map_or(0, |revision| revision.items),
            bytes: revision.map_or(0, |revision| revision.bytes),
            checked: self.checked,
            providers: (self.holders.len() + more) as u32,
        }
    }

    /// The row as it will be with this revision.
    pub(super) fn row(&self, revision: Option<&Revision>) -> Bytes {
        let mut w = Writer::new();
        w.map(3);
        w.uint(0u8).bytes(&self.key.0);
        w.uint(1u8).list(&self.hints, |w, hint| {
            w.text(&hint.to_string());
        });
        w.uint(2u8)
            .option(revision, |w, revision| revision.write(w));
        w.finish().into()
    }

    pub(super) fn from_row(row: &[u8]) -> Result<Subscription, DecodeError> {
        let (mut key, mut hints) = (Field::new("key"), Field::new("hints"));
        let mut revision = Field::new("revision");
        Reader::new(row).int_map(|name, r| match name {
            0 => key.first(r, Reader::exact),
            1 => hints.first(r, |r, name| {
                r.list(name, LINK_HINTS_MAX, |r| r.string(name, HINT_BYTES_MAX))
            }),
            2 => revision.first(r, |r, _| Revision::read(r)),
            _ => r.skip(),
        })?;
        let texts = hints.optional().unwrap_or_default();
        let hints = texts.iter().filter_map(|text| text.parse().ok()).collect();
        let mut subscription = Subscription::new(ShareKey(key.required()?), hints);
        subscription.revision = revision.optional();
        Ok(subscription)
    }
}

#[cfg(any(test, feature = "check"))]
impl Subscription {
    pub(super) fn check(
        &self,
        is_connected: impl Fn(&NodeKey) -> bool,
        broken: &mut crate::check::Broken,
    ) {
        let held = self
            .revision
            .as_ref()
            .map(|revision| revision.head.latest_seq);
        let is_newer = |seq: u64| held.is_none_or(|held| seq > held);
        self.candidates.check(held, broken);
        broken.at_most("hints", self.hints.len(), LINK_HINTS_MAX);
        broken.at_most("holders", self.holders.len(), SHARE_HOLDERS_MAX);
        broken.at_most("complaints", self.complaints.len(), COMPLAINTS_MAX);
        let gone = self.holders.keys().filter(|peer| !is_connected(peer));
        broken.at_most("holders that are gone", gone.count(), 0);
        let of_share = |revision: &Revision| revision.head.share == self.key.share_id();
        broken.unless(self.revision.as_ref().is_none_or(of_share), || {
            "a revision is of another share".into()
        });
        let newer = match &self.work {
            Work::Idle => true,
            Work::Fetching(fetch) => is_newer(fetch.head.latest_seq),
            Work::Storing { revision, .. } => is_newer(revision.head.latest_seq),
        };
        broken.unless(newer, || {
            "a revision that is not newer is on its way".into()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogs::plan::head_of;

    #[test]
    fn a_row_holds_all_that_must_survive() {
        let hint: BootstrapAddr = "quic://[::1]:7000".parse().expect("an address");
        let subscription = Subscription::new(ShareKey([4; 32]), Vec::from([hint]));
        let revision = Revision {
            head: head_of(
                subscription.key.share_id(),
                3,
                ManifestId([3; 32]),
                UnixTime(5),
            ),
            title: None,
            items: 4,
            bytes: 5,
            previous: None,
        };
        let read =
            Subscription::from_row(&subscription.row(Some(&revision))).expect("a row of ours");
        assert_eq!(
            (read.key, &read.hints),
            (subscription.key, &subscription.hints)
        );
        assert_eq!(read.revision, Some(revision));
    }

    #[test]
    fn a_peer_is_complained_of_once_in_a_while() {
        let mut subscription = Subscription::new(ShareKey([4; 32]), Vec::new());
        let peer = Some(NodeKey([1; 32]));
        assert!(subscription.complain(Time(0), peer));
        assert!(!subscription.complain(Time(1), peer));
        assert!(subscription.complain(Time(1), None));
        assert!(subscription.complain(Time(0) + COMPLAINT_PAUSE, peer));
    }
}
