//! Ready scenarios hold in the end, and are the same twice.

use scp2p_sim::{ready, run};

fn holds(name: &str) {
    let scenario = ready::named(name, 1).expect("a ready scenario");
    let report = run(&scenario);
    for violation in &report.violations {
        println!("{violation}");
        for line in violation.before.iter().rev().take(30).rev() {
            println!("    {line}");
        }
    }
    println!(
        "{name}: {} steps, updates {}, downloads {} of {}, lookups {} of {}",
        report.steps,
        report.update_ms.len(),
        report.download_ms.len(),
        report.downloads,
        report.lookups_found,
        report.lookups
    );
    assert!(report.is_clean(), "{} violations", report.violations_total);
}

#[test]
fn smoke() {
    holds("smoke");
}

#[test]
fn churn50() {
    holds("churn50");
}

#[test]
fn nat_matrix() {
    holds("nat-matrix");
}

#[test]
fn partition_heal() {
    holds("partition-heal");
}

#[test]
fn crash_storm() {
    holds("crash-storm");
}

#[test]
fn update_propagation() {
    holds("update-propagation");
}

#[test]
fn swarm() {
    holds("swarm");
}

#[test]
fn flash_crowd() {
    holds("flash-crowd");
}

#[test]
fn villains() {
    holds("villains");
}
