//! A node of one release. The API of all is the same, so this file is a module of each; the module around it says which
//! crate is `published`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ed25519_dalek::SigningKey;
use scp2p_proto::id::{ContentId, NodeKey, ShareId, ShareKey};
use scp2p_proto::io::Transport;
use scp2p_proto::record::ShareLink;
use scp2p_proto::wire::PeerAddr;
use tokio::runtime::{Builder, Runtime};

use super::published;
use crate::port::Reserved;
use crate::theirs::{Item, Published, Session, Setup};

#[path = "node_relay.rs"]
mod relay;

/// A node of this release, and the runtime that it runs on.
pub struct Node {
    handle: published::NodeHandle,
    dialler: Dialler,
    seeds: Vec<published::PeerAddr>,
    listening: Vec<PeerAddr>,
    told_addr: Option<PeerAddr>,
    policy: published::FetchPolicy,
    runtime: Runtime,
    // A listener for TLS does not tell which port it got.
    tls_port: Option<Reserved>,
}

impl Node {
    /// Starts one.
    pub fn start(setup: &Setup) -> Node {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let seeds: Vec<_> = setup.seeds.iter().map(to_published).collect();
        let config = published::NodeConfig {
            bind_quic: None,
            bind_tcp: None,
            ..published::NodeConfig::default()
        };
        let capabilities = config.capabilities.clone();
        let handle = runtime
            .block_on(published::Node::start(config))
            .expect("a node in memory");
        let key = runtime.block_on(handle.ensure_node_identity());
        let dialler = Dialler {
            key: key.expect("a key in memory"),
            capabilities,
            walls: setup.walls.clone(),
        };
        let mut node = Node {
            handle,
            dialler,
            seeds,
            listening: Vec::new(),
            told_addr: None,
            policy: published::FetchPolicy::default(),
            runtime,
            tls_port: None,
        };
        if setup.unlimited {
            node.lift_limits();
        }
        for transport in &setup.listens {
            match transport {
                Transport::Quic => node.listen_quic(),
                Transport::Tcp => node.listen_tls(),
            }
        }
        node
    }

    fn lift_limits(&mut self) {
        let limits = published::AbuseLimits {
            max_total_requests_per_window: u32::MAX,
            max_fetch_requests_per_window: u32::MAX,
            max_chunk_requests_per_window: u32::MAX,
            ..published::AbuseLimits::default()
        };
        let set = self.runtime.block_on(self.handle.set_abuse_limits(limits));
        set.expect("limits in memory");
        self.policy.max_chunks_per_peer = usize::MAX;
    }

    fn listen_quic(&mut self) {
        let _entered = self.runtime.enter();
        let server = published::start_quic_server(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port");
        self.listens(Transport::Quic, server.local_addr().expect("it is bound"));
        let Dialler {
            key, capabilities, ..
        } = self.dialler.clone();
        self.handle
            .clone()
            .start_quic_dht_service(server, key, capabilities);
    }

    fn listen_tls(&mut self) {
        let _entered = self.runtime.enter();
        let at = self.tls_port.get_or_insert_default().addr();
        let tls = published::build_tls_server_handle().expect("a certificate");
        let Dialler {
            key, capabilities, ..
        } = self.dialler.clone();
        let handle = self.handle.clone();
        handle.start_tls_dht_service(at, key, capabilities, Arc::new(tls));
        while std::net::TcpStream::connect(at).is_err() {
            std::thread::yield_now();
        }
        self.listens(Transport::Tcp, at);
    }

    fn listens(&mut self, transport: Transport, at: SocketAddr) {
        self.listening.push(PeerAddr {
            ip: at.ip(),
            port: at.port(),
            transport,
            key: Some(self.key()),
            relay_via: None,
        });
    }

    /// Where it says it can be reached: its first address if it was told no other, without its key, as published programs do.
    fn own_addr(&self) -> Option<published::PeerAddr> {
        let told = self.told_addr.as_ref().or(self.listening.first());
        let mut addr = to_published(told?);
        addr.pubkey_hint = None;
        Some(addr)
    }
}

impl Published for Node {
    fn key(&self) -> NodeKey {
        NodeKey(self.dialler.key.verifying_key().to_bytes())
    }

    fn addr(&self, transport: Transport) -> PeerAddr {
        let mut listening = self.listening.iter();
        let found = listening.find(|addr| addr.transport == transport);
        found.expect("it listens over that").clone()
    }

    fn tell_addr(&mut self, addr: PeerAddr) {
        self.told_addr = Some(addr);
    }

    fn join(&self, community: ShareKey) {
        let id = published::ShareId(community.share_id().0);
        let joined = self.handle.join_community(id, community.0);
        self.runtime.block_on(joined).expect("the id is the key's");
    }

    fn dial(&self, peer: &PeerAddr) -> Result<Session, String> {
        let peer = to_published(peer);
        let dialled = self.runtime.block_on(self.dialler.dial(&peer));
        let (session, stream) = dialled.map_err(text)?;
        Ok(Session {
            with: NodeKey(session.remote_node_pubkey),
            _stream: Box::new(stream),
        })
    }

