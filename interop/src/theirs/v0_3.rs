//! Release 0.3.

use scp2p_core_0_3 as published;

#[path = "node.rs"]
mod node;

pub use node::Node;
