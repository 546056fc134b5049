//! Links under faults end or live as those of real transports.

use scp2p_proto::io::{DialError, LinkError};

use super::*;

fn idle(transport: Transport) -> u64 {
    match transport {
        Transport::Quic => 30,
        Transport::Tcp => 60,
    }
}

#[test]
fn an_idle_link_lives_and_costs_nothing() {
    for transport in BOTH {
        let mut world = World::open();
        let (dialed, accepted) = world.link(transport);
        world.run(61);
        assert!(world.agenda.is_empty());
        world.run(100_000);
        world.grant(B, accepted, Lane::Control, 10);
        world.send(A, dialed, Lane::Control, vec![1; 10]);
        world.run(1);
        assert_eq!(world.received(B, accepted, Lane::Control).len(), 10);
        assert!(world.told.is_empty());
    }
}

#[test]
fn a_link_busy_in_one_direction_is_left_alone_too() {
    let mut world = World::open();
    let (dialed, accepted) = world.link(Transport::Quic);
    world.grant(B, accepted, Lane::Control, 1000);
    for _ in 0..30 {
        world.send(A, dialed, Lane::Control, vec![1; 10]);
        world.run(1);
    }
    assert_eq!(world.received(B, accepted, Lane::Control).len(), 300);
    assert!(world.agenda.is_empty());
}

#[test]
fn a_short_partition_delays_and_a_long_one_cuts() {
    for transport in BOTH {
        for (secs, lives) in [(idle(transport) / 2, true), (idle(transport) + 5, false)] {
            let mut world = World::open();
            let (dialed, accepted) = world.link(transport);
            world.run(500);
            let now = world.now;
            world.net.partition(now, A, &[], false);
            assert!(!world.net.direct_path_possible(world.now, A, B));
            world.grant(B, accepted, Lane::Control, 10);
            world.send(A, dialed, Lane::Control, vec![1; 10]);
            world.run(secs);
            assert!(world.received(B, accepted, Lane::Control).is_empty());
            let later = world.now;
            world.net.heal(later, B);
            world.run(100);
            assert_eq!(
                world.received(B, accepted, Lane::Control).len() == 10,
                lives
            );
            for (host, link) in [(A, dialed), (B, accepted)] {
                match world.lost_after(host, link, now) {
                    Some(after) => assert!(!lives && after <= idle(transport), "{after}"),
                    None => assert!(lives),
                }
            }
            assert_eq!(world.net.links.is_empty(), !lives);
        }
    }
}

#[test]
fn a_one_way_partition_is_noticed_by_the_deaf_end_first() {
    let mut world = World::open();
    let (dialed, accepted) = world.link(Transport::Quic);
    let now = world.now;
    world.net.partition(now, A, &[B], true);
    world.grant(B, accepted, Lane::Control, 10);
    world.send(A, dialed, Lane::Control, vec![1; 10]);
    world.run(1);
    assert_eq!(world.received(B, accepted, Lane::Control).len(), 10);
    world.run(100);
    let a = world.lost_after(A, dialed, now).expect("A hears nothing");
    let b = world.lost_after(B, accepted, now).expect("A is gone");
    assert!(
        (20..=30).contains(&a) && (a + 20..=a + 30).contains(&b),
        "{a} {b}"
    );
}

#[test]
fn a_killed_process_resets_tcp_and_leaves_quic_silent() {
    for transport in BOTH {
        let mut world = World::open();
        let (dialed, accepted) = world.link(transport);
        let now = world.now;
        world.net.stop(now, B, Stop::Reset);
        world.run(40);
        let after = world.lost_after(A, dialed, now).expect("B is gone");
        match transport {
            Transport::Quic => assert!((20..=30).contains(&after), "{after}"),
            Transport::Tcp => assert_eq!(after, 0),
        }
        assert!(world.heard(B, accepted).is_empty());
        assert!(world.net.links.is_empty());
        let refused = world.dial_host(A, B, transport);
        let error = match transport {
            Transport::Quic => DialError::TimedOut,
            Transport::Tcp => DialError::Refused,
        };
        assert!(
            matches!(world.heard(A, refused)[..], [LinkEvent::Failed(failed)] if *failed == error)
        );
        world.listen(B);
        let again = world.dial_host(A, B, transport);
        assert!(matches!(world.heard(A, again)[..], [LinkEvent::Dialed(_)]));
    }
}

#[test]
fn after_a_power_cut_the_first_segment_finds_nobody() {
    let mut world = World::open();
    let (dialed, _) = world.link(Transport::Tcp);
    let now = world.now;
    world.net.stop(now, B, Stop::Silent);
    let refused = world.dial_host(A, B, Transport::Tcp);
    assert!(matches!(
        world.heard(A, refused)[..],
        [LinkEvent::Failed(DialError::TimedOut)]
    ));
    assert!(world.lost_after(A, dialed, now).is_none());
    world.listen(B);
    world.send(A, dialed, Lane::Control, vec![1]);
    world.run(1);
    assert!(matches!(
        world.heard(A, dialed)[..],
        [LinkEvent::Closed(LinkError::Lost)]
    ));
}

