//! What a run showed.

use std::fmt;

use scp2p_proto::time::Time;
use serde::{Serialize, Serializer};

use crate::scenario::{Scenario, Span};

/// Moments at which a run is measured, at most.
pub const SAMPLES_MAX: u64 = 240;
/// Violations that are kept; the first ones tell most.
pub const VIOLATIONS_MAX: usize = 32;

/// What a run showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub scenario: Scenario,
    /// BLAKE3 over all that went into and came out of every host, with times, and the final stores.
    #[serde(serialize_with = "as_hex")]
    pub digest: [u8; 32],
    /// Inputs worked off by all hosts.
    pub steps: u64,
    /// How often it was not as it should be, with the first [`VIOLATIONS_MAX`] of them.
    pub violations: Vec<Violation>,
    /// Violations in all.
    pub violations_total: u64,
    /// The run in moments at equal distances.
    pub samples: Vec<Sample>,
    /// Lookups in the DHT that found what they were for, or everybody near it.
    pub lookups_found: u64,
    /// Lookups that ended.
    pub lookups: u64,
    /// How long lookups took, in milliseconds.
    pub lookup_ms: Spread,
    /// From asker to answer: how many nodes one learned of the next.
    pub lookup_hops: Spread,
    /// From a new revision's publication until a subscriber that runs has it, in milliseconds.
    pub update_ms: Spread,
    /// Downloads begun.
    pub downloads: u64,
    /// How long finished downloads took, in milliseconds.
    pub download_ms: Spread,
    /// Bytes that each host sent and received on links.
    pub traffic: Vec<Traffic>,
}

/// Bytes of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// The host's name.
    pub host: String,
    /// Bytes sent on links.
    pub sent: u64,
    /// Bytes received on links.
    pub received: u64,
}

/// A moment of a run. Counts are of all hosts since the start unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When.
    pub at: Span,
    /// Hosts whose program runs now.
    pub online: u32,
    /// Sessions now, each counted at both ends.
    pub sessions: u32,
    /// Lookups that ended.
    pub lookups: u64,
    /// Those that found what they were for.
    pub lookups_found: u64,
    /// Subscriptions now.
    pub subscriptions: u32,
    /// Subscriptions now that have the newest revision.
    pub current: u32,
    /// Downloads begun.
    pub downloads: u64,
    /// Downloads finished.
    pub downloads_done: u64,
    /// Bytes sent on links.
    pub bytes: u64,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// When.
    pub at: Span,
    /// The rule, as an oracle states it.
    pub rule: &'static str,
    /// The hosts that it shows at.
    pub hosts: Vec<String>,
    /// What was seen.
    pub what: String,
    /// The last things that happened to these hosts, oldest first.
    pub before: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.join(", ");
        write!(f, "{} {hosts}: {}: {}", self.at, self.rule, self.what)
    }
}

/// Numbers of which the middle and the extremes are of interest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Spread {
    sorted: Vec<u64>,
}

impl Spread {
    /// Adds a number.
    pub fn push(&mut self, number: u64) {
        let at = self.sorted.partition_point(|other| *other <= number);
        self.sorted.insert(at, number);
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The smallest number that so many in a hundred are not above; none if there are no numbers.
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let rank = (self.sorted.len() * usize::from(percent)).div_ceil(100);
        self.sorted.get(rank.saturating_sub(1)).copied()
    }

    /// All of them, smallest first.
    pub fn sorted(&self) -> &[u64] {
        &self.sorted
    }
}

impl Report {
    /// Whether nothing was seen that must not be.
    pub fn is_clean(&self) -> bool {
        self.violations_total == 0
    }
}

pub(crate) fn span_since_start(time: Time) -> Span {
    Span(time.0)
}

fn as_hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&scp2p_proto::id::hex(digest))
}
