//! Peers that nobody can dial, and relays between them.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::config::RelayLimits;
use scp2p_proto::event::Event;
use scp2p_proto::id::{NodeKey, ShareId};
use scp2p_proto::io::{HostEvent, Transport};
use scp2p_proto::limits::{FRAME_MAX, PUBLISHED_HINTS_MAX};
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::{DownloadState, Reach, ReachState};
use scp2p_proto::wire::{Envelope, FrameReader};

const SIZE: usize = 3_000_000;

/// No two of its first bytes' sequences are alike, so that any part of it is known by a few of them.
fn bytes(size: usize) -> Vec<u8> {
    let mut numbers = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; size];
    numbers.fill(&mut bytes);
    bytes
}

/// What a relay gives that takes content too.
fn limits() -> RelayLimits {
    RelayLimits {
        content: true,
        ..RelayLimits::default()
    }
}

fn add_relay_with(world: &mut World, bootstrap: &[usize], limits: RelayLimits) -> usize {
    world.add_with(bootstrap, |config| {
        config.relay = Some(limits);
        config.capabilities.relay = true;
    })
}

fn add_relay(world: &mut World, bootstrap: &[usize]) -> usize {
    add_relay_with(world, bootstrap, limits())
}

fn add_walled(world: &mut World, bootstrap: &[usize]) -> usize {
    let number = world.add(bootstrap);
    world.hosts[number].walled = true;
    number
}

fn relays_of(world: &World, number: usize) -> Vec<NodeKey> {
    let addresses = world.node(number).status().addresses;
    let routes = addresses.iter().filter_map(|addr| addr.relay_via.as_ref());
    routes.filter_map(|route| route.relay.key).collect()
}

fn publish(world: &mut World, number: usize) -> (ShareLink, ShareId) {
    world.hosts[number]
        .disk
        .put("/files/canary-name", bytes(SIZE));
    let publish = Publish::new("share", vec![LocalPath("/files".into())]);
    match world.run(number, Command::Publish(publish)) {
        Ok(Reply::Published { link, share, .. }) => (link, share),
        other => panic!("{other:?}"),
    }
}

fn begin(world: &mut World, number: usize, link: ShareLink, share: ShareId) {
    world
        .run(number, Command::Subscribe(link))
        .expect("subscribed");
    world.until("the catalog", |world| {
        world.node(number).subscriptions()[0].seq == 1
    });
    let get = Get {
        what: GetWhat::Share { share, path: None },
        root: LocalPath("/got".into()),
    };
    world.run(number, Command::Get(get)).expect("begun");
}

fn finish(world: &mut World, number: usize) {
    world.until("the download", |world| {
        world.node(number).downloads()[0].state == DownloadState::Finished
    });
    let got = world.hosts[number].disk.file("/got/files/canary-name");
    assert!(got == Some(&bytes(SIZE)[..]));
}

/// Through which relay a node is connected with another.
fn via(world: &World, number: usize, other: usize) -> Option<NodeKey> {
    let key = world.key(other);
    let peers = world.node(number).peers();
    let peer = peers.into_iter().find(|peer| peer.key == key)?;
    peer.session?.via
}

#[test]
fn a_node_learns_whether_it_can_be_dialled() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let open = world.add(&[hub]);
    let walled = add_walled(&mut world, &[hub]);
    world.pass(Duration::from_secs(60));
    for (number, reach) in [(open, Reach::Reached), (walled, Reach::NotReached)] {
        let status = world.node(number).status();
        assert_eq!(status.reachability.tcp, reach, "{number}");
    }
}

#[test]
fn who_cannot_be_dialled_serves_through_a_relay() {
    let mut world = World::new();
    let relay = add_relay(&mut world, &[]);
    let seeder = add_walled(&mut world, &[relay]);
    let client = add_walled(&mut world, &[relay]);
    world.until("a place", |world| !relays_of(world, seeder).is_empty());
    assert_eq!(relays_of(&world, seeder), [world.key(relay)]);
    let (link, share) = publish(&mut world, seeder);
    begin(&mut world, client, link, share);
    finish(&mut world, client);
    assert_eq!(via(&world, client, seeder), Some(world.key(relay)));
}

