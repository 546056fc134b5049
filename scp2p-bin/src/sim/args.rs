//! What is asked of the simulator, and the scenarios that this means.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use argh::FromArgs;
use scp2p_sim::generate::{NatMix, Options, Profile, generate};
use scp2p_sim::ready;
use scp2p_sim::scenario::{HOSTS_MAX, LENGTH_MAX, Scenario, Span};

use super::SimError;
use crate::failure::Failure;

/// Runs at a time, at most: more than a machine's cores help nobody.
const JOBS_MAX: u32 = 256;
/// Nodes if nothing else is said.
const NODES: u32 = 20;
/// Hours if nothing else is said.
const LENGTH: Span = Span::secs(3600);

/// Run nodes in a simulated world: the same seed, the same run. The network, the disks, the clocks and the people are made up;
/// the nodes are the real ones. Prints a report; exits with 0 only if nothing was seen that must not be.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "sim",
    help_triggers("-h", "--help"),
    example = "\
    scp2p sim --nodes 50 --hours 24 --profile ipfs --page report.html\n\
    scp2p sim --seeds 0..200 --jobs 4 --villains 20% --nat mixed\n\
    scp2p sim --scenario sim-17.toml --shrink",
    note = "A run with violations leaves its scenario in sim-SEED.toml in the current folder, which --scenario runs again,\n\
    and with --shrink the smallest one found that breaks the same rule in sim-SEED.small.toml.",
    error_code(0, "no violation"),
    error_code(
        1,
        "violations, or two runs that differ, or a file that cannot be used"
    ),
    error_code(2, "the command line or the scenario is wrong")
)]
pub struct SimArgs {
    /// nodes, 1 to 2000; default 20
    #[argh(option, arg_name = "n")]
    pub nodes: Option<u32>,

    /// virtual hours, 0.1 or more; default 1
    #[argh(option, arg_name = "h")]
    pub hours: Option<Hours>,

    /// how nodes come and go: steady, ipfs, harsh, lan or mobile; default steady
    #[argh(option, arg_name = "name")]
    pub profile: Option<Profile>,

    /// feeds all that is left to chance; default 1, or what the scenario says
    #[argh(option, arg_name = "s")]
    pub seed: Option<u64>,

    /// a run for each seed from A up to B, without B
    #[argh(option, arg_name = "a..b")]
    pub seeds: Option<Seeds>,

    /// runs at a time; default the number of cores
    #[argh(option, arg_name = "n")]
    pub jobs: Option<u32>,

    /// villains for each hundred nodes, 0% to 100%; default none
    #[argh(option, arg_name = "percent")]
    pub villains: Option<Percent>,

    /// where nodes are: open (all on the open internet), mixed (half behind firewalls and translators) or closed (all but three behind translators); default open
    #[argh(option, arg_name = "mix")]
    pub nat: Option<NatMix>,

    /// nodes of each hundred that hang at a time, 0% to 100%; default none
    #[argh(option, arg_name = "percent")]
    pub unresponsive: Option<Percent>,

    /// networks, disks and clocks without faults, and nobody crashes
    #[argh(switch)]
    pub no_faults: bool,

    /// run this file, or a ready scenario: smoke, churn50, nat-matrix, relays, rendezvous, partition-heal, crash-storm, update-propagation, swarm, flash-crowd, villains, dht1000
    #[argh(option, arg_name = "file")]
    pub scenario: Option<PathBuf>,

    /// run everything in a second process too, and compare
    #[argh(switch)]
    pub check_determinism: bool,

    /// make a scenario with violations smaller, for up to ten minutes
    #[argh(switch)]
    pub shrink: bool,

    /// print lines of JSON
    #[argh(switch)]
    pub json: bool,

    /// write a page with plots; for a single run
    #[argh(option, arg_name = "file")]
    pub page: Option<PathBuf>,

    /// write all that went into and came out of each host, a line for each input; for a single run
    #[argh(option, arg_name = "file")]
    pub trace: Option<PathBuf>,
}

/// A span in hours with up to six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours(pub Span);

/// Seeds from the first to before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
}

/// Hundredths, with or without a percent sign, up to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u32);

/// Why a value of an option cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadValue {
    /// No number of hours, or none that can be run.
    Hours,
    /// No range of seeds.
    Seeds,
    /// No percentage.
    Percent,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadValue::Hours => "not a number from 0.1 to 8784, such as 24 or 0.5",
            BadValue::Seeds => "not a range A..B of seeds with A below B, such as 0..200",
            BadValue::Percent => "not a percentage from 0% to 100%",
        })
    }
}

impl FromStr for Hours {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Hours, BadValue> {
        const HOUR: u64 = 3_600_000_000;
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let number = |digits: &str| -> Option<u64> {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain && digits.len() <= 6)
        };
        let (Some(hours), Some(_)) = (number(whole), number(part)) else {
            return Err(BadValue::Hours);
        };
        let millionths = number(&format!("{part:0<6}")).ok_or(BadValue::Hours)?;
        let span = Span(hours * HOUR + millionths * (HOUR / 1_000_000));
        if !(Span(HOUR / 10)..=LENGTH_MAX).contains(&span) {
            return Err(BadValue::Hours);
        }
        Ok(Hours(span))
    }
}

