//! Telling how a simulation gets on and what it showed.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use scp2p_sim::scenario::Scenario;
use scp2p_sim::{Progress, Report};

use crate::failure::Failure;
use crate::output;

const RUN: &str = "{bar:30} {percent:>3} % {eta} left {msg}";
const RUNS: &str = "{bar:30} {pos}/{len} runs {eta} left {msg}";
const SHRINKING: &str = "{spinner} making it smaller: {pos} tried, {elapsed} {msg}";

/// Progress on a terminal, and nothing elsewhere.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// Of a single run: how much of its virtual time is over.
    pub fn of_run() -> Bar {
        Bar::new(0, RUN)
    }

    /// Of so many runs.
    pub fn of_runs(runs: u64) -> Bar {
        Bar::new(runs, RUNS)
    }

    /// Of a search for a smaller scenario.
    pub fn shrinking() -> Bar {
        Bar::new(0, SHRINKING)
    }

    fn new(length: u64, template: &str) -> Bar {
        Bar(io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template(template).expect("the templates are constants");
            ProgressBar::new(length).with_style(style)
        }))
    }

    /// The run is so far.
    pub fn at(&self, progress: Progress) {
        if let Some(bar) = &self.0 {
            bar.set_length(progress.length.0);
            bar.set_position(progress.at.0);
            bar.set_message(format!("{} online", progress.online));
        }
    }

    /// A run ended.
    pub fn ended(&self, report: &Report) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
            if !report.is_clean() {
                bar.set_message(format!("seed {} has violations", report.scenario.seed));
            }
        }
    }

    /// A smaller scenario was tried.
    pub fn tried(&self, scenario: &Scenario, fails: bool) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
            if fails {
                bar.set_message(format!(
                    "{} and {} left",
                    output::count(scenario.hosts.len() as u64, "host", "hosts"),
                    output::count(scenario.events.len() as u64, "event", "events")
                ));
            }
        }
    }

    /// Does something that prints, with the bar out of the way.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Prints a report: of one run in full, of many a line for each that is clean.
///
/// # Errors
/// Standard output cannot be written for another reason than that nobody reads it.
pub fn report(report: &Report, many: bool, json: bool) -> Result<(), Failure> {
    let written = if json {
        let mut out = io::BufWriter::new(io::stdout().lock());
        report.json_lines(&mut out).and_then(|()| out.flush())
    } else if many && report.is_clean() {
        let digest = scp2p_proto::id::hex(&report.digest);
        output::print(&format!(
            "seed {} ok, digest {digest}\n",
            report.scenario.seed
        ))
        .map(drop)
    } else {
        output::print(&report.text()).map(drop)
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::System("standard output", error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_bars_can_be_read() {
        for template in [RUN, RUNS, SHRINKING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
