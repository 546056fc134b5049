//! Somebody sits between two nodes of ours.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::SOON;
use super::common::peer::listen;
use super::common::tls::Channel;
use super::common::{Node, Settings, until};

/// Terminates TLS on both sides and passes on everything inside; says where it listens.
fn middle(target: SocketAddr) -> SocketAddr {
    listen(move |mut near| {
        let mut far = Channel::dial(target)?;
        near.set_nonblocking()?;
        far.set_nonblocking()?;
        loop {
            let there = pass(&mut near, &mut far)?;
            let back = pass(&mut far, &mut near)?;
            if !there && !back {
                thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

/// Passes on what is there; whether there was anything. An error at the end.
fn pass(from: &mut Channel, to: &mut Channel) -> io::Result<bool> {
    match from.receive() {
        Ok(bytes) if bytes.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
        Ok(bytes) => to.send(&bytes).map(|()| true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Passes on everything as it is, TLS and all.
fn wire(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near?;
            let far = TcpStream::connect(target)?;
            for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
                thread::spawn(move || io::copy(&mut from, &mut to));
            }
        }
        io::Result::Ok(())
    });
    addr
}

fn tcp() -> Settings {
    Settings {
        tcp_only: true,
        ..Settings::default()
    }
}

/// Both ends of an intercepted connection refuse it and name each other to their users.
fn is_refused(settings: impl FnOnce(&Node, SocketAddr) -> Settings) {
    let callee = Node::start(tcp());
    let at_callee = callee.events();
    let caller = Node::start(settings(&callee, middle(callee.tcp())));
    let at_caller = caller.events();
    for (events, other) in [(&at_callee, &caller), (&at_caller, &callee)] {
        let seen = until("the user is told", SOON, || {
            let seen = events.of("interception");
            (!seen.is_empty()).then_some(seen)
        });
        assert!(seen.iter().all(|event| event["claimed"] == other.key()));
    }
    for (node, events) in [(&callee, &at_callee), (&caller, &at_caller)] {
        assert!(events.of("peer_connected").is_empty());
        assert_eq!(node.cli(&["status"])["connected"], 0);
        for peer in node.cli(&["peers"]).as_array().expect("a list") {
            assert!(peer["session"].is_null(), "{peer}");
        }
    }
}

#[test]
fn is_refused_by_both_ends() {
    is_refused(|_, middle| tcp().bootstrap(&[format!("tcp://{middle}")]));
}

#[test]
fn is_refused_where_the_key_is_known() {
    is_refused(|callee, middle| tcp().bootstrap(&[format!("tcp://{middle}@{}", callee.key())]));
}

#[test]
fn is_refused_where_a_name_was_dialled() {
    is_refused(|_, middle| tcp().bootstrap(&[format!("tcp://localhost:{}", middle.port())]));
}

/// What the tests above see is due to the interception alone.
#[test]
fn who_only_carries_bytes_is_no_obstacle() {
    let callee = Node::start(tcp());
    let wire = wire(callee.tcp());
    let caller = Node::start(tcp().bootstrap(&[format!("tcp://{wire}")]));
    for (node, other) in [(&callee, &caller), (&caller, &callee)] {
        until("a bound session", SOON, || {
            let peers = node.cli(&["peers"]);
            let peer = peers
                .as_array()?
                .iter()
                .find(|peer| peer["key"] == other.key())?;
            (peer["session"]["bound"] == true).then_some(())
        });
    }
}