/// Where a node cannot be dialled anyway leaves room for where it can be asked for.
#[test]
fn who_cannot_be_dialled_at_any_of_many_interfaces_serves_through_relays() {
    let mut world = World::new();
    let relays: Vec<usize> = (0..3).map(|_| add_relay(&mut world, &[])).collect();
    let seeder = world.add_with(&relays, |config| config.bound_ips.clear());
    world.hosts[seeder].walled = true;
    let client = add_walled(&mut world, &relays[..1]);
    let interfaces = [1, 2, 3, 4].map(|last| IpAddr::V4(Ipv4Addr::new(192, 168, 7, last)));
    world.tell(seeder, HostEvent::Addresses(interfaces.into()));
    world.until("three places", |world| relays_of(world, seeder).len() == 3);
    let addresses = world.node(seeder).status().addresses;
    assert_eq!(addresses.len(), PUBLISHED_HINTS_MAX);
    let own: BTreeSet<IpAddr> = addresses
        .iter()
        .filter(|addr| addr.is_dialable())
        .map(|addr| addr.ip)
        .collect();
    // One more was observed.
    let near = own.iter().filter(|ip| interfaces.contains(ip));
    assert_eq!((own.len(), near.count()), (4, 3), "{addresses:?}");
    let (link, share) = publish(&mut world, seeder);
    let hinted: BTreeSet<NodeKey> = link.bootstrap.iter().filter_map(|hint| hint.key).collect();
    let led_to = relays.iter().chain([&seeder]);
    assert_eq!(hinted, led_to.map(|number| world.key(*number)).collect());
    begin(&mut world, client, link, share);
    finish(&mut world, client);
    let via = via(&world, client, seeder).expect("a circuit");
    assert!(relays.iter().any(|relay| world.key(*relay) == via));
    // Who has the catalog can be asked for it too, however many addresses the publisher has.
    let Ok(Reply::Link(link)) = world.run(client, Command::Link(share)) else {
        panic!("no link");
    };
    let hinted: BTreeSet<NodeKey> = link.bootstrap.iter().filter_map(|hint| hint.key).collect();
    assert!(hinted.contains(&world.key(client)), "{link:?}");
}

/// Where TCP is not listened on nobody says that it does not reach, and of QUIC only few can tell.
#[test]
fn who_listens_over_quic_alone_is_found_through_a_relay() {
    let mut world = World::new();
    let relay = add_relay(&mut world, &[]);
    let seeder = world.add_with(&[relay], |config| config.tcp_port = None);
    world.hosts[seeder].walled = true;
    world.until("a place", |world| !relays_of(world, seeder).is_empty());
    assert_eq!(relays_of(&world, seeder), [world.key(relay)]);
}

/// Datagrams go nowhere in some networks.
#[test]
fn one_of_several_relays_is_named_over_tcp() {
    let mut world = World::new();
    let relays = [add_relay(&mut world, &[]), add_relay(&mut world, &[])];
    let walled = add_walled(&mut world, &relays);
    world.until("two places", |world| relays_of(world, walled).len() == 2);
    world.pass(Duration::from_secs(60));
    let addresses = world.node(walled).status().addresses;
    let routes = addresses.iter().filter_map(|addr| addr.relay_via.as_ref());
    let over: Vec<Transport> = routes.map(|route| route.relay.transport).collect();
    assert_eq!(over, [Transport::Quic, Transport::Tcp]);
    assert_eq!(relays_of(&world, walled).len(), 2);
}

/// Others try the relays of a node in the order in which it names them.
#[test]
fn nodes_with_places_at_the_same_relays_are_asked_for_at_different_ones() {
    let mut world = World::new();
    let one = add_relay(&mut world, &[]);
    let other = add_relay(&mut world, &[one]);
    let walled: Vec<usize> = (0..8)
        .map(|_| add_walled(&mut world, &[one, other]))
        .collect();
    world.pass(Duration::from_secs(60));
    let relays = walled.iter().map(|number| relays_of(&world, *number));
    let relays: Vec<Vec<NodeKey>> = relays.collect();
    assert!(relays.iter().all(|of_one| of_one.len() == 2), "{relays:?}");
    let first: BTreeSet<NodeKey> = relays.iter().map(|of_one| of_one[0]).collect();
    assert_eq!(first, [one, other].map(|number| world.key(number)).into());
}

/// All envelopes that a link brought.
fn envelopes(stream: Vec<u8>) -> Vec<Envelope> {
    let mut frames = FrameReader::new(FRAME_MAX);
    frames.push(stream.into());
    let bodies = std::iter::from_fn(|| frames.next().expect("whole frames"));
    // Hellos are none.
    bodies
        .filter_map(|body| Envelope::decode(&body).ok())
        .collect()
}

