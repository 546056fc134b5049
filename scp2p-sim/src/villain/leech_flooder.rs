//! The same chunk again and again, for somebody who reads nothing.

use scp2p_proto::id::{ContentId, LinkId};
use scp2p_proto::wire::{Answer, AnswerError, Request};

use super::loot::Loot;
use super::talker::{Asked, Policy, Talker, Way};

/// Requests at once.
const BURST: u32 = 100;
/// Turns from one burst to the next.
const PAUSE: u64 = 5;

/// Asks and does not read.
#[derive(Debug, Default)]
pub(super) struct LeechFlooder {
    loot: Loot,
    turns: u64,
}

impl Policy for LeechFlooder {
    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        talker.keep_sessions(if self.turns.is_multiple_of(2) {
            Way::Ours
        } else {
            Way::Deployed
        });
        // Only what is read is looted.
        for link in talker.sessions() {
            if self.turns % PAUSE == PAUSE - 1 {
                talker.read(link, true);
            }
        }
        self.loot.search(talker);
        if !self.turns.is_multiple_of(PAUSE) {
            return;
        }
        let contents: Vec<ContentId> = self.loot.contents.keys().copied().collect();
        let (Some(link), Some(content)) = (talker.session(), talker.rng.pick(&contents).copied())
        else {
            return;
        };
        talker.read(link, false);
        let way = talker.rng.below(5);
        for n in 0..BURST {
            talker.ask(link, request(way, content, n));
            talker.deed("requests");
        }
        talker.deed("bursts");
        // Asked and gone.
        if talker.rng.chance(1, 4) {
            talker.close(link);
            talker.deed("asked and gone");
        }
    }

    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        if let Request::HeadAnnounce(announce) = &asked.request {
            self.loot.see(announce.clone());
        }
        talker.answer_well(&asked);
    }

    fn reply(
        &mut self,
        talker: &mut Talker,
        _link: LinkId,
        request: Request,
        answer: Result<Answer, AnswerError>,
    ) {
        if let Request::GetChunk { .. } = request {
            talker.deed(match answer {
                Ok(_) => "chunks got",
                Err(_) => "chunks refused",
            });
        }
        answer.into_iter().for_each(|answer| self.loot.take(answer));
    }
}

fn request(way: u64, content: ContentId, n: u32) -> Request {
    match way {
        0 => Request::GetChunkHashes(content),
        1 => Request::GetSubtrees {
            content,
            level: (n % 2) as u8,
            page: n / 2,
        },
        2 => Request::GetChunk {
            content,
            index: u32::MAX - n,
        },
        _ => Request::GetChunk { content, index: 0 },
    }
}
