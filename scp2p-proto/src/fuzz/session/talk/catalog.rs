//! A share of the peer's, and what it would answer in good faith.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use ed25519_dalek::SigningKey;

use super::{PEER_IP, PEER_PORT};
use crate::content::{OutboardBuilder, chunk_count, chunk_len};
use crate::fuzz::session::NOW;
use crate::id::{CircuitId, ContentId, NodeKey, ShareKey};
use crate::io::Transport;
use crate::record::{Item, Manifest, Providers, ShareHead, Visibility, head_key, providers_key};
use crate::wire::{
    Answer, ChunkHashes, DialedBack, FoundValue, Have, HeadAnnounce, NewCircuit, Observed,
    PeerAddr, Request, Reservation, StoreRecord, SubtreePage,
};

const SMALL: &[u8] = b"some bytes";
/// Two chunks and a short one.
const LARGE_SIZE: u64 = 600_000;
/// The values of its chunks, which stand for bytes that nobody knows.
const LARGE_HASHES: [[u8; 32]; 3] = [[1; 32], [2; 32], [3; 32]];

/// The share, of which there is a revision of every number.
pub(super) struct Catalog {
    signing: SigningKey,
    /// The newest revision, and what names it.
    manifest: Manifest,
    head: ShareHead,
    large: ContentId,
    node: NodeKey,
}

impl Catalog {
    pub(super) fn new(node: NodeKey) -> Catalog {
        let mut builder = OutboardBuilder::new();
        for hash in LARGE_HASHES {
            builder.push(hash);
        }
        let large = builder.finish().expect("it has three chunks").content;
        let signing = SigningKey::from_bytes(&[3; 32]);
        let manifest = manifest(&signing, large, 1);
        Catalog {
            head: head(&signing, &manifest),
            manifest,
            signing,
            large,
            node,
        }
    }

    /// Another revision becomes the newest.
    pub(super) fn turn_to(&mut self, seq: u64) {
        self.manifest = manifest(&self.signing, self.large, seq);
        self.head = head(&self.signing, &self.manifest);
    }

    pub(super) fn key(&self) -> ShareKey {
        ShareKey(self.signing.verifying_key().to_bytes())
    }

    pub(super) fn large(&self) -> ContentId {
        self.large
    }