impl FromStr for Seeds {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Seeds, BadValue> {
        let (from, to) = text.split_once("..").ok_or(BadValue::Seeds)?;
        let number = |text: &str| text.parse().map_err(|_| BadValue::Seeds);
        let seeds = Seeds {
            from: number(from)?,
            to: number(to)?,
        };
        if seeds.from < seeds.to {
            Ok(seeds)
        } else {
            Err(BadValue::Seeds)
        }
    }
}

impl FromStr for Percent {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Percent, BadValue> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let number = number.parse().map_err(|_| BadValue::Percent)?;
        if number <= 100 {
            Ok(Percent(number))
        } else {
            Err(BadValue::Percent)
        }
    }
}

/// What the arguments mean.
#[derive(Debug)]
pub struct Plan {
    /// The seeds, one run each.
    pub seeds: Seeds,
    /// Runs at a time.
    pub jobs: u32,
    source: Source,
}

/// Where scenarios come from.
#[derive(Debug)]
enum Source {
    Made(Options),
    Ready(String),
    File(Box<Scenario>),
}

impl Plan {
    /// Of the arguments.
    ///
    /// # Errors
    /// Some do not go together, or a scenario cannot be read.
    pub fn new(args: &SimArgs) -> Result<Plan, Failure> {
        let source = match &args.scenario {
            Some(path) => read(path, args)?,
            None => Source::Made(options(args)?),
        };
        let seeds = match (args.seed, args.seeds, &source) {
            (Some(_), Some(_), _) => return Err(SimError::SeedAndSeeds.into()),
            (None, Some(seeds), _) => seeds,
            (Some(seed), None, _) => Seeds::one(seed),
            (None, None, Source::File(scenario)) => Seeds::one(scenario.seed),
            (None, None, Source::Made(_) | Source::Ready(_)) => Seeds::one(1),
        };
        for (option, file) in [("--page", &args.page), ("--trace", &args.trace)] {
            if file.is_some() && !seeds.is_one() {
                return Err(SimError::FileOfMany(option).into());
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let jobs = args.jobs.unwrap_or(cores.min(JOBS_MAX));
        if !(1..=JOBS_MAX).contains(&jobs) {
            return Err(SimError::OutOfRange {
                option: "--jobs",
                value: jobs,
                max: JOBS_MAX,
            }
            .into());
        }
        Ok(Plan {
            seeds,
            jobs,
            source,
        })
    }

    /// The scenario of a seed.
    pub fn scenario(&self, seed: u64) -> Scenario {
        match &self.source {
            Source::Made(options) => generate(seed, options),
            Source::Ready(name) => {
                ready::named(name, seed).expect("the name was looked up when the plan was made")
            }
            Source::File(scenario) => Scenario {
                seed,
                ..(**scenario).clone()
            },
        }
    }

    /// Whether a seed's scenario is what a file says, so that there is no need to write it into another.
    pub fn is_file(&self, seed: u64) -> bool {
        matches!(&self.source, Source::File(scenario) if scenario.seed == seed)
    }
}

impl Seeds {
    fn one(seed: u64) -> Seeds {
        Seeds {
            from: seed,
            to: seed.saturating_add(1),
        }
    }

    /// Whether there is only one, or, at the end of all numbers, none after it.
    pub fn is_one(self) -> bool {
        self.to - self.from <= 1
    }

    /// All of them. Never empty.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.from..=(self.to - 1).max(self.from)
    }

    /// How many there are.
    pub fn count(self) -> u64 {
        (self.to - self.from).max(1)
    }
}

fn options(args: &SimArgs) -> Result<Options, SimError> {
    let nodes = args.nodes.unwrap_or(NODES);
    let percent = args.villains.map_or(0, |percent| percent.0);
    let hosts = u64::from(nodes) * u64::from(100 + percent) / 100;
    if nodes == 0 || hosts > HOSTS_MAX as u64 {
        return Err(SimError::Nodes { nodes, hosts });
    }
    Ok(Options {
        nodes,
        length: args.hours.map_or(LENGTH, |hours| hours.0),
        profile: args.profile.unwrap_or_default(),
        villains_percent: percent,
        nat: args.nat.unwrap_or_default(),
        unresponsive_percent: args.unresponsive.map_or(0, |percent| percent.0),
        faults: !args.no_faults,
    })
}

/// A file's scenario, or a ready one if there is no such file.
fn read(path: &Path, args: &SimArgs) -> Result<Source, Failure> {
    for (option, given) in [
        ("--nodes", args.nodes.is_some()),
        ("--hours", args.hours.is_some()),
        ("--profile", args.profile.is_some()),
        ("--villains", args.villains.is_some()),
        ("--nat", args.nat.is_some()),
        ("--unresponsive", args.unresponsive.is_some()),
        ("--no-faults", args.no_faults),
    ] {
        if given {
            return Err(SimError::WithScenario(option).into());
        }
    }
    let name = path.to_str().unwrap_or_default();
    if ready::NAMES.contains(&name) && !path.exists() {
        return Ok(Source::Ready(name.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| Failure::File(path.to_owned(), error))?;
    let scenario = Scenario::parse(&text)
        .map_err(|error| SimError::Scenario(path.to_owned(), Box::new(error)))?;
    Ok(Source::File(Box::new(scenario)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_exact_and_in_bounds() {
        assert_eq!("24".parse(), Ok(Hours(Span::secs(86_400))));
        assert_eq!("0.5".parse(), Ok(Hours(Span::secs(1800))));
        assert_eq!("1.000001".parse(), Ok(Hours(Span(3_600_003_600))));
        assert_eq!("8784".parse(), Ok(Hours(LENGTH_MAX)));
        for wrong in [
            "",
            ".",
            "1.",
            ".5",
            "0",
            "0.05",
            "8784.1",
            "-1",
            "+1",
            "1e3",
            "1.0000001",
            "ein",
            "inf",
        ] {
            assert_eq!(wrong.parse::<Hours>(), Err(BadValue::Hours), "{wrong}");
        }
    }

    #[test]
    fn seeds_are_a_range_with_something_in_it() {
        assert_eq!("0..200".parse(), Ok(Seeds { from: 0, to: 200 }));
        for wrong in [
            "", "1", "..", "1..", "..5", "5..5", "6..5", "1...5", "a..b", "1..=5",
        ] {
            assert_eq!(wrong.parse::<Seeds>(), Err(BadValue::Seeds), "{wrong}");
        }
        assert_eq!(Seeds::one(7).iter().collect::<Vec<_>>(), [7]);
        assert_eq!(Seeds::one(u64::MAX).iter().collect::<Vec<_>>(), [u64::MAX]);
        assert_eq!(Seeds::one(u64::MAX).count(), 1);
        assert_eq!(
            Seeds { from: 3, to: 6 }.iter().collect::<Vec<_>>(),
            [3, 4, 5]
        );
    }

    #[test]
    fn percentages_go_up_to_a_hundred() {
        assert_eq!("20%".parse(), Ok(Percent(20)));
        assert_eq!("0".parse(), Ok(Percent(0)));
        assert_eq!("100 %".parse(), Ok(Percent(100)));
        for wrong in ["", "%", "101%", "-1%", "20%%", "0.5%"] {
            assert_eq!(wrong.parse::<Percent>(), Err(BadValue::Percent), "{wrong}");
        }
    }

    fn plan(words: &[&str]) -> Result<Plan, String> {
        let args = SimArgs::from_args(&["scp2p", "sim"], words).map_err(|exit| exit.output)?;
        Plan::new(&args).map_err(|failure| failure.to_string())
    }

    #[test]
    fn options_make_a_scenario_of_each_seed() {
        let plan =
            plan(&["--nodes", "7", "--hours", "0.5", "--seeds", "3..5"]).expect("it is right");
        let [three, four] = [3, 4].map(|seed| plan.scenario(seed));
        assert_eq!((three.seed, four.seed), (3, 4));
        assert_eq!((three.hosts.len(), three.length), (7, Span::secs(1800)));
        assert_eq!(three.check(), Ok(()));
        assert!(!plan.is_file(3));
    }

    #[test]
    fn a_scenario_is_ready_or_in_a_file_and_has_a_seed_of_its_own() {
        let ready = plan(&["--scenario", "smoke"]).expect("it is ready");
        assert_eq!(ready.scenario(1).hosts.len(), 5);
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../scp2p-sim/scenarios/smoke.toml"
        );
        let file = plan(&["--scenario", path]).expect("it can be read");
        assert_eq!(file.seeds, Seeds { from: 1, to: 2 });
        assert!(file.is_file(1) && !file.is_file(2));
        let other = plan(&["--scenario", path, "--seed", "9"]).expect("it can be read");
        assert_eq!(other.seeds, Seeds { from: 9, to: 10 });
        assert_eq!(other.scenario(9).seed, 9);
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        for (words, says) in [
            (&["--seed", "1", "--seeds", "1..2"][..], "--seeds"),
            (&["--seeds", "1..3", "--page", "x"], "--page"),
            (&["--seeds", "1..3", "--trace", "x"], "--trace"),
            (&["--scenario", "smoke", "--nodes", "5"], "--nodes"),
            (&["--nodes", "0"], "--nodes"),
            (&["--nodes", "1900", "--villains", "20%"], "2280"),
            (&["--jobs", "0"], "--jobs"),
            (&["--villains", "200%"], "0% to 100%"),
            (&["--profile", "slow"], "slow"),
            (&["--hours", "x"], "0.5"),
            (&["--scenario", "/nowhere/x.toml"], "/nowhere/x.toml"),
        ] {
            let refused = plan(words).expect_err("it is wrong");
            assert!(refused.contains(says), "{words:?}: {refused}");
        }
    }
}
