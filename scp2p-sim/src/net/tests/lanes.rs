//! Links carry bytes as drivers of real sockets do.

use proptest::prelude::*;
use scp2p_proto::io::{DialError, LinkError};

use super::*;

fn bytes(len: usize, salt: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at % 251) as u8 ^ (at / 251) as u8 ^ salt)
        .collect()
}

#[test]
fn a_dial_takes_as_many_round_trips_as_its_handshake() {
    let mut latency = 0;
    for (transport, trips) in [(Transport::Quic, 1), (Transport::Tcp, 2)] {
        let mut world = World::pair(still(), 1, [None, None]);
        let start = world.now;
        let link = world.dial_host(A, B, transport);
        let (at, ..) = world.told[0];
        let took = at.since(start).as_micros() as u64;
        if trips == 1 {
            latency = took / 2;
        }
        assert_eq!(took, latency * 2 * trips);
        assert!((10_000..=80_000).contains(&latency));
        let [LinkEvent::Dialed(dialed)] = world.heard(A, link)[..] else {
            panic!("{:?}", world.told);
        };
        let accepted = world.accepted(B).expect("B was dialled");
        assert!(accepted.0 >> 63 == 1);
        let [LinkEvent::Accepted(info)] = world.heard(B, accepted)[..] else {
            panic!("{:?}", world.told);
        };
        assert_eq!(
            (dialed.exporter, dialed.transport),
            (info.exporter, transport)
        );
        assert_eq!(dialed.remote, SocketAddr::new(world.address(B), PORT));
        assert_eq!(info.remote.ip(), world.address(A));
        let bulk = if trips == 1 { 4 << 20 } else { 0 };
        for (host, link) in [(A, link), (B, accepted)] {
            assert_eq!(world.room(host, link, Lane::Control), 2 << 20);
            assert_eq!(world.room(host, link, Lane::Bulk), bulk);
        }
    }
}

#[test]
fn dials_fail_as_they_should() {
    let mut world = World::open();
    let closed = SocketAddr::new(world.address(B), PORT + 1);
    let cases = [
        (closed, Transport::Tcp, DialError::Refused, 0),
        (closed, Transport::Quic, DialError::TimedOut, 5),
        (
            "10.1.2.3:7000".parse().expect("an address"),
            Transport::Tcp,
            DialError::Unreachable,
            0,
        ),
        (
            "[2001:db8::1]:7000".parse().expect("an address"),
            Transport::Quic,
            DialError::Unreachable,
            0,
        ),
        (
            "198.18.5.5:7000".parse().expect("an address"),
            Transport::Tcp,
            DialError::TimedOut,
            5,
        ),
    ];
    for (to, transport, error, secs) in cases {
        let start = world.now;
        let link = world.dial(A, to, transport);
        world.run(6);
        let [LinkEvent::Failed(failed)] = world.heard(A, link)[..] else {
            panic!("{to} {transport}: {:?}", world.told);
        };
        assert_eq!(*failed, error, "{to} {transport}");
        let (at, ..) = world.told[world.told.len() - 1];
        assert_eq!(at.since(start).as_secs(), secs, "{to} {transport}");
    }
    assert!(world.net.links.is_empty() && world.net.ends.is_empty());
}

#[test]
fn a_host_reaches_itself() {
    let mut world = World::open();
    let link = world.dial_host(A, A, Transport::Quic);
    assert!(matches!(world.heard(A, link)[..], [LinkEvent::Dialed(_)]));
    assert!(world.accepted(A).is_some());
}

#[test]
fn what_was_sent_before_closing_arrives() {
    for transport in BOTH {
        let mut world = World::pair(rough(), 3, [None, None]);
        let (dialed, accepted) = world.link(transport);
        let sent = bytes(1 << 20, 0);
        world.send(A, dialed, Lane::Control, sent.clone());
        world.close(A, dialed);
        world.grant(B, accepted, Lane::Control, 8 << 20);
        world.run(25);
        assert_eq!(world.received(B, accepted, Lane::Control), sent);
        assert!(matches!(
            world.heard(B, accepted)[..],
            [LinkEvent::Closed(LinkError::Closed)]
        ));
        assert!(world.heard(A, dialed).is_empty());
        world.run(120);
        assert!(world.net.links.is_empty() && world.net.ends.is_empty());
        assert!(world.agenda.is_empty());
    }
}

#[test]
fn bytes_nobody_takes_do_not_keep_a_closed_link() {
    let mut world = World::open();
    let (dialed, accepted) = world.link(Transport::Quic);
    world.send(A, dialed, Lane::Control, bytes(1000, 0));
    world.close(A, dialed);
    world.run(40);
    assert!(matches!(
        world.heard(B, accepted)[..],
        [LinkEvent::Closed(LinkError::Closed)]
    ));
    assert!(world.net.links.is_empty());
}

