//! Whole sessions with deployed nodes: requests are understood, replies are what they say.

use bytes::Bytes;
use scp2p_proto::limits::{FRAME_MAX, PAYLOAD_MAX};
use scp2p_proto::wire::{
    Answer, AnswerError, Envelope, FrameError, FrameReader, Request, RequestError,
};
use serde_json::Value;

use crate::messages::NOT_SPOKEN;
use crate::{cases, hex, joined, name, small, text};

const FILES: [&str; 2] = ["session_v03.json", "session_v06.json"];

#[test]
fn requests_are_understood_and_replies_are_answers() {
    for file in FILES {
        let mut seen = 0;
        for case in cases(file).iter().filter(|case| case["kind"] == "exchange") {
            let kind: u16 = small(&case["request"]["type"]);
            if NOT_SPOKEN.contains(&kind) {
                continue;
            }
            check_exchange(case, kind);
            seen += 1;
        }
        assert_eq!(seen, 39, "{file}");
    }
}

fn check_exchange(case: &Value, kind: u16) {
    let name = name(case);
    let (request, reply) = (&case["request"], &case["reply"]);
    if let Some(envelope) = envelope(request) {
        let decoded = Request::decode(kind, &envelope.payload);
        match reply.get("error_text").map(text) {
            Some("unsupported message type") => {
                assert_eq!(decoded, Err(RequestError::Unsupported(kind)), "{name}")
            }
            Some("unknown message type 999") => {
                assert_eq!(decoded, Err(RequestError::Unknown(kind)), "{name}")
            }
            Some(error) if error.starts_with("Semantic") => {
                assert!(matches!(decoded, Err(RequestError::Malformed(_))), "{name}");
            }
            Some(_) | None => {
                let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
                let again = decoded.to_frame(envelope.req_id);
                let again = Envelope::decode(&joined(&again).slice(4..)).expect("our own envelope");
                assert_eq!(again.payload, envelope.payload, "{name}");
            }
        }
    }
    if let Some(envelope) = envelope(reply) {
        check_reply(name, kind, reply, &envelope);
    }
}

fn check_reply(name: &str, kind: u16, reply: &Value, envelope: &Envelope) {
    let decoded = Answer::decode(kind, envelope);
    match reply.get("error_text").map(text) {
        Some(error) => {
            let expected = AnswerError::Refused {
                rate_limited: false,
                text: error.into(),
            };
            assert_eq!(decoded, Err(expected), "{name}");
        }
        None => {
            let answer = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
            let again = joined(&answer.to_frame(kind, envelope.req_id));
            assert_eq!(again.slice(4..), hex(&reply["envelope"]), "{name}");
        }
    }
}

/// The envelope of a logged message; large ones are logged by length alone.
fn envelope(message: &Value) -> Option<Envelope> {
    let envelope = Envelope::decode(&message.get("envelope").map(hex)?).expect("a logged envelope");
    assert_eq!(envelope.kind, small::<u16>(&message["type"]));
    assert_eq!(envelope.flags, small::<u16>(&message["flags"]));
    assert_eq!(envelope.payload, hex(&message["payload"]));
    Some(envelope)
}

#[test]
fn a_value_of_65536_bytes_is_taken_and_one_more_is_not() {
    let store = |len: usize| {
        let head = [
            &[0xa3, 0, 0x58, 32][..],
            &[1; 32],
            &[1, 0x5a],
            &(len as u32).to_be_bytes(),
        ]
        .concat();
        let payload: Bytes = [head, vec![0; len], vec![2, 1]].concat().into();
        Request::decode(202, &payload)
    };
    assert!(store(65_536).is_ok());
    assert!(matches!(store(65_537), Err(RequestError::Malformed(_))));
}

#[test]
fn rate_limits_are_recognised() {
    for file in FILES {
        let cases = cases(file);
        let refusals: Vec<_> = cases
            .iter()
            .filter(|case| case["kind"] == "rate_limit" && case["reply"].is_object())
            .collect();
        assert!(refusals.len() >= 4, "{file}");
        for case in refusals {
            let reply = &case["reply"];
            let envelope = envelope(reply).expect("refusals are short");
            match Answer::decode(small(&reply["type"]), &envelope) {
                Err(AnswerError::Refused {
                    rate_limited,
                    text: said,
                }) => {
                    assert!(rate_limited);
                    assert_eq!(said, text(&reply["error_text"]));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_closes_a_deployed_session_is_refused_here() {
    for file in FILES {
        let cases = cases(file);
        let closing: Vec<_> = cases
            .iter()
            .filter(|case| case["kind"] == "close")
            .collect();
        assert_eq!(closing.len(), 2, "{file}");
        for case in closing {
            let mut reader = FrameReader::new(FRAME_MAX);
            reader.push(hex(&case["frame"]));
            match reader.next() {
                Ok(Some(body)) => assert!(Envelope::decode(&body).is_err(), "{}", name(case)),
                Ok(None) => panic!("{}: not a frame", name(case)),
                Err(error) => assert_eq!(error, FrameError::TooLong(2_097_153)),
            }
        }
    }
}

/// Chunk data is never copied: what is sent is the buffer given, what is received lies in the frame.
#[test]
fn chunk_data_stay_where_they_are() {
    let data = Bytes::from(vec![7; 262_144]);
    let content = scp2p_proto::id::ContentId([3; 32]);
    let answer = Answer::Chunk {
        content,
        index: 5,
        data: data.clone(),
    };
    let frame = answer.to_frame(500, 9);
    assert_eq!(frame.body.as_ptr(), data.as_ptr());
    let wire = joined(&frame);
    let inside = wire.as_ptr_range();
    let mut reader = FrameReader::new(FRAME_MAX);
    reader.push(wire);
    let body = reader.next().expect("well-formed").expect("complete");
    let envelope = Envelope::decode(&body).expect("our own envelope");
    assert!(envelope.payload.len() < PAYLOAD_MAX);
    match Answer::decode(500, &envelope) {
        Ok(Answer::Chunk { data: received, .. }) => {
            assert_eq!(received, data);
            assert!(inside.contains(&received.as_ptr()));
        }
        other => panic!("{other:?}"),
    }
}
