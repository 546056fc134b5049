//! From the node's views and replies to their JSON forms.

use scp2p_proto::command;
use scp2p_proto::io::Transport;
use scp2p_proto::record;
use scp2p_proto::view::{self, Reach, ReachState, Tunnel};
use scp2p_proto::wire::{PeerAddr, Profile};
use scp2p_runtime_smol as runtime;

use super::{
    Attempt, Catalog, ClockDoubt, Download, DownloadState, Giver, Hit, Identity, Item, Listening,
    Observed, Peer, PublicShare, Published, Reachability, Refused, Session, Share, Started,
    Subscribed, Subscription, Synced, Text, Visibility,
};

/// The name of a transport.
pub fn transport(transport: Transport) -> String {
    match transport {
        Transport::Quic => "quic",
        Transport::Tcp => "tcp",
    }
    .to_owned()
}

/// A search result at this place.
pub fn hit(number: u64, hit: runtime::SearchHit) -> Hit {
    Hit {
        number,
        share: Text(hit.share),
        share_title: hit.share_title,
        path: hit.place,
        content: Text(hit.content),
        size: hit.size,
        mime: hit.mime,
        tags: hit.tags,
        score_milli: hit.score_milli,
    }
}

impl From<&runtime::Listening> for Listening {
    fn from(listening: &runtime::Listening) -> Self {
        Listening {
            quic: listening.quic.clone(),
            tcp: listening.tcp.clone(),
        }
    }
}

/// Whether others can dial a node, or find it through relays.
pub(super) fn reachability(status: &view::Status) -> Reachability {
    let reach = status.reachability;
    Reachability {
        state: reach_state(reach.state()),
        quic: reached(reach.quic),
        tcp: reached(reach.tcp),
        voices: reach.voices,
        attempts: status.attempts.iter().map(attempt).collect(),
        observed: status.observed.iter().map(observed).collect(),
    }
}

fn attempt(attempt: &view::AttemptView) -> Attempt {
    Attempt {
        peer: Text(attempt.peer),
        from: attempt.from,
        transport: transport(attempt.transport),
        reached: attempt.reached,
        ago_secs: attempt.ago.as_secs(),
    }
}

fn observed(observed: &view::ObservedView) -> Observed {
    Observed {
        ip: observed.ip,
        networks: observed.networks,
        believed: observed.is_believed,
    }
}

/// Those that lead through tunnels of deployed peers.
pub(super) fn tunnels(addresses: &[PeerAddr]) -> Vec<String> {
    let tunnels = addresses.iter().filter(|addr| addr.tunnel().is_some());
    tunnels.map(ToString::to_string).collect()
}

pub(super) fn reach_state(state: ReachState) -> String {
    match state {
        ReachState::Unknown => "unknown",
        ReachState::Direct => "direct",
        ReachState::Relayed => "relayed",
        ReachState::OutboundOnly => "outbound-only",
    }
    .to_owned()
}

impl From<view::ClockDoubt> for ClockDoubt {
    fn from(doubt: view::ClockDoubt) -> Self {
        ClockDoubt {
            likely: doubt.is_likely(),
            off_secs: doubt.off_secs,
            peers: doubt.peers,
            networks: doubt.networks,
        }
    }
}

pub(super) fn reached(reach: Reach) -> String {
    match reach {
        Reach::Unknown => "unknown",
        Reach::Reached => "reached",
        Reach::NotReached => "not-reached",
    }
    .to_owned()
}