/// What went on circuits, of all that a link brought.
fn carried(stream: Vec<u8>) -> Vec<u8> {
    const CIRCUIT_DATA: u16 = 633;
    let envelopes = envelopes(stream).into_iter();
    let data = envelopes.filter(|envelope| envelope.kind == CIRCUIT_DATA);
    data.flat_map(|envelope| envelope.payload.to_vec())
        .collect()
}

/// What a relay is asked as the peer that it is as well is another matter.
#[test]
fn a_relay_sees_nothing_of_what_it_carries() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let relay = add_relay(&mut world, &[hub]);
    let seeder = add_walled(&mut world, &[hub, relay]);
    let client = add_walled(&mut world, &[hub, relay]);
    world.until("a place", |world| !relays_of(world, seeder).is_empty());
    world.pass(Duration::from_secs(1));
    world.hosts[relay].brought = Some(BTreeMap::new());
    let (link, share) = publish(&mut world, seeder);
    begin(&mut world, client, link, share);
    finish(&mut world, client);
    assert_eq!(via(&world, client, seeder), Some(world.key(relay)));
    let brought = world.hosts[relay].brought.take().expect("recorded");
    let carried: Vec<u8> = brought.into_values().flat_map(carried).collect();
    assert!(carried.len() > SIZE, "it all went through the relay");
    let content = bytes(SIZE);
    let id = *blake3::hash(&content).as_bytes();
    let canaries = [&content[..16], &content[SIZE - 16..], &id, b"canary-name"];
    for canary in canaries {
        let is_there = carried.windows(canary.len()).any(|seen| seen == canary);
        assert!(!is_there, "{canary:?}");
    }
}

#[test]
fn when_a_relay_dies_a_download_goes_on_over_another() {
    let mut world = World::new();
    let one = add_relay(&mut world, &[]);
    let other = add_relay(&mut world, &[one]);
    let seeder = add_walled(&mut world, &[one, other]);
    let client = add_walled(&mut world, &[one, other]);
    world.until("two places", |world| relays_of(world, seeder).len() == 2);
    let (link, share) = publish(&mut world, seeder);
    begin(&mut world, client, link, share);
    world.until("some of it", |world| {
        world.node(client).downloads()[0].done > 0
    });
    let first = via(&world, client, seeder).expect("through a relay");
    let (dead, alive) = match first == world.key(one) {
        true => (one, other),
        false => (other, one),
    };
    // No transport tells of it for long.
    world.vanish(dead);
    world.pass(Duration::from_secs(5));
    assert_eq!(via(&world, client, seeder), Some(world.key(alive)));
    finish(&mut world, client);
    world.until("only the one", |world| {
        relays_of(world, seeder) == [world.key(alive)]
    });
    world.start(dead);
    world.pass(Duration::from_secs(10));
    assert_eq!(relays_of(&world, seeder).len(), 2, "the place is back");
}

/// Nothing is under way that would tell of it.
#[test]
fn a_relay_that_falls_silent_is_replaced_within_seconds() {
    let mut world = World::new();
    let relays: Vec<usize> = (0..4).map(|_| add_relay(&mut world, &[])).collect();
    let walled = add_walled(&mut world, &relays);
    world.until("three places", |world| relays_of(world, walled).len() == 3);
    world.pass(Duration::from_secs(120));
    let held = relays_of(&world, walled);
    let is_held = |number: &&usize| held.contains(&world.key(**number));
    let dead = *relays.iter().find(is_held).expect("one of them");
    let gone = world.key(dead);
    world.vanish(dead);
    world.pass(Duration::from_secs(5));
    assert_eq!(relays_of(&world, walled).len(), 3, "it may yet answer");
    world.pass(Duration::from_secs(13));
    let left = relays_of(&world, walled);
    assert!(left.len() == 3 && !left.contains(&gone), "{left:?}");
}

#[test]
fn a_place_that_nobody_uses_costs_a_ping_in_ten_seconds() {
    const PING: u16 = 600;
    let mut world = World::new();
    let relay = add_relay(&mut world, &[]);
    let walled = add_walled(&mut world, &[relay]);
    world.until("a place", |world| !relays_of(world, walled).is_empty());
    world.pass(Duration::from_secs(60));
    world.hosts[relay].brought = Some(BTreeMap::new());
    world.pass(Duration::from_secs(600));
    let brought = world.hosts[relay].brought.take().expect("recorded");
    let pings = brought.into_values().flat_map(envelopes);
    let pings = pings.filter(|envelope| envelope.kind == PING).count();
    assert!((20..=80).contains(&pings), "{pings} pings in ten minutes");
}

