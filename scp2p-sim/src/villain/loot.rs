//! What a villain finds out of the shares of others, as a follower of them would.

use std::collections::BTreeMap;

use bytes::Bytes;
use scp2p_proto::content::{chunk_count, chunk_len};
use scp2p_proto::id::{ContentId, LinkId, NodeKey, ShareId, ShareKey};
use scp2p_proto::limits::CONTENT_LEN_MAX;
use scp2p_proto::record::{Manifest, Providers, ShareHead, head_key, providers_key};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Answer, Have, HeadAnnounce, PeerAddr, Request, StoreRecord, SubtreePage};

use super::talker::Talker;

/// Shares that it looks into.
const SHARES_MAX: usize = 16;
/// Heads that it remembers of each, the first and the newest.
const HEADS_MAX: usize = 8;
/// Contents that it remembers.
const CONTENTS_MAX: usize = 64;
/// Chunks that it has of each content.
const CHUNKS_MAX: u32 = 3;

/// A content of others.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub size: u64,
    /// Its first chunks.
    pub chunks: BTreeMap<u32, Bytes>,
    /// Its only page of hashes, if it has no more.
    pub page: Option<SubtreePage>,
}

impl Content {
    pub fn count(&self) -> u32 {
        chunk_count(self.size).unwrap_or(0)
    }

    /// What a chunk should be, or bytes of the right length.
    pub fn chunk(&self, talker: &mut Talker, index: u32) -> Bytes {
        let len = chunk_len(self.size, index).unwrap_or(1) as usize;
        let kept = self.chunks.get(&index).cloned();
        kept.unwrap_or_else(|| talker.noise(len).into())
    }
}

/// Heads, manifests and contents of honest hosts' shares.
#[derive(Debug, Default)]
pub(super) struct Loot {
    pub keys: BTreeMap<ShareId, ShareKey>,
    /// The genuine heads seen of each share, in the order seen.
    pub heads: BTreeMap<ShareId, Vec<ShareHead>>,
    pub manifests: BTreeMap<ShareId, Manifest>,
    pub contents: BTreeMap<ContentId, Content>,
    /// How many shares each session was asked for.
    watched: BTreeMap<LinkId, usize>,
}

impl Loot {
    /// Asks for what it does not know yet, a few requests at a time.
    pub fn search(&mut self, talker: &mut Talker) {
        let shares: Vec<ShareKey> = talker.known.shares.iter().map(|link| link.key).collect();
        for key in shares.into_iter().take(SHARES_MAX) {
            self.keys.insert(key.share_id(), key);
        }
        let sessions = talker.sessions();
        self.watched.retain(|link, _| talker.is_open(*link));
        for link in sessions {
            let watched = self.watched.insert(link, self.keys.len());
            if watched != Some(self.keys.len()) && !self.keys.is_empty() {
                talker.ask(link, Request::Watch(self.keys.keys().copied().collect()));
            }
        }
        let Some(link) = talker.session() else {
            return;
        };
        for (share, heads) in &self.heads {
            let known = self.manifests.get(share).map_or(0, |manifest| manifest.seq);
            if let Some(head) = heads.last().filter(|head| head.latest_seq > known) {
                talker.ask(link, Request::GetManifest(head.latest_manifest));
            }
        }
        let lacking = self.contents.iter().find_map(|(id, content)| {
            let first = content.count().min(CHUNKS_MAX);
            let missing = (0..first).find(|index| !content.chunks.contains_key(index));
            let no_page = content.page.is_none() && content.count() > 1;
            (missing.is_some() || no_page).then_some((*id, missing, no_page))
        });
        if let Some((content, missing, no_page)) = lacking {
            if let Some(index) = missing {
                talker.ask(link, Request::GetChunk { content, index });
            }
            if no_page {
                let (level, page) = (0, 0);
                let request = Request::GetSubtrees {
                    content,
                    level,
                    page,
                };
                talker.ask(link, request);
            }
        }
    }

