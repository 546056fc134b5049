//! Release 0.4.

use scp2p_core_0_4 as published;

#[path = "node.rs"]
mod node;

pub use node::Node;
