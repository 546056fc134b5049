//! Sessions with deployed relays: what requesters, relay and owner of a slot really said.

use scp2p_proto::wire::{Answer, AnswerError, Envelope, RelayStream, Request};
use serde_json::Value;

use crate::{cases, hex, joined, name, small, text};

const FILES: [&str; 2] = ["session_v03.json", "session_v06.json"];

fn relay_cases(file: &str) -> Vec<Value> {
    let cases = cases(file).into_iter();
    cases.filter(|case| case["kind"] == "relay").collect()
}

/// The envelope of a logged message.
fn envelope(message: &Value) -> Envelope {
    let envelope = Envelope::decode(&hex(&message["envelope"])).expect("a logged envelope");
    assert_eq!(envelope.kind, small::<u16>(&message["type"]));
    assert_eq!(envelope.payload, hex(&message["payload"]));
    envelope
}

/// What a requester has relayed; it is written as it was read.
fn relayed(message: &Value) -> RelayStream {
    let outer = envelope(message);
    let request = Request::decode(outer.kind, &outer.payload).expect("a RELAY_STREAM");
    let again = joined(&request.to_frame(outer.req_id));
    assert_eq!(again.slice(4..), hex(&message["envelope"]));
    let Request::RelayStream(stream) = request else {
        panic!("not a RELAY_STREAM: {request:?}")
    };
    stream
}

/// What the relay said to that; it is written as it was read.
fn reply(message: &Value) -> Result<RelayStream, AnswerError> {
    let outer = envelope(message);
    let answer = Answer::decode(453, &outer)?;
    let again = joined(&answer.to_frame(453, outer.req_id));
    assert_eq!(again.slice(4..), hex(&message["envelope"]));
    let Answer::RelayStream(stream) = answer else {
        panic!("not a RELAY_STREAM: {answer:?}")
    };
    Ok(stream)
}

fn refusal(text: &str) -> AnswerError {
    AnswerError::Refused {
        rate_limited: false,
        text: text.into(),
    }
}

/// A request through a tunnel comes to the owner as it was made, and so does the reply to the requester: errors of the
/// owner inside of a success, errors of the relay as such.
#[test]
fn what_is_relayed_comes_out_as_it_went_in() {
    for file in FILES {
        let (mut answered, mut refused) = (0, 0);
        for case in relay_cases(file) {
            if case.get("requester_sends").is_none() {
                continue;
            }
            let name = name(&case);
            let sent = relayed(&case["requester_sends"]);
            if let Some(owner) = case.get("tunnel_owner_receives") {
                let inner = sent.inner().expect("an envelope");
                assert_eq!(inner, envelope(owner), "{name}");
                assert_eq!(inner.encode(), sent.payload, "{name}");
            }
            match reply(&case["requester_receives"]) {
                Ok(received) => {
                    let as_sent = (sent.slot, sent.stream_id, sent.kind);
                    assert_eq!((received.slot, received.stream_id, received.kind), as_sent);
                    if let Some(owner) = case.get("tunnel_owner_answers") {
                        let inner = received.inner().expect("an envelope");
                        assert_eq!(inner, envelope(owner), "{name}");
                        assert_eq!(inner.is_error(), owner.get("error_text").is_some());
                        assert_eq!(inner.encode(), received.payload, "{name}");
                    } else {
                        assert_eq!(received, sent, "{name}: an echo");
                    }
                    answered += 1;
                }
                Err(error) => {
                    let said = text(&case["requester_receives"]["error_text"]);
                    assert_eq!(error, refusal(said), "{name}");
                    assert_eq!(sent.inner().is_err(), said.contains("bad inner envelope"));
                    refused += 1;
                }
            }
        }
        assert_eq!((answered, refused), (3, 3), "{file}");
    }
}

#[test]
fn registrations_and_their_replies_are_understood() {
    for file in FILES {
        let (mut granted, mut refused) = (0, 0);
        for case in relay_cases(file) {
            if case.get("request").is_none() {
                continue;
            }
            let (asked, replied) = (envelope(&case["request"]), envelope(&case["reply"]));
            let request = Request::decode(asked.kind, &asked.payload).expect("a request");
            let again = joined(&request.to_frame(asked.req_id));
            assert_eq!(again.slice(4..), hex(&case["request"]["envelope"]));
            match Answer::decode(asked.kind, &replied) {
                Ok(answer) => {
                    let again = joined(&answer.to_frame(asked.kind, replied.req_id));
                    assert_eq!(again.slice(4..), hex(&case["reply"]["envelope"]));
                    let is_ack = answer == Answer::Ack;
                    assert_eq!(is_ack, matches!(request, Request::RelayConnect(_)));
                    granted += 1;
                }
                Err(error) => {
                    assert_eq!(error, refusal(text(&case["reply"]["error_text"])));
                    refused += 1;
                }
            }
        }
        assert_eq!((granted, refused), (3, 3), "{file}");
    }
}

/// A request is wrapped as deployed requesters do it.
#[test]
fn requests_are_wrapped_like_deployed_peers_do() {
    let mut seen = 0;
    for case in FILES.into_iter().flat_map(relay_cases) {
        let Some(owner) = case.get("tunnel_owner_receives") else {
            continue;
        };
        let (sent, inner) = (relayed(&case["requester_sends"]), envelope(owner));
        let request = Request::decode(inner.kind, &inner.payload).expect("a request");
        let wrapped = RelayStream::for_owner(sent.slot, request.to_envelope(inner.req_id));
        assert_eq!(wrapped, sent);
        seen += 1;
    }
    assert_eq!(seen, 2);
}
