//! Everything, a byte at a time.

use scp2p_proto::id::LinkId;
use scp2p_proto::io::Lane;
use scp2p_proto::wire::{Answer, AnswerError, Request};

use super::drip::Drip;
use super::loot::Loot;
use super::talker::{Asked, Policy, Talker, Way};

/// Has everything and gives it slowly, and the last chunk never.
#[derive(Debug, Default)]
pub(super) struct TarpitSeeder {
    loot: Loot,
    drip: Drip,
}

impl Policy for TarpitSeeder {
    fn turn(&mut self, talker: &mut Talker) {
        talker.keep_sessions(Way::Ours);
        self.loot.pose(talker);
        self.drip.fall(talker);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what it has no mischief for is answered as anybody would"
    )]
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        match asked.request {
            Request::Have(ref contents) => {
                let answer = self.loot.have(contents);
                self.answer(talker, &asked, &answer);
            }
            Request::GetSubtrees { content, .. } => {
                let page = self
                    .loot
                    .contents
                    .get(&content)
                    .and_then(|known| known.page.clone());
                match page {
                    Some(page) => self.answer(talker, &asked, &Answer::Subtrees(page)),
                    None => talker.deed("requests left open"),
                }
            }
            Request::GetChunk { content, index } => {
                let Some(known) = self.loot.contents.get(&content) else {
                    return talker.deed("requests left open");
                };
                if known.count() > 1 && index + 1 >= known.count() {
                    return talker.deed("requests left open");
                }
                let data = known.chunk(talker, index);
                let answer = Answer::Chunk {
                    content,
                    index,
                    data,
                };
                let lane = talker.lane_of(asked.link, &answer);
                let frame = answer.to_frame(asked.request.kind(), asked.req_id);
                self.drip.push(asked.link, lane, frame);
                talker.deed("slow chunks");
            }
            Request::HeadAnnounce(ref announce) => {
                self.loot.see(announce.clone());
                self.answer(talker, &asked, &Answer::Ack);
            }
            // On one lane everything waits for the chunks before it.
            _ if self.drip.is_busy(asked.link, Lane::Control) => talker.deed("requests left open"),
            _ => talker.answer_well(&asked),
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

    fn gone(&mut self, _talker: &mut Talker, link: LinkId) {
        self.drip.forget(link);
    }
}

impl TarpitSeeder {
    fn answer(&mut self, talker: &mut Talker, asked: &Asked, answer: &Answer) {
        let lane = talker.lane_of(asked.link, answer);
        if self.drip.is_busy(asked.link, lane) {
            let frame = answer.to_frame(asked.request.kind(), asked.req_id);
            self.drip.push(asked.link, lane, frame);
        } else {
            talker.answer(asked, answer);
        }
    }
}
