//! A share is published, followed, revised: what every subscriber sees.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, CommandError, Publish, Reply};
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::{Cause, Subject};

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

fn names(world: &World, number: usize) -> Vec<String> {
    let shares = world.node(number).shares().into_iter();
    shares.map(|share| share.name).collect()
}

/// What the other share has of the same files is still served.
#[test]
fn an_unpublished_share_is_gone_until_it_is_published_again() {
    let mut world = World::new();
    let publisher = world.add(&[]);
    for (path, text) in [("/files/a", "one"), ("/files/b", "two"), ("/more/a", "one")] {
        world.hosts[publisher].disk.put(path, text);
    }
    let (_, link) = publish(&mut world, publisher, "share", "/files");
    publish(&mut world, publisher, "other", "/more");
    let share = link.share();
    assert_eq!(world.node(publisher).status().sources, 2);
    let unpublished = world.run(publisher, Command::Unpublish(share));
    assert_eq!(unpublished, Ok(Reply::Ok));
    for restarts in 0..2 {
        if restarts > 0 {
            world.kill(publisher);
            world.start(publisher);
        }
        world.pass(Duration::from_secs(1));
        assert_eq!(names(&world, publisher), ["other"]);
        let status = world.node(publisher).status();
        assert_eq!((status.shares, status.sources), (1, 1));
        let why = world.node(publisher).why(Subject::Share(share));
        assert_eq!(why, [Cause::Unknown]);
        for command in [
            Command::Unpublish(share),
            Command::Link(share),
            Command::Browse(share),
        ] {
            let result = world.run(publisher, command);
            assert_eq!(result, Err(CommandError::UnknownShare));
        }
    }
    let (seq, again) = publish(&mut world, publisher, "share", "/files");
    assert_eq!((seq, again.key), (2, link.key));
    assert_eq!(names(&world, publisher), ["other", "share"]);
    assert_eq!(world.node(publisher).status().sources, 2);
}

#[test]
fn who_follows_an_unpublished_share_gets_what_is_published_later() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let publisher = world.add(&[hub]);
    let subscriber = world.add(&[hub]);
    world.hosts[publisher].disk.put("/files/a", "one");
    world.pass(Duration::from_secs(2));
    let (_, link) = publish(&mut world, publisher, "share", "/files");
    world
        .run(subscriber, Command::Subscribe(link.clone()))
        .expect("subscribed");
    world.until("the first revision", |world| seq(world, subscriber) == 1);
    world
        .run(publisher, Command::Unpublish(link.share()))
        .expect("unpublished");
    world.kill(publisher);
    world.start(publisher);
    world.pass(Duration::from_secs(60));
    assert_eq!(seq(&world, subscriber), 1, "it keeps what it has");
    assert_eq!(world.node(publisher).status().sources, 0);
    let (second, _) = publish(&mut world, publisher, "share", "/files");
    world.until("the next revision", |world| {
        seq(world, subscriber) == second
    });
}

#[test]
fn a_share_is_not_published_and_unpublished_at_once() {
    let mut world = World::new();
    let publisher = world.add(&[]);
    world.hosts[publisher].disk.put("/files/a", "one");
    let (_, link) = publish(&mut world, publisher, "share", "/files");
    let again = || Publish::new("share", vec![LocalPath("/files".into())]);
    let first = world.give(publisher, Command::Publish(again()));
    let busy = world.run(publisher, Command::Unpublish(link.share()));
    assert_eq!(busy, Err(CommandError::Busy));
    world.until("the revision", |world| {
        world.hosts[publisher].done.contains_key(&first)
    });
    world.give(publisher, Command::Unpublish(link.share()));
    let busy = world.run(publisher, Command::Publish(again()));
    assert_eq!(busy, Err(CommandError::Busy));
    world.pass(Duration::from_secs(1));
    assert_eq!(publish(&mut world, publisher, "share", "/files"), (3, link));
}

/// A node ends sessions of no use beyond those that it keeps if the other end agrees. Nobody doubts then that the other is
/// there, and who follows a share keeps the session over which it hears of revisions.
#[test]
fn idle_sessions_end_and_those_of_followers_stay() {
    const KEPT: u32 = 4;
    let mut world = World::new();
    let hub = world.add(&[]);
    let others: Vec<usize> = (0..12)
        .map(|_| world.add_with(&[hub], |config| config.sessions_kept = KEPT))
        .collect();
    let connected = |world: &World, number| world.node(number).status().connected;
    world.until("everybody is connected", |world| {
        others.iter().all(|number| connected(world, *number) == 12)
    });
    let (publisher, subscriber) = (others[2], others[7]);
    world.hosts[publisher].disk.put("/files/a", "one");
    let (_, link) = publish(&mut world, publisher, "share", "/files");
    world
        .run(subscriber, Command::Subscribe(link))
        .expect("subscribed");
    world.pass(Duration::from_secs(60));
    // Both ask and tell the whole network of the share every minute.
    let idle = others
        .iter()
        .filter(|number| **number != publisher && **number != subscriber);
    world.until("few sessions are left", |world| {
        idle.clone()
            .all(|number| connected(world, *number) <= KEPT + 2)
    });
    assert_eq!(connected(&world, hub), 12, "all start from the hub");
    for number in &others {
        assert_eq!(world.node(*number).status().contacts, 12);
    }
    world.hosts[publisher].disk.put("/files/b", "two");
    let before = world.now;
    publish(&mut world, publisher, "share", "/files");
    world.until("the second revision", |world| seq(world, subscriber) == 2);
    let took = world.now.since(before);
    assert!(took < Duration::from_secs(1), "it was pushed");
}
