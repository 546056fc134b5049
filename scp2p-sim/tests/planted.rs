//! A simulation finds bugs: each of those planted for that, and what shows it can be made small.

use std::time::Instant;

use scp2p_proto::planted::Bug;
use scp2p_sim::generate::drawn;
use scp2p_sim::shrink::shrink;
use scp2p_sim::{Scenario, ready, run, run_planted};

/// So many worlds are drawn at most until a bug shows.
const SEEDS: u64 = 40;
/// So many smaller scenarios are tried at most.
const ATTEMPTS: u32 = 400;

/// A bug that was found.
struct Found {
    scenario: Scenario,
    rule: &'static str,
}

/// Worlds in which a bug shows, if drawn ones seldom have what it takes.
fn made_for(bug: Bug) -> Option<Scenario> {
    match bug {
        Bug::HashFromSender => ready::named("villains", 1),
        Bug::FailedChunkDropped | Bug::FailedWriteCounts | Bug::HaveMapUnsynced => {
            Some(Scenario::parse(INTERRUPTED).expect("a scenario"))
        }
        Bug::LookupOnce
        | Bug::NumberTwice
        | Bug::AnsweredEarly
        | Bug::BelievedEarly
        | Bug::OlderHead
        | Bug::ReachesLeak
        | Bug::RequestUnanswered
        | Bug::RoundForgotten
        | Bug::DuplicateKept
        | Bug::LostCallsKept
        | Bug::SlowIsCorrupt
        | Bug::LastChunkAssumed
        | Bug::CircuitUnsealed => None,
    }
}

/// The rule that is broken first when nodes have a bug.
fn broken(scenario: &Scenario, bug: Bug) -> Option<&'static str> {
    let report = run_planted(scenario, bug);
    report.violations.first().map(|violation| violation.rule)
}

fn find(bug: Bug) -> Option<Found> {
    let since = Instant::now();
    let made = made_for(bug).map(|scenario| ("a world made for it", scenario));
    let worlds = (0..SEEDS).map(|seed| ("drawn", drawn(seed, 5..=10)));
    for (origin, scenario) in made.into_iter().chain(worlds) {
        if let Some(rule) = broken(&scenario, bug) {
            let took = since.elapsed().as_secs_f32();
            println!(
                "{bug:?}: {origin}, seed {}, {rule}, {took:.1} s",
                scenario.seed
            );
            let sound = run(&scenario);
            assert!(sound.is_clean(), "without a bug: {}", sound.text());
            return Some(Found { scenario, rule });
        }
    }
    println!("{bug:?}: not found, {:.1} s", since.elapsed().as_secs_f32());
    None
}

#[test]
fn every_bug_is_found() {
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|bug| find(*bug).is_none())
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// Five hosts and twenty events are enough to show what a drawn world showed.
#[test]
fn what_is_found_shrinks() {
    for bug in [Bug::NumberTwice, Bug::OlderHead, Bug::LastChunkAssumed] {
        let found = find(bug).expect("a bug that is found");
        let since = Instant::now();
        let mut attempts = 0;
        let small = shrink(&found.scenario, &mut |scenario| {
            attempts += 1;
            attempts <= ATTEMPTS && broken(scenario, bug) == Some(found.rule)
        });
        let (hosts, events) = (small.hosts.len(), small.events.len());
        let took = since.elapsed().as_secs_f32();
        println!("{bug:?}: {hosts} hosts and {events} events, {attempts} attempts, {took:.1} s");
        assert!(hosts <= 5 && events <= 20, "{bug:?}:\n{}", small.to_text());
        assert_eq!(broken(&small, bug), Some(found.rule));
    }
}

/// A download of eight seconds, with a disk that is full for some of them, a publisher that is killed, and power cuts.
const INTERRUPTED: &str = r#"
seed = 1
length = "5m"
heal = "2m"
[[hosts]]
name = "author"
up = 1000000
[[hosts]]
name = "reader"
bootstrap = ["author"]
[[events]]
at = "5s"
host = "author"
do = "publish"
share = "films"
files = 1
bytes = 8000000
[[events]]
at = "10s"
host = "reader"
do = "subscribe"
to = "author"
share = "films"
[[events]]
at = "20s"
host = "reader"
do = "get"
to = "author"
share = "films"
[[events]]
at = "22s"
host = "author"
do = "kill"
[[events]]
at = "22s 500ms"
host = "author"
do = "start"
[[events]]
at = "26s"
host = "reader"
do = "crash"
[[events]]
at = "30s"
host = "reader"
do = "start"
[[events]]
at = "31s"
host = "reader"
do = "disk-full"
writes = 3
[[events]]
at = "34s"
host = "reader"
do = "disk-free"
[[events]]
at = "36s"
host = "reader"
do = "crash"
[[events]]
at = "40s"
host = "reader"
do = "start"
"#;
