//! Runs a world for each of many seeds, of which everything is drawn: how many nodes, how they come and go, which faults
//! and villains there are. Prints a line with the digest for each, in the order of the seeds whatever the number of threads.
//! A world with violations is reported and its scenario written to `sim-SEED.toml`.
//!
//! ```
//! cargo run --release -p scp2p-sim --example worlds -- 0..200 2
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use scp2p_sim::generate::drawn;
use scp2p_sim::{Report, run};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let seeds = args.next().unwrap_or_else(|| "0..20".to_owned());
    let threads: u64 = args
        .next()
        .map_or(Some(1), |text| text.parse().ok())
        .unwrap_or(1);
    let bounds = seeds.split_once("..");
    let bounds = bounds.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let Some((from, to)) = bounds else {
        eprintln!("usage: worlds FROM..TO [THREADS]");
        return ExitCode::from(2);
    };
    let next = AtomicU64::new(from);
    let (send, receive) = mpsc::channel();
    let send = Mutex::new(send);
    let mut failed = 0;
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let send = send.lock().expect("no thread panics with it").clone();
            let next = &next;
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // Nobody listens only when the program ends.
                    if seed >= to || send.send((seed, run(&drawn(seed, 5..=50)))).is_err() {
                        return;
                    }
                }
            });
        }
        let mut waiting: BTreeMap<u64, Report> = BTreeMap::new();
        for seed in from..to {
            while !waiting.contains_key(&seed)
                && let Ok((ended, report)) = receive.recv()
            {
                waiting.insert(ended, report);
            }
            if let Some(report) = waiting.remove(&seed) {
                failed += u32::from(!tell(seed, &report));
            }
        }
    });
    if failed > 0 {
        eprintln!("{failed} worlds have violations");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Whether all was well.
fn tell(seed: u64, report: &Report) -> bool {
    let digest = report.digest.map(|byte| format!("{byte:02x}")).concat();
    let hosts = report.scenario.hosts.len();
    println!("{seed} {digest} {hosts} hosts {} steps", report.steps);
    if !report.is_clean() {
        let path = format!("sim-{seed}.toml");
        eprintln!("{}", report.text());
        match std::fs::write(&path, report.scenario.to_text()) {
            Ok(()) => eprintln!("scp2p sim --scenario {path} runs it again"),
            Err(error) => eprintln!("{path}: {error}"),
        }
    }
    report.is_clean()
}
