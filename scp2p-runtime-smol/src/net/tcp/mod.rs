//! Links of TLS over TCP. Each has a task that does its cryptography; the driver talks to it
//! through channels.

mod link;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_io::{Async, Timer};
use futures_lite::{Stream, future};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{CloseCode, Dial, DialError, Frame, Lane, LinkEvent, LinkInfo, Transport};
use smol::{Executor, Task};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tracing::{debug, warn};

use self::link::{LinkTask, shake_hands};
use super::half_open::HalfOpen;
use super::resolve::{resolve, share_of_time};
use super::tls::{Identity, SERVER_NAME};
use super::{AcceptedIds, OPENING_TIME_MAX};

/// Reports of links that wait for the driver; a link with one more waits itself, and reads nothing
/// meanwhile.
const REPORTS_MAX: usize = 256;
/// Connections that the system may hold for a listener.
const BACKLOG: i32 = 1024;
/// How long to wait when the system cannot accept, for want of descriptors above all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Silence after which the system asks whether the other end is still there.
const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
/// How often it asks.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// After so many questions without an answer the connection is lost.
const KEEPALIVE_TRIES: u32 = 3;

/// What the driver tells a link's task. Not bounded as a queue, because frames are bounded by
/// the room that the task gave, grants by the bytes it read.
#[derive(Debug)]
enum ToLink {
    Send(Frame),
    Grant(u32),
    Close,
}

/// What a link's task tells the driver.
#[derive(Debug)]
enum Report {
    /// A remote opened a link; this is how to reach its task.
    Accepted(Sender<ToLink>, LinkInfo),
    /// Something happened.
    Event(LinkEvent),
    /// The task is over, by a close of the node's.
    Gone,
}

/// All links of TLS over TCP.
pub(crate) struct TcpLinks {
    shared: Shared,
    listeners: Vec<Task<()>>,
    links: HashMap<LinkId, Sender<ToLink>>,
    /// Closed by the node, but still delivering.
    closing: HashSet<LinkId>,
    reports: Pin<Box<Receiver<(LinkId, Report)>>>,
}

/// What listeners and links share.
#[derive(Clone)]
struct Shared {
    executor: Weak<Executor<'static>>,
    identity: Identity,
    ids: AcceptedIds,
    half_open: Arc<Mutex<HalfOpen>>,
    reports: Sender<(LinkId, Report)>,
}

impl TcpLinks {
    pub(crate) fn new(
        executor: Weak<Executor<'static>>,
        identity: Identity,
        ids: AcceptedIds,
    ) -> TcpLinks {
        let (sender, reports) = async_channel::bounded(REPORTS_MAX);
        let half_open = Arc::default();
        let shared = Shared {
            executor,
            identity,
            ids,
            half_open,
            reports: sender,
        };
        TcpLinks {
            shared,
            listeners: Vec::new(),
            links: HashMap::new(),
            closing: HashSet::new(),
            reports: Box::pin(reports),
        }
    }

    /// Listens until these links are dropped. Returns the address with its port.
    pub(crate) fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let listener = bind(addr)?;
        let addr = listener.local_addr()?;
        let listener = Async::new(listener)?;
        if let Some(executor) = self.shared.executor.upgrade() {
            self.listeners
                .push(executor.spawn(accept(self.shared.clone(), listener)));
        }
        Ok(addr)
    }

    /// Opens a link. Answered by [`LinkEvent::Dialed`] or [`LinkEvent::Failed`].
    pub(crate) fn dial(&mut self, id: LinkId, dial: Dial) {
        let (sender, wishes) = async_channel::unbounded();
        self.links.insert(id, sender);
        let shared = self.shared.clone();
        let task = async move {
            match open(&shared, &dial).await {
                Ok((stream, tls, info)) => {
                    let up = Report::Event(LinkEvent::Dialed(info));
                    shared.run(id, stream, tls, wishes, up).await;
                }
                Err(error) => {
                    let failed = Report::Event(LinkEvent::Failed(error));
                    let _ = shared.reports.send((id, failed)).await;
                }
            }
        };
        self.shared.spawn(task);
    }

    /// Sends a frame, which is copied only to be encrypted.
    pub(crate) fn send(&mut self, id: LinkId, frame: Frame) {
        self.tell(id, ToLink::Send(frame));
    }

    /// Lets the node read so many more bytes.
    pub(crate) fn grant(&mut self, id: LinkId, lane: Lane, bytes: u32) {
        match lane {
            Lane::Control => self.tell(id, ToLink::Grant(bytes)),
            Lane::Bulk => {}
        }
    }

    /// Closes a link after what was sent on it; no event of it follows.
    pub(crate) fn close(&mut self, id: LinkId, _code: CloseCode) {
        if let Some(link) = self.links.remove(&id)
            && link.try_send(ToLink::Close).is_ok()
        {
            self.closing.insert(id);
        }
    }

    /// The next event.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<(LinkId, LinkEvent)> {
        loop {
            let Some((id, report)) = ready!(self.reports.as_mut().poll_next(cx)) else {
                // The sender is held above, so there is always one.
                return Poll::Pending;
            };
            let event = match report {
                Report::Accepted(link, info) => {
                    self.links.insert(id, link);
                    return Poll::Ready((id, LinkEvent::Accepted(info)));
                }
                Report::Event(event) => event,
                Report::Gone => {
                    self.closing.remove(&id);
                    continue;
                }
            };
            let known = if matches!(event, LinkEvent::Failed(_) | LinkEvent::Closed(_)) {
                self.closing.remove(&id);
                self.links.remove(&id).is_some()
            } else {
                self.links.contains_key(&id)
            };
            if known {
                return Poll::Ready((id, event));
            }
        }
    }

    /// Whether every link that the node closed is delivered or given up.
    pub(crate) fn is_quiet(&self) -> bool {
        self.closing.is_empty()
    }

    fn tell(&mut self, id: LinkId, wish: ToLink) {
        if let Some(link) = self.links.get(&id) {
            // A task that is gone has reported why.
            let _ = link.try_send(wish);
        }
    }
}