    fn publish(&self, label: &str, files: &[PathBuf], base: Option<&Path>) -> ShareLink {
        let provider = self.provides_at();
        self.runtime.block_on(async {
            let share = self.handle.ensure_publisher_identity(label).await;
            let share = share.expect("a key of a share");
            let visibility = published::ShareVisibility::Public;
            self.handle
                .publish_files(files, base, label, None, visibility, &[], provider, &share)
                .await
                .expect("it is published");
            ShareLink {
                key: ShareKey(share.verifying_key().to_bytes()),
                bootstrap: Vec::new(),
            }
        })
    }

    fn republish(&self) -> Result<usize, String> {
        let stored = self.handle.dht_republish_once(&self.dialler, &self.seeds);
        self.runtime.block_on(stored).map_err(text)
    }

    fn subscribe(&self, link: &ShareLink) {
        let share = published::ShareId(link.share().0);
        let followed = self.handle.subscribe_with_pubkey(share, Some(link.key.0));
        self.runtime.block_on(followed).expect("it is followed");
    }

    fn subscribe_by_id(&self, share: ShareId) {
        let followed = self.handle.subscribe(published::ShareId(share.0));
        self.runtime.block_on(followed).expect("it is followed");
    }

    fn sync(&self) -> Result<(), String> {
        let handle = &self.handle;
        let synced = handle.sync_subscriptions_over_dht(&self.dialler, &self.seeds);
        self.runtime.block_on(synced).map_err(text)
    }

    fn revision(&self, share: ShareId) -> u64 {
        let followed = self.runtime.block_on(self.handle.subscriptions());
        let mut followed = followed.iter().filter(|sub| sub.share_id == share.0);
        followed.next().expect("it is followed").latest_seq
    }

    fn items(&self, share: ShareId) -> Vec<Item> {
        let listed = self.handle.list_share_items(share.0);
        let items = self.runtime.block_on(listed).expect("it is synced");
        let item = |item: published::ShareItemInfo| Item {
            content: ContentId(item.content_id),
            size: item.size,
            path: item.path.unwrap_or(item.name),
        };
        items.into_iter().map(item).collect()
    }

    fn search(&self, text: &str) -> Vec<String> {
        let query = published::SearchQuery {
            text: text.to_owned(),
        };
        let found = self.runtime.block_on(self.handle.search(query));
        let found = found.expect("its index answers").into_iter();
        found.map(|hit| hit.name).collect()
    }

    fn download(&self, content: ContentId, to: &Path) -> Result<(), String> {
        let to = to.to_str().expect("UTF-8");
        let download = self.handle.download_from_peers(
            &self.dialler,
            &self.seeds,
            content.0,
            to,
            &self.policy,
            self.own_addr(),
            None,
        );
        self.runtime.block_on(download).map_err(text)
    }
}

/// Dials for a node, anew for each request, as the published programs do.
#[derive(Clone)]
struct Dialler {
    key: SigningKey,
    capabilities: published::Capabilities,
    walls: Vec<SocketAddr>,
}

impl Dialler {
    async fn dial(
        &self,
        peer: &published::PeerAddr,
    ) -> anyhow::Result<(published::AuthenticatedSession, published::BoxedStream)> {
        let at = SocketAddr::new(peer.ip, peer.port);
        anyhow::ensure!(!self.walls.contains(&at), "nothing gets to {at} from here");
        let capabilities = self.capabilities.clone();
        let (key, expected) = (&self.key, peer.pubkey_hint);
        match peer.transport {
            published::TransportProtocol::Quic => {
                let dialled =
                    published::quic_connect_bi_session_insecure(at, key, capabilities, expected);
                let client = dialled.await?;
                Ok((client.session, Box::new(client.stream)))
            }
            published::TransportProtocol::Tcp => {
                let dialled =
                    published::tls_connect_session_insecure(at, key, capabilities, expected);
                let (stream, session) = dialled.await?;
                Ok((session, Box::new(stream)))
            }
        }
    }
}

#[async_trait]
impl published::PeerConnector for Dialler {
    async fn connect(&self, peer: &published::PeerAddr) -> anyhow::Result<published::BoxedStream> {
        let (_, stream) = self.dial(peer).await?;
        Ok(stream)
    }
}

fn to_published(addr: &PeerAddr) -> published::PeerAddr {
    published::PeerAddr {
        ip: addr.ip,
        port: addr.port,
        transport: match addr.transport {
            Transport::Quic => published::TransportProtocol::Quic,
            Transport::Tcp => published::TransportProtocol::Tcp,
        },
        pubkey_hint: addr.key.map(|key| key.0),
        relay_via: addr.relay_via.as_ref().map(|route| published::RelayRoute {
            relay_addr: Box::new(to_published(&route.relay)),
            slot_id: route.slot.0,
        }),
    }
}

/// What went wrong and why.
fn text(error: anyhow::Error) -> String {
    format!("{error:#}")
}
