//! What a world is made of and what happens in it, as a text that people write and read.

mod check;
mod error;
mod event;
mod host;
mod network;
mod span;
#[cfg(test)]
mod strategy;
mod text;

pub use check::{
    CLOCK_SECS_MAX, CONTENT_BYTES_MAX, DRIFT_PPM_MAX, EDGE_DEPTH_MAX, EDGES_MAX, EVENTS_MAX,
    HOSTS_MAX, LATENCY_MAX, LENGTH_MAX, NAME_CHARS_MAX, RATE_MAX,
};
pub use error::{Fault, Part, Place, ScenarioError};
pub use event::{Action, Event};
pub use host::{Clock, Disk, Host, NodeSettings, VillainKind};
pub use network::{Dependence, Edge, Links, Network};
pub use span::Span;

use serde::{Deserialize, Serialize};

/// A world and what happens in it. Together with the program it determines a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Feeds what the scenario leaves to chance: latencies, losses, keys, contents.
    pub seed: u64,
    /// When the run ends.
    pub length: Span,
    /// When all faults end and all core hosts run again; what must hold at the end has from then until the end.
    pub heal: Span,
    /// The internet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// Firewalls and translators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// What happens. Events of one time happen in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

/// What is as usual is left out of the text.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
