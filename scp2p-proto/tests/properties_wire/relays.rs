//! Messages about relays, and messages within messages.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use scp2p_proto::id::RelaySlotId;
use scp2p_proto::limits::{
    PAYLOAD_MAX, RELAY_ADDRS_MAX, RELAY_ANNOUNCEMENTS_MAX, RELAY_PAYLOAD_MAX,
};
use scp2p_proto::record::{BandwidthClass, RelayAnnouncement, RelayCapacity, RelayOffer};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{
    Answer, AnswerError, Capabilities, Envelope, Profile, RelayRegister, RelayStream,
    RelayStreamKind, Request, RequestError,
};

use crate::any::{announcements, answers, relay_requests, requests};
use crate::round_trips::envelope_of;

/// A map of definite length as one of indefinite length that has an unknown key first, and a byte after it.
fn relaid(map: &[u8]) -> Bytes {
    assert!((0xa0..=0xb7).contains(&map[0]));
    [b"\xbf\x61z\x81\x01", &map[1..], &[0xff, 0x07]]
        .concat()
        .into()
}

proptest! {
    /// A request that is relayed is read by the owner of the slot as the requester made it.
    #[test]
    fn relayed_requests_read_back(request in requests(), slot: u64, req_id: u32) {
        let stream = RelayStream::for_owner(RelaySlotId(slot), request.to_envelope(req_id));
        let outer = envelope_of(Request::RelayStream(stream.clone()).to_frame(req_id));
        let read = Request::decode(453, &outer.payload);
        prop_assert_eq!(&read, &Ok(Request::RelayStream(stream.clone())));
        let inner = stream.inner().expect("an envelope");
        prop_assert_eq!((inner.kind, inner.req_id, inner.flags), (request.kind(), req_id, 0));
        prop_assert_eq!(Request::decode(inner.kind, &inner.payload), Ok(request));
    }

    /// An answer that is relayed is read by the requester as the owner of the slot gave it.
    #[test]
    fn relayed_answers_read_back((kind, answer) in answers(), slot: u64, req_id: u32) {
        let given = envelope_of(answer.to_frame(kind, req_id));
        let stream = RelayStream::for_owner(RelaySlotId(slot), given.clone().encode());
        let outer = envelope_of(Answer::RelayStream(stream).to_frame(453, req_id));
        let Ok(Answer::RelayStream(read)) = Answer::decode(453, &outer) else {
            panic!("a RELAY_STREAM")
        };
        let inner = read.inner();
        prop_assert_eq!(&inner, &Ok(given));
        prop_assert_eq!(Answer::decode(kind, &inner.expect("an envelope")), Ok(answer));
    }

    /// Any envelope reads back without a length before it.
    #[test]
    fn envelopes_read_back(kind: u16, req_id: u32, flags: u16, payload: Vec<u8>) {
        let envelope = Envelope { kind, req_id, flags, payload: payload.into() };
        prop_assert_eq!(Envelope::decode(&envelope.clone().encode()), Ok(envelope));
    }

    /// Maps of indefinite length, unknown keys and bytes after the message change nothing.
    #[test]
    fn relay_messages_are_read_in_any_layout(request in relay_requests(), relays in prop::collection::vec(announcements(), 0..3)) {
        let payload = envelope_of(request.to_frame(1)).payload;
        prop_assert_eq!(Request::decode(request.kind(), &relaid(&payload)), Ok(request));
        let mut envelope = envelope_of(Answer::Relays(relays.clone()).to_frame(460, 1));
        envelope.payload = relaid(&envelope.payload);
        prop_assert_eq!(Answer::decode(460, &envelope), Ok(Answer::Relays(relays)));
    }

    /// What is no announcement is left out of a list, and the others count.
    #[test]
    fn unreadable_announcements_spoil_no_list(
        relays in prop::collection::vec(announcements(), 1..4),
        at in any::<prop::sample::Index>(),
        junk in prop::sample::select(vec![&b"\x00"[..], b"\xf6", b"\xa0", b"\x62no", b"\x82\x01\x02"]),
    ) {
        let at = at.index(relays.len() + 1);
        let mut payload = b"\xa1\x6dannouncements".to_vec();
        payload.push(0x80 + relays.len() as u8 + 1);
        for (place, relay) in relays.iter().enumerate() {
            if place == at {
                payload.extend_from_slice(junk);
            }
            payload.extend(relay.encode());
        }
        if at == relays.len() {
            payload.extend_from_slice(junk);
        }
        prop_assert_eq!(list(payload), Ok(Answer::Relays(relays)));
    }
}

fn list(payload: Vec<u8>) -> Result<Answer, AnswerError> {
    let envelope = Envelope {
        kind: 461,
        req_id: 1,
        flags: 1,
        payload: payload.into(),
    };
    Answer::decode(460, &envelope)
}

fn stream(payload: Bytes) -> RelayStream {
    RelayStream {
        slot: RelaySlotId(u64::MAX),
        stream_id: u32::MAX,
        kind: RelayStreamKind::Content,
        payload,
    }
}

