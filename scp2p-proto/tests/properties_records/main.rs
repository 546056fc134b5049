//! What holds of all records and links, not only of those that deployed peers happened to make.

mod relays;

use std::net::IpAddr;

use ed25519_dalek::SigningKey;
use minicbor::{Decoder, Encoder};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::Config;
use scp2p_proto::id::{ContentId, DhtKey, ManifestId, NodeKey, RelaySlotId, ShareId, ShareKey};
use scp2p_proto::io::{Host, Transport};
use scp2p_proto::limits::{LINK_HINTS_MAX, MANIFEST_ITEMS_MAX, PEER_ADDRS_MAX, VALUE_MAX};
use scp2p_proto::record::{
    Item, Manifest, ManifestError, ParseLinkError, Providers, ShareHead, ShareLink, ValueError,
    ValueKind, Visibility, classify, head_key, manifest_key, providers_key,
};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{BootstrapAddr, DecodeError, PeerAddr, RelayRoute};

fn manifests() -> impl Strategy<Value = Manifest> {
    let numbers = (any::<u8>(), any::<u64>(), any::<u64>(), of(any::<u64>()));
    let texts = (of(".{0,40}"), of(".{0,40}"), any::<bool>());
    let ids = || vec(any::<[u8; 32]>().prop_map(ShareId), 0..3);
    let lists = (ids(), vec(items(), 0..5), ids());
    (
        any::<[u8; 32]>(),
        numbers,
        texts,
        lists,
        of(any::<([u8; 32], [u8; 32])>()),
    )
        .prop_map(|(key, numbers, texts, lists, signature)| Manifest {
            version: numbers.0,
            key: ShareKey(key),
            share: ShareKey(key).share_id(),
            seq: numbers.1,
            created_at: UnixTime(numbers.2),
            expires_at: numbers.3.map(UnixTime),
            title: texts.0,
            description: texts.1,
            visibility: if texts.2 {
                Visibility::Public
            } else {
                Visibility::Private
            },
            communities: lists.0,
            items: lists.1,
            recommended_shares: lists.2,
            signature: signature.map(both_halves),
        })
}

fn items() -> impl Strategy<Value = Item> {
    let texts = (".{0,20}", of(".{0,20}"), of(".{0,20}"), vec(".{0,8}", 0..3));
    let numbers = (any::<u64>(), any::<u32>());
    (any::<[u8; 32]>(), any::<[u8; 32]>(), texts, numbers).prop_map(
        |(content, chunk_list_hash, (name, path, mime, tags), (size, chunk_count))| Item {
            content: ContentId(content),
            size,
            name,
            path,
            mime,
            tags,
            chunk_count,
            chunk_list_hash,
        },
    )
}

/// Manifests that verify at any time up to their expiry, which is far away.
fn signed_manifests() -> impl Strategy<Value = Manifest> {
    (any::<[u8; 32]>(), manifests()).prop_map(|(seed, manifest)| {
        let key = SigningKey::from_bytes(&seed);
        let public = ShareKey(key.verifying_key().to_bytes());
        let created_at = UnixTime(manifest.created_at.0 / 2);
        let expires_at = manifest.expires_at.map(|_| UnixTime(u64::MAX));
        let share = public.share_id();
        Manifest {
            key: public,
            share,
            created_at,
            expires_at,
            ..manifest
        }
        .sign(&key)
    })
}

fn signed_heads() -> impl Strategy<Value = (ShareKey, ShareHead)> {
    (
        any::<[u8; 32]>(),
        any::<u64>(),
        any::<[u8; 32]>(),
        any::<u64>(),
    )
        .prop_map(|(seed, latest_seq, latest_manifest, updated_at)| {
            let key = SigningKey::from_bytes(&seed);
            let public = ShareKey(key.verifying_key().to_bytes());
            let unsigned = ShareHead {
                share: public.share_id(),
                latest_seq,
                latest_manifest: ManifestId(latest_manifest),
                updated_at: UnixTime(updated_at),
                signature: [0; 64],
            };
            (public, unsigned.sign(&key))
        })
}

fn both_halves((left, right): ([u8; 32], [u8; 32])) -> [u8; 64] {
    let mut whole = [0; 64];
    whole[..32].copy_from_slice(&left);
    whole[32..].copy_from_slice(&right);
    whole
}

fn transports() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Quic), Just(Transport::Tcp)]
}

