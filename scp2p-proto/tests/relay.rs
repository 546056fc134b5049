//! Peers that nobody can dial, and relays between them.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::config::RelayLimits;
use scp2p_proto::id::{NodeKey, ShareId};
use scp2p_proto::limits::FRAME_MAX;
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::{DownloadState, Reach};
use scp2p_proto::wire::{Envelope, FrameReader};

const SIZE: usize = 3_000_000;

/// No two of its first bytes' sequences are alike, so that any part of it is known by a few of them.
fn bytes(size: usize) -> Vec<u8> {
    let mut numbers = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; size];
    numbers.fill(&mut bytes);
    bytes
}

fn add_relay(world: &mut World, bootstrap: &[usize]) -> usize {
    world.add_with(bootstrap, |config| {
        config.relay = Some(RelayLimits::default());
        config.capabilities.relay = true;
    })
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

/// What went on circuits, of all that a link brought.
fn carried(stream: Vec<u8>) -> Vec<u8> {
    const CIRCUIT_DATA: u16 = 633;
    let mut frames = FrameReader::new(FRAME_MAX);
    frames.push(stream.into());
    let bodies = std::iter::from_fn(|| frames.next().expect("whole frames"));
    // Hellos are none.
    let envelopes = bodies.filter_map(|body| Envelope::decode(&body).ok());
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
    world.kill(dead);
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
