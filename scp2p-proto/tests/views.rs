//! What a node tells of itself: counters, and why something is not done.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::id::{DownloadId, NodeKey, ShareId};
use scp2p_proto::limits::LOOKUPS_REMEMBERED_MAX;
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::{Cause, DownloadCause, LookupKind, PeerCause, ShareCause, Subject};

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

#[test]
fn a_share_says_why_nobody_knows_of_it() {
    let mut world = World::new();
    let publisher = world.add(&[1]);
    let link = publish(&mut world, publisher);
    world.pass(Duration::from_secs(10));
    let why = |world: &World| world.node(publisher).why(Subject::Share(link.share()));
    let unheard = |cause: &Cause| matches!(cause, Cause::Share(ShareCause::Unheard { .. }));
    assert!(why(&world).iter().any(unheard));
    assert!(why(&world).iter().any(|cause| cause.until().is_some()));
    world.add(&[publisher]);
    world.until("the announcement", |world| why(world).is_empty());
}

#[test]
fn a_download_says_what_it_waits_for() {
    let mut world = World::new();
    let hub = world.add(&[]);
    let publisher = world.add(&[hub]);
    world.pass(Duration::from_secs(2));
    let link = publish(&mut world, publisher);
    let subscriber = world.add(&[hub]);
    world
        .run(subscriber, Command::Subscribe(link.clone()))
        .expect("subscribed");
    world.until("the catalog", |world| {
        world.node(subscriber).subscriptions()[0].seq == 1
    });
    world.kill(publisher);
    world.pass(Duration::from_secs(40));
    get(&mut world, subscriber, &link);
    let why = |world: &World| {
        let id = world.node(subscriber).downloads()[0].id;
        world.node(subscriber).why(Subject::Download(id))
    };
    let says = |world: &World, what: &dyn Fn(&DownloadCause) -> bool| {
        let causes = why(world);
        causes
            .iter()
            .any(|cause| matches!(cause, Cause::Download(cause) if what(cause)))
    };
    world.until("the lookup", |world| {
        says(world, &|cause| {
            matches!(cause, DownloadCause::LookingUp { .. })
        })
    });
    world.pass(Duration::from_secs(30));
    assert!(says(&world, &|cause| *cause
        == DownloadCause::NoSource { files: 1 }));
    assert!(says(&world, &|cause| matches!(
        cause,
        DownloadCause::RetryAt(_)
    )));
    let text = world.node(subscriber).downloads()[0].waiting.clone();
    assert!(text.expect("a reason").contains("no connected peer"));

    let publisher_key = world.key(publisher);
    let cause = |world: &World| world.node(subscriber).why(Subject::Peer(publisher_key));
    world.until("a pause between dials", |world| {
        let paused = |cause: &Cause| matches!(cause, Cause::Peer(PeerCause::BackOff { .. }));
        cause(world).iter().any(paused)
    });
    world.start(publisher);
    world.until("chunks being asked for", |world| {
        says(world, &|cause| {
            matches!(cause, DownloadCause::WaitingForChunks { .. })
        })
    });
    let connected = Cause::Peer(PeerCause::Connected { callable: true });
    assert_eq!(cause(&world), [connected]);
    world.until("the end", |world| why(world).is_empty());
}

#[test]
fn what_is_not_there_is_unknown() {
    let mut world = World::new();
    let node = world.add(&[]);
    let share = ShareId([1; 32]);
    for subject in [
        Subject::Download(DownloadId(1)),
        Subject::Share(share),
        Subject::Subscription(share),
    ] {
        assert_eq!(world.node(node).why(subject), [Cause::Unknown]);
    }
    let stranger = Subject::Peer(NodeKey([1; 32]));
    assert_eq!(
        world.node(node).why(stranger),
        [Cause::Peer(PeerCause::Unknown)]
    );
}
