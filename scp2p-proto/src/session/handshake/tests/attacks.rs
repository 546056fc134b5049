//! Somebody lies, copies, cuts or sits in between.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// X25519 public keys that make the shared secret zero whatever the other key is, also in
/// the forms that are not reduced.
const LOW_ORDER: [[u8; 32]; 7] = {
    let mut points = [[0; 32]; 7];
    points[1][0] = 1;
    points[2] = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ];
    points[3] = [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ];
    // p - 1, p and p + 1.
    let mut i = 4;
    while i < 7 {
        points[i] = [0xff; 32];
        points[i][0] = 0xec + (i as u8 - 4);
        points[i][31] = 0x7f;
        i += 1;
    }
    points
};

/// Encodings of Ed25519 points of small order: for such keys a signature proves nothing.
const WEAK_KEYS: [[u8; 32]; 3] = {
    let mut keys = [[0; 32]; 3];
    keys[0][0] = 1;
    keys[2] = [0xff; 32];
    keys[2][0] = 0xec;
    keys[2][31] = 0x7f;
    keys
};

fn flipped(body: &Bytes, bit: usize) -> Bytes {
    let mut bytes = body.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.into()
}

/// No bit of a hello can be changed so that it passes for another hello: it is refused, or
/// still reads as exactly what was signed. (The name of an absent field may change, and a
/// name may be a byte string.)
#[test]
fn every_flipped_bit_is_refused_or_without_effect() {
    let (_, hello) = initiator(1);
    let hello = body(&hello);
    let (_, reply) = respond(2, &hello).expect("a genuine hello");
    let reply = body(&reply);
    let (_, ack) = initiator(1)
        .0
        .on_hello(&reply, NOW)
        .expect("a genuine reply");
    let ack = body(&ack);

    assert_flips_are_refused(&hello, |changed| respond(2, changed).is_ok());
    assert_flips_are_refused(&reply, |changed| {
        initiator(1).0.on_hello(changed, NOW).is_ok()
    });
    assert_flips_are_refused(&ack, |changed| {
        let (responder, _) = respond(2, &hello).expect("a genuine hello");
        responder.on_ack(changed, NOW).is_ok()
    });
}

fn assert_flips_are_refused(genuine: &Bytes, accepts: impl Fn(&Bytes) -> bool) {
    let signed = Hello::decode(genuine).expect("our own hello");
    let bits = genuine.len() * 8;
    let mut accepted = 0;
    for bit in 0..bits {
        let changed = flipped(genuine, bit);
        if accepts(&changed) {
            assert_eq!(Hello::decode(&changed).as_ref(), Ok(&signed), "bit {bit}");
            accepted += 1;
        }
    }
    assert!(
        accepted < bits / 20,
        "{accepted} of {bits} changed hellos were accepted"
    );
}

#[test]
fn every_truncation_is_refused() {
    let (_, hello) = initiator(1);
    let hello = body(&hello);
    let (_, reply) = respond(2, &hello).expect("a genuine hello");
    let reply = body(&reply);
    let (_, ack) = initiator(1)
        .0
        .on_hello(&reply, NOW)
        .expect("a genuine reply");
    let ack = body(&ack);
    let bytes_error = |error| matches!(error, Some(HandshakeError::Bytes(_)));
    for len in 0..hello.len() {
        assert!(
            bytes_error(respond(2, &hello.slice(..len)).err()),
            "hello cut to {len}"
        );
    }
    for len in 0..reply.len() {
        let result = initiator(1).0.on_hello(&reply.slice(..len), NOW);
        assert!(bytes_error(result.err()), "reply cut to {len}");
    }
    for len in 0..ack.len() {
        let (responder, _) = respond(2, &hello).expect("a genuine hello");
        assert!(
            bytes_error(responder.on_ack(&ack.slice(..len), NOW).err()),
            "ack cut to {len}"
        );
    }
}

#[test]
fn reflected_hellos_are_our_own() {
    let (first, hello) = initiator(1);
    assert_eq!(
        first.on_hello(&body(&hello), NOW).err(),
        Some(HandshakeError::SelfConnect)
    );
    let (_, reply) = respond(2, &body(&hello)).expect("a genuine hello");
    let (responder, _) = respond(2, &body(&hello)).expect("a genuine hello");
    assert_eq!(
        responder.on_ack(&body(&reply), NOW),
        Err(HandshakeError::SelfConnect)
    );
}

#[test]
fn a_node_that_dials_itself_notices() {
    let (_, hello) = initiator(1);
    assert_eq!(
        respond(1, &body(&hello)).err(),
        Some(HandshakeError::SelfConnect)
    );
}

