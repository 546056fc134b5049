//! What tests can do to hosts and NATs while nodes are at work.

use std::net::SocketAddrV4;
use std::time::Duration;

use scp2p_proto::io::Transport;

use super::common::{Settings, text, until};
use super::internet::Internet;
use super::nodes::{begin, complete, content, only, publish};
use super::routes::Amount;
use super::sockets::{PORT, is_let_in, observe, receive, udp};
use super::{EXPIRY, SOON, sandbox, strict, usual};

/// A file that is under way for long enough to do something meanwhile.
const SIZE: usize = 64 << 20;

#[test]
fn bytes_are_counted_at_nats_and_hosts() {
    sandbox::run("controls::bytes_are_counted_at_nats_and_hosts", || {
        let internet = Internet::new();
        let nat = internet.nat(&usual(), None);
        let (client, server) = (internet.host(Some(&nat)), internet.host(None));
        let (near, _) = udp(&client, PORT);
        let (far, far_at) = udp(&server, PORT);
        for _ in 0..3 {
            near.send_to(&[0; 100], far_at).expect("it has a route");
            let (_, from) = until("a datagram", SOON, || receive(&far));
            far.send_to(&[0; 1000], from).expect("it has a route");
            until("an answer", SOON, || receive(&near));
        }
        // With the headers of IPv4 and UDP.
        let [up, down] = [100, 1000].map(|payload| Amount {
            packets: 3,
            bytes: 3 * (payload + 28),
        });
        for inner in [nat.traffic(), client.traffic()] {
            assert_eq!((inner.out, inner.inn), (up, down));
        }
        let outer = server.traffic();
        assert_eq!((outer.out, outer.inn), (down, up));
        assert_eq!(nat.traffic().refused, Amount::default());
    });
}

#[test]
fn a_host_moves_with_its_sockets() {
    sandbox::run("controls::a_host_moves_with_its_sockets", || {
        let internet = Internet::new();
        let [home, cafe] = [usual(), strict()].map(|kind| internet.nat(&kind, None));
        let (mut client, server) = (internet.host(Some(&home)), internet.host(None));
        let (near, _) = udp(&client, PORT);
        let (far, far_at) = udp(&server, PORT);
        let at_home = observe(&near, &far, far_at);
        client.move_to(Some(&cafe));
        let away = observe(&near, &far, far_at);
        assert_eq!(
            [*at_home.ip(), *away.ip()],
            [home.address(), cafe.address()]
        );
        // The old NAT still lets it in, but nobody has the address any more.
        far.send_to(b"old", at_home).expect("it has a route");
        assert!(is_let_in(&cafe, &far, away, &near));
        until("the old one", SOON, || {
            (home.traffic().inn.packets == 1).then_some(())
        });
        client.move_to(None);
        let out = observe(&near, &far, far_at);
        assert_eq!(
            (*out.ip(), client.traffic().inn.packets),
            (client.address(), 1)
        );
    });
}

#[test]
fn a_forwarded_port_lets_everybody_in() {
    sandbox::run("controls::a_forwarded_port_lets_everybody_in", || {
        let internet = Internet::new();
        let nat = internet.nat(&strict(), None);
        let (client, stranger) = (internet.host(Some(&nat)), internet.host(None));
        let (inside, _) = udp(&client, PORT);
        let (far, far_at) = udp(&stranger, PORT);
        nat.forward(Transport::Quic, 8000, &client, PORT);
        internet.skip(EXPIRY);
        let outside = SocketAddrV4::new(nat.address(), 8000);
        assert!(is_let_in(&nat, &far, outside, &inside));
        assert_eq!(observe(&inside, &far, far_at), outside);
    });
}

#[test]
fn a_download_outlives_a_move() {
    sandbox::run("controls::a_download_outlives_a_move", || {
        let internet = Internet::new();
        let [home, cafe] = [usual(), strict()].map(|kind| internet.nat(&kind, None));
        let (mut client, server) = (internet.host(Some(&home)), internet.host(None));
        let bytes = content(SIZE);
        let seeder = server.start(Settings::default());
        let link = publish(&seeder, &bytes);
        let node = client.start(only(Transport::Quic));
        begin(&node, &link);
        until("a part", SOON, || {
            (home.traffic().inn.bytes > SIZE as u64 / 8).then_some(())
        });
        client.move_to(Some(&cafe));
        complete(&node, &bytes);
        assert!(cafe.traffic().inn.bytes > SIZE as u64 / 8);
    });
}

/// By itself a node looks at its addresses every 30 s only.
#[test]
fn a_node_is_told_that_its_host_moved() {
    const AT_ONCE: Duration = Duration::from_secs(8);
    sandbox::run("controls::a_node_is_told_that_its_host_moved", || {
        let internet = Internet::new();
        let [home, cafe] = [(); 2].map(|()| internet.nat(&usual(), None));
        let mut host = internet.host(Some(&home));
        let node = host.start(Settings::default());
        for nat in [&cafe, &home, &cafe, &home] {
            host.move_to(Some(nat));
            let address = format!("//{}:", host.address());
            until("the new address", AT_ONCE, || {
                let status = node.cli(&["status"]);
                let mut addresses = status["addresses"].as_array().expect("a list").iter();
                let is_told = addresses.any(|addr| text(addr).contains(&address));
                is_told.then_some(())
            });
        }
    });
}

#[test]
fn a_download_outlives_a_restart() {
    sandbox::run("controls::a_download_outlives_a_restart", || {
        let internet = Internet::new();
        let home = internet.nat(&strict(), None);
        let (client, server) = (internet.host(Some(&home)), internet.host(None));
        let bytes = content(SIZE);
        let mut seeder = server.start(Settings::default());
        let link = publish(&seeder, &bytes);
        // The restarted system resets its connections, while those of QUIC are waited for.
        let node = client.start(only(Transport::Tcp));
        begin(&node, &link);
        until("a part", SOON, || {
            (home.traffic().inn.bytes > SIZE as u64 / 8).then_some(())
        });
        seeder.kill();
        let before = home.traffic().inn.bytes;
        assert!(before < SIZE as u64);
        server.restart(&mut seeder);
        complete(&node, &bytes);
        assert!(home.traffic().inn.bytes > before);
    });
}