    pub(super) fn small() -> ContentId {
        ContentId(*blake3::hash(SMALL).as_bytes())
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(super) fn head(&self) -> ShareHead {
        self.head.clone()
    }

    pub(super) fn addrs(&self) -> Vec<PeerAddr> {
        Vec::from([PeerAddr {
            ip: PEER_IP.into(),
            port: PEER_PORT,
            transport: Transport::Quic,
            key: Some(self.node),
            relay_via: None,
        }])
    }

    /// The peer, and as many others that nobody has heard of.
    pub(super) fn providers(&self, content: ContentId, others: u8) -> Providers {
        let mut providers = self.addrs();
        providers.extend((0..others).map(|n| PeerAddr {
            port: u16::from(n),
            key: Some(NodeKey([n; 32])),
            ..self.addrs()[0].clone()
        }));
        Providers {
            content,
            providers,
            updated_at: NOW,
        }
    }

    /// The answer in good faith; `None` to what the peer does not have.
    pub(super) fn answer(&self, request: &Request) -> Option<Answer> {
        Some(match request {
            Request::PexOffer(_)
            | Request::Store(_)
            | Request::HaveContent(_)
            | Request::Ping
            | Request::Part
            | Request::HeadAnnounce(_)
            | Request::Incoming(_) => Answer::Ack,
            Request::Reserve => Answer::Reserved(Reservation {
                lease_secs: 600,
                circuits_max: 4,
                content: true,
            }),
            Request::Connect(_) => Answer::Circuit(NewCircuit {
                circuit: CircuitId(3),
                content: true,
            }),
            Request::Punch(punch) => Answer::Endpoints(punch.endpoints.clone()),
            Request::DialBack(_) => Answer::DialedBack(DialedBack {
                quic: false,
                tcp: true,
            }),
            Request::PexRequest { .. } | Request::FindNode(_) => Answer::Peers(self.addrs()),
            Request::FindValue(key) => Answer::Found(self.found(*key)),
            Request::GetManifest(id) => Answer::Manifest {
                id: *id,
                bytes: self.manifest().encode().into(),
            },
            Request::ListPublicShares { .. } => Answer::PublicShares(Vec::new()),
            Request::RelayRegister(_)
            | Request::RelayConnect(_)
            | Request::RelayStream(_)
            | Request::ListRelays { .. } => return None,
            Request::GetChunk { content, index } => Answer::Chunk {
                content: *content,
                index: *index,
                data: vec![0; chunk_len(self.size(content)?, *index)? as usize].into(),
            },
            Request::GetChunkHashes(content) => Answer::ChunkHashes(ChunkHashes {
                content: *content,
                hashes: LARGE_HASHES.as_flattened().to_vec().into(),
            }),
            Request::Listening(_) => Answer::Observed(Observed {
                ip: PEER_IP.into(),
                port: PEER_PORT,
            }),
            Request::Watch(_) => Answer::Heads(Vec::from([HeadAnnounce {
                key: self.key(),
                head: self.head(),
            }])),
            Request::GetSubtrees {
                content,
                level,
                page,
            } => Answer::Subtrees(SubtreePage {
                content: *content,
                size: self.size(content)?,
                level: *level,
                page: *page,
                hashes: LARGE_HASHES.as_flattened().to_vec().into(),
            }),
            Request::Have(contents) => Answer::Have(Have {
                sizes: contents.iter().map(|content| self.size(content)).collect(),
            }),
        })
    }

    fn size(&self, content: &ContentId) -> Option<u64> {
        if *content == self.large {
            Some(LARGE_SIZE)
        } else {
            (*content == Catalog::small()).then_some(SMALL.len() as u64)
        }
    }

    fn found(&self, key: crate::id::DhtKey) -> FoundValue {
        let share = self.key().share_id();
        let lists = [ContentId(share.0), self.large, Catalog::small()];
        let list = lists.iter().find(|content| providers_key(content) == key);
        let value = match list {
            Some(content) => Some(self.providers(*content, 1).encode()),
            None => (key == head_key(&share)).then(|| self.head().encode()),
        };
        FoundValue {
            record: value.map(|value| StoreRecord {
                key,
                value: value.into(),
                ttl_secs: 600,
                signer: None,
            }),
            peers: self.addrs(),
        }
    }
}

fn manifest(signing: &SigningKey, large: ContentId, seq: u64) -> Manifest {
    let item = |name: &str, content, size| Item {
        content,
        size,
        name: name.into(),
        path: Some(alloc::format!("folder/{name}")),
        mime: None,
        tags: Vec::new(),
        chunk_count: chunk_count(size).unwrap_or(0),
        chunk_list_hash: *blake3::hash(LARGE_HASHES.as_flattened()).as_bytes(),
    };
    let key = ShareKey(signing.verifying_key().to_bytes());
    let manifest = Manifest {
        version: 1,
        key,
        share: key.share_id(),
        seq,
        created_at: NOW,
        expires_at: None,
        title: Some(String::from("title")),
        description: None,
        visibility: Visibility::Public,
        communities: Vec::new(),
        items: Vec::from([
            item("small", Catalog::small(), SMALL.len() as u64),
            item("large", large, LARGE_SIZE),
            item("empty", ContentId(*blake3::hash(b"").as_bytes()), 0),
            item("..", ContentId([9; 32]), u64::MAX),
        ]),
        recommended_shares: Vec::new(),
        signature: None,
    };
    manifest.sign(signing)
}

fn head(signing: &SigningKey, manifest: &Manifest) -> ShareHead {
    let head = ShareHead {
        share: manifest.share,
        latest_seq: manifest.seq,
        latest_manifest: manifest.id(),
        updated_at: NOW,
        signature: [0; 64],
    };
    head.sign(signing)
}
