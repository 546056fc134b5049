//! Peers that nobody can dial, and relays between them.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::config::RelayLimits;
use scp2p_proto::id::{NodeKey, ShareId};
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::{DownloadState, Reach};

const SIZE: usize = 3_000_000;

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8).collect()
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
    world.hosts[number].disk.put("/files/one", bytes(SIZE));
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
    world.pass(Duration::from_secs(30));
    let id = world.node(number).downloads()[0].id;
    eprintln!(
        "{:?}\n{:#?}",
        world
            .node(number)
            .why(scp2p_proto::view::Subject::Download(id)),
        world.node(number).peers()
    );
    world.until("the download", |world| {
        world.node(number).downloads()[0].state == DownloadState::Finished
    });
    let got = world.hosts[number].disk.file("/got/files/one");
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
