//! A node of one release and relays. A part of the module of a node.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use scp2p_proto::id::RelaySlotId;
use scp2p_proto::wire::RelayRoute;
use tokio::io::AsyncReadExt;

use super::published::wire;
use super::*;
use crate::theirs::{Held, Relaying};

/// How long a relay has to answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Where somebody says to be who listens nowhere.
const NOWHERE: published::PeerAddr = published::PeerAddr {
    ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
    port: 1,
    transport: published::TransportProtocol::Tcp,
    pubkey_hint: None,
    relay_via: None,
};

impl Node {
    /// Where it says that it provides: through its relay, if it has a tunnel.
    pub(super) fn provides_at(&self) -> published::PeerAddr {
        let own = self.own_addr().unwrap_or(NOWHERE);
        self.runtime.block_on(self.handle.relayed_self_addr(own))
    }

    fn transport(&self) -> published::RelayAwareTransport<'_, Dialler> {
        published::RelayAwareTransport::new(&self.dialler)
    }
}

impl Relaying for Node {
    fn tunnel(&self, relay: &PeerAddr) -> Result<RelaySlotId, String> {
        let relay = to_published(relay);
        let registered = self.handle.register_relay_tunnel(&self.dialler, &relay);
        let slot = self.runtime.block_on(registered).map_err(text)?;
        let provided = self.handle.reannounce_content_providers(self.provides_at());
        self.runtime.block_on(provided).map_err(text)?;
        Ok(RelaySlotId(slot.slot_id))
    }

    fn slots(&self) -> Vec<RelaySlotId> {
        let slots = self.runtime.block_on(self.handle.active_relay_slots());
        slots.iter().map(|slot| RelaySlotId(slot.slot_id)).collect()
    }

    fn register(&self, relay: &PeerAddr, slot: Option<RelaySlotId>) -> Result<Held, String> {
        let register = wire::WirePayload::RelayRegister(wire::RelayRegister {
            relay_slot_id: slot.map(|slot| slot.0),
            tunnel: true,
        });
        let registering = async {
            let mut stream = self.dialler.dial(&to_published(relay)).await?.1;
            let request = wire::Envelope::from_typed(1, 0, &register)?;
            let answer =
                published::send_request_on_stream(&mut stream, request, ANSWER_TIME).await?;
            let wire::WirePayload::RelayRegistered(registered) = answer.decode_typed()? else {
                anyhow::bail!("{answer:?}");
            };
            Ok((stream, registered))
        };
        let (mut stream, registered) = self.runtime.block_on(registering).map_err(text)?;
        let is_open = Arc::new(AtomicBool::new(true));
        let (ended, is_open_now) = (is_open.clone(), is_open);
        let reading = self.runtime.spawn(async move {
            // Requests are not answered.
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
            ended.store(false, Ordering::Relaxed);
        });
        let reading = AbortOnDrop(reading.abort_handle());
        Ok(Held {
            slot: RelaySlotId(registered.relay_slot_id),
            is_open: Box::new(move || {
                let _held = &reading;
                is_open_now.load(Ordering::Relaxed)
            }),
        })
    }

    fn providers(&self, content: ContentId) -> Vec<PeerAddr> {
        let key = published::content_provider_key(&content.0);
        let transport = self.transport();
        let found = self
            .handle
            .dht_find_value_from_network(&transport, key, &self.seeds);
        let found = self.runtime.block_on(found).expect("a lookup");
        let Some(found) = found else {
            return Vec::new();
        };
        let found: wire::Providers = published::cbor::from_slice(&found.value).expect("a list");
        found.providers.iter().map(from_published).collect()
    }

    fn public_shares(&self, peer: &PeerAddr) -> Result<Vec<String>, String> {
        let (peer, transport) = (to_published(peer), self.transport());
        let listed = self
            .handle
            .fetch_public_shares_from_peer(&transport, &peer, 100);
        let listed = self.runtime.block_on(listed).map_err(text)?;
        let titles = listed.into_iter().filter_map(|share| share.title);
        Ok(titles.collect())
    }

    fn announce(&self) -> usize {
        // Where published programs listen has no key.
        let keyless = |addr: &PeerAddr| published::PeerAddr {
            pubkey_hint: None,
            ..to_published(addr)
        };
        let addrs = self.listening.iter().map(keyless).collect();
        let capacity = published::RelayCapacity {
            max_tunnels: 64,
            bandwidth_class: published::BandwidthClass::Medium,
            max_bytes_per_tunnel: None,
        };
        self.runtime.block_on(async {
            let life_secs = published::RELAY_ANNOUNCEMENT_MAX_TTL_SECS;
            let key = &self.dialler.key;
            let announcement = self
                .handle
                .publish_relay_announcement(key, addrs, capacity, life_secs)
                .await
                .expect("it is signed");
            self.handle
                .publish_relay_announcement_to_dht(&self.dialler, &announcement, &self.seeds)
                .await
                .expect("it is stored")
        })
    }

    fn relays_of(&self, peer: &PeerAddr) -> Vec<NodeKey> {
        let peer = to_published(peer);
        self.runtime.block_on(async {
            let listed = self
                .handle
                .fetch_relay_list_from_peer(&self.dialler, &peer, 64)
                .await
                .expect("a list");
            let mut keys = Vec::new();
            for announcement in listed {
                let key = NodeKey(announcement.relay_pubkey);
                let taken = self.handle.ingest_relay_announcements(vec![announcement]);
                if taken.await.expect("a clock") == 1 {
                    keys.push(key);
                }
            }
            keys
        })
    }

    fn finds_relay(&self, at: &PeerAddr) -> bool {
        self.runtime.block_on(async {
            let found = self
                .handle
                .discover_relays_from_dht(&self.dialler, &self.seeds);
            found.await.expect("a lookup");
            let known = self.handle.select_relay_peers(usize::MAX).await;
            let at = SocketAddr::new(at.ip, at.port);
            let mut known = known.expect("a clock").into_iter();
            known.any(|relay| SocketAddr::new(relay.ip, relay.port) == at)
        })
    }
}

/// Ends a task.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn from_published(addr: &published::PeerAddr) -> PeerAddr {
    PeerAddr {
        ip: addr.ip,
        port: addr.port,
        transport: match addr.transport {
            published::TransportProtocol::Quic => Transport::Quic,
            published::TransportProtocol::Tcp => Transport::Tcp,
        },
        key: addr.pubkey_hint.map(NodeKey),
        relay_via: addr.relay_via.as_ref().map(|route| {
            Box::new(RelayRoute {
                relay: from_published(&route.relay_addr),
                slot: RelaySlotId(route.slot_id),
            })
        }),
    }
}