/// At which of these relays how many places are.
fn places_at(world: &World, relays: &[usize]) -> usize {
    let relays = relays.iter();
    let places = relays.map(|relay| world.node(*relay).relay().places.len());
    places.sum()
}

#[test]
fn a_node_tells_when_it_is_found_through_relays_and_when_no_longer() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let relay = add_relay(&mut world, &[hub]);
    let walled = add_walled(&mut world, &[hub, relay]);
    world.until("a place", |world| !relays_of(world, walled).is_empty());
    world.kill(relay);
    world.pass(Duration::from_secs(1));
    let mut states = Vec::new();
    for event in &world.hosts[walled].events {
        if let Event::Reachability(reach) = event {
            states.push(reach.state());
        }
    }
    states.dedup();
    let (alone, found) = (ReachState::OutboundOnly, ReachState::Relayed);
    assert_eq!(states, [alone, found, alone]);
    let status = world.node(walled).status().reachability;
    assert_eq!((status.state(), status.relays), (alone, 0));
}

#[test]
fn places_are_in_different_networks_where_there_are_relays_in_several() {
    let mut world = World::new();
    let relays = [1, 1, 1, 1, 1, 2, 3].into_iter().enumerate();
    let relays = relays.map(|(number, network)| {
        let at = Ipv4Addr::new(20, network, number as u8, 1).into();
        world.add_at(at, &[], |config| {
            config.relay = Some(limits());
            config.capabilities.relay = true;
        })
    });
    let relays: Vec<usize> = relays.collect();
    let walled = add_walled(&mut world, &relays);
    world.until("three places", |world| relays_of(world, walled).len() == 3);
    assert_eq!(places_at(&world, &relays[..5]), 1);
    assert_eq!(places_at(&world, &relays[5..]), 2);
}

/// Whichever relay carries a download dies without a word, three times. Each time it stands still for some seconds only.
#[test]
fn a_download_pauses_for_seconds_whenever_its_relay_dies() {
    const PAUSE_MAX: Duration = Duration::from_secs(5);
    let mut world = World::new();
    let mut limits = limits();
    limits.rate_total = Some(512 * 1024);
    let relays: Vec<usize> = (0..3)
        .map(|_| add_relay_with(&mut world, &[], limits.clone()))
        .collect();
    let seeder = add_walled(&mut world, &relays);
    let client = add_walled(&mut world, &relays);
    world.until("three places", |world| relays_of(world, seeder).len() == 3);
    let (link, share) = publish(&mut world, seeder);
    begin(&mut world, client, link, share);
    world.until("some of it", |world| {
        world.node(client).downloads()[0].done > 0
    });
    let (mut dead, mut deaths) = (None, 0);
    let (mut before, mut since, mut longest) = (0, world.now, Duration::ZERO);
    while world.node(client).downloads()[0].state != DownloadState::Finished {
        world.pass(Duration::from_millis(20));
        let done = world.node(client).downloads()[0].done;
        if done != before {
            longest = longest.max(world.now.since(since));
            (before, since) = (done, world.now);
        }
        assert!(
            world.now.since(since) < PAUSE_MAX,
            "death {deaths}: it stands still at {done} bytes"
        );
        if deaths < 3 && done as usize > SIZE * (deaths + 1) / 5 {
            let carrier = via(&world, client, seeder).expect("through a relay");
            let carrier = *relays
                .iter()
                .find(|relay| world.key(**relay) == carrier)
                .expect("one of the relays");
            if let Some(dead) = dead.replace(carrier) {
                world.start(dead);
            }
            world.vanish(carrier);
            deaths += 1;
        }
    }
    assert_eq!(deaths, 3);
    assert!(
        longest > Duration::from_secs(1),
        "{longest:?}: a death is felt"
    );
    finish(&mut world, client);
}

/// A publisher and a subscriber that nobody can dial, and a relay.
struct Pair {
    world: World,
    relay: usize,
    seeder: usize,
    client: usize,
    link: ShareLink,
    share: ShareId,
}

