//! Links of real QUIC do what modelled ones do, as far as nodes and users can tell.

use scp2p_sim::scenario::{self, Links, Span};
use scp2p_sim::{Scenario, ready, run};

const BOTH: [Links; 2] = [Links::Modelled, Links::Quic];

/// What users see of a run in which all oracles hold.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    downloads: u64,
    finished: usize,
    /// Subscriptions in the end, and those with the newest revision.
    subscriptions: [u32; 2],
}

/// The outcome and the digest of a scenario on such links, with no other transport beside them.
fn outcome(scenario: &Scenario, links: Links) -> (Outcome, [u8; 32]) {
    let mut scenario = scenario.clone();
    scenario.network.links = links;
    for host in &mut scenario.hosts {
        host.node.no_tcp = true;
    }
    let scenario = Scenario::parse(&scenario.to_text()).expect("it is valid");
    let report = run(&scenario);
    assert!(report.is_clean(), "{}", report.text());
    let end = report.samples.last().expect("the end is measured");
    let outcome = Outcome {
        downloads: report.downloads,
        finished: report.download_ms.len(),
        subscriptions: [end.subscriptions, end.current],
    };
    (outcome, report.digest)
}

/// The outcome of a scenario, which does not depend on what its links are made of.
fn same(scenario: &Scenario) -> Outcome {
    let [modelled, quic] = BOTH.map(|links| outcome(scenario, links));
    assert_eq!(modelled.0, quic.0);
    assert_ne!(modelled.1, quic.1, "the links were the same");
    quic.0
}

#[test]
fn smoke() {
    let outcome = same(&ready::named("smoke", 1).expect("a ready scenario"));
    assert_eq!((outcome.downloads, outcome.finished), (3, 3));
    assert_eq!(outcome.subscriptions, [3, 3]);
}

#[test]
fn nat_matrix() {
    let outcome = same(&ready::named("nat-matrix", 1).expect("a ready scenario"));
    assert_eq!((outcome.downloads, outcome.finished), (12, 12));
    assert_eq!(outcome.subscriptions, [12, 12]);
}

/// Packets are lost, doubled and late all the time, and lines are slow: what is published arrives nevertheless.
#[test]
fn a_lossy_network() {
    let mut scenario = ready::named("smoke", 2).expect("a ready scenario");
    scenario.network = scenario::Network {
        jitter: Span::millis(15),
        loss_ppm: 30_000,
        burst_ppm: 500,
        burst: Span::millis(700),
        duplicate_ppm: 20_000,
        reorder_ppm: 50_000,
        ..scenario.network
    };
    // Nothing is healed before the end.
    scenario.heal = scenario.length;
    for host in &mut scenario.hosts {
        (host.up, host.down) = (500_000, 1_000_000);
    }
    let outcome = same(&scenario);
    assert_eq!((outcome.downloads, outcome.finished), (3, 3));
    assert_eq!(outcome.subscriptions, [3, 3]);
}
