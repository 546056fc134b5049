//! The main job with real nodes: publish, follow, search, download, go on after a kill.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Node, Settings, text, until};

const SOON: Duration = Duration::from_secs(30);

/// Bytes that differ in every chunk.
fn content(size: usize, salt: u64) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A publisher with a folder, and the link to its share.
fn publisher(settings: Settings, files: &[(&str, Vec<u8>)]) -> (Node, PathBuf, String) {
    let node = Node::start(settings);
    let folder = node.folder("files");
    for (name, bytes) in files {
        let place = folder.join(name);
        fs::create_dir_all(place.parent().expect("a parent")).expect("a folder");
        fs::write(place, bytes).expect("a file");
    }
    let link = publish(&node, &folder);
    (node, folder, link)
}

fn publish(node: &Node, folder: &Path) -> String {
    let published = node.cli(&["publish", path(folder), "--share", "s", "--title", "Things"]);
    text(&published["link"])
}

fn follow(link: &str, settings: Settings) -> Node {
    let node = Node::start(settings);
    node.cli(&["subscribe", link]);
    revision(&node, 1);
    node
}

fn revision(node: &Node, seq: u64) {
    until("the revision", SOON, || {
        let subscriptions = node.cli(&["subscriptions"]);
        (subscriptions[0]["seq"].as_u64()? >= seq).then_some(())
    });
}

fn assert_same(here: &Path, there: &Path, names: &[&str]) {
    for name in names {
        let (one, other) = (fs::read(here.join(name)), fs::read(there.join(name)));
        assert!(one.expect("original") == other.expect("copy"), "{name}");
    }
}

fn main_job(settings: impl Fn() -> Settings) {
    let files = [
        ("a file.txt", content(12, 1)),
        ("empty", Vec::new()),
        ("größer/näher/ß.bin", content(3_000_000, 2)),
    ];
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let (publisher, folder, link) = publisher(settings(), &files);
    let subscriber = follow(&link, settings());
    let hits = subscriber.cli(&["search", "größer"]);
    assert_eq!(hits["total"], 1, "{hits}");
    let out = subscriber.folder("out");
    subscriber.cli(&["get", "Things", "-o", path(&out)]);
    assert_same(&folder, &out.join("files"), &names);

    fs::write(folder.join("second"), b"revision").expect("a file");
    publish(&publisher, &folder);
    revision(&subscriber, 2);
    subscriber.cli(&["get", "Things/files/second", "-o", path(&out)]);
    assert_same(&folder, &out.join("files"), &["second"]);
}

#[test]
fn the_main_job_over_quic() {
    main_job(|| Settings {
        quic_only: true,
        ..Settings::default()
    });
}

#[test]
fn the_main_job_over_tcp() {
    main_job(|| Settings {
        tcp_only: true,
        ..Settings::default()
    });
}

#[test]
fn those_who_finished_share_the_load_and_outlive_the_publisher() {
    let (mut first, folder, link) =
        publisher(Settings::default(), &[("big", content(24 << 20, 3))]);
    let base = first.bootstrap();
    let settings = || Settings::default().bootstrap(&base);
    let seeders = [follow(&link, settings()), follow(&link, settings())];
    for seeder in &seeders {
        let out = seeder.folder("out");
        seeder.cli(&["get", "Things", "-o", path(&out)]);
    }
    let third = follow(&link, settings());
    until("three who serve it", SOON, || {
        (third.cli(&["subscriptions"])[0]["providers"].as_u64()? >= 3).then_some(())
    });
    let out = third.folder("out");
    third.cli(&["get", "Things", "-o", path(&out)]);
    assert_same(&folder, &out.join("files"), &["big"]);
    let download = &third.cli(&["downloads"])[0];
    let peers = download["peers"].as_array().expect("a list");
    let served = peers
        .iter()
        .filter(|peer| peer["bytes"].as_u64() > Some(0))
        .count();
    assert_eq!(served, 3, "{download}");

    first.kill();
    let newcomer = follow(
        &link,
        Settings::default().bootstrap(&seeders[0].bootstrap()),
    );
    let out = newcomer.folder("out");
    newcomer.cli(&["get", "Things", "-o", path(&out)]);
    assert_same(&folder, &out.join("files"), &["big"]);
}

#[test]
fn a_download_killed_ten_times_fetches_little_twice() {
    const SIZE: usize = 512 << 20;
    let (publisher, folder, link) = publisher(Settings::default(), &[("big", content(SIZE, 4))]);
    let mut node = follow(&link, Settings::default());
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", path(&out), "--detach"]);
    for kill in 1..=10_u64 {
        let enough = kill * (SIZE as u64 / 12);
        until("progress", SOON, || {
            let download = node.cli(&["downloads"])[0].clone();
            let is_over = download["state"] == "finished";
            (is_over || download["done"].as_u64()? >= enough).then_some(())
        });
        node.kill();
        node.restart();
    }
    until("the end", Duration::from_secs(60), || {
        (node.cli(&["downloads"])[0]["state"] == "finished").then_some(())
    });
    assert_same(&folder, &out.join("files"), &["big"]);
    let uploaded = publisher.cli(&["status"])["uploaded"]
        .as_u64()
        .expect("a number");
    let twice = uploaded.saturating_sub(SIZE as u64);
    assert!(twice <= 16 << 20, "{twice} bytes were fetched twice");
}

