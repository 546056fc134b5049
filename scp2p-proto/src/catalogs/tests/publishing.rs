//! What owners of shares can rely on.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::bench::{Bench, ticket};
use crate::command::{CommandError, Get, GetWhat, Reply};
use crate::event::Event;
use crate::id::{ContentId, OpId, ShareId};
use crate::record::{Manifest, Visibility};
use crate::storage::{LocalPath, StoreError};
use crate::time::UnixTime;
use crate::wire::Answer;
use crate::wish::Wish;

fn published(bench: &Bench, op: OpId) -> (ShareId, u64) {
    match bench.done.get(&op) {
        Some(Ok(Reply::Published { share, seq, .. })) => (*share, *seq),
        other => panic!("not published: {other:?}"),
    }
}

#[test]
fn a_share_keeps_its_identity_and_counts_on() {
    let mut bench = Bench::new();
    let first = bench.publish("photos", &["/a.png", "/f/b.txt"]);
    let (share, seq) = published(&bench, first);
    assert_eq!(seq, 1);
    let mut bench = bench.restarted();
    let second = bench.publish("photos", &["/a.png"]);
    assert_eq!(published(&bench, second), (share, 2));
    let other = bench.publish("music", &["/a.png"]);
    assert_ne!(published(&bench, other).0, share);
    assert_eq!(bench.catalogs.share_views().len(), 2);
}

#[test]
fn a_crash_between_reserving_and_committing_skips_the_number() {
    let mut bench = Bench::new();
    bench.disk_waits = true;
    bench.publish("photos", &["/a"]);
    bench.end_commit();
    // The number is durable, the revision is not.
    let mut bench = bench.restarted();
    assert!(bench.catalogs.share_views().is_empty(), "a key is no share");
    let op = bench.publish("photos", &["/a"]);
    assert_eq!(published(&bench, op).1, 2);
}

#[test]
fn nobody_hears_of_a_revision_before_it_is_durable() {
    let mut bench = Bench::new();
    let op = bench.publish("photos", &["/a"]);
    let (share, _) = published(&bench, op);
    let peer = bench.connect(7);
    assert_eq!(bench.watch(peer, &[share])[0].head.latest_seq, 1);
    bench.pass(Duration::from_millis(1));
    bench.wishes.clear();
    bench.disk_waits = true;
    bench.publish("photos", &["/b"]);
    bench.end_commit();
    bench.pass(Duration::from_secs(1));
    assert!(bench.told(peer).is_empty());
    assert!(
        !bench
            .wishes
            .iter()
            .any(|wish| matches!(wish, Wish::Store { .. }))
    );
    bench.end_commit();
    assert_eq!(bench.told(peer), [2]);
    bench.pass(Duration::from_secs(1));
    assert!(
        bench
            .wishes
            .iter()
            .any(|wish| matches!(wish, Wish::Store { .. }))
    );
}

#[test]
fn a_failing_disk_or_file_fails_the_publishing_and_nothing_else() {
    let mut bench = Bench::new();
    let op = bench.publish("photos", &["/a", "/gone"]);
    let gone = StoreError::NotFound(LocalPath("/gone".to_string()));
    assert_eq!(bench.done[&op], Err(CommandError::Store(gone)));
    bench.disk_fails = true;
    let op = bench.publish("photos", &["/a"]);
    assert_eq!(bench.done[&op], Err(CommandError::Store(StoreError::Full)));
    assert!(bench.catalogs.share_views().is_empty());
    bench.disk_fails = false;
    let op = bench.publish("photos", &["/a"]);
    assert_eq!(published(&bench, op).1, 1);
}

