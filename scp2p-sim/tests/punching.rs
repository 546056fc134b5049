//! Direct paths between hosts that a relay connected.

use scp2p_sim::{Report, Scenario, run};

/// How many sessions relays carry, at each look at the world.
fn relayed(report: &Report) -> Vec<u32> {
    let samples = report.samples.iter();
    samples.map(|sample| sample.relayed / 2).collect()
}

/// A router with two hosts that forgets what it let out sooner than their next keep-alives chooses other ports each time.
/// So what peers saw when they were met may lead nowhere, and a direct path is found when they were asked again.
#[test]
fn who_is_no_longer_where_peers_saw_it_is_met_when_they_were_asked_again() {
    let mut longest = 0;
    for seed in 4..=10 {
        let mut scenario = Scenario::parse(FORGETFUL).expect("a scenario");
        scenario.seed = seed;
        let report = run(&scenario);
        assert!(report.is_clean(), "{}", report.text());
        assert_eq!(report.download_ms.len(), 1, "seed {seed}");
        let relayed = relayed(&report);
        assert_eq!(relayed.last(), Some(&0), "seed {seed}: {relayed:?}");
        longest = longest.max(relayed.into_iter().filter(|count| *count > 0).count());
    }
    assert!(longest > 10, "the first try was enough");
}

const FORGETFUL: &str = r#"
seed = 1
length = "10m"
heal = "5m"
[[edges]]
name = "forgetful"
mapping = "independent"
filtering = "address-and-port"
expiry = "8s"
[[edges]]
name = "strict"
mapping = "independent"
filtering = "address-and-port"
expiry = "60s"
[[hosts]]
name = "relay"
node = { relay = true }
[[hosts]]
name = "one"
bootstrap = ["relay"]
[[hosts]]
name = "other"
bootstrap = ["relay"]
[[hosts]]
name = "neighbour"
bootstrap = ["relay", "one", "other"]
edge = "forgetful"
[[hosts]]
name = "author"
bootstrap = ["relay", "one", "other"]
edge = "strict"
[[hosts]]
name = "reader"
bootstrap = ["relay", "one", "other"]
edge = "forgetful"
start = "5s"
node = { sessions_kept = 1 }
[[events]]
at = "5s"
host = "author"
do = "publish"
share = "files"
files = 1
bytes = 20000
[[events]]
at = "1m"
host = "reader"
do = "subscribe"
to = "author"
share = "files"
[[events]]
at = "2m"
host = "reader"
do = "get"
to = "author"
share = "files"
"#;
