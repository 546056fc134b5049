//! What a world is made of and what happens in it, as a text that people write and read.

mod event;
mod host;
mod network;
mod span;

pub use event::{Action, Event};
pub use host::{Clock, Disk, Host, NodeSettings, VillainKind};
pub use network::{Dependence, Edge, Network};
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
    #[serde(default)]
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
