//! Catalogs: own shares and subscriptions (SPECIFICATION §5, §8).

mod announce;
mod candidates;
#[cfg(any(test, feature = "check"))]
mod check;
mod fetch;
mod follow;
mod mime;
mod own;
mod plan;
mod public;
mod publish;
mod read;
mod revision;
mod serve;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod unpublish;
mod watchers;
mod why;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::command::Get;
use crate::config::Config;
use crate::cx::{Cx, Outcome};
use crate::event::Event;
use crate::id::{ManifestId, NodeKey, OpId, ShareId};
use crate::limits::{MANIFEST_ITEMS_MAX, MANIFESTS_CACHED_MAX};
use crate::lru::Lru;
use crate::rng::Rng;
use crate::session::Ticket;
use crate::storage::{IndexOp, LocalPath, Saved, Table};
use crate::time::{Now, Time};
use crate::timers::Timers;
use crate::view::{ShareView, Status, SubscriptionView};
use crate::wire::PeerAddr;
use own::OwnShare;
use public::Listing;
use publish::Publishing;
use subscription::Subscription;
use sync::SyncJob;
use watchers::Watchers;

/// New sessions make us look and announce early at most this often.
const EAGER_PAUSE: Duration = Duration::from_secs(5);

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// The files of a publishing are listed.
    Scanned(OpId),
    /// A batch of a publishing, by number, is hashed.
    Hashed(OpId, u32),
    /// A publishing's sequence number is reserved.
    Reserved(OpId),
    /// A publishing is durable.
    Published(OpId),
    /// An own manifest is read to be announced.
    Announcing(ShareId),
    /// Nodes of the DHT took the own head of this number.
    HeadStored(ShareId, u64),
    /// We are named as provider of a subscribed share.
    Provided(ShareId),
    /// Something that is done again later in any case.
    Unattended,
    Unpublished {
        op: OpId,
        share: ShareId,
    },
    Subscribed {
        op: OpId,
        share: ShareId,
        new: bool,
    },
    Unsubscribed(OpId),
    /// A peer took our list of shares.
    Watching(NodeKey),
    HeadsFound(ShareId),
    ProvidersFound(ShareId),
    /// A provider of a share was reached.
    Reached(ShareId),
    /// A deployed peer was asked for a head.
    Asked(ShareId),
    Fetched {
        share: ShareId,
        round: u64,
    },
    Stored {
        share: ShareId,
        round: u64,
    },
    Browsed(OpId),
    /// A peer told its public shares.
    Listed(OpId),
    /// The manifest of a share to download from is read.
    GetShare(OpId, Get),
    /// A manifest that may list the content to download is read.
    GetContent {
        op: OpId,
        get: Get,
        at: ManifestId,
    },
    /// A manifest that peers asked for is read.
    Serving(ManifestId),
}

/// What happens when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A sync ends, whatever is outstanding.
    Sync(OpId),
    /// Manifests that could not be had are tried again.
    Fetch(ShareId),
    /// A subscription is looked up.
    Poll(ShareId),
    /// An own share is announced.
    Announce(ShareId),
    /// We are named again as provider of a subscribed share.
    Provide(ShareId),
    /// Peers that lack our list of shares get it.
    Watch,
}

/// Own shares and subscriptions.
pub(crate) struct Catalogs {
    rng: Rng,
    timers: Timers<Timer>,
    shares: BTreeMap<ShareId, OwnShare>,
    publishings: BTreeMap<OpId, Publishing>,
    /// Own shares that are taken back as soon as that is durable.
    withdrawing: BTreeSet<ShareId>,
    subscriptions: BTreeMap<ShareId, Subscription>,
    /// Subscriptions that are ended as soon as that is durable.
    leaving: BTreeMap<OpId, (ShareId, Subscription)>,
    syncs: BTreeMap<OpId, SyncJob>,
    listings: BTreeMap<OpId, Listing>,
    watchers: Watchers,
    /// Peers of ours that lack our list of shares.
    unwatched: BTreeSet<NodeKey>,
    /// WATCH calls without an answer.
    watching: u32,
    /// Providers being reached, for all subscriptions.
    reaching: u32,
    /// From when on a new session makes us look and announce early.
    eager_from: Time,
    /// Numbers fetches.
    round: u64,
    /// Manifests that peers asked for lately.
    cache: Lru<ManifestId, Bytes>,
    /// Requests that wait for a manifest to be read.
    asked: BTreeMap<ManifestId, Vec<Ticket>>,
    /// The own addresses that were announced.
    addrs: Vec<PeerAddr>,
}

