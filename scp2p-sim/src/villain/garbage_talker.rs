//! Random, cut and altered frames, before and after the handshake.

use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::{ContentId, DhtKey, LinkId, NodeId, ShareId};
use scp2p_proto::io::{Frame, Lane};
use scp2p_proto::wire::{Answer, Envelope, FLAG_ERROR, FLAG_RESPONSE, Request};

use super::talker::{Asked, Policy, Talker, Way, framed};

/// Talks nonsense.
#[derive(Debug, Default)]
pub(super) struct GarbageTalker {
    turns: u64,
}

impl Policy for GarbageTalker {
    fn pace(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        let way = if self.turns.is_multiple_of(3) {
            Way::Deployed
        } else {
            Way::Ours
        };
        talker.keep_sessions(way);
        if self.turns.is_multiple_of(4)
            && let Some(target) = talker.target()
        {
            talker.dial(&target, Way::Raw);
        }
        let Some(link) = talker.session() else {
            return;
        };
        match talker.rng.below(8) {
            0 => self.break_frame(talker, link),
            1 => {
                let len = talker.rng.below(300) as usize;
                let noise = talker.noise(len + 1);
                talker.send(link, Lane::Bulk, framed(&noise));
                talker.deed("noise on the bulk lane");
            }
            2 => {
                // An answer to nothing.
                let (kind, req_id) = (any_kind(talker), talker.rng.u32());
                let flags = FLAG_RESPONSE | (FLAG_ERROR * (talker.rng.below(2) as u16));
                self.envelope(talker, link, kind, req_id, flags);
                talker.deed("answers to nothing");
            }
            _ => {
                let (kind, req_id) = (any_kind(talker), talker.rng.u32());
                self.envelope(talker, link, kind, req_id, 0);
                talker.deed("garbled payloads");
            }
        }
    }

    fn opened(&mut self, talker: &mut Talker, link: LinkId) {
        let keys = talker.keys.clone();
        let mut hello = talker.deployed_hello(&keys, None).to_vec();
        match talker.rng.below(3) {
            0 => mutate(talker, &mut hello, 4),
            1 => {
                let len = talker.rng.below(hello.len() as u64 - 5) as usize + 5;
                hello = framed(hello.get(4..len).unwrap_or_default()).to_vec();
            }
            _ => hello = talker.noise(64),
        }
        talker.send(link, Lane::Control, hello);
        talker.deed("garbled hellos");
    }

    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        // Most answers are right, so that it is asked again.
        if talker.rng.chance(3, 4) {
            return talker.answer_well(&asked);
        }
        let frame = Answer::Ack.to_frame(asked.request.kind(), asked.req_id);
        let mut payload = talker.noise(40);
        if let (Some(first), true) = (payload.first_mut(), talker.rng.chance(1, 2)) {
            *first = 0xa1;
        }
        let body: Bytes = [frame.head, frame.body].concat().into();
        if let Ok(mut envelope) = Envelope::decode(&body.slice(4..)) {
            envelope.payload = payload.into();
            talker.send_frame(asked.link, Lane::Control, envelope.into_frame());
            talker.deed("garbled answers");
        }
    }

    fn gone(&mut self, talker: &mut Talker, _link: LinkId) {
        talker.deed("links lost");
    }
}

impl GarbageTalker {
    /// A frame that cannot be an envelope, after which the link is lost.
    fn break_frame(&mut self, talker: &mut Talker, link: LinkId) {
        let mut bytes = join(sample(talker).to_frame(1));
        match talker.rng.below(3) {
            0 => {
                let len = talker.rng.below(200) as usize + 1;
                bytes = framed(&talker.noise(len)).to_vec();
            }
            1 => mutate(talker, &mut bytes, 4),
            _ => bytes.truncate(bytes.len() / 2),
        }
        talker.send(link, Lane::Control, bytes);
        talker.deed("garbled frames");
    }

    /// A right envelope around the altered payload of a genuine request.
    fn envelope(&mut self, talker: &mut Talker, link: LinkId, kind: u16, req_id: u32, flags: u16) {
        let request = sample(talker);
        let body: Bytes = join(request.to_frame(req_id)).into();
        let Ok(mut envelope) = Envelope::decode(&body.slice(4..)) else {
            return;
        };
        let mut payload = envelope.payload.to_vec();
        mutate(talker, &mut payload, 0);
        envelope.flags = flags;
        envelope.payload = payload.into();
        if talker.rng.chance(1, 2) {
            envelope.kind = kind;
        }
        talker.send_frame(link, Lane::Control, envelope.into_frame());
    }
}

/// A request as anybody may make it.
fn sample(talker: &mut Talker) -> Request {
    let id: [u8; 32] = talker.random();
    let content = ContentId(id);
    match talker.rng.below(8) {
        0 => Request::PexOffer(talker.peers()),
        1 => Request::FindNode(NodeId(talker.random())),
        2 => Request::FindValue(DhtKey(id)),
        3 => Request::GetChunk { content, index: 1 },
        4 => Request::Watch(vec![ShareId(id); 3]),
        5 => Request::Have(vec![content; 3]),
        6 => Request::GetChunkHashes(content),
        _ => super::loot::store_providers(content, talker.peers(), talker.now.unix, 600),
    }
}

fn any_kind(talker: &mut Talker) -> u16 {
    let kinds = [
        0,
        100,
        200,
        202,
        401,
        403,
        417,
        450,
        500,
        503,
        601,
        611,
        621,
        699,
        u16::MAX,
    ];
    talker.rng.pick(&kinds).copied().unwrap_or_default()
}

fn join(frame: Frame) -> Vec<u8> {
    [frame.head, frame.body].concat()
}

/// Changes a few bytes from this place on.
fn mutate(talker: &mut Talker, bytes: &mut [u8], from: usize) {
    for _ in 0..=talker.rng.below(3) {
        let span = bytes.len().saturating_sub(from) as u64;
        let at = from + talker.rng.below(span) as usize;
        let bits = talker.rng.below(255) as u8 + 1;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= bits;
        }
    }
}
