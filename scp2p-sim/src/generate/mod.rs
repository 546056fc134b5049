//! Scenarios out of a seed.

mod churn;
mod faults;
mod settings;

pub use churn::{Profile, UnknownProfile};

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::choices::Choices;
use crate::scenario::{Action, Dependence, Edge, Event, Host, Scenario, Span, VillainKind};

/// What to make a scenario of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Hosts with nodes, at least one.
    pub nodes: u32,
    /// How long the run takes.
    pub length: Span,
    /// How hosts come and go.
    pub profile: Profile,
    /// Villains for each hundred nodes.
    pub villains_percent: u32,
    /// Where hosts are.
    pub nat: NatMix,
    /// So many of a hundred nodes, ever others, hang for ten minutes and more: who knows them gets no answer.
    pub unresponsive_percent: u32,
    /// Whether networks, disks, clocks and hosts have faults, and nodes settings of their own.
    pub faults: bool,
}

/// Where hosts are. The first three, from which all others start, are on the open internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NatMix {
    /// All on the open internet.
    #[default]
    Open,
    /// Half of them behind firewalls and translators of all kinds.
    Mixed,
    /// All but the first three behind translators.
    Closed,
}

impl NatMix {
    /// All of them.
    pub const ALL: [NatMix; 3] = [NatMix::Open, NatMix::Mixed, NatMix::Closed];

    /// The name by which it is chosen.
    pub fn name(self) -> &'static str {
        match self {
            NatMix::Open => "open",
            NatMix::Mixed => "mixed",
            NatMix::Closed => "closed",
        }
    }
}

/// A name that is no mix's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMix(String);

