//! No bytes are too strange to be refused.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use scp2p_proto::limits::CBOR_DEPTH_MAX;
use scp2p_proto::wire::{Answer, DecodeError, Envelope, Hello, Request, RequestError};

use crate::any::{answers, requests};
use crate::round_trips::envelope_of;

/// Every decoder on these bytes. What they make of them does not matter, as long as they return.
fn feed(bytes: &Bytes) {
    let _ = Hello::decode(bytes).map(|hello| hello.verify());
    let _ = Envelope::decode(bytes);
    for kind in 100..700 {
        let _ = Request::decode(kind, bytes);
        for reply in [kind.saturating_sub(1), kind, kind + 1] {
            let envelope = Envelope {
                kind: reply,
                req_id: 0,
                flags: 1,
                payload: bytes.clone(),
            };
            let _ = Answer::decode(kind, &envelope);
        }
    }
}

/// Bytes that look like CBOR more often than others do.
fn nearly_cbor() -> impl Strategy<Value = Vec<u8>> {
    let heads = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![
            0x5b, 0x7b, 0x9b, 0xbb, 0x9f, 0xbf, 0x5f, 0x7f, 0xff, 0xf6, 0xa1, 0x81, 0xd9, 0x98
        ]),
    ];
    vec(heads, 0..80)
}

proptest! {
    /// Arbitrary bytes are read or refused.
    #[test]
    fn any_bytes(bytes in nearly_cbor()) {
        feed(&bytes.into());
    }

    /// Messages with a few bytes changed, or cut short, are read or refused.
    #[test]
    fn damaged_messages(
        request in requests(),
        (kind, answer) in answers(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        len in any::<prop::sample::Index>(),
    ) {
        for payload in [envelope_of(request.to_frame(1)).payload, envelope_of(answer.to_frame(kind, 1)).payload] {
            let mut bytes = payload.to_vec();
            if !bytes.is_empty() {
                damage.iter().for_each(|(at, byte)| bytes[at.index(payload.len())] = *byte);
                feed(&bytes.clone().into());
                bytes.truncate(len.index(payload.len()));
                feed(&bytes.into());
            }
        }
    }

    /// A request cut short is never taken for a whole one.
    #[test]
    fn truncated_requests_are_refused(request in requests(), len in any::<prop::sample::Index>()) {
        let payload = envelope_of(request.to_frame(1)).payload;
        let cut = payload.slice(..len.index(payload.len()));
        prop_assert!(matches!(Request::decode(request.kind(), &cut), Err(RequestError::Malformed(_))));
    }

    /// Whatever stands under unknown text keys does not change a text-keyed message, whose keys may come as
    /// byte strings and whose map may be of indefinite length.
    #[test]
    fn unknown_text_keys_change_nothing(max_peers: u8, extra in "[a-z]{1,8}", nested in 0..10_usize) {
        let mut bytes = vec![0xbf, 0x60 + extra.len() as u8];
        bytes.extend_from_slice(extra.as_bytes());
        bytes.extend(std::iter::repeat_n(0x81, nested));
        bytes.extend_from_slice(&[0x5f, 0x41, 7, 0xff, 0x49]);
        bytes.extend_from_slice(b"max_peers");
        bytes.extend_from_slice(&[0xc1, 0x1a, 0, 0, 0, max_peers, 0xff, 0xfe]);
        prop_assert_eq!(Request::decode(101, &bytes.into()), Ok(Request::PexRequest { max_peers }));
    }
}

/// `{ "z": [[[… 0 …]]], "max_peers": 1 }` with so many arrays.
fn nested(open: &[u8], depth: usize) -> Result<Request, RequestError> {
    let mut bytes = vec![0xa2, 0x61, b'z'];
    bytes.extend(std::iter::repeat_n(open, depth).flatten());
    bytes.push(0);
    bytes.extend_from_slice(b"\x69max_peers\x01");
    Request::decode(101, &bytes.into())
}

#[test]
fn nesting_ends_at_its_bound() {
    let inside = CBOR_DEPTH_MAX as usize - 1;
    assert_eq!(
        nested(&[0x81], inside),
        Ok(Request::PexRequest { max_peers: 1 })
    );
    assert_eq!(
        nested(&[0x81], inside + 1),
        Err(RequestError::Malformed(DecodeError::TooDeep))
    );
    for open in [&[0x81][..], &[0x9f], &[0xa1, 0], &[0xbf, 0]] {
        assert_eq!(
            nested(open, 100_000),
            Err(RequestError::Malformed(DecodeError::TooDeep))
        );
    }
    assert_eq!(
        nested(&[0xc1], 100_000),
        Ok(Request::PexRequest { max_peers: 1 })
    );
}

/// Lengths that promise more than there is are found out without waiting for it.
#[test]
fn liars_about_lengths_are_refused() {
    let huge = [0xff; 8];
    for head in [0x5b, 0x7b, 0x9b, 0xbb] {
        for before in [&[0xa1, 0][..], b"\xa1\x65peers", b"\xa1\x61z", b""] {
            let bytes = Bytes::from([before, &[head], &huge].concat());
            for kind in [100, 200, 202, 450, 453, 460, 610, 621] {
                assert!(Request::decode(kind, &bytes).is_err());
            }
            feed(&bytes);
        }
    }
}
