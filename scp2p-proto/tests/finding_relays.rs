//! Relays announce themselves, and those who need one find them.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use common::World;
use ed25519_dalek::SigningKey;
use scp2p_proto::config::{Announcing, Config, RelayLimits};
use scp2p_proto::id::{DhtKey, NodeKey};
use scp2p_proto::io::{HostEvent, Transport};
use scp2p_proto::keys::Keys;
use scp2p_proto::record::{
    BandwidthClass, RelayAnnouncement, RelayCapacity, RelayOffer, RendezvousHour,
};
use scp2p_proto::time::UnixTime;
use scp2p_proto::view::LookupKind;
use scp2p_proto::wire::{
    Answer, Capabilities, FoundValue, PeerAddr, Profile, Request, StoreRecord,
};
use serde_json::Value;

fn relaying(config: &mut Config) {
    config.relay = Some(RelayLimits::default());
    config.capabilities.relay = true;
}

/// A relay that says so; no lookup in the DHT leads to it.
fn add_announcing(world: &mut World, bootstrap: &[usize]) -> usize {
    world.add_with(bootstrap, announcing)
}

fn announcing(config: &mut Config) {
    relaying(config);
    config.announcing = Some(Announcing::default());
    config.capabilities.dht = false;
}

/// Nobody can dial it, and it dials nobody to have more peers.
fn add_walled(world: &mut World, bootstrap: &[usize], change: impl FnOnce(&mut Config)) -> usize {
    let number = world.add_with(bootstrap, |config| {
        config.sessions_kept = 1;
        change(config);
    });
    world.hosts[number].walled = true;
    number
}

fn relays_of(world: &World, number: usize) -> BTreeSet<NodeKey> {
    let addresses = world.node(number).status().addresses;
    let routes = addresses.iter().filter_map(|addr| addr.relay_via.as_ref());
    routes.filter_map(|route| route.relay.key).collect()
}

/// A deployed peer that keeps what it is given to store.
fn add_keeper(world: &mut World) -> usize {
    let number = world.add_deployed();
    world.deployed(number).values = Some(BTreeMap::new());
    number
}

/// A deployed peer asks a node this and is answered.
fn asked(world: &mut World, asker: usize, request: Request) -> Result<Answer, String> {
    let before = world.deployed(asker).answers.len();
    world.ask(asker, &[request]);
    world.until("an answer", |world| {
        let deployed = world.hosts[asker].deployed.as_ref();
        deployed.is_some_and(|peer| peer.answers.len() > before)
    });
    let deployed = world.deployed(asker);
    deployed.answers[&(before as u32)].clone()
}

/// A node and a deployed peer with a session to it.
fn node_and_asker(profile: Profile, change: impl FnOnce(&mut Config)) -> (World, usize, usize) {
    let mut world = World::new();
    let asker = world.add_deployed();
    world.deployed(asker).profile = profile;
    let node = world.add_with(&[], change);
    world.dial_from(asker, node);
    world.until("a session", |world| {
        world.node(node).status().connected == 1
    });
    (world, node, asker)
}

fn found(world: &mut World, asker: usize, key: DhtKey) -> Option<StoreRecord> {
    match asked(world, asker, Request::FindValue(key)) {
        Ok(Answer::Found(FoundValue { record, .. })) => record,
        other => panic!("{other:?}"),
    }
}

fn store(world: &mut World, asker: usize, key: DhtKey, value: Vec<u8>) -> Result<(), String> {
    let record = StoreRecord {
        key,
        value: value.into(),
        ttl_secs: 3600,
        signer: None,
    };
    let answer = asked(world, asker, Request::Store(record));
    answer.map(|answer| assert_eq!(answer, Answer::Ack))
}

fn offer(now: UnixTime) -> RelayOffer {
    RelayOffer {
        addrs: vec![PeerAddr {
            ip: [5, 5, 5, 5].into(),
            port: 7000,
            transport: Transport::Quic,
            key: None,
            relay_via: None,
        }],
        capabilities: Capabilities {
            relay: true,
            ..Capabilities::none()
        },
        capacity: RelayCapacity {
            max_tunnels: 64,
            bandwidth: BandwidthClass::Medium,
            max_bytes_per_tunnel: None,
        },
        issued_at: now,
        expires_at: now.plus(3600),
    }
}

