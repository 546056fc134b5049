//! Right bytes first, then wrong ones.

use bytes::Bytes;
use scp2p_proto::id::{ContentId, LinkId};
use scp2p_proto::wire::{Answer, AnswerError, ChunkHashes, Request, SubtreePage};

use super::loot::Loot;
use super::talker::{Asked, Policy, Talker, Way};

/// Chunks that are right before the first wrong one.
const HONEST: u64 = 2;

/// Serves what others have, altered.
#[derive(Debug, Default)]
pub(super) struct CorruptSeeder {
    loot: Loot,
    given: u64,
    pages: u64,
}

impl Policy for CorruptSeeder {
    fn turn(&mut self, talker: &mut Talker) {
        talker.keep_sessions(Way::Ours);
        self.loot.pose(talker);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what it has no mischief for is answered as anybody would"
    )]
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        match asked.request {
            Request::Have(ref contents) => {
                let answer = self.loot.have(contents);
                talker.answer(&asked, &answer);
            }
            Request::GetChunk { content, index } => self.chunk(talker, &asked, content, index),
            Request::GetSubtrees { content, .. } => self.page(talker, &asked, content),
            Request::GetChunkHashes(content) => {
                let noise = talker.noise(64);
                let hashes = ChunkHashes {
                    content,
                    hashes: noise.into(),
                };
                talker.answer(&asked, &Answer::ChunkHashes(hashes));
                talker.deed("wrong chunk lists");
            }
            Request::HeadAnnounce(ref announce) => {
                self.loot.see(announce.clone());
                talker.answer_well(&asked);
            }
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
}

impl CorruptSeeder {
    fn chunk(&mut self, talker: &mut Talker, asked: &Asked, content: ContentId, index: u32) {
        let Some(known) = self.loot.contents.get(&content) else {
            return talker.refuse(asked, "chunk not found");
        };
        let is_genuine = known.chunks.contains_key(&index);
        let right = known.chunk(talker, index);
        let other = known.chunk(talker, index.saturating_add(1));
        self.given += 1;
        let is_honest = self.given <= HONEST || talker.rng.chance(1, 4);
        if is_honest && is_genuine {
            talker.deed("right chunks");
            let data = right;
            let answer = Answer::Chunk {
                content,
                index,
                data,
            };
            return talker.answer(asked, &answer);
        }
        let (content, index, data) = match talker.rng.below(6) {
            0 => (content, index, right.slice(..right.len().saturating_sub(1))),
            1 => (content, index, other),
            2 => (content, index.wrapping_add(1), right),
            3 => (ContentId(talker.random()), index, right),
            4 => (content, index, Bytes::new()),
            _ => (content, index, flip(talker, &right)),
        };
        let answer = Answer::Chunk {
            content,
            index,
            data,
        };
        talker.answer(asked, &answer);
        talker.deed("wrong chunks");
    }

    fn page(&mut self, talker: &mut Talker, asked: &Asked, content: ContentId) {
        let page = self
            .loot
            .contents
            .get(&content)
            .and_then(|known| known.page.clone());
        let Some(page) = page else {
            return talker.refuse(asked, "not found");
        };
        self.pages += 1;
        // Half of them are right, or nobody would ask for chunks.
        if self.pages % 2 == 1 {
            talker.answer(asked, &Answer::Subtrees(page));
            return talker.deed("right pages");
        }
        let page = match talker.rng.below(4) {
            0 => SubtreePage {
                hashes: flip(talker, &page.hashes),
                ..page
            },
            1 => SubtreePage {
                size: page.size.wrapping_add(1),
                ..page
            },
            2 => SubtreePage {
                hashes: page.hashes.slice(..page.hashes.len().saturating_sub(32)),
                ..page
            },
            _ => SubtreePage {
                page: u32::MAX,
                ..page
            },
        };
        talker.answer(asked, &Answer::Subtrees(page));
        talker.deed("wrong pages");
    }
}

/// The same but for one bit.
fn flip(talker: &mut Talker, bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = talker.rng.below(bytes.len() as u64) as usize;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    bytes.into()
}
