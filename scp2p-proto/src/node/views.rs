//! What applications may look at.

use alloc::vec::Vec;

use super::Node;
use crate::cx::Tag;
use crate::id::NodeKey;
use crate::view::{
    Cause, DownloadView, PeerView, RelayView, ShareView, Stats, Status, Subject, SubscriptionView,
};

impl Node {
    /// The node at a glance.
    pub fn status(&self) -> Status {
        let mut status = Status {
            key: self.keys.public(),
            id: self.keys.public().node_id(),
            connected: self.sessions.roster().len() as u32,
            relayed: self.sessions.roster().relayed() as u32,
            known: 0,
            contacts: 0,
            values: 0,
            shares: 0,
            subscriptions: 0,
            downloads: 0,
            paused: 0,
            sources: 0,
            downloaded: 0,
            uploaded: 0,
            addresses: self.sessions.roster().own_addrs.clone(),
            reachability: self.peers.reachability(&self.config),
            attempts: Vec::new(),
            observed: Vec::new(),
            clock: None,
        };
        let roster = self.sessions.roster();
        self.peers.fill_status(&mut status, roster, self.now);
        self.dht.fill_status(&mut status);
        self.catalogs.fill_status(&mut status);
        self.transfers.fill_status(&mut status);
        status
    }

    /// What this node relays for others.
    pub fn relay(&self) -> RelayView {
        self.relay.view(self.now)
    }

    /// What the node did since it started, as plain counters.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.sessions.fill_stats(&mut stats);
        self.peers.fill_stats(&mut stats);
        self.dht.fill_stats(&mut stats);
        self.transfers.fill_stats(&mut stats);
        stats
    }

    /// All peers known, connected ones first.
    pub fn peers(&self) -> Vec<PeerView> {
        self.peers.views(self.sessions.roster())
    }

    /// The keys of all that [`Node::peers`] tells about, in the order of keys.
    pub fn peer_keys(&self) -> impl Iterator<Item = NodeKey> {
        let tunnels = self.sessions.roster().tunnels();
        self.peers.keys().chain(tunnels.map(|(name, _)| *name))
    }

    /// Own shares, by name.
    pub fn shares(&self) -> Vec<ShareView> {
        self.catalogs.share_views()
    }

    /// Subscriptions, by id.
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        self.catalogs.subscription_views()
    }

    /// Downloads, newest first.
    pub fn downloads(&self) -> Vec<DownloadView> {
        self.transfers.views(self.now)
    }

    /// Why something is not done: everything unfinished has a cause, and what is done has none. A
    /// subscription is never done, and a connected peer has its session as the cause.
    pub fn why(&self, subject: Subject) -> Vec<Cause> {
        let roster = self.sessions.roster();
        match subject {
            Subject::Download(id) => {
                named(self.transfers.why(id, self.open_tags()), Cause::Download)
            }
            Subject::Subscription(share) => {
                named(self.catalogs.why_subscription(share), Cause::Subscription)
            }
            Subject::Share(share) => {
                let causes = self.catalogs.why_share(share, self.open_tags());
                named(causes, Cause::Share)
            }
            Subject::Peer(peer) => {
                let own = self.keys.public();
                let causes = self.peers.why(peer, own, roster, self.now);
                named(Some(causes), Cause::Peer)
            }
        }
    }

    /// What all outcomes outstanding were asked for.
    pub(super) fn open_tags(&self) -> impl Iterator<Item = &Tag> {
        let outside = self.pending.tags();
        let inside = self.dht.tags().chain(self.peers.tags());
        outside.chain(inside).chain(self.relay.tags())
    }
}

fn named<C>(causes: Option<Vec<C>>, name: fn(C) -> Cause) -> Vec<Cause> {
    match causes {
        Some(causes) => causes.into_iter().map(name).collect(),
        None => Vec::from([Cause::Unknown]),
    }
}
