//! What can go wrong in a simulation.

use std::fmt;
use std::io;
use std::path::PathBuf;

use scp2p_sim::scenario::{HOSTS_MAX, ScenarioError};

use crate::output;

/// Why a simulation was not run, or what it showed.
#[derive(Debug)]
pub enum SimError {
    /// A seed and a range of seeds.
    SeedAndSeeds,
    /// A file that is of one run, for several.
    FileOfMany(&'static str),
    /// An option that a scenario says already.
    WithScenario(&'static str),
    /// A number out of range.
    OutOfRange {
        /// The option.
        option: &'static str,
        /// Its value.
        value: u32,
        /// The most that can be; the least is 1.
        max: u32,
    },
    /// No nodes, or too many with their villains.
    Nodes {
        /// The nodes asked for.
        nodes: u32,
        /// Hosts in all.
        hosts: u64,
    },
    /// A file that is no scenario.
    Scenario(PathBuf, Box<ScenarioError>),
    /// Runs with something that must not be.
    Violations {
        /// Runs with violations.
        failed: u64,
        /// Runs in all.
        runs: u64,
    },
    /// Two runs of one scenario that differ.
    NotDeterministic {
        /// The seed.
        seed: u64,
        /// What this process showed and the other one did.
        digests: [String; 2],
        /// The first step that differs, if it did again: here and there.
        first: Option<[String; 2]>,
    },
    /// The second process cannot be run.
    SecondProcess(io::Error),
    /// The second process gave no report.
    NoSecondReport(String),
}

impl SimError {
    /// Whether the command line or the scenario is wrong.
    pub fn is_misuse(&self) -> bool {
        match self {
            SimError::SeedAndSeeds
            | SimError::FileOfMany(_)
            | SimError::WithScenario(_)
            | SimError::OutOfRange { .. }
            | SimError::Nodes { .. }
            | SimError::Scenario(..) => true,
            SimError::Violations { .. }
            | SimError::NotDeterministic { .. }
            | SimError::SecondProcess(_)
            | SimError::NoSecondReport(_) => false,
        }
    }
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SimError::SeedAndSeeds => f.write_str("choose one of --seed and --seeds"),
            SimError::FileOfMany(option) => write!(
                f,
                "{option} is for a single run; choose one with --seed instead of --seeds"
            ),
            SimError::WithScenario(option) => write!(
                f,
                "{option} does not go with --scenario, which says it already; leave out one of them"
            ),
            SimError::OutOfRange { option, value, max } => {
                write!(f, "{option}: {value} is not from 1 to {max}")
            }
            SimError::Nodes { nodes, hosts } => write!(
                f,
                "--nodes: {nodes} nodes and their villains are {hosts} hosts; choose 1 to {HOSTS_MAX}"
            ),
            SimError::Scenario(path, error) => write!(f, "{}: {error}", path.display()),
            SimError::Violations { failed, runs: 1 } if *failed == 1 => {
                f.write_str("the run has violations")
            }
            SimError::Violations { failed, runs } => write!(
                f,
                "{} of {runs} {} violations",
                failed,
                if *failed == 1 { "has" } else { "have" }
            ),
            SimError::NotDeterministic {
                seed,
                digests: [here, there],
                first,
            } => {
                write!(
                    f,
                    "two runs of seed {seed} differ, which is a defect of the simulator: {} here, {} in another process",
                    output::short(here),
                    output::short(there)
                )?;
                match first {
                    Some([here, there]) => write!(
                        f,
                        "; they differ first at\n  here   {}\n  there  {}",
                        output::shown(here),
                        output::shown(there)
                    ),
                    None => f.write_str("; run a third time they did the same"),
                }
            }
            SimError::SecondProcess(error) => {
                write!(f, "the second process cannot be run: {error}")
            }
            SimError::NoSecondReport(said) => {
                write!(
                    f,
                    "the second process gave no report; it said: {}",
                    output::start(said)
                )
            }
        }
    }
}
