//! Release 0.6.

use scp2p_core_0_6 as published;

#[path = "node.rs"]
mod node;

pub use node::Node;
