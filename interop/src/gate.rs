//! A way to a peer that counts who dials through it, can be cut, and can go dark.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use std::time::Duration;

use scp2p_proto::io::Transport;
use scp2p_proto::wire::PeerAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// The longest datagram.
const DATAGRAM_MAX: usize = 65_536;
/// How often it is looked whether a gate is dark still.
const DARK_PAUSE: Duration = Duration::from_millis(20);

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
    /// Bytes from the peer so far.
    carried: u64,
    /// It is dark once so many bytes came from the peer.
    dark_at: Option<u64>,
}

impl Counts {
    fn is_dark(&self) -> bool {
        self.dark_at.is_some_and(|at| self.carried >= at)
    }
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

    /// Carries so many bytes more from the peer, and nothing to or from it then, while connections stay as they are.
    pub fn go_dark_after(&self, bytes: u64) {
        let mut counts = self.counts.lock().expect("no panic");
        counts.dark_at = Some(counts.carried + bytes);
    }

    /// Whether nothing is carried.
    pub fn is_dark(&self) -> bool {
        is_dark(&self.counts)
    }

    /// Carries all again. Datagrams that came meanwhile are lost.
    pub fn light(&self) {
        self.counts.lock().expect("no panic").dark_at = None;
    }
}

fn is_dark(counts: &Mutex<Counts>) -> bool {
    counts.lock().expect("no panic").is_dark()
}

async fn forward_connections(listener: TcpListener, to: SocketAddr, counts: Arc<Mutex<Counts>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let counting = counts.clone();
        let forwarding = tokio::spawn(async move {
            let Ok(mut peer) = TcpStream::connect(to).await else {
                return;
            };
            let ((from_client, to_client), (from_peer, to_peer)) = (client.split(), peer.split());
            tokio::join!(
                forward_bytes(from_client, to_peer, &counting, |_, _| {}),
                forward_bytes(from_peer, to_client, &counting, carry),
            );
        });
        let mut counts = counts.lock().expect("no panic");
        counts.connections += 1;
        counts.open.push(forwarding.abort_handle());
    }
}

/// Counts what came from the peer.
fn carry(counts: &mut Counts, len: usize) {
    counts.carried += len as u64;
}

/// It ends as the connections do.
async fn forward_bytes(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counts: &Mutex<Counts>,
    count: fn(&mut Counts, usize),
) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let len = from.read(&mut buffer).await.unwrap_or(0);
        while is_dark(counts) {
            sleep(DARK_PAUSE).await;
        }
        if len == 0 {
            break;
        }
        count(&mut counts.lock().expect("no panic"), len);
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
    // It fails only if nobody is there to be told.
    let _ = to.shutdown().await;
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
                let answering = answer(way.clone(), socket.clone(), client, counts.clone());
                tokio::spawn(answering);
                ways.insert(client, way.clone());
                way
            }
        };
        if !is_dark(&counts) {
            // What is lost is sent again.
            let _ = way.send_to(datagram, to).await;
        }
    }
}

async fn answer(
    way: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    counts: Arc<Mutex<Counts>>,
) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok(len) = way.recv(&mut buffer).await {
        {
            let mut counts = counts.lock().expect("no panic");
            if counts.is_dark() {
                continue;
            }
            carry(&mut counts, len);
        }
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
