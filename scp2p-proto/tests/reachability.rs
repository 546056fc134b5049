//! What nodes know and tell of being reached.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::World;
use common::deployed::relay::Relaying;
use scp2p_proto::command::Command;
use scp2p_proto::config::RelayLimits;
use scp2p_proto::event::Event;
use scp2p_proto::id::NodeKey;
use scp2p_proto::io::{HostEvent, Transport};
use scp2p_proto::view::Reach;
use scp2p_proto::wire::{Answer, Request};

/// An address of a network of this number that the world can reach.
fn public(network: u8) -> IpAddr {
    Ipv4Addr::new(20, network, 0, 1).into()
}

/// An address on a private network.
fn private(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 168, 0, last).into()
}

/// Of whom a node tells others.
fn told_by(world: &mut World, number: usize) -> BTreeSet<NodeKey> {
    let asker = world.add_deployed();
    let link = world.session_from(asker, number);
    let target = world.key(number).node_id();
    let requests = [
        Request::FindNode(target),
        Request::PexRequest { max_peers: 64 },
    ];
    let answers = world.asked_on(asker, link, &requests);
    let peers = answers.into_iter().flat_map(|answer| match answer {
        Ok(Answer::Peers(peers)) => peers,
        other => panic!("{other:?}"),
    });
    peers.filter_map(|peer| peer.key).collect()
}

/// Three nodes that anybody can dial, in different networks.
fn open_nodes(world: &mut World) -> [usize; 3] {
    let hub = world.add_at(public(1), &[], |_| {});
    let others = [2, 3].map(|network| world.add_at(public(network), &[hub], |_| {}));
    [hub, others[0], others[1]]
}

/// A router may let in those to whom something was sent. They are told that others are not, and do not hand the node on,
/// until it is reached.
#[test]
fn who_is_reached_by_few_is_handed_on_by_nobody_until_others_reach_it() {
    let mut world = World::new();
    let nodes = open_nodes(&mut world);
    let node = world.add_at(public(9), &nodes, |_| {});
    world.hosts[node].admits = |from, _| from == public(1);
    let key = world.key(node);
    world.until("three contacts, one of which is reached by few", |world| {
        world.node(nodes[0]).status().contacts == 3
    });
    world.pass(Duration::from_secs(300));
    assert_eq!(
        world.node(node).status().reachability.tcp,
        Reach::NotReached
    );
    assert!(!told_by(&mut world, nodes[0]).contains(&key));

    world.hosts[node].admits = |_, _| true;
    for network in [4, 5] {
        world.add_at(public(network), &[node], |_| {});
        world.pass(Duration::from_secs(20));
    }
    assert_eq!(world.node(node).status().reachability.quic, Reach::Reached);
    assert!(told_by(&mut world, nodes[0]).contains(&key));
}

/// Those on a private network are told of its nodes, which nobody outside reaches.
#[test]
fn who_is_on_the_same_network_is_told_the_ports_that_others_are_not() {
    let mut world = World::new();
    let nodes = open_nodes(&mut world);
    let inside = world.add_at(private(1), &nodes, |_| {});
    let node = world.add_at(private(2), &[nodes[0], nodes[1], nodes[2], inside], |_| {});
    for number in [inside, node] {
        world.hosts[number].admits = |from, _| matches!(from, IpAddr::V4(ip) if ip.is_private());
    }
    world.pass(Duration::from_secs(300));
    assert_eq!(
        world.node(node).status().reachability.tcp,
        Reach::NotReached
    );
    let key = world.key(node);
    assert!(told_by(&mut world, inside).contains(&key));
    // One that the node dials when it knows that it is not reached learns of its ports from it alone.
    let late = world.add_at(private(3), &[], |_| {});
    let place = format!("quic://{}:7000", private(3));
    let bootstrap = place.parse().expect("an address");
    let added = world.run(node, Command::AddBootstrap(bootstrap));
    added.expect("an address to dial");
    world.pass(Duration::from_secs(10));
    assert!(told_by(&mut world, late).contains(&key));
    assert!(!told_by(&mut world, nodes[0]).contains(&key));
}

/// Who is dialled from another network by somebody to whom nothing was sent is reached, whoever that is.
#[test]
fn a_tunnel_is_given_back_when_a_deployed_peer_dials_in() {
    let mut world = World::new();
    let relay = world.add_deployed_at(public(1));
    world.deployed(relay).relaying = Some(Relaying::default());
    let owner = world.add_at(public(2), &[relay], |_| {});
    let is_tunnelled = |world: &World| {
        let addresses = world.node(owner).status().addresses;
        addresses.iter().any(|addr| addr.relay_via.is_some())
    };
    world.until("a tunnel", is_tunnelled);
    let near = world.add_deployed_at(private(1));
    world.session_from(near, owner);
    world.session_from(relay, owner);
    world.pass(Duration::from_secs(60));
    assert!(is_tunnelled(&world), "they tell nothing of others");
    assert_eq!(world.node(owner).status().reachability.voices, 0);

    let client = world.add_deployed_at(public(3));
    world.session_from(client, owner);
    world.pass(Duration::from_secs(60));
    assert!(!is_tunnelled(&world));
    let reach = world.node(owner).status().reachability;
    assert_eq!((reach.quic, reach.voices), (Reach::Reached, 1));
    let attempts = world.node(owner).status().attempts;
    let [attempt] = attempts[..] else {
        panic!("{attempts:?}");
    };
    assert_eq!(
        (attempt.transport, attempt.reached),
        (Transport::Quic, true)
    );
    assert_eq!(reach.is_direct(), Some(true));
}

