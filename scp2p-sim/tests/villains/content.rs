//! Villains that attack downloads.

use std::time::Duration;

use scp2p_proto::command::Reply;
use scp2p_proto::event::Event;
use scp2p_sim::scenario::VillainKind;
use scp2p_sim::villain::{COLLISIONS, HARMLESS, tricks};

use crate::world::{FRIEND, PUBLISHER, World, content};

const MINUTE: Duration = Duration::from_secs(60);

/// The friend downloads all, and gets it.
fn download(world: &mut World) {
    let share = world.share.as_ref().expect("a share").share();
    let got = world.get(FRIEND, share);
    assert!(matches!(got, Ok(Reply::Started { .. })), "{got:?}");
    world.until("the download", |world| {
        let finished = |event: &Event| matches!(event, Event::DownloadFinished { .. });
        world.hosts[FRIEND].events.iter().any(finished)
    });
    let large = world.hosts[FRIEND].disk.file("/out/files/large");
    assert!(large == Some(&content(10 << 20)[..]), "every byte is right");
}

#[test]
fn wrong_bytes_are_not_kept() {
    let mut world = World::new(VillainKind::CorruptSeeder);
    world.pass(MINUTE);
    world.did("claims", 1);
    download(&mut world);
    world.did("right pages", 1);
    world.did("wrong chunks", 1);
    world.pass(2 * MINUTE);
    world.is_well();
}

/// All that the two exchange goes through a relay that does all that it can.
#[test]
fn a_relay_that_meddles_costs_time_and_nothing_else() {
    let mut world = World::walled(VillainKind::FalseRelay);
    let large = content(10 << 20);
    world.hosts[PUBLISHER]
        .disk
        .put("/files/large", large.clone());
    let link = world.publish(PUBLISHER);
    world.pass(MINUTE);
    world.did("places given", 2);
    world.subscribe(FRIEND, link.clone());
    let has_catalog = |world: &World| world.seq(FRIEND, &link.share()) > 0;
    pass_until(&mut world, has_catalog);
    let got = world.get(FRIEND, link.share());
    assert!(matches!(got, Ok(Reply::Started { .. })), "{got:?}");
    pass_until(&mut world, |world| {
        let finished = |event: &Event| matches!(event, Event::DownloadFinished { .. });
        world.hosts[FRIEND].events.iter().any(finished)
    });
    assert!(world.hosts[FRIEND].disk.file("/out/files/large") == Some(&large[..]));
    pass_until(&mut world, |world| {
        let deeds = world.villain().deeds();
        let harms = deeds
            .0
            .keys()
            .filter(|deed| deed.starts_with("records") || deed.starts_with("circuits cut"));
        harms.count() == 9
    });
    world.did("lies told", 2);
}

/// Lets up to three hours pass.
fn pass_until(world: &mut World, holds: impl Fn(&World) -> bool) {
    for _ in 0..180 {
        if holds(world) {
            return;
        }
        world.pass(MINUTE);
    }
    panic!("not within three hours: {:?}", world.villain().deeds());
}

#[test]
fn a_tarpit_holds_nobody_up() {
    let mut world = World::new(VillainKind::TarpitSeeder);
    world.pass(MINUTE);
    world.did("claims", 1);
    let before = world.now;
    download(&mut world);
    let took = world.now.since(before);
    world.did("slow chunks", 1);
    world.did("bytes dripped", 1);
    assert!(took < Duration::from_secs(60), "{took:?}");
    world.is_well();
}

#[test]
fn who_asks_too_much_takes_nothing_from_others() {
    let mut world = World::new(VillainKind::LeechFlooder);
    world.pass(2 * MINUTE);
    world.did("bursts", 5);
    world.did("requests", 500);
    let before = world.now;
    download(&mut world);
    let took = world.now.since(before);
    assert!(took < Duration::from_secs(20), "{took:?}");
    world.pass(3 * MINUTE);
    world.did("bursts", 20);
    world.is_well();
}

#[test]
fn hostile_catalogs_write_nothing_that_they_should_not() {
    let mut world = World::new(VillainKind::HostilePublisher);
    let link = world.villain().share().expect("a share");
    let share = link.share();
    world.subscribe(FRIEND, link);
    world.until("its catalog", |world| world.seq(FRIEND, &share) == 1);
    let before: Vec<String> = world.hosts[FRIEND].disk.files.keys().cloned().collect();
    assert!(before.is_empty(), "{before:?}");
    let refused = match world.get(FRIEND, share) {
        Ok(Reply::Started { refused, .. }) => refused,
        other => panic!("{other:?}"),
    };
    for place in tricks() {
        assert!(refused.iter().any(|item| item.path == place), "{place:?}");
    }
    assert_eq!(refused.len(), tricks().len() + COLLISIONS.len());
    world.until("what is fine", |world| {
        let file = |place: &&str| {
            world.hosts[FRIEND]
                .disk
                .file(&format!("/out/{place}"))
                .is_some()
        };
        HARMLESS.iter().all(file)
    });
    assert_eq!(world.hosts[FRIEND].disk.files.len(), HARMLESS.len());
    world.did("chunks given", HARMLESS.len() as u64);

    // All other revisions.
    world.pass(15 * MINUTE);
    world.did("revisions", 7);
    world.did("manifests given", 5);
    let rejected =
        |event: &&Event| matches!(event, Event::ShareRejected { share: of, .. } if *of == share);
    let rejections = world.hosts[FRIEND].events.iter().filter(rejected).count();
    assert!(rejections >= 1, "{:?}", world.hosts[FRIEND].events);
    let got = world.get(FRIEND, share);
    assert!(world.seq(FRIEND, &share) >= 7, "{got:?}");
    assert!(world.node(PUBLISHER).status().subscriptions == 0);
    world.is_well();
}
