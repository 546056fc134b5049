//! Nodes of the deployed releases, which run in this process, and nodes of ours, which are processes of the built command.
//!
//! The tests are in `tests/interop`; `docs/interop.md` lists them.

pub mod gate;
pub mod ours;
pub mod played;
pub mod port;
pub mod theirs;