impl From<view::Status> for Identity {
    fn from(status: view::Status) -> Self {
        Identity {
            key: Text(status.key),
            id: Text(status.id),
            tunnels: tunnels(&status.addresses),
            addresses: status.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<view::PeerView> for Peer {
    fn from(peer: view::PeerView) -> Self {
        Peer {
            key: Text(peer.key),
            session: peer.session.map(Session::from),
            addresses: peer.addresses.iter().map(ToString::to_string).collect(),
            last_seen: peer.last_seen.map(|at| at.0),
            score: peer.score,
            ours: peer.ours,
        }
    }
}

impl From<view::SessionView> for Session {
    fn from(session: view::SessionView) -> Self {
        Session {
            transport: transport(session.transport),
            remote: session.remote,
            via: session.via.map(Text),
            inbound: session.inbound,
            profile: match session.profile {
                Profile::A => "A",
                Profile::B => "B",
                Profile::C => "C",
            }
            .to_owned(),
            bound: session.bound,
            tunnel: session.tunnel.map(|part| {
                match part {
                    Tunnel::Relay => "relay",
                    Tunnel::Owner => "owner",
                    Tunnel::Requester => "requester",
                }
                .to_owned()
            }),
            rtt_us: session
                .rtt
                .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            received: session.received,
            sent: session.sent,
        }
    }
}

impl From<record::Visibility> for Visibility {
    fn from(visibility: record::Visibility) -> Self {
        match visibility {
            record::Visibility::Private => Visibility::Private,
            record::Visibility::Public => Visibility::Public,
        }
    }
}

impl From<Visibility> for record::Visibility {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Private => record::Visibility::Private,
            Visibility::Public => record::Visibility::Public,
        }
    }
}

impl From<view::ShareView> for Share {
    fn from(share: view::ShareView) -> Self {
        Share {
            id: Text(share.id),
            name: share.name,
            title: share.title,
            seq: share.seq,
            manifest: share.manifest.map(Text),
            items: share.items,
            bytes: share.bytes,
            visibility: share.visibility.into(),
            followers: share.followers,
            changed: share.changed.into_iter().map(|path| path.0).collect(),
        }
    }
}

impl From<view::SubscriptionView> for Subscription {
    fn from(subscription: view::SubscriptionView) -> Self {
        Subscription {
            id: Text(subscription.id),
            title: subscription.title,
            seq: subscription.seq,
            manifest: subscription.manifest.map(Text),
            items: subscription.items,
            bytes: subscription.bytes,
            checked: subscription.checked.map(|at| at.0),
            providers: subscription.providers,
        }
    }
}

impl From<view::DownloadView> for Download {
    fn from(download: view::DownloadView) -> Self {
        Download {
            id: download.id.0,
            name: download.name,
            folder: download.root.0,
            state: match download.state {
                view::DownloadState::Running => DownloadState::Running,
                view::DownloadState::Paused => DownloadState::Paused,
                view::DownloadState::Finished => DownloadState::Finished,
                view::DownloadState::Failed => DownloadState::Failed,
            },
            done: download.done,
            total: download.total,
            items_done: download.items_done,
            items: download.items,
            rate: download.rate,
            peers: download.peers.into_iter().map(Giver::from).collect(),
            waiting: download.waiting,
        }
    }
}

impl From<view::DownloadPeer> for Giver {
    fn from(peer: view::DownloadPeer) -> Self {
        Giver {
            key: Text(peer.key),
            bytes: peer.bytes,
            tunnel: peer.tunnel,
        }
    }
}

impl From<record::Manifest> for Catalog {
    fn from(manifest: record::Manifest) -> Self {
        Catalog {
            share: Text(manifest.share),
            seq: manifest.seq,
            title: manifest.title,
            description: manifest.description,
            visibility: manifest.visibility.into(),
            created: manifest.created_at.0,
            items: manifest.items.into_iter().map(Item::from).collect(),
        }
    }
}

impl From<record::Item> for Item {
    fn from(item: record::Item) -> Self {
        Item {
            path: item.path.unwrap_or(item.name),
            content: Text(item.content),
            size: item.size,
            mime: item.mime,
            tags: item.tags,
        }
    }
}

impl From<runtime::Published> for Published {
    fn from(published: runtime::Published) -> Self {
        Published {
            share: Text(published.share),
            seq: published.seq,
            manifest: Text(published.manifest),
            items: published.items,
            bytes: published.bytes,
            link: published.link.to_string(),
        }
    }
}

impl From<command::PublicShare> for PublicShare {
    fn from(share: command::PublicShare) -> Self {
        PublicShare {
            id: Text(share.link.share()),
            link: share.link.to_string(),
            title: share.title,
            description: share.description,
            seq: share.seq,
            peers: share.peers,
        }
    }
}

impl From<runtime::Subscribed> for Subscribed {
    fn from(subscribed: runtime::Subscribed) -> Self {
        Subscribed {
            share: Text(subscribed.share),
            new: subscribed.new,
        }
    }
}

impl From<runtime::Synced> for Synced {
    fn from(synced: runtime::Synced) -> Self {
        Synced {
            shares: synced.shares,
            updated: synced.updated,
        }
    }
}

impl From<runtime::Started> for Started {
    fn from(started: runtime::Started) -> Self {
        Started {
            download: started.download.0,
            items: started.items,
            bytes: started.bytes,
            refused: started.refused.into_iter().map(Refused::from).collect(),
        }
    }
}

impl From<command::RefusedItem> for Refused {
    fn from(item: command::RefusedItem) -> Self {
        Refused {
            path: item.path,
            reason: item.reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use scp2p_proto::id::{NodeKey, RelaySlotId};
    use scp2p_proto::wire::RelayRoute;

    use super::*;

    #[test]
    fn tunnels_are_the_addresses_with_a_slot_at_a_deployed_relay() {
        let relay = PeerAddr {
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 7001,
            transport: Transport::Tcp,
            key: Some(NodeKey([1; 32])),
            relay_via: None,
        };
        let through = |slot| PeerAddr {
            relay_via: Some(Box::new(RelayRoute {
                relay: relay.clone(),
                slot: RelaySlotId(slot),
            })),
            ..relay.clone()
        };
        let all = [relay.clone(), through(0), through(9)];
        assert_eq!(tunnels(&all), [all[2].to_string()]);
    }
}
