//! Clocks that differ by more than handshakes allow.

use std::net::Ipv4Addr;

use scp2p_proto::keys::Keys;
use serde_json::Value;

use super::SOON;
use super::common::peer::{Peer, listen, listen_at};
use super::common::{Node, Settings, stdout, until};

const DAY: u64 = 86_400;

/// A node that starts from peers whose clocks are a day ahead, each in a network of its own.
fn among(networks: u8) -> Node {
    let peers = (1..=networks).map(|network| {
        let keys = Keys::from_seed([network; 32]);
        let ip = Ipv4Addr::new(127, network, 0, 1);
        let addr = listen_at(ip, move |channel| Peer::refuse_clock(channel, &keys, DAY));
        format!("tcp://{addr}")
    });
    let peers: Vec<String> = peers.collect();
    Node::start(Settings::default().bootstrap(&peers))
}

/// What the status says of the clock, once it says it.
fn doubt(node: &Node, is_it: impl Fn(&Value) -> bool) -> Value {
    until("the clock is doubted", SOON, || {
        let doubt = node.cli(&["status"])["clock"].clone();
        (!doubt.is_null() && is_it(&doubt)).then_some(doubt)
    })
}

fn line(node: &Node) -> String {
    let shown = stdout(&node.try_cli(&["status"]));
    let line = shown.lines().find(|line| line.starts_with("clock"));
    line.expect("a line about the clock").to_owned()
}

#[test]
fn who_is_a_day_behind_several_networks_is_told_to_set_the_clock() {
    let node = among(3);
    let events = node.events();
    let doubt = doubt(&node, |doubt| doubt["networks"] == 3);
    let off_secs = doubt["off_secs"].as_i64().expect("a number");
    assert!((off_secs + DAY as i64).abs() <= 5, "{doubt}");
    assert_eq!(
        (&doubt["likely"], &doubt["peers"]),
        (&true.into(), &3.into())
    );
    let line = line(&node);
    for word in [
        "wrong: ",
        "h behind",
        "3 peers in 3 networks",
        "set this machine's date",
    ] {
        assert!(line.contains(word), "{line}");
    }
    // The stream of events may begin after it was told.
    assert!(events.of("clock_doubt").len() <= 2);
}

#[test]
fn one_peer_alone_is_a_possibility_that_is_told() {
    let node = among(1);
    let events = node.events();
    let doubt = doubt(&node, |_| true);
    assert_eq!(
        (&doubt["likely"], &doubt["peers"]),
        (&false.into(), &1.into())
    );
    assert!(line(&node).contains("may be wrong: "), "{}", line(&node));
    until("the user is told", SOON, || {
        (!events.of("clock_doubt").is_empty()).then_some(())
    });
}

#[test]
fn one_that_closes_without_a_word_is_a_possibility_without_a_figure() {
    let addr = listen(|mut channel| channel.receive().map(drop));
    let node = Node::start(Settings::default().bootstrap(&[format!("tcp://{addr}")]));
    let doubt = doubt(&node, |_| true);
    assert!(doubt["off_secs"].is_null(), "{doubt}");
    assert!(line(&node).contains("closed when this node said hello"));
}

#[test]
fn two_right_clocks_leave_a_wrong_one_to_its_peer() {
    let other = Node::start(Settings::default());
    let keys = Keys::from_seed([9; 32]);
    let wrong = listen_at(Ipv4Addr::new(127, 9, 0, 1), move |channel| {
        Peer::refuse_clock(channel, &keys, DAY)
    });
    let peers = [other.bootstrap(), vec![format!("tcp://{wrong}")]].concat();
    let node = Node::start(Settings::default().bootstrap(&peers));
    let third = Node::start(Settings::default().bootstrap(&node.bootstrap()));
    until("sessions", SOON, || {
        (node.cli(&["status"])["connected"].as_u64()? >= 2).then_some(())
    });
    assert!(node.cli(&["status"])["clock"].is_null());
    assert!(line(&node).contains("nobody says that it is wrong"));
    drop(third);
}