#[test]
fn a_paused_download_waits_for_its_user() {
    const SIZE: usize = 512 << 20;
    let (publisher, folder, link) = publisher(Settings::default(), &[("big", content(SIZE, 8))]);
    let mut node = follow(&link, Settings::default());
    let out = node.folder("out");
    let started = node.cli(&["get", "Things", "-o", path(&out), "--detach"]);
    let id = started["download"].to_string();
    until("progress", SOON, || {
        (node.cli(&["downloads"])[0]["done"].as_u64()? > 0).then_some(())
    });
    node.cli(&["pause", &id]);
    let uploaded = || publisher.cli(&["status"])["uploaded"].as_u64();
    let mut before = None;
    until("what was asked for before", SOON, || {
        let now = uploaded();
        (before.replace(now) == Some(now)).then_some(())
    });
    node.kill();
    node.restart();
    let download = node.cli(&["downloads"])[0].clone();
    assert_eq!(download["state"], "paused", "{download}");
    assert_eq!(download["waiting"], "paused by the user");
    assert!(download["done"].as_u64() < download["total"].as_u64());
    assert_eq!(node.cli(&["status"])["paused"], 1);
    revision(&node, 1);
    assert_eq!(before, Some(uploaded()));
    node.cli(&["resume", &id]);
    until("the end", Duration::from_secs(60), || {
        (node.cli(&["downloads"])[0]["state"] == "finished").then_some(())
    });
    assert_same(&folder, &out.join("files"), &["big"]);
    assert_eq!(node.try_cli(&["pause", &id]).status.code(), Some(1));
}

#[test]
fn a_share_is_taken_back_and_published_again() {
    let (mut publisher, folder, link) =
        publisher(Settings::default(), &[("file", content(1000, 9))]);
    let node = follow(&link, Settings::default().bootstrap(&publisher.bootstrap()));
    publisher.cli(&["unpublish", "s"]);
    for restarted in [false, true] {
        if restarted {
            publisher.kill();
            publisher.restart();
        }
        assert_eq!(publisher.cli(&["shares"]), serde_json::json!([]));
        let status = publisher.cli(&["status"]);
        assert_eq!(
            (&status["shares"], &status["sources"]),
            (&0.into(), &0.into())
        );
        assert_eq!(publisher.try_cli(&["link", "s"]).status.code(), Some(4));
        let again = publisher.try_cli(&["unpublish", "s"]);
        assert_eq!(again.status.code(), Some(4));
    }
    publish(&publisher, &folder);
    assert_eq!(publisher.cli(&["shares"])[0]["seq"], 2);
    revision(&node, 2);
}

/// Public shares are found at the peers that one is connected with, private ones are not.
#[test]
fn public_shares_are_listed_and_followed_by_name() {
    let (publisher, folder, _) = publisher(Settings::default(), &[("file", content(1000, 6))]);
    let folder = path(&folder);
    let public = [
        "publish",
        folder,
        "--share",
        "open",
        "--title",
        "Open things",
        "--public",
    ];
    let id = text(&publisher.cli(&public)["share"]);
    let node = Node::start(Settings::default().bootstrap(&publisher.bootstrap()));
    let listed = until("the list", SOON, || {
        let listed = node.cli(&["public"]);
        (listed.as_array()?.len() == 1).then_some(listed)
    });
    assert_eq!(listed[0]["id"], *id);
    assert_eq!(listed[0]["title"], "Open things");
    assert_eq!(listed[0]["peers"], 1);
    let unknown = node.try_cli(&["subscribe", "Closed things"]);
    assert_eq!(unknown.status.code(), Some(4));
    node.cli(&["subscribe", "Open things"]);
    revision(&node, 1);
    assert_eq!(node.cli(&["subscribe", &id[..8]])["new"], false);
    assert_eq!(node.cli(&["search", "file"])["total"], 1);
}

#[test]
fn everything_is_there_after_a_restart() {
    let (mut publisher, _, link) = publisher(Settings::default(), &[("file", content(1000, 5))]);
    let mut node = follow(&link, Settings::default().bootstrap(&publisher.bootstrap()));
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", path(&out)]);
    let before = [publisher.key(), node.key()];
    publisher.kill();
    node.kill();
    publisher.restart();
    node.restart();
    assert_eq!([publisher.key(), node.key()], before);
    assert_eq!(publisher.cli(&["shares"])[0]["seq"], 1);
    assert_eq!(node.cli(&["subscriptions"])[0]["seq"], 1);
    assert_eq!(node.cli(&["downloads"])[0]["state"], "finished");
    assert_eq!(node.cli(&["search", "file"])["total"], 1);
}

#[test]
fn many_small_files_arrive_byte_for_byte() {
    let files: Vec<(String, Vec<u8>)> = (0..2500_usize)
        .map(|n| {
            (
                format!("ordner {}/tief/日本 {n}.txt", n % 17),
                content(n % 1500, n as u64),
            )
        })
        .collect();
    let named: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    let (_publisher, folder, link) = publisher(Settings::default(), &named);
    let node = follow(&link, Settings::default());
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", path(&out)]);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_same(&folder, &out.join("files"), &names);
}

#[test]
fn an_edited_file_is_reported_and_never_arrives_wrong() {
    let (publisher, folder, link) = publisher(
        Settings::default(),
        &[("a", content(2_000_000, 6)), ("b", content(9, 7))],
    );
    let node = follow(&link, Settings::default());
    fs::write(folder.join("a"), content(2_000_000, 8)).expect("a file");
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", path(&out), "--detach"]);
    until("the publisher is told", SOON, || {
        let changed = publisher.cli(&["shares"])[0]["changed"].as_array()?.len();
        (changed == 1).then_some(())
    });
    until("the other file", SOON, || {
        out.join("files/b").exists().then_some(())
    });
    assert!(!out.join("files/a").exists());
}
