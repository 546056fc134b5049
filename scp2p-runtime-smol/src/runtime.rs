//! A running node.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use scp2p_proto::Node;
use scp2p_proto::config::Config;
use scp2p_proto::io::{HostEvent, Transport};
use scp2p_proto::keys::Keys;
use scp2p_proto::storage::Saved;
use smol::Executor;

use crate::addresses;
use crate::clock::Clock;
use crate::disk::{Completions, Disk, OpenError};
use crate::driver::{Driver, Parts};
use crate::entropy;
use crate::events::Broadcast;
use crate::handle::Handle;
use crate::net::AcceptedIds;
use crate::net::mtu::Mtus;
use crate::net::quic::QuicLinks;
use crate::net::tcp::TcpLinks;
use crate::net::tls::Identity;
use crate::net::udp::UdpEndpoint;
use crate::node_key;
use crate::options::{Listening, Options, StartError};

/// What the secret of QUIC endpoints is derived for from the node's key.
const QUIC_CONTEXT: &str = "scp2p 2026 QUIC endpoints of a node";
/// Asks of applications that wait for the driver; further ones wait at the sender.
const ASKS_MAX: usize = 64;
/// Changes of the host that wait for the driver.
const HOST_EVENTS_MAX: usize = 4;
/// Threads for the tasks of TLS links; more links at once are not worth a thread each.
const LINK_THREADS_MAX: usize = 3;
/// Ports tried when the system is to choose one that all families can have.
const PORT_TRIES: usize = 16;

/// A running node with its sockets, store and threads.
///
/// Dropping it without [`Handle::shutdown`] stops the node as a crash would:
/// nothing durable is lost, peers notice by time-outs.
pub struct Runtime {
    handle: Handle,
    listening: Listening,
    /// Closed when the driver is gone.
    done: Receiver<()>,
    /// The threads end when this is dropped.
    _threads: Sender<()>,
}

impl Runtime {
    /// Starts a node. The data folder is locked, the store opened and every listener bound when
    /// this returns.
    pub async fn start(options: Options) -> Result<Runtime, StartError> {
        let Options {
            data_dir,
            bind_quic,
            bind_tcp,
            quic_packet_max,
            bootstrap,
            config,
        } = options;
        let opened = smol::unblock(move || open(&data_dir)).await?;

        let executor = Arc::new(Executor::new());
        let identity = Identity::generate().map_err(|error| StartError::System {
            reason: error.to_string(),
        })?;
        let secret = opened.keys.signing().to_bytes();
        let identity = identity.remembered(blake3::derive_key(QUIC_CONTEXT, &secret));
        let ids = AcceptedIds::default();
        let mtus = match quic_packet_max {
            Some(bytes) => Mtus::of_interfaces().at_most(bytes),
            None => Mtus::of_interfaces(),
        };
        let udp = bind_udp(&bind_quic, mtus, &identity, &ids)?;
        let mut tcp = TcpLinks::new(Arc::downgrade(&executor), identity, ids);
        let tcp_addrs = bind_all(&bind_tcp, Transport::Tcp, |addr| {
            tcp.listen(addr).map(|addr| (addr, addr))
        })?;
        let listening = Listening {
            quic: udp.iter().map(UdpEndpoint::addr).collect(),
            tcp: tcp_addrs,
        };

        let mut clock = Clock::start();
        let config = Config {
            bootstrap,
            ..placed(config, &listening)
        };
        let now = clock.moment().now;
        let node = Node::new(config, opened.keys, entropy::seed()?, opened.saved, now);
        let (asks, driver_asks) = async_channel::bounded(ASKS_MAX);
        let (host_events, host) = async_channel::bounded(HOST_EVENTS_MAX);
        let events = Broadcast::default();
        let driver = Driver::new(Parts {
            node,
            clock,
            executor: Arc::downgrade(&executor),
            udp,
            tcp,
            disk: opened.disk,
            completions: opened.completions,
            asks: driver_asks,
            host,
            events: events.source(),
        });
        let (driver_done, done) = async_channel::bounded(1);
        executor
            .spawn(tell_addresses(host_events, bound_ips(&listening)))
            .detach();
        let (threads, stop) = async_channel::bounded(1);
        start_thread("scp2p-driver", {
            let stop = stop.clone();
            async move {
                let stopped = async {
                    let _ = stop.recv().await;
                };
                future::or(driver.run(), stopped).await;
                drop(driver_done);
            }
        })?;
        start_link_threads(&executor, &stop)?;
        Ok(Runtime {
            handle: Handle::new(asks, events),
            listening,
            done,
            _threads: threads,
        })
    }

    /// What applications talk through.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The addresses that are really listened on.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Resolves once the node is done after [`Handle::shutdown`]: links closed, store flushed,
    /// folder unlocked.
    pub async fn stopped(self) {
        // Nothing is ever sent: the channel closes when the driver is gone.
        let _ = self.done.recv().await;
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("listening", &self.listening)
            .finish_non_exhaustive()
    }
}

