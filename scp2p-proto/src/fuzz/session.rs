//! Handshakes that go wrong, and what is said after those that go right.

mod talk;

use alloc::vec::Vec;
use bytes::Bytes;

use crate::keys::Keys;
use crate::limits::HANDSHAKE_FRAME_MAX;
use crate::session::{Established, HandshakeError, Initiator, NonceMemory, Params, Responder};
use crate::time::UnixTime;
use crate::wire::{Capabilities, FrameReader, Profile};

/// When the hellos of the conformance vectors were made.
const NOW: UnixTime = UnixTime(1_700_000_000);

/// The session target. The first byte says what the rest is.
///
/// - 0 of 3: a byte stream that an initiator and a responder read; nobody signed answers to their
///   nonces, so it must authenticate nobody.
/// - 1 of 3: a list of [`Edit`]s to the frames of a genuine handshake; whoever is authenticated then
///   must be the genuine peer and share its secret.
/// - 2 of 3: what an authenticated peer says to a node, see [`talk::talk`]. The node must keep its
///   contract with the driver, answer nothing twice and say only what the peer can read.
pub fn session(data: &[u8]) {
    if let Some((mode, rest)) = data.split_first() {
        match mode % 3 {
            0 => stream(rest),
            1 => edited(rest),
            _ => talk::talk(rest),
        }
    }
}

fn stream(data: &[u8]) {
    let Some((piece_len, stream)) = data.split_first() else {
        return;
    };
    let mut reader = FrameReader::new(HANDSHAKE_FRAME_MAX);
    let mut memory = NonceMemory::new();
    let mut waiting: Option<Responder> = None;
    for piece in stream.chunks(usize::from(*piece_len) + 1) {
        reader.push(Bytes::copy_from_slice(piece));
        while let Ok(Some(body)) = reader.next() {
            let (initiator, _) = Initiator::start(one(&Keys::from_seed([1; 32])), Profile::C, NOW);
            assert!(
                initiator.on_hello(&body, NOW).is_err(),
                "an answer that nobody signed"
            );
            if let Some(responder) = waiting.take() {
                assert!(
                    responder.on_ack(&body, NOW).is_err(),
                    "an ack that nobody signed"
                );
            }
            waiting = respond(&body, &mut memory)
                .ok()
                .map(|(responder, _)| responder);
        }
    }
}

fn edited(data: &[u8]) {
    let edits: Vec<_> = data.chunks_exact(4).map(Edit::new).collect();
    let keys = Keys::from_seed([1; 32]);
    let (initiator, hello) = Initiator::start(one(&keys), Profile::C, NOW);
    let Ok((responder, reply)) = respond(&edit(&hello, 0, &edits), &mut NonceMemory::new()) else {
        return;
    };
    let Ok((at_one, ack)) = initiator.on_hello(&edit(&reply, 1, &edits), NOW) else {
        return;
    };
    assert_eq!(at_one.key, Keys::from_seed([2; 32]).public());
    if let Ok(at_two) = responder.on_ack(&edit(&ack, 2, &edits), NOW) {
        assert_eq!(at_two.key, keys.public());
        assert_eq!(at_one.secret, at_two.secret);
        let told = |end: &Established| (end.profile, end.capabilities, end.binding);
        assert_eq!(told(&at_one), told(&at_two));
    }
}

/// A change to one message of a handshake: four bytes that say which message (0 to 2), where
/// (two bytes), and what to change the bits there by, or, for 0, to cut the message there.
struct Edit {
    message: u8,
    at: usize,
    bits: u8,
}

impl Edit {
    fn new(bytes: &[u8]) -> Edit {
        Edit {
            message: bytes[0] % 3,
            at: usize::from(u16::from_be_bytes([bytes[1], bytes[2]])),
            bits: bytes[3],
        }
    }
}

/// The body of a frame of ours after the edits to this message.
fn edit(frame: &Bytes, message: u8, edits: &[Edit]) -> Bytes {
    let mut body = frame[4..].to_vec();
    for edit in edits.iter().filter(|edit| edit.message == message) {
        if edit.bits == 0 {
            body.truncate(edit.at);
        } else if let Some(byte) = body.get_mut(edit.at) {
            *byte ^= edit.bits;
        }
    }
    body.into()
}

fn one(keys: &Keys) -> Params<'_> {
    params(keys, 1)
}

fn respond(body: &Bytes, memory: &mut NonceMemory) -> Result<(Responder, Bytes), HandshakeError> {
    Responder::on_client_hello(params(&Keys::from_seed([2; 32]), 2), body, NOW, memory)
}

fn params(keys: &Keys, n: u8) -> Params<'_> {
    Params {
        keys,
        capabilities: Capabilities::node(),
        exporter: [7; 32],
        nonce_random: [n; 11],
        ephemeral: [n; 32],
        expected: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No few edits to a genuine handshake make either end take the other for another.
        #[test]
        fn edits(edits in prop::collection::vec((0_u8..3, 0_u16..700, any::<u8>()), 0..4)) {
            let mut data = Vec::from([1]);
            for (message, at, bits) in edits {
                let [high, low] = at.to_be_bytes();
                data.extend([message, high, low, bits]);
            }
            session(&data);
        }

        /// No bytes authenticate anybody.
        #[test]
        fn any_bytes(data: Vec<u8>) {
            session(&data);
        }
    }
}