#[test]
fn many_files_are_hashed_in_batches_and_keep_their_hashes() {
    let names: Vec<_> = (0..1000).map(|n| format!("/folder/{n:04}.txt")).collect();
    let files: Vec<_> = names.iter().map(|name| name.as_str()).collect();
    let mut bench = Bench::new();
    let op = bench.publish("many", &files);
    let (share, _) = published(&bench, op);
    let op = bench.command(|catalogs, cx, op| catalogs.on_browse(cx, op, share));
    let Some(Ok(Reply::Catalog(manifest))) = bench.done.get(&op) else {
        panic!("no catalog")
    };
    assert_eq!(manifest.items.len(), 1000);
    assert_eq!(manifest.verify(UnixTime(1_700_000_000)), Ok(()));
    for item in &manifest.items {
        let path = format!("/{}", item.place());
        assert_eq!(
            item.content,
            ContentId(blake3::hash(path.as_bytes()).into())
        );
    }
}

#[test]
fn the_same_share_is_published_once_at_a_time() {
    let mut bench = Bench::new();
    bench.disk_waits = true;
    bench.publish("photos", &["/a"]);
    let op = bench.publish("photos", &["/a"]);
    assert_eq!(bench.done[&op], Err(CommandError::Busy));
    bench.publish("music", &["/a"]);
    bench.end_commit();
    bench.end_commit();
    bench.end_commit();
    bench.end_commit();
    assert_eq!(
        bench
            .catalogs
            .share_views()
            .iter()
            .map(|share| share.seq)
            .sum::<u64>(),
        2
    );
}

#[test]
fn own_shares_are_announced_again_and_again() {
    let mut bench = Bench::new();
    bench.publish("photos", &["/a", "/b"]);
    let stores = |bench: &Bench| {
        bench
            .wishes
            .iter()
            .filter(|wish| matches!(wish, Wish::Store { .. }))
            .count()
    };
    bench.pass(Duration::from_secs(1));
    // Head and manifest, and a provider record for the share and for each item.
    assert_eq!(stores(&bench), 2);
    let provided = bench
        .wishes
        .iter()
        .filter(|wish| matches!(wish, Wish::Provide { .. }));
    assert_eq!(provided.count(), 3);
    bench.pass(Duration::from_secs(1000));
    assert!(stores(&bench) >= 6);
    let mut bench = bench.restarted();
    bench.pass(Duration::from_secs(6));
    assert_eq!(stores(&bench), 2);
}

#[test]
fn announcements_get_rarer_unless_a_deployed_peer_takes_them() {
    let mut bench = Bench::new();
    bench.publish("photos", &["/a"]);
    bench.pass(Duration::from_secs(1));
    let mut in_an_hour = |deployed: Option<u8>| {
        deployed.map(|peer| bench.connect_deployed(peer));
        bench.wishes.clear();
        bench.pass(Duration::from_secs(3600));
        let is_store = |wish: &&Wish| matches!(wish, Wish::Store { .. });
        // Head and manifest each time.
        bench.wishes.iter().filter(is_store).count() / 2
    };
    // After 1, 2, 4, 8, 16 and 30 minutes, then every 30, then every 4.
    for (deployed, times) in [(None, 4..=7), (None, 1..=3), (Some(9), 12..=20)] {
        let made = in_an_hour(deployed);
        assert!(times.contains(&made), "{made} announcements, not {times:?}");
    }
}

