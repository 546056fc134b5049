//! Two nodes meet: sessions, bindings, duplicates, the address book.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::event::Event;

#[test]
fn two_nodes_meet_and_the_session_is_bound() {
    let mut world = World::new();
    let one = world.add(&[]);
    let two = world.add(&[one]);
    world.until("a session", |world| world.node(one).status().connected == 1);
    world.pass(Duration::from_secs(1));
    for (number, other) in [(one, two), (two, one)] {
        let key = world.key(other);
        let peers = world.node(number).peers();
        let peer = peers
            .iter()
            .find(|peer| peer.key == key)
            .expect("in the book");
        assert!(peer.ours && peer.session.as_ref().expect("connected").bound);
        assert!(
            !peer.addresses.is_empty(),
            "reached at the address it claims"
        );
        assert_eq!(world.node(number).status().contacts, 1);
    }
}

#[test]
fn two_nodes_that_dial_each_other_keep_one_session() {
    let mut world = World::new();
    let one = world.add_with(&[], |config| {
        config
            .bootstrap
            .push("quic://10.0.1.1:7000".parse().expect("an address"))
    });
    let two = world.add(&[one]);
    world.pass(Duration::from_secs(30));
    for number in [one, two] {
        let connected = world
            .node(number)
            .peers()
            .iter()
            .filter(|peer| peer.session.is_some())
            .count();
        assert_eq!(connected, 1);
        assert!(!world.saw(number, |event| matches!(
            event,
            Event::PeerDisconnected { .. }
        )));
    }
}

#[test]
fn a_killed_peer_is_found_again() {
    let mut world = World::new();
    let one = world.add(&[]);
    let two = world.add(&[one]);
    world.until("a session", |world| world.node(two).status().connected == 1);
    world.kill(one);
    world.until("its end", |world| world.node(two).status().connected == 0);
    world.start(one);
    world.until("the session again", |world| {
        world.node(two).status().connected == 1
    });
    assert!(!world.saw(two, |event| matches!(
        event,
        Event::Interception { .. } | Event::PinMismatch { .. }
    )));
}
