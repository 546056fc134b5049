//! Every message of the families spoken, as deployed peers write it.

use bytes::Bytes;
use scp2p_proto::id::{ContentId, DhtKey, ManifestId, NodeId, RelaySlotId, ShareId, ShareKey};
use scp2p_proto::limits::FRAME_MAX;
use scp2p_proto::record::RelayAnnouncement;
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{
    Answer, AnswerError, ChunkHashes, Envelope, FoundValue, PublicShareSummary, RelayRegister,
    RelayRegistered, RelayStream, RelayStreamKind, Request, RequestError, StoreRecord,
};
use serde_json::Value;

use crate::addresses::peer_addr;
use crate::{body_of, cases, hex, hex_array, joined, list, name, number, small, some, text};

/// Types of the community family, which this node does not speak.
pub const NOT_SPOKEN: [u16; 4] = [404, 405, 406, 407];

#[test]
fn all_messages_of_the_families_spoken() {
    let mut seen = 0;
    for case in cases("messages.json") {
        let kind: u16 = small(&case["type"]);
        if NOT_SPOKEN.contains(&kind) {
            continue;
        }
        seen += 1;
        match text(&case["direction"]) {
            "request" => check_request(&case, kind),
            "response" => check_response(&case, kind),
            "none" => assert_eq!(
                Request::decode(kind, &hex(&case["payload"])),
                Err(RequestError::Unsupported(kind)),
                "{}",
                name(&case)
            ),
            other => panic!("direction {other}"),
        }
    }
    assert_eq!(seen, 38, "cases of the families spoken");
}

fn check_request(case: &Value, kind: u16) {
    let name = name(case);
    let (envelope, frame) = check_envelope(case, kind);
    let expected = request(kind, &case["fields"]);
    assert_eq!(
        Request::decode(kind, &envelope.payload),
        Ok(expected.clone()),
        "{name}"
    );
    assert_eq!(expected.kind(), kind, "{name}");
    assert_eq!(joined(&expected.to_frame(envelope.req_id)), frame, "{name}");
}

fn check_response(case: &Value, kind: u16) {
    let name = name(case);
    let (envelope, frame) = check_envelope(case, kind);
    let fields = &case["fields"];
    if envelope.is_error() {
        let expected = AnswerError::Refused {
            rate_limited: false,
            text: text(&fields["text"]).into(),
        };
        assert_eq!(Answer::decode(kind, &envelope), Err(expected), "{name}");
        let written = Answer::error_frame(kind, envelope.req_id, text(&fields["text"]));
        assert_eq!(joined(&written), frame, "{name}");
        return;
    }
    let (request_kind, expected) = answer(kind, fields);
    assert_eq!(
        Answer::decode(request_kind, &envelope),
        Ok(expected.clone()),
        "{name}"
    );
    assert_eq!(
        joined(&expected.to_frame(request_kind, envelope.req_id)),
        frame,
        "{name}"
    );
}

/// Reads the case's frame and checks the envelope in it.
fn check_envelope(case: &Value, kind: u16) -> (Envelope, Bytes) {
    let frame = hex(&case["frame"]);
    let body = body_of(frame.clone(), FRAME_MAX);
    assert_eq!(body, hex(&case["envelope"]), "{}", name(case));
    let envelope =
        Envelope::decode(&body).unwrap_or_else(|error| panic!("{}: {error}", name(case)));
    let expected = Envelope {
        kind,
        req_id: small(&case["req_id"]),
        flags: small(&case["flags"]),
        payload: hex(&case["payload"]),
    };
    assert_eq!(envelope, expected, "{}", name(case));
    assert_eq!(joined(&expected.into_frame()), frame, "{}", name(case));
    (envelope, frame)
}

