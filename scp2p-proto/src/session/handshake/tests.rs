use super::*;
use crate::limits::HANDSHAKE_FRAME_MAX;
use crate::wire::FrameReader;

mod attacks;
mod vectors;

const NOW: UnixTime = UnixTime(1_700_000_000);
const CHANNEL: [u8; 32] = [0x77; 32];
const PROFILES: [Profile; 3] = [Profile::A, Profile::B, Profile::C];

fn keys(n: u8) -> Keys {
    Keys::from_seed([n; 32])
}

/// What node `n` brings into a handshake over the connection `exporter`.
fn params(keys: &Keys, n: u8, exporter: [u8; 32]) -> Params<'_> {
    Params {
        keys,
        capabilities: Capabilities::node(),
        exporter,
        nonce_random: [n; 11],
        ephemeral: [n; 32],
        expected: None,
    }
}

fn initiator(n: u8) -> (Initiator, Bytes) {
    Initiator::start(params(&keys(n), n, CHANNEL), Profile::C, NOW)
}

fn respond(n: u8, hello: &Bytes) -> Result<(Responder, Bytes), HandshakeError> {
    let memory = &mut NonceMemory::new();
    Responder::on_client_hello(params(&keys(n), n, CHANNEL), hello, NOW, memory)
}

/// The one body in a frame of ours.
fn body(frame: &Bytes) -> Bytes {
    let mut reader = FrameReader::new(HANDSHAKE_FRAME_MAX);
    reader.push(frame.clone());
    let body = reader
        .next()
        .expect("the frame is short")
        .expect("the frame is whole");
    assert_eq!(reader.buffered(), 0);
    body
}

/// A hello signed by node `n` with everything chosen freely.
fn forge(n: u8, profile: Profile, change: impl FnOnce(&mut HelloFields)) -> Bytes {
    let mut fields = HelloFields {
        capabilities: Capabilities::node(),
        nonce: [n; 32],
        echoed_nonce: None,
        timestamp: NOW,
        ephemeral: PublicKey::from(&StaticSecret::from([n; 32])).to_bytes(),
    };
    change(&mut fields);
    Hello::sign(keys(n).signing(), profile, fields).encode()
}

#[test]
fn two_nodes_of_ours_agree_in_every_profile() {
    for profile in PROFILES {
        let (one, two) = (keys(1), keys(2));
        let mut params_one = params(&one, 1, CHANNEL);
        params_one.expected = Some(two.public());
        let (initiator, hello) = Initiator::start(params_one, profile, NOW);
        let (responder, reply) = respond(2, &body(&hello)).expect("a genuine hello");
        let (at_one, ack) = initiator
            .on_hello(&body(&reply), NOW)
            .expect("a genuine reply");
        let at_two = responder.on_ack(&body(&ack), NOW).expect("a genuine ack");
        let bound = Binding::Bound {
            level: super::super::EXTENSION_LEVEL,
        };
        assert_eq!(
            (at_one.key, at_one.profile, at_one.binding),
            (two.public(), profile, bound)
        );
        assert_eq!(
            (at_two.key, at_two.profile, at_two.binding),
            (one.public(), profile, bound)
        );
        assert_eq!(at_one.secret, at_two.secret);
        assert_eq!(at_two.capabilities, Capabilities::node());
    }
}

#[test]
fn a_shown_profile_tells_what_to_try() {
    let shown = |version, shown| HandshakeError::Profile { version, shown };
    for profile in PROFILES {
        assert_eq!(
            shown(profile.version(), Some(profile)).worth_trying(),
            [profile]
        );
    }
    assert_eq!(shown(1, None).worth_trying(), [Profile::A, Profile::B]);
    assert_eq!(shown(2, None).worth_trying(), [Profile::C]);
    assert!(shown(3, None).worth_trying().is_empty());
    assert!(HandshakeError::Signature.worth_trying().is_empty());
}

#[test]
fn debug_shows_no_secret() {
    use alloc::format;
    let (initiator, hello) = initiator(1);
    let (responder, reply) = respond(2, &body(&hello)).expect("a genuine hello");
    let shown = format!("{initiator:?} {responder:?}");
    let (established, _) = initiator
        .on_hello(&body(&reply), NOW)
        .expect("a genuine reply");
    let shown = format!("{shown} {established:?}");
    assert!(shown.contains("Established") && !shown.contains("secret"));
}
