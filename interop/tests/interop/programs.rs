//! The published programs as they are installed.

use scp2p_interop::ours::{self, Node, Settings, text, until};
use scp2p_interop::programs::{Relay, Shell, installed};
use scp2p_interop::theirs::Release;
use scp2p_proto::io::Transport;

use super::SOON;
use super::catalogs::{publish, synced};
use super::dht::{starting_from, without_hints};
use super::files::{Files, arg};
use super::network;
use super::relays::assert_they_fetch_from_us_behind;

/// The published relay of a release.
fn their_relay(release: Release, transport: Transport) -> Relay {
    let version = match release {
        Release::V0_3 => "0.3.2",
        Release::V0_4 => "0.4.0",
        Release::V0_6 => "0.6.0",
    };
    Relay::start(version, transport)
}

rows!(they_fetch_from_us_behind_their_relay: a_quic V0_3 Quic, c_quic V0_6 Quic);
/// And nodes of ours find each other there.
fn they_fetch_from_us_behind_their_relay(release: Release, transport: Transport) {
    let relay = their_relay(release, transport);
    assert_they_fetch_from_us_behind(&relay.addr(), release);
    let seeds = [relay.addr().to_string()];
    let start = || Node::start(ours::only(transport).bootstrap(&seeds));
    let (publisher, subscriber) = (start(), start());
    let files = Files::new(&[("a file", 600_000), ("another", 7)]);
    let link = without_hints(&publish(&publisher, &files));
    subscriber.cli(&["subscribe", &link.to_string()]);
    synced(&subscriber, 1);
    let out = subscriber.folder("out");
    subscriber.cli(&["get", "Things", "-o", arg(&out)]);
    files.assert_all_in(&out.join("files"));
}

rows!(three_of_ours_meet_at_their_relay: a_tcp V0_3 Tcp, c_tcp V0_6 Tcp);
/// One of them can be dialled, two cannot.
fn three_of_ours_meet_at_their_relay(release: Release, transport: Transport) {
    let relay = their_relay(release, transport);
    let seeds = [relay.addr()];
    let hidden = || {
        let settings = Settings {
            tcp_only: true,
            quic_only: true,
            ..Settings::default()
        };
        Node::start(settings.bootstrap(&[seeds[0].to_string()]))
    };
    let nodes = [starting_from(&seeds), hidden(), hidden()];
    let shares = ["first", "second", "third"].map(|name| {
        let (file, another) = (format!("{name} file"), format!("of the {name}"));
        (name, Files::new(&[(&file, 600_000), (&another, 7)]))
    });
    let links: Vec<String> = nodes
        .iter()
        .zip(&shares)
        .map(|(node, (name, files))| {
            let root = files.root();
            let args = ["publish", arg(&root), "--share", "s", "--title", name];
            let link = text(&node.cli(&args)["link"]).parse().expect("a link");
            // Hints would lead past the relay.
            without_hints(&link).to_string()
        })
        .collect();
    for (number, node) in nodes.iter().enumerate() {
        let others = || (0..nodes.len()).filter(|other| *other != number);
        for other in others() {
            node.cli(&["subscribe", &links[other]]);
        }
        until("the catalogs", SOON, || {
            node.cli(&["sync"]);
            let followed = node.cli(&["subscriptions"]);
            let mut followed = followed.as_array().expect("a list").iter();
            followed.all(|share| share["seq"] == 1).then_some(())
        });
        for other in others() {
            let (name, files) = &shares[other];
            let out = node.folder(name);
            node.cli(&["get", name, "-o", arg(&out)]);
            files.assert_all_in(&out.join("files"));
        }
    }
}

rows!(their_interactive_client_follows_us: c_tcp V0_6 Tcp);
fn their_interactive_client_follows_us(_release: Release, transport: Transport) {
    installed("scp2p-cli", CLIENT);
    let test = "programs::their_interactive_client_follows_us::c_tcp";
    network::run_alone(test, || their_interactive_client_follows(transport));
}

/// The release of the interactive client.
const CLIENT: &str = "0.6.0";

/// It listens on all addresses.
fn their_interactive_client_follows(transport: Transport) {
    const MENU: &str = "What would you like to do?";
    let node = Node::start(ours::only(transport));
    let files = Files::new(&[("a file", 600_000), ("another", 7)]);
    let link = publish(&node, &files);
    let share = link.share().to_string();
    let out = node.folder("out");

    let mut shell = Shell::start(CLIENT, &ours::addr(&node, transport));
    shell.answer(MENU, "Subscriptions");
    shell.answer("Subscriptions:", "Subscribe");
    shell.answer("Share ID (64 hex chars):", &share);
    shell.answer("Share public key", &link.key.to_string());
    shell.shows("Subscribed to");
    shell.answer("Subscriptions:", "Back");
    shell.answer(MENU, "Sync now");
    shell.shows("1 subscription(s), 1 manifest(s)");
    shell.answer(MENU, "Search");
    shell.answer("Search query:", "another");
    shell.shows("1 result(s):");
    shell.answer(MENU, "Download share");
    shell.answer("Share ID (64 hex chars):", &share);
    shell.answer("Output directory:", arg(&out));
    shell.answer("Extra peer addresses", "");
    shell.answer("Item numbers to download", "");
    shell.shows("Downloaded 2 file(s)");
    files.assert_all_in(&out.join("files"));
    shell.answer(MENU, "Quit");
    shell.shows("Goodbye!");
}
