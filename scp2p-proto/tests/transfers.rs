//! Downloads between nodes: every byte right, whoever serves it.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::World;
use scp2p_proto::command::{Command, CommandError, Get, GetWhat, Publish, Reply};
use scp2p_proto::event::Event;
use scp2p_proto::id::{DownloadId, ShareId};
use scp2p_proto::storage::{LocalPath, Table};
use scp2p_proto::view::{Cause, DownloadCause, DownloadState, DownloadView, Subject};

const SIZES: [usize; 6] = [0, 1, 262_143, 262_144, 262_145, 3_000_000];

fn bytes(size: usize, salt: u8) -> Vec<u8> {
    (0..size).map(|place| (place % 251) as u8 ^ salt).collect()
}

/// A hub, a publisher of one file of each size, and a subscriber that has the catalog.
fn published(world: &mut World) -> (usize, usize, usize, ShareId) {
    let hub = world.add(&[]);
    let publisher = world.add(&[hub]);
    for size in SIZES {
        world.hosts[publisher]
            .disk
            .put(&format!("/files/{size}"), bytes(size, 0));
    }
    world.pass(Duration::from_secs(2));
    let publish = Publish::new("share", vec![LocalPath("/files".into())]);
    let Ok(Reply::Published { link, share, .. }) = world.run(publisher, Command::Publish(publish))
    else {
        panic!("not published")
    };
    let subscriber = subscribe(world, hub, link);
    (hub, publisher, subscriber, share)
}

fn subscribe(world: &mut World, hub: usize, link: scp2p_proto::record::ShareLink) -> usize {
    let subscriber = world.add(&[hub]);
    world
        .run(subscriber, Command::Subscribe(link))
        .expect("subscribed");
    world.until("the catalog", |world| {
        world.node(subscriber).subscriptions()[0].seq == 1
    });
    subscriber
}

fn get(world: &mut World, number: usize, share: ShareId) -> DownloadId {
    let get = Get {
        what: GetWhat::Share { share, path: None },
        root: LocalPath("/got".into()),
    };
    match world.run(number, Command::Get(get)) {
        Ok(Reply::Started { download, .. }) => download,
        other => panic!("{other:?}"),
    }
}

fn finish(world: &mut World, number: usize, download: DownloadId) {
    world.until("the download", |world| {
        let view = world
            .node(number)
            .downloads()
            .into_iter()
            .find(|view| view.id == download)
            .expect("listed");
        assert_ne!(view.state, DownloadState::Failed, "{view:?}");
        view.state == DownloadState::Finished
    });
    for size in SIZES {
        let path = format!("/got/files/{size}");
        assert!(
            world.hosts[number].disk.file(&path) == Some(&bytes(size, 0)[..]),
            "{path}"
        );
    }
}

#[test]
fn every_size_arrives_byte_for_byte() {
    let mut world = World::new();
    let (_, _, subscriber, share) = published(&mut world);
    let download = get(&mut world, subscriber, share);
    finish(&mut world, subscriber, download);
}

#[test]
fn a_finished_subscriber_serves_a_newcomer_without_the_publisher() {
    let mut world = World::new();
    let (hub, publisher, subscriber, share) = published(&mut world);
    let Ok(Reply::Link(link)) = world.run(publisher, Command::Link(share)) else {
        panic!("no link")
    };
    let download = get(&mut world, subscriber, share);
    finish(&mut world, subscriber, download);
    world.pass(Duration::from_secs(20));
    world.kill(publisher);
    let newcomer = subscribe(&mut world, hub, link);
    let download = get(&mut world, newcomer, share);
    finish(&mut world, newcomer, download);
}

#[test]
fn a_killed_downloader_goes_on_where_it_was() {
    let mut world = World::new();
    let (_, _, subscriber, share) = published(&mut world);
    let download = get(&mut world, subscriber, share);
    world.until("some bytes", |world| {
        world.node(subscriber).status().downloaded > 600_000
    });
    world.kill(subscriber);
    world.start(subscriber);
    finish(&mut world, subscriber, download);
}

