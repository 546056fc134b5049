//! Values that nobody needs.

use std::time::Duration;

use scp2p_proto::id::{ContentId, DhtKey, LinkId, ShareId};
use scp2p_proto::limits::{IDS_MAX, VALUE_MAX};
use scp2p_proto::record::{Manifest, manifest_key};
use scp2p_proto::wire::{Answer, AnswerError, Request, StoreRecord};

use super::loot::{store_head, store_providers};
use super::own_share::OwnShare;
use super::talker::{Policy, Talker, Way};

/// As long as possible.
const LIFE: u64 = 604_800;

/// Stores as much as it can.
#[derive(Debug, Default)]
pub(super) struct StorageExhauster {
    turns: u64,
}

impl Policy for StorageExhauster {
    fn pace(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        talker.keep_sessions(Way::Ours);
        let Some(link) = talker.session() else {
            return;
        };
        let request = match self.turns % 6 {
            0 | 1 => large(talker),
            2 => {
                let share = OwnShare::new(talker);
                let now = talker.now.unix;
                let manifest = share.manifest(1, now, Vec::new());
                let head = share.head(&manifest, u64::MAX, now);
                store_head(&head, Some(share.key()), LIFE)
            }
            3 => {
                let content = ContentId(talker.random());
                let addrs = talker.peers();
                store_providers(content, addrs, talker.now.unix, LIFE)
            }
            4 => Request::Store(StoreRecord {
                key: DhtKey(talker.random()),
                value: talker.noise(VALUE_MAX).into(),
                ttl_secs: LIFE,
                signer: None,
            }),
            _ => match talker.rng.below(8) {
                0 => {
                    let ids = (0..IDS_MAX).map(|_| ShareId(talker.random()));
                    Request::Watch(ids.collect())
                }
                _ => Request::HaveContent(ContentId(talker.random())),
            },
        };
        talker.ask(link, request);
        talker.deed("stores");
    }

    fn reply(
        &mut self,
        talker: &mut Talker,
        _link: LinkId,
        request: Request,
        answer: Result<Answer, AnswerError>,
    ) {
        if let Request::Store(_) = request {
            talker.deed(match answer {
                Ok(_) => "stores taken",
                Err(_) => "stores refused",
            });
        }
    }
}

/// A catalog of a share of a moment, as long as a value may be.
fn large(talker: &mut Talker) -> Request {
    let share = OwnShare::new(talker);
    let now = talker.now.unix;
    let text = Some("x".repeat(VALUE_MAX - 1024));
    let manifest = share.sign(Manifest {
        description: text,
        ..share.manifest(1, now, Vec::new())
    });
    Request::Store(StoreRecord {
        key: manifest_key(&manifest.id()),
        value: manifest.encode().into(),
        ttl_secs: LIFE,
        signer: None,
    })
}
