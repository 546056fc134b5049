//! Whole nodes on loopback: starting, meeting, stopping.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::{block_on, or};
use scp2p_proto::command::CommandError;
use scp2p_proto::event::Event;
use scp2p_proto::io::Transport;
use scp2p_proto::wire::BootstrapAddr;
use scp2p_runtime_smol::{EventStream, Options, Runtime, StartError, Streamed};

/// More than anything here takes on any machine.
const AMPLE: Duration = Duration::from_secs(60);

fn options(dir: &Path) -> Options {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Options {
        bind_quic: vec![loopback],
        bind_tcp: vec![loopback],
        ..Options::new(dir)
    }
}

fn bootstrap(transport: Transport, addr: SocketAddr) -> BootstrapAddr {
    let scheme = match transport {
        Transport::Quic => "quic",
        Transport::Tcp => "tcp",
    };
    format!("{scheme}://{addr}")
        .parse()
        .expect("a bootstrap address")
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(AMPLE).await;
        panic!("nothing happened for {AMPLE:?}")
    };
    or(work, late).await
}

async fn connected(events: &mut EventStream) -> Event {
    within(async {
        loop {
            let item = events.next().await.expect("a running node").item;
            if let Streamed::Event(event @ Event::PeerConnected { .. }) = item {
                return event;
            }
        }
    })
    .await
}

/// Two nodes meet over each transport, authenticated and bound to the channel, and notice when one
/// stops.
#[test]
fn nodes_meet_over_either_transport() {
    for transport in [Transport::Quic, Transport::Tcp] {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        block_on(async {
            let first = Runtime::start(options(dirs[0].path()))
                .await
                .expect("a node");
            let addr = match transport {
                Transport::Quic => first.listening().quic[0],
                Transport::Tcp => first.listening().tcp[0],
            };
            let mut events = first.handle().events();
            let second = Options {
                bootstrap: vec![bootstrap(transport, addr)],
                ..options(dirs[1].path())
            };
            let second = Runtime::start(second).await.expect("a node");
            let key = second.handle().status().await.expect("a status").key;
            let Event::PeerConnected {
                peer,
                transport: by,
                bound,
                ..
            } = connected(&mut events).await
            else {
                unreachable!("only this event is waited for");
            };
            assert_eq!((peer, by, bound), (key, transport, true));

            second.handle().shutdown().await.expect("a stop");
            within(second.stopped()).await;
            within(async {
                while first.handle().status().await.expect("a status").connected > 0 {
                    events.next().await.expect("a running node");
                }
            })
            .await;
            first.handle().shutdown().await.expect("a stop");
            within(first.stopped()).await;
            while within(events.next()).await.is_some() {}
        });
    }
}

/// A node has the same key after a restart, frees its folder and ports when it stops,
/// and its handles say so.
#[test]
fn a_stopped_node_can_start_again() {
    let dir = tempfile::tempdir().expect("a folder");
    block_on(async {
        let first = Runtime::start(options(dir.path())).await.expect("a node");
        let (handle, listening) = (first.handle(), first.listening().clone());
        let key = handle.status().await.expect("a status").key;
        let busy = Runtime::start(options(dir.path()))
            .await
            .expect_err("the folder is used");
        assert!(matches!(busy, StartError::DataDirBusy { .. }), "{busy}");
        let started = Instant::now();
        handle.shutdown().await.expect("a stop");
        within(first.stopped()).await;
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "a stop is quick"
        );
        assert_eq!(handle.status().await, Err(CommandError::Stopping));

        let same = Options {
            bind_quic: listening.quic.clone(),
            bind_tcp: listening.tcp.clone(),
            ..options(dir.path())
        };
        let second = Runtime::start(same).await.expect("a node");
        assert_eq!(second.listening(), &listening);
        assert_eq!(second.handle().status().await.expect("a status").key, key);
    });
}

/// A runtime that is dropped stops like a crash: its folder and ports are free soon after.
#[test]
fn a_dropped_runtime_frees_everything() {
    let dir = tempfile::tempdir().expect("a folder");
    block_on(async {
        let first = Runtime::start(options(dir.path())).await.expect("a node");
        let handle = first.handle();
        drop(first);
        within(async {
            loop {
                match Runtime::start(options(dir.path())).await {
                    Ok(_) => break,
                    Err(error) => assert!(matches!(error, StartError::DataDirBusy { .. })),
                }
                Timer::after(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(handle.status().await, Err(CommandError::Stopping));
    });
}

/// A port that another program has is named in the error, for both transports.
#[test]
fn a_taken_port_is_named() {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let taken = [
        (Transport::Quic, udp.local_addr().expect("an address")),
        (Transport::Tcp, tcp.local_addr().expect("an address")),
    ];
    for (with, at) in taken {
        let dir = tempfile::tempdir().expect("a folder");
        let mut options = options(dir.path());
        match with {
            Transport::Quic => options.bind_quic = vec![at],
            Transport::Tcp => options.bind_tcp = vec![at],
        }
        let error = block_on(Runtime::start(options)).expect_err("the port is taken");
        let StartError::PortTaken { addr, transport } = error else {
            panic!("{error}")
        };
        assert_eq!((addr, transport), (at, with));
    }
}

/// Both families listen on one port when the system chooses it.
#[test]
fn families_get_the_same_free_port() {
    let dir = tempfile::tempdir().expect("a folder");
    let any = ["[::]:0", "0.0.0.0:0"]
        .map(|addr| addr.parse().expect("an address"))
        .to_vec();
    let options = Options {
        bind_quic: any.clone(),
        bind_tcp: any,
        ..Options::new(dir.path())
    };
    let runtime = block_on(Runtime::start(options)).expect("a node");
    for addrs in [&runtime.listening().quic, &runtime.listening().tcp] {
        assert!(!addrs.is_empty());
        assert!(
            addrs
                .iter()
                .all(|addr| addr.port() != 0 && addr.port() == addrs[0].port())
        );
    }
}
