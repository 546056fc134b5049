//! Hellos as deployed peers write and sign them.

use ed25519_dalek::SigningKey;
use scp2p_proto::limits::HANDSHAKE_FRAME_MAX;
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Capabilities, FrameError, FrameReader, Hello, HelloFields, Profile};
use serde_json::Value;

use crate::{body_of, cases, hex, hex_array, name, number, small, some, text};

const FILES: [(&str, Profile); 3] = [
    ("handshake_v1.json", Profile::A),
    ("handshake_v1_8caps.json", Profile::B),
    ("handshake_v2.json", Profile::C),
];

#[test]
fn hellos_of_transcripts_are_read_verified_and_written_again() {
    for (file, profile) in FILES {
        let mut seen = 0;
        for case in cases(file) {
            for message in ["client_hello", "server_hello", "client_ack"] {
                if case[message].is_object() {
                    check_hello(&case[message], profile);
                    seen += 1;
                }
            }
        }
        assert!(seen >= 6, "{file}: {seen} hellos");
    }
}

fn check_hello(vector: &Value, profile: Profile) {
    let body = body_of(hex(&vector["frame"]), HANDSHAKE_FRAME_MAX);
    assert_eq!(body, hex(&vector["cbor"]));
    let hello = Hello::decode(&body).expect("a hello");
    assert_eq!(hello.key.0, hex_array(&vector["node_pubkey"]));
    assert_eq!(hello.capabilities, capabilities(&vector["capabilities"]));
    assert_eq!(hello.nonce, hex_array(&vector["nonce"]));
    assert_eq!(hello.echoed_nonce, some(&vector["echoed_nonce"], hex_array));
    assert_eq!(
        hello.timestamp,
        UnixTime(number(&vector["timestamp_unix_secs"]))
    );
    assert_eq!(hello.version, small::<u16>(&vector["protocol_version"]));
    assert_eq!(hello.ephemeral, hex_array(&vector["ephemeral_pubkey"]));
    assert_eq!(hello.signature, hex_array(&vector["signature"]));
    assert_eq!(hello.profile(), Some(profile));
    assert_eq!(hello.verify(), vector["signature_verifies"] == true);
    assert_eq!(hello.encode(), body);
}

/// A hello that we sign from the same seed and fields is the deployed peer's, byte for byte.
#[test]
fn hellos_signed_by_us_are_the_same_bytes() {
    for (file, profile) in FILES {
        let mut seen = 0;
        for case in cases(file) {
            for (seed, message) in [
                ("initiator_seed", "client_hello"),
                ("responder_seed", "server_hello"),
            ] {
                if case.get(seed).is_none() || !case[message].is_object() {
                    continue;
                }
                let vector = &case[message];
                let fields = HelloFields {
                    capabilities: capabilities(&vector["capabilities"]),
                    nonce: hex_array(&vector["nonce"]),
                    echoed_nonce: some(&vector["echoed_nonce"], hex_array),
                    timestamp: UnixTime(number(&vector["timestamp_unix_secs"])),
                    ephemeral: hex_array(&vector["ephemeral_pubkey"]),
                };
                let key = SigningKey::from_bytes(&hex_array(&case[seed]));
                assert_eq!(
                    Hello::sign(&key, profile, fields).encode(),
                    hex(&vector["cbor"])
                );
                seen += 1;
            }
        }
        assert!(seen >= 2, "{file}: {seen} hellos");
    }
}

/// The hellos of the verdict cases that deployed peers refuse for what the hello itself holds are
/// refused here; those that they refuse for an unknown capability set alone verify, as long as the
/// five capabilities are there that every profile has.
#[test]
fn first_hellos_of_verdicts() {
    for (file, profile) in FILES {
        for case in cases(file)
            .iter()
            .filter(|case| case["kind"] == "responder_verdict")
        {
            let name = name(case);
            let frame = text(&case["first_frame"]);
            if frame.contains("...") {
                let mut reader = FrameReader::new(HANDSHAKE_FRAME_MAX);
                reader.push([0, 1, 0, 1].as_slice().into());
                assert_eq!(reader.next(), Err(FrameError::TooLong(65_537)), "{name}");
                continue;
            }
            let mut reader = FrameReader::new(HANDSHAKE_FRAME_MAX);
            reader.push(hex(&case["first_frame"]));
            let verified = match reader.next() {
                Ok(Some(body)) => Hello::decode(&body).is_ok_and(|hello| hello.verify()),
                Ok(None) | Err(_) => false,
            };
            // The time and replays are not the hello's own business.
            let expected = case["server_hello_sent"] == true
                || name.contains("301 s")
                || name.starts_with("one more (signed) capability")
                || (name.starts_with("last capability left out") && profile != Profile::A)
                || name.starts_with("capabilities in another order")
                || name.starts_with("hello of the other published profile");
            assert_eq!(verified, expected, "{file}: {name}");
        }
    }
}

fn capabilities(fields: &Value) -> Capabilities {
    let flag = |key: &str| fields[key] == true;
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
