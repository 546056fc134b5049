//! A clock that is wrong: handshakes are refused for it, and users hear why.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::World;
use scp2p_proto::Node;
use scp2p_proto::config::Config;
use scp2p_proto::event::Event;
use scp2p_proto::io::{Input, Lane, LinkError, LinkEvent, LinkInfo, Output, Transport};
use scp2p_proto::keys::Keys;
use scp2p_proto::storage::Saved;
use scp2p_proto::time::{Now, Time, UnixTime};
use scp2p_proto::view::{Cause, ClockDoubt, PeerCause, Subject};

const DAY: i64 = 86_400;

/// A node in a network of its own, whose clock is so far ahead.
fn add(world: &mut World, bootstrap: &[usize], ahead_secs: i64) -> usize {
    let at = Ipv4Addr::new(10, world.hosts.len() as u8, 0, 1);
    let number = world.add_at(at.into(), bootstrap, |_| {});
    world.hosts[number].ahead_secs = ahead_secs;
    number
}

fn told(world: &World, number: usize) -> Vec<ClockDoubt> {
    let mut doubts = Vec::new();
    for event in &world.hosts[number].events {
        if let Event::ClockDoubt(doubt) = event {
            doubts.push(*doubt);
        }
    }
    doubts
}

/// How far a peer's clock is said to be ahead of a node's.
fn why(world: &World, node: usize, peer: usize) -> Option<i64> {
    let causes = world.node(node).why(Subject::Peer(world.key(peer)));
    causes.into_iter().find_map(|cause| {
        let Cause::Peer(PeerCause::ClockDiffers { ahead_secs }) = cause else {
            return None;
        };
        Some(ahead_secs)
    })
}

#[test]
fn peers_of_several_networks_that_refuse_a_clock_show_how_wrong_it_is() {
    for ahead_secs in [DAY, -400] {
        let mut world = World::new();
        let peers: Vec<usize> = (0..3).map(|_| add(&mut world, &[], 0)).collect();
        let wrong = add(&mut world, &peers, ahead_secs);
        world.pass(Duration::from_secs(5));
        let doubt = world.node(wrong).status().clock.expect("it is doubted");
        assert!(doubt.is_likely());
        assert_eq!((doubt.peers, doubt.networks), (3, 3));
        let off_secs = doubt.off_secs.expect("they said how much");
        assert!((off_secs - ahead_secs).abs() <= 1, "{off_secs}");
        assert_eq!(world.node(wrong).status().connected, 0);
        for peer in &peers {
            let says = why(&world, *peer, wrong).expect("it is why there is no session");
            assert!((says - ahead_secs).abs() <= 1, "{says}");
            let says = why(&world, wrong, *peer).expect("it is why there is no session");
            assert!((says + ahead_secs).abs() <= 1, "{says}");
        }
        world.pass(Duration::from_secs(600));
        assert_eq!(told(&world, wrong).len(), 1, "once is enough");

        world.hosts[wrong].ahead_secs = 0;
        world.until("sessions, as the clock is right", |world| {
            world.node(wrong).status().connected == 3
        });
        world.pass(Duration::from_secs(1));
        assert_eq!(world.node(wrong).status().clock, None);
        assert_eq!(why(&world, peers[0], wrong), None);
    }
}

#[test]
fn one_peer_whose_clock_is_wrong_is_that_peers_affair() {
    let mut world = World::new();
    let wrong = add(&mut world, &[], -DAY);
    let peers: Vec<usize> = (0..2).map(|_| add(&mut world, &[], 0)).collect();
    let node = add(&mut world, &[wrong, peers[0], peers[1]], 0);
    for _ in 0..10 {
        world.pass(Duration::from_secs(60));
        assert_eq!(world.node(node).status().clock, None);
    }
    assert!(told(&world, node).is_empty());
    assert_eq!(world.node(node).status().connected, 2);
    let says = why(&world, node, wrong).expect("it is why there is no session");
    assert!((says + DAY).abs() <= 1, "{says}");
    assert_eq!(why(&world, node, peers[0]), None);
}

#[test]
fn the_only_peer_tried_makes_it_a_possibility() {
    let mut world = World::new();
    let hub = add(&mut world, &[], 0);
    let wrong = add(&mut world, &[hub], DAY);
    world.pass(Duration::from_secs(60));
    let doubt = world.node(wrong).status().clock.expect("it is doubted");
    assert!(!doubt.is_likely());
    assert_eq!(doubt.peers, 1);
    assert!((doubt.off_secs.expect("it said how much") - DAY).abs() <= 1);
    assert_eq!(told(&world, wrong).len(), 1);
    // The other end has the same reason to doubt its own until somebody else agrees with it.
    assert!(world.node(hub).status().clock.is_some());
    add(&mut world, &[hub], 0);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.node(hub).status().clock, None);
}

/// Deployed peers close without a word when the time in a hello is wrong, and for other reasons.
#[test]
fn peers_that_only_close_make_it_a_possibility_without_a_figure() {
    let config = Config {
        bootstrap: vec!["tcp://192.0.2.1:7001".parse().expect("an address")],
        ..Config::default()
    };
    let mut now = Now {
        mono: Time(1),
        unix: UnixTime(1_700_000_000),
    };
    let keys = Keys::from_seed([1; 32]);
    let mut node = Node::new(config, keys, [2; 32], Saved::default(), now);
    let end = now.mono + Duration::from_secs(60);
    let mut told = Vec::new();
    while now.mono < end {
        now.mono = node.deadline().map_or(end, |(at, _)| at.min(end));
        let mut inputs = vec![Input::Tick];
        while let Some(input) = inputs.pop() {
            node.handle(now, input);
            while let Some(output) = node.poll_output() {
                if let Output::Event(Event::ClockDoubt(doubt)) = &output {
                    told.push(*doubt);
                }
                if let Output::Dial(link, _) = output {
                    let info = LinkInfo {
                        transport: Transport::Tcp,
                        remote: SocketAddr::new(IpAddr::from([192, 0, 2, 1]), 7001),
                        exporter: [0; 32],
                    };
                    inputs.push(Input::Link(link, LinkEvent::Closed(LinkError::Closed)));
                    inputs.push(Input::Link(link, LinkEvent::Room(Lane::Control, 1 << 16)));
                    inputs.push(Input::Link(link, LinkEvent::Dialed(info)));
                }
            }
            assert_eq!(node.check(), Vec::<String>::new());
        }
    }
    let doubt = ClockDoubt {
        off_secs: None,
        peers: 1,
        networks: 1,
    };
    assert_eq!(node.status().clock, Some(doubt));
    assert!(!doubt.is_likely());
    assert_eq!(told, [doubt]);
}
