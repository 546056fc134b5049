//! What holds of all relay announcements.

use std::net::IpAddr;

use ed25519_dalek::{Signer, SigningKey};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::Config;
use scp2p_proto::id::{DhtKey, NodeKey, RelaySlotId};
use scp2p_proto::io::Transport;
use scp2p_proto::limits::{
    CAPABILITY_BYTES_MAX, CLOCK_SKEW_SECS, RELAY_ADDRS_MAX, RELAY_ANNOUNCEMENT_LIFE_SECS_MAX,
};
use scp2p_proto::record::{
    BandwidthClass, RelayAnnouncement, RelayAnnouncementError, RelayCapacity, RelayOffer,
    RendezvousHour, RendezvousSlot, ValueError, ValueKind, classify, rendezvous_key,
};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Capabilities, DecodeError, PeerAddr, Profile, RelayRoute};

use crate::{direct_addresses, pairs, relaid};

fn profiles() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::A), Just(Profile::B), Just(Profile::C)]
}

fn capacities() -> impl Strategy<Value = RelayCapacity> {
    let classes = [
        BandwidthClass::Low,
        BandwidthClass::Medium,
        BandwidthClass::High,
    ];
    let class = prop::sample::select(classes.to_vec());
    (any::<u16>(), class, of(any::<u64>())).prop_map(
        |(max_tunnels, bandwidth, max_bytes_per_tunnel)| RelayCapacity {
            max_tunnels,
            bandwidth,
            max_bytes_per_tunnel,
        },
    )
}

/// Offers that are good from their making to their end.
fn offers() -> impl Strategy<Value = RelayOffer> {
    let addrs = direct_addresses()
        .prop_map(|addr| PeerAddr { key: None, ..addr })
        .prop_filter("an address that leads somewhere", PeerAddr::is_dialable);
    let flags = any::<[bool; 4]>();
    let life = 1..=RELAY_ANNOUNCEMENT_LIFE_SECS_MAX;
    let times = (0..u64::MAX / 2, life);
    (vec(addrs, 1..5), flags, capacities(), times).prop_map(
        |(addrs, flags, capacity, (issued_at, life))| RelayOffer {
            addrs,
            capabilities: Capabilities {
                dht: flags[0],
                store: flags[1],
                relay: true,
                content_seed: flags[2],
                mobile_light: flags[3],
                ..Capabilities::none()
            },
            capacity,
            issued_at: UnixTime(issued_at),
            expires_at: UnixTime(issued_at + life),
        },
    )
}

/// An announcement and its maker.
fn announcements() -> impl Strategy<Value = (SigningKey, RelayAnnouncement)> {
    (any::<[u8; 32]>(), profiles(), offers()).prop_map(|(seed, profile, offer)| {
        let key = SigningKey::from_bytes(&seed);
        let announcement = RelayAnnouncement::sign(&key, profile, offer);
        (key, announcement)
    })
}

