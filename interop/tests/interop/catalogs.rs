//! Publish, follow, browse, search, download, and the next revision, both ways.

use scp2p_interop::ours::{self, Node, text, until};
use scp2p_interop::theirs::{Published, Release, Setup};
use scp2p_proto::id::ShareId;
use scp2p_proto::io::Transport;
use scp2p_proto::record::ShareLink;
use scp2p_proto::wire::PeerAddr;

use super::SOON;
use super::files::{Files, arg};

/// The sizes at which something changes, and paths.
fn of_all_kinds() -> Files {
    Files::new(&[
        ("one byte", 1),
        ("a chunk", 262_144),
        ("a chunk and a byte", 262_145),
        ("twenty MiB", 20 << 20),
        ("nothing", 0),
        ("a folder/below/größer file.txt", 5000),
        ("a folder/another file.txt", 300_000),
    ])
}

/// Links as published programs make them name their publisher.
fn with_hint(link: &ShareLink, peer: &PeerAddr) -> String {
    let hint = peer.to_string().parse().expect("a hint");
    let link = ShareLink {
        bootstrap: vec![hint],
        ..link.clone()
    };
    link.to_string()
}

/// Publishes these files at a node of ours as one share; its link.
pub fn publish(node: &Node, files: &Files) -> ShareLink {
    let root = files.root();
    let published = node.cli(&["publish", arg(&root), "--share", "s", "--title", "Things"]);
    text(&published["link"]).parse().expect("a link")
}

/// Waits until a node of ours has this revision of the one share it follows, which it is told to look for.
pub fn synced(node: &Node, seq: u64) {
    until("the revision", SOON, || {
        node.cli(&["sync"]);
        (node.cli(&["subscriptions"])[0]["seq"] == seq).then_some(())
    });
}

/// The paths in the one share that a node of ours follows, in order.
fn browsed(node: &Node) -> Vec<String> {
    let id = text(&node.cli(&["subscriptions"])[0]["id"]);
    let catalog = node.cli(&["browse", &id]);
    let items = catalog["items"].as_array().expect("a list");
    let mut paths: Vec<String> = items.iter().map(|item| text(&item["path"])).collect();
    paths.sort();
    paths
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

rows!(we_follow_them);
fn we_follow_them(release: Release, transport: Transport) {
    let mut files = of_all_kinds();
    let theirs = release.start(Setup::listening(transport));
    let link = theirs.publish("Things", &files.paths(), Some(&files.root()));

    let node = Node::start(ours::only(transport));
    node.cli(&["subscribe", &with_hint(&link, &theirs.addr(transport))]);
    synced(&node, 1);
    assert_eq!(browsed(&node), sorted(files.names()));
    let hits = node.cli(&["search", "größer"]);
    assert_eq!(hits["total"], 1, "{hits}");
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", arg(&out)]);
    files.assert_all_in(&out);

    files.add("a folder/second revision", 400_000);
    theirs.publish("Things", &files.paths(), Some(&files.root()));
    synced(&node, 2);
    assert_eq!(node.cli(&["search", "second revision"])["total"], 1);
    node.cli(&["get", "Things", "-o", arg(&out)]);
    files.assert_all_in(&out);
}

rows!(we_follow_single_files_by_id);
/// Files that were published one by one have names and no paths.
fn we_follow_single_files_by_id(release: Release, transport: Transport) {
    let files = Files::new(&[("one", 1), ("another.bin", 600_000)]);
    let theirs = release.start(Setup::listening(transport));
    let link = theirs.publish("Things", &files.paths(), None);

    let peer = theirs.addr(transport).to_string();
    let node = Node::start(ours::only(transport).bootstrap(&[peer]));
    until("the list of public shares", SOON, || {
        let listed = node.cli(&["public"]);
        (listed.as_array()?.first()?["id"] == *link.share().to_string()).then_some(())
    });
    node.cli(&["subscribe", &link.share().to_string()]);
    synced(&node, 1);
    assert_eq!(browsed(&node), sorted(files.names()));
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", arg(&out)]);
    files.assert_all_in(&out);
}

rows!(a_later_revision_of_theirs_arrives_by_itself over tcp);
fn a_later_revision_of_theirs_arrives_by_itself(release: Release, transport: Transport) {
    let mut files = Files::new(&[("one", 1)]);
    let theirs = release.start(Setup::listening(transport));
    let link = theirs.publish("Things", &files.paths(), None);
    let node = Node::start(ours::only(transport));
    node.cli(&["subscribe", &with_hint(&link, &theirs.addr(transport))]);
    for seq in 1..=2 {
        until("the revision", SOON, || {
            (node.cli(&["subscriptions"])[0]["seq"] == seq).then_some(())
        });
        files.add("two", 2);
        theirs.publish("Things", &files.paths(), None);
    }
}

/// Downloads all of a share at a published node and compares it.
pub fn assert_downloads(theirs: &dyn Published, share: ShareId, files: &Files, prefix: &str) {
    let out = tempfile::tempdir().expect("a temporary folder");
    let items = theirs.items(share);
    assert_eq!(items.len(), files.names().len());
    for (number, item) in items.iter().enumerate() {
        let to = out.path().join(number.to_string());
        let downloaded = theirs.download(item.content, &to);
        downloaded.unwrap_or_else(|error| panic!("{}: {error}", item.path));
        let name = item.path.strip_prefix(prefix).expect("the folder");
        files.assert_same(name, &to);
    }
}

rows!(they_follow_us);
fn they_follow_us(release: Release, transport: Transport) {
    let mut files = of_all_kinds();
    let node = Node::start(ours::only(transport));
    let link = publish(&node, &files);
    let share = link.share();

    let theirs = release.start(Setup::default().seeds([ours::addr(&node, transport)]));
    theirs.subscribe(&link);
    theirs.sync().expect("a sync");
    assert_eq!(theirs.revision(share), 1);
    assert_eq!(theirs.search("größer"), ["größer file.txt"]);
    assert_downloads(&*theirs, share, &files, "files/");

    files.add("a folder/second revision", 400_000);
    publish(&node, &files);
    theirs.sync().expect("a sync");
    assert_eq!(theirs.revision(share), 2);
    assert_downloads(&*theirs, share, &files, "files/");
}

rows!(they_follow_us_by_id);
fn they_follow_us_by_id(release: Release, transport: Transport) {
    let files = Files::new(&[("a file", 300_000)]);
    let node = Node::start(ours::only(transport));
    let share = publish(&node, &files).share();
    let theirs = release.start(Setup::default().seeds([ours::addr(&node, transport)]));
    theirs.subscribe_by_id(share);
    theirs.sync().expect("a sync");
    assert_downloads(&*theirs, share, &files, "files/");
}
