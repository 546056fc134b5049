//! The main job with nodes behind NATs.

use std::fs;

use scp2p_proto::io::Transport;

use super::common::{Node, Settings, text, until};
use super::internet::{Host, Internet};
use super::{SOON, sandbox, strict, usual};

/// Bytes that differ in every chunk.
pub fn content(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Publishes one file of these bytes; the link.
pub fn publish(node: &Node, bytes: &[u8]) -> String {
    let file = node.folder("files").join("file");
    fs::write(&file, bytes).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let published = node.cli(&["publish", file, "--share", "s", "--title", "Things"]);
    text(&published["link"])
}

/// Begins to download all of a share; waits for its catalog alone.
pub fn begin(node: &Node, link: &str) {
    node.cli(&["subscribe", link]);
    until("the catalog", SOON, || {
        (node.cli(&["subscriptions"])[0]["seq"] == 1).then_some(())
    });
    let out = node.folder("out");
    let out = out.to_str().expect("UTF-8");
    node.cli(&["get", "Things", "-o", out, "--detach"]);
}

/// Waits for the end of the download and compares the bytes.
pub fn complete(node: &Node, bytes: &[u8]) {
    until("the end", SOON, || {
        (node.cli(&["downloads"])[0]["state"] == "finished").then_some(())
    });
    let file = fs::read(node.folder("out").join("file")).expect("it is there");
    assert!(file == bytes, "other bytes");
}

/// Settings of a node that speaks this transport alone.
pub fn only(transport: Transport) -> Settings {
    Settings {
        quic_only: transport == Transport::Quic,
        tcp_only: transport == Transport::Tcp,
        ..Settings::default()
    }
}

fn from_the_open(transport: Transport) {
    const SIZE: usize = 5_000_000;
    let internet = Internet::new();
    let home = internet.nat(&strict(), None);
    let (server, client) = (internet.host(None), internet.host(Some(&home)));
    let bytes = content(SIZE);
    let seeder = server.start(only(transport));
    let link = publish(&seeder, &bytes);
    let node = client.start(only(transport));
    begin(&node, &link);
    complete(&node, &bytes);
    assert!(home.traffic().inn.bytes > SIZE as u64);
    assert_eq!(home.traffic().inn, client.traffic().inn);
}

#[test]
fn a_client_behind_a_nat_downloads_over_quic() {
    sandbox::run("nodes::a_client_behind_a_nat_downloads_over_quic", || {
        from_the_open(Transport::Quic);
    });
}

#[test]
fn a_client_behind_a_nat_downloads_over_tcp() {
    sandbox::run("nodes::a_client_behind_a_nat_downloads_over_tcp", || {
        from_the_open(Transport::Tcp);
    });
}

/// Both behind NATs of their own, the publisher as a user who has configured the router.
fn from_a_forwarded_port(transport: Transport) {
    let internet = Internet::new();
    let (home, office) = (internet.nat(&usual(), None), internet.nat(&strict(), None));
    let (server, client) = (internet.host(Some(&office)), internet.host(Some(&home)));
    office.forward(Transport::Quic, 7000, &server, 7000);
    office.forward(Transport::Tcp, 7001, &server, 7001);
    let bytes = content(1_000_000);
    let seeder = server.start(only(transport));
    let link = publish(&seeder, &bytes);
    let node = client.start(only(transport).bootstrap(&Host::bootstrap_at(office.address())));
    begin(&node, &link);
    complete(&node, &bytes);
}

#[test]
fn a_forwarded_publisher_is_reached() {
    sandbox::run("nodes::a_forwarded_publisher_is_reached", || {
        from_a_forwarded_port(Transport::Quic);
        from_a_forwarded_port(Transport::Tcp);
    });
}