fn direct_addresses() -> impl Strategy<Value = PeerAddr> {
    let key = of(any::<[u8; 32]>().prop_map(NodeKey));
    (any::<IpAddr>(), any::<u16>(), transports(), key).prop_map(|(ip, port, transport, key)| {
        PeerAddr {
            ip,
            port,
            transport,
            key,
            relay_via: None,
        }
    })
}

fn addresses() -> impl Strategy<Value = PeerAddr> {
    let route = (direct_addresses(), any::<u64>()).prop_map(|(relay, slot)| {
        Box::new(RelayRoute {
            relay,
            slot: RelaySlotId(slot),
        })
    });
    (direct_addresses(), of(route)).prop_map(|(address, relay_via)| PeerAddr {
        relay_via,
        ..address
    })
}

fn provider_lists() -> impl Strategy<Value = Providers> {
    (any::<[u8; 32]>(), vec(addresses(), 0..6), any::<u64>()).prop_map(
        |(content, providers, updated_at)| Providers {
            content: ContentId(content),
            providers,
            updated_at: UnixTime(updated_at),
        },
    )
}

fn hints() -> impl Strategy<Value = BootstrapAddr> {
    let host = prop_oneof![
        any::<IpAddr>()
            .prop_filter("dialable", |ip| !ip.to_canonical().is_unspecified())
            .prop_map(Host::Ip),
        "[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?(\\.[a-z]{2,6}){0,2}"
            .prop_map(|name| Host::Name(name.into())),
    ];
    let key = of(any::<[u8; 32]>().prop_map(NodeKey));
    (of(transports()), host, 1..=u16::MAX, key).prop_map(|(transport, host, port, key)| {
        BootstrapAddr {
            transport,
            host,
            port,
            key,
        }
    })
}

fn links() -> impl Strategy<Value = ShareLink> {
    (any::<[u8; 32]>(), vec(hints(), 0..=LINK_HINTS_MAX)).prop_map(|(key, bootstrap)| ShareLink {
        key: ShareKey(key),
        bootstrap,
    })
}

/// The keys and values of a CBOR map of definite length, as bytes.
fn pairs(map: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut decoder = Decoder::new(map);
    let len = decoder.map().expect("a map").expect("of definite length");
    let mut item = || {
        let start = decoder.position();
        decoder.skip().expect("a whole item");
        &map[start..decoder.position()]
    };
    (0..len).map(|_| (item(), item())).collect()
}

/// A map of indefinite length and of tagged values.
fn relaid(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut encoder = Encoder::new(vec![0xbf]);
    for (key, value) in pairs {
        encoder.writer_mut().extend_from_slice(key);
        // Tag 55799 says "this is CBOR" and nothing else.
        encoder.writer_mut().extend_from_slice(&[0xd9, 0xd9, 0xf7]);
        encoder.writer_mut().extend_from_slice(value);
    }
    encoder.writer_mut().push(0xff);
    encoder.into_writer()
}

