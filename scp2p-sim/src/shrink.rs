//! The small scenario inside a large one that shows the same fault.

use crate::scenario::{Action, Clock, Disk, Host, Network, Scenario};

/// Takes out hosts, events, edges and faults as long as `still_fails` says that what is left shows the
/// fault. The result fails and is no larger; without time for more, it is the smallest seen.
///
/// `still_fails` is asked some tens of times for each host and event that is left; it may say false for ever to end the search.
pub fn shrink(scenario: &Scenario, still_fails: &mut dyn FnMut(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone();
    loop {
        let before = best.clone();
        fewer_hosts(&mut best, still_fails);
        fewer_events(&mut best, still_fails);
        simpler_world(&mut best, still_fails);
        if best == before {
            return best;
        }
    }
}

/// Keeps a changed scenario if it fails.
fn attempt(
    best: &mut Scenario,
    changed: Scenario,
    still_fails: &mut dyn FnMut(&Scenario) -> bool,
) -> bool {
    let smaller = changed != *best && !changed.hosts.is_empty() && still_fails(&changed);
    if smaller {
        *best = changed;
    }
    smaller
}

fn fewer_hosts(best: &mut Scenario, still_fails: &mut dyn FnMut(&Scenario) -> bool) {
    take_out(
        best,
        still_fails,
        |scenario| scenario.hosts.len(),
        |scenario, range| {
            let names: Vec<String> = scenario.hosts[range]
                .iter()
                .map(|host| host.name.clone())
                .collect();
            names.iter().fold(scenario.clone(), without_host)
        },
    );
}

fn fewer_events(best: &mut Scenario, still_fails: &mut dyn FnMut(&Scenario) -> bool) {
    take_out(
        best,
        still_fails,
        |scenario| scenario.events.len(),
        |scenario, range| {
            let mut changed = scenario.clone();
            changed.events.drain(range);
            changed
        },
    );
}

/// Takes out runs of things, long ones first.
fn take_out(
    best: &mut Scenario,
    still_fails: &mut dyn FnMut(&Scenario) -> bool,
    count: impl Fn(&Scenario) -> usize,
    without: impl Fn(&Scenario, std::ops::Range<usize>) -> Scenario,
) {
    let mut run = count(best).div_ceil(2);
    while run > 0 {
        let mut end = count(best);
        while end > 0 {
            let start = end.saturating_sub(run);
            let changed = without(best, start..end);
            attempt(best, changed, still_fails);
            end = start;
        }
        run /= 2;
    }
}

/// The scenario without a host and all that speaks of it.
fn without_host(mut scenario: Scenario, name: &String) -> Scenario {
    scenario.hosts.retain(|host| host.name != *name);
    for host in &mut scenario.hosts {
        host.bootstrap.retain(|other| other != name);
    }
    scenario.events.retain_mut(|event| {
        let mut is_left = true;
        if let Action::Partition { from, .. } = &mut event.action
            && !from.is_empty()
        {
            from.retain(|other| other != name);
            is_left = !from.is_empty();
        }
        event.host != *name && event.action.publisher() != Some(name) && is_left
    });
    scenario
}

/// Takes out what goes wrong all the time.
fn simpler_world(best: &mut Scenario, still_fails: &mut dyn FnMut(&Scenario) -> bool) {
    let calm = Network {
        latency: best.network.latency,
        ..Network::default()
    };
    let changed = Scenario {
        network: calm,
        ..best.clone()
    };
    attempt(best, changed, still_fails);
    for number in 0..best.hosts.len() {
        let simpler: [fn(&mut Host); 3] = [
            |host| host.disk = Disk::default(),
            |host| host.clock = Clock::default(),
            |host| host.edge = None,
        ];
        for change in simpler {
            let mut changed = best.clone();
            change(&mut changed.hosts[number]);
            attempt(best, changed, still_fails);
        }
    }
    let mut changed = best.clone();
    let used = |scenario: &Scenario, name: &str| {
        let by_hosts = scenario
            .hosts
            .iter()
            .any(|host| host.edge.as_deref() == Some(name));
        let by_edges = scenario
            .edges
            .iter()
            .any(|edge| edge.behind.as_deref() == Some(name));
        let by_events = scenario.events.iter().any(
            |event| matches!(&event.action, Action::Roam { edge: Some(edge) } if edge == name),
        );
        by_hosts || by_edges || by_events
    };
    changed.edges.retain(|edge| used(best, &edge.name));
    attempt(best, changed, still_fails);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{NatMix, Options, Profile, generate};
    use crate::scenario::Span;

    /// What one publishes and another one follows is found among forty hosts and hundreds of events.
    #[test]
    fn what_matters_is_left() {
        let options = Options {
            nodes: 40,
            length: Span::secs(7200),
            profile: Profile::Harsh,
            villains_percent: 20,
            nat: NatMix::Mixed,
            unresponsive_percent: 0,
            faults: true,
        };
        let scenario = generate(3, &options);
        let mut fails = |scenario: &Scenario| {
            let published: Vec<&str> = scenario
                .events
                .iter()
                .filter(|event| matches!(event.action, Action::Publish { .. }))
                .map(|event| event.host.as_str())
                .collect();
            scenario.events.iter().any(|event| {
                matches!(&event.action, Action::Subscribe { to, .. } if published.contains(&to.as_str()))
            })
        };
        assert!(fails(&scenario));
        let small = shrink(&scenario, &mut fails);
        assert!(fails(&small));
        assert_eq!(
            (small.hosts.len(), small.events.len(), small.edges.len()),
            (2, 2, 0)
        );
    }
}
