//! What a node tells of itself: counters, and why something is not done.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::limits::LOOKUPS_REMEMBERED_MAX;
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::LookupKind;

fn publish(world: &mut World, number: usize) -> ShareLink {
    world.hosts[number].disk.put("/files/a", vec![7; 1_000_000]);
    let publish = Publish::new("share", vec![LocalPath("/files".into())]);
    match world.run(number, Command::Publish(publish)) {
        Ok(Reply::Published { link, .. }) => link,
        other => panic!("{other:?}"),
    }
}

fn get(world: &mut World, number: usize, link: &ShareLink) {
    let get = Get {
        what: GetWhat::Share {
            share: link.share(),
            path: None,
        },
        root: LocalPath("/got".into()),
    };
    world.run(number, Command::Get(get)).expect("started");
}

#[test]
fn every_lookup_is_counted_once_and_can_be_read_once() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let publisher = world.add(&[hub]);
    world.pass(Duration::from_secs(2));
    let link = publish(&mut world, publisher);
    let subscriber = world.add(&[hub]);
    world
        .run(subscriber, Command::Subscribe(link))
        .expect("subscribed");
    let (mut read, mut found_a_head, mut queries) = (0, false, 0);
    for _ in 0..600 {
        world.pass(Duration::from_secs(10));
        let stats = world.node(subscriber).stats();
        assert!(stats.lookups.len() <= LOOKUPS_REMEMBERED_MAX);
        for lookup in stats.lookups {
            if lookup.number > read {
                assert_eq!(lookup.number, read + 1);
                read = lookup.number;
                queries += u64::from(lookup.queries);
                assert!(lookup.answers <= lookup.queries);
                assert!(lookup.hops <= lookup.answers);
                found_a_head |= lookup.kind == LookupKind::Head && lookup.found;
            }
        }
    }
    let stats = world.node(subscriber).stats();
    let counts = [stats.find_node, stats.find_value];
    let ended: u64 = counts.iter().map(|one| one.succeeded + one.failed).sum();
    let begun: u64 = counts.iter().map(|one| one.begun).sum();
    assert!(ended == read && begun >= ended && read > LOOKUPS_REMEMBERED_MAX as u64);
    assert_eq!(counts.iter().map(|one| one.queries).sum::<u64>(), queries);
    assert!(found_a_head && stats.find_value.took > Duration::ZERO);
}

#[test]
fn what_one_end_counts_the_other_counts_too() {
    let mut world = World::new();
    let publisher = world.add(&[]);
    let subscriber = world.add(&[publisher]);
    world.pass(Duration::from_secs(2));
    let link = publish(&mut world, publisher);
    world
        .run(subscriber, Command::Subscribe(link.clone()))
        .expect("subscribed");
    world.until("the catalog", |world| {
        world.node(subscriber).subscriptions()[0].seq == 1
    });
    get(&mut world, subscriber, &link);
    world.until("the files", |world| {
        world.node(subscriber).status().downloads == 0
    });
    world.pass(Duration::from_secs(1));
    let (here, there) = (
        world.node(subscriber).stats(),
        world.node(publisher).stats(),
    );
    assert_eq!((here.downloaded, there.uploaded), (1_000_000, 1_000_000));
    assert!(here.sessions_outbound >= 1 && there.sessions_inbound >= here.sessions_outbound);
    // The end that dialled counts the last message of the handshake as sent.
    let handshakes = 1000 * here.sessions_outbound;
    assert_eq!(here.received, there.sent);
    assert!((there.received..there.received + handshakes).contains(&here.sent));
    assert!(here.received > 1_000_000 && there.requests_answered > 4);
    assert_eq!(there.stores_sent, there.stores_acknowledged);
    assert!(there.stores_sent > 0);

    world.vanish(publisher);
    world.pass(Duration::from_secs(120));
    assert!(world.node(subscriber).stats().dials_failed > 0);
}