#[test]
fn a_recorded_handshake_does_not_open_a_second_session() {
    let mut memory = NonceMemory::new();
    let (first, hello) = initiator(1);
    let two = keys(2);
    let (responder, reply) =
        Responder::on_client_hello(params(&two, 2, CHANNEL), &body(&hello), NOW, &mut memory)
            .expect("genuine");
    let (_, ack) = first.on_hello(&body(&reply), NOW).expect("a genuine reply");
    responder.on_ack(&body(&ack), NOW).expect("a genuine ack");

    let copy =
        Responder::on_client_hello(params(&two, 3, CHANNEL), &body(&hello), NOW, &mut memory);
    assert_eq!(copy.err(), Some(HandshakeError::Replay));
    // A restart forgets the nonce; the recorded ack still answers the nonce of then.
    memory = NonceMemory::new();
    let (again, _) =
        Responder::on_client_hello(params(&two, 3, CHANNEL), &body(&hello), NOW, &mut memory)
            .expect("forgotten");
    assert_eq!(
        again.on_ack(&body(&ack), NOW),
        Err(HandshakeError::EchoedNonce)
    );
}

#[test]
fn a_forged_hello_does_not_use_up_the_nonce_of_a_genuine_one() {
    let mut memory = NonceMemory::new();
    let (_, hello) = initiator(1);
    let hello = body(&hello);
    let mut forged = hello.to_vec();
    *forged.last_mut().expect("not empty") ^= 1;
    let two = keys(2);
    let forged =
        Responder::on_client_hello(params(&two, 2, CHANNEL), &forged.into(), NOW, &mut memory);
    assert_eq!(forged.err(), Some(HandshakeError::Signature));
    assert!(memory.is_empty());
    assert!(Responder::on_client_hello(params(&two, 2, CHANNEL), &hello, NOW, &mut memory).is_ok());
}

#[test]
fn answers_of_another_handshake_do_not_fit() {
    let one = keys(1);
    let (first, first_hello) = initiator(1);
    let (second, second_hello) = Initiator::start(params(&one, 11, CHANNEL), Profile::C, NOW);
    let (first_responder, first_reply) = respond(2, &body(&first_hello)).expect("genuine");
    let two = keys(2);
    let (_, second_reply) = Responder::on_client_hello(
        params(&two, 12, CHANNEL),
        &body(&second_hello),
        NOW,
        &mut NonceMemory::new(),
    )
    .expect("genuine");
    assert_eq!(
        first.on_hello(&body(&second_reply), NOW).err(),
        Some(HandshakeError::EchoedNonce)
    );
    let (_, second_ack) = second.on_hello(&body(&second_reply), NOW).expect("genuine");
    assert_eq!(
        first_responder.on_ack(&body(&second_ack), NOW),
        Err(HandshakeError::EchoedNonce)
    );
    assert_eq!(
        initiator(1)
            .0
            .on_hello(&body(&first_reply), NOW)
            .map(|(established, _)| established.key),
        Ok(two.public()),
    );
}

#[test]
fn messages_out_of_turn_are_refused() {
    let (first, hello) = initiator(1);
    let (responder, reply) = respond(2, &body(&hello)).expect("genuine");
    assert_eq!(
        responder.on_ack(&body(&hello), NOW),
        Err(HandshakeError::EchoedNonce),
        "the hello again"
    );
    let (_, ack) = first.on_hello(&body(&reply), NOW).expect("genuine");
    let (third, _) = initiator(3);
    assert_eq!(
        third.on_hello(&body(&ack), NOW).err(),
        Some(HandshakeError::EchoedNonce),
        "an ack as a reply"
    );
}

#[test]
fn a_wrong_key_gets_no_ack_and_no_answer() {
    let (one, two, three) = (keys(1), keys(2), keys(3));
    let mut expecting = params(&one, 1, CHANNEL);
    expecting.expected = Some(three.public());
    let (first, hello) = Initiator::start(expecting, Profile::C, NOW);
    let (_, reply) = respond(2, &body(&hello)).expect("genuine");
    let wrong = HandshakeError::WrongKey {
        expected: three.public(),
        found: two.public(),
    };
    assert_eq!(first.on_hello(&body(&reply), NOW).err(), Some(wrong));

    let mut expecting = params(&two, 2, CHANNEL);
    expecting.expected = Some(three.public());
    let result = Responder::on_client_hello(expecting, &body(&hello), NOW, &mut NonceMemory::new());
    let wrong = HandshakeError::WrongKey {
        expected: three.public(),
        found: one.public(),
    };
    assert_eq!(result.err(), Some(wrong));
}

#[test]
fn an_ack_of_somebody_else_is_refused() {
    let (_, hello) = initiator(1);
    let (responder, _) = respond(2, &body(&hello)).expect("genuine");
    let echoed = responder.own_nonce;
    let ack = forge(3, Profile::C, |fields| fields.echoed_nonce = Some(echoed));
    let wrong = HandshakeError::WrongKey {
        expected: keys(1).public(),
        found: keys(3).public(),
    };
    assert_eq!(responder.on_ack(&ack, NOW), Err(wrong));
}

