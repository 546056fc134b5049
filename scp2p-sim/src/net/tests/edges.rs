//! Edges let through what RFC 4787 says.

use super::*;

/// Nothing, a firewall of each kind, and a translator of each kind.
fn kinds(name: &str) -> Vec<Option<Edge>> {
    let mut kinds = vec![None];
    for filtering in DEPENDENCES {
        kinds.push(Some(edge(name, None, filtering)));
        for mapping in DEPENDENCES {
            kinds.push(Some(edge(name, Some(mapping), filtering)));
        }
    }
    kinds
}

fn is_up(world: &World, host: HostId, link: LinkId) -> bool {
    matches!(world.heard(host, link)[..], [LinkEvent::Dialed(_)])
}

/// Whether a dial to the host succeeds at any of the endpoints that it is known under.
fn dial_all(world: &mut World, from: HostId, to: HostId, transport: Transport) -> bool {
    let own = SocketAddr::new(world.address(to), PORT);
    let endpoints = match transport {
        Transport::Quic => world.net.quic_endpoints(world.now, to),
        Transport::Tcp => vec![own],
    };
    let mut dials = endpoints.into_iter();
    dials.any(|at| {
        let link = world.dial(from, at, transport);
        world.run(6);
        is_up(world, from, link)
    })
}

// Edges that were passed outward let in what they remember of it, which the oracle knows; dials from
// both sides open a way between firewalls.
#[test]
fn a_dial_succeeds_where_the_oracle_says_so() {
    let (mut late, mut open) = (0, 0);
    for a in kinds("a") {
        for b in kinds("b") {
            let always = [b.is_none(), a.is_none()];
            let mut world = World::pair(scenario::Network::default(), 1, [a.clone(), b]);
            let hub = HostId(2);
            world.host(hub, None);
            for host in [A, B] {
                assert!(dial_all(&mut world, host, hub, Transport::Quic));
            }
            for (way, (from, to)) in [(A, B), (B, A), (A, B)].into_iter().enumerate() {
                let possible = world.net.reaches(world.now, from, to);
                let up = dial_all(&mut world, from, to, Transport::Quic);
                assert_eq!(up, possible, "{from:?} to {to:?} of {a:?}");
                let always = always[way % 2];
                assert!(up || !always);
                late += usize::from(up && !always);
                open += usize::from(up);
            }
            assert!(always == [world.net.can_dial(A, B), world.net.can_dial(B, A)]);
        }
    }
    assert!(late > 0 && open > late);
}

#[test]
fn tcp_is_let_in_where_no_edge_is() {
    for a in kinds("a") {
        for b in kinds("b") {
            let mut world = World::pair(scenario::Network::default(), 1, [a.clone(), b]);
            for (from, to) in [(A, B), (B, A)] {
                let up = dial_all(&mut world, from, to, Transport::Tcp);
                assert_eq!(up, world.net.can_dial(from, to));
            }
        }
    }
}

#[test]
fn who_is_let_in_is_what_the_filter_tells_apart() {
    for mapping in [None, Some(DEPENDENCES[0])] {
        for (filtering, expected) in [
            (DEPENDENCES[0], [true, true]),
            (DEPENDENCES[1], [true, false]),
            (DEPENDENCES[2], [true, false]),
        ] {
            let home = edge("home", mapping, filtering);
            let mut world = World::pair(still(), 1, [Some(home), None]);
            let stranger = HostId(2);
            world.host(stranger, None);
            assert!(!world.net.reaches(world.now, B, A));
            let (dialed, _) = world.link(Transport::Quic);
            // Keep-alives hold the binding much longer than it lasts by itself.
            world.run(1000);
            let let_in = [B, stranger].map(|from| world.net.reaches(world.now, from, A));
            assert_eq!(let_in, expected, "{mapping:?} {filtering:?}");
            for (from, expected) in [B, stranger].into_iter().zip(expected) {
                assert_eq!(dial_all(&mut world, from, A, Transport::Quic), expected);
            }
            world.net.stop(world.now, B, Stop::Silent);
            world.net.stop(world.now, stranger, Stop::Silent);
            world.run(31);
            assert!(world.lost_after(A, dialed, Time(0)).is_some());
            world.run(120);
            for host in [B, stranger] {
                world.listen(host);
                assert!(!world.net.reaches(world.now, host, A));
            }
        }
    }
}

#[test]
fn hosts_behind_one_edge_reach_each_other() {
    for kind in kinds("both").into_iter().flatten() {
        let mut world = World::new(scenario::Network::default(), 1);
        world.net.add_edge(&kind);
        world.host(A, Some("both"));
        world.host(B, Some("both"));
        let link = world.dial_host(A, B, Transport::Tcp);
        assert!(is_up(&world, A, link));
        assert!(world.net.direct_path_possible(world.now, A, B));
    }
}

#[test]
fn a_firewall_inside_a_translator_opens_outward_only() {
    let mut world = World::new(scenario::Network::default(), 1);
    world
        .net
        .add_edge(&edge("home", Some(DEPENDENCES[0]), DEPENDENCES[0]));
    let wall = Edge {
        behind: Some("home".into()),
        ..edge("wall", None, DEPENDENCES[2])
    };
    world.net.add_edge(&wall);
    world.host(A, Some("wall"));
    world.host(B, Some("home"));
    let inn = world.dial_host(B, A, Transport::Quic);
    let out = world.dial_host(A, B, Transport::Quic);
    assert!(is_up(&world, A, out) && !is_up(&world, B, inn));
    assert!(world.net.direct_path_possible(world.now, A, B));
}

