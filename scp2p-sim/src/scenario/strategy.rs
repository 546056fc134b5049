//! Scenarios for properties.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::check::{CLOCK_SECS_MAX, DRIFT_PPM_MAX, LATENCY_MAX, LENGTH_MAX, RATE_MAX};
use super::{
    Action, Clock, Dependence, Disk, Edge, Event, Host, Links, Network, NodeSettings, Scenario,
    Span, VillainKind,
};

/// Scenarios that can be run, with all that can be in them.
pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    (1..6_usize, 0..4_usize, span(1, LENGTH_MAX)).prop_flat_map(|(hosts, edges, length)| {
        let edges: Vec<BoxedStrategy<Edge>> = (0..edges).map(|at| edge(at).boxed()).collect();
        let behind = edges.len();
        let host_list: Vec<BoxedStrategy<Host>> = (0..hosts)
            .map(|at| host(at, hosts, behind, length).boxed())
            .collect();
        let events = vec(event(hosts, behind, length), 0..12);
        let times = (any::<u64>(), span(0, length));
        (times, network(), edges, host_list, events).prop_map(
            move |((seed, heal), network, edges, hosts, events)| Scenario {
                seed,
                length,
                heal,
                network,
                edges,
                hosts,
                events,
            },
        )
    })
}

fn span(low: u64, high: Span) -> impl Strategy<Value = Span> + Clone {
    prop_oneof![low..=high.0, Just(high.0.min(90_000_000).max(low))].prop_map(Span)
}

fn latency() -> impl Strategy<Value = [Span; 2]> {
    [span(0, LATENCY_MAX), span(0, LATENCY_MAX)].prop_map(|mut pair| {
        pair.sort();
        pair
    })
}

fn ppm() -> impl Strategy<Value = u32> {
    0..=1_000_000_u32
}

fn network() -> impl Strategy<Value = Network> {
    let parts = (ppm(), ppm(), ppm(), ppm());
    let spans = (span(0, LATENCY_MAX), span(0, LENGTH_MAX));
    let network = (latency(), spans, parts, links()).prop_map(
        |(latency, (jitter, burst), (loss, bursts, duplicate, reorder), links)| Network {
            latency,
            jitter,
            loss_ppm: loss,
            burst_ppm: bursts,
            burst,
            duplicate_ppm: duplicate,
            reorder_ppm: reorder,
            links,
        },
    );
    prop_oneof![Just(Network::default()), network]
}

fn links() -> impl Strategy<Value = Links> {
    let all: &[Links] = match cfg!(feature = "quic") {
        true => &[Links::Modelled, Links::Quic],
        false => &[Links::Modelled],
    };
    select(all)
}

fn edge(at: usize) -> impl Strategy<Value = Edge> {
    let dependence = select(vec![
        Dependence::Independent,
        Dependence::Address,
        Dependence::AddressAndPort,
    ]);
    let behind = match at {
        0 => Just(None).boxed(),
        at => option::of((0..at).prop_map(|at| format!("edge.{at}"))).boxed(),
    };
    let switches = (any::<bool>(), any::<bool>());
    let mapping = option::of(dependence.clone());
    (
        behind,
        mapping,
        dependence,
        span(1_000_000, LENGTH_MAX),
        switches,
    )
        .prop_map(
            move |(behind, mapping, filtering, expiry, (inbound_refresh, hairpin))| Edge {
                name: format!("edge.{at}"),
                behind,
                mapping,
                filtering,
                expiry,
                inbound_refresh,
                hairpin,
            },
        )
}

fn host(at: usize, hosts: usize, edges: usize, length: Span) -> impl Strategy<Value = Host> {
    let who = (option::of(select(VillainKind::ALL.to_vec())), any::<bool>());
    let place = (behind(edges), vec(name(hosts), 0..3), span(0, length));
    let rates = (1..=RATE_MAX, 1..=RATE_MAX);
    (who, place, rates, disk(), clock(), node()).prop_map(
        move |((villain, core), (edge, bootstrap, start), (up, down), disk, clock, node)| Host {
            name: format!("Host_{at}"),
            edge,
            bootstrap,
            start,
            villain,
            core,
            up,
            down,
            disk,
            clock,
            node,
        },
    )
}

