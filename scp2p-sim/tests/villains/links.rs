//! Villains that attack links, handshakes and routing.

use std::collections::BTreeMap;
use std::time::Duration;

use scp2p_proto::event::Event;
use scp2p_proto::io::CloseCode;
use scp2p_sim::scenario::VillainKind;

use crate::world::{FRIEND, PUBLISHER, VILLAIN, World, ip, key};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn garbage_costs_its_sender_the_link() {
    let mut world = World::new(VillainKind::GarbageTalker);
    world.pass(5 * MINUTE);
    world.did("sessions", 5);
    world.did("garbled hellos", 50);
    world.did("garbled frames", 10);
    world.did("garbled payloads", 100);
    for host in [PUBLISHER, FRIEND] {
        let at = &world.hosts[host];
        assert!(at.closed_as(CloseCode::Handshake) >= 10, "{:?}", at.closed);
        assert!(at.closed_as(CloseCode::Offence) >= 5, "{:?}", at.closed);
    }
    world.is_well();
}

#[test]
fn lengths_are_not_believed() {
    let mut world = World::new(VillainKind::LengthLiar);
    world.pass(5 * MINUTE);
    world.did("lengths of hellos", 50);
    world.did("lengths of frames", 10);
    world.did("CBOR bombs", 300);
    world.did("bombs in answers", 1);
    let offences = |host: usize| world.hosts[host].closed_as(CloseCode::Offence);
    assert!(offences(PUBLISHER) + offences(FRIEND) >= 10);
    world.is_well();
}

#[test]
fn who_drips_is_put_out() {
    let mut world = World::new(VillainKind::SlowDrip);
    world.pass(5 * MINUTE);
    world.did("dripping hellos", 50);
    world.did("bytes dripped", 500);
    world.did("dripping requests", 3);
    for host in [PUBLISHER, FRIEND] {
        let closed = &world.hosts[host].closed;
        let slow = closed
            .iter()
            .filter(|(code, _)| *code == CloseCode::Handshake);
        let longest = slow.clone().map(|(_, open)| *open).max();
        assert!(slow.count() >= 20, "{closed:?}");
        assert!(longest <= Some(Duration::from_secs(10)), "{longest:?}");
    }
    world.is_well();
}

#[test]
fn handshakes_of_strangers_leave_nothing() {
    let mut world = World::new(VillainKind::HandshakeFlooder);
    world.pass(2 * MINUTE);
    world.did("hellos", 300);
    world.did("hellos answered", 200);
    world.did("sessions of a moment", 30);
    let status = world.node(PUBLISHER).status();
    assert_eq!(status.connected, 1, "{status:?}");
    assert!(world.hosts[PUBLISHER].closed_as(CloseCode::Handshake) >= 50);
    world.is_well();
}

#[test]
fn nothing_is_accepted_twice() {
    let mut world = World::new(VillainKind::Replayer);
    world.pass(7 * MINUTE);
    world.did("conversations recorded", 20);
    world.did("hellos recorded", 1);
    world.did("answers repeated", 1);
    world.did("conversations repeated", 100);
    world.did("requests repeated", 100);
    assert_eq!(world.villain().deeds().of("repeats accepted"), 0);
    for host in [PUBLISHER, FRIEND] {
        assert!(world.hosts[host].closed_as(CloseCode::Handshake) >= 40);
    }
    world.is_well();
}

/// Two nodes that know only the man in the middle.
#[test]
fn nobody_comes_in_between() {
    let mut world = World::with(VillainKind::MiddleMan, false);
    world.pass(5 * MINUTE);
    world.did("callers taken", 10);
    world.did("hellos passed on", 20);
    world.did("callers lost", 20);
    world.did("names taken", 10);
    assert_eq!(world.villain().deeds().of("frames overheard"), 0);
    for (host, other) in [(PUBLISHER, FRIEND), (FRIEND, PUBLISHER)] {
        let events = &world.hosts[host].events;
        let told = |event: &Event| matches!(event, Event::Interception { claimed, remote } if *claimed == key(other) && remote.ip() == ip(VILLAIN));
        assert!(events.iter().any(told), "{events:?}");
        for event in events {
            if let Event::PeerConnected { peer, remote, .. } = event {
                assert_eq!(remote.ip() == ip(VILLAIN), *peer == key(VILLAIN));
            }
        }
    }
}

#[test]
fn nobody_is_sent_astray() {
    let mut world = World::new(VillainKind::RoutingPoisoner);
    world.pass(4 * MINUTE);
    world.did("poisoned offers", 80);
    world.did("poisoned answers", 5);
    world.did("false ports", 15);
    for host in [PUBLISHER, FRIEND] {
        world.dials_are_public(host);
        let dials = &world.hosts[host].dials;
        assert!(dials.len() <= 4 * 100, "{} dials in 4 minutes", dials.len());
        let mut places = BTreeMap::new();
        for (_, dial) in dials {
            *places.entry(format!("{dial:?}")).or_insert(0) += 1;
        }
        for (place, times) in places {
            // Once a minute for whoever is named there, and once for who is there.
            assert!(times <= 5 + 1, "{place} {times} times in 4 minutes");
        }
        assert!(world.node(host).status().known <= 4096);
    }
    world.is_well();
}
