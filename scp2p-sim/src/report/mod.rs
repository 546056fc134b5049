//! What a run showed: as values, as text, as lines of JSON and as a page with plots.

mod amount;
mod axis;
mod figures;
mod html;
mod json;
mod page;
mod plot;
mod text;

use std::fmt;

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
    /// Lookups that ended, without those of [`Report::lookups_cut_off`].
    pub lookups: u64,
    /// Lookups that nobody answered, by hosts that a partition or a clog cut off from all others meanwhile.
    pub lookups_cut_off: u64,
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
    /// Those of them that relays carry.
    pub relayed: u32,
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

fn as_hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&scp2p_proto::id::hex(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(numbers: impl IntoIterator<Item = u64>) -> Spread {
        let mut spread = Spread::default();
        numbers.into_iter().for_each(|number| spread.push(number));
        spread
    }

    #[test]
    fn a_percentile_is_a_number_that_was_seen() {
        assert_eq!(spread([]).percentile(50), None);
        for percent in [0, 1, 50, 100] {
            assert_eq!(spread([7]).percentile(percent), Some(7));
        }
        let hundred = spread((1..=100).rev());
        for percent in 1..=100 {
            assert_eq!(hundred.percentile(percent), Some(u64::from(percent)));
        }
        assert_eq!(spread([1, 2, 3]).percentile(50), Some(2));
        assert_eq!(spread([1, 2, 3, 4]).percentile(50), Some(2));
        assert_eq!(spread([1, 2, 3, 4]).percentile(76), Some(4));
    }

    #[test]
    fn numbers_are_kept_in_order_and_twice_if_they_come_twice() {
        assert_eq!(spread([3, 1, 2, 3, 1]).sorted(), [1, 1, 2, 3, 3]);
    }
}

/// Reports for the tests of what is made of them.
#[cfg(test)]
mod samples {
    use super::*;
    use crate::scenario::{Host, Network, VillainKind};

    /// A run of nothing.
    pub(super) fn empty() -> Report {
        Report {
            scenario: Scenario {
                seed: 1,
                length: Span::secs(3600),
                heal: Span::secs(3000),
                network: Network::default(),
                edges: Vec::new(),
                hosts: Vec::new(),
                events: Vec::new(),
            },
            digest: [0xab; 32],
            steps: 0,
            violations: Vec::new(),
            violations_total: 0,
            samples: Vec::new(),
            lookups_found: 0,
            lookups: 0,
            lookups_cut_off: 0,
            lookup_ms: Spread::default(),
            lookup_hops: Spread::default(),
            update_ms: Spread::default(),
            downloads: 0,
            download_ms: Spread::default(),
            traffic: Vec::new(),
        }
    }

    /// A run in which much happened, with names that mean harm.
    pub(super) fn full(hosts: u32) -> Report {
        let mut report = empty();
        for at in 0..hosts {
            let mut host = Host::new(format!("host-{at}"));
            host.villain = (at % 5 == 4).then_some(VillainKind::TarpitSeeder);
            report.traffic.push(Traffic {
                host: host.name.clone(),
                sent: u64::from(at * at) << 12,
                received: u64::from(at) << 20,
            });
            report.scenario.hosts.push(host);
        }
        for at in 0..=SAMPLES_MAX {
            report.samples.push(Sample {
                at: Span::secs(15 * at),
                online: hosts.min(at as u32 * hosts / 40),
                relayed: at as u32 % 3,
                sessions: 4 * hosts.min(at as u32 * hosts / 50),
                lookups: at * 7,
                lookups_found: at * 7 - at / 10,
                subscriptions: hosts / 2,
                current: (hosts / 2).min(at as u32 / 8),
                downloads: at / 5,
                downloads_done: at / 6,
                bytes: (at * at) << 10,
            });
        }
        report.lookups = SAMPLES_MAX * 7;
        report.lookups_found = report.lookups - SAMPLES_MAX / 10;
        report.lookups_cut_off = 3;
        report.downloads = SAMPLES_MAX / 5;
        for at in 0..500 {
            report.lookup_ms.push(50 + at * at / 40);
            report.lookup_hops.push(at % 4 + at % 3);
            report.update_ms.push(200 + at * at * at / 2000);
        }
        (0..40).for_each(|at| report.download_ms.push(2000 + at * at * 90));
        report.violations_total = 2;
        report.violations.push(Violation {
            at: Span::millis(61_250),
            rule: "no wrong byte reaches a finished file",
            hosts: vec!["host-1".to_owned(), "<b>\u{1b}[2J".to_owned()],
            what: "\"a\" & <script>alert(1)</script>".to_owned(),
            before: vec![
                "1m host-1: <dial>".to_owned(),
                "1m 1s host-1: crash".to_owned(),
            ],
        });
        report
    }
}
