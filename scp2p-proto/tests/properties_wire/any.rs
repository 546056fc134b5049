//! Any message.

use std::net::IpAddr;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use scp2p_proto::id::{
    CircuitId, ContentId, DhtKey, ManifestId, NodeId, NodeKey, RelaySlotId, ShareId, ShareKey,
};
use scp2p_proto::io::{Host, Transport};
use scp2p_proto::record::{
    BandwidthClass, RelayAnnouncement, RelayCapacity, RelayOffer, ShareHead,
};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{
    Answer, BootstrapAddr, Capabilities, ChunkHashes, CircuitEnd, CircuitFrame, DialedBack,
    Endpoints, FoundValue, Have, HeadAnnounce, HelloFields, Listening, NewCircuit, Observed,
    PeerAddr, Profile, PublicShareSummary, Punch, RelayRegister, RelayRegistered, RelayRoute,
    RelayStream, RelayStreamKind, Request, Reservation, StoreRecord, SubtreePage,
};

fn octets() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn contents() -> impl Strategy<Value = ContentId> {
    octets().prop_map(ContentId)
}

fn payloads(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

/// So many hashes one after another.
fn hashes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(octets(), 0..max).prop_map(|hashes| hashes.concat().into())
}

fn transports() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Quic), Just(Transport::Tcp)]
}

fn peer_addrs() -> impl Strategy<Value = PeerAddr> {
    let direct = (any::<IpAddr>(), any::<u16>(), transports(), of(octets())).prop_map(
        |(ip, port, transport, key)| PeerAddr {
            ip,
            port,
            transport,
            key: key.map(NodeKey),
            relay_via: None,
        },
    );
    direct.prop_recursive(3, 4, 1, |relays| {
        (relays.clone(), relays, any::<u64>()).prop_map(|(addr, relay, slot)| PeerAddr {
            relay_via: Some(Box::new(RelayRoute {
                relay,
                slot: RelaySlotId(slot),
            })),
            ..addr
        })
    })
}

fn store_records() -> impl Strategy<Value = StoreRecord> {
    let signer = proptest::option::of(octets().prop_map(ShareKey));
    (octets(), payloads(200), any::<u64>(), signer).prop_map(|(key, value, ttl_secs, signer)| {
        StoreRecord {
            key: DhtKey(key),
            value,
            ttl_secs,
            signer,
        }
    })
}

fn heads() -> impl Strategy<Value = HeadAnnounce> {
    (
        octets(),
        any::<u64>(),
        octets(),
        any::<u64>(),
        any::<[u8; 64]>(),
    )
        .prop_map(
            |(key, latest_seq, manifest, updated_at, signature)| HeadAnnounce {
                key: ShareKey(key),
                head: ShareHead {
                    share: ShareKey(key).share_id(),
                    latest_seq,
                    latest_manifest: ManifestId(manifest),
                    updated_at: UnixTime(updated_at),
                    signature,
                },
            },
        )
}

fn summaries() -> impl Strategy<Value = PublicShareSummary> {
    (
        octets(),
        octets(),
        any::<u64>(),
        octets(),
        of(".{0,40}"),
        of(".{0,40}"),
    )
        .prop_map(|(share, key, latest_seq, manifest, title, description)| {
            PublicShareSummary {
                share: ShareId(share),
                key: ShareKey(key),
                latest_seq,
                latest_manifest: ManifestId(manifest),
                title,
                description,
            }
        })
}

/// Any message for or from the owner of a slot.
pub fn relay_streams() -> impl Strategy<Value = RelayStream> {
    let kind = prop_oneof![
        Just(RelayStreamKind::Control),
        Just(RelayStreamKind::Content)
    ];
    (any::<u64>(), any::<u32>(), kind, payloads(500)).prop_map(
        |(slot, stream_id, kind, payload)| RelayStream {
            slot: RelaySlotId(slot),
            stream_id,
            kind,
            payload,
        },
    )
}

