//! A deterministic world for SCP2P nodes.
//!
//! The [`Node`](scp2p_proto::Node) that runs on sockets runs here by the same driver contract on the same bytes: nothing of
//! it is mocked. A [`Scenario`](scenario::Scenario) says which hosts there are, how their networks, disks and clocks behave, and what happens when.

pub mod agenda;
pub mod disk;
pub mod id;
pub mod net;
pub mod report;
pub mod scenario;
pub mod villain;
