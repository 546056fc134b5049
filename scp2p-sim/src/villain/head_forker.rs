//! Old heads, old manifests under new heads, and two manifests of one number.

use scp2p_proto::id::LinkId;
use scp2p_proto::record::{Manifest, ShareHead, ShareLink, head_key};
use scp2p_proto::wire::{Answer, AnswerError, FoundValue, HeadAnnounce, Request, StoreRecord};

use super::loot::{Loot, store_head};
use super::own_share::{OwnShare, item};
use super::talker::{Asked, Policy, Talker, Way};

/// A new pair of revisions after so many turns.
const REVISION: u64 = 30;
/// Pairs of its own that it remembers: the first and the newest.
const PAIRS_MAX: usize = 4;
/// After so many turns it jumps to the last number there is.
const LEAP: u64 = 3600;

/// Shows each what suits it.
#[derive(Debug)]
pub(super) struct HeadForker {
    own: OwnShare,
    /// Two revisions of one number each, in order.
    pairs: Vec<[(Manifest, ShareHead); 2]>,
    loot: Loot,
    turns: u64,
}

impl HeadForker {
    pub fn new(talker: &mut Talker) -> HeadForker {
        HeadForker {
            own: OwnShare::new(talker),
            pairs: Vec::new(),
            loot: Loot::default(),
            turns: 0,
        }
    }

    fn fork(&mut self, talker: &mut Talker) {
        let seq = match self.turns {
            LEAP.. => u64::MAX,
            turns => turns / REVISION + 1,
        };
        let now = talker.now.unix;
        let revision = |text: &str| {
            let items = vec![item(text, text.as_bytes())];
            let manifest = self.own.manifest(seq, now, items);
            let head = self.own.head(&manifest, seq, now);
            (manifest, head)
        };
        let pair = [revision("one"), revision("other")];
        if self.pairs.len() >= PAIRS_MAX {
            self.pairs.remove(1);
        }
        self.pairs.push(pair);
    }

    /// A head that should not be shown any more, or never; with the key of its share.
    fn lie(&self, talker: &mut Talker) -> Option<(HeadAnnounce, &'static str)> {
        let first = self.pairs.first()?;
        let [one, other] = self.pairs.last()?;
        let own = |head: &ShareHead| self.own.announce(head.clone());
        let now = talker.now.unix;
        Some(match talker.rng.below(6) {
            0 => (own(&one.1), "forks"),
            1 => (own(&other.1), "forks"),
            2 => (own(&first[0].1), "rollbacks"),
            3 => {
                let seq = one.1.latest_seq.saturating_add(1);
                let head = self.own.head(&first[0].0, seq, now);
                (self.own.announce(head), "freezes")
            }
            4 => (self.of_others(talker, false)?, "rollbacks of others"),
            _ => (self.of_others(talker, true)?, "forgeries"),
        })
    }

    /// The first head that it saw of a share of others, or one that it made up.
    fn of_others(&self, talker: &mut Talker, forged: bool) -> Option<HeadAnnounce> {
        let shares: Vec<_> = self.loot.heads.keys().copied().collect();
        let share = talker.rng.pick(&shares)?;
        let mut head = self.loot.heads.get(share)?.first()?.clone();
        if forged {
            head.latest_seq = head.latest_seq.saturating_add(1);
            head.updated_at = talker.now.unix;
        }
        let key = *self.loot.keys.get(share)?;
        Some(HeadAnnounce { key, head })
    }
}

impl Policy for HeadForker {
    fn turn(&mut self, talker: &mut Talker) {
        talker.keep_sessions(Way::Ours);
        self.loot.search(talker);
        if self.turns.is_multiple_of(REVISION) {
            self.fork(talker);
        }
        self.turns += 1;
        for link in talker.sessions().into_iter().take(4) {
            let Some((announce, deed)) = self.lie(talker) else {
                continue;
            };
            let signer = talker.rng.chance(1, 2).then_some(announce.key);
            let request = match talker.rng.below(3) {
                0 => store_head(&announce.head, signer, 604_800),
                _ => Request::HeadAnnounce(announce),
            };
            talker.ask(link, request);
            talker.deed(deed);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what it has no mischief for is answered as anybody would"
    )]
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        let answer = match &asked.request {
            Request::GetManifest(id) => {
                let all = self.pairs.iter().flatten();
                let found = all.map(|(manifest, _)| manifest).find(|it| it.id() == *id);
                found.map(|manifest| Answer::Manifest {
                    id: *id,
                    bytes: manifest.encode().into(),
                })
            }
            Request::HeadAnnounce(announce) => {
                self.loot.see(announce.clone());
                None
            }
            // Who looks up the share of another is shown its first head.
            Request::FindValue(key) if self.loot.keys.keys().any(|it| head_key(it) == *key) => {
                let mut heads = self.loot.heads.values().filter_map(|heads| heads.first());
                let head = heads.find(|head| head_key(&head.share) == *key);
                head.map(|head| {
                    talker.deed("old heads found");
                    Answer::Found(FoundValue {
                        record: Some(StoreRecord {
                            key: *key,
                            value: head.encode().into(),
                            ttl_secs: 604_800,
                            signer: self.loot.keys.get(&head.share).copied(),
                        }),
                        peers: Vec::new(),
                    })
                })
            }
            request => self.pairs.last().and_then(|pair| {
                let which = usize::from(talker.rng.chance(1, 2));
                let (_, head) = pair.get(which)?;
                self.own.show(talker, request, head)
            }),
        };
        match answer {
            Some(answer) => talker.answer(&asked, &answer),
            None => talker.answer_well(&asked),
        }
    }

    fn reply(
        &mut self,
        _talker: &mut Talker,
        _link: LinkId,
        _request: Request,
        answer: Result<Answer, AnswerError>,
    ) {
        answer.into_iter().for_each(|answer| self.loot.take(answer));
    }

    fn share(&self, talker: &Talker) -> Option<ShareLink> {
        Some(self.own.link(talker))
    }
}
