//! What deployed decoders take and refuse, ours take and refuse.

use bytes::Bytes;
use scp2p_proto::limits::PAYLOAD_MAX;
use scp2p_proto::wire::{Answer, Envelope, Request, RequestError};
use serde_json::Value;

use crate::messages::NOT_SPOKEN;
use crate::{cases, hex, joined, name, small};

#[test]
fn payloads() {
    let mut seen = 0;
    for case in cases("decoder_tolerance.json") {
        let Some(bytes) = case.get("decode").map(hex) else {
            continue;
        };
        let kind: u16 = small(&case["type"]);
        if NOT_SPOKEN.contains(&kind) {
            continue;
        }
        seen += 1;
        assert_eq!(
            decodes(kind, &bytes),
            case["accepted"] == true,
            "{}",
            name(&case)
        );
        if case["accepted"] == true && !writes_negative_ttl(&case) {
            assert_eq!(
                rewritten(kind, &bytes),
                hex(&case["canonical"]),
                "{}",
                name(&case)
            );
        }
    }
    assert_eq!(seen, 42);
}

#[test]
fn envelopes() {
    let mut seen = 0;
    for case in cases("decoder_tolerance.json") {
        let Some(bytes) = case.get("envelope_decode").map(hex) else {
            continue;
        };
        seen += 1;
        let envelope = Envelope::decode(&bytes);
        assert_eq!(
            envelope.is_ok(),
            case["accepted"] == true,
            "{}",
            name(&case)
        );
        let Ok(envelope) = envelope else { continue };
        let expected = Envelope {
            kind: small(&case["type"]),
            req_id: small(&case["req_id"]),
            flags: small(&case["flags"]),
            payload: hex(&case["payload"]),
        };
        assert_eq!(envelope, expected, "{}", name(&case));
    }
    assert_eq!(seen, 11);
}

#[test]
fn payloads_of_a_mebibyte_and_not_more() {
    for case in cases("decoder_tolerance.json") {
        if case.get("payload_len").is_none() {
            continue;
        }
        let len: usize = small(&case["payload_len"]);
        let envelope = Envelope {
            kind: 501,
            req_id: 1,
            flags: 1,
            payload: vec![0; len].into(),
        };
        let frame = envelope.clone().into_frame();
        assert_eq!(
            frame.len() - 4,
            small::<usize>(&case["envelope_len"]),
            "{}",
            name(&case)
        );
        let read = Envelope::decode(&joined(&frame).slice(4..));
        assert_eq!(read.is_ok(), case["accepted"] == true, "{}", name(&case));
        assert_eq!(read.is_ok(), len <= PAYLOAD_MAX);
    }
}

/// Deployed peers write such a number as a negative one, which nobody can read back.
fn writes_negative_ttl(case: &Value) -> bool {
    name(case).starts_with("STORE: ttl 2^63")
}

fn request_kind(reply: u16) -> Option<u16> {
    match reply {
        401 | 403 | 501 | 503 => Some(reply - 1),
        _ => None,
    }
}

fn reply(kind: u16, payload: &Bytes) -> Envelope {
    Envelope {
        kind,
        req_id: 1,
        flags: 1,
        payload: payload.clone(),
    }
}

fn decodes(kind: u16, payload: &Bytes) -> bool {
    match request_kind(kind) {
        Some(request) => Answer::decode(request, &reply(kind, payload)).is_ok(),
        None => Request::decode(kind, payload).is_ok(),
    }
}

fn rewritten(kind: u16, payload: &Bytes) -> Bytes {
    let frame = match request_kind(kind) {
        Some(request) => Answer::decode(request, &reply(kind, payload))
            .expect("it decodes")
            .to_frame(request, 1),
        None => Request::decode(kind, payload)
            .expect("it decodes")
            .to_frame(1),
    };
    Envelope::decode(&joined(&frame).slice(4..))
        .expect("our own envelope")
        .payload
}

#[test]
fn error_texts_of_unknown_and_reply_types() {
    let refused = |kind| {
        Request::decode(kind, &Bytes::new())
            .expect_err("not a request")
            .to_string()
    };
    assert_eq!(refused(999), "unknown message type 999");
    assert_eq!(
        Request::decode(999, &Bytes::new()),
        Err(RequestError::Unknown(999))
    );
    for kind in [401, 403, 451, 461, 498, 501, 503] {
        assert_eq!(refused(kind), "unsupported message type");
    }
}