proptest! {
    // There is no lib.rs beside an integration test to keep failures at.
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    /// What is written is read back as it was, whatever follows it, and verifies while it is good.
    #[test]
    fn announcements_round_trip(
        (_, announcement) in announcements(),
        after in vec(any::<u8>(), 0..4),
        moment in any::<prop::sample::Index>(),
    ) {
        let mut bytes = announcement.encode();
        bytes.extend_from_slice(&after);
        prop_assert_eq!(RelayAnnouncement::decode(&bytes), Ok(announcement.clone()));
        let (from, to) = (announcement.offer.issued_at.0, announcement.offer.expires_at.0);
        let now = UnixTime(from + moment.index((to - from) as usize) as u64);
        prop_assert_eq!(announcement.verify(now), Ok(()));
    }

    /// The layout of the outer map plays no part; that of the capabilities is kept as it was signed.
    #[test]
    fn the_layout_plays_no_part(
        (_, announcement) in announcements(),
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let bytes = announcement.encode();
        let mut pairs = pairs(&bytes);
        // The unknown key "x" with the value 1.
        pairs.push((&[0x61, b'x'], &[0x01]));
        let shuffled: Vec<_> = order.iter().map(|&at| pairs[at]).collect();
        let received = RelayAnnouncement::decode(&relaid(&shuffled));
        prop_assert_eq!(received, Ok(announcement));
    }

    /// An announcement with any bit changed is unreadable, means the same, or does not verify.
    #[test]
    fn no_changed_announcement_verifies(
        (_, announcement) in announcements(),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut bytes = announcement.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        if let Ok(changed) = RelayAnnouncement::decode(&bytes) && changed != announcement {
            prop_assert!(changed.verify(announcement.offer.issued_at).is_err());
        }
    }

    /// A change of anything that the relay says of itself is noticed.
    #[test]
    fn all_of_the_offer_is_signed((_, signed) in announcements(), other in capacities()) {
        let offer = &signed.offer;
        let mut more = offer.addrs.clone();
        more.push(more[0].clone());
        let later = UnixTime(offer.issued_at.0 + 1);
        let changed = [
            RelayOffer { addrs: more, ..offer.clone() },
            RelayOffer { capacity: RelayCapacity { max_tunnels: !offer.capacity.max_tunnels, ..other }, ..offer.clone() },
            RelayOffer { expires_at: UnixTime(offer.expires_at.0 - 1), issued_at: UnixTime(offer.issued_at.0 - 1), ..offer.clone() },
            RelayOffer { expires_at: UnixTime(later.0 + 1), issued_at: later, ..offer.clone() },
        ];
        for offer in changed {
            let now = offer.issued_at;
            let mut changed = signed.clone();
            changed.offer = offer;
            prop_assert_eq!(changed.verify(now), Err(RelayAnnouncementError::Signature));
        }
    }

    /// No part of an announcement passes for the whole.
    #[test]
    fn cut_announcements_are_refused((_, announcement) in announcements(), at in any::<prop::sample::Index>()) {
        let bytes = announcement.encode();
        prop_assert!(RelayAnnouncement::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    /// No bytes whatever make reading or judging panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), now: u64) {
        if let Ok(announcement) = RelayAnnouncement::decode(&bytes) {
            prop_assert!(announcement.verify(UnixTime(now)).is_err());
        }
    }

    /// An announcement may lie in the slots of the hour in which it was made and of those beside it, and nowhere else.
    #[test]
    fn announcements_belong_near_their_hour((_, announcement) in announcements(), other: [u8; 32]) {
        let hour = RendezvousHour::of(announcement.offer.issued_at).0;
        for (at, belongs) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let Some(hour) = hour.checked_add_signed(at) else { continue };
            let hour = RendezvousHour(hour);
            let places = announcement.places(hour);
            for key in places {
                prop_assert_eq!(announcement.belongs_at(&key), belongs);
                let verdict = classify(&key, &announcement.encode());
                let kind = ValueKind::Relay(Box::new(announcement.clone()));
                let expected = if belongs { Ok(kind) } else { Err(ValueError::WrongKey) };
                prop_assert_eq!(verdict, expected);
            }
            let slots = RendezvousSlot::all().map(|slot| rendezvous_key(hour, slot));
            let taken = slots.filter(|key| places.contains(key)).count();
            prop_assert_eq!(taken, if places[0] == places[1] { 1 } else { 2 });
        }
        prop_assert!(!announcement.belongs_at(&DhtKey(other)));
    }
}

const MADE_AT: u64 = 1_700_000_000;

fn addr(ip: &str, port: u16) -> PeerAddr {
    PeerAddr {
        ip: ip.parse::<IpAddr>().expect("an address"),
        port,
        transport: Transport::Quic,
        key: None,
        relay_via: None,
    }
}

fn offer(addrs: Vec<PeerAddr>, life: u64) -> RelayOffer {
    RelayOffer {
        addrs,
        capabilities: Capabilities {
            relay: true,
            ..Capabilities::none()
        },
        capacity: RelayCapacity {
            max_tunnels: 64,
            bandwidth: BandwidthClass::Medium,
            max_bytes_per_tunnel: None,
        },
        issued_at: UnixTime(MADE_AT),
        expires_at: UnixTime(MADE_AT + life),
    }
}

fn signed(offer: RelayOffer) -> RelayAnnouncement {
    RelayAnnouncement::sign(&SigningKey::from_bytes(&[4; 32]), Profile::C, offer)
}

fn direct() -> Vec<PeerAddr> {
    vec![addr("203.0.113.7", 7000)]
}

#[test]
fn an_announcement_is_good_from_its_making_to_its_end() {
    let announcement = signed(offer(direct(), 100));
    let at = |now| announcement.verify(UnixTime(now));
    assert_eq!(at(MADE_AT - CLOCK_SKEW_SECS), Ok(()));
    assert_eq!(at(MADE_AT + 99), Ok(()));
    let early = Err(RelayAnnouncementError::FromFuture(UnixTime(MADE_AT)));
    assert_eq!(at(MADE_AT - CLOCK_SKEW_SECS - 1), early);
    let late = Err(RelayAnnouncementError::Expired(UnixTime(MADE_AT + 100)));
    assert_eq!(at(MADE_AT + 100), late);
    assert_eq!(at(u64::MAX), late);
}

#[test]
fn an_announcement_lives_for_six_hours_at_most() {
    let verdict = |issued_at, expires_at| {
        let times = RelayOffer {
            issued_at: UnixTime(issued_at),
            expires_at: UnixTime(expires_at),
            ..offer(direct(), 1)
        };
        signed(times).verify(UnixTime(issued_at))
    };
    assert_eq!(verdict(MADE_AT, MADE_AT + 21_600), Ok(()));
    for (issued_at, expires_at) in [
        (MADE_AT, MADE_AT + 21_601),
        (MADE_AT, MADE_AT),
        (MADE_AT, MADE_AT - 1),
        (0, u64::MAX),
        (u64::MAX, 0),
    ] {
        let refused = Err(RelayAnnouncementError::Lifetime);
        assert_eq!(verdict(issued_at, expires_at), refused);
    }
}

