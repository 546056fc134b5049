//! Each villain against two nodes that know each other: they stay as they should be, and it did its thing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../../../scp2p-proto/tests/common/disk.rs"]
mod disk;
mod world;

mod content;
mod links;
mod records;
