//! Ready scenarios, and worlds out of seeds, hold what they must. Each run is made twice and is the same.

use scp2p_sim::generate::{NatMix, Options, Profile, generate};
use scp2p_sim::scenario::{Dependence, Edge, Host, Span};
use scp2p_sim::{Report, Scenario, ready, run};

fn clean(scenario: &Scenario) -> Report {
    let report = run(scenario);
    assert!(report.is_clean(), "{}", report.text());
    report
}

fn named(name: &str) -> Report {
    clean(&ready::named(name, 1).expect("a ready scenario"))
}

/// All three that want it download it, and those that follow get the second revision.
#[test]
fn smoke() {
    let report = named("smoke");
    assert_eq!((report.downloads, report.download_ms.len()), (3, 3));
    assert_eq!(report.update_ms.len(), 3);
    assert_eq!(named("smoke").digest, report.digest);
}

/// Whatever edge a host is behind, it gets what a host on the open internet publishes.
#[test]
fn nat_matrix() {
    let report = named("nat-matrix");
    assert_eq!((report.downloads, report.download_ms.len()), (12, 12));
    assert_eq!(report.update_ms.len(), 12);
}

/// Whether the first of two can be found and reached by the other, if both send at one time: it is known where it is, and
/// its filter knows where the other sends from.
fn is_open_to(edge: Option<&Edge>, other: Option<&Edge>) -> bool {
    let is_known = |edge: &Edge| {
        let mapping = edge.mapping.unwrap_or(Dependence::Independent);
        mapping == Dependence::Independent
    };
    edge.is_none_or(|edge| {
        let is_strict = edge.filtering == Dependence::AddressAndPort;
        is_known(edge) && (!is_strict || other.is_none_or(is_known))
    })
}

/// Pairs of hosts from this one on that no router lets meet.
fn hopeless(scenario: &Scenario, first: usize) -> u32 {
    let of = |host: &Host| {
        let name = host.edge.as_ref()?;
        scenario.edges.iter().find(|edge| edge.name == *name)
    };
    let edges: Vec<Option<&Edge>> = scenario.hosts.iter().skip(first).map(of).collect();
    let pairs = edges.iter().enumerate().flat_map(|(number, one)| {
        let others = edges.iter().skip(number + 1);
        others.map(move |other| (*one, *other))
    });
    let hopeless =
        pairs.filter(|(one, other)| !is_open_to(*one, *other) && !is_open_to(*other, *one));
    hopeless.count() as u32
}

/// How many pairs of hosts are connected in the end, and how many of them through relays.
fn pairs(report: &Report) -> (u32, u32) {
    let last = report.samples.last().expect("a sample");
    // Each is counted at both ends.
    (last.sessions / 2, last.relayed / 2)
}

/// Behind whatever edges two hosts are, one gets what the other publishes, through a relay if it must be, and all who
/// can find a direct way find it.
#[test]
fn relays() {
    let scenario = ready::named("relays", 1).expect("a ready scenario");
    let report = clean(&scenario);
    assert_eq!((report.downloads, report.download_ms.len()), (132, 132));
    assert_eq!(pairs(&report).1, hopeless(&scenario, 3), "of 66 pairs");
}

/// Behind common edges far more than 85 of 100 pairs are connected directly, and all get what they want.
#[test]
fn nat_mix() {
    let scenario = ready::named("nat-mix", 1).expect("a ready scenario");
    let report = clean(&scenario);
    assert_eq!((report.downloads, report.download_ms.len()), (380, 380));
    let (connected, relayed) = pairs(&report);
    assert_eq!(relayed, hopeless(&scenario, 0));
    assert!(
        connected - relayed >= 190 * 85 / 100,
        "{connected} pairs, {relayed} of them relayed"
    );
}

/// That downloads which take two minutes took no more than 5 s longer for each of so many changes of their way.
fn goes_on(report: &Report, downloads: usize, changes: u64) {
    assert_eq!(report.download_ms.len(), downloads);
    for took in report.download_ms.sorted() {
        let most = 125_000 + 5_000 * changes;
        assert!((118_000..most).contains(took), "{took} ms");
    }
}

#[test]
fn relay_churn() {
    goes_on(&named("relay-churn"), 1, 3);
}

#[test]
fn roaming() {
    goes_on(&named("roaming"), 2, 5);
}

/// Relays that meddle with what they carry cost time, and nothing else.
#[test]
fn false_relays() {
    let report = named("false-relays");
    assert_eq!((report.downloads, report.download_ms.len()), (20, 20));
}

/// Who cannot be dialled finds a relay that it was not told of.
#[test]
fn rendezvous() {
    let report = named("rendezvous");
    assert_eq!((report.downloads, report.download_ms.len()), (2, 2));
    let relayed = report.samples.last().map_or(0, |sample| sample.relayed);
    assert_eq!(relayed, 2, "counted at both ends");
}

/// What was published in one half of a split network reaches the other half when the split is over.
#[test]
fn partition_heal() {
    let report = named("partition-heal");
    assert_eq!(report.update_ms.len(), 22);
}