/// A relay passes chunks on without copying them: what it sends is a slice of what it received.
#[test]
fn what_is_relayed_stays_where_it_is() {
    let payload = Bytes::from(vec![7; 300_000]);
    let asked = Request::RelayStream(stream(payload.clone())).to_frame(1);
    let told = Answer::RelayStream(stream(payload.clone())).to_frame(453, 1);
    for frame in [&asked, &told] {
        assert_eq!(frame.body.as_ptr(), payload.as_ptr());
        assert_eq!(frame.body.len(), payload.len());
    }
    let wire: Bytes = [asked.head, asked.body].concat().into();
    let held = wire.as_ptr_range();
    let envelope = Envelope::decode(&wire.slice(4..)).expect("an envelope");
    match Request::decode(453, &envelope.payload) {
        Ok(Request::RelayStream(read)) => assert!(held.contains(&read.payload.as_ptr())),
        other => panic!("{other:?}"),
    }
}

/// The envelope within is a slice too, so that a relay hands it on as the frame's body.
#[test]
fn the_envelope_within_is_a_slice() {
    let payload = Bytes::from(vec![7; 300_000]);
    let inner = Envelope {
        kind: 501,
        req_id: 3,
        flags: 1,
        payload,
    };
    let stream = stream(inner.clone().encode());
    let held = stream.payload.as_ptr_range();
    let read = stream.inner().expect("an envelope");
    assert_eq!(read, inner);
    assert!(held.contains(&read.payload.as_ptr()));
    assert!(held.contains(&read.into_frame().body.as_ptr()));
}

/// With the longest numbers before it the longest payload fills a message, so what can be read can be handed on.
#[test]
fn a_relayed_message_has_so_many_bytes_and_no_more() {
    let of = |len| stream(vec![0; len].into());
    let longest = envelope_of(Request::RelayStream(of(RELAY_PAYLOAD_MAX)).to_frame(1));
    assert_eq!(longest.payload.len(), PAYLOAD_MAX);
    assert!(Request::decode(453, &longest.payload).is_ok());
    let told = envelope_of(Answer::RelayStream(of(RELAY_PAYLOAD_MAX)).to_frame(453, 1));
    assert!(Answer::decode(453, &told).is_ok());

    let short = RelayStream {
        slot: RelaySlotId(1),
        stream_id: 0,
        ..of(RELAY_PAYLOAD_MAX + 1)
    };
    let longer = envelope_of(Request::RelayStream(short.clone()).to_frame(1));
    assert!(matches!(
        Request::decode(453, &longer.payload),
        Err(RequestError::Malformed(_))
    ));
    let told = envelope_of(Answer::RelayStream(short).to_frame(453, 1));
    assert!(matches!(
        Answer::decode(453, &told),
        Err(AnswerError::Malformed(_))
    ));
    let told = envelope_of(Answer::RelayStream(of(RELAY_PAYLOAD_MAX + 1)).to_frame(453, 1));
    assert!(matches!(
        Answer::decode(453, &told),
        Err(AnswerError::Refused { .. })
    ));
}

#[test]
fn of_a_long_list_of_relays_the_first_are_read() {
    let offer = |max_tunnels| RelayOffer {
        addrs: Vec::new(),
        capabilities: Capabilities::none(),
        capacity: RelayCapacity {
            max_tunnels,
            bandwidth: BandwidthClass::Low,
            max_bytes_per_tunnel: None,
        },
        issued_at: UnixTime(1),
        expires_at: UnixTime(2),
    };
    let key = SigningKey::from_bytes(&[4; 32]);
    let relays: Vec<RelayAnnouncement> = (0..RELAY_ANNOUNCEMENTS_MAX as u16 + 9)
        .map(|number| RelayAnnouncement::sign(&key, Profile::C, offer(number)))
        .collect();
    let envelope = envelope_of(Answer::Relays(relays.clone()).to_frame(460, 1));
    let read = Answer::decode(460, &envelope);
    let first = relays[..RELAY_ANNOUNCEMENTS_MAX].to_vec();
    assert_eq!(read, Ok(Answer::Relays(first)));
    const { assert!(RELAY_ANNOUNCEMENTS_MAX * RELAY_ADDRS_MAX * 500 < PAYLOAD_MAX) };
}

/// Deployed peers leave out what has a default.
#[test]
fn what_is_left_out_has_a_default() {
    let none = RelayRegister::default();
    assert_eq!((none.slot, none.tunnel), (None, false));
    for payload in [
        &b"\xa0"[..],
        b"\xa1\x66tunnel\xf4",
        b"\xa1\x6drelay_slot_id\xf6",
    ] {
        let read = Request::decode(450, &Bytes::copy_from_slice(payload));
        assert_eq!(read, Ok(Request::RelayRegister(none)));
    }
    for kind in [452, 453, 460] {
        let read = Request::decode(kind, &Bytes::from_static(b"\xa0"));
        assert!(matches!(read, Err(RequestError::Malformed(_))), "{kind}");
    }
}