#[test]
fn a_relay_is_found_under_the_rendezvous_keys_of_the_hour() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let keeper = add_keeper(&mut world);
    let relay = add_announcing(&mut world, &[keeper]);
    let relay_key = world.key(relay);
    world.until("the announcements", |world| {
        let keeper = world.hosts[keeper].deployed.as_ref();
        keeper
            .and_then(|it| it.values.as_ref())
            .is_some_and(|values| !values.is_empty())
    });
    let walled = add_walled(&mut world, &[hub, keeper], |_| {});
    world.until("a place", |world| !relays_of(world, walled).is_empty());
    assert_eq!(relays_of(&world, walled), BTreeSet::from([relay_key]));
    let lookups = world.node(walled).stats().lookups;
    let mut of_relays = lookups.iter().filter(|it| it.kind == LookupKind::Relays);
    assert!(of_relays.any(|lookup| lookup.found), "{lookups:?}");
}

#[test]
fn a_relay_that_has_another_address_announces_it_soon() {
    let mut world = World::new();
    let keeper = add_keeper(&mut world);
    let relay = world.add_with(&[keeper], |config| {
        announcing(config);
        config.bound_ips.clear();
    });
    let (before, after) = (common::ip(relay), common::ip(70));
    let announced = |world: &World| -> Vec<Vec<IpAddr>> {
        let keeper = world.hosts[keeper].deployed.as_ref();
        let values = keeper.and_then(|it| it.values.as_ref());
        let values = values.expect("it keeps what it is given").values();
        let announcements = values.map(|record| {
            RelayAnnouncement::decode(&record.value).expect("an announcement of ours")
        });
        let places = announcements.map(|it| it.offer.addrs.iter().map(|addr| addr.ip).collect());
        places.collect()
    };
    world.tell(relay, HostEvent::Addresses(vec![before]));
    world.pass(Duration::from_secs(120));
    let first = announced(&world);
    assert!(!first.is_empty() && first.iter().flatten().all(|ip| *ip == before));
    world.tell(relay, HostEvent::Addresses(vec![after]));
    world.pass(Duration::from_secs(90));
    let second = announced(&world);
    assert!(second.iter().all(|ips| ips.contains(&after)), "{second:?}");
}

/// An announcement by the key of this host, which names where it is.
fn announcement_of(world: &World, number: usize, issued_at: UnixTime) -> RelayAnnouncement {
    let key = Keys::from_seed([number as u8 + 1; 32]);
    assert_eq!(key.public(), world.key(number));
    let mut offer = offer(issued_at);
    offer.addrs[0].ip = common::ip(number);
    RelayAnnouncement::sign(key.signing(), Profile::C, offer)
}

/// A deployed peer with this value under this key.
fn add_keeper_of(world: &mut World, key: DhtKey, announcement: &RelayAnnouncement) -> usize {
    let keeper = add_keeper(world);
    let record = StoreRecord {
        key,
        value: announcement.encode().into(),
        ttl_secs: 3600,
        signer: None,
    };
    world.deployed(keeper).values = Some(BTreeMap::from([(key, record)]));
    keeper
}

/// Relays take a while to announce themselves anew, and clocks differ.
#[test]
fn in_a_new_hour_the_keys_of_the_last_one_count_too() {
    for (secs_into_hour, is_found) in [(60, true), (1200, false)] {
        let mut world = World::new();
        let before = RendezvousHour::of(world.clock().unix);
        let hub = world.add(&[]);
        let relay = world.add_with(&[], relaying);
        let issued_at = UnixTime(before.ends().0 - 1);
        let announcement = announcement_of(&world, relay, issued_at);
        let [place, _] = announcement.places(before);
        let keeper = add_keeper_of(&mut world, place, &announcement);
        let new = before.ends().0 + secs_into_hour - world.clock().unix.0;
        world.pass(Duration::from_secs(new));
        let walled = add_walled(&mut world, &[hub, keeper], |_| {});
        world.pass(Duration::from_secs(60));
        assert_eq!(relays_of(&world, walled).len() == 1, is_found);
    }
}

#[test]
fn a_forged_announcement_leads_nobody_anywhere() {
    for is_forged in [false, true] {
        let mut world = World::new();
        let now = world.clock().unix;
        let hub = world.add(&[]);
        let relay = world.add_with(&[], relaying);
        let mut announcement = announcement_of(&world, relay, now);
        announcement.offer.capacity.max_tunnels += u16::from(is_forged);
        let [place, _] = announcement.places(RendezvousHour::of(now));
        let keeper = add_keeper_of(&mut world, place, &announcement);
        let walled = add_walled(&mut world, &[hub, keeper], |_| {});
        world.pass(Duration::from_secs(300));
        assert_eq!(relays_of(&world, walled).is_empty(), is_forged);
        assert_eq!(world.node(relay).status().connected == 0, is_forged);
    }
}

