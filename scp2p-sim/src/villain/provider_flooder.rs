//! Providers that are none.

use scp2p_proto::id::{ContentId, LinkId};
use scp2p_proto::limits::PEER_ADDRS_MAX;
use scp2p_proto::record::{Providers, providers_key};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Answer, AnswerError, FoundValue, PeerAddr, Request, StoreRecord};
use std::net::{IpAddr, Ipv4Addr};

use super::loot::{Loot, NOWHERE, store_providers, stranger};
use super::talker::{Asked, Policy, Talker, Way};

/// Fills provider lists, before others do and after.
#[derive(Debug, Default)]
pub(super) struct ProviderFlooder {
    loot: Loot,
}

impl Policy for ProviderFlooder {
    fn turn(&mut self, talker: &mut Talker) {
        talker.keep_sessions(Way::Ours);
        self.loot.search(talker);
        let all = self.contents();
        let random = ContentId(talker.random());
        for _ in 0..2 {
            let content = talker.rng.pick(&all).copied().unwrap_or(random);
            let Some(link) = talker.session() else {
                return;
            };
            let fakes = fakes(talker);
            let now = talker.now.unix;
            let times = [now, UnixTime(0), now.plus(86_400), UnixTime(u64::MAX)];
            let at = talker.rng.pick(&times).copied().unwrap_or(now);
            let lives = [0, 60, 604_800, i64::MAX.unsigned_abs()];
            let life = talker.rng.pick(&lives).copied().unwrap_or(0);
            talker.ask(link, store_providers(content, fakes, at, life));
            talker.ask(link, Request::HaveContent(content));
            talker.deed("lists of fakes stored");
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what it has no mischief for is answered as anybody would"
    )]
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        let content = match &asked.request {
            Request::FindValue(key) => {
                let all = self.contents();
                all.into_iter()
                    .find(|content| providers_key(content) == *key)
            }
            Request::HeadAnnounce(announce) => {
                self.loot.see(announce.clone());
                None
            }
            _other => None,
        };
        let (Some(content), Request::FindValue(key)) = (content, &asked.request) else {
            return talker.answer_well(&asked);
        };
        let value = Providers {
            content,
            providers: fakes(talker),
            updated_at: talker.now.unix,
        };
        let record = StoreRecord {
            key: *key,
            value: value.encode().into(),
            ttl_secs: 604_800,
            signer: None,
        };
        let found = FoundValue {
            record: Some(record),
            peers: Vec::new(),
        };
        talker.answer(&asked, &Answer::Found(found));
        talker.deed("lists of fakes told");
    }

    fn reply(
        &mut self,
        talker: &mut Talker,
        _link: LinkId,
        request: Request,
        answer: Result<Answer, AnswerError>,
    ) {
        if matches!((&request, &answer), (Request::Store(_), Ok(Answer::Ack))) {
            talker.deed("lists of fakes taken");
        }
        answer.into_iter().for_each(|answer| self.loot.take(answer));
    }
}

impl ProviderFlooder {
    fn contents(&self) -> Vec<ContentId> {
        let shares = self.loot.keys.keys().map(|share| ContentId(share.0));
        shares.chain(self.loot.contents.keys().copied()).collect()
    }
}

/// A list of peers of anywhere and nowhere, one longer than is read.
fn fakes(talker: &mut Talker) -> Vec<PeerAddr> {
    let mut fakes = Vec::new();
    for n in 0..=PEER_ADDRS_MAX {
        if let (Some(Ok(ip)), true) = (talker.rng.pick(&NOWHERE).map(|ip| ip.parse()), n % 4 == 0) {
            fakes.push(stranger(talker, ip, 7000));
            continue;
        }
        let [a, b, c, port, more] = talker.random();
        let ip = IpAddr::V4(Ipv4Addr::new(45 + a % 32, b, c, 1));
        let port = u16::from_be_bytes([port | 1, more]);
        fakes.push(stranger(talker, ip, port));
    }
    fakes
}