impl Shared {
    /// Drives a link to its end.
    async fn run(
        self,
        id: LinkId,
        stream: Async<TcpStream>,
        tls: Connection,
        wishes: Receiver<ToLink>,
        up: Report,
    ) {
        if self.reports.send((id, up)).await.is_ok() {
            LinkTask::new(id, stream, tls, wishes, self.reports)
                .run()
                .await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(task).detach();
        }
    }

    fn half_open(&self, ip: IpAddr, more: bool) -> bool {
        let mut half_open = self
            .half_open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if more && half_open.is_full(ip) {
            return false;
        }
        if more {
            half_open.add(ip)
        } else {
            half_open.remove(ip)
        }
        true
    }
}

/// Counts a half-open connection for as long as it lives.
struct HalfOpenGuard<'a>(&'a Shared, IpAddr);

impl Drop for HalfOpenGuard<'_> {
    fn drop(&mut self) {
        self.0.half_open(self.1, false);
    }
}

/// Accepts for ever; no handshake keeps another waiting.
async fn accept(shared: Shared, listener: Async<TcpListener>) {
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept TCP connections");
                Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !shared.half_open(remote.ip(), true) {
            debug!("too many half-open TCP connections");
            continue;
        }
        let link = welcome(shared.clone(), stream, remote);
        shared.spawn(link);
    }
}

/// One accepted connection, from its handshake to its end.
async fn welcome(shared: Shared, stream: Async<TcpStream>, remote: SocketAddr) {
    let guard = HalfOpenGuard(&shared, remote.ip());
    let until = Instant::now() + OPENING_TIME_MAX;
    let Ok(tls) = ServerConnection::new(shared.identity.server.clone()) else {
        return;
    };
    let opened = secure(stream, Connection::Server(tls), remote, until).await;
    drop(guard);
    if let Ok((stream, tls, info)) = opened {
        let id = shared.ids.next();
        let (sender, wishes) = async_channel::unbounded();
        shared
            .run(id, stream, tls, wishes, Report::Accepted(sender, info))
            .await;
    }
}

/// Tries the addresses of a dial in turn.
async fn open(
    shared: &Shared,
    dial: &Dial,
) -> Result<(Async<TcpStream>, Connection, LinkInfo), DialError> {
    let until = Instant::now() + OPENING_TIME_MAX;
    let addresses = resolve(dial, until).await?;
    let mut last = DialError::Unreachable;
    for (tried, remote) in addresses.iter().enumerate() {
        let until = share_of_time(Instant::now(), until, addresses.len() - tried);
        let attempt = async {
            let stream = connect(*remote, until).await?;
            let name = ServerName::try_from(SERVER_NAME).map_err(|_| DialError::Tls)?;
            let tls = ClientConnection::new(shared.identity.client.clone(), name)
                .map_err(|_| DialError::Tls)?;
            secure(stream, Connection::Client(tls), *remote, until).await
        };
        match attempt.await {
            Ok(opened) => return Ok(opened),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect(remote: SocketAddr, until: Instant) -> Result<Async<TcpStream>, DialError> {
    let connect = async {
        Async::<TcpStream>::connect(remote)
            .await
            .map_err(|error| dial_error(error.kind()))
    };
    future::or(connect, late(until)).await
}

fn dial_error(kind: io::ErrorKind) -> DialError {
    if matches!(
        kind,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    ) {
        DialError::Refused
    } else if kind == io::ErrorKind::TimedOut {
        DialError::TimedOut
    } else {
        DialError::Unreachable
    }
}

/// Makes a connection a link: TLS, within time.
async fn secure(
    stream: Async<TcpStream>,
    tls: Connection,
    remote: SocketAddr,
    until: Instant,
) -> Result<(Async<TcpStream>, Connection, LinkInfo), DialError> {
    let socket = SockRef::from(stream.get_ref());
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_TRIES);
    // Both only improve a connection that works without them.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let (stream, tls, exporter) = future::or(shake_hands(stream, tls), late(until)).await?;
    let info = LinkInfo {
        transport: Transport::Tcp,
        remote,
        exporter,
    };
    Ok((stream, tls, info))
}

async fn late<T>(until: Instant) -> Result<T, DialError> {
    Timer::at(until).await;
    Err(DialError::TimedOut)
}

/// Listens on one family only, so that both can have the same port.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Without it a node could not start again while old connections linger in the system.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
