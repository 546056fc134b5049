//! Two nodes meet: sessions, bindings, duplicates, the address book.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{World, ip};
use scp2p_proto::Node;
use scp2p_proto::config::Config;
use scp2p_proto::event::Event;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{HostEvent, Input, Lane, LinkEvent, LinkInfo, Output, Transport};
use scp2p_proto::keys::Keys;
use scp2p_proto::limits::{LINKS_MAX, STRANGERS_MAX};
use scp2p_proto::session::{Initiator, Params};
use scp2p_proto::storage::Saved;
use scp2p_proto::time::{Now, Time, UnixTime};
use scp2p_proto::view::{Cause, PeerCause, Subject};
use scp2p_proto::wire::{Capabilities, PeerAddr, Profile};

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

/// Links hint at both addresses of a peer: the second is tried only if the first does not come up.
#[test]
fn a_peer_given_with_two_addresses_is_dialled_once() {
    let mut world = World::new();
    let two = world.add(&[]);
    let (key, ip) = (world.key(two), ip(two));
    let one = world.add_with(&[], |config| {
        let addrs = ["quic", "tcp"].into_iter().zip(7000..);
        let addrs = addrs.map(|(scheme, port)| format!("{scheme}://{ip}:{port}@{key}"));
        let addrs = addrs.map(|addr| addr.parse().expect("an address"));
        config.bootstrap.extend(addrs);
    });
    world.pass(Duration::from_secs(30));
    let peers = world.node(one).peers();
    let sessions: Vec<_> = peers
        .iter()
        .filter_map(|peer| peer.session.as_ref())
        .collect();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].transport, Transport::Quic);
    let over_tcp = |event: &Event| {
        matches!(
            event,
            Event::PeerConnected {
                transport: Transport::Tcp,
                ..
            }
        )
    };
    assert!(!world.saw(two, over_tcp));
}

/// A deployed peer answers on the sessions that it did not open, and on no other.
#[test]
fn a_deployed_peer_is_dialled_although_it_has_dialled() {
    let mut world = World::new();
    let (hub, deployed) = (world.add_deployed(), world.add_deployed());
    let node = world.add(&[hub]);
    let key = world.key(deployed);
    let addr = |transport, port| PeerAddr {
        ip: ip(deployed),
        port,
        transport,
        key: Some(key),
        relay_via: None,
    };
    // Nobody is at the first, so its own dial is faster.
    world.deployed(hub).named = vec![addr(Transport::Quic, 1), addr(Transport::Tcp, 7001)];
    let shows = |world: &World, cause: PeerCause| {
        let causes = world.node(node).why(Subject::Peer(key));
        causes.contains(&Cause::Peer(cause))
    };
    world.until("a dial", |world| {
        shows(world, PeerCause::Dialling { links: 1 })
    });
    world.dial_from(deployed, node);
    world.until("the session that it opened", |world| {
        shows(world, PeerCause::Connected { callable: false })
    });
    assert!(shows(&world, PeerCause::Dialling { links: 1 }));
    world.pass(Duration::from_millis(20));
    assert!(shows(&world, PeerCause::Connected { callable: true }));
    world.pass(Duration::from_secs(60));
    let peer = world.deployed(deployed);
    assert!(peer.answered > 0 && peer.unanswered == 0);
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

/// Whoever dialled the session that is no more, and whosever key is the lesser.
#[test]
fn a_peer_that_vanished_and_came_back_need_not_wait() {
    for victim in 0..2 {
        let mut world = World::new();
        let one = world.add_with(&[], |config| {
            config
                .bootstrap
                .push("quic://10.0.1.1:7000".parse().expect("an address"))
        });
        let two = world.add(&[one]);
        for _ in 0..5 {
            world.until("a session", |world| {
                world.node(victim).status().connected == 1
            });
            world.pass(Duration::from_millis(300));
            world.vanish(victim);
            world.start(victim);
            world.pass(Duration::from_secs(5));
            for number in [one, two] {
                assert_eq!(world.node(number).status().connected, 1);
            }
        }
    }
}

/// A session may end with the address that it went out from, and nothing tells but silence.
#[test]
fn a_node_that_moved_finds_out_at_once_who_is_still_there() {
    let mut world = World::new();
    let one = world.add(&[]);
    let two = world.add(&[one]);
    let three = world.add(&[two]);
    world.tell(two, HostEvent::Addresses(vec![ip(two)]));
    world.until("both sessions", |world| {
        world.node(two).status().connected == 2
    });
    world.pass(Duration::from_secs(1));
    world.vanish(one);
    world.tell(two, HostEvent::Addresses(vec![ip(two), ip(7)]));
    world.pass(Duration::from_secs(4));
    assert_eq!(world.node(two).status().connected, 2, "one more address");
    world.tell(two, HostEvent::Addresses(vec![ip(7)]));
    world.pass(Duration::from_secs(4));
    let peers = world.node(two).peers();
    let connected = peers.iter().filter(|peer| peer.session.is_some());
    let connected: Vec<_> = connected.map(|peer| peer.key).collect();
    assert_eq!(connected, [world.key(three)]);
}

/// Strangers who say nothing push out each other, the longest silent first, and never
/// somebody who has just come to say who they are.
#[test]
fn strangers_who_say_nothing_keep_nobody_out() {
    let mut now = Now {
        mono: Time(1),
        unix: UnixTime(1_700_000_000),
    };
    let (keys, config, saved) = (
        Keys::from_seed([1; 32]),
        Config::default(),
        Saved::default(),
    );
    let mut node = Node::new(config, keys, [2; 32], saved, now);
    let mut closed = Vec::new();
    let mut handle = |now, input| {
        node.handle(now, input);
        let outputs: Vec<Output> = core::iter::from_fn(|| node.poll_output()).collect();
        for output in &outputs {
            if let Output::Close(id, _) = output {
                closed.push(*id);
            }
        }
        outputs
    };
    let info = LinkInfo {
        transport: Transport::Tcp,
        remote: "192.0.2.1:9".parse().expect("an address"),
        exporter: [3; 32],
    };
    // Numbers say nothing about age.
    let ids: Vec<LinkId> = (0..2 * LINKS_MAX as u64).rev().map(LinkId).collect();
    for id in &ids {
        now.mono.0 += 1;
        handle(now, Input::Link(*id, LinkEvent::Accepted(info.clone())));
    }
    let last = *ids.last().expect("some");
    handle(
        now,
        Input::Link(last, LinkEvent::Room(Lane::Control, 1 << 20)),
    );
    let stranger = Keys::from_seed([4; 32]);
    let params = Params {
        keys: &stranger,
        capabilities: Capabilities::node(),
        exporter: info.exporter,
        nonce_random: [5; 11],
        ephemeral: [6; 32],
        expected: None,
    };
    let (_, hello): (_, Bytes) = Initiator::start(params, Profile::C, now.unix);
    let outputs = handle(
        now,
        Input::Link(last, LinkEvent::Bytes(Lane::Control, hello)),
    );
    let is_answer = |output: &Output| matches!(output, Output::Send(id, ..) if *id == last);
    assert!(outputs.iter().any(is_answer), "{outputs:?}");
    assert_eq!(closed, ids[..ids.len() - STRANGERS_MAX]);
}