/// Peers see a host that moved where it is now, which it learns from them.
#[test]
fn who_moved_with_its_links_learns_where_it_is() {
    let mut world = World::new();
    let hub = world.add_at(public(1), &[], |_| {});
    let node = world.add_at(public(2), &[hub], |config| {
        config.bound_ips.clear();
        config.tcp_port = None;
    });
    let is_at = |world: &World, ip| {
        let addresses = world.node(node).status().addresses;
        addresses.first().is_some_and(|addr| addr.ip == ip)
    };
    world.tell(node, HostEvent::Addresses(vec![private(7)]));
    world.until("an address", |world| is_at(world, public(2)));
    let key = world.key(node);
    let session = |world: &World| {
        let peers = world.node(hub).peers().into_iter();
        let mut of_node = peers.filter(|peer| peer.key == key);
        let peer = of_node.next();
        peer.and_then(|peer| peer.session).expect("a session")
    };
    world.move_to(node, public(3), private(8));
    world.pass(Duration::from_secs(10));
    assert!(is_at(&world, public(3)));
    assert_eq!(session(&world).remote.ip(), public(3));
    assert!(!world.saw(hub, |event| matches!(event, Event::PeerDisconnected { .. })));
}

/// Whether a node names a place at a relay.
fn has_place(world: &World, node: usize) -> bool {
    let addresses = world.node(node).status().addresses;
    addresses.iter().any(|addr| addr.relay_via.is_some())
}

/// However few peers there are: they are asked again, and the newer answer counts.
#[test]
fn who_loses_its_forwarded_ports_takes_a_place_within_about_an_hour() {
    for peers in 1..=3 {
        let mut world = World::new();
        let relay = world.add_at(public(1), &[], |config| {
            config.capabilities.relay = true;
            config.relay = Some(RelayLimits::default());
        });
        let mut known = vec![relay];
        for network in 2..=peers {
            known.push(world.add_at(public(network), &[relay], |_| {}));
        }
        let node = world.add_at(public(9), &known, |_| {});
        world.pass(Duration::from_secs(2 * 3600));
        let direct = |world: &World| world.node(node).status().reachability.is_direct();
        assert_eq!(direct(&world), Some(true), "{peers} peers");
        assert!(!has_place(&world, node));
        world.hosts[node].walled = true;
        world.pass(Duration::from_secs(75 * 60));
        assert_eq!(direct(&world), Some(false), "{peers} peers");
        assert!(has_place(&world, node), "{peers} peers");
    }
}

/// A router that has another address may let in others than before.
#[test]
fn who_is_seen_at_another_public_address_is_tested_anew() {
    let mut world = World::new();
    let hub = world.add_at(public(1), &[], |_| {});
    let node = world.add_at(public(2), &[hub], |config| {
        config.bound_ips.clear();
    });
    world.tell(node, HostEvent::Addresses(vec![private(7)]));
    let reach = |world: &World| world.node(node).status().reachability;
    world.pass(Duration::from_secs(60));
    assert_eq!(reach(&world).tcp, Reach::Reached);
    world.hosts[node].walled = true;
    world.move_to(node, public(3), private(7));
    world.pass(Duration::from_secs(5));
    assert_eq!(reach(&world).tcp, Reach::Reached, "nobody said otherwise");
    // Whoever wakes up asks peers where they see it.
    world.tell(node, HostEvent::Resumed);
    world.pass(Duration::from_secs(20));
    assert_eq!(reach(&world).tcp, Reach::NotReached);
}

/// A place counts for where its holder is: who moves to an address that has its places loses its own.
#[test]
fn a_place_counts_for_where_its_holder_moved_to() {
    let mut world = World::new();
    let relay = world.add_at(public(1), &[], |config| {
        config.capabilities.relay = true;
        config.relay = Some(RelayLimits {
            reservations_per_ip_max: 1,
            ..RelayLimits::default()
        });
    });
    let holders = [2, 3].map(|network| {
        let holder = world.add_at(public(network), &[relay], |_| {});
        world.hosts[holder].walled = true;
        holder
    });
    let places = |world: &World| {
        let places = world.node(relay).relay().places.into_iter();
        places
            .map(|place| (place.peer, place.ip))
            .collect::<BTreeMap<_, _>>()
    };
    let keys = holders.map(|holder| world.key(holder));
    world.until("places", |world| places(world).len() == 2);
    world.move_to(holders[0], public(4), public(4));
    world.pass(Duration::from_secs(1));
    assert_eq!(
        places(&world),
        [(keys[0], public(4)), (keys[1], public(3))].into()
    );
    world.move_to(holders[1], public(4), public(4));
    world.pass(Duration::from_secs(1));
    assert_eq!(places(&world), [(keys[0], public(4))].into());
}
