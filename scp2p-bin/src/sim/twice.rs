//! Running a scenario in a second process, under other circumstances, to see that these do not matter.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use scp2p_proto::id;
use scp2p_sim::{Report, run_traced};
use serde::Deserialize;
use tempfile::TempDir;

use super::SimError;
use crate::failure::Failure;

/// The line of a report that is compared.
#[derive(Deserialize)]
struct Summary {
    digest: String,
    steps: u64,
}

/// Runs a report's scenario in another process, from its text, with another environment, folder and number of
/// threads, and compares what they saw. If that is not the same, both run it again and are compared step by step.
///
/// # Errors
/// They saw different things, or the other process cannot be run.
pub fn check(report: &Report) -> Result<(), Failure> {
    let folder = TempDir::new().map_err(|error| Failure::System("temporary folder", error))?;
    let path = folder.path().join("again.toml");
    fs::write(&path, report.scenario.to_text())
        .map_err(|error| Failure::File(path.clone(), error))?;
    let output = other(folder.path(), &["--json"])?
        .wait_with_output()
        .map_err(SimError::SecondProcess)?;
    let lines = String::from_utf8_lossy(&output.stdout);
    let last = lines.lines().last().unwrap_or_default();
    let Ok(summary) = serde_json::from_str::<Summary>(last) else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(SimError::NoSecondReport(said).into());
    };
    let digest = id::hex(&report.digest);
    if summary.digest == digest && summary.steps == report.steps {
        return Ok(());
    }
    Err(SimError::NotDeterministic {
        seed: report.scenario.seed,
        digests: [digest, summary.digest],
        first: first_difference(report, folder.path())?,
    }
    .into())
}

/// Another process that runs the scenario in a folder.
fn other(folder: &Path, args: &[&str]) -> Result<Child, SimError> {
    let program = env::current_exe().map_err(SimError::SecondProcess)?;
    Command::new(program)
        .args(["sim", "--jobs", "3", "--scenario", "again.toml"])
        .args(args)
        .current_dir(folder)
        .env("SCP2P_LOG", "trace")
        .env("TZ", "Pacific/Chatham")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(SimError::SecondProcess)
}

/// The first step that this process and another do not do alike, as each has it.
fn first_difference(report: &Report, folder: &Path) -> Result<Option<[String; 2]>, SimError> {
    let mut child = other(folder, &["--trace", "/dev/stdout"])?;
    let there = child.stdout.take().map(BufReader::new);
    let mut lines = there.into_iter().flat_map(BufRead::lines);
    let mut first = None;
    run_traced(&report.scenario, &mut |step| {
        if first.is_none() {
            let there = lines.next().and_then(Result::ok).unwrap_or_default();
            let here = step.to_string();
            first = (here != there).then_some([here, there]);
        }
    });
    drop(lines);
    // It has nobody left to tell, and how it ends does not matter.
    let _ = child.kill();
    child.wait().map_err(SimError::SecondProcess)?;
    Ok(first)
}