fn pair(limits: RelayLimits) -> Pair {
    let mut world = World::new();
    let relay = add_relay_with(&mut world, &[], limits);
    let seeder = add_walled(&mut world, &[relay]);
    let client = add_walled(&mut world, &[relay]);
    world.until("a place", |world| !relays_of(world, seeder).is_empty());
    let (link, share) = publish(&mut world, seeder);
    Pair {
        world,
        relay,
        seeder,
        client,
        link,
        share,
    }
}

#[test]
fn a_relay_for_control_passes_catalogs_and_no_content() {
    let mut pair = pair(RelayLimits::default());
    begin(&mut pair.world, pair.client, pair.link, pair.share);
    pair.world.pass(Duration::from_secs(120));
    let relayed = pair.world.key(pair.relay);
    assert_eq!(via(&pair.world, pair.client, pair.seeder), Some(relayed));
    let download = &pair.world.node(pair.client).downloads()[0];
    assert_eq!((download.done, download.peers.len()), (0, 0));
    let passed = pair.world.node(pair.relay).relay().totals.bytes;
    assert!(passed < 100_000, "{passed} bytes");
    // They can meet elsewhere.
    pair.world.hosts[pair.seeder].walled = false;
    pair.world.kill(pair.relay);
    finish(&mut pair.world, pair.client);
}

#[test]
fn who_met_over_a_relay_for_control_goes_on_over_one_for_content() {
    let mut pair = pair(RelayLimits::default());
    begin(&mut pair.world, pair.client, pair.link, pair.share);
    let other = add_relay(&mut pair.world, &[pair.relay]);
    finish(&mut pair.world, pair.client);
    let over = pair.world.key(other);
    assert_eq!(via(&pair.world, pair.client, pair.seeder), Some(over));
    let passed = pair.world.node(pair.relay).relay().totals.bytes;
    assert!(passed < 200_000, "{passed} bytes");
}

#[test]
fn a_relay_keeps_to_its_rate() {
    const RATE: u32 = 200_000;
    let mut pair = pair(RelayLimits {
        rate_total: Some(RATE),
        ..limits()
    });
    let before = pair.world.now;
    begin(&mut pair.world, pair.client, pair.link, pair.share);
    finish(&mut pair.world, pair.client);
    let took = pair.world.now.since(before).as_secs();
    // One second's worth may be ahead, and it looks to the download only now and then.
    let least = SIZE as u64 / u64::from(RATE) - 1;
    assert!((least..3 * least).contains(&took), "{took} s");
}

/// A chunk takes 13 s here, longer than anybody waits for one at first.
#[test]
fn what_comes_slowly_is_waited_for() {
    const RATE: u32 = 20_000;
    let mut pair = pair(RelayLimits {
        rate_total: Some(RATE),
        ..limits()
    });
    begin(&mut pair.world, pair.client, pair.link, pair.share);
    pair.world.pass(Duration::from_secs(240));
    let done = pair.world.node(pair.client).downloads()[0].done;
    assert!(done > 2 << 20, "{done} bytes in four minutes");
}

#[test]
fn who_used_up_a_quota_goes_on_over_another_relay() {
    let mut pair = pair(RelayLimits {
        hourly_per_ip: Some(500_000),
        ..limits()
    });
    begin(&mut pair.world, pair.client, pair.link, pair.share);
    pair.world.pass(Duration::from_secs(60));
    let passed = pair.world.node(pair.relay).relay().totals.bytes;
    assert!((500_000..1_300_000).contains(&passed), "{passed} bytes");
    let state = pair.world.node(pair.client).downloads()[0].state;
    assert_eq!(state, DownloadState::Running);
    let other = add_relay(&mut pair.world, &[pair.relay]);
    finish(&mut pair.world, pair.client);
    assert!(pair.world.node(other).relay().totals.bytes > 1_000_000);
}

#[test]
fn a_relay_with_a_list_gives_places_to_those_on_it() {
    let mut world = World::new();
    let relay = add_relay(&mut world, &[]);
    let (one, other) = (
        add_walled(&mut world, &[relay]),
        add_walled(&mut world, &[relay]),
    );
    let listed = RelayLimits {
        allowed: Some([world.key(one)].into()),
        ..limits()
    };
    assert_eq!(world.run(relay, Command::SetRelay(listed)), Ok(Reply::Ok));
    world.pass(Duration::from_secs(60));
    let places = world.node(relay).relay().places;
    let peers: Vec<NodeKey> = places.iter().map(|place| place.peer).collect();
    assert_eq!(peers, [world.key(one)]);
    assert_eq!(relays_of(&world, one), [world.key(relay)]);
    assert!(relays_of(&world, other).is_empty());
}

