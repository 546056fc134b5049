//! What test files of the command share.
#![allow(dead_code, reason = "every test file uses a part of this")]
#![allow(unused_imports, reason = "every test file uses a part of this")]

pub mod peer;
mod process;
pub mod tls;

use std::path::Path;

pub use process::*;

/// The command that is tested.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_scp2p"))
}