#[test]
fn a_nap_is_survived_and_a_long_sleep_is_not() {
    for (secs, lives) in [(15, true), (100, false)] {
        let mut world = World::open();
        let (dialed, accepted) = world.link(Transport::Quic);
        world.run(1000);
        let now = world.now;
        world.net.pause(now, B, true);
        world.run(secs);
        assert!(world.heard(B, accepted).is_empty());
        let now = world.now;
        world.net.pause(now, B, false);
        world.run(2);
        assert_eq!(world.lost_after(A, dialed, now).is_none(), lives);
        assert_eq!(world.heard(B, accepted).is_empty(), lives);
        world.run(100);
        assert_eq!(world.net.links.is_empty(), !lives);
    }
}

#[test]
fn a_clogged_host_answers_late() {
    let mut world = World::open();
    let (dialed, accepted) = world.link(Transport::Quic);
    world.grant(B, accepted, Lane::Control, 10);
    let now = world.now;
    world.net.clog(now, A, Time(now.0 + 20_000_000));
    world.send(A, dialed, Lane::Control, vec![1; 10]);
    world.run(19);
    assert!(world.received(B, accepted, Lane::Control).is_empty());
    world.run(2);
    assert_eq!(world.received(B, accepted, Lane::Control).len(), 10);
    world.run(100);
    assert!(world.told.is_empty());
}

#[test]
fn a_host_that_moved_keeps_the_quic_links_that_it_dialled() {
    for (transport, mover, keeps) in [
        (Transport::Quic, A, true),
        (Transport::Quic, B, false),
        (Transport::Tcp, A, false),
        (Transport::Tcp, B, false),
    ] {
        for edge_of in [None, Some("home")] {
            let mut world = World::open();
            world
                .net
                .add_edge(&edge("home", Some(DEPENDENCES[1]), DEPENDENCES[1]));
            let (dialed, accepted) = world.link(transport);
            let (now, before) = (world.now, world.address(mover));
            world.net.roam(now, mover, edge_of);
            assert!(world.address(mover) != before);
            let other = [B, A][usize::from(mover == B)];
            let link = world.dial_host(mover, other, transport);
            assert!(matches!(
                world.heard(mover, link)[..],
                [LinkEvent::Dialed(_)]
            ));
            world.run(200);
            for (host, link) in [(A, dialed), (B, accepted)] {
                let after = world.lost_after(host, link, now);
                assert_eq!(after.is_none(), keeps);
                assert!(
                    after.is_none_or(|secs| secs <= idle(transport)),
                    "{after:?}"
                );
            }
            assert!(world.lost_after(mover, link, now).is_none());
            world.grant(A, dialed, Lane::Control, 100);
            world.send(B, accepted, Lane::Control, vec![1; 100]);
            world.run(1);
            let came = world.received(A, dialed, Lane::Control).len();
            assert_eq!(came, if keeps { 100 } else { 0 });
        }
    }
}

#[test]
fn a_host_that_moved_out_of_reach_loses_its_links() {
    let mut world = World::open();
    world
        .net
        .add_edge(&edge("home", Some(DEPENDENCES[0]), DEPENDENCES[0]));
    let far = HostId(2);
    world.host(far, Some("home"));
    let at = SocketAddr::new(world.address(far), PORT);
    let now = world.now;
    world.net.roam(now, A, Some("home"));
    let link = world.dial(A, at, Transport::Quic);
    world.run(1);
    assert!(matches!(world.heard(A, link)[..], [LinkEvent::Dialed(_)]));
    let now = world.now;
    world.net.roam(now, A, None);
    world.run(31);
    assert!(
        world
            .lost_after(A, link, now)
            .is_some_and(|secs| secs <= 30)
    );
}

#[test]
fn nothing_remains_of_links_under_all_faults() {
    let mut world = World::pair(
        rough(),
        5,
        [Some(edge("a", Some(DEPENDENCES[1]), DEPENDENCES[2])), None],
    );
    for round in 0..40u64 {
        let transport = BOTH[(round % 2) as usize];
        let link = world.dial_host(A, B, transport);
        if let Some(accepted) = world.accepted(B) {
            world.grant(B, accepted, Lane::Control, 100_000);
        }
        if matches!(world.heard(A, link)[..], [LinkEvent::Dialed(_)]) {
            world.send(A, link, Lane::Control, vec![7; 150_000]);
        }
        let now = world.now;
        match round % 5 {
            0 => world.net.stop(now, B, Stop::Reset),
            1 => world.net.stop(now, A, Stop::Silent),
            2 => world.net.partition(now, A, &[B], round % 2 == 0),
            3 => world.net.roam(now, A, Some("a")),
            _ => world.close(A, link),
        }
        world.run(3);
        world.listen(A);
        world.listen(B);
        let now = world.now;
        world.net.heal(now, A);
    }
    let now = world.now;
    for host in [A, B] {
        world.net.stop(now, host, Stop::Silent);
    }
    world.run(200);
    assert!(world.net.links.is_empty() && world.net.ends.is_empty());
    assert!(world.agenda.is_empty());
}
