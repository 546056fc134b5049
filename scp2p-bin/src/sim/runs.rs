//! One run, or many at a time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use scp2p_sim::Report;

use super::args::Plan;
use super::tell::Bar;
use crate::failure::Failure;

/// Runs the plan's seeds and hands over their reports in the order of the seeds, whatever order they end in.
///
/// # Errors
/// The first that `take` returns; runs that have begun then end first.
pub fn run(
    plan: &Plan,
    mut take: impl FnMut(Report) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if plan.seeds.is_one() {
        return plan.seeds.iter().try_for_each(|seed| {
            let bar = Bar::of_run();
            let report =
                scp2p_sim::run_with(&plan.scenario(seed), &mut |progress| bar.at(progress));
            drop(bar);
            take(report)
        });
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
