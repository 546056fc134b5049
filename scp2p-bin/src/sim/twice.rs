//! Running a scenario in a second process, under other circumstances, to see that these do not matter.

use std::env;
use std::fs;
use std::process::{Command, Stdio};

use scp2p_proto::id;
use scp2p_sim::Report;
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
/// threads, and compares what they saw.
///
/// # Errors
/// They saw different things, or the other process cannot be run.
pub fn check(report: &Report) -> Result<(), Failure> {
    let folder = TempDir::new().map_err(|error| Failure::System("temporary folder", error))?;
    let path = folder.path().join("again.toml");
    fs::write(&path, report.scenario.to_text())
        .map_err(|error| Failure::File(path.clone(), error))?;
    let program = env::current_exe().map_err(SimError::SecondProcess)?;
    let output = Command::new(program)
        .args(["sim", "--json", "--jobs", "3", "--scenario"])
        .arg(&path)
        .current_dir(folder.path())
        .env("SCP2P_LOG", "trace")
        .env("TZ", "Pacific/Chatham")
        .stdin(Stdio::null())
        .output()
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
    }
    .into())
}