#[test]
fn behind_two_translators_a_host_looks_like_the_outer_one() {
    let mut world = World::new(scenario::Network::default(), 1);
    // In any order.
    for name in ["home", "other"] {
        let home = Edge {
            behind: Some("carrier".into()),
            ..edge(name, Some(DEPENDENCES[0]), DEPENDENCES[1])
        };
        world.net.add_edge(&home);
    }
    let carrier = edge("carrier", Some(DEPENDENCES[2]), DEPENDENCES[2]);
    world.net.add_edge(&carrier);
    world.host(A, Some("home"));
    world.host(B, None);
    world.host(HostId(2), Some("other"));
    let link = world.dial_host(A, B, Transport::Tcp);
    let accepted = world.accepted(B).expect("B was dialled");
    assert!(is_up(&world, A, link));
    let [LinkEvent::Accepted(info)] = world.heard(B, accepted)[..] else {
        panic!("{:?}", world.told);
    };
    assert!(info.remote.ip() != world.address(A));
    assert_eq!(info.remote.to_string().split('.').next(), Some("20"));
    world.send(B, accepted, Lane::Control, vec![1; 100]);
    world.grant(A, link, Lane::Control, 100);
    world.run(200);
    assert_eq!(world.received(A, link, Lane::Control).len(), 100);
    assert!(world.lost_after(A, link, Time(0)).is_none());
    assert!(world.net.direct_path_possible(world.now, B, A));
    assert!(!world.net.direct_path_possible(world.now, A, HostId(2)));
}

/// What remains of a link over an edge that forgets after so many seconds, when left idle for five minutes.
fn survives(transport: Transport, expiry: u64) -> bool {
    let short = Edge {
        expiry: Span::secs(expiry),
        ..edge("home", Some(DEPENDENCES[0]), DEPENDENCES[2])
    };
    let mut world = World::pair(still(), 1, [Some(short), None]);
    let (dialed, accepted) = world.link(transport);
    world.run(300);
    let ends = [
        world.lost_after(A, dialed, Time(0)),
        world.lost_after(B, accepted, Time(0)),
    ];
    assert_eq!(ends[0].is_some(), ends[1].is_some());
    assert_eq!(world.net.links.is_empty(), ends[0].is_some());
    world.grant(A, dialed, Lane::Control, 1);
    world.send(B, accepted, Lane::Control, vec![1]);
    world.run(1);
    let came = !world.received(A, dialed, Lane::Control).is_empty();
    assert_eq!(came, ends[0].is_none());
    came
}

#[test]
fn keep_alives_hold_bindings_that_last_longer() {
    assert!(survives(Transport::Quic, 60));
    assert!(survives(Transport::Quic, 12));
    assert!(survives(Transport::Tcp, 120));
    assert!(survives(Transport::Tcp, 30));
    assert!(!survives(Transport::Tcp, 15));
}

// A QUIC link goes on from the endpoint that it has outside since its dialler sent something again.
#[test]
fn a_quic_link_survives_an_edge_that_forgets_it() {
    assert!(survives(Transport::Quic, 8));
}

#[test]
fn a_binding_ends_with_the_keep_alives() {
    let home = edge("home", Some(DEPENDENCES[0]), DEPENDENCES[0]);
    let mut world = World::pair(still(), 1, [Some(home), None]);
    let (_, accepted) = world.link(Transport::Quic);
    world.run(600);
    // The host behind the edge is gone; its peer hears of it by silence.
    let now = world.now;
    world.net.stop(now, A, Stop::Silent);
    world.run(60);
    let lost = world.lost_after(B, accepted, now);
    assert!(
        lost.is_some_and(|secs| (19..=30).contains(&secs)),
        "{lost:?}"
    );
    assert!(world.net.links.is_empty());
}

#[test]
fn outside_endpoints_are_reached_from_inside_only_with_hairpin() {
    let endpoint = |text: String| -> std::net::SocketAddrV4 { text.parse().expect("an endpoint") };
    for hairpin in [false, true] {
        let mut world = World::new(scenario::Network::default(), 1);
        let home = Edge {
            hairpin,
            ..edge("home", Some(DEPENDENCES[0]), DEPENDENCES[0])
        };
        world.net.add_edge(&home);
        world.host(A, Some("home"));
        world.host(B, Some("home"));
        world.host(HostId(2), None);
        // B's listening port has a binding outside, as a socket that is used in both ways has.
        let own = endpoint(format!("{}:{PORT}", world.address(B)));
        let outside = endpoint(format!("{}:{PORT}", world.address(HostId(2))));
        let now = world.now;
        let sent = world
            .net
            .realms
            .depart(now, Transport::Quic, B, own, outside)
            .expect("it gets out");
        let link = world.dial(A, sent.from.into(), Transport::Quic);
        world.run(6);
        assert_eq!(is_up(&world, A, link), hairpin);
    }
}
