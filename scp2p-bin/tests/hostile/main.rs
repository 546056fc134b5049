//! Real nodes among hostile and foreign peers, hostile catalogs and failing disks.

#[path = "../common/mod.rs"]
mod common;

mod catalogs;
mod clocks;
mod deployed;
mod disk;
mod middle;
mod noise;

use std::path::Path;
use std::time::Duration;

use common::{Node, text, until};

/// What must come comes within this time, even on a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// Bytes that differ in every chunk.
fn content(size: usize, salt: u64) -> Vec<u8> {
    let mut reader = blake3::Hasher::new()
        .update(&salt.to_le_bytes())
        .finalize_xof();
    let mut bytes = vec![0; size];
    reader.fill(&mut bytes);
    bytes
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Publishes one file of these bytes; the link.
fn publish(node: &Node, bytes: &[u8]) -> String {
    let file = node.folder("files").join("file");
    std::fs::write(&file, bytes).expect("a file");
    let published = node.cli(&["publish", utf8(&file), "--share", "s", "--title", "Things"]);
    text(&published["link"])
}

/// Follows a share until its catalog is there.
fn follow(node: &Node, link: &str) {
    node.cli(&["subscribe", link]);
    until("the catalog", SOON, || {
        (node.cli(&["subscriptions"])[0]["seq"] == 1).then_some(())
    });
}
