//! `scp2p sim`: nodes in a simulated world.

mod args;
mod error;
mod runs;
mod tell;
mod twice;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use scp2p_sim::scenario::Scenario;
use scp2p_sim::{Report, shrink};

pub use args::SimArgs;
pub use error::SimError;

use args::Plan;
use tell::Bar;

use crate::failure::Failure;
use crate::output;

/// How long a scenario is made smaller.
const SHRINK_TIME: Duration = Duration::from_secs(600);

/// Runs what is asked for and tells what it showed.
///
/// # Errors
/// The arguments do not go together, a file cannot be used, or something was seen that must not be.
pub fn run(args: &SimArgs) -> Result<(), Failure> {
    let plan = Plan::new(args)?;
    let many = !plan.seeds.is_one();
    let mut failed = 0;
    runs::run(&plan, args.trace.as_deref(), |report| {
        tell::report(&report, many, args.json)?;
        if let Some(path) = &args.page {
            write(path, &report.page())?;
        }
        if !report.is_clean() {
            failed += 1;
            keep(&plan, &report, args)?;
        }
        if args.check_determinism {
            twice::check(&report)?;
        }
        Ok(())
    })?;
    let runs = plan.seeds.count();
    if failed > 0 {
        return Err(SimError::Violations { failed, runs }.into());
    }
    if many && !args.json {
        say(&format!(
            "{} without a violation",
            output::count(runs, "run", "runs")
        ))?;
    }
    Ok(())
}

/// Writes the scenario of a run with violations, and with `--shrink` a smaller one.
fn keep(plan: &Plan, report: &Report, args: &SimArgs) -> Result<(), Failure> {
    let seed = report.scenario.seed;
    if !plan.is_file(seed) {
        let path = PathBuf::from(format!("sim-{seed}.toml"));
        write(&path, &report.scenario.to_text())?;
        note(&path, "runs it again");
    }
    if args.shrink {
        let path = PathBuf::from(format!("sim-{seed}.small.toml"));
        write(&path, &smaller(report).to_text())?;
        note(
            &path,
            "runs the smallest that was found to break the same rule",
        );
    }
    Ok(())
}

fn note(path: &Path, what: &str) {
    eprintln!(
        "scp2p sim --scenario {} {what}",
        output::shown(&path.display().to_string())
    );
}

/// The smallest scenario found that breaks the rule that the report's first violation is about.
fn smaller(report: &Report) -> Scenario {
    let Some(rule) = report.violations.first().map(|violation| violation.rule) else {
        return report.scenario.clone();
    };
    let end = Instant::now() + SHRINK_TIME;
    let bar = Bar::shrinking();
    shrink::shrink(&report.scenario, &mut |scenario| {
        if Instant::now() >= end || scenario.check().is_err() {
            return false;
        }
        let fails = scp2p_sim::run(scenario)
            .violations
            .iter()
            .any(|violation| violation.rule == rule);
        bar.tried(scenario, fails);
        fails
    })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::File(path.to_owned(), error))
}

fn say(line: &str) -> Result<(), Failure> {
    match output::print(&format!("{line}\n")) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::System("standard output", error)),
    }
}
