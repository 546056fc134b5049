//! Each kind of NAT maps and filters real packets as RFC 4787 says of it.

use std::net::SocketAddrV4;

use scp2p_sim::scenario::{Dependence, Edge};

use super::internet::Internet;
use super::sockets::{PORT, echo, is_let_in, is_syn_let_in, listen, observe, udp};
use super::{DEPENDENCES, EXPIRY, nat, sandbox, strict};

/// Each kind of mapping with each kind of filtering.
fn kinds() -> impl Iterator<Item = [Dependence; 2]> {
    let with = |mapping| DEPENDENCES.map(|filtering| [mapping, filtering]);
    DEPENDENCES.into_iter().flat_map(with)
}

#[test]
fn udp_is_mapped_and_filtered_as_the_kind_says() {
    sandbox::run("kinds::udp_is_mapped_and_filtered_as_the_kind_says", || {
        let internet = Internet::new();
        let (server, stranger) = (internet.host(None), internet.host(None));
        let (near, near_at) = udp(&server, 0);
        let (beside, beside_at) = udp(&server, 0);
        let (far, far_at) = udp(&stranger, 0);
        for [mapping, filtering] in kinds() {
            let nat = internet.nat(&nat(mapping, filtering), None);
            let client = internet.host(Some(&nat));
            let (inside, _) = udp(&client, PORT);

            let guess = SocketAddrV4::new(nat.address(), PORT);
            assert!(!is_let_in(&nat, &far, guess, &inside), "out of the blue");

            let outside = observe(&inside, &near, near_at);
            assert_eq!(*outside.ip(), nat.address());
            let let_in = [&near, &beside, &far].map(|from| is_let_in(&nat, from, outside, &inside));
            assert_eq!(let_in, sees_the_same(filtering), "{filtering:?}");

            let others = [(&near, near_at), (&beside, beside_at), (&far, far_at)];
            let same = others.map(|(to, at)| observe(&inside, to, at) == outside);
            assert_eq!(same, sees_the_same(mapping), "{mapping:?}");

            internet.skip(EXPIRY);
            assert!(!is_let_in(&nat, &near, outside, &inside), "expired");
        }
    });
}

/// Whether the one who was sent something, another port of it, and another host are the same to a mapping or filter.
fn sees_the_same(dependence: Dependence) -> [bool; 3] {
    match dependence {
        Dependence::Independent => [true, true, true],
        Dependence::Address => [true, true, false],
        Dependence::AddressAndPort => [true, false, false],
    }
}

#[test]
fn tcp_is_mapped_and_filtered_as_the_kind_says() {
    sandbox::run("kinds::tcp_is_mapped_and_filtered_as_the_kind_says", || {
        let internet = Internet::new();
        let (server, stranger) = (internet.host(None), internet.host(None));
        let (near, near_at) = listen(&server);
        let (beside, beside_at) = listen(&server);
        let (far, far_at) = listen(&stranger);
        for [mapping, filtering] in kinds() {
            let nat = internet.nat(&nat(mapping, filtering), None);
            let client = internet.host(Some(&nat));
            let (_inside, inside_at) = listen(&client);

            let guess = SocketAddrV4::new(nat.address(), inside_at.port());
            assert!(!is_syn_let_in(&nat, &stranger, guess), "out of the blue");

            let (_open, outside) = echo(&client, &near, near_at);
            assert_eq!(*outside.ip(), nat.address());
            // Of these three, the first is the connection itself.
            let let_in = [&server, &stranger].map(|from| is_syn_let_in(&nat, from, outside));
            assert_eq!(let_in, sees_the_same(filtering)[1..], "{filtering:?}");

            let (_beside, beside) = echo(&client, &beside, beside_at);
            let (_far, far) = echo(&client, &far, far_at);
            let same = [true, beside == outside, far == outside];
            assert_eq!(same, sees_the_same(mapping), "{mapping:?}");
        }
    });
}

#[test]
fn hairpinning_lets_hosts_of_one_nat_meet() {
    sandbox::run("kinds::hairpinning_lets_hosts_of_one_nat_meet", || {
        for hairpin in [false, true] {
            let internet = Internet::new();
            let kind = Edge {
                hairpin,
                ..nat(Dependence::Independent, Dependence::Independent)
            };
            let nat = internet.nat(&kind, None);
            let [a, b, server] = [Some(&nat), Some(&nat), None].map(|nat| internet.host(nat));
            let (a_end, a_at) = udp(&a, PORT);
            let (b_end, b_at) = udp(&b, PORT);
            let (server_end, server_at) = udp(&server, PORT);

            assert_eq!(observe(&a_end, &b_end, b_at), a_at);
            assert_eq!(nat.traffic().out.packets, 0);

            let outside = observe(&b_end, &server_end, server_at);
            assert_eq!(is_let_in(&nat, &a_end, outside, &b_end), hairpin);
        }
    });
}

#[test]
fn behind_two_nats_the_outer_one_is_seen() {
    sandbox::run("kinds::behind_two_nats_the_outer_one_is_seen", || {
        let internet = Internet::new();
        let carrier = internet.nat(&nat(Dependence::Independent, Dependence::Independent), None);
        let home = internet.nat(&strict(), Some(&carrier));
        let (client, server) = (internet.host(Some(&home)), internet.host(None));
        let (inside, _) = udp(&client, PORT);
        let (far, far_at) = udp(&server, PORT);
        let outside = observe(&inside, &far, far_at);
        assert_eq!(*outside.ip(), carrier.address());
        assert!(is_let_in(&home, &far, outside, &inside));
        // It passes the outer one, and not the inner one.
        let (other, _) = udp(&server, 0);
        assert!(!is_let_in(&home, &other, outside, &inside));
        assert_eq!(carrier.traffic().inn.packets, 2);
    });
}
