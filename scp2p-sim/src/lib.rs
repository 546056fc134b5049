//! A deterministic world for SCP2P nodes.
//!
//! The [`Node`](scp2p_proto::Node) that runs on sockets runs here by the same driver contract on the same bytes: nothing of
//! it is mocked. A [`Scenario`] says which hosts there are, how their networks, disks and clocks behave, and what happens when;
//! [`run`] plays it and gives a [`Report`], always the same for the same scenario.

pub mod agenda;
pub mod choices;
pub mod disk;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod generate;
pub mod id;
pub mod net;
pub mod ready;
pub mod report;
pub mod scenario;
pub mod shrink;
pub mod villain;
mod world;

pub use report::Report;
pub use scenario::Scenario;
#[cfg(feature = "planted")]
pub use world::run_planted;
pub use world::{Progress, Step, run, run_traced, run_with};
