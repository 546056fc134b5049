//! What was written reads back the same.

use std::net::Ipv4Addr;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use scp2p_proto::id::{CircuitId, ContentId, NodeKey, ShareId};
use scp2p_proto::io::{Frame, Host, Transport};
use scp2p_proto::limits::{
    CHUNK_HASHES_MAX, CHUNK_LEN, ERROR_TEXT_MAX, FRAME_MAX, IDS_MAX, PAYLOAD_MAX, PEER_ADDRS_MAX,
    RECORD_MAX,
};
use scp2p_proto::wire::{
    Answer, AnswerError, BootstrapAddr, Capabilities, ChunkHashes, CircuitEnd, CircuitFrame,
    DialedBack, Endpoints, Envelope, FrameReader, Have, Hello, Listening, NewCircuit, Observed,
    PeerAddr, Profile, Punch, Request, RequestError, Reservation, SubtreePage,
};

use crate::any::{answers, bootstrap_addrs, circuit_frames, hello_fields, profiles, requests};

pub fn envelope_of(frame: Frame) -> Envelope {
    let mut reader = FrameReader::new(FRAME_MAX);
    reader.push(frame.head);
    reader.push(frame.body);
    let body = reader.next().expect("well-formed").expect("complete");
    assert_eq!(reader.buffered(), 0);
    Envelope::decode(&body).expect("an envelope")
}

