//! Heads, manifests and providers through bootstrap peers of the deployed releases, which keep what was stored last.

use scp2p_interop::ours::{self, Node, Settings, until};
use scp2p_interop::theirs::{Published, Release, Setup};
use scp2p_proto::io::Transport;
use scp2p_proto::record::ShareLink;
use scp2p_proto::wire::PeerAddr;

use super::SOON;
use super::catalogs::{assert_downloads, publish, synced};
use super::files::{Files, arg};

/// A node of ours that starts from these.
pub fn starting_from(peers: &[PeerAddr]) -> Node {
    let peers: Vec<String> = peers.iter().map(PeerAddr::to_string).collect();
    Node::start(Settings::default().bootstrap(&peers))
}

/// That knows nobody to begin with.
pub fn without_hints(link: &ShareLink) -> ShareLink {
    ShareLink {
        bootstrap: Vec::new(),
        ..link.clone()
    }
}

/// Waits until a published node has this revision.
pub fn synced_there(theirs: &dyn Published, link: &ShareLink, seq: u64) {
    until("the revision", SOON, || {
        theirs.sync().expect("a sync");
        (theirs.revision(link.share()) == seq).then_some(())
    });
}

rows!(all_meet_at_a_bootstrap_peer_of_theirs);
fn all_meet_at_a_bootstrap_peer_of_theirs(release: Release, transport: Transport) {
    let hub = release.start(Setup::listening(transport));
    all_meet_at(&hub.addr(transport), release);
}

rows!(all_meet_at_a_bootstrap_peer_of_ours);
fn all_meet_at_a_bootstrap_peer_of_ours(release: Release, transport: Transport) {
    let hub = Node::start(ours::only(transport));
    all_meet_at(&ours::addr(&hub, transport), release);
}

/// Publishers and subscribers of both kinds that know only this peer find each other.
fn all_meet_at(hub: &PeerAddr, release: Release) {
    let seeds = [hub.clone()];
    let files = Files::new(&[("a file", 600_000), ("another", 7)]);
    let our_publisher = starting_from(&seeds);
    let ours = without_hints(&publish(&our_publisher, &files));
    let their_publisher = release.start(Setup::listening(hub.transport).seeds(seeds.clone()));
    let theirs = their_publisher.publish("Things", &files.paths(), Some(&files.root()));
    their_publisher.republish().expect("it is stored");

    let published = release.start(Setup::default().seeds(seeds.clone()));
    for (link, prefix) in [(&ours, "files/"), (&theirs, "")] {
        let node = starting_from(&seeds);
        node.cli(&["subscribe", &link.to_string()]);
        synced(&node, 1);
        let out = node.folder("out");
        node.cli(&["get", "Things", "-o", arg(&out)]);
        files.assert_all_in(&out.join(prefix));
        published.subscribe(link);
        synced_there(&*published, link, 1);
        assert_downloads(&*published, link.share(), &files, prefix);
    }
}

rows!(stale_republishing_takes_nobody_of_ours_back over tcp);
/// They store all they hold every minute, and what is stored last is what they keep.
fn stale_republishing_takes_nobody_of_ours_back(release: Release, transport: Transport) {
    let hub = release.start(Setup::listening(transport));
    let seeds = [hub.addr(transport)];
    let mut files = Files::new(&[("first", 1)]);
    let publisher = release.start(Setup::listening(transport).seeds(seeds.clone()));
    let stale = release.start(Setup::default().seeds(seeds.clone()));
    let link = publisher.publish("Things", &files.paths(), None);
    publisher.republish().expect("it is stored");
    stale.subscribe(&link);
    synced_there(&*stale, &link, 1);

    let mut node = starting_from(&seeds);
    node.cli(&["subscribe", &link.to_string()]);
    synced(&node, 1);
    files.add("second", 2);
    publisher.publish("Things", &files.paths(), None);
    publisher.republish().expect("it is stored");
    synced(&node, 2);

    stale.republish().expect("it is stored");
    let witness = release.start(Setup::default().seeds(seeds.clone()));
    witness.subscribe(&link);
    synced_there(&*witness, &link, 1);
    for restarted in [false, true] {
        if restarted {
            node.kill();
            node.restart();
            until("a session", SOON, || ours::session(&node, hub.key()));
        }
        for _ in 0..3 {
            node.cli(&["sync"]);
            assert_eq!(node.cli(&["subscriptions"])[0]["seq"], 2);
            stale.republish().expect("it is stored");
        }
    }
    assert_eq!(node.cli(&["search", "second"])["total"], 1);
}

rows!(four_bootstrap_peers_are_all_asked_and_told over tcp);
/// They ask no more than three.
fn four_bootstrap_peers_are_all_asked_and_told(release: Release, transport: Transport) {
    let hubs: Vec<_> = (0..4)
        .map(|_| release.start(Setup::listening(transport)))
        .collect();
    let all: Vec<PeerAddr> = hubs.iter().map(|hub| hub.addr(transport)).collect();
    let files = Files::new(&[("a file", 1000)]);

    let our_publisher = starting_from(&all);
    let link = without_hints(&publish(&our_publisher, &files));
    for hub in &all {
        let published = release.start(Setup::default().seeds([hub.clone()]));
        published.subscribe(&link);
        synced_there(&*published, &link, 1);
        assert_downloads(&*published, link.share(), &files, "files/");
    }

    for hub in &all {
        let publisher = release.start(Setup::listening(transport).seeds([hub.clone()]));
        let link = publisher.publish("Things", &files.paths(), None);
        publisher.republish().expect("it is stored");
        let node = starting_from(&all);
        node.cli(&["subscribe", &link.to_string()]);
        synced(&node, 1);
        let out = node.folder("out");
        node.cli(&["get", "Things", "-o", arg(&out)]);
        files.assert_all_in(&out);
    }
}

#[test]
fn releases_that_refuse_each_other_meet_at_a_node_of_ours() {
    for release in Release::ALL {
        let hub = Node::start(ours::only(Transport::Tcp));
        let seeds = [ours::addr(&hub, Transport::Tcp)];
        let files = Files::new(&[("a file", 600_000)]);
        let publisher = release.start(Setup::listening(Transport::Tcp).seeds(seeds.clone()));
        let link = publisher.publish("Things", &files.paths(), None);
        publisher.republish().expect("it is stored");
        hub.cli(&["subscribe", &link.to_string()]);
        synced(&hub, 1);
        hub.cli(&["get", "Things", "-o", arg(&hub.folder("out"))]);

        let others = Release::ALL.into_iter().filter(|other| *other != release);
        for other in others {
            let subscriber = other.start(Setup::default().seeds(seeds.clone()));
            let refused = subscriber.dial(&publisher.addr(Transport::Tcp));
            assert!(refused.is_err(), "{other:?} takes {release:?}");
            subscriber.subscribe(&link);
            synced_there(&*subscriber, &link, 1);
            assert_downloads(&*subscriber, link.share(), &files, "");
        }
    }
}
