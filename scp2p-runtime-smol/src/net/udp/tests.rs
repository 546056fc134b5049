use std::future::poll_fn;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::time::Duration;

use super::*;
use async_io::Timer;
use bytes::Bytes;
use futures_lite::future::block_on;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Frame, Lane, LinkEvent};

use crate::net::AcceptedIds;
use crate::net::mtu::Mtus;
use crate::net::tls::Identity;

fn endpoint(addr: SocketAddr, seed: u8) -> UdpEndpoint {
    let identity = Identity::generate().expect("a certificate");
    let links = QuicLinks::new(
        &identity,
        Mtus::of_interfaces(),
        AcceptedIds::default(),
        [seed; 32],
    );
    UdpEndpoint::bind(addr, links).expect("a port")
}

/// Drives both ends until the condition holds; panics after 30 s.
fn run(
    ends: &mut [UdpEndpoint; 2],
    mut on_event: impl FnMut(usize, &mut UdpEndpoint, LinkId, LinkEvent),
    mut until: impl FnMut() -> bool,
) {
    let mut late = Timer::after(Duration::from_secs(30));
    let mut timer = Timer::never();
    block_on(poll_fn(|cx| {
        assert!(Pin::new(&mut late).poll(cx).is_pending(), "too slow");
        loop {
            let now = Instant::now();
            let mut busy = false;
            for (n, end) in ends.iter_mut().enumerate() {
                busy |= end.poll_receive(cx, now).is_ready();
                end.links.timeout(now);
                while let Some((id, event)) = end.links.poll_event(now) {
                    busy = true;
                    on_event(n, end, id, event);
                }
                busy |= end.poll_send(cx, now).is_ready();
            }
            if until() {
                return Poll::Ready(());
            }
            if !busy {
                let due = ends.iter().filter_map(|end| end.links.deadline()).min();
                timer.set_at(due.unwrap_or(now + Duration::from_secs(1)));
                if Pin::new(&mut timer).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        }
    }));
}

/// A transfer over real sockets arrives whole, in both families.
#[test]
fn bytes_cross_real_sockets() {
    let any = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        (Ipv6Addr::LOCALHOST, 0).into(),
    ];
    for addr in any {
        if UdpSocket::bind(addr).is_err() {
            continue;
        }
        let mut ends = [endpoint(addr, 1), endpoint(addr, 2)];
        let to = ends[1].addr();
        let now = Instant::now();
        ends[0]
            .links
            .dial(now, LinkId(1), to, now + Duration::from_secs(5));
        let body: Bytes = (0..256 << 10).map(|i| (i % 253) as u8).collect();
        let frames = 40;
        let total = body.len() * frames;
        let got = std::cell::RefCell::new(Vec::new());
        run(
            &mut ends,
            |n, end, id, event| match event {
                LinkEvent::Dialed(info) => {
                    assert_eq!((n, info.remote), (0, to));
                    for _ in 0..frames {
                        let frame = Frame {
                            head: Bytes::new(),
                            body: body.clone(),
                        };
                        end.links.send(id, Lane::Bulk, frame);
                    }
                }
                LinkEvent::Accepted(_) => end.links.grant(id, Lane::Bulk, 1 << 20),
                LinkEvent::Bytes(Lane::Bulk, bytes) => {
                    end.links.grant(id, Lane::Bulk, bytes.len() as u32);
                    got.borrow_mut().extend_from_slice(&bytes);
                }
                LinkEvent::Room(..) => {}
                other @ (LinkEvent::Bytes(Lane::Control, _)
                | LinkEvent::Failed(_)
                | LinkEvent::Moved(_)
                | LinkEvent::Closed(_)) => panic!("{other:?}"),
            },
            || got.borrow().len() == total,
        );
        assert!(got.borrow().chunks(body.len()).all(|part| part == body));
    }
}

/// Both families can have one port, and a port that is taken says so.
#[test]
fn families_share_a_port_and_a_taken_one_is_told() {
    let v4 = endpoint((Ipv4Addr::UNSPECIFIED, 0).into(), 1);
    let port = v4.addr().port();
    let identity = Identity::generate().expect("a certificate");
    let bind = |addr: SocketAddr| {
        let links = QuicLinks::new(
            &identity,
            Mtus::of_interfaces(),
            AcceptedIds::default(),
            [3; 32],
        );
        UdpEndpoint::bind(addr, links).map(|endpoint| endpoint.addr())
    };
    if let Err(error) = bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        // A host without IPv6, or another program with the same port there.
        assert_ne!(error.kind(), io::ErrorKind::InvalidInput);
    }
    let again = bind((Ipv4Addr::UNSPECIFIED, port).into()).expect_err("the port is taken");
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
}