    /// Takes the answer to a request that it may have made.
    pub fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Heads(heads) => heads.into_iter().for_each(|head| self.see(head)),
            Answer::Manifest { bytes, .. } => self.manifest(&bytes),
            Answer::Chunk {
                content,
                index,
                data,
            } => {
                if let Some(content) = self.contents.get_mut(&content)
                    && index < CHUNKS_MAX
                    && chunk_len(content.size, index) == u32::try_from(data.len()).ok()
                {
                    content.chunks.insert(index, data);
                }
            }
            Answer::Subtrees(page) => {
                if let Some(content) = self.contents.get_mut(&page.content)
                    && content.size == page.size
                {
                    content.page = Some(page);
                }
            }
            Answer::Ack
            | Answer::Peers(_)
            | Answer::Found(_)
            | Answer::PublicShares(_)
            | Answer::RelayRegistered(_)
            | Answer::RelayStream(_)
            | Answer::Relays(_)
            | Answer::ChunkHashes(_)
            | Answer::Observed(_)
            | Answer::DialedBack(_)
            | Answer::Endpoints(_)
            | Answer::Reserved(_)
            | Answer::Circuit(_)
            | Answer::Have(_) => {}
        }
    }

    /// Takes a head that somebody shows.
    pub fn see(&mut self, announce: HeadAnnounce) {
        let share = announce.head.share;
        if !announce.head.verify(&announce.key) || !self.keys.contains_key(&share) {
            return;
        }
        let heads = self.heads.entry(share).or_default();
        if heads.contains(&announce.head) {
            return;
        }
        if heads
            .last()
            .is_some_and(|known| known.newer_than(&announce.head))
        {
            return;
        }
        if heads.len() >= HEADS_MAX {
            heads.remove(1);
        }
        heads.push(announce.head);
    }

    fn manifest(&mut self, bytes: &[u8]) {
        let Ok(manifest) = Manifest::decode(bytes) else {
            return;
        };
        for item in &manifest.items {
            if self.contents.len() < CONTENTS_MAX && item.size <= CONTENT_LEN_MAX {
                let content = self.contents.entry(item.content).or_default();
                content.size = item.size;
            }
        }
        self.manifests.insert(manifest.share, manifest);
    }

    /// Poses as a source: looks for contents, and once there is something to show of one claims to have
    /// them, every fifth time.
    pub fn pose(&mut self, talker: &mut Talker) {
        self.search(talker);
        let mut contents = self.contents.values();
        if contents.any(|content| !content.chunks.is_empty()) && talker.rng.chance(1, 5) {
            self.claim(talker);
        }
    }

    /// Says in the DHT that it provides the contents and shares, one of them at a time.
    fn claim(&self, talker: &mut Talker) {
        let contents = self.contents.keys().copied();
        let shares = self.keys.keys().map(|share| ContentId(share.0));
        let all: Vec<ContentId> = contents.chain(shares).collect();
        if let (Some(content), Some(link)) = (talker.rng.pick(&all).copied(), talker.session()) {
            let addrs = talker.own_addrs();
            let (at, life) = (talker.now.unix, 3600);
            talker.ask(link, store_providers(content, addrs, at, life));
            talker.ask(link, Request::HaveContent(content));
            talker.deed("claims");
        }
    }

    /// Says to have everything that it was asked for.
    pub fn have(&self, contents: &[ContentId]) -> Answer {
        let size = |id: &ContentId| self.contents.get(id).map_or(1, |content| content.size);
        Answer::Have(Have {
            sizes: contents.iter().map(|id| Some(size(id))).collect(),
        })
    }
}

/// A STORE of a list of providers.
pub(super) fn store_providers(
    content: ContentId,
    providers: Vec<PeerAddr>,
    updated_at: UnixTime,
    ttl_secs: u64,
) -> Request {
    let value = Providers {
        content,
        providers,
        updated_at,
    };
    Request::Store(StoreRecord {
        key: providers_key(&content),
        value: value.encode().into(),
        ttl_secs,
        signer: None,
    })
}

/// A STORE of a head.
pub(super) fn store_head(head: &ShareHead, signer: Option<ShareKey>, ttl_secs: u64) -> Request {
    Request::Store(StoreRecord {
        key: head_key(&head.share),
        value: head.encode().into(),
        ttl_secs,
        signer,
    })
}

/// Where nobody should be sent from outside.
pub(super) const NOWHERE: [&str; 14] = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.5.5",
    "169.254.1.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
];

/// A peer that nobody knows, somewhere.
pub(super) fn stranger(talker: &mut Talker, ip: std::net::IpAddr, port: u16) -> PeerAddr {
    PeerAddr {
        ip,
        port,
        transport: *talker
            .rng
            .pick(&[
                scp2p_proto::io::Transport::Quic,
                scp2p_proto::io::Transport::Tcp,
            ])
            .unwrap_or(&scp2p_proto::io::Transport::Quic),
        key: Some(NodeKey(talker.random())),
        relay_via: None,
    }
}