proptest! {
    // There is no lib.rs beside an integration test to keep failures at.
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    /// What is written is read back as it was, in either layout and whatever follows it.
    #[test]
    fn manifests_round_trip(manifest in manifests(), after in vec(any::<u8>(), 0..4)) {
        for mut bytes in [manifest.encode(), manifest.encode_compact()] {
            bytes.extend_from_slice(&after);
            prop_assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
        }
    }

    /// Neither id nor signature depends on how a manifest was laid out when it was sent.
    #[test]
    fn identity_is_independent_of_layout(
        manifest in signed_manifests(),
        compact in any::<bool>(),
        order in Just((0..14).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let bytes = if compact { manifest.encode_compact() } else { manifest.encode() };
        let mut pairs = pairs(&bytes);
        // The unknown key "x" with the value 1.
        pairs.push((&[0x61, b'x'], &[0x01]));
        let shuffled: Vec<_> = order.iter().map(|&at| pairs[at]).collect();
        let received = Manifest::decode(&relaid(&shuffled)).expect("an unusual but legal layout");
        prop_assert_eq!(received.id(), manifest.id());
        prop_assert_eq!(received.signed_bytes(), manifest.signed_bytes());
        prop_assert_eq!(received.verify(UnixTime(0)), Ok(()));
    }

    /// A manifest with any bit changed is unreadable, means the same, or does not verify.
    #[test]
    fn no_changed_manifest_verifies(
        manifest in signed_manifests(),
        compact in any::<bool>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut bytes = if compact { manifest.encode_compact() } else { manifest.encode() };
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        if let Ok(changed) = Manifest::decode(&bytes) && changed != manifest {
            prop_assert!(changed.verify(UnixTime(0)).is_err());
            prop_assert_ne!(changed.id(), manifest.id());
        }
    }

    /// A bit changed in any field by itself is noticed.
    #[test]
    fn every_field_is_signed(manifest in signed_manifests(), item in items(), bit in 0u8..64) {
        let flipped = |hash: [u8; 32]| {
            let mut hash = hash;
            hash[usize::from(bit / 2)] ^= 1;
            hash
        };
        let m = manifest.clone();
        let changed = [
            Manifest { version: m.version ^ (1 << (bit % 8)), ..m.clone() },
            Manifest { seq: m.seq ^ (1 << bit), ..m.clone() },
            Manifest { created_at: UnixTime(m.created_at.0 ^ (1 << (bit % 63))), ..m.clone() },
            Manifest { title: Some(m.title.clone().unwrap_or_default() + "!"), ..m.clone() },
            Manifest { description: Some(m.description.clone().unwrap_or_default() + "!"), ..m.clone() },
            Manifest { communities: [m.communities.clone(), vec![m.share]].concat(), ..m.clone() },
            Manifest { recommended_shares: [m.recommended_shares.clone(), vec![m.share]].concat(), ..m.clone() },
            Manifest { items: [m.items.clone(), vec![item.clone()]].concat(), ..m.clone() },
        ];
        for changed in changed {
            prop_assert_eq!(changed.verify(UnixTime(0)), Err(ManifestError::Signature));
        }

        let seed = SigningKey::from_bytes(&[7; 32]);
        let key = ShareKey(seed.verifying_key().to_bytes());
        let with = |item: Item| Manifest { key, share: key.share_id(), items: vec![item], ..m.clone() };
        let signed = with(item.clone()).sign(&seed);
        let changed_items = [
            Item { content: ContentId(flipped(item.content.0)), ..item.clone() },
            Item { size: item.size ^ (1 << bit), ..item.clone() },
            Item { name: item.name.clone() + "!", ..item.clone() },
            Item { path: Some(item.path.clone().unwrap_or_default() + "!"), ..item.clone() },
            Item { mime: Some(item.mime.clone().unwrap_or_default() + "!"), ..item.clone() },
            Item { tags: [item.tags.clone(), vec![String::new()]].concat(), ..item.clone() },
            Item { chunk_count: item.chunk_count ^ (1 << (bit % 32)), ..item.clone() },
            Item { chunk_list_hash: flipped(item.chunk_list_hash), ..item.clone() },
        ];
        prop_assert_eq!(signed.verify(UnixTime(0)), Ok(()));
        for changed in changed_items {
            let changed = Manifest { items: vec![changed], ..signed.clone() };
            prop_assert_eq!(changed.verify(UnixTime(0)), Err(ManifestError::Signature));
        }
    }

    /// No part of a record passes for the whole.
    #[test]
    fn cut_records_are_refused(
        manifest in manifests(),
        head in signed_heads(),
        providers in provider_lists(),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = manifest.encode();
        prop_assert!(Manifest::decode(&bytes[..at.index(bytes.len())]).is_err());
        let bytes = head.1.encode();
        prop_assert!(ShareHead::decode(&bytes[..at.index(bytes.len())]).is_err());
        let bytes = providers.encode();
        prop_assert!(Providers::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    /// Heads are read back as they were and verify under their share's key only.
    #[test]
    fn heads_round_trip((key, head) in signed_heads(), (other, _) in signed_heads()) {
        prop_assert_eq!(ShareHead::decode(&head.encode()), Ok(head.clone()));
        prop_assert!(head.encode().len() <= 335);
        prop_assert!(head.verify(&key));
        prop_assert!(key == other || !head.verify(&other));
    }

    /// A head with any bit changed is unreadable, means the same, or does not verify.
    #[test]
    fn no_changed_head_verifies(
        (key, head) in signed_heads(),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut bytes = head.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        if let Ok(changed) = ShareHead::decode(&bytes) && changed != head {
            prop_assert!(!changed.verify(&key));
        }
    }

    /// Of two heads at most one replaces the other, and a higher sequence number always does.
    #[test]
    fn heads_are_ordered((_, a) in signed_heads(), (_, b) in signed_heads()) {
        prop_assert!(!(a.newer_than(&b) && b.newer_than(&a)));
        prop_assert!(!a.newer_than(&a));
        prop_assert_eq!(a.newer_than(&b), (a.latest_seq, a.updated_at) > (b.latest_seq, b.updated_at));
    }

    /// Provider lists are read back as they were.
    #[test]
    fn providers_round_trip(providers in provider_lists()) {
        prop_assert_eq!(Providers::decode(&providers.encode()), Ok(providers));
    }

    /// Every record is recognised under its own key and refused under any other.
    #[test]
    fn values_are_recognised_under_their_key(
        manifest in manifests(),
        (_, head) in signed_heads(),
        providers in provider_lists(),
        other in any::<[u8; 32]>(),
    ) {
        let values = [
            (manifest_key(&manifest.id()), manifest.encode_compact(), ValueKind::Manifest(Box::new(manifest))),
            (head_key(&head.share), head.encode(), ValueKind::Head(head)),
            (providers_key(&providers.content), providers.encode(), ValueKind::Providers(providers)),
        ];
        for (key, value, kind) in values {
            prop_assert_eq!(classify(&key, &value), Ok(kind));
            prop_assert_eq!(classify(&DhtKey(other), &value), Err(ValueError::WrongKey));
        }
    }

    /// No bytes whatever make reading panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = (Manifest::decode(&bytes), ShareHead::decode(&bytes), Providers::decode(&bytes));
        prop_assert!(classify(&DhtKey([0; 32]), &bytes).is_err());
        let _ = String::from_utf8_lossy(&bytes).parse::<ShareLink>();
    }

    /// Links are read back as they were, also when a messenger encoded the query once more or
    /// the alphabet and padding are those of standard Base64.
    #[test]
    fn links_round_trip(link in links()) {
        let text = link.to_string();
        prop_assert!(text.is_ascii());
        prop_assert_eq!(text.parse(), Ok(link.clone()));
        prop_assert_eq!(text.replace('%', "%25").parse(), Ok(link.clone()));
        let (payload, query) = text["scp2p://s/".len()..].split_at(86);
        let standard = payload.replace('-', "+").replace('_', "/");
        prop_assert_eq!(format!("scp2p://s/{standard}=={query}").parse(), Ok(link));
    }

    /// A link with any character of its payload changed is refused.
    #[test]
    fn misspelt_links_are_refused(link in links(), at in 0usize..85, letter in "[A-Za-z0-9_-]") {
        let mut text = link.to_string();
        let at = "scp2p://s/".len() + at;
        prop_assume!(text[at..=at] != letter);
        text.replace_range(at..=at, &letter);
        prop_assert_eq!(text.parse::<ShareLink>(), Err(ParseLinkError::Mismatch));
    }

    /// No text whatever makes reading a link panic.
    #[test]
    fn any_text_is_a_link_or_refused(text in "(scp2p://s/)?[A-Za-z0-9_=/+-]{0,90}(\\?bp=)?.{0,60}") {
        if let Ok(link) = text.parse::<ShareLink>() {
            prop_assert_eq!(link.to_string().parse(), Ok(link));
        }
    }
}

fn item(size: u64) -> Item {
    Item {
        content: ContentId([0xc0; 32]),
        size,
        name: "name".into(),
        path: None,
        mime: None,
        tags: Vec::new(),
        chunk_count: 0,
        chunk_list_hash: [0xc1; 32],
    }
}

fn manifest(items: Vec<Item>) -> Manifest {
    Manifest {
        version: 1,
        key: ShareKey([0x6b; 32]),
        share: ShareKey([0x6b; 32]).share_id(),
        seq: 1,
        created_at: UnixTime(1),
        expires_at: None,
        title: None,
        description: None,
        visibility: Visibility::Public,
        communities: Vec::new(),
        items,
        recommended_shares: Vec::new(),
        signature: None,
    }
}

#[test]
fn a_manifest_lists_so_many_items_and_no_more() {
    let most = manifest(vec![item(1); MANIFEST_ITEMS_MAX]);
    assert_eq!(Manifest::decode(&most.encode_compact()), Ok(most));
    let more = manifest(vec![item(1); MANIFEST_ITEMS_MAX + 1]);
    assert_eq!(
        Manifest::decode(&more.encode()),
        Err(DecodeError::TooMany("items"))
    );
}

#[test]
fn a_list_that_only_claims_to_be_long_is_refused_at_once() {
    // {"items": [ ... 2^64 - 1 entries, of which none is there.
    let mut bytes = vec![0xa1, 0x65];
    bytes.extend_from_slice(b"items");
    bytes.extend_from_slice(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Manifest::decode(&bytes), Err(DecodeError::Truncated));
}

#[test]
fn sizes_that_overflow_have_no_sum() {
    assert_eq!(
        manifest(vec![item(u64::MAX), item(0)]).total_size(),
        Some(u64::MAX)
    );
    assert_eq!(manifest(vec![item(u64::MAX), item(1)]).total_size(), None);
}

#[test]
fn texts_have_bounds() {
    let long = |len| Some("x".repeat(len));
    let titled = |title| Manifest {
        title,
        ..manifest(Vec::new())
    };
    assert!(Manifest::decode(&titled(long(4096)).encode()).is_ok());
    assert_eq!(
        Manifest::decode(&titled(long(4097)).encode()),
        Err(DecodeError::Length("title"))
    );

    let tagged = |tags| manifest(vec![Item { tags, ..item(1) }]);
    assert!(Manifest::decode(&tagged(vec!["t".into(); 64]).encode()).is_ok());
    assert_eq!(
        Manifest::decode(&tagged(vec!["t".into(); 65]).encode()),
        Err(DecodeError::TooMany("tags"))
    );
    let named = |path| manifest(vec![Item { path, ..item(1) }]);
    assert_eq!(
        Manifest::decode(&named(long(4097)).encode()),
        Err(DecodeError::Length("path"))
    );
}

#[test]
fn of_a_long_provider_list_the_first_are_read() {
    let address = |port| PeerAddr {
        ip: [10, 0, 0, 1].into(),
        port,
        transport: Transport::Quic,
        key: None,
        relay_via: None,
    };
    let long = Providers {
        content: ContentId([1; 32]),
        providers: (1..=500).map(address).collect(),
        updated_at: UnixTime(1),
    };
    let read = Providers::decode(&long.encode()).expect("a list");
    assert_eq!(read.providers, long.providers[..PEER_ADDRS_MAX]);
}

#[test]
fn a_value_has_so_many_bytes_and_no_more() {
    let id = ContentId([1; 32]);
    let mut value = Providers {
        content: id,
        providers: Vec::new(),
        updated_at: UnixTime(1),
    }
    .encode();
    value.resize(VALUE_MAX, 0);
    assert!(classify(&providers_key(&id), &value).is_ok());
    value.push(0);
    assert_eq!(
        classify(&providers_key(&id), &value),
        Err(ValueError::TooLong(VALUE_MAX + 1))
    );
}

/// The point of order 1 verifies anything under lax rules; nobody has its secret.
#[test]
fn keys_of_small_order_sign_nothing() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let key = ShareKey(identity);
    let mut signature = [0; 64];
    signature[0] = 1;
    let forged = Manifest {
        key,
        share: key.share_id(),
        signature: Some(signature),
        ..manifest(Vec::new())
    };
    assert_eq!(forged.verify(UnixTime(1)), Err(ManifestError::Signature));
    let head = ShareHead {
        share: key.share_id(),
        latest_seq: 1,
        latest_manifest: ManifestId([0; 32]),
        updated_at: UnixTime(1),
        signature,
    };
    assert!(!head.verify(&key));
}

#[test]
fn hints_that_lead_nowhere_are_dropped() {
    let plain = ShareLink {
        key: ShareKey([9; 32]),
        bootstrap: Vec::new(),
    }
    .to_string();
    let bootstrap = |list: &str| {
        let link: ShareLink = format!("{plain}?bp={list}").parse().expect("a link");
        link.bootstrap
            .iter()
            .map(BootstrapAddr::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bootstrap("0.0.0.0:7001,[::]:7001,,nonsense,%ff,%zz, 1.2.3.4:7001 "),
        ["1.2.3.4:7001"]
    );
    assert_eq!(
        bootstrap("1.2.3.4:7001,".repeat(40).as_str()).len(),
        LINK_HINTS_MAX
    );
    assert_eq!(bootstrap(""), [""; 0]);

    let unspecified = "0.0.0.0:7001".parse().expect("an address");
    let link = ShareLink {
        key: ShareKey([9; 32]),
        bootstrap: vec![unspecified],
    };
    assert_eq!(link.to_string(), plain);
}

#[test]
fn hints_are_written_with_transport_and_key() {
    let hint = format!("quic://1.2.3.4:7000@{}", "ab".repeat(32));
    let bootstrap = vec![hint.parse().expect("an address")];
    let link = ShareLink {
        key: ShareKey([9; 32]),
        bootstrap,
    }
    .to_string();
    assert!(link.ends_with(&format!(
        "?bp=quic%3A%2F%2F1.2.3.4%3A7000%40{}",
        "ab".repeat(32)
    )));
}