fn request(kind: u16, fields: &Value) -> Request {
    match kind {
        100 => Request::PexOffer(list(&fields["peers"], peer_addr)),
        101 => Request::PexRequest {
            max_peers: small(&fields["max_peers"]),
        },
        200 => Request::FindNode(NodeId(hex_array(&fields["target_node_id"]))),
        201 => Request::FindValue(DhtKey(hex_array(&fields["key"]))),
        202 => Request::Store(store_record(fields)),
        400 => Request::GetManifest(ManifestId(hex_array(&fields["manifest_id"]))),
        402 => Request::ListPublicShares {
            max_entries: small(&fields["max_entries"]),
        },
        450 => Request::RelayRegister(RelayRegister {
            slot: some(&fields["relay_slot_id"], |slot| RelaySlotId(number(slot))),
            tunnel: fields["tunnel"] == true,
        }),
        452 => Request::RelayConnect(RelaySlotId(number(&fields["relay_slot_id"]))),
        453 => Request::RelayStream(relay_stream(fields)),
        460 => Request::ListRelays {
            max_count: small(&fields["max_count"]),
        },
        499 => Request::HaveContent(content(fields)),
        500 => Request::GetChunk {
            content: content(fields),
            index: small(&fields["chunk_index"]),
        },
        502 => Request::GetChunkHashes(content(fields)),
        other => panic!("request of type {other}"),
    }
}

/// The answer that these fields make, and the type of the request it answers.
fn answer(kind: u16, fields: &Value) -> (u16, Answer) {
    let is_ack = fields.as_object().is_some_and(serde_json::Map::is_empty);
    match kind {
        _ if is_ack => (kind, Answer::Ack),
        100 => (101, Answer::Peers(list(&fields["peers"], peer_addr))),
        200 => (200, Answer::Peers(list(&fields["peers"], peer_addr))),
        201 => {
            let record = some(&fields["value"], store_record);
            (
                201,
                Answer::Found(FoundValue {
                    record,
                    peers: list(&fields["closer_peers"], peer_addr),
                }),
            )
        }
        401 => {
            let id = ManifestId(hex_array(&fields["manifest_id"]));
            (
                400,
                Answer::Manifest {
                    id,
                    bytes: hex(&fields["bytes"]),
                },
            )
        }
        403 => (402, Answer::PublicShares(list(&fields["shares"], summary))),
        451 => {
            let registered = RelayRegistered {
                slot: RelaySlotId(number(&fields["relay_slot_id"])),
                expires_at: UnixTime(number(&fields["expires_at"])),
            };
            (450, Answer::RelayRegistered(registered))
        }
        461 => (
            460,
            Answer::Relays(list(&fields["announcements"], announcement)),
        ),
        501 => {
            let (content, index) = (content(fields), small(&fields["chunk_index"]));
            (
                500,
                Answer::Chunk {
                    content,
                    index,
                    data: hex(&fields["bytes"]),
                },
            )
        }
        503 => {
            let hashes = list(&fields["hashes"], hex).concat().into();
            (
                502,
                Answer::ChunkHashes(ChunkHashes {
                    content: content(fields),
                    hashes,
                }),
            )
        }
        other => panic!("reply of type {other}"),
    }
}

fn content(fields: &Value) -> ContentId {
    ContentId(hex_array(&fields["content_id"]))
}

fn relay_stream(fields: &Value) -> RelayStream {
    RelayStream {
        slot: RelaySlotId(number(&fields["relay_slot_id"])),
        stream_id: small(&fields["stream_id"]),
        kind: match text(&fields["kind"]) {
            "control" => RelayStreamKind::Control,
            "content" => RelayStreamKind::Content,
            other => panic!("kind {other}"),
        },
        payload: hex(&fields["payload"]),
    }
}

/// The announcement with this signature, which has a vector of its own.
fn announcement(fields: &Value) -> RelayAnnouncement {
    let cases = cases("relay_announcement.json");
    let case = cases
        .iter()
        .find(|case| case["fields"]["signature"] == fields["signature"])
        .expect("a vector of the announcement");
    assert_eq!(case["fields"], *fields);
    RelayAnnouncement::decode(&hex(&case["cbor"])).expect("an announcement")
}

fn store_record(fields: &Value) -> StoreRecord {
    StoreRecord {
        key: DhtKey(hex_array(&fields["key"])),
        value: hex(&fields["value"]),
        ttl_secs: number(&fields["ttl_secs"]),
        signer: None,
    }
}

fn summary(fields: &Value) -> PublicShareSummary {
    PublicShareSummary {
        share: ShareId(hex_array(&fields["share_id"])),
        key: ShareKey(hex_array(&fields["share_pubkey"])),
        latest_seq: number(&fields["latest_seq"]),
        latest_manifest: ManifestId(hex_array(&fields["latest_manifest_id"])),
        title: some(&fields["title"], |title| text(title).into()),
        description: some(&fields["description"], |description| {
            text(description).into()
        }),
    }
}