fn name(hosts: usize) -> impl Strategy<Value = String> + Clone {
    (0..hosts).prop_map(|at| format!("Host_{at}"))
}

fn behind(edges: usize) -> BoxedStrategy<Option<String>> {
    match edges {
        0 => Just(None).boxed(),
        edges => option::of((0..edges).prop_map(|at| format!("edge.{at}"))).boxed(),
    }
}

fn disk() -> impl Strategy<Value = Disk> {
    let disk =
        (latency(), ppm(), ppm()).prop_map(|(latency, read_error_ppm, write_error_ppm)| Disk {
            latency,
            read_error_ppm,
            write_error_ppm,
        });
    prop_oneof![Just(Disk::default()), disk]
}

fn clock() -> impl Strategy<Value = Clock> {
    let offset = -CLOCK_SECS_MAX..=CLOCK_SECS_MAX;
    let drift = -DRIFT_PPM_MAX..=DRIFT_PPM_MAX;
    (offset, drift, span(0, LATENCY_MAX), ppm()).prop_map(
        |(offset_secs, drift_ppm, late, spurious_ppm)| Clock {
            offset_secs,
            drift_ppm,
            late,
            spurious_ppm,
        },
    )
}

fn node() -> impl Strategy<Value = NodeSettings> {
    let interval = || option::of(span(1_000_000, LENGTH_MAX));
    let number = |least: u32| option::of(least..);
    let numbers = (number(0), number(1), number(1), number(0));
    (
        interval(),
        interval(),
        numbers,
        (any::<[bool; 2]>(), 0..3_u8),
    )
        .prop_map(
            |(
                poll_interval,
                republish_interval,
                (items, uploads, files, sessions_kept),
                ([relay, announce], transports),
            )| NodeSettings {
                poll_interval,
                republish_interval,
                item_records_max: items,
                uploads_per_peer_max: uploads,
                files_at_once_max: files,
                sessions_kept,
                relay,
                announce,
                no_quic: transports == 1,
                no_tcp: transports == 2,
            },
        )
}

fn event(hosts: usize, edges: usize, length: Span) -> impl Strategy<Value = Event> {
    (span(0, length), name(hosts), action(hosts, edges)).prop_map(|(at, host, action)| Event {
        at,
        host,
        action,
    })
}

fn action(hosts: usize, edges: usize) -> impl Strategy<Value = Action> {
    let plain = select(vec![
        Action::Start,
        Action::Stop,
        Action::Kill,
        Action::Crash,
        Action::Wipe,
        Action::Heal,
        Action::DiskFree,
        Action::Sync,
        Action::Pause,
        Action::Resume,
        Action::Cancel,
    ]);
    let share = || "[a-zA-Z0-9_.-]{1,64}";
    let spans = (span(0, LENGTH_MAX), any::<bool>()).prop_map(|(span, sleeps)| match sleeps {
        true => Action::Suspend { span },
        false => Action::Clog { span },
    });
    let about = (name(hosts), share(), 0..4_u8).prop_map(|(to, share, verb)| match verb {
        0 => Action::Subscribe { to, share },
        1 => Action::Unsubscribe { to, share },
        2 => Action::Search { to, share },
        _ => Action::Get { to, share },
    });
    prop_oneof![
        plain,
        behind(edges).prop_map(|edge| Action::Roam { edge }),
        spans,
        (-CLOCK_SECS_MAX..=CLOCK_SECS_MAX).prop_map(|secs| Action::ClockStep { secs }),
        (vec(name(hosts), 0..3), any::<bool>())
            .prop_map(|(from, one_way)| Action::Partition { from, one_way }),
        any::<u32>().prop_map(|writes| Action::DiskFull { writes }),
        (share(), 1..=3000_u32, 0..100_000_u64).prop_map(|(share, files, bytes)| Action::Publish {
            share,
            files,
            bytes
        }),
        (share(), any::<u32>()).prop_map(|(share, file)| Action::Edit { share, file }),
        share().prop_map(|share| Action::Unpublish { share }),
        about,
    ]
}