proptest! {
    /// A request reads back from its frame, as a request of its type with flags 0.
    #[test]
    fn requests_read_back(request in requests(), req_id: u32) {
        let envelope = envelope_of(request.to_frame(req_id));
        prop_assert_eq!((envelope.kind, envelope.req_id, envelope.flags), (request.kind(), req_id, 0));
        prop_assert_eq!(Request::is_extension(request.kind()), request.kind() >= 600);
        prop_assert_eq!(Request::decode(envelope.kind, &envelope.payload), Ok(request));
    }

    /// What goes on a circuit reads back from its frame, and is no request or answer.
    #[test]
    fn circuits_read_back(frame in circuit_frames(), circuit: u32) {
        let envelope = envelope_of(frame.to_frame(CircuitId(circuit)));
        prop_assert_eq!(envelope.req_id, circuit);
        prop_assert!(Request::decode(envelope.kind, &envelope.payload).is_err());
        prop_assert_eq!(CircuitFrame::decode(&envelope), Ok(Some(frame)));
    }

    /// An answer reads back from its frame, and answers no request of a type with another reply.
    #[test]
    fn answers_read_back((kind, answer) in answers(), req_id: u32) {
        let envelope = envelope_of(answer.to_frame(kind, req_id));
        prop_assert!(envelope.is_response() && !envelope.is_error());
        prop_assert_eq!(envelope.req_id, req_id);
        prop_assert_eq!(Answer::decode(699, &envelope), Err(AnswerError::WrongType(envelope.kind)));
        prop_assert_eq!(Answer::decode(kind, &envelope), Ok(answer));
    }

    /// A refusal reads back with the type of the request and a text of bounded length.
    #[test]
    fn refusals_read_back(kind: u16, text in "\\PC{0,300}") {
        let envelope = envelope_of(Answer::error_frame(kind, 7, &text));
        prop_assert_eq!((envelope.kind, envelope.flags), (kind, 3));
        match Answer::decode(kind, &envelope) {
            Err(AnswerError::Refused { rate_limited, text: read }) => {
                prop_assert!(text.starts_with(&read));
                prop_assert!(read == text || read.len() > ERROR_TEXT_MAX - 4);
                prop_assert_eq!(rate_limited, read.contains("rate limit"));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// A hello reads back, verifies, and does not verify after any change of a field.
    #[test]
    fn hellos_read_back(profile in profiles(), fields in hello_fields(), seed: [u8; 32]) {
        let hello = Hello::sign(&SigningKey::from_bytes(&seed), profile, fields);
        let read = Hello::decode(&hello.encode()).expect("a hello");
        prop_assert!(read.verify());
        prop_assert_eq!(read.profile(), Some(profile));
        prop_assert_eq!(read.nonce, fields.nonce);
        prop_assert_eq!(read.capabilities.content_seed, fields.capabilities.content_seed);
        let changed = |change: fn(&mut Hello)| {
            let mut hello = read.clone();
            change(&mut hello);
            hello.verify()
        };
        prop_assert!(!changed(|hello| hello.version ^= 1));
        prop_assert!(!changed(|hello| hello.nonce[31] ^= 1));
        prop_assert!(!changed(|hello| hello.ephemeral[0] ^= 1));
        prop_assert!(!changed(|hello| hello.timestamp.0 ^= 1));
        prop_assert!(!changed(|hello| hello.echoed_nonce = hello.echoed_nonce.xor(Some([0; 32]))));
        prop_assert!(!changed(|hello| hello.signature[40] ^= 1));
    }

    /// A bootstrap address reads back from its text.
    #[test]
    fn bootstrap_addresses_read_back(addr in bootstrap_addrs()) {
        prop_assert_eq!(addr.to_string().parse(), Ok(addr));
    }
}

#[test]
fn without_a_scheme_quic_is_dialled_one_port_below_tcp() {
    let dials = |text: &str| -> Vec<_> {
        let addr: BootstrapAddr = text.parse().expect("a bootstrap address");
        addr.dials()
            .into_iter()
            .map(|dial| (dial.transport, dial.host, dial.port))
            .collect()
    };
    let host = Host::Ip(Ipv4Addr::new(10, 0, 0, 1).into());
    assert_eq!(
        dials("10.0.0.1:7001"),
        [
            (Transport::Quic, host.clone(), 7000),
            (Transport::Tcp, host.clone(), 7001)
        ]
    );
    assert_eq!(
        dials("quic://10.0.0.1:7001"),
        [(Transport::Quic, host.clone(), 7001)]
    );
    assert_eq!(
        dials("tcp://10.0.0.1:7001"),
        [(Transport::Tcp, host.clone(), 7001)]
    );
    assert_eq!(dials("10.0.0.1:1"), [(Transport::Tcp, host, 1)]);
}

#[test]
fn what_is_no_bootstrap_address_is_refused() {
    for text in [
        "",
        "10.0.0.1",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:+7",
        "10.0.0:7001",
        "::1:7001",
        "[::1:7001",
        "[::1]7001",
        "[10.0.0.1]:7001",
        ":7001",
        "a..b:7001",
        "a b:7001",
        "http://10.0.0.1:7001",
        "TCP://10.0.0.1:7001",
        "10.0.0.1:7001@",
        "10.0.0.1:7001@abcd",
        "10.0.0.1:7001/",
    ] {
        assert!(text.parse::<BootstrapAddr>().is_err(), "{text:?}");
    }
}

/// What nodes of ours say to each other stays as it is, so that nodes of different age understand each other.
#[test]
fn messages_between_nodes_of_ours_have_these_bytes() {
    let (content, id) = (ContentId([9; 32]), [&[0x58, 32][..], &[9; 32]].concat());
    let with_id = |before: &[u8], after: &[u8]| [before, &id, after].concat();
    let listening = Listening {
        quic_port: Some(7000),
        tcp_port: None,
    };
    let observed = Observed {
        ip: Ipv4Addr::new(10, 0, 0, 1).into(),
        port: 7000,
    };
    let circuit = NewCircuit {
        circuit: CircuitId(7),
        content: true,
    };
    for (request, payload) in [
        (Request::Ping, vec![0xa0]),
        (Request::Part, vec![0xa0]),
        (
            Request::Listening(listening),
            vec![0xa2, 0, 0x19, 0x1b, 0x58, 1, 0xf6],
        ),
        (
            Request::Watch(vec![ShareId([9; 32])]),
            with_id(&[0xa1, 0, 0x81], &[]),
        ),
        (
            Request::GetSubtrees {
                content,
                level: 1,
                page: 7,
            },
            with_id(&[0xa3, 0], &[1, 1, 2, 7]),
        ),
        (Request::Have(vec![content]), with_id(&[0xa1, 0, 0x81], &[])),
        (
            Request::DialBack(listening),
            vec![0xa2, 0, 0x19, 0x1b, 0x58, 1, 0xf6],
        ),
        (
            Request::Punch(Punch {
                endpoints: Endpoints(vec![observed]),
                wait_ms: 7,
            }),
            vec![
                0xa2, 0, 0x81, 0xa2, 0, 0x44, 10, 0, 0, 1, 1, 0x19, 0x1b, 0x58, 1, 7,
            ],
        ),
        (Request::Reserve, vec![0xa0]),
        (Request::Connect(NodeKey([9; 32])), with_id(&[0xa1, 0], &[])),
        (Request::Incoming(circuit), vec![0xa2, 0, 7, 1, 0xf5]),
    ] {
        assert_eq!(
            envelope_of(request.to_frame(1)).payload,
            payload,
            "{}",
            request.name()
        );
    }
    let page = SubtreePage {
        content,
        size: 24,
        level: 0,
        page: 2,
        hashes: vec![9; 32].into(),
    };
    let reached = DialedBack {
        quic: true,
        tcp: false,
    };
    let place = Reservation {
        lease_secs: 600,
        circuits_max: 16,
        content: false,
    };
    for (kind, answer, payload) in [
        (600, Answer::Ack, vec![]),
        (
            601,
            Answer::Observed(observed),
            vec![0xa2, 0, 0x44, 10, 0, 0, 1, 1, 0x19, 0x1b, 0x58],
        ),
        (610, Answer::Heads(vec![]), vec![0xa1, 0, 0x80]),
        (
            620,
            Answer::Subtrees(page),
            with_id(&[0xa5, 0], &with_id(&[1, 0x18, 24, 2, 0, 3, 2, 4], &[])),
        ),
        (
            621,
            Answer::Have(Have {
                sizes: vec![Some(5), None],
            }),
            vec![0xa1, 0, 0x82, 5, 0xf6],
        ),
        (
            603,
            Answer::DialedBack(reached),
            vec![0xa2, 0, 0xf5, 1, 0xf4],
        ),
        (
            630,
            Answer::Reserved(place),
            vec![0xa3, 0, 0x19, 2, 0x58, 1, 16, 2, 0xf4],
        ),
        (631, Answer::Circuit(circuit), vec![0xa2, 0, 7, 1, 0xf5]),
    ] {
        let envelope = envelope_of(answer.to_frame(kind, 1));
        assert_eq!((envelope.kind, &envelope.payload[..]), (kind, &payload[..]));
    }
}

#[test]
fn frames_of_circuits_have_these_bytes() {
    for (frame, kind, payload) in [
        (CircuitFrame::Data(vec![9; 3].into()), 633, vec![9, 9, 9]),
        (CircuitFrame::Credit(200), 634, vec![0xa1, 0, 0x18, 200]),
        (CircuitFrame::Close(CircuitEnd::Lost), 635, vec![0xa1, 0, 1]),
    ] {
        let envelope = envelope_of(frame.to_frame(CircuitId(7)));
        assert_eq!(
            (envelope.kind, envelope.req_id, envelope.flags),
            (kind, 7, 0)
        );
        assert_eq!(envelope.payload, payload);
    }
}

#[test]
fn data_of_circuits_is_bounded() {
    let data = |len: usize| {
        let frame = CircuitFrame::Data(vec![0; len].into());
        CircuitFrame::decode(&envelope_of(frame.to_frame(CircuitId(1))))
    };
    assert!(data(RECORD_MAX).is_ok_and(|frame| frame.is_some()));
    assert!(data(0).is_err() && data(RECORD_MAX + 1).is_err());
}

/// The longest chunk list that a payload holds goes out as byte strings; shorter ones as octet arrays,
/// which is what deployed peers write.
#[test]
fn long_chunk_lists_are_written_compactly() {
    let payload_len = |count: usize, byte: u8| {
        let list = ChunkHashes {
            content: ContentId([9; 32]),
            hashes: vec![byte; count * 32].into(),
        };
        let envelope = envelope_of(Answer::ChunkHashes(list.clone()).to_frame(502, 1));
        assert_eq!(
            Answer::decode(502, &envelope),
            Ok(Answer::ChunkHashes(list))
        );
        envelope.payload.len()
    };
    assert!(payload_len(100, 0xff) > 100 * 66);
    assert!(payload_len(16_000, 0xff) <= PAYLOAD_MAX);
    assert!(payload_len(CHUNK_HASHES_MAX, 0xff) <= PAYLOAD_MAX);
    assert!(payload_len(CHUNK_HASHES_MAX, 0) <= PAYLOAD_MAX);
}

#[test]
fn an_answer_too_long_for_a_payload_becomes_a_refusal() {
    let hashes = vec![0xff; (CHUNK_HASHES_MAX + 100) * 32].into();
    let frame = Answer::ChunkHashes(ChunkHashes {
        content: ContentId([9; 32]),
        hashes,
    })
    .to_frame(502, 1);
    let refused = Answer::decode(502, &envelope_of(frame));
    assert!(
        matches!(
            refused,
            Err(AnswerError::Refused {
                rate_limited: false,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn lists_of_addresses_are_cut_and_lists_of_ids_refused_beyond_their_bounds() {
    let addr = PeerAddr {
        ip: Ipv4Addr::LOCALHOST.into(),
        port: 1,
        transport: Transport::Tcp,
        key: None,
        relay_via: None,
    };
    let offer = envelope_of(Request::PexOffer(vec![addr; PEER_ADDRS_MAX + 1]).to_frame(1));
    match Request::decode(100, &offer.payload) {
        Ok(Request::PexOffer(peers)) => assert_eq!(peers.len(), PEER_ADDRS_MAX),
        other => panic!("{other:?}"),
    }
    let asked = |count| envelope_of(Request::Have(vec![ContentId([1; 32]); count]).to_frame(1));
    assert!(Request::decode(621, &asked(IDS_MAX).payload).is_ok());
    assert!(matches!(
        Request::decode(621, &asked(IDS_MAX + 1).payload),
        Err(RequestError::Malformed(_))
    ));
    let long = envelope_of(
        Answer::Have(Have {
            sizes: vec![None; IDS_MAX + 1],
        })
        .to_frame(621, 1),
    );
    assert!(matches!(
        Answer::decode(621, &long),
        Err(AnswerError::Malformed(_))
    ));
}

#[test]
fn chunks_longer_than_a_chunk_are_refused() {
    let read = |len: u32| {
        let data = Bytes::from(vec![0; len as usize]);
        let answer = Answer::Chunk {
            content: ContentId([1; 32]),
            index: 0,
            data,
        };
        Answer::decode(500, &envelope_of(answer.to_frame(500, 1)))
    };
    assert!(read(CHUNK_LEN).is_ok());
    assert!(matches!(
        read(CHUNK_LEN + 1),
        Err(AnswerError::Malformed(_))
    ));
}

#[test]
fn a_node_of_ours_announces_what_it_does() {
    let node = Capabilities::node();
    assert!(node.dht && node.store && node.content_seed);
    assert_eq!(
        Capabilities {
            dht: false,
            store: false,
            content_seed: false,
            ..node
        },
        Capabilities::none()
    );
    assert_eq!(Profile::from_parts(2, 5), None);
}
