//! Compares two values of one policy over twenty seeds: how often subscriptions are looked up, against how fast
//! updates arrive and what that costs.
//!
//! `cargo run --release -p scp2p-sim --example policy`

use scp2p_sim::generate::{NatMix, Options, Profile, generate};
use scp2p_sim::report::Spread;
use scp2p_sim::run;
use scp2p_sim::scenario::Span;

fn main() {
    let options = Options {
        nodes: 12,
        length: Span::secs(3600),
        profile: Profile::Mobile,
        villains_percent: 0,
        nat: NatMix::Open,
        unresponsive_percent: 0,
        faults: false,
    };
    println!("poll interval   updates   p50 ms   p95 ms   MiB sent");
    for interval in [Span::secs(30), Span::secs(240)] {
        let (mut updates, mut bytes) = (Spread::default(), 0);
        for seed in 1..=20 {
            let mut scenario = generate(seed, &options);
            for host in &mut scenario.hosts {
                host.node.poll_interval = Some(interval);
            }
            let report = run(&scenario);
            assert!(report.is_clean(), "seed {seed}: {:?}", report.violations);
            report
                .update_ms
                .sorted()
                .iter()
                .for_each(|ms| updates.push(*ms));
            bytes += report.traffic.iter().map(|host| host.sent).sum::<u64>();
        }
        println!(
            "{:>13} {:>9} {:>8} {:>8} {:>10}",
            interval.to_string(),
            updates.len(),
            updates.percentile(50).unwrap_or_default(),
            updates.percentile(95).unwrap_or_default(),
            bytes >> 20,
        );
    }
}