fn view(world: &World, number: usize, download: DownloadId) -> DownloadView {
    let views = world.node(number).downloads();
    let view = views.into_iter().find(|view| view.id == download);
    view.expect("listed")
}

/// A download of which something came, paused.
fn paused(world: &mut World, subscriber: usize, share: ShareId) -> DownloadId {
    let download = get(world, subscriber, share);
    world.until("some bytes", |world| {
        world.node(subscriber).status().downloaded > 600_000
    });
    world
        .run(subscriber, Command::Pause(download))
        .expect("paused");
    download
}

#[test]
fn a_paused_download_asks_nobody_and_nothing_that_came_is_lost() {
    let mut world = World::new();
    let (_, publisher, subscriber, share) = published(&mut world);
    let download = paused(&mut world, subscriber, share);
    world.pass(Duration::from_secs(3));
    let before = view(&world, subscriber, download);
    let uploaded = world.node(publisher).status().uploaded;
    world.pass(Duration::from_secs(120));
    assert_eq!(world.node(publisher).status().uploaded, uploaded);
    let after = view(&world, subscriber, download);
    assert_eq!(
        (after.state, after.done),
        (DownloadState::Paused, before.done)
    );
    assert!(after.done > 600_000 && after.done < after.total);
    assert_eq!(after.waiting.as_deref(), Some("paused by the user"));
    let why = world.node(subscriber).why(Subject::Download(download));
    assert_eq!(why, [Cause::Download(DownloadCause::Paused)]);
    world
        .run(subscriber, Command::Resume(download))
        .expect("resumed");
    finish(&mut world, subscriber, download);
    let total: usize = SIZES.iter().sum();
    assert_eq!(world.node(publisher).status().uploaded, total as u64);
    for command in [Command::Pause(download), Command::Resume(download)] {
        let again = world.run(subscriber, command);
        assert_eq!(again, Err(CommandError::DownloadEnded));
    }
    let unknown = world.run(subscriber, Command::Pause(DownloadId(4711)));
    assert_eq!(unknown, Err(CommandError::UnknownDownload));
}

#[test]
fn a_paused_download_stays_paused_after_a_crash() {
    let mut world = World::new();
    let (_, publisher, subscriber, share) = published(&mut world);
    let download = paused(&mut world, subscriber, share);
    world.kill(subscriber);
    world.start(subscriber);
    world.pass(Duration::from_secs(1));
    let uploaded = world.node(publisher).status().uploaded;
    world.pass(Duration::from_secs(60));
    let state = view(&world, subscriber, download).state;
    assert_eq!(state, DownloadState::Paused);
    assert_eq!(world.node(publisher).status().uploaded, uploaded);
    world
        .run(subscriber, Command::Resume(download))
        .expect("resumed");
    world.kill(subscriber);
    world.start(subscriber);
    finish(&mut world, subscriber, download);
}

/// Whatever was asked for when it was paused, and whoever goes then.
#[test]
fn a_download_is_paused_at_any_moment() {
    for millis in (0..60).step_by(3) {
        let mut world = World::new();
        let (_, publisher, subscriber, share) = published(&mut world);
        let download = get(&mut world, subscriber, share);
        world.pass(Duration::from_millis(millis));
        world.give(subscriber, Command::Pause(download));
        world.kill(publisher);
        world.pass(Duration::from_secs(5));
        world.start(publisher);
        let state = view(&world, subscriber, download).state;
        if state == DownloadState::Paused {
            world
                .run(subscriber, Command::Resume(download))
                .expect("resumed");
        }
        finish(&mut world, subscriber, download);
    }
}

