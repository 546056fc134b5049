//! Disks that are full.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::common::{Node, Settings, has_small_disks, stderr, text, until};
use super::{SOON, content, follow, publish, utf8};

/// A node with a disk of its own at this folder, or none where that cannot be had.
fn node_with_disk(folder: &'static str, bytes: u64) -> Option<Node> {
    if !has_small_disks() {
        eprintln!("skipped: `unshare -rm` with a tmpfs is not allowed here");
        return None;
    }
    Some(Node::start(Settings {
        small_disk: Some((folder, bytes)),
        ..Settings::default()
    }))
}

/// Takes all space of the disk that this folder is on, but for what one more file of so many
/// bytes needs.
fn fill(folder: &Path, left: usize) -> PathBuf {
    let ballast = folder.join("ballast");
    let mut file = fs::File::create(&ballast).expect("a file");
    let reserve = folder.join("reserve");
    fs::write(&reserve, vec![1; left]).expect("there is space");
    let full = std::iter::repeat_with(|| file.write_all(&[1; 4096])).find_map(Result::err);
    assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::StorageFull));
    fs::remove_file(reserve).expect("it is there");
    ballast
}

#[test]
fn a_download_waits_for_space_and_completes() {
    let Some(node) = node_with_disk("small", 16 << 20) else {
        return;
    };
    let bytes = content(8 << 20, 31);
    let publisher = Node::start(Settings::default());
    follow(&node, &publish(&publisher, &bytes));
    let small = node.as_seen_by_it("small");
    let ballast = fill(&small, 1 << 20);

    let out = node.folder("small");
    node.cli(&["get", "Things", "-o", utf8(&out), "--detach"]);
    let waiting = until("the disk to be full", SOON, || {
        let download = node.cli(&["downloads"])[0].clone();
        assert_eq!(download["state"], "running", "{download}");
        download["waiting"].as_str().map(str::to_owned)
    });
    assert!(waiting.contains("no space is left"), "{waiting}");
    assert!(waiting.contains(utf8(&out)), "{waiting}");
    assert!(!small.join("file").exists());
    assert_eq!(node.cli(&["status"])["downloads"], 1);

    fs::remove_file(ballast).expect("it is there");
    until("the end", SOON, || {
        (node.cli(&["downloads"])[0]["state"] == "finished").then_some(())
    });
    assert!(fs::read(small.join("file")).expect("it is there") == bytes);
}

/// Without space for its own store a node says so, goes on, and needs no restart when there is
/// space again.
#[test]
fn a_node_whose_store_is_full_goes_on_when_it_is_not() {
    let Some(node) = node_with_disk("data", 48 << 20) else {
        return;
    };
    let bytes = content(3 << 20, 32);
    let publisher = Node::start(Settings::default());
    let link = publish(&publisher, &bytes);
    let ballast = fill(&node.data_dir(), 0);

    let many = node.folder("many");
    for n in 0..2_000 {
        fs::write(many.join(n.to_string()), n.to_string()).expect("a file");
    }
    let told = until("the store to be full", SOON, || {
        let output = node.try_cli(&["publish", utf8(&many), "--share", "many"]);
        (!output.status.success()).then(|| stderr(&output))
    });
    assert!(told.contains("no space is left"), "{told}");
    node.cli(&["status"]);

    fs::remove_file(ballast).expect("it is there");
    let published = until("a publication", SOON, || {
        let output = node.try_cli(&["publish", utf8(&many), "--share", "many", "--json"]);
        output.status.success().then_some(output)
    });
    let published: serde_json::Value = serde_json::from_slice(&published.stdout).expect("JSON");
    assert_eq!(published["items"], 2_000);
    let newcomer = Node::start(Settings::default());
    follow(&node, &link);
    newcomer.cli(&["subscribe", &text(&published["link"])]);
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", utf8(&out)]);
    assert!(fs::read(out.join("file")).expect("it is there") == bytes);
    until("the share", SOON, || {
        (newcomer.cli(&["subscriptions"])[0]["items"] == 2_000).then_some(())
    });
}