#[test]
fn an_ack_in_another_profile_is_refused() {
    let (_, hello) = initiator(1);
    for profile in [Profile::A, Profile::B] {
        let (responder, _) = respond(2, &body(&hello)).expect("genuine");
        let echoed = responder.own_nonce;
        let ack = forge(1, profile, |fields| fields.echoed_nonce = Some(echoed));
        let refused = HandshakeError::Profile {
            version: 1,
            shown: Some(profile),
        };
        assert_eq!(responder.on_ack(&ack, NOW), Err(refused));
    }
}

#[test]
fn a_bound_peer_keeps_its_nonce_and_ephemeral_key() {
    let (_, hello) = initiator(1);
    let opening = Hello::decode(&body(&hello)).expect("our own hello");
    let verdict = |nonce, ephemeral| {
        let (responder, _) = respond(2, &body(&hello)).expect("genuine");
        let echoed_nonce = Some(responder.own_nonce);
        let ack = forge(1, Profile::C, |fields| {
            *fields = HelloFields {
                nonce,
                ephemeral,
                echoed_nonce,
                ..*fields
            };
        });
        responder
            .on_ack(&ack, NOW)
            .map(|established| established.key)
    };
    assert_eq!(
        verdict(opening.nonce, opening.ephemeral),
        Ok(keys(1).public())
    );
    assert_eq!(
        verdict([5; 32], opening.ephemeral),
        Err(HandshakeError::AckDiffers)
    );
    assert_eq!(
        verdict(opening.nonce, [5; 32]),
        Err(HandshakeError::AckDiffers)
    );
}

/// Node 4 terminates both TLS connections and passes genuine hellos through.
#[test]
fn hellos_passed_between_two_connections_are_noticed_by_both_ends() {
    let (one, two) = (keys(1), keys(2));
    let (near, far) = ([0x11; 32], [0x22; 32]);
    let (first, hello) = Initiator::start(params(&one, 1, near), Profile::C, NOW);

    let mut memory = NonceMemory::new();
    let result = Responder::on_client_hello(params(&two, 2, far), &body(&hello), NOW, &mut memory);
    assert_eq!(
        result.err(),
        Some(HandshakeError::Intercepted {
            claimed: one.public()
        })
    );

    let reply = {
        let error = HandshakeError::Intercepted {
            claimed: one.public(),
        };
        Responder::warning(params(&two, 2, far), &body(&hello), &error, NOW).expect("a hello")
    };
    assert_eq!(
        first.on_hello(&body(&reply), NOW).err(),
        Some(HandshakeError::Intercepted {
            claimed: two.public()
        })
    );
}

/// A proof of one role or key cannot stand in for that of another on the same connection.
#[test]
fn a_proof_does_not_move_to_another_role_or_key() {
    for (role, prover) in [(Role::Responder, 3), (Role::Initiator, 4)] {
        let hello = forge(3, Profile::C, |fields| {
            fields.nonce = binding::make_nonce(&CHANNEL, role, &keys(prover).public(), [3; 11]);
        });
        let claimed = keys(3).public();
        assert_eq!(
            respond(2, &hello).err(),
            Some(HandshakeError::Intercepted { claimed })
        );
    }
}

#[test]
fn unbound_peers_are_marked() {
    let hello = forge(3, Profile::A, |_| {});
    let (responder, _) = respond(2, &hello).expect("a deployed peer's hello");
    assert_eq!(responder.claim.binding, Binding::Unbound);
}

#[test]
fn low_order_points_are_refused_by_both_roles() {
    for point in LOW_ORDER {
        let mut high_bit = point;
        high_bit[31] |= 0x80;
        for ephemeral in [point, high_bit] {
            let hello = forge(3, Profile::C, |fields| fields.ephemeral = ephemeral);
            assert_eq!(
                respond(2, &hello).err(),
                Some(HandshakeError::WeakEphemeral)
            );
            let (first, _) = initiator(1);
            let echoed = first.end.nonce;
            let reply = forge(3, Profile::C, |fields| {
                fields.ephemeral = ephemeral;
                fields.echoed_nonce = Some(echoed);
            });
            assert_eq!(
                first.on_hello(&reply, NOW).err(),
                Some(HandshakeError::WeakEphemeral)
            );
        }
    }
}

/// With a small-order key, R = identity and S = 0 would satisfy the loose equation for many
/// messages.
#[test]
fn weak_node_keys_are_refused() {
    for weak in WEAK_KEYS {
        let mut hello = Hello::decode(&forge(3, Profile::C, |_| {})).expect("our own hello");
        hello.key = NodeKey(weak);
        hello.signature = [0; 64];
        hello.signature[0] = 1;
        assert_eq!(
            respond(2, &hello.encode()).err(),
            Some(HandshakeError::WeakKey)
        );
    }
}

