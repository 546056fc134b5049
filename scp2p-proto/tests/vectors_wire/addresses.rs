//! Addresses as deployed peers write and take them.

use bytes::Bytes;
use scp2p_proto::id::{NodeKey, RelaySlotId};
use scp2p_proto::io::Transport;
use scp2p_proto::wire::{Envelope, PeerAddr, RelayRoute, Request, RequestError};
use serde_json::Value;

use crate::{cases, hex, hex_array, name, number, small, some, text};

#[test]
fn addresses_are_written_and_read_like_deployed_peers_do() {
    let (mut written, mut accepted, mut refused) = (0, 0, 0);
    for case in cases("peer_addr.json") {
        let name = name(&case);
        if case.get("cbor").is_some() {
            let addr = peer_addr(&case["fields"]);
            assert_eq!(encode(&addr), hex(&case["cbor"]), "{name}");
            assert_eq!(decode(&hex(&case["cbor"])), Ok(addr), "{name}");
            written += 1;
        } else if case["accepted"] == true {
            let addr = peer_addr(&case["fields"]);
            assert_eq!(decode(&hex(&case["decode"])), Ok(addr.clone()), "{name}");
            assert_eq!(encode(&addr), hex(&case["canonical"]), "{name}");
            accepted += 1;
        } else {
            assert!(
                matches!(
                    decode(&hex(&case["decode"])),
                    Err(RequestError::Malformed(_))
                ),
                "{name}"
            );
            refused += 1;
        }
    }
    assert_eq!((written, accepted, refused), (7, 8, 7));
}

#[test]
fn nested_relays_are_counted() {
    let cases = cases("peer_addr.json");
    let depth = |wanted: &str| {
        let case = cases
            .iter()
            .find(|case| name(case).starts_with(wanted))
            .expect("the case is there");
        peer_addr(&case["fields"]).relay_depth()
    };
    assert_eq!(depth("ipv4 tcp"), 0);
    assert_eq!(depth("relayed"), 1);
    assert_eq!(depth("relay route nested"), 2);
}

/// What stands before the addresses of a PEX_OFFER that has one.
const OFFER_OF_ONE: [u8; 8] = [0xa1, 0x65, b'p', b'e', b'e', b'r', b's', 0x81];

fn encode(addr: &PeerAddr) -> Bytes {
    let frame = Request::PexOffer(vec![addr.clone()]).to_frame(0);
    let payload = Envelope::decode(&frame.head.slice(4..))
        .expect("our own envelope")
        .payload;
    assert_eq!(payload[..8], OFFER_OF_ONE);
    payload.slice(8..)
}

fn decode(addr: &Bytes) -> Result<PeerAddr, RequestError> {
    let payload = [&OFFER_OF_ONE, addr.as_ref()].concat().into();
    let request = Request::decode(100, &payload)?;
    let Request::PexOffer(mut peers) = request else {
        panic!("not a PEX_OFFER: {request:?}")
    };
    Ok(peers.pop().expect("one peer was offered"))
}

/// The address that these fields make.
pub fn peer_addr(fields: &Value) -> PeerAddr {
    PeerAddr {
        ip: text(&fields["ip"])
            .parse()
            .expect("vectors have valid addresses"),
        port: small(&fields["port"]),
        transport: match text(&fields["transport"]) {
            "quic" => Transport::Quic,
            "tcp" => Transport::Tcp,
            other => panic!("transport {other}"),
        },
        key: some(&fields["pubkey_hint"], |key| NodeKey(hex_array(key))),
        relay_via: some(&fields["relay_via"], |route| {
            Box::new(RelayRoute {
                relay: peer_addr(&route["relay_addr"]),
                slot: RelaySlotId(number(&route["slot_id"])),
            })
        }),
    }
}