/// A pair that downloads over a circuit, both with a place.
fn used() -> Pair {
    let mut pair = pair(limits());
    begin(&mut pair.world, pair.client, pair.link.clone(), pair.share);
    let relay = pair.relay;
    pair.world.until("a circuit", |world| {
        let relay = world.node(relay).relay();
        relay.places.len() == 2 && relay.circuits.len() == 1
    });
    pair
}

/// A reload, say: who may have a place no more is told by the end of the session, as there is no other word for it.
#[test]
fn who_is_taken_off_the_list_loses_its_place_and_its_circuits_at_once() {
    let mut pair = used();
    let (seeder, client) = (pair.world.key(pair.seeder), pair.world.key(pair.client));
    let mut listed = RelayLimits {
        allowed: Some([seeder, client].into()),
        ..limits()
    };
    let set = Command::SetRelay(listed.clone());
    pair.world.run(pair.relay, set).expect("set");
    let relay = pair.world.node(pair.relay).relay();
    assert_eq!((relay.places.len(), relay.circuits.len()), (2, 1));
    listed.allowed = Some([seeder].into());
    let set = Command::SetRelay(listed.clone());
    pair.world.run(pair.relay, set).expect("set");
    let places = pair.world.node(pair.relay).relay().places;
    let peers: Vec<NodeKey> = places.iter().map(|place| place.peer).collect();
    assert_eq!(peers, [seeder]);
    pair.world.pass(Duration::from_secs(1));
    assert!(relays_of(&pair.world, pair.client).is_empty());
    listed.allowed = Some([].into());
    pair.world
        .run(pair.relay, Command::SetRelay(listed))
        .expect("set");
    let relay = pair.world.node(pair.relay).relay();
    assert_eq!((relay.places.len(), relay.circuits.len()), (0, 0));
    pair.world.pass(Duration::from_secs(60));
    assert!(relays_of(&pair.world, pair.seeder).is_empty());
    assert_eq!(via(&pair.world, pair.client, pair.seeder), None);
}

#[test]
fn circuits_for_content_end_when_a_relay_takes_none_any_more() {
    let mut pair = used();
    let control = RelayLimits::default();
    pair.world
        .run(pair.relay, Command::SetRelay(control.clone()))
        .expect("set");
    assert_eq!(circuits(&pair), 0);
    let places = pair.world.node(pair.relay).relay().places;
    assert_eq!(places.len(), 2, "places are for control too");
    let relay = pair.world.key(pair.relay);
    pair.world.until("a circuit for control", |world| {
        via(world, pair.client, pair.seeder) == Some(relay)
    });
    pair.world
        .run(pair.relay, Command::SetRelay(control))
        .expect("set");
    assert_eq!(circuits(&pair), 1, "it would not be refused");
}

#[test]
fn the_newest_places_and_circuits_end_when_a_relay_has_room_for_fewer() {
    let mut pair = used();
    let fewer = RelayLimits {
        reservations_max: 1,
        circuits_max: 0,
        ..limits()
    };
    pair.world
        .run(pair.relay, Command::SetRelay(fewer))
        .expect("set");
    let left = pair.world.node(pair.relay).relay();
    let oldest = pair.world.key(pair.seeder);
    assert_eq!((left.places.len(), left.circuits.len()), (1, 0));
    assert_eq!(left.places[0].peer, oldest);
}

/// What is under way goes on.
#[test]
fn a_relay_that_is_about_to_stop_keeps_the_circuits_that_are_there() {
    let mut pair = pair(limits());
    begin(&mut pair.world, pair.client, pair.link.clone(), pair.share);
    pair.world.until("some of it", |world| {
        world.node(pair.client).downloads()[0].done > 0
    });
    let none = RelayLimits {
        closing: true,
        ..limits()
    };
    pair.world
        .run(pair.relay, Command::SetRelay(none))
        .expect("set");
    let late = add_walled(&mut pair.world, &[pair.relay]);
    pair.world
        .run(late, Command::Subscribe(pair.link))
        .expect("subscribed");
    finish(&mut pair.world, pair.client);
    pair.world.pass(Duration::from_secs(10));
    let circuits = pair.world.node(pair.relay).relay().circuits;
    assert_eq!(circuits.len(), 1, "{circuits:?}");
    assert!(relays_of(&pair.world, late).is_empty());
    assert_eq!(via(&pair.world, late, pair.seeder), None);
}