impl Catalogs {
    pub(crate) fn new(_config: &Config, rng: Rng, saved: &Saved, _now: Now) -> Catalogs {
        let mut catalogs = Catalogs {
            rng,
            timers: Timers::new(),
            shares: BTreeMap::new(),
            publishings: BTreeMap::new(),
            withdrawing: BTreeSet::new(),
            subscriptions: BTreeMap::new(),
            leaving: BTreeMap::new(),
            syncs: BTreeMap::new(),
            listings: BTreeMap::new(),
            watchers: Watchers::default(),
            unwatched: BTreeSet::new(),
            watching: 0,
            reaching: 0,
            eager_from: Time::default(),
            round: 0,
            cache: Lru::new(MANIFESTS_CACHED_MAX),
            asked: BTreeMap::new(),
            addrs: Vec::new(),
        };
        // A row that cannot be read is left alone: a later version may know better.
        for (table, _, value) in &saved.rows {
            if *table == Table::Shares
                && let Ok(share) = OwnShare::from_row(value)
            {
                catalogs.shares.insert(share.id(), share);
            }
            if *table == Table::Subscriptions
                && let Ok(subscription) = Subscription::from_row(value)
            {
                let share = subscription.key.share_id();
                catalogs.subscriptions.insert(share, subscription);
            }
        }
        catalogs
    }

