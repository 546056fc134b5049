//! What the DHT keeps, and for how long.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Publish, Reply};
use scp2p_proto::storage::LocalPath;

#[test]
fn a_share_is_found_days_after_its_last_revision() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let publisher = world.add(&[hub]);
    world.hosts[publisher].disk.put("/files/a", "one");
    world.pass(Duration::from_secs(2));
    let publish = Publish::new("share", vec![LocalPath("/files".into())]);
    let link = match world.run(publisher, Command::Publish(publish)) {
        Ok(Reply::Published { link, .. }) => link,
        other => panic!("{other:?}"),
    };
    // Longer than a stored value lives by itself.
    world.pass(Duration::from_secs(40 * 3600));
    world.kill(publisher);
    let subscriber = world.add(&[hub]);
    world
        .run(subscriber, Command::Subscribe(link))
        .expect("subscribed");
    world.until("the catalog out of the DHT", |world| {
        let subscriptions = world.node(subscriber).subscriptions();
        subscriptions.first().is_some_and(|view| view.seq == 1)
    });
}

#[test]
fn a_contact_that_left_and_dials_us_is_one_again() {
    let mut world = World::new();
    let stays = world.add(&[]);
    let returns = world.add(&[stays]);
    let contacts = |world: &World| world.node(stays).status().contacts;
    world.until("the peer is reached where it listens", |world| {
        contacts(world) == 1
    });
    world.kill(returns);
    world.until("the peer is forgotten", |world| contacts(world) == 0);
    world.start(returns);
    world.until("the peer is a contact", |world| contacts(world) == 1);
}