#[test]
fn every_address_must_lead_to_the_relay() {
    let own = NodeKey(SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes());
    let with = |addr| signed(offer([direct(), vec![addr]].concat(), 1)).verify(UnixTime(MADE_AT));
    let hinted = |key| PeerAddr {
        key: Some(key),
        ..addr("203.0.113.7", 7001)
    };
    assert_eq!(with(hinted(own)), Ok(()));
    // Of use to whoever is on the same host or network; those who dial look at that.
    assert_eq!(with(addr("127.0.0.1", 7001)), Ok(()));
    assert_eq!(with(addr("192.168.0.1", 7001)), Ok(()));
    let route = RelayRoute {
        relay: addr("203.0.113.8", 7000),
        slot: RelaySlotId(1),
    };
    let behind = PeerAddr {
        relay_via: Some(Box::new(route)),
        ..addr("203.0.113.7", 7001)
    };
    for addr in [
        addr("0.0.0.0", 7001),
        addr("::", 7001),
        addr("::ffff:0.0.0.0", 7001),
        addr("255.255.255.255", 7001),
        addr("224.0.0.1", 7001),
        addr("ff02::1", 7001),
        addr("203.0.113.7", 0),
        hinted(NodeKey([9; 32])),
        behind,
    ] {
        assert_eq!(with(addr), Err(RelayAnnouncementError::Address));
    }
}

#[test]
fn an_announcement_has_so_many_addresses_and_no_more() {
    let most = signed(offer(vec![addr("203.0.113.7", 7000); RELAY_ADDRS_MAX], 1));
    assert_eq!(RelayAnnouncement::decode(&most.encode()), Ok(most));
    let more = signed(offer(
        vec![addr("203.0.113.7", 7000); RELAY_ADDRS_MAX + 1],
        1,
    ));
    assert_eq!(
        RelayAnnouncement::decode(&more.encode()),
        Err(DecodeError::TooMany("relay_addrs"))
    );
}

/// The bytes with this part in the place of another.
fn replaced(bytes: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let mut places = bytes.windows(part.len());
    let at = places
        .position(|window| window == part)
        .expect("it is there");
    [&bytes[..at], by, &bytes[at + part.len()..]].concat()
}

/// An announcement of a release that knows one capability more, called so, than profile C has.
fn of_later_release(name: &str) -> Vec<u8> {
    let announcement = signed(offer(direct(), 100));
    let bytes = announcement.encode();
    let (_, known) = pairs(&bytes)[2];
    let mut extended = known.to_vec();
    extended[0] += 1;
    extended.push(0x79);
    extended.extend_from_slice(&(name.len() as u16).to_be_bytes());
    extended.extend_from_slice(name.as_bytes());
    extended.push(0xf5);
    let message = replaced(&announcement.signed_bytes(), known, &extended);
    let signature = SigningKey::from_bytes(&[4; 32]).sign(&message).to_bytes();
    let bytes = replaced(&bytes, known, &extended);
    replaced(&bytes, &announcement.signature, &signature)
}

/// Capabilities that nobody knows yet are verified as they came, and kept.
#[test]
fn announcements_of_later_releases_verify() {
    let bytes = of_later_release("swims");
    let announcement = RelayAnnouncement::decode(&bytes).expect("an announcement");
    assert_eq!(announcement.verify(UnixTime(MADE_AT)), Ok(()));
    assert_eq!(announcement.encode(), bytes);
    for profile in [Profile::A, Profile::B, Profile::C] {
        assert!(!announcement.suits(profile), "nobody who is deployed");
    }
}

#[test]
fn capabilities_are_kept_up_to_so_many_bytes() {
    let with_name = |len| RelayAnnouncement::decode(&of_later_release(&"x".repeat(len)));
    let bytes = signed(offer(direct(), 100)).encode();
    let (_, known) = pairs(&bytes)[2];
    // Three bytes say how long the name is, and one is the value.
    let longest = CAPABILITY_BYTES_MAX - known.len() - 4;
    assert!(with_name(longest).is_ok());
    assert_eq!(
        with_name(longest + 1),
        Err(DecodeError::Length("capabilities"))
    );
}

/// The point of order 1 verifies anything under lax rules; nobody has its secret.
#[test]
fn keys_of_small_order_announce_nothing() {
    let mut key = [0; 32];
    key[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let mut forged = signed(offer(direct(), 100));
    (forged.relay, forged.signature) = (NodeKey(key), signature);
    assert_eq!(
        forged.verify(UnixTime(MADE_AT)),
        Err(RelayAnnouncementError::Signature)
    );
}

#[test]
fn a_bandwidth_class_is_one_of_three_words() {
    let bytes = signed(offer(direct(), 100)).encode();
    for word in ["medium", "MEDIUM", "Huge", "", "Mediums"] {
        let head = 0x60 + word.len() as u8;
        let changed = replaced(&bytes, b"\x66Medium", &[&[head], word.as_bytes()].concat());
        assert_eq!(
            RelayAnnouncement::decode(&changed),
            Err(DecodeError::Value("bandwidth_class")),
            "{word}"
        );
    }
}