/// What the data folder holds.
struct Opened {
    disk: Disk,
    saved: Saved,
    completions: Completions,
    keys: Keys,
}

/// Locks and reads the data folder. Blocks.
fn open(data_dir: &Path) -> Result<Opened, StartError> {
    let (disk, saved, completions) = Disk::open(data_dir).map_err(|error| match error {
        OpenError::Busy { path } => StartError::DataDirBusy { path },
        error @ (OpenError::Newer { .. } | OpenError::Damaged { .. } | OpenError::Io { .. }) => {
            StartError::Store(error)
        }
    })?;
    let keys = node_key::load_or_create(data_dir)?;
    Ok(Opened {
        disk,
        saved,
        completions,
        keys,
    })
}

fn bind_udp(
    addrs: &[SocketAddr],
    mtus: Mtus,
    identity: &Identity,
    ids: &AcceptedIds,
) -> Result<Vec<UdpEndpoint>, StartError> {
    let seed = entropy::seed()?;
    let mut count = 0;
    bind_all(addrs, Transport::Quic, |addr| {
        // Endpoints must not choose the same connection ids.
        let mut seed = seed;
        count += 1;
        seed[0] ^= count;
        let links = QuicLinks::new(identity, mtus, ids.clone(), seed);
        let endpoint = UdpEndpoint::bind(addr, links)?;
        Ok((endpoint.addr(), endpoint))
    })
}

/// Binds all addresses. Those with port 0 get the same one, because a node announces one port per
/// transport.
fn bind_all<T>(
    addrs: &[SocketAddr],
    transport: Transport,
    mut bind: impl FnMut(SocketAddr) -> io::Result<(SocketAddr, T)>,
) -> Result<Vec<T>, StartError> {
    let mut tries = 0;
    'ports: loop {
        let mut chosen = 0;
        let mut bound = Vec::new();
        for addr in addrs {
            let mut addr = *addr;
            let free = addr.port() == 0;
            if free {
                addr.set_port(chosen);
            }
            match bind(addr) {
                Ok((actual, made)) => {
                    if free {
                        chosen = actual.port();
                    }
                    bound.push(made);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tries += 1;
                    if free && tries < PORT_TRIES {
                        continue 'ports;
                    }
                    return Err(StartError::PortTaken { addr, transport });
                }
                Err(_) if may_be_missing(addr, addrs) => {}
                Err(error) => {
                    return Err(StartError::Bind {
                        addr,
                        transport,
                        error,
                    });
                }
            }
        }
        return Ok(bound);
    }
}

/// Whether the host may be without IPv6: everything is asked for, IPv4 too.
fn may_be_missing(addr: SocketAddr, addrs: &[SocketAddr]) -> bool {
    let all = |addr: &SocketAddr| addr.ip().is_unspecified();
    addr.is_ipv6() && all(&addr) && addrs.iter().any(|addr| addr.is_ipv4() && all(addr))
}

/// The settings with the places where the node really listens.
fn placed(config: Config, listening: &Listening) -> Config {
    Config {
        quic_port: listening.quic.first().map(SocketAddr::port),
        tcp_port: listening.tcp.first().map(SocketAddr::port),
        bound_ips: bound_ips(listening),
        ..config
    }
}

/// The addresses listened on, none if it is all of a family.
fn bound_ips(listening: &Listening) -> Vec<IpAddr> {
    let all = listening.quic.iter().chain(&listening.tcp);
    let mut ips: Vec<IpAddr> = all.map(SocketAddr::ip).collect();
    if ips.iter().any(IpAddr::is_unspecified) {
        return Vec::new();
    }
    ips.sort_unstable();
    ips.dedup();
    ips
}

/// Tells the node its host's addresses: those it is bound to if it is bound to loopback alone.
async fn tell_addresses(events: Sender<HostEvent>, bound: Vec<IpAddr>) {
    if !bound.is_empty() && bound.iter().all(IpAddr::is_loopback) {
        let _ = events.send(HostEvent::Addresses(bound)).await;
    } else {
        addresses::watch(events).await;
    }
}

/// Threads that run the executor's tasks until the channel is closed.
fn start_link_threads(
    executor: &Arc<Executor<'static>>,
    stop: &Receiver<()>,
) -> Result<(), StartError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..(cores - 1).clamp(1, LINK_THREADS_MAX) {
        let (executor, stop) = (executor.clone(), stop.clone());
        start_thread("scp2p-links", async move {
            let _ = executor.run(stop.recv()).await;
        })?;
    }
    Ok(())
}

fn start_thread(
    name: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(|| smol::block_on(work))
        .map(drop)
        .map_err(|error| StartError::System {
            reason: format!("no thread: {error}"),
        })
}