#[test]
fn while_no_relay_is_found_they_are_looked_for_ever_more_rarely() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let walled = add_walled(&mut world, &[hub], |_| {});
    let lookups = |world: &World| world.node(walled).stats().find_value.begun;
    world.pass(Duration::from_secs(3600));
    let first = lookups(&world);
    assert!((64..=16 * 8).contains(&first), "{first}");
    world.pass(Duration::from_secs(6 * 3600));
    let later = lookups(&world) - first;
    assert!((64..=16 * 2 * 8).contains(&later), "{later}");
}

#[test]
fn nodes_tell_which_relays_announced_themselves_to_them() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let relay = add_announcing(&mut world, &[hub]);
    let relay_key = world.key(relay);
    world.pass(Duration::from_secs(60));
    let walled = add_walled(&mut world, &[hub], |_| {});
    world.until("a place", |world| !relays_of(world, walled).is_empty());
    assert_eq!(relays_of(&world, walled), BTreeSet::from([relay_key]));
    let lookups = world.node(walled).stats().lookups;
    let is_of_relays = |kind| kind == LookupKind::Relays;
    assert!(
        lookups.iter().all(|it| !is_of_relays(it.kind)),
        "one question sufficed"
    );
}

/// What deployed nodes took is taken, but for what is over; and it is given out as it came.
#[test]
fn announcements_of_deployed_relays_are_kept_as_they_came() {
    let (mut kept, mut refused) = (0, 0);
    for file in ["dht_store_v03", "dht_store_v06"] {
        let path = format!("{}/../vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).expect("a vector file");
        let file: Value = serde_json::from_str(&text).expect("vectors are JSON");
        let cases = file["cases"].as_array().expect("cases").iter();
        for case in cases.filter(|case| case["kind"] == "relay") {
            let bytes = |field: &str| {
                let text = case[field].as_str().expect("hexadecimal");
                let digits = text.as_bytes().chunks(2).map(|two| {
                    let two = std::str::from_utf8(two).expect("digits");
                    u8::from_str_radix(two, 16).expect("digits")
                });
                digits.collect::<Vec<u8>>()
            };
            let key = DhtKey::from_slice(&bytes("key")).expect("a key");
            let (mut world, _, asker) = node_and_asker(Profile::C, |_| {});
            let verdict = store(&mut world, asker, key, bytes("value"));
            let is_over = verdict.as_ref().is_err_and(|text| text.contains("expired"));
            let is_accepted = case["accepted"] == true;
            assert_eq!(
                verdict.is_ok() || is_over,
                is_accepted,
                "{case}: {verdict:?}"
            );
            let found = found(&mut world, asker, key);
            assert_eq!(found.is_some(), verdict.is_ok());
            if let Some(found) = found {
                assert_eq!((found.key, &found.value[..]), (key, &bytes("value")[..]));
                kept += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert_eq!((kept, refused), (8, 8));
}

#[test]
fn announcements_that_are_forged_or_over_or_elsewhere_are_refused() {
    let (mut world, _, asker) = node_and_asker(Profile::C, |_| {});
    let now = world.clock().unix;
    let key = SigningKey::from_bytes(&[9; 32]);
    let good = RelayAnnouncement::sign(&key, Profile::C, offer(now));
    let [place, _] = good.places(RendezvousHour::of(now));
    let mut forged = good.clone();
    forged.offer.addrs[0].port = 7001;
    let over = RelayOffer {
        expires_at: now,
        ..offer(UnixTime(now.0 - 10))
    };
    let over = RelayAnnouncement::sign(&key, Profile::C, over);
    let elsewhere = DhtKey([7; 32]);
    let refused = [
        (place, forged, "signature"),
        (place, over, "expired"),
        (elsewhere, good.clone(), "another key"),
    ];
    for (key, announcement, reason) in refused {
        let verdict = store(&mut world, asker, key, announcement.encode());
        assert!(verdict.is_err_and(|text| text.contains(reason)), "{reason}");
        assert_eq!(found(&mut world, asker, key), None);
    }
    assert_eq!(store(&mut world, asker, place, good.encode()), Ok(()));
    let kept = found(&mut world, asker, place).expect("the good one");
    assert_eq!(kept.value, good.encode());
    assert!((3500..=3600).contains(&kept.ttl_secs));
    world.pass(Duration::from_secs(3600));
    assert_eq!(found(&mut world, asker, place), None, "its time is over");
}

#[test]
fn relays_in_one_slot_are_both_found() {
    let (mut world, _, asker) = node_and_asker(Profile::C, |_| {});
    let now = world.clock().unix;
    let hour = RendezvousHour::of(now);
    let signed = |seed: u8| {
        let key = SigningKey::from_bytes(&[seed; 32]);
        RelayAnnouncement::sign(&key, Profile::C, offer(now))
    };
    let one = signed(100);
    let [place, _] = one.places(hour);
    let other = (101..)
        .map(signed)
        .find(|it| it.places(hour).contains(&place));
    let other = other.expect("one in eight is in the slot");
    for announcement in [&one, &other] {
        assert_eq!(
            store(&mut world, asker, place, announcement.encode()),
            Ok(())
        );
    }
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let record = found(&mut world, asker, place).expect("one of them");
        seen.insert(record.value.to_vec());
    }
    assert_eq!(seen, BTreeSet::from([one.encode(), other.encode()]));
}

/// Deployed peers verify only what was signed for their profile.
#[test]
fn a_relay_tells_each_profile_of_itself_in_its_own_form() {
    for profile in [Profile::A, Profile::B, Profile::C] {
        let (mut world, node, asker) = node_and_asker(profile, |config| {
            relaying(config);
            config.announcing = Some(Announcing::default());
        });
        let (now, key) = (world.clock().unix, SigningKey::from_bytes(&[9; 32]));
        for signed_for in [Profile::A, Profile::C] {
            let other = RelayAnnouncement::sign(&key, signed_for, offer(now));
            let [place, _] = other.places(RendezvousHour::of(now));
            let _ = store(&mut world, asker, place, other.encode());
        }
        world.pass(Duration::from_secs(60));
        let list = |max_count| Request::ListRelays { max_count };
        let own = world.key(node);
        match asked(&mut world, asker, list(64)) {
            Ok(Answer::Relays(relays)) => {
                let keys: BTreeSet<NodeKey> = relays.iter().map(|it| it.relay).collect();
                let is_first = |it: &RelayAnnouncement| it.relay == own;
                assert!(relays.first().is_some_and(is_first), "{relays:?}");
                assert_eq!(keys.len(), relays.len());
                let now = world.clock().unix;
                for relay in relays {
                    assert!(relay.suits(profile));
                    assert_eq!(relay.verify(now), Ok(()));
                    let addrs = relay.offer.addrs.iter();
                    assert!(addrs.clone().all(PeerAddr::is_dialable) && addrs.count() > 0);
                }
            }
            other => panic!("{other:?}"),
        }
        for (most, count) in [(0, 0), (1, 1)] {
            match asked(&mut world, asker, list(most)) {
                Ok(Answer::Relays(relays)) => assert_eq!(relays.len(), count),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_relay_announces_itself_anew_in_each_hour() {
    let mut world = World::new();
    let keeper = add_keeper(&mut world);
    let relay = add_announcing(&mut world, &[keeper]);
    let key = world.key(relay);
    world.pass(Duration::from_secs(2 * 3600));
    // Twice an interval, once more an hour, and each time two.
    let stores = world.deployed(keeper).stores;
    assert!((8..=20).contains(&stores), "{stores}");
    let hour = RendezvousHour::of(world.clock().unix);
    let values = world.deployed(keeper).values.take().expect("it keeps");
    let announcements = values.values().map(|record| {
        let announcement = RelayAnnouncement::decode(&record.value).expect("announcements only");
        assert!(announcement.belongs_at(&record.key));
        announcement
    });
    let all: Vec<RelayAnnouncement> = announcements.collect();
    assert!(all.iter().all(|it| it.relay == key));
    for hour in [hour.before().before(), hour.before(), hour] {
        let [first, _] = all[0].places(hour);
        assert!(values.contains_key(&first), "{hour:?}");
    }
}

/// No bootstrap peer is needed: whoever dials the relay is somebody to store at.
#[test]
fn a_relay_without_bootstrap_peers_announces_itself_too() {
    let mut world = World::new();
    let relay = add_announcing(&mut world, &[]);
    world.pass(Duration::from_secs(60));
    let hub = world.add(&[relay]);
    world.pass(Duration::from_secs(120));
    let forms = world.node(hub).status().values;
    assert_eq!(forms, 2, "one for each of its places");
}

#[test]
fn relays_that_the_user_names_come_first() {
    let mut world = World::new();
    let hub = world.add_with(&[], relaying);
    let others = [(); 3].map(|()| world.add_with(&[hub], relaying));
    let named = world.add_with(&[], relaying);
    let (named_key, at) = (world.key(named), common::ip(named));
    let all: Vec<usize> = [hub].into_iter().chain(others).collect();
    let walled = add_walled(&mut world, &all, |config| {
        config.relays = vec![format!("quic://{at}:7000").parse().expect("an address")];
    });
    world.until("a place at the named relay", |world| {
        relays_of(world, walled).contains(&named_key)
    });
    world.pass(Duration::from_secs(60));
    let relays = relays_of(&world, walled);
    assert!(relays.contains(&named_key));
    assert_eq!(relays.len(), 3);
}
