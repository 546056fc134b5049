//! A router between two nodes changes the endpoint that it shows of one of them.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::{block_on, or};
use scp2p_proto::command::{Get, GetWhat, Publish};
use scp2p_proto::event::Event;
use scp2p_proto::storage::LocalPath;
use scp2p_runtime_smol::{EventStream, Options, Runtime, Streamed};

/// More than anything here takes on any machine.
const AMPLE: Duration = Duration::from_secs(120);
/// So many bytes pass before the router changes the endpoint.
const CHANGE_AFTER: usize = 12 << 20;
/// The addresses that the router has, one after the other.
const OUTER: [[u8; 4]; 4] = [
    [127, 0, 0, 1],
    [127, 0, 0, 1],
    [127, 0, 0, 2],
    [127, 0, 0, 3],
];

/// What is between a node and the server that it dials.
struct Router {
    inner: SocketAddr,
    /// Where the server sees the node, by and by.
    shown: Arc<Mutex<Vec<SocketAddr>>>,
    is_over: Arc<AtomicBool>,
}

impl Router {
    fn start(server: SocketAddr) -> Router {
        let inner = socket([127, 0, 0, 1]);
        let router = Router {
            inner: inner.local_addr().expect("an address"),
            shown: Arc::default(),
            is_over: Arc::default(),
        };
        let (shown, is_over) = (router.shown.clone(), router.is_over.clone());
        thread::spawn(move || {
            let mut outer = socket(OUTER[0]);
            let show = |outer: &UdpSocket| {
                let at = outer.local_addr().expect("an address");
                shown.lock().expect("nobody panicked").push(at);
            };
            show(&outer);
            let (mut client, mut buffer) = (None, vec![0; 1 << 16]);
            let (mut passed, mut changes) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                if passed > CHANGE_AFTER && changes + 1 < OUTER.len() {
                    (passed, changes) = (0, changes + 1);
                    outer = socket(OUTER[changes]);
                    show(&outer);
                }
                let mut is_idle = true;
                if let Some((len, from)) = taken(&inner, &mut buffer) {
                    client = Some(from);
                    is_idle = false;
                    let _ = outer.send_to(&buffer[..len], server);
                }
                if let (Some((len, _)), Some(client)) = (taken(&outer, &mut buffer), client) {
                    passed += len;
                    is_idle = false;
                    let _ = inner.send_to(&buffer[..len], client);
                }
                if is_idle {
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        router
    }

    fn shown(&self) -> Vec<SocketAddr> {
        self.shown.lock().expect("nobody panicked").clone()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn socket(ip: [u8; 4]) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::from(ip), 0)).expect("a port");
    socket.set_nonblocking(true).expect("a socket");
    socket
}

fn taken(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(buffer) {
        Ok(taken) => Some(taken),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// A node over QUIC alone.
fn options(dir: &Path) -> Options {
    Options {
        bind_quic: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        bind_tcp: Vec::new(),
        ..Options::new(dir)
    }
}

fn local(path: &Path) -> LocalPath {
    LocalPath(path.to_str().expect("a path in Unicode").to_owned())
}

/// Waits for an event of a kind, and counts those on the way by which a session begins or ends.
async fn until(events: &mut EventStream, is_it: impl Fn(&Event) -> bool) -> usize {
    let late = async {
        Timer::after(AMPLE).await;
        panic!("nothing happened for {AMPLE:?}")
    };
    let found = async {
        let mut sessions = 0;
        loop {
            match events.next().await.expect("a running node").item {
                Streamed::Event(event) if is_it(&event) => return sessions,
                Streamed::Event(Event::PeerConnected { .. } | Event::PeerDisconnected { .. }) => {
                    sessions += 1
                }
                Streamed::Event(_) => {}
                Streamed::Lagged(missed) => panic!("{missed} events were missed"),
            }
        }
    };
    or(found, late).await
}

/// A download goes on over the session that is there when a router gives the downloader another port and other addresses
/// in the middle of it, and the server knows where the downloader is now.
#[test]
fn a_download_goes_on_when_a_router_shows_another_endpoint() {
    let [server_dir, client_dir, files, target] =
        [(); 4].map(|()| tempfile::tempdir().expect("a folder"));
    let bytes: Vec<u8> = (0..64u32 << 20).map(|n| (n ^ (n >> 11)) as u8).collect();
    fs::write(files.path().join("file"), &bytes).expect("a file");
    block_on(async {
        let server = Runtime::start(options(server_dir.path()))
            .await
            .expect("a node");
        let published = server
            .handle()
            .publish(Publish::new("share", vec![local(files.path())]))
            .await
            .expect("a share");
        let router = Router::start(server.listening().quic[0]);
        let client = Options {
            bootstrap: vec![
                format!("quic://{}", router.inner)
                    .parse()
                    .expect("an address"),
            ],
            ..options(client_dir.path())
        };
        let client = Runtime::start(client).await.expect("a node");
        let mut events = client.handle().events();
        let is_up = |event: &Event| matches!(event, Event::PeerConnected { .. });
        until(&mut events, is_up).await;
        let mut link = published.link;
        link.bootstrap.clear();
        client
            .handle()
            .subscribe(link.clone())
            .await
            .expect("durable");
        until(&mut events, |event| {
            matches!(event, Event::ManifestUpdated { .. })
        })
        .await;
        let get = Get {
            what: GetWhat::Share {
                share: link.share(),
                path: None,
            },
            root: local(target.path()),
        };
        client.handle().get(get).await.expect("a download");
        let is_over = |event: &Event| matches!(event, Event::DownloadFinished { .. });
        let sessions = until(&mut events, is_over).await;
        assert_eq!(sessions, 0, "the session went on");
        let shown = router.shown();
        assert_eq!(shown.len(), OUTER.len(), "the router changed the endpoint");
        let key = client.handle().status().await.expect("a status").key;
        let is_there = async {
            loop {
                let peers = server.handle().peers().await.expect("peers");
                let client = peers.into_iter().find(|peer| peer.key == key);
                let session = client.and_then(|peer| peer.session).expect("a session");
                if Some(&session.remote) == shown.last() {
                    return;
                }
                Timer::after(Duration::from_millis(20)).await;
            }
        };
        let late = async {
            Timer::after(AMPLE).await;
            panic!("the server does not know where its client is")
        };
        or(is_there, late).await;
    });
    let name = fs::read_dir(target.path()).expect("a folder").next();
    let path = name.expect("a download").expect("an entry").path();
    let path = if path.is_dir() {
        path.join("file")
    } else {
        path
    };
    assert!(fs::read(path).expect("a file") == bytes);
}