#[test]
fn a_paused_download_holds_up_no_other() {
    let mut world = World::new();
    let (_, _, subscriber, share) = published(&mut world);
    world.kill(subscriber);
    world.hosts[subscriber].config.files_at_once_max = 1;
    world.start(subscriber);
    let first = paused(&mut world, subscriber, share);
    let what = GetWhat::Share { share, path: None };
    let root = LocalPath("/other".into());
    let get = Command::Get(Get { what, root });
    let Ok(Reply::Started { download, .. }) = world.run(subscriber, get) else {
        panic!("not started")
    };
    world.until("the other download", |world| {
        view(world, subscriber, download).state == DownloadState::Finished
    });
    let state = view(&world, subscriber, first).state;
    assert_eq!(state, DownloadState::Paused);
    world
        .run(subscriber, Command::Cancel(first))
        .expect("cancelled");
    assert_eq!(world.node(subscriber).status().downloads, 0);
}

/// Downloads are numbered one by one, and a number that a damaged row exhausts takes nobody's place.
#[test]
fn downloads_are_numbered() {
    let mut world = World::new();
    let (_, _, subscriber, share) = published(&mut world);
    for number in 1..=2 {
        let download = get(&mut world, subscriber, share);
        assert_eq!(download, DownloadId(number));
        finish(&mut world, subscriber, download);
    }
    world.kill(subscriber);
    let disk = &mut world.hosts[subscriber].disk;
    let rows = disk.table(Table::Downloads);
    let (_, row) = rows
        .into_iter()
        .find(|(key, _)| **key == 1_u64.to_be_bytes())
        .expect("a row");
    let last = Bytes::copy_from_slice(&u64::MAX.to_be_bytes());
    disk.set_row(Table::Downloads, last, Some(row));
    world.start(subscriber);
    world.until("a session", |world| {
        world.node(subscriber).status().connected > 0
    });
    let fresh = [(); 2].map(|()| get(&mut world, subscriber, share));
    assert_eq!(fresh, [DownloadId(0), DownloadId(3)]);
    for download in fresh {
        finish(&mut world, subscriber, download);
    }
}

#[test]
fn nothing_is_asked_for_before_the_disk_said_what_is_there() {
    let mut world = World::new();
    let (_, publisher, subscriber, share) = published(&mut world);
    world.pass(Duration::from_secs(5));
    world.hosts[subscriber].resumes = Some(Vec::new());
    let before = world.hosts[publisher].disk.content_loads;
    let download = get(&mut world, subscriber, share);
    world.pass(Duration::from_secs(10));
    let held = world.hosts[subscriber].resumes.as_ref().map(Vec::len);
    assert_eq!(
        held,
        Some(SIZES.len()),
        "the disk was asked about each file"
    );
    assert_eq!(world.node(publisher).status().uploaded, 0);
    assert_eq!(world.hosts[publisher].disk.content_loads, before);
    world.release_resumes(subscriber);
    finish(&mut world, subscriber, download);
    assert!(world.hosts[publisher].disk.content_loads > before);
}

#[test]
fn an_edited_file_is_reported_and_no_wrong_byte_arrives() {
    let mut world = World::new();
    let (_, publisher, subscriber, share) = published(&mut world);
    world.hosts[publisher]
        .disk
        .put("/files/3000000", bytes(3_000_000, 1));
    let download = get(&mut world, subscriber, share);
    world.until("the publisher is told", |world| {
        world.saw(
            publisher,
            |event| matches!(event, Event::FileChanged { path } if path.0 == "/files/3000000"),
        )
    });
    world.pass(Duration::from_secs(30));
    assert!(
        world.hosts[subscriber]
            .disk
            .file("/got/files/3000000")
            .is_none()
    );
    assert!(
        world.hosts[subscriber]
            .disk
            .file("/got/files/262145")
            .is_some(),
        "nothing else is affected"
    );
    let view = world
        .node(subscriber)
        .downloads()
        .into_iter()
        .find(|view| view.id == download)
        .expect("listed");
    assert_ne!(view.state, DownloadState::Finished);
}