#[test]
fn anybody_gets_manifests_and_the_list_of_public_shares() {
    let mut bench = Bench::new();
    let op = bench.publish("photos", &["/a"]);
    let Some(Ok(Reply::Published { manifest, .. })) = bench.done.get(&op) else {
        panic!("no")
    };
    let manifest = *manifest;
    for _ in 0..2 {
        bench.act(|catalogs, cx| catalogs.on_get_manifest(cx, ticket(400), manifest));
        let Some(Ok(Answer::Manifest { id, bytes })) = bench.answers.pop() else {
            panic!("no")
        };
        assert_eq!(
            (id, Manifest::decode(&bytes).map(|read| read.id())),
            (manifest, Ok(manifest))
        );
    }
    let unknown = crate::id::ManifestId([9; 32]);
    bench.act(|catalogs, cx| catalogs.on_get_manifest(cx, ticket(400), unknown));
    assert_eq!(
        bench.answers.pop(),
        Some(Err("manifest not found".to_string()))
    );

    bench.act(|catalogs, cx| catalogs.on_list_public(cx, ticket(402), 9));
    assert_eq!(
        bench.answers.pop(),
        Some(Ok(Answer::PublicShares(Vec::new())))
    );
    for name in ["one", "two"] {
        let publish = crate::command::Publish {
            name: name.to_string(),
            paths: Vec::from([LocalPath("/a".to_string())]),
            title: Some(name.to_string()),
            description: None,
            tags: None,
            visibility: Some(Visibility::Public),
        };
        bench.now.unix = bench.now.unix.plus(10);
        bench.command(|catalogs, cx, op| catalogs.on_publish(cx, op, publish));
    }
    for (max, expected) in [(9, &["two", "one"][..]), (1, &["two"]), (0, &["two"])] {
        bench.act(|catalogs, cx| catalogs.on_list_public(cx, ticket(402), max));
        let Some(Ok(Answer::PublicShares(shares))) = bench.answers.pop() else {
            panic!("no list")
        };
        let titles: Vec<_> = shares
            .iter()
            .filter_map(|share| share.title.as_deref())
            .collect();
        assert_eq!(titles, expected);
    }
}

#[test]
fn a_changed_file_is_reported_once_per_revision() {
    let mut bench = Bench::new();
    let op = bench.publish("photos", &["/a"]);
    let (share, _) = published(&bench, op);
    let path = LocalPath("/a".to_string());
    for _ in 0..2 {
        bench.act(|catalogs, cx| catalogs.on_changed(cx, share, path.clone()));
    }
    let changed = Event::FileChanged { path: path.clone() };
    assert_eq!(
        bench
            .events
            .iter()
            .filter(|event| **event == changed)
            .count(),
        1
    );
    assert_eq!(bench.catalogs.share_views()[0].changed, [path]);
    bench.publish("photos", &["/a"]);
    assert!(bench.catalogs.share_views()[0].changed.is_empty());
}

#[test]
fn a_content_is_named_by_the_catalog_that_lists_it() {
    let mut bench = Bench::new();
    bench.publish("one", &["/f/a.txt"]);
    bench.publish("two", &["/b.txt"]);
    let get = |content: &[u8]| Get {
        what: GetWhat::Content(ContentId(blake3::hash(content).into())),
        root: LocalPath("/down".to_string()),
    };
    for (content, name) in [
        (&b"/f/a.txt"[..], Some("a.txt")),
        (b"/b.txt", Some("b.txt")),
        (b"?", None),
    ] {
        bench.wishes.clear();
        bench.command(|catalogs, cx, op| catalogs.on_get(cx, op, get(content)));
        let Some(Wish::Download(download)) = bench.wishes.first() else {
            panic!("no download")
        };
        assert_eq!(download.manifest.is_some(), name.is_some());
        let id = ContentId(blake3::hash(content).into()).to_string();
        assert_eq!(download.name, name.map_or(id, ToString::to_string));
    }
}

#[test]
fn a_number_that_we_signed_before_a_restore_is_not_used_again() {
    let mut bench = Bench::new();
    bench.publish("photos", &["/a"]);
    let backup = bench.rows.clone();
    let op = bench.publish("photos", &["/b"]);
    let (share, _) = published(&bench, op);
    let peer = bench.connect(7);
    let head = bench.watch(peer, &[share]).remove(0).head;
    bench.rows = backup;
    let mut bench = bench.restarted();
    bench.act(|catalogs, cx| catalogs.hear_verified(cx, peer, &head));
    let mut bench = bench.restarted();
    let op = bench.publish("photos", &["/c"]);
    assert_eq!(published(&bench, op).1, 3);
}