impl fmt::Display for UnknownMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NatMix::ALL.map(NatMix::name).join(", ");
        write!(f, "no mix {:?}; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownMix {}

impl FromStr for NatMix {
    type Err = UnknownMix;
    fn from_str(text: &str) -> Result<NatMix, UnknownMix> {
        let named = NatMix::ALL.into_iter().find(|mix| mix.name() == text);
        named.ok_or_else(|| UnknownMix(text.to_owned()))
    }
}

/// Hosts that the others start from.
const HUBS: u32 = 3;
/// In each such span an unresponsive node hangs once.
const HANGS_EVERY: Span = Span::secs(2400);
/// The healed part of a run.
const HEALED_MAX: Span = Span::secs(1800);

/// The scenario of a seed.
pub fn generate(seed: u64, options: &Options) -> Scenario {
    from_choices(seed, options, &mut Choices::from_seed(seed))
}

/// The scenario of a seed by which the options are drawn too, see [`Options::draw`].
pub fn drawn(seed: u64, nodes: RangeInclusive<u32>) -> Scenario {
    let mut choices = Choices::from_seed(seed);
    let options = Options::draw(nodes, &mut choices);
    from_choices(seed, &options, &mut choices)
}

impl Options {
    /// Options for a world of some minutes: few nodes more often than many, as small worlds show as much and show it sooner.
    pub fn draw(nodes: RangeInclusive<u32>, choices: &mut Choices<'_>) -> Options {
        let (least, most) = (u64::from(*nodes.start()), u64::from(*nodes.end()));
        let part = choices.one_of([9, 9, 9, 9, 9, 9, 9, 4, 2, 1]);
        let most = most.saturating_sub(least) / part + least;
        Options {
            nodes: choices.between(least, most) as u32,
            length: Span::secs(choices.one_of([300, 450])),
            profile: choices.one_of(Profile::ALL),
            villains_percent: choices.one_of([20, 0, 50]) as u32,
            nat: choices.one_of(NatMix::ALL),
            unresponsive_percent: choices.one_of([0, 0, 25]) as u32,
            faults: choices.percent(85),
        }
    }
}

/// A scenario by choices from anywhere; `seed` feeds what a scenario leaves to chance.
pub fn from_choices(seed: u64, options: &Options, choices: &mut Choices<'_>) -> Scenario {
    let healed = Span((options.length.0 / 3).min(HEALED_MAX.0));
    let mut made = Made {
        choices,
        options,
        scenario: Scenario {
            seed,
            length: options.length,
            heal: Span(options.length.0 - healed.0),
            network: Default::default(),
            edges: Vec::new(),
            hosts: Vec::new(),
            events: Vec::new(),
        },
    };
    made.hosts();
    made.work();
    made.churn();
    made.unresponsive();
    made.villains();
    if options.faults {
        made.faults();
        made.settings();
    }
    made.scenario.events.sort_by_key(|event| event.at);
    made.scenario
}

/// A scenario being made.
struct Made<'a, 'c> {
    choices: &'a mut Choices<'c>,
    options: &'a Options,
    scenario: Scenario,
}

impl Made<'_, '_> {
    fn hosts(&mut self) {
        for number in 0..self.options.nodes {
            let mut host = Host::new(format!("n{number}"));
            let hubs = (0..HUBS.min(self.options.nodes)).filter(|hub| *hub != number);
            host.bootstrap = hubs.map(|hub| format!("n{hub}")).collect();
            if number < HUBS {
                host.node.relay = self.options.nat != NatMix::Open && self.choices.percent(70);
                host.node.announce = host.node.relay;
            } else {
                host.edge = self.edge(number);
                host.start = Span::millis(self.choices.below(60_000));
                host.up = self.choices.one_of([12_500_000, 1_250_000, 125_000_000]);
                host.down = host.up.max(self.choices.one_of([12_500_000, 2_500_000]));
            }
            self.scenario.hosts.push(host);
        }
    }

    /// An edge for a host, if it gets one.
    fn edge(&mut self, number: u32) -> Option<String> {
        let closed = match self.options.nat {
            NatMix::Open => false,
            NatMix::Mixed => self.choices.percent(50),
            NatMix::Closed => true,
        };
        if !closed {
            return None;
        }
        let all = [
            Dependence::Independent,
            Dependence::Address,
            Dependence::AddressAndPort,
        ];
        let firewall = self.options.nat == NatMix::Mixed && self.choices.percent(20);
        let mapping = (!firewall).then(|| self.choices.one_of(all));
        let carrier = (!firewall && self.choices.percent(15)).then(|| self.carrier());
        let edge = Edge {
            name: format!("e{number}"),
            behind: carrier,
            mapping,
            filtering: self.choices.one_of(all),
            expiry: Span::secs(self.choices.one_of([120, 30, 60, 300])),
            inbound_refresh: self.choices.percent(50),
            hairpin: self.choices.percent(50),
        };
        let name = edge.name.clone();
        self.scenario.edges.push(edge);
        Some(name)
    }

    /// The one carrier whose customers share addresses.
    fn carrier(&mut self) -> String {
        let name = "carrier".to_owned();
        if !self.scenario.edges.iter().any(|edge| edge.name == name) {
            self.scenario.edges.push(Edge {
                name: name.clone(),
                behind: None,
                mapping: Some(Dependence::Independent),
                filtering: Dependence::AddressAndPort,
                expiry: Span::secs(120),
                inbound_refresh: false,
                hairpin: false,
            });
        }
        name
    }

    /// Users publish, follow, revise, search and download.
    fn work(&mut self) {
        let heal = self.scenario.heal.0;
        let publishers = (self.options.nodes / 8).max(1);
        let mut shares = Vec::new();
        for number in 0..publishers {
            // Not the hubs, if there are others.
            let host = (HUBS + number * 5) % self.options.nodes;
            let share = format!("s{number}");
            let files = self.choices.between(1, 4) as u32;
            let bytes = self
                .choices
                .one_of([20_000, 300_000, 1, 0, 262_144, 1_500_000]);
            let first = Span::millis(self.choices.between(5_000, 90_000));
            let revisions = self.choices.between(1, 4);
            for revision in 0..revisions {
                let at =
                    first.0 + self.choices.below(heal.saturating_sub(first.0)) * revision.min(1);
                let (share, host) = (share.clone(), format!("n{host}"));
                self.event(
                    Span(at.min(heal)),
                    &host,
                    Action::Publish {
                        share,
                        files,
                        bytes,
                    },
                );
            }
            self.take_back(host, &share, first, files, bytes);
            shares.push((host, share));
        }
        for number in 0..self.options.nodes {
            for _ in 0..self.choices.between(1, 3) {
                let Some((owner, share)) = self.choices.pick(&shares).cloned() else {
                    continue;
                };
                if owner != number {
                    self.follow(number, owner, &share);
                }
            }
        }
    }

    /// Some shares are taken back, half of them to be published again.
    fn take_back(&mut self, host: u32, share: &str, first: Span, files: u32, bytes: u64) {
        if !self.choices.percent(10) {
            return;
        }
        let (host, share) = (format!("n{host}"), share.to_owned());
        let heal = self.scenario.heal.0;
        let at = first.0 + self.choices.below(heal.saturating_sub(first.0));
        let unpublish = Action::Unpublish {
            share: share.clone(),
        };
        self.event(Span(at.min(heal)), &host, unpublish);
        if self.choices.percent(50) {
            let again = at + self.choices.below(heal.saturating_sub(at));
            let publish = Action::Publish {
                share,
                files,
                bytes,
            };
            self.event(Span(again.min(heal)), &host, publish);
        }
    }

    /// Some downloads are paused soon after they began; most of these go on later.
    fn pause(&mut self, begun: u64, host: &str) {
        if !self.choices.percent(15) {
            return;
        }
        let heal = self.scenario.heal.0;
        let at = begun + self.choices.below(Span::secs(20).0);
        self.event(Span(at.min(heal)), host, Action::Pause);
        if self.choices.percent(75) {
            let later = at + self.choices.below(heal.saturating_sub(at));
            self.event(Span(later.min(heal)), host, Action::Resume);
        }
    }

    fn follow(&mut self, number: u32, owner: u32, share: &str) {
        let (host, to, share) = (format!("n{number}"), format!("n{owner}"), share.to_owned());
        let heal = self.scenario.heal.0;
        let at = self.choices.below(heal);
        let subscribe = Action::Subscribe {
            to: to.clone(),
            share: share.clone(),
        };
        self.event(Span(at), &host, subscribe);
        let later = at + self.choices.below(heal - at);
        if self.choices.percent(60) {
            let get = Action::Get {
                to: to.clone(),
                share: share.clone(),
            };
            self.event(Span(later), &host, get);
            self.pause(later, &host);
        }
        if self.choices.percent(30) {
            let search = Action::Search {
                to: to.clone(),
                share: share.clone(),
            };
            self.event(Span(later), &host, search);
        }
        if self.choices.percent(10) {
            self.event(Span(later), &host, Action::Sync);
        }
        if self.choices.percent(5) {
            self.event(Span(later), &host, Action::Cancel);
        }
        if self.choices.percent(5) {
            self.event(Span(later), &host, Action::Unsubscribe { to, share });
        }
    }

    /// Hosts come and go. One in ten never leaves, nor do the hubs.
    fn churn(&mut self) {
        for number in HUBS.min(self.options.nodes)..self.options.nodes {
            if self.choices.percent(10) {
                continue;
            }
            let host = format!("n{number}");
            let mut at = self.scenario.hosts[number as usize].start.0;
            while let Some(session) = self.options.profile.session(self.choices) {
                at = at.saturating_add(session.0);
                if at >= self.scenario.heal.0 {
                    break;
                }
                let leave = match self.choices.below(10) {
                    0..5 => Action::Stop,
                    5..8 => Action::Kill,
                    _ => Action::Crash,
                };
                self.event(Span(at), &host, leave);
                at = at.saturating_add(self.options.profile.absence(self.choices).0);
                if at >= self.scenario.heal.0 {
                    break;
                }
                if self.options.profile == Profile::Mobile {
                    let edge = self.scenario.hosts[number as usize].edge.clone();
                    self.event(Span(at), &host, Action::Roam { edge });
                }
                self.event(Span(at), &host, Action::Start);
            }
        }
    }

    /// All but the hubs take turns, so that those that hang are new ones again and again.
    fn unresponsive(&mut self) {
        let span = Span(HANGS_EVERY.0 / 100 * u64::from(self.options.unresponsive_percent));
        if span.0 == 0 {
            return;
        }
        let heal = self.scenario.heal.0;
        for number in HUBS.min(self.options.nodes)..self.options.nodes {
            let mut at = self.choices.below(HANGS_EVERY.0);
            while at < heal {
                let span = Span(span.0.min(heal - at));
                self.event(Span(at), &format!("n{number}"), Action::Suspend { span });
                at += HANGS_EVERY.0;
            }
        }
    }

    fn villains(&mut self) {
        let count = (self.options.nodes * self.options.villains_percent).div_ceil(100);
        for number in 0..count {
            let mut host = Host::new(format!("v{number}"));
            host.villain = Some(self.choices.one_of(VillainKind::ALL));
            host.core = false;
            host.start = Span::millis(self.choices.below(120_000));
            self.scenario.hosts.push(host);
        }
    }

    fn event(&mut self, at: Span, host: &str, action: Action) {
        self.scenario.events.push(Event {
            at,
            host: host.to_owned(),
            action,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            nodes: 12,
            length: Span::secs(3600),
            profile: Profile::Harsh,
            villains_percent: 20,
            nat: NatMix::Mixed,
            unresponsive_percent: 10,
            faults: true,
        }
    }

    #[test]
    fn a_seed_gives_one_scenario_and_others_give_others() {
        assert_eq!(generate(1, &options()), generate(1, &options()));
        assert_ne!(generate(1, &options()), generate(2, &options()));
    }

    #[test]
    fn nothing_goes_wrong_after_the_healing() {
        for seed in 0..50 {
            let scenario = generate(seed, &options());
            for event in &scenario.events {
                let mut end = event.at.0;
                if let Action::Clog { span } | Action::Suspend { span } = &event.action {
                    end += span.0;
                }
                assert!(end <= scenario.heal.0, "{event:?}");
            }
        }
    }
}
