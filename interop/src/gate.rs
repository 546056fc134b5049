//! A way to a peer that counts who dials through it and can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use scp2p_proto::io::Transport;
use scp2p_proto::wire::PeerAddr;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

/// The longest datagram.
const DATAGRAM_MAX: usize = 65_536;

/// Forwards what is sent to a port of its own to a peer and back.
pub struct Gate {
    peer: PeerAddr,
    counts: Arc<Mutex<Counts>>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Counts {
    /// TCP connections so far.
    connections: usize,
    /// Those that may be open.
    open: Vec<AbortHandle>,
    /// Names that clients gave to their QUIC connections so far.
    names: BTreeSet<Vec<u8>>,
}

impl Gate {
    /// To this peer.
    pub fn to(peer: &PeerAddr) -> Gate {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let to = SocketAddr::new(peer.ip, peer.port);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let at = match peer.transport {
            Transport::Tcp => {
                let listener = runtime.block_on(TcpListener::bind(any)).expect("a port");
                let at = listener.local_addr();
                runtime.spawn(forward_connections(listener, to, counts.clone()));
                at
            }
            Transport::Quic => {
                let socket = runtime.block_on(UdpSocket::bind(any)).expect("a port");
                let at = socket.local_addr();
                runtime.spawn(forward_datagrams(Arc::new(socket), to, counts.clone()));
                at
            }
        };
        let at = at.expect("it is bound");
        Gate {
            peer: PeerAddr {
                ip: at.ip(),
                port: at.port(),
                ..peer.clone()
            },
            counts,
            _runtime: runtime,
        }
    }

    /// The peer's address by this way.
    pub fn addr(&self) -> PeerAddr {
        self.peer.clone()
    }

    /// How often somebody dialled.
    pub fn dials(&self) -> usize {
        let counts = self.counts.lock().expect("no panic");
        counts.connections + counts.names.len()
    }

    /// Ends all TCP connections. Later ones are not concerned.
    pub fn cut(&self) {
        let mut counts = self.counts.lock().expect("no panic");
        counts.open.drain(..).for_each(|open| open.abort());
    }
}

async fn forward_connections(listener: TcpListener, to: SocketAddr, counts: Arc<Mutex<Counts>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let forwarding = tokio::spawn(async move {
            if let Ok(mut peer) = TcpStream::connect(to).await {
                // It ends as the connections do.
                let _ = copy_bidirectional(&mut client, &mut peer).await;
            }
        });
        let mut counts = counts.lock().expect("no panic");
        counts.connections += 1;
        counts.open.push(forwarding.abort_handle());
    }
}

async fn forward_datagrams(socket: Arc<UdpSocket>, to: SocketAddr, counts: Arc<Mutex<Counts>>) {
    let mut ways: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
        let datagram = &buffer[..len];
        if let Some(name) = name_in_initial(datagram) {
            let mut counts = counts.lock().expect("no panic");
            counts.names.insert(name.to_vec());
        }
        let way = match ways.get(&client) {
            Some(way) => way.clone(),
            None => {
                let way = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let way = Arc::new(way.expect("a port"));
                tokio::spawn(answer(way.clone(), socket.clone(), client));
                ways.insert(client, way.clone());
                way
            }
        };
        // What is lost is sent again.
        let _ = way.send_to(datagram, to).await;
    }
}

async fn answer(way: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok(len) = way.recv(&mut buffer).await {
        let _ = socket.send_to(&buffer[..len], client).await;
    }
}

/// The connection id that a client chose for itself, which is in all its Initial packets (RFC 9000, section 17.2.2).
fn name_in_initial(datagram: &[u8]) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    if first & 0xf0 != 0xc0 {
        return None;
    }
    let (_version, rest) = rest.split_at_checked(4)?;
    let (&len, rest) = rest.split_first()?;
    let (_destination, rest) = rest.split_at_checked(len.into())?;
    let (&len, rest) = rest.split_first()?;
    Some(rest.split_at_checked(len.into())?.0)
}
