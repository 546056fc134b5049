//! Lengths that are not sent, and CBOR that says to be larger than it is.

use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::Lane;
use scp2p_proto::limits::{FRAME_MAX, HANDSHAKE_FRAME_MAX};
use scp2p_proto::wire::{Envelope, FLAG_RESPONSE};

use super::talker::{Asked, Policy, Talker, Way};

/// Says more than it sends.
#[derive(Debug, Default)]
pub(super) struct LengthLiar {
    turns: usize,
}

/// Lengths of frames before the handshake.
const HELLO_LENGTHS: [u32; 6] = [
    u32::MAX,
    1 << 31,
    HANDSHAKE_FRAME_MAX + 1,
    HANDSHAKE_FRAME_MAX,
    5,
    0,
];
/// Lengths of frames after it.
const LENGTHS: [u32; 6] = [u32::MAX, 1 << 31, FRAME_MAX + 1, 0, FRAME_MAX, 70_000];
/// Types of requests whose payload is read.
const KINDS: [u16; 14] = [
    100, 101, 200, 201, 202, 400, 402, 499, 500, 502, 601, 610, 611, 621,
];

impl Policy for LengthLiar {
    fn pace(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        talker.keep_sessions(Way::Ours);
        if self.turns.is_multiple_of(4)
            && let Some(target) = talker.target()
        {
            talker.dial(&target, Way::Raw);
        }
        let Some(link) = talker.session() else {
            return;
        };
        if self.turns.is_multiple_of(16) {
            let len = pick(&LENGTHS, self.turns / 16);
            let lane = if talker.rng.chance(1, 4) {
                Lane::Bulk
            } else {
                Lane::Control
            };
            talker.send(link, lane, len.to_be_bytes().to_vec());
            let noise = talker.noise(100);
            talker.send(link, lane, noise);
            talker.deed("lengths of frames");
            return;
        }
        let payload = bomb(self.turns / 14);
        let kind = pick(&KINDS, self.turns % 14);
        let req_id = 0x8000_0000 | self.turns as u32;
        let envelope = Envelope {
            kind,
            req_id,
            flags: 0,
            payload,
        };
        talker.send_frame(link, Lane::Control, envelope.into_frame());
        talker.deed("CBOR bombs");
    }

    fn opened(&mut self, talker: &mut Talker, link: LinkId) {
        let len = pick(&HELLO_LENGTHS, self.turns / 4);
        talker.send(link, Lane::Control, len.to_be_bytes().to_vec());
        let noise = talker.noise(100);
        talker.send(link, Lane::Control, noise);
        talker.deed("lengths of hellos");
    }

    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        if talker.rng.chance(1, 2) {
            return talker.answer_well(&asked);
        }
        let kind = match asked.request.kind() {
            101 => 100,
            400 => 401,
            402 => 403,
            500 => 501,
            502 => 503,
            other => other,
        };
        let envelope = Envelope {
            kind,
            req_id: asked.req_id,
            flags: FLAG_RESPONSE,
            payload: bomb(self.turns),
        };
        talker.send_frame(asked.link, Lane::Control, envelope.into_frame());
        talker.deed("bombs in answers");
    }

    fn gone(&mut self, talker: &mut Talker, _link: LinkId) {
        talker.deed("links lost");
    }
}

fn pick<T: Copy + Default>(all: &[T], index: usize) -> T {
    all.get(index % all.len()).copied().unwrap_or_default()
}

/// CBOR that promises more than it has, or nests deeper than anybody reads.
fn bomb(which: usize) -> Bytes {
    let endless = |first: u8| [&[first][..], &[0xff; 8]].concat();
    let field = |key: &[u8], value: Vec<u8>| [&[0xa1][..], key, &value].concat();
    let bytes = match which % 12 {
        0 => vec![0x81; 100_000],
        1 => field(&[0], vec![0x81; 100_000]),
        // A list, a byte string, a text and a map of 2^64 - 1.
        2 => field(&[0], endless(0x9b)),
        3 => field(&[0], endless(0x5b)),
        4 => field(b"\x65peers", endless(0x9b)),
        5 => field(b"\x65peers", endless(0x7b)),
        6 => endless(0xbb),
        // Without an end.
        7 => field(b"\x65peers", vec![0x9f; 1000]),
        8 => [&[0xbf][..], &[0x00, 0x5f].repeat(500)].concat(),
        // Tags around tags, and a map of the same key again and again.
        9 => vec![0xc1; 50_000],
        10 => [&[0xb9, 0xff, 0xff][..], &[0x00, 0x00].repeat(65_535)].concat(),
        // Lists of many empty lists.
        _ => field(&[0], [&[0x9a, 0, 1, 0, 0][..], &[0x80; 65_536]].concat()),
    };
    bytes.into()
}