/// S and S + L are the same number to a verifier that does not look.
#[test]
fn unreduced_signatures_are_refused() {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut hello = Hello::decode(&forge(3, Profile::C, |_| {})).expect("our own hello");
    let mut carry = 0;
    for (s, l) in hello.signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        *s = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(
        respond(2, &hello.encode()).err(),
        Some(HandshakeError::Signature)
    );
}

#[test]
fn times_outside_the_window_are_refused() {
    let at = |timestamp| {
        let hello = forge(3, Profile::C, |fields| {
            fields.timestamp = UnixTime(timestamp)
        });
        respond(2, &hello).map(|_| ())
    };
    let skewed = |theirs| {
        Err(HandshakeError::ClockSkew {
            peer: None,
            theirs: UnixTime(theirs),
            ours: NOW,
        })
    };
    assert_eq!(at(NOW.0 - 300), Ok(()));
    assert_eq!(at(NOW.0 + 300), Ok(()));
    for theirs in [0, NOW.0 - 301, NOW.0 + 301, u64::MAX] {
        assert_eq!(at(theirs), skewed(theirs));
    }
}

/// Each end of a bound connection learns what the other's clock shows, and that it is not an old hello that says so.
#[test]
fn both_ends_learn_how_far_their_clocks_differ() {
    let (one, two) = (keys(1), keys(2));
    let ahead = UnixTime(NOW.0 + 3600);
    let (first, hello) = Initiator::start(params(&one, 1, CHANNEL), Profile::C, ahead);
    let refused = respond(2, &body(&hello)).map(|_| ()).err();
    let seen_by_two = HandshakeError::ClockSkew {
        peer: Some(one.public()),
        theirs: ahead,
        ours: NOW,
    };
    assert_eq!(refused, Some(seen_by_two));
    let warning = |error| Responder::warning(params(&two, 2, CHANNEL), &body(&hello), &error, NOW);
    let reply = warning(seen_by_two).expect("it is answered");
    assert_eq!(
        first.on_hello(&body(&reply), ahead).err(),
        Some(HandshakeError::ClockSkew {
            peer: Some(two.public()),
            theirs: NOW,
            ours: ahead
        })
    );
    // Of a hello that may be an old one, nothing is learned and nobody is answered.
    let old = HandshakeError::ClockSkew {
        peer: None,
        theirs: ahead,
        ours: NOW,
    };
    assert_eq!(warning(old), None);
}

proptest! {
    /// Bytes that nobody signed never authenticate anybody, in any state.
    #[test]
    fn garbage_never_authenticates(garbage: Vec<u8>, place: prop::sample::Index, splice: bool) {
        let (first, hello) = initiator(1);
        let (responder, reply) = respond(2, &body(&hello)).expect("genuine");
        let garbage = if splice {
            // Garbage in the middle of a genuine hello of this very handshake.
            let reply = body(&reply);
            let at = place.index(reply.len());
            let end = (at + garbage.len()).min(reply.len());
            let spliced = [&reply[..at], &garbage, &reply[end..]].concat();
            prop_assume!(spliced != reply);
            Bytes::from(spliced)
        } else {
            Bytes::from(garbage)
        };
        prop_assert!(responder.on_ack(&garbage, NOW).is_err());
        if let Ok((established, _)) = first.on_hello(&garbage, NOW) {
            // Only what is not signed may have changed, such as bytes behind the hello.
            prop_assert_eq!(established.key, keys(2).public());
            prop_assert_eq!(Hello::decode(&garbage), Hello::decode(&body(&reply)));
        }
    }

    /// Whoever chooses the randomness, both ends get one secret, and another one each time.
    #[test]
    fn secrets_agree_and_are_fresh(ones: ([u8; 11], [u8; 32]), twos: ([u8; 11], [u8; 32])) {
        let (one, two) = (keys(1), keys(2));
        let mut secrets = vec![];
        for round in 0..2 {
            let mut own = params(&one, 1, CHANNEL);
            (own.nonce_random, own.ephemeral) = ones;
            own.nonce_random[0] ^= round;
            let (first, hello) = Initiator::start(own, Profile::C, NOW);
            let mut own = params(&two, 2, CHANNEL);
            (own.nonce_random, own.ephemeral) = twos;
            let (responder, reply) =
                Responder::on_client_hello(own, &body(&hello), NOW, &mut NonceMemory::new()).expect("genuine");
            let (at_one, ack) = first.on_hello(&body(&reply), NOW).expect("genuine");
            let at_two = responder.on_ack(&body(&ack), NOW).expect("genuine");
            prop_assert_eq!(at_one.secret, at_two.secret);
            secrets.push(at_one.secret);
        }
        prop_assert_ne!(secrets[0], secrets[1]);
    }
}
