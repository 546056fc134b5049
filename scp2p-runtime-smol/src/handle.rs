//! What applications hold to talk to a running node.

use async_channel::Sender;
use scp2p_proto::command::{Command, CommandError, Get, PublicShare, Publish, RefusedItem, Reply};
use scp2p_proto::config::RelayLimits;
use scp2p_proto::id::{DownloadId, ManifestId, ShareId};
use scp2p_proto::record::{Manifest, ShareLink};
use scp2p_proto::view::{
    DownloadView, PeerView, RelayView, ShareView, Stats, Status, SubscriptionView,
};
use scp2p_proto::wire::BootstrapAddr;

use crate::disk::{PAGE_MAX, SearchError, SearchPage, SearchQuery};
use crate::events::{Broadcast, EventStream};

/// Talks to a running node. Cheap to clone; every clone talks to the same node.
///
/// Every method fails with [`CommandError::Stopping`] when the runtime is gone.
#[derive(Debug, Clone)]
pub struct Handle {
    asks: Sender<Ask>,
    events: Broadcast,
}

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Carry out a command.
    Command(Command, Sender<Result<Reply, CommandError>>),
    /// The node at a glance.
    Status(Sender<Status>),
    /// All peers.
    Peers(Sender<Vec<PeerView>>),
    /// All own shares.
    Shares(Sender<Vec<ShareView>>),
    /// All subscriptions.
    Subscriptions(Sender<Vec<SubscriptionView>>),
    /// All downloads.
    Downloads(Sender<Vec<DownloadView>>),
    /// What the node does as a relay.
    Relay(Sender<RelayView>),
    /// What the node did since it started.
    Stats(Sender<Stats>),
    /// Search the catalogs.
    Search(SearchQuery, Sender<Result<SearchPage, SearchError>>),
}

/// What [`Handle::publish`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The share.
    pub share: ShareId,
    /// Its new sequence number.
    pub seq: u64,
    /// The manifest's id.
    pub manifest: ManifestId,
    /// How many items it lists.
    pub items: u32,
    /// How many bytes they have.
    pub bytes: u64,
    /// The link to give to others.
    pub link: ShareLink,
}

/// What [`Handle::subscribe`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribed {
    /// The share.
    pub share: ShareId,
    /// False if it was followed already.
    pub new: bool,
}

/// What [`Handle::sync`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// How many shares were looked up.
    pub shares: u32,
    /// How many of them got a newer revision.
    pub updated: u32,
}

/// What [`Handle::get`] started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The download's id.
    pub download: DownloadId,
    /// Items that will be fetched.
    pub items: u32,
    /// Bytes they have.
    pub bytes: u64,
    /// Items refused for their names; nothing is written for them.
    pub refused: Vec<RefusedItem>,
}

impl Handle {
    pub(crate) fn new(asks: Sender<Ask>, events: Broadcast) -> Handle {
        Handle { asks, events }
    }