/// Any relay announcement that somebody signed, good or not.
pub fn announcements() -> impl Strategy<Value = RelayAnnouncement> {
    let capacity = (any::<u16>(), of(any::<u64>()), 0..3_usize).prop_map(
        |(max_tunnels, max_bytes_per_tunnel, class)| RelayCapacity {
            max_tunnels,
            bandwidth: [
                BandwidthClass::Low,
                BandwidthClass::Medium,
                BandwidthClass::High,
            ][class],
            max_bytes_per_tunnel,
        },
    );
    let times = (any::<u64>(), any::<u64>());
    let offer = (vec(peer_addrs(), 0..3), any::<bool>(), capacity, times).prop_map(
        |(addrs, relay, capacity, (issued_at, expires_at))| RelayOffer {
            addrs,
            capabilities: Capabilities {
                relay,
                ..Capabilities::none()
            },
            capacity,
            issued_at: UnixTime(issued_at),
            expires_at: UnixTime(expires_at),
        },
    );
    (octets(), profiles(), offer).prop_map(|(seed, profile, offer)| {
        RelayAnnouncement::sign(&SigningKey::from_bytes(&seed), profile, offer)
    })
}

/// Any request about relays.
pub fn relay_requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        (of(any::<u64>()), any::<bool>()).prop_map(|(slot, tunnel)| {
            let slot = slot.map(RelaySlotId);
            Request::RelayRegister(RelayRegister { slot, tunnel })
        }),
        any::<u64>().prop_map(|slot| Request::RelayConnect(RelaySlotId(slot))),
        relay_streams().prop_map(Request::RelayStream),
        any::<u16>().prop_map(|max_count| Request::ListRelays { max_count }),
    ]
}

fn ports() -> impl Strategy<Value = Listening> {
    (of(any::<u16>()), of(any::<u16>())).prop_map(|(quic_port, tcp_port)| Listening {
        quic_port,
        tcp_port,
    })
}

fn circuits() -> impl Strategy<Value = NewCircuit> {
    let parts = (any::<u32>().prop_map(CircuitId), any::<bool>());
    parts.prop_map(|(circuit, content)| NewCircuit { circuit, content })
}

fn endpoints() -> impl Strategy<Value = Endpoints> {
    let place = (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| Observed { ip, port });
    vec(place, 0..=4).prop_map(Endpoints)
}

/// Anything of a circuit.
pub fn circuit_frames() -> impl Strategy<Value = CircuitFrame> {
    let ends = [
        CircuitEnd::Closed,
        CircuitEnd::Lost,
        CircuitEnd::Limited,
        CircuitEnd::Offence,
    ];
    prop_oneof![
        vec(any::<u8>(), 1..500).prop_map(|bytes| CircuitFrame::Data(bytes.into())),
        any::<u32>().prop_map(CircuitFrame::Credit),
        prop::sample::select(ends.to_vec()).prop_map(CircuitFrame::Close),
    ]
}

/// Any request.
pub fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        vec(peer_addrs(), 0..5).prop_map(Request::PexOffer),
        any::<u8>().prop_map(|max_peers| Request::PexRequest { max_peers }),
        any::<[u8; 20]>().prop_map(|id| Request::FindNode(NodeId(id))),
        octets().prop_map(|key| Request::FindValue(DhtKey(key))),
        store_records().prop_map(Request::Store),
        octets().prop_map(|id| Request::GetManifest(ManifestId(id))),
        any::<u16>().prop_map(|max_entries| Request::ListPublicShares { max_entries }),
        contents().prop_map(Request::HaveContent),
        (contents(), any::<u32>())
            .prop_map(|(content, index)| Request::GetChunk { content, index }),
        contents().prop_map(Request::GetChunkHashes),
        Just(Request::Ping),
        Just(Request::Part),
        ports().prop_map(Request::Listening),
        ports().prop_map(Request::DialBack),
        (endpoints(), any::<u16>())
            .prop_map(|(endpoints, wait_ms)| Request::Punch(Punch { endpoints, wait_ms })),
        Just(Request::Reserve),
        octets().prop_map(|key| Request::Connect(NodeKey(key))),
        circuits().prop_map(Request::Incoming),
        vec(octets().prop_map(ShareId), 0..5).prop_map(Request::Watch),
        heads().prop_map(Request::HeadAnnounce),
        (contents(), 0..2_u8, any::<u32>()).prop_map(|(content, level, page)| {
            Request::GetSubtrees {
                content,
                level,
                page,
            }
        }),
        vec(contents(), 0..5).prop_map(Request::Have),
        relay_requests(),
    ]
}

