//! Peers that come, say who they are, and go.

use std::io::{self, Error, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;
use futures_lite::future::block_on;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, VarInt};
use rustls::{ClientConnection, StreamOwned};
use scp2p_proto::event::Event;
use scp2p_proto::io::Transport;
use scp2p_proto::keys::Keys;
use scp2p_proto::session::{EXPORTER_LABEL, Initiator, Params};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Capabilities, Profile};

use super::node::{Seeder, count};
use super::{bare, tls};

/// As many come at once.
const AT_ONCE: usize = 8;

/// So many peers, each with a key of its own, open a session with the node; returns when it
/// has authenticated all of them.
pub fn meet(node: &Seeder, by: Transport, peers: u32) {
    let mut events = node.runtime.handle().events();
    let next = AtomicU32::new(0);
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < peers);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| match by {
                Transport::Quic => over_quic(node.addr, take),
                Transport::Tcp => {
                    while let Some(n) = take() {
                        over_tls(node.addr, n).expect("a session");
                    }
                }
            });
        }
        block_on(count(&mut events, peers as usize, |event| {
            matches!(event, Event::PeerConnected { .. })
        }));
    });
}

fn over_tls(to: SocketAddr, n: u32) -> io::Result<()> {
    let mut stream = bare::dial_tls(to)?;
    greet(&mut stream, n)?;
    stream.read_exact(&mut [0; 4])
}

/// Opens the session of the peer of this number on a TLS stream.
pub fn greet(stream: &mut StreamOwned<ClientConnection, TcpStream>, n: u32) -> io::Result<()> {
    let exporter = stream
        .conn
        .export_keying_material([0; 32], EXPORTER_LABEL.as_bytes(), None)
        .map_err(Error::other)?;
    let (initiator, hello) = start(n, exporter);
    stream.write_all(&hello)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut body)?;
    stream.write_all(&ack(initiator, body)?)
}

fn over_quic(to: SocketAddr, take: impl Fn() -> Option<u32>) {
    let crypto = QuicClientConfig::try_from(tls::client()).expect("an initial suite");
    let client = ClientConfig::new(Arc::new(crypto));
    smol::block_on(async {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        while let Some(n) = take() {
            let connection = endpoint
                .connect_with(client.clone(), to, tls::NAME)
                .expect("a dial")
                .await
                .expect("a connection");
            let mut exporter = [0; 32];
            connection
                .export_keying_material(&mut exporter, EXPORTER_LABEL.as_bytes(), b"")
                .expect("an open connection");
            let (initiator, hello) = start(n, exporter);
            let (mut sending, mut receiving) = connection.open_bi().await.expect("a stream");
            sending.write_all(&hello).await.expect("an open stream");
            let mut head = [0; 4];
            receiving.read_exact(&mut head).await.expect("a reply");
            let mut body = vec![0; u32::from_be_bytes(head) as usize];
            receiving.read_exact(&mut body).await.expect("a reply");
            let ack = ack(initiator, body).expect("a good reply");
            sending.write_all(&ack).await.expect("an open stream");
            // The node speaks first once it knows who is there.
            receiving.read_exact(&mut head).await.expect("a greeting");
            connection.close(VarInt::from_u32(0), b"");
        }
    });
}

/// Of the key of the peer of this number.
pub fn seed(n: u32) -> [u8; 32] {
    let mut seed = [1; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    seed
}

fn start(n: u32, exporter: [u8; 32]) -> (Initiator, Bytes) {
    let seed = seed(n);
    let mut nonce_random = [0; 11];
    nonce_random[..4].copy_from_slice(&n.to_be_bytes());
    let params = Params {
        keys: &Keys::from_seed(seed),
        capabilities: Capabilities::node(),
        exporter,
        nonce_random,
        ephemeral: seed,
        expected: None,
    };
    Initiator::start(params, Profile::C, now())
}

fn ack(initiator: Initiator, reply: Vec<u8>) -> io::Result<Bytes> {
    let (_, ack) = initiator
        .on_hello(&reply.into(), now())
        .map_err(Error::other)?;
    Ok(ack)
}

fn now() -> UnixTime {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    UnixTime(since.as_secs())
}
