//! Times that are not now: in hellos, heads, manifests and provider lists.

use std::time::Duration;

use scp2p_proto::id::{ContentId, LinkId};
use scp2p_proto::io::Lane;
use scp2p_proto::record::{Manifest, ShareHead, ShareLink};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Answer, Request};

use super::loot::{Loot, store_head, store_providers};
use super::own_share::{OwnShare, item};
use super::talker::{Asked, Policy, Talker, Way};

/// By how many seconds the clock of its hellos is wrong. A third of them is still taken.
const LIES: [i64; 9] = [0, 295, -295, 310, -310, 86_400, -86_400, i64::MAX, i64::MIN];
/// A new revision after so many turns.
const REVISION: u64 = 60;

/// Lives in another time.
#[derive(Debug)]
pub(super) struct ClockLiar {
    own: OwnShare,
    revision: Option<(Manifest, ShareHead)>,
    loot: Loot,
    turns: u64,
}

impl ClockLiar {
    pub fn new(talker: &mut Talker) -> ClockLiar {
        ClockLiar {
            own: OwnShare::new(talker),
            revision: None,
            loot: Loot::default(),
            turns: 0,
        }
    }

    /// Any time but now.
    fn time(&self, talker: &mut Talker) -> UnixTime {
        let now = talker.now.unix;
        let times = [
            UnixTime(0),
            UnixTime(1),
            UnixTime(now.0.saturating_sub(315_360_000)),
            now.plus(700),
            now.plus(315_360_000),
            UnixTime(u64::MAX),
        ];
        talker.rng.pick(&times).copied().unwrap_or(now)
    }

    fn revise(&mut self, talker: &mut Talker) {
        let seq = self.turns / REVISION + 1;
        let made = self.time(talker);
        let items = vec![item("some/file", b"bytes of another time")];
        let mut manifest = self.own.manifest(seq, made, items);
        match seq % 3 {
            // It ends before it begins, or in the past.
            0 => manifest.expires_at = Some(UnixTime(made.0.saturating_sub(1))),
            1 => {}
            _ => manifest.expires_at = Some(UnixTime(u64::MAX)),
        }
        let manifest = self.own.sign(manifest);
        let signed = self.time(talker);
        let head = self.own.head(&manifest, seq, signed);
        for link in talker.sessions() {
            talker.ask(link, Request::HeadAnnounce(self.own.announce(head.clone())));
        }
        self.revision = Some((manifest, head));
        talker.deed("revisions of another time");
    }
}

impl Policy for ClockLiar {
    fn pace(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn turn(&mut self, talker: &mut Talker) {
        let which = talker.rng.below(LIES.len() as u64) as usize;
        talker.lie = LIES.get(which).copied().unwrap_or_default();
        talker.keep_sessions(Way::Ours);
        if self.turns.is_multiple_of(3)
            && let Some(target) = talker.target()
        {
            talker.dial(&target, Way::Raw);
        }
        self.loot.search(talker);
        if self.turns.is_multiple_of(REVISION) {
            self.revise(talker);
        }
        self.turns += 1;
        let Some(link) = talker.session() else {
            return;
        };
        let lives = [0, 1, 59, u64::from(u32::MAX), i64::MAX.unsigned_abs()];
        let life = talker.rng.pick(&lives).copied().unwrap_or_default();
        if let Some((_, head)) = &self.revision {
            let at = talker.rng.below(u64::MAX);
            let head = ShareHead {
                updated_at: UnixTime(at),
                ..head.clone()
            };
            // The signature is of another time, too.
            talker.ask(link, store_head(&head, None, life));
        }
        let shares = self.loot.keys.keys().map(|share| ContentId(share.0));
        let contents: Vec<_> = shares.chain(self.loot.contents.keys().copied()).collect();
        let random = ContentId(talker.random());
        let content = talker.rng.pick(&contents).copied().unwrap_or(random);
        let at = self.time(talker);
        let addrs = talker.own_addrs();
        talker.ask(link, store_providers(content, addrs, at, life));
        talker.deed("lists of another time");
    }

    fn opened(&mut self, talker: &mut Talker, link: LinkId) {
        let keys = talker.keys.clone();
        let hello = talker.deployed_hello(&keys, None);
        talker.send(link, Lane::Control, hello);
        talker.deed(match talker.lie.unsigned_abs() {
            0..=300 => "hellos of a clock that is taken",
            _ => "hellos of another time",
        });
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what it has no mischief for is answered as anybody would"
    )]
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        let Some((manifest, head)) = &self.revision else {
            return talker.answer_well(&asked);
        };
        let answer = match &asked.request {
            Request::GetManifest(id) if *id == manifest.id() => Some(Answer::Manifest {
                id: *id,
                bytes: manifest.encode().into(),
            }),
            request => self.own.show(talker, request, head),
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
        answer: Result<Answer, scp2p_proto::wire::AnswerError>,
    ) {
        answer.into_iter().for_each(|answer| self.loot.take(answer));
    }

    fn share(&self, talker: &Talker) -> Option<ShareLink> {
        Some(self.own.link(talker))
    }
}
