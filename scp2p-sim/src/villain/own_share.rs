//! Shares of villains, signed as any.

use scp2p_proto::content::chunk_count;
use scp2p_proto::id::{ContentId, ShareKey};
use scp2p_proto::io::Host;
use scp2p_proto::keys::Keys;
use scp2p_proto::record::{Item, Manifest, ShareHead, ShareLink, Visibility, head_key};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Answer, BootstrapAddr, FoundValue, HeadAnnounce, Request, StoreRecord};

use super::talker::Talker;

/// The key of a share.
#[derive(Debug)]
pub(super) struct OwnShare {
    keys: Keys,
}

impl OwnShare {
    pub fn new(talker: &mut Talker) -> OwnShare {
        OwnShare {
            keys: Keys::from_seed(talker.random()),
        }
    }

    pub fn key(&self) -> ShareKey {
        ShareKey(self.keys.public().0)
    }

    /// The link that others follow it by, with the villain as a hint.
    pub fn link(&self, talker: &Talker) -> ShareLink {
        let own = talker.own_addrs().into_iter();
        let bootstrap = own.map(|addr| BootstrapAddr {
            transport: Some(addr.transport),
            host: Host::Ip(addr.ip),
            port: addr.port,
            key: addr.key,
        });
        ShareLink {
            key: self.key(),
            bootstrap: bootstrap.collect(),
        }
    }

    /// A revision.
    pub fn manifest(&self, seq: u64, at: UnixTime, items: Vec<Item>) -> Manifest {
        self.sign(Manifest {
            version: 1,
            key: self.key(),
            share: self.key().share_id(),
            seq,
            created_at: at,
            expires_at: None,
            title: Some(String::from("Gifts")),
            description: None,
            visibility: Visibility::Public,
            communities: Vec::new(),
            items,
            recommended_shares: Vec::new(),
            signature: None,
        })
    }

    pub fn sign(&self, manifest: Manifest) -> Manifest {
        manifest.sign(self.keys.signing())
    }

    /// A head that names a manifest under any number.
    pub fn head(&self, manifest: &Manifest, seq: u64, at: UnixTime) -> ShareHead {
        let head = ShareHead {
            share: self.key().share_id(),
            latest_seq: seq,
            latest_manifest: manifest.id(),
            updated_at: at,
            signature: [0; 64],
        };
        head.sign(self.keys.signing())
    }

    /// The answer to a request for a head of the share; `None` if something else is asked for.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all else is not about the head"
    )]
    pub fn show(&self, talker: &Talker, request: &Request, head: &ShareHead) -> Option<Answer> {
        match request {
            Request::Watch(shares) if shares.contains(&head.share) => {
                Some(Answer::Heads(vec![self.announce(head.clone())]))
            }
            Request::FindValue(key) if *key == head_key(&head.share) => {
                let record = StoreRecord {
                    key: *key,
                    value: head.encode().into(),
                    ttl_secs: 3600,
                    signer: Some(self.key()),
                };
                Some(Answer::Found(FoundValue {
                    record: Some(record),
                    peers: talker.peers(),
                }))
            }
            _other => None,
        }
    }

    pub fn announce(&self, head: ShareHead) -> HeadAnnounce {
        HeadAnnounce {
            key: self.key(),
            head,
        }
    }
}

/// A file of a catalog, of these bytes.
pub(super) fn item(path: impl Into<String>, bytes: &[u8]) -> Item {
    let path = path.into();
    let hash = *blake3::hash(bytes).as_bytes();
    Item {
        content: ContentId(hash),
        size: bytes.len() as u64,
        name: path.clone(),
        path: Some(path),
        mime: None,
        tags: Vec::new(),
        chunk_count: chunk_count(bytes.len() as u64).unwrap_or(0),
        chunk_list_hash: *blake3::hash(&hash).as_bytes(),
    }
}
