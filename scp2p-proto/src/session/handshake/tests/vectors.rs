//! What deployed peers produced and how they judged.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use serde_json::Value;

use super::*;
use crate::id::hex;

const FILES: [(&str, Profile); 3] = [
    ("handshake_v1", Profile::A),
    ("handshake_v1_8caps", Profile::B),
    ("handshake_v2", Profile::C),
];

fn text(file: &str) -> &'static str {
    match file {
        "handshake_v1" => include_str!("../../../../../vectors/handshake_v1.json"),
        "handshake_v1_8caps" => include_str!("../../../../../vectors/handshake_v1_8caps.json"),
        "handshake_v2" => include_str!("../../../../../vectors/handshake_v2.json"),
        other => panic!("no such vectors: {other}"),
    }
}

fn cases(file: &str, kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text(file)).expect("the vectors are JSON");
    let cases = file["cases"].as_array().expect("cases is a list");
    let cases: Vec<_> = cases
        .iter()
        .filter(|case| case["kind"] == kind)
        .cloned()
        .collect();
    assert!(!cases.is_empty());
    cases
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a text of hex digits");
    assert_eq!(text.len() % 2, 0);
    let digits = |i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().expect("32 bytes")
}

fn capabilities(value: &Value) -> Capabilities {
    let flag = |name| {
        value
            .get(name)
            .is_some_and(|flag| flag == &Value::Bool(true))
    };
    Capabilities {
        dht: flag("dht"),
        store: flag("store"),
        relay: flag("relay"),
        content_seed: flag("content_seed"),
        mobile_light: flag("mobile_light"),
        community_paged_browse: flag("community_paged_browse"),
        community_search: flag("community_search"),
        community_delta_sync: flag("community_delta_sync"),
    }
}

/// An end like the deployed peer's: seed and nonce as in the vectors.
fn end(seed: [u8; 32], nonce: [u8; 32], ephemeral: [u8; 32], expected: Option<NodeKey>) -> End {
    End {
        keys: Keys::from_seed(seed),
        capabilities: Capabilities::node(),
        exporter: CHANNEL,
        nonce,
        ephemeral: StaticSecret::from(ephemeral),
        expected,
    }
}

#[test]
fn transcripts_are_accepted_by_both_roles() {
    for (file, profile) in FILES {
        for case in cases(file, "transcript") {
            let frame = |name: &str| Bytes::from(bytes(&case[name]["frame"]));
            let (client, server) = (&case["client_hello"], &case["server_hello"]);
            let one = NodeKey(array(&client["node_pubkey"]));
            let two = NodeKey(array(&server["node_pubkey"]));

            let own = end(
                array(&case["initiator_seed"]),
                array(&client["nonce"]),
                [9; 32],
                Some(two),
            );
            let (initiator, _) = Initiator::open(own, profile, NOW);
            let (at_one, _) = initiator
                .on_hello(&body(&frame("server_hello")), NOW)
                .expect("genuine");
            assert_eq!(
                (at_one.key, at_one.profile, at_one.binding),
                (two, profile, Binding::Unbound)
            );
            assert_eq!(at_one.capabilities, capabilities(&server["capabilities"]));

            let own = end(
                array(&case["responder_seed"]),
                array(&server["nonce"]),
                [9; 32],
                Some(one),
            );
            let hello = body(&frame("client_hello"));
            let (responder, _) =
                Responder::answer(own, &hello, NOW, &mut NonceMemory::new()).expect("genuine");
            let at_two = responder
                .on_ack(&body(&frame("client_ack")), NOW)
                .expect("genuine");
            assert_eq!(
                (at_two.key, at_two.profile, at_two.binding),
                (one, profile, Binding::Unbound)
            );
            assert_eq!(at_two.capabilities, capabilities(&client["capabilities"]));
        }
    }
}