#[test]
fn room_comes_back_as_bytes_are_delivered() {
    let mut world = World::open();
    let (dialed, accepted) = world.link(Transport::Quic);
    world.send(A, dialed, Lane::Bulk, bytes(3 << 20, 0));
    world.run(5);
    assert_eq!(world.room(A, dialed, Lane::Bulk), 1 << 20);
    world.grant(B, accepted, Lane::Bulk, (1 << 18) - 1);
    world.run(1);
    assert_eq!(world.room(A, dialed, Lane::Bulk), 1 << 20);
    assert_eq!(world.received(B, accepted, Lane::Bulk).len(), (1 << 18) - 1);
    world.grant(B, accepted, Lane::Bulk, 1);
    world.run(1);
    assert_eq!(world.room(A, dialed, Lane::Bulk), (1 << 20) + (1 << 18));
    world.grant(B, accepted, Lane::Bulk, u32::MAX);
    world.run(1);
    assert_eq!(world.room(A, dialed, Lane::Bulk), 4 << 20);
}

#[test]
fn a_frame_without_room_breaks_the_link() {
    let mut world = World::open();
    let (dialed, accepted) = world.link(Transport::Tcp);
    world.send(A, dialed, Lane::Control, bytes(3 << 20, 0));
    world.send(A, dialed, Lane::Control, bytes(1, 0));
    world.run(1);
    for (host, link) in [(A, dialed), (B, accepted)] {
        assert!(matches!(
            world.heard(host, link)[..],
            [LinkEvent::Closed(LinkError::Lost)]
        ));
    }
    assert!(world.net.links.is_empty());
}

#[test]
fn small_frames_do_not_wait_for_large_ones() {
    let mut world = World::pair(still(), 1, [None, None]);
    world.host(HostId(2), None);
    let (dialed, accepted) = world.link(Transport::Quic);
    let at = SocketAddr::new(world.address(HostId(2)), PORT);
    let other = world.dial(A, at, Transport::Tcp);
    world.run(1);
    world.grant(B, accepted, Lane::Bulk, 8 << 20);
    world.grant(B, accepted, Lane::Control, 8 << 20);
    // A third of a second's worth, and frames behind it on this link and another.
    world.send(A, dialed, Lane::Bulk, bytes(4 << 20, 0));
    world.send(A, dialed, Lane::Control, bytes(100, 0));
    world.send(A, other, Lane::Control, bytes(100, 0));
    let third = world.accepted(HostId(2)).expect("it was dialled");
    world.grant(HostId(2), third, Lane::Control, 100);
    world.run_micros(110_000);
    assert_eq!(world.received(B, accepted, Lane::Control).len(), 100);
    assert_eq!(world.received(HostId(2), third, Lane::Control).len(), 100);
    let so_far = world.received(B, accepted, Lane::Bulk).len();
    assert!(so_far < 2 << 20, "{so_far}");
    // The line's rate, and what the handshake of segments costs.
    world.run_micros(400_000);
    assert_eq!(world.received(B, accepted, Lane::Bulk).len(), 4 << 20);
}

/// All that is told in a run.
fn run_of(seed: u8) -> String {
    let mut world = World::pair(rough(), seed, [None, None]);
    let (dialed, accepted) = world.link(Transport::Quic);
    world.grant(B, accepted, Lane::Control, 8 << 20);
    let mut log = String::new();
    for round in 0..20 {
        world.send(A, dialed, Lane::Control, bytes(50_000, round));
        world.run_micros(50_000);
        let got = world.received(B, accepted, Lane::Control).len();
        log += &format!("{got} {} {:?};", world.agenda.len(), world.agenda.next_at());
    }
    log
}

#[test]
fn a_seed_determines_a_run() {
    assert_eq!(run_of(1), run_of(1));
    assert_ne!(run_of(1), run_of(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Frames arrive whole and in order, whatever the network does, and never more than was granted.
    #[test]
    fn frames_arrive_in_order_within_grants(
        seed: u8,
        tcp: bool,
        frames in prop::collection::vec((1usize..200_000, any::<bool>(), 1u32..300_000), 1..20),
    ) {
        let transport = if tcp { Transport::Tcp } else { Transport::Quic };
        let mut world = World::pair(rough(), seed, [None, None]);
        let dialed = world.dial_host(A, B, transport);
        let Some(accepted) = world.accepted(B) else {
            // All messages of a handshake may be lost.
            return Ok(());
        };
        let mut sent: BTreeMap<Lane, Vec<u8>> = BTreeMap::new();
        let mut granted: BTreeMap<Lane, usize> = BTreeMap::new();
        for (number, (len, bulk, grant)) in frames.into_iter().enumerate() {
            let lane = if bulk && !tcp { Lane::Bulk } else { Lane::Control };
            if world.room(A, dialed, lane) > 0 {
                let frame = bytes(len, number as u8);
                sent.entry(lane).or_default().extend_from_slice(&frame);
                world.send(A, dialed, lane, frame);
            }
            *granted.entry(lane).or_default() += grant as usize;
            world.grant(B, accepted, lane, grant);
            world.run_micros(30_000);
            for (lane, granted) in &granted {
                prop_assert!(world.received(B, accepted, *lane).len() <= *granted);
            }
        }
        world.run(20);
        for (lane, sent) in &sent {
            let got = world.received(B, accepted, *lane);
            prop_assert_eq!(got.len(), sent.len().min(granted[lane]));
            prop_assert!(sent.starts_with(got));
            world.grant(B, accepted, *lane, u32::MAX);
        }
        world.run(20);
        for (lane, sent) in &sent {
            prop_assert!(world.received(B, accepted, *lane) == sent.as_slice());
        }
    }
}
