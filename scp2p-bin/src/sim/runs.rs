//! One run, or many at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use scp2p_sim::{Report, Scenario};

use super::args::Plan;
use super::tell::Bar;
use crate::failure::Failure;

/// Runs the plan's seeds and hands over their reports in the order of the seeds, whatever order they end in. Of a
/// single one each step is written into `trace`.
///
/// # Errors
/// The first that `take` returns; runs that have begun then end first.
pub fn run(
    plan: &Plan,
    trace: Option<&Path>,
    mut take: impl FnMut(Report) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if plan.seeds.is_one() {
        return plan
            .seeds
            .iter()
            .try_for_each(|seed| take(one(&plan.scenario(seed), trace)?));
    }
    let bar = Bar::of_runs(plan.seeds.count());
    let todo = Mutex::new(plan.seeds.iter());
    thread::scope(|scope| {
        // As many reports wait as there are workers: a slow seed holds up the others instead of filling memory.
        let (send, receive) = mpsc::sync_channel(plan.jobs as usize);
        for _ in 0..plan.jobs {
            let (todo, send) = (&todo, send.clone());
            scope.spawn(move || {
                let next = || todo.lock().ok().and_then(|mut seeds| seeds.next());
                while let Some(seed) = next() {
                    if send
                        .send((seed, scp2p_sim::run(&plan.scenario(seed))))
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting: BTreeMap<u64, Report> = BTreeMap::new();
        for seed in plan.seeds.iter() {
            while !waiting.contains_key(&seed) {
                let Ok((ended, report)) = receive.recv() else {
                    break;
                };
                bar.ended(&report);
                waiting.insert(ended, report);
            }
            if let Some(report) = waiting.remove(&seed) {
                bar.aside(|| take(report))?;
            }
        }
        Ok(())
    })
}

fn one(scenario: &Scenario, trace: Option<&Path>) -> Result<Report, Failure> {
    let Some(path) = trace else {
        let bar = Bar::of_run();
        return Ok(scp2p_sim::run_with(scenario, &mut |progress| {
            bar.at(progress);
        }));
    };
    let failed = |error| Failure::File(path.to_owned(), error);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut written = Ok(());
    let report = scp2p_sim::run_traced(scenario, &mut |step| {
        if written.is_ok() {
            written = writeln!(file, "{step}");
        }
    });
    written.and_then(|()| file.flush()).map_err(failed)?;
    Ok(report)
}