/// The hellos' bytes, which hold the signatures over the signed bytes, and the secret are
/// those that the deployed peer made.
#[test]
fn frames_and_secret_are_those_of_the_deployed_peer() {
    for (file, profile) in FILES {
        for case in cases(file, "session_secret") {
            let frame = |name: &str| Bytes::from(bytes(&case[name]["frame"]));
            let mut own = end(
                array(&case["initiator_seed"]),
                array(&case["client_hello"]["nonce"]),
                array(&case["initiator_x25519_secret"]),
                None,
            );
            own.capabilities = capabilities(&case["client_hello"]["capabilities"]);
            let (initiator, hello) = Initiator::open(own, profile, NOW);
            assert_eq!(hello, frame("client_hello"));
            let (established, ack) = initiator
                .on_hello(&body(&frame("server_hello")), NOW)
                .expect("a genuine reply");
            assert_eq!(ack, frame("client_ack"));
            assert_eq!(hex(&established.secret), case["session_secret"]);
        }
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Accepted(Profile),
    RefusedAtHello,
    RefusedAtAck,
}

#[test]
fn responder_judges_as_deployed_or_better() {
    for (file, profile) in FILES {
        for case in cases(file, "responder_verdict") {
            let name = case["name"].as_str().expect("a name");
            let deployed = match (&case["server_hello_sent"], &case["accepted"]) {
                (Value::Bool(true), Value::Bool(true)) => Verdict::Accepted(profile),
                (Value::Bool(true), Value::Bool(false)) => Verdict::RefusedAtAck,
                _ => Verdict::RefusedAtHello,
            };
            let expected = differing_verdict(name, profile).unwrap_or(deployed);
            assert_eq!(our_verdict(&case), expected, "{file}: {name}");
        }
    }
}

/// Where we judge otherwise than the deployed peer of one profile: we speak all profiles,
/// refuse what is none before answering, and verify over the capabilities as they came.
fn differing_verdict(name: &str, profile: Profile) -> Option<Verdict> {
    if name.starts_with("capabilities in another order") {
        Some(Verdict::Accepted(profile))
    } else if name.starts_with("hello of the other published profile") {
        Some(match profile {
            Profile::A => Verdict::Accepted(Profile::C),
            // In this file the other profile is version 2 with five capabilities.
            Profile::B => Verdict::RefusedAtHello,
            Profile::C => Verdict::Accepted(Profile::A),
        })
    } else if name.starts_with("other protocol version with this version's capability set") {
        Some(match profile {
            Profile::A => Verdict::RefusedAtHello,
            Profile::B => Verdict::Accepted(Profile::C),
            Profile::C => Verdict::Accepted(Profile::B),
        })
    } else {
        None
    }
}

fn our_verdict(case: &Value) -> Verdict {
    let name = case["name"].as_str().expect("a name");
    let text = case["first_frame"].as_str().expect("a frame");
    let frame = match text.split_once("...") {
        Some((start, _)) => {
            let mut frame = bytes(&Value::String(start.to_string()));
            frame.resize(65_541, 0);
            frame
        }
        None => bytes(&case["first_frame"]),
    };
    let mut reader = FrameReader::new(HANDSHAKE_FRAME_MAX);
    reader.push(Bytes::from(frame));
    let Ok(Some(hello)) = reader.next() else {
        return Verdict::RefusedAtHello;
    };
    let own = end([2; 32], [0xb2; 32], [9; 32], None);
    let Ok((responder, reply)) = Responder::answer(own, &hello, NOW, &mut NonceMemory::new())
    else {
        return Verdict::RefusedAtHello;
    };
    let reply = Hello::decode(&body(&reply)).expect("our own hello");
    let profile = reply.profile().expect("our own profile");
    match responder.on_ack(&ack_for(name, profile, reply.nonce), NOW) {
        Ok(established) => {
            assert_eq!(
                established.profile, profile,
                "answered in the profile addressed"
            );
            Verdict::Accepted(profile)
        }
        Err(_) => Verdict::RefusedAtAck,
    }
}

/// The ack that the case's name describes.
fn ack_for(name: &str, profile: Profile, echoed: [u8; 32]) -> Bytes {
    let signer = if name == "ack signed by another key" {
        3
    } else {
        1
    };
    let ack = forge(signer, profile, |fields| {
        fields.nonce = [0xa1; 32];
        fields.echoed_nonce = Some(echoed);
        if name == "ack echoes a wrong nonce" {
            fields.echoed_nonce = Some([1; 32]);
        } else if name.starts_with("ack with a fresh nonce") {
            fields.nonce = [0xa2; 32];
            fields.ephemeral = [9; 32];
        }
    });
    if name.starts_with("ack with trailing bytes") {
        [&ack[..], &[0; 7]].concat().into()
    } else {
        ack
    }
}

#[test]
fn a_second_copy_is_refused() {
    for (file, _) in FILES {
        for case in cases(file, "nonce_replay") {
            let hello = body(&Bytes::from(bytes(&case["first_frame"])));
            let mut memory = NonceMemory::new();
            let results = case["results"].as_array().expect("a list");
            let expected: Vec<_> = results.iter().map(|result| result == "ok").collect();
            assert_eq!(expected, vec![true, false]);
            for accepted in expected {
                let own = end([2; 32], [0xb2; 32], [9; 32], None);
                let result = Responder::answer(own, &hello, NOW, &mut memory).map(|_| ());
                assert_eq!(
                    result,
                    if accepted {
                        Ok(())
                    } else {
                        Err(HandshakeError::Replay)
                    }
                );
            }
        }
    }
}

#[test]
fn initiator_judges_as_deployed() {
    for (file, profile) in FILES {
        for case in cases(file, "initiator_verdict") {
            let name = case["name"].as_str().expect("a name");
            let genuine = keys(2).public();
            let expected = if name.starts_with("server key differs") {
                keys(3).public()
            } else {
                genuine
            };
            let own = end(
                [1; 32],
                array(&case["client_nonce"]),
                [9; 32],
                Some(expected),
            );
            let (initiator, _) = Initiator::open(own, profile, NOW);
            let frame = Bytes::from(bytes(&case["server_frame"]));
            let result = initiator
                .on_hello(&body(&frame), NOW)
                .map(|(established, _)| established.key);
            let wanted = match name {
                "baseline" => Ok(genuine),
                "server echoes a wrong nonce" => Err(HandshakeError::EchoedNonce),
                "server key differs from the expected one" => Err(HandshakeError::WrongKey {
                    expected,
                    found: genuine,
                }),
                "server speaks the other protocol version (same capability set)" => {
                    let (version, shown) = match profile {
                        Profile::A => (2, None),
                        Profile::B => (2, Some(Profile::C)),
                        Profile::C => (1, Some(Profile::B)),
                    };
                    Err(HandshakeError::Profile { version, shown })
                }
                "server hello stale by 301 s" => Err(HandshakeError::ClockSkew {
                    peer: Some(keys(2).public()),
                    theirs: UnixTime(NOW.0 - 301),
                    ours: NOW,
                }),
                other => panic!("a case without a verdict: {}", String::from(other)),
            };
            assert_eq!(result, wanted, "{file}: {name}");
            assert_eq!(result.is_ok(), case["accepted"] == true, "{file}: {name}");
        }
    }
}
