//! Two nodes that nobody can dial, and relays in the open.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::common::{Node, Settings, text, until};
use super::internet::{Host, Internet, Nat};
use super::nodes::{begin, complete, content, publish};
use super::{SOON, sandbox, strict, usual};

const SIZE: usize = 5_000_000;
/// A download goes on within 5 s when its relay dies, and one more because the times of the node's events are whole seconds.
/// It takes about one where two cores have other tests to run too, so there is room for a busy machine.
const GO_ON_SECS: u64 = 6;
/// How long after a relay is back its clients may need to have their places there again. It takes a fraction of a second, or
/// one more attempt: 2 s later at first.
const BACK: Duration = Duration::from_secs(10);

fn relay(host: &Host) -> Node {
    host.start(Settings {
        args: vec!["--relay".to_owned(), "--relay-content".to_owned()],
        ..Settings::default()
    })
}

fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
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

/// One publishes and the other downloads it all: the relay that carries their session, if it is a circuit.
fn carrier_of_download(seeder: &Node, node: &Node) -> Option<String> {
    let bytes = content(SIZE);
    let link = publish(seeder, &bytes);
    begin(node, &link);
    complete(node, &bytes);
    via(node, seeder).expect("connected")
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
            let carrier = carrier_of_download(&seeder, &node);
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

/// The way between the NATs is interrupted from the start until something of the download came over the relay; both try it
/// again after half a minute.
#[test]
fn a_download_over_a_relay_goes_direct_by_itself_and_the_relay_carries_no_more_of_it() {
    sandbox::run(
        "relays::a_download_over_a_relay_goes_direct_by_itself_and_the_relay_carries_no_more_of_it",
        || {
            const LARGE: usize = 192 << 20;
            const RATE: u32 = 3 << 20;
            let internet = Internet::new();
            let [home, office] = [(); 2].map(|()| internet.nat(&usual(), None));
            let middle = internet.host(None);
            let between = relay(&middle);
            internet.part(true);
            let (server, seeder) = behind(&office, &internet, &[&middle]);
            let (_client, node) = behind(&home, &internet, &[&middle]);
            is_relayed(&seeder, 1);
            let link = publish(&seeder, &content(LARGE));
            server.slow_down(RATE);
            begin(&node, &link);
            let relayed = || between.cli(&["relay", "circuits"])["bytes"].as_u64();
            let done = || node.cli(&["downloads"])[0]["done"].as_u64();
            until("a part of it over the relay", SOON, || {
                let is_relayed = via(&node, &seeder)? == Some(between.key());
                let both = [done(), relayed()];
                let is_part = both.iter().all(|bytes| *bytes > Some(2 << 20));
                (is_relayed && is_part).then_some(())
            });
            internet.part(false);
            until("a direct path", SOON, || {
                via(&node, &seeder)?.is_none().then_some(())
            });
            // Calls under way have ended.
            thread::sleep(Duration::from_secs(6));
            let before = (relayed(), done());
            let more = before.1.map(|bytes| bytes + (8 << 20));
            until("more of it", SOON, || (done() >= more).then_some(()));
            assert_eq!(relayed(), before.0, "the relay carried more of it");
            assert!(done() < Some(LARGE as u64), "it is still under way");
            assert_eq!(via(&node, &seeder), Some(None));
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
        let events = node.events();
        relays[dead].kill();
        let killed = unix_secs();
        let other = text(&relays[1 - dead].ready["key"]);
        until("the other relay", SOON, || {
            (via(&node, &seeder)?? == other).then_some(())
        });
        // What came before the relay died may be counted later; what came since there was another is counted above it.
        let before = node.cli(&["downloads"])[0]["done"].as_u64();
        let went_on = until("more of it", SOON, || {
            let told = events.of("download_progress");
            let mut more = told.iter().filter(|event| event["done"].as_u64() > before);
            more.next()?["unix"].as_u64()
        });
        let took = went_on.saturating_sub(killed);
        eprintln!("the download went on after {took} s");
        assert!(took <= GO_ON_SECS, "it took {took} s to go on");
        complete(&node, &bytes);
        is_relayed(&seeder, 1);
        hosts[dead].restart(&mut relays[dead]);
        let restarted = Instant::now();
        is_relayed(&seeder, 2);
        let took = restarted.elapsed();
        eprintln!("the place was back after {took:.1?}");
        assert!(took <= BACK, "it took {took:.1?} to be back");
    });
}

/// The way of people who run a relay by its own command and tell nobody of it: peers know one plain node, and find the relay
/// by what it announces.
#[test]
fn hidden_nodes_that_know_a_plain_node_alone_find_a_relay_and_meet_over_it() {
    sandbox::run(
        "relays::hidden_nodes_that_know_a_plain_node_alone_find_a_relay_and_meet_over_it",
        || {
            let internet = Internet::new();
            let [home, office] = [(); 2].map(|()| internet.nat(&strict(), None));
            let [open, middle] = [(); 2].map(|()| internet.host(None));
            let _hub = open.start(Settings::default());
            let between = middle.start(
                Settings {
                    relay: true,
                    args: vec!["--relay-content".to_owned()],
                    ..Settings::default()
                }
                .bootstrap(&Host::bootstrap_at(open.address())),
            );
            let (_server, seeder) = behind(&office, &internet, &[&open]);
            let (_client, node) = behind(&home, &internet, &[&open]);
            is_relayed(&seeder, 1);
            let carrier = carrier_of_download(&seeder, &node);
            assert_eq!(carrier, Some(between.key()));
            let relayed = between.cli(&["relay", "circuits"])["bytes"].as_u64();
            assert!(relayed > Some(SIZE as u64), "{relayed:?}");
        },
    );
}
