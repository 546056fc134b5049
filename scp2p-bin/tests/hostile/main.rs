//! Real nodes among hostile and foreign peers, hostile catalogs and failing disks.

#[path = "../common/mod.rs"]
mod common;

mod catalogs;
mod deployed;
mod middle;

use std::time::Duration;

/// What must come comes within this time, even on a busy machine.
const SOON: Duration = Duration::from_secs(40);