    /// Carries out any command.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        self.ask(|answer| Ask::Command(command, answer)).await?
    }

    /// Publishes files as the next revision of an own share; returns when it is durable.
    pub async fn publish(&self, publish: Publish) -> Result<Published, CommandError> {
        let Reply::Published {
            share,
            seq,
            manifest,
            items,
            bytes,
            link,
        } = self.command(Command::Publish(publish)).await?
        else {
            unreachable!("the node answers publish by Published");
        };
        Ok(Published {
            share,
            seq,
            manifest,
            items,
            bytes,
            link,
        })
    }

    /// Follows a share; returns when that is durable. The catalog may arrive later.
    pub async fn subscribe(&self, link: ShareLink) -> Result<Subscribed, CommandError> {
        let Reply::Subscribed { share, new } = self.command(Command::Subscribe(link)).await? else {
            unreachable!("the node answers subscribe by Subscribed");
        };
        Ok(Subscribed { share, new })
    }

    /// Stops following a share.
    pub async fn unsubscribe(&self, share: ShareId) -> Result<(), CommandError> {
        self.command(Command::Unsubscribe(share)).await.map(drop)
    }

    /// Takes back an own share; returns when that is durable. Its key and last number are kept.
    pub async fn unpublish(&self, share: ShareId) -> Result<(), CommandError> {
        self.command(Command::Unpublish(share)).await.map(drop)
    }

    /// Looks for newer revisions now, of one share or of all.
    pub async fn sync(&self, share: Option<ShareId>) -> Result<Synced, CommandError> {
        let Reply::Synced { shares, updated } = self.command(Command::Sync(share)).await? else {
            unreachable!("the node answers sync by Synced");
        };
        Ok(Synced { shares, updated })
    }

    /// The public shares of connected peers.
    pub async fn list_public(&self) -> Result<Vec<PublicShare>, CommandError> {
        let Reply::Public(shares) = self.command(Command::ListPublic).await? else {
            unreachable!("the node answers list by Public");
        };
        Ok(shares)
    }

    /// The newest catalog known of an own or subscribed share.
    pub async fn browse(&self, share: ShareId) -> Result<Manifest, CommandError> {
        let Reply::Catalog(manifest) = self.command(Command::Browse(share)).await? else {
            unreachable!("the node answers browse by Catalog");
        };
        Ok(*manifest)
    }

    /// The link of an own or subscribed share.
    pub async fn link(&self, share: ShareId) -> Result<ShareLink, CommandError> {
        let Reply::Link(link) = self.command(Command::Link(share)).await? else {
            unreachable!("the node answers link by Link");
        };
        Ok(link)
    }

    /// Starts a download; returns when that is durable.
    pub async fn get(&self, get: Get) -> Result<Started, CommandError> {
        let Reply::Started {
            download,
            items,
            bytes,
            refused,
        } = self.command(Command::Get(get)).await?
        else {
            unreachable!("the node answers get by Started");
        };
        Ok(Started {
            download,
            items,
            bytes,
            refused,
        })
    }

    /// Ends a download and deletes its partial files.
    pub async fn cancel(&self, download: DownloadId) -> Result<(), CommandError> {
        self.command(Command::Cancel(download)).await.map(drop)
    }

    /// Stops asking for a download until it is resumed; returns when that is durable.
    pub async fn pause(&self, download: DownloadId) -> Result<(), CommandError> {
        self.command(Command::Pause(download)).await.map(drop)
    }

    /// Goes on with a download that was paused; returns when that is durable.
    pub async fn resume(&self, download: DownloadId) -> Result<(), CommandError> {
        self.command(Command::Resume(download)).await.map(drop)
    }

    /// Adds a bootstrap peer for this run.
    pub async fn add_bootstrap(&self, peer: BootstrapAddr) -> Result<(), CommandError> {
        self.command(Command::AddBootstrap(peer)).await.map(drop)
    }

    /// Relays for others within these limits from now on; what these would refuse ends.
    pub async fn set_relay(&self, limits: RelayLimits) -> Result<(), CommandError> {
        self.command(Command::SetRelay(limits)).await.map(drop)
    }

    /// Stops the node; [`Runtime::stopped`](crate::Runtime::stopped) tells when it is done.
    pub async fn shutdown(&self) -> Result<(), CommandError> {
        self.command(Command::Shutdown).await.map(drop)
    }

    /// The node at a glance.
    pub async fn status(&self) -> Result<Status, CommandError> {
        self.ask(Ask::Status).await
    }

    /// All peers known.
    pub async fn peers(&self) -> Result<Vec<PeerView>, CommandError> {
        self.ask(Ask::Peers).await
    }

    /// All own shares.
    pub async fn shares(&self) -> Result<Vec<ShareView>, CommandError> {
        self.ask(Ask::Shares).await
    }

    /// All subscriptions.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionView>, CommandError> {
        self.ask(Ask::Subscriptions).await
    }

    /// All downloads.
    pub async fn downloads(&self) -> Result<Vec<DownloadView>, CommandError> {
        self.ask(Ask::Downloads).await
    }

    /// What the node does as a relay.
    pub async fn relay(&self) -> Result<RelayView, CommandError> {
        self.ask(Ask::Relay).await
    }

    /// What the node did since it started.
    pub async fn stats(&self) -> Result<Stats, CommandError> {
        self.ask(Ask::Stats).await
    }

    /// Searches the catalogs of subscribed shares.
    pub async fn search(&self, query: SearchQuery) -> Result<SearchPage, SearchError> {
        if !(1..=PAGE_MAX).contains(&query.limit) {
            return Err(SearchError::Limit(query.limit));
        }
        self.ask(|answer| Ask::Search(query, answer))
            .await
            .unwrap_or(Err(SearchError::Stopping))
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    async fn ask<T>(&self, ask: impl FnOnce(Sender<T>) -> Ask) -> Result<T, CommandError> {
        let (sender, answer) = async_channel::bounded(1);
        self.asks
            .send(ask(sender))
            .await
            .map_err(|_| CommandError::Stopping)?;
        answer.recv().await.map_err(|_| CommandError::Stopping)
    }
}
