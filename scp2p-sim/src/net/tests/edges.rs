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

#[test]
fn a_dial_succeeds_where_the_oracle_says_so() {
    let mut ways = [0; 2];
    for transport in BOTH {
        for a in kinds("a") {
            for b in kinds("b") {
                let open = a.is_none() || b.is_none();
                let mut world = World::pair(scenario::Network::default(), 1, [a.clone(), b]);
                let there = world.dial_host(A, B, transport);
                let back = world.dial_host(B, A, transport);
                let up = is_up(&world, A, there) || is_up(&world, B, back);
                assert_eq!(up, world.net.direct_path_possible(A, B));
                assert_eq!(up, open, "{:?}", a);
                ways[usize::from(up)] += 1;
            }
        }
    }
    assert_eq!(ways, [288, 50]);
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
        assert!(world.net.direct_path_possible(A, B));
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
    let out = world.dial_host(A, B, Transport::Quic);
    let inn = world.dial_host(B, A, Transport::Quic);
    assert!(is_up(&world, A, out) && !is_up(&world, B, inn));
    assert!(world.net.direct_path_possible(A, B));
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
    assert!(world.net.direct_path_possible(B, A));
    assert!(!world.net.direct_path_possible(A, HostId(2)));
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
    assert!(!survives(Transport::Quic, 8));
    assert!(survives(Transport::Tcp, 120));
    assert!(!survives(Transport::Tcp, 20));
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
