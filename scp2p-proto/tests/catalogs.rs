//! A share is published, followed, revised: what every subscriber sees.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, CommandError, Publish, Reply};
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;

fn publish(world: &mut World, number: usize, name: &str, path: &str) -> (u64, ShareLink) {
    let publish = Publish {
        title: Some("Title".into()),
        ..Publish::new(name, vec![LocalPath(path.into())])
    };
    match world.run(number, Command::Publish(publish)) {
        Ok(Reply::Published { seq, link, .. }) => (seq, link),
        other => panic!("{other:?}"),
    }
}

fn seq(world: &World, number: usize) -> u64 {
    world
        .node(number)
        .subscriptions()
        .first()
        .map_or(0, |view| view.seq)
}

#[test]
fn a_subscriber_gets_the_catalog_and_the_next_revision_by_itself() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let publisher = world.add(&[hub]);
    let subscriber = world.add(&[hub]);
    world.hosts[publisher].disk.put("/files/a", "one");
    world.pass(Duration::from_secs(2));
    let (first, link) = publish(&mut world, publisher, "share", "/files");
    assert_eq!(first, 1);
    world
        .run(subscriber, Command::Subscribe(link.clone()))
        .expect("subscribed");
    world.until("the first revision", |world| seq(world, subscriber) == 1);
    world.hosts[publisher].disk.put("/files/b", "two");
    let before = world.now;
    assert_eq!(publish(&mut world, publisher, "share", "/files"), (2, link));
    world.until("the second revision", |world| seq(world, subscriber) == 2);
    assert!(
        world.now.since(before) < Duration::from_secs(5),
        "it was pushed"
    );
}

#[test]
fn a_share_outlives_its_publisher() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let publisher = world.add(&[hub]);
    world.hosts[publisher].disk.put("/files/a", "one");
    world.pass(Duration::from_secs(2));
    let (_, link) = publish(&mut world, publisher, "share", "/files");
    world.pass(Duration::from_secs(10));
    world.kill(publisher);
    let subscriber = world.add(&[hub]);
    world
        .run(subscriber, Command::Subscribe(link))
        .expect("subscribed");
    world.until("the catalog out of the DHT", |world| {
        seq(world, subscriber) == 1
    });
}

#[test]
fn a_restarted_publisher_goes_on_with_the_next_number() {
    let mut world = World::new();
    let publisher = world.add(&[]);
    world.hosts[publisher].disk.put("/files/a", "one");
    let (_, link) = publish(&mut world, publisher, "share", "/files");
    world.kill(publisher);
    world.start(publisher);
    let (next, again) = publish(&mut world, publisher, "share", "/files");
    assert!(next > 1);
    assert_eq!(link.key, again.key);
}

#[test]
fn what_is_not_there_is_not_published() {
    let mut world = World::new();
    let publisher = world.add(&[]);
    let missing = Publish::new("share", vec![LocalPath("/nothing".into())]);
    let result = world.run(publisher, Command::Publish(missing));
    assert!(matches!(result, Err(CommandError::Store(_))), "{result:?}");
}