fn circuits(pair: &Pair) -> usize {
    pair.world.node(pair.relay).relay().circuits.len()
}

/// Longer than a circuit stays that nobody uses.
const LONG: Duration = Duration::from_secs(420);

/// A pair of which one knows where the other is from nothing but what it looked up, as a link without addresses has no
/// peers in it to be connected with, and follows its share no more.
fn strangers(limits: RelayLimits) -> Pair {
    let mut pair = pair(limits);
    pair.link.bootstrap.clear();
    begin(&mut pair.world, pair.client, pair.link.clone(), pair.share);
    let unsubscribe = Command::Unsubscribe(pair.share);
    let unsubscribed = pair.world.run(pair.client, unsubscribe);
    assert_eq!(unsubscribed, Ok(Reply::Ok));
    pair
}

#[test]
fn a_circuit_ends_when_it_is_used_no_more_and_not_before() {
    let mut pair = strangers(RelayLimits {
        rate_total: Some(40_000),
        ..limits()
    });
    pair.world.pass(Duration::from_secs(60));
    finish(&mut pair.world, pair.client);
    pair.world.pass(Duration::from_secs(270));
    let shown = pair.world.node(pair.relay).relay().circuits;
    let ages: Vec<u64> = shown.iter().map(|it| it.age.as_secs()).collect();
    assert!(ages.len() == 1 && ages[0] > 330, "{ages:?}");
    pair.world.pass(LONG);
    assert_eq!(circuits(&pair), 0);
    assert_eq!(via(&pair.world, pair.client, pair.seeder), None);
    // Few as their sessions are, they do not meet over a relay only to know more peers.
    pair.world.pass(LONG);
    let totals = pair.world.node(pair.relay).relay().totals;
    assert_eq!(totals.circuits, 1);
}

#[test]
fn a_circuit_to_whom_a_share_is_followed_from_stays() {
    let mut pair = pair(limits());
    pair.link.bootstrap.clear();
    begin(&mut pair.world, pair.client, pair.link.clone(), pair.share);
    finish(&mut pair.world, pair.client);
    pair.world.pass(2 * LONG);
    assert_eq!(circuits(&pair), 1);
}

#[test]
fn a_circuit_that_ended_leaves_its_room_to_others() {
    let mut pair = strangers(RelayLimits {
        circuits_max: 1,
        ..limits()
    });
    finish(&mut pair.world, pair.client);
    let late = add_walled(&mut pair.world, &[pair.relay]);
    let link = pair.link.clone();
    pair.world
        .run(late, Command::Subscribe(link))
        .expect("subscribed");
    pair.world.pass(Duration::from_secs(60));
    assert_eq!(
        via(&pair.world, late, pair.seeder),
        None,
        "there is no room"
    );
    pair.world.pass(2 * LONG);
    let relay = pair.world.key(pair.relay);
    assert_eq!(via(&pair.world, late, pair.seeder), Some(relay));
    assert_eq!(pair.world.node(late).subscriptions()[0].seq, 1);
}

#[test]
fn who_parted_meets_again_over_a_circuit_when_something_is_wanted() {
    let mut pair = strangers(limits());
    finish(&mut pair.world, pair.client);
    pair.world.pass(LONG);
    assert_eq!(circuits(&pair), 0);
    let disk = &mut pair.world.hosts[pair.seeder].disk;
    disk.put("/more/other-name", vec![7; SIZE]);
    let publish = Publish::new("more", vec![LocalPath("/more".into())]);
    let (mut link, share) = match pair.world.run(pair.seeder, Command::Publish(publish)) {
        Ok(Reply::Published { link, share, .. }) => (link, share),
        other => panic!("{other:?}"),
    };
    link.bootstrap.clear();
    begin(&mut pair.world, pair.client, link, share);
    pair.world.until("the other file", |world| {
        let got = world.hosts[pair.client].disk.file("/got/more/other-name");
        got == Some(&vec![7; SIZE][..])
    });
    let relay = pair.world.key(pair.relay);
    assert_eq!(via(&pair.world, pair.client, pair.seeder), Some(relay));
}
