//! Two nodes that nobody can dial, and relays in the open.

use std::thread;
use std::time::{Duration, Instant};

use super::common::{Node, Settings, text, until};
use super::internet::{Host, Internet, Nat};
use super::nodes::{begin, complete, content, publish};
use super::{SOON, sandbox, strict, usual};

const SIZE: usize = 5_000_000;

fn relay(host: &Host) -> Node {
    host.start(Settings {
        args: vec!["--relay".to_owned(), "--relay-content".to_owned()],
        ..Settings::default()
    })
}

/// A node behind a NAT that starts from relays on these hosts.
fn behind(nat: &Nat, internet: &Internet, relays: &[&Host]) -> (Host, Node) {
    let host = internet.host(Some(nat));
    let peers: Vec<String> = relays
        .iter()
        .flat_map(|relay| Host::bootstrap_at(relay.address()))
        .collect();
    let node = host.start(Settings::default().bootstrap(&peers));
    (host, node)
}

/// Waits until others find the node at so many relays.
fn is_relayed(node: &Node, relays: usize) {
    until("places at relays", SOON, || {
        let status = node.cli(&["status"]);
        let addresses = status["addresses"].as_array().expect("a list");
        let through = addresses.iter().filter(|addr| text(addr).contains(" via "));
        let is_known = status["reachability"]["state"] == "relayed";
        (is_known && through.count() == relays).then_some(())
    });
}

/// The relay that carries a node's session with another, or nothing if it is direct.
fn via(node: &Node, other: &Node) -> Option<Option<String>> {
    let key = text(&other.ready["key"]);
    let peers = node.cli(&["peers"]);
    let mut peers = peers.as_array().expect("a list").iter();
    let session = &peers.find(|peer| text(&peer["key"]) == key)?["session"];
    (!session.is_null()).then(|| session["via"].as_str().map(str::to_owned))
}

#[test]
fn two_behind_the_strictest_nats_meet_through_a_relay() {
    sandbox::run(
        "relays::two_behind_the_strictest_nats_meet_through_a_relay",
        || {
            let internet = Internet::new();
            let [home, office] = [(); 2].map(|()| internet.nat(&strict(), None));
            let middle = internet.host(None);
            let between = relay(&middle);
            let (_server, seeder) = behind(&office, &internet, &[&middle]);
            let (_client, node) = behind(&home, &internet, &[&middle]);
            is_relayed(&seeder, 1);
            let bytes = content(SIZE);
            let link = publish(&seeder, &bytes);
            begin(&node, &link);
            complete(&node, &bytes);
            let carrier = via(&node, &seeder).expect("connected");
            assert_eq!(carrier, Some(text(&between.ready["key"])));
            assert!(middle.traffic().inn.bytes > SIZE as u64);
        },
    );
}

#[test]
fn two_behind_usual_nats_need_the_relay_only_to_meet() {
    sandbox::run(
        "relays::two_behind_usual_nats_need_the_relay_only_to_meet",
        || {
            let internet = Internet::new();
            let [home, office] = [(); 2].map(|()| internet.nat(&usual(), None));
            let middle = internet.host(None);
            let _between = relay(&middle);
            let (_server, seeder) = behind(&office, &internet, &[&middle]);
            let (_client, node) = behind(&home, &internet, &[&middle]);
            is_relayed(&seeder, 1);
            let bytes = content(SIZE);
            let link = publish(&seeder, &bytes);
            node.cli(&["subscribe", &link]);
            until("a direct path", SOON, || {
                via(&node, &seeder)?.is_none().then_some(())
            });
            // Calls under way have ended.
            thread::sleep(Duration::from_secs(6));
            let before = middle.traffic().inn.bytes;
            begin(&node, &link);
            complete(&node, &bytes);
            let during = middle.traffic().inn.bytes - before;
            assert!(
                during < SIZE as u64 / 10,
                "{during} bytes went to the relay"
            );
        },
    );
}

#[test]
fn a_download_goes_on_over_another_relay() {
    sandbox::run("relays::a_download_goes_on_over_another_relay", || {
        const LARGE: usize = 96 << 20;
        let internet = Internet::new();
        let [home, office] = [(); 2].map(|()| internet.nat(&strict(), None));
        let hosts = [(); 2].map(|()| internet.host(None));
        let mut relays = hosts.each_ref().map(relay);
        let both = [&hosts[0], &hosts[1]];
        let (_server, seeder) = behind(&office, &internet, &both);
        let (_client, node) = behind(&home, &internet, &both);
        is_relayed(&seeder, 2);
        let bytes = content(LARGE);
        let link = publish(&seeder, &bytes);
        begin(&node, &link);
        let first = until("a relay", SOON, || via(&node, &seeder)?);
        let dead = relays
            .iter()
            .position(|relay| text(&relay.ready["key"]) == first)
            .expect("one of them");
        relays[dead].kill();
        let killed = Instant::now();
        let done = || node.cli(&["downloads"])[0]["done"].as_u64();
        let before = done();
        let other = text(&relays[1 - dead].ready["key"]);
        until("the other relay", SOON, || {
            (via(&node, &seeder)?? == other).then_some(())
        });
        until("more of it", SOON, || (done() > before).then_some(()));
        eprintln!("the download went on after {:.1?}", killed.elapsed());
        complete(&node, &bytes);
        is_relayed(&seeder, 1);
        hosts[dead].restart(&mut relays[dead]);
        let restarted = Instant::now();
        is_relayed(&seeder, 2);
        eprintln!("the place was back after {:.1?}", restarted.elapsed());
    });
}
