//! Nodes of the deployed releases, which run in this process, and nodes of ours, which are processes of the built command.
//!
//! The tests are in `tests/interop`; `docs/interop.md` lists them.

#![expect(
    clippy::duplicate_mod,
    reason = "the releases have the same API, so that one source file does for all"
)]

pub mod gate;
pub mod ours;
pub mod played;
pub mod port;
pub mod programs;
pub mod silent;
pub mod theirs;