    /// Goes on with what the rows told.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        let published = |share: &OwnShare| share.revision.is_some();
        let own = self.shares.iter().filter(|(_, share)| published(share));
        for share in own.map(|(id, _)| *id).collect::<Vec<_>>() {
            let pause = self.stagger();
            self.timers.set(Timer::Announce(share), cx.now.mono + pause);
        }
        self.withdraw_leftovers(cx);
        self.start_following(cx);
    }

    pub(crate) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        if cx.roster.is_ours(&peer) && !self.subscriptions.is_empty() {
            self.watch(cx, peer);
        }
        // Peers that come and go do not make us ask and tell all the time.
        if cx.roster.is_callable(&peer) {
            let from = self.eager_from.max(cx.now.mono);
            if from == cx.now.mono {
                self.eager_from = from + EAGER_PAUSE;
            }
            self.look_soon(from);
            self.announce_unheard(from);
            if !cx.roster.is_ours(&peer) {
                self.announce_deployed(cx);
            }
        }
    }

    /// The last session with a peer ended.
    pub(crate) fn on_down(&mut self, _cx: &mut Cx<'_>, peer: NodeKey) {
        self.watchers.remove(&peer);
        self.unwatched.remove(&peer);
        for subscription in self.subscriptions.values_mut() {
            subscription.remove_holder(&peer);
        }
    }

    /// Whether the peer's session is kept although it is idle.
    pub(crate) fn needs(&self, peer: &NodeKey) -> bool {
        let mut subscriptions = self.subscriptions.values();
        subscriptions.any(|subscription| subscription.needs(peer))
    }

    /// A file of an own share is not what it was.
    pub(crate) fn on_changed(&mut self, cx: &mut Cx<'_>, share: ShareId, path: LocalPath) {
        let Some(share) = self.shares.get_mut(&share) else {
            return;
        };
        if share.changed.len() < MANIFEST_ITEMS_MAX && share.changed.insert(path.clone()) {
            cx.event(Event::FileChanged { path });
        }
    }

    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        match tag {
            Tag::Scanned(op) => self.scanned(cx, op, outcome),
            Tag::Hashed(op, batch) => self.hashed(cx, op, batch, outcome),
            Tag::Reserved(op) => self.reserved(cx, op, outcome),
            Tag::Published(op) => self.published(cx, op, outcome),
            Tag::Announcing(share) => self.announce_loaded(cx, share, outcome),
            Tag::HeadStored(share, seq) => self.head_stored(cx, share, seq, &outcome),
            Tag::Provided(share) => self.provided(cx, share, &outcome),
            Tag::Unattended => {}
            Tag::Unpublished { op, share } => self.unpublished(cx, op, share, outcome),
            Tag::Subscribed { op, share, new } => self.subscribed(cx, op, share, new, outcome),
            Tag::Unsubscribed(op) => self.unsubscribed(cx, op, outcome),
            Tag::Watching(peer) => self.watched(cx, peer, outcome),
            Tag::HeadsFound(share) => self.heads_found(cx, share, outcome),
            Tag::ProvidersFound(share) => self.providers_found(cx, share, outcome),
            Tag::Reached(share) => self.reached(cx, share, &outcome),
            Tag::Asked(share) => self.head_answered(cx, share, outcome),
            Tag::Fetched { share, round } => self.fetched(cx, share, round, outcome),
            Tag::Stored { share, round } => self.stored(cx, share, round, outcome),
            Tag::Browsed(op) => self.browsed(cx, op, outcome),
            Tag::Listed(op) => self.listed(cx, op, outcome),
            Tag::GetShare(op, get) => self.get_share_loaded(cx, op, get, outcome),
            Tag::GetContent { op, get, at } => self.get_content_loaded(cx, op, get, at, outcome),
            Tag::Serving(manifest) => self.serving_loaded(cx, manifest, outcome),
        }
        self.settle_syncs(cx);
    }

    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {
        if cx.roster.own_addrs != self.addrs {
            self.addrs.clone_from(&cx.roster.own_addrs);
            self.announce_moved(cx);
        }
        while let Some(timer) = self.timers.pop_due(cx.now.mono) {
            match timer {
                Timer::Sync(op) => self.end_sync(cx, op),
                Timer::Fetch(share) => self.fetch(cx, share),
                Timer::Poll(share) => self.look(cx, share),
                Timer::Announce(share) => self.announce(cx, share),
                Timer::Provide(share) => self.provide(cx, share),
                Timer::Watch => self.watch_unwatched(cx),
            }
        }
        self.settle_syncs(cx);
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.next().map(|(at, _)| at)
    }

    pub(crate) fn fill_status(&self, status: &mut Status) {
        let listed = self.shares.values().filter(|own| self.is_listed(own));
        status.shares = listed.count() as u32;
        status.subscriptions = self.subscriptions.len() as u32;
    }

    /// Own shares, by name.
    pub(crate) fn share_views(&self) -> Vec<ShareView> {
        let followers = |id| self.watchers.of(id).count() as u32;
        let mut views: Vec<_> = self
            .shares
            .iter()
            .filter(|(_, share)| self.is_listed(share))
            .map(|(id, share)| share.view(followers(id)))
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Subscriptions, by id.
    pub(crate) fn subscription_views(&self) -> Vec<SubscriptionView> {
        let subscriptions = self.subscriptions.iter();
        subscriptions
            .map(|(id, known)| known.view(*id, self.watchers.of(id)))
            .collect()
    }

    /// Sets a timer unless it runs out earlier already.
    fn set_by(&mut self, timer: Timer, at: Time) {
        if self.timers.at(&timer).is_none_or(|set| set > at) {
            self.timers.set(timer, at);
        }
    }

    /// A pause of up to five seconds, so that many shares do not all start at once.
    fn stagger(&mut self) -> Duration {
        Duration::from_micros(self.rng.below(5_000_000))
    }

    /// The search index keeps the shares followed and no others.
    fn index_followed(&self, cx: &mut Cx<'_>) {
        cx.index(IndexOp::Retain(
            self.subscriptions.keys().copied().collect(),
        ));
    }
}