#[test]
fn crash_storm() {
    let report = named("crash-storm");
    assert_eq!(report.downloads, 6);
}

/// A villain of each kind does not keep ten hosts from their work.
#[test]
fn villains() {
    let report = named("villains");
    assert_eq!((report.downloads, report.download_ms.len()), (6, 6));
    assert_eq!(report.update_ms.len(), 6);
}

/// Networks, disks, clocks and hosts fail, and villains are about; in the end all is as it should be, and
/// the same seed gives the same run.
#[test]
fn seeds() {
    for seed in 1..=8 {
        let options = Options {
            nodes: 5 + seed as u32 % 4,
            length: Span::secs(600),
            profile: Profile::ALL[seed as usize % 5],
            villains_percent: 20,
            nat: NatMix::ALL[seed as usize % 3],
            unresponsive_percent: 0,
            faults: true,
        };
        let scenario = generate(seed, &options);
        assert_eq!(Scenario::parse(&scenario.to_text()).as_ref(), Ok(&scenario));
        let report = clean(&scenario);
        assert_eq!(run(&scenario).digest, report.digest, "seed {seed} twice");
    }
}

/// Scenarios that once showed a defect, each with the defect in its first line.
#[test]
fn what_was_found_stays_mended() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/found");
    let files = std::fs::read_dir(folder).expect("the folder").flatten();
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(file.path()).expect("a scenario");
        clean(&Scenario::parse(&text).expect("a scenario"));
        count += 1;
    }
    assert!(count > 0);
}

/// Downloads that are paused wait, those that are resumed finish, and a share that is taken back and
/// published again reaches its followers; crashes in between change nothing.
#[test]
fn users_change_their_minds() {
    let report = clean(&Scenario::parse(CHANGED_MINDS).expect("a scenario"));
    assert_eq!((report.downloads, report.download_ms.len()), (2, 1));
    // The second revision is taken back, so that only the third must arrive.
    assert!(report.update_ms.len() >= 2);
}

const CHANGED_MINDS: &str = r#"
seed = 1
length = "10m"
heal = "5m"
[[hosts]]
name = "hub"
[[hosts]]
name = "author"
bootstrap = ["hub"]
[[hosts]]
name = "waits"
bootstrap = ["hub"]
[[hosts]]
name = "goes-on"
bootstrap = ["hub"]
[[events]]
at = "5s"
host = "author"
do = "publish"
share = "films"
files = 2
bytes = 30000000
[[events]]
at = "6s"
host = "author"
do = "publish"
share = "notes"
files = 1
bytes = 1000
[[events]]
at = "10s"
host = "waits"
do = "subscribe"
to = "author"
share = "films"
[[events]]
at = "10s"
host = "goes-on"
do = "subscribe"
to = "author"
share = "films"
[[events]]
at = "11s"
host = "waits"
do = "subscribe"
to = "author"
share = "notes"
[[events]]
at = "11s"
host = "goes-on"
do = "subscribe"
to = "author"
share = "notes"
[[events]]
at = "20s"
host = "waits"
do = "get"
to = "author"
share = "films"
[[events]]
at = "20s"
host = "goes-on"
do = "get"
to = "author"
share = "films"
[[events]]
at = "21s"
host = "waits"
do = "pause"
[[events]]
at = "21s"
host = "goes-on"
do = "pause"
[[events]]
at = "40s"
host = "waits"
do = "crash"
[[events]]
at = "40s"
host = "goes-on"
do = "kill"
[[events]]
at = "45s"
host = "waits"
do = "start"
[[events]]
at = "45s"
host = "goes-on"
do = "start"
[[events]]
at = "1m"
host = "goes-on"
do = "resume"
[[events]]
at = "1m"
host = "author"
do = "publish"
share = "notes"
files = 1
bytes = 1000
[[events]]
at = "61s"
host = "author"
do = "unpublish"
share = "notes"
[[events]]
at = "80s"
host = "author"
do = "crash"
[[events]]
at = "90s"
host = "author"
do = "start"
[[events]]
at = "2m"
host = "author"
do = "publish"
share = "notes"
files = 1
bytes = 1000
"#;

/// A catalog of thousands of files is followed, searched and downloaded like a small one.
#[test]
fn a_large_catalog() {
    let report = clean(&Scenario::parse(LARGE_CATALOG).expect("a scenario"));
    assert_eq!((report.downloads, report.download_ms.len()), (1, 1));
}

const LARGE_CATALOG: &str = r#"
seed = 1
length = "10m"
heal = "5m"
[[hosts]]
name = "hub"
[[hosts]]
name = "author"
bootstrap = ["hub"]
[[hosts]]
name = "reader"
bootstrap = ["hub"]
[[events]]
at = "5s"
host = "author"
do = "publish"
share = "letters"
files = 3000
bytes = 100
[[events]]
at = "10s"
host = "reader"
do = "subscribe"
to = "author"
share = "letters"
[[events]]
at = "1m"
host = "reader"
do = "search"
to = "author"
share = "letters"
[[events]]
at = "2m"
host = "reader"
do = "get"
to = "author"
share = "letters"
"#;