/// Any answer, with the type of a request that it answers.
pub fn answers() -> impl Strategy<Value = (u16, Answer)> {
    prop_oneof![
        prop::sample::select(vec![100, 202, 452, 499, 600, 602, 611, 632])
            .prop_map(|kind| (kind, Answer::Ack)),
        (any::<u64>(), any::<u64>()).prop_map(|(slot, expires_at)| (
            450,
            Answer::RelayRegistered(RelayRegistered {
                slot: RelaySlotId(slot),
                expires_at: UnixTime(expires_at),
            })
        )),
        relay_streams().prop_map(|stream| (453, Answer::RelayStream(stream))),
        vec(announcements(), 0..3).prop_map(|relays| (460, Answer::Relays(relays))),
        (prop_oneof![Just(101), Just(200)], vec(peer_addrs(), 0..5))
            .prop_map(|(kind, peers)| (kind, Answer::Peers(peers))),
        (of(store_records()), vec(peer_addrs(), 0..5))
            .prop_map(|(record, peers)| (201, Answer::Found(FoundValue { record, peers }))),
        (octets(), payloads(500)).prop_map(|(id, bytes)| (
            400,
            Answer::Manifest {
                id: ManifestId(id),
                bytes
            }
        )),
        vec(summaries(), 0..4).prop_map(|shares| (402, Answer::PublicShares(shares))),
        (contents(), any::<u32>(), payloads(500)).prop_map(|(content, index, data)| (
            500,
            Answer::Chunk {
                content,
                index,
                data
            }
        )),
        (contents(), hashes(20)).prop_map(|(content, hashes)| (
            502,
            Answer::ChunkHashes(ChunkHashes { content, hashes })
        )),
        (any::<IpAddr>(), any::<u16>())
            .prop_map(|(ip, port)| (601, Answer::Observed(Observed { ip, port }))),
        any::<[bool; 2]>()
            .prop_map(|[quic, tcp]| (603, Answer::DialedBack(DialedBack { quic, tcp }))),
        endpoints().prop_map(|places| (604, Answer::Endpoints(places))),
        (any::<u32>(), any::<u16>(), any::<bool>()).prop_map(
            |(lease_secs, circuits_max, content)| (
                630,
                Answer::Reserved(Reservation {
                    lease_secs,
                    circuits_max,
                    content,
                })
            )
        ),
        circuits().prop_map(|circuit| (631, Answer::Circuit(circuit))),
        vec(heads(), 0..4).prop_map(|heads| (610, Answer::Heads(heads))),
        (contents(), any::<u64>(), 0..2_u8, any::<u32>(), hashes(20)).prop_map(
            |(content, size, level, page, hashes)| {
                (
                    620,
                    Answer::Subtrees(SubtreePage {
                        content,
                        size,
                        level,
                        page,
                        hashes,
                    }),
                )
            }
        ),
        vec(of(any::<u64>()), 0..10).prop_map(|sizes| (621, Answer::Have(Have { sizes }))),
    ]
}

/// Any profile.
pub fn profiles() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::A), Just(Profile::B), Just(Profile::C)]
}

/// Whatever the sender of a hello may choose.
pub fn hello_fields() -> impl Strategy<Value = HelloFields> {
    let flags = any::<[bool; 8]>();
    (flags, octets(), of(octets()), any::<u64>(), octets()).prop_map(
        |(flags, nonce, echoed_nonce, timestamp, ephemeral)| HelloFields {
            capabilities: Capabilities {
                dht: flags[0],
                store: flags[1],
                relay: flags[2],
                content_seed: flags[3],
                mobile_light: flags[4],
                community_paged_browse: flags[5],
                community_search: flags[6],
                community_delta_sync: flags[7],
            },
            nonce,
            echoed_nonce,
            timestamp: UnixTime(timestamp),
            ephemeral,
        },
    )
}

/// Any bootstrap address.
pub fn bootstrap_addrs() -> impl Strategy<Value = BootstrapAddr> {
    let hosts = prop_oneof![
        any::<IpAddr>().prop_map(Host::Ip),
        "[a-z][a-z0-9-]{0,20}(\\.[a-z0-9]{1,10}){0,3}".prop_map(|name| Host::Name(name.into())),
    ];
    (of(transports()), hosts, 1..=u16::MAX, of(octets())).prop_map(
        |(transport, host, port, key)| BootstrapAddr {
            transport,
            host,
            port,
            key: key.map(NodeKey),
        },
    )
}
