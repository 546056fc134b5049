//! The two nodes of a measurement.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use scp2p_proto::command::{Get, GetWhat, Publish};
use scp2p_proto::config::RelayLimits;
use scp2p_proto::event::Event;
use scp2p_proto::io::{Host, Transport};
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::wire::BootstrapAddr;
use scp2p_runtime_smol::{EventStream, Options, Runtime, Streamed};
use tempfile::TempDir;

/// A node that publishes.
pub struct Seeder {
    pub runtime: Runtime,
    /// Where it listens.
    pub addr: SocketAddr,
    _data: TempDir,
}

/// A node that downloads.
pub struct Follower {
    runtime: Runtime,
    target: TempDir,
    data: TempDir,
}

impl Seeder {
    pub fn start(dir: &Path, by: Transport, packet_max: Option<u16>) -> Seeder {
        let data = tempfile::tempdir_in(dir).expect("a folder");
        let runtime = start(options(data.path(), by, packet_max));
        let listening = runtime.listening();
        let addr = match by {
            Transport::Quic => listening.quic[0],
            Transport::Tcp => listening.tcp[0],
        };
        Seeder {
            runtime,
            addr,
            _data: data,
        }
    }

    pub fn publish(&self, name: &str, path: &Path) -> ShareLink {
        // Names have no place for slashes, and folders of a measurement differ in their last letters.
        let name = name.replace('/', " ");
        let name = name[name.len().saturating_sub(64)..].to_owned();
        let publish = Publish::new(name, vec![local(path)]);
        let published = block_on(self.runtime.handle().publish(publish));
        published.expect("a revision").link
    }

    /// What others dial.
    pub fn bootstrap(&self, by: Transport) -> BootstrapAddr {
        let scheme = match by {
            Transport::Quic => "quic",
            Transport::Tcp => "tcp",
        };
        format!("{scheme}://{}", self.addr)
            .parse()
            .expect("an address")
    }
}

impl Follower {
    pub fn start(dir: &Path, by: Transport, packet_max: Option<u16>, from: &Seeder) -> Follower {
        Follower::start_from(dir, by, packet_max, from.bootstrap(by))
    }

    pub fn start_from(
        dir: &Path,
        by: Transport,
        packet_max: Option<u16>,
        from: BootstrapAddr,
    ) -> Follower {
        let data = tempfile::tempdir_in(dir).expect("a folder");
        let runtime = start(Options {
            bootstrap: vec![from],
            ..options(data.path(), by, packet_max)
        });
        Follower {
            runtime,
            target: tempfile::tempdir_in(dir).expect("a folder"),
            data,
        }
    }

    /// Subscribes and waits for all catalogs.
    pub fn follow(&self, links: &[ShareLink]) {
        let handle = self.runtime.handle();
        let mut events = handle.events();
        block_on(async {
            for link in links {
                handle.subscribe(link.clone()).await.expect("durable");
            }
            count(&mut events, links.len(), |event| {
                matches!(event, Event::ManifestUpdated { .. })
            })
            .await;
        });
    }

    /// Ends the node; its folders are deleted when what is returned is dropped.
    pub fn stop(self) -> [TempDir; 2] {
        [self.target, self.data]
    }

    /// Downloads all of these shares, each into a folder of its own.
    pub fn fetch(&self, links: &[ShareLink]) {
        let handle = self.runtime.handle();
        let mut events = handle.events();
        block_on(async {
            for (n, link) in links.iter().enumerate() {
                let get = Get {
                    what: GetWhat::Share {
                        share: link.share(),
                        path: None,
                    },
                    root: local(&self.target.path().join(n.to_string())),
                };
                handle.get(get).await.expect("a download");
            }
            count(&mut events, links.len(), |event| {
                matches!(event, Event::DownloadFinished { .. })
            })
            .await;
        });
    }
}

/// Waits until so many events of a kind have come.
pub async fn count(events: &mut EventStream, mut left: usize, is_it: impl Fn(&Event) -> bool) {
    while left > 0 {
        match events.next().await.expect("a running node").item {
            Streamed::Event(event) if is_it(&event) => left -= 1,
            Streamed::Event(
                event @ (Event::ItemFailed { .. }
                | Event::DownloadFailed { .. }
                | Event::StoreTrouble { .. }),
            ) => panic!("{event:?}"),
            Streamed::Event(_) => {}
            Streamed::Lagged(missed) => panic!("{missed} events were missed"),
        }
    }
}

/// A relay over TLS, and over QUIC by both IP versions; so many bytes pass a second for one address, if that is bounded.
pub fn relay(dir: &Path, rate: Option<u32>) -> (Runtime, TempDir) {
    let data = tempfile::tempdir_in(dir).expect("a folder");
    let [one, other] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
    let any_port = |ip: IpAddr| SocketAddr::new(ip, 0);
    let mut options = Options {
        bind_quic: vec![any_port(one), any_port(other)],
        bind_tcp: vec![any_port(other)],
        ..Options::new(data.path())
    };
    options.config.capabilities.relay = true;
    options.config.relay = Some(RelayLimits {
        circuits_max: 4096,
        circuits_per_client_max: 4096,
        circuits_per_ip_max: 4096,
        circuits_per_network_max: 4096,
        rate_per_ip: rate,
        content: true,
        ..RelayLimits::default()
    });
    (start(options), data)
}

impl Seeder {
    /// A node that others cannot dial, once it is found at the relay that it starts from.
    pub fn start_hidden(dir: &Path, relay: BootstrapAddr) -> Seeder {
        let data = tempfile::tempdir_in(dir).expect("a folder");
        Seeder {
            runtime: start_hidden(data.path(), relay),
            addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            _data: data,
        }
    }
}

impl Follower {
    /// A node that others cannot dial.
    pub fn start_hidden(dir: &Path, relay: BootstrapAddr) -> Follower {
        let data = tempfile::tempdir_in(dir).expect("a folder");
        Follower {
            runtime: start_hidden(data.path(), relay),
            target: tempfile::tempdir_in(dir).expect("a folder"),
            data,
        }
    }
}

/// Listens nowhere but for QUIC, if the relay is dialled so, by the relay's IP version. Returns when others find the node
/// at the relay.
fn start_hidden(dir: &Path, relay: BootstrapAddr) -> Runtime {
    let loopback = match relay.host {
        Host::Ip(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        Host::Ip(IpAddr::V4(_)) | Host::Name(_) => Ipv4Addr::LOCALHOST.into(),
    };
    let over_quic = relay.transport == Some(Transport::Quic);
    let socket = over_quic.then_some(SocketAddr::new(loopback, 0));
    let runtime = start(Options {
        bind_quic: socket.into_iter().collect(),
        bind_tcp: Vec::new(),
        bootstrap: vec![relay],
        ..Options::new(dir)
    });
    let has_place = || {
        let status = block_on(runtime.handle().status()).expect("a running node");
        let mut places = status.addresses.iter();
        places.any(|addr| addr.relay_via.is_some())
    };
    while !has_place() {
        thread::sleep(Duration::from_millis(100));
    }
    runtime
}

fn start(options: Options) -> Runtime {
    block_on(Runtime::start(options)).expect("a node")
}

/// Only one transport is listened on, so that nothing goes over the other.
fn options(dir: &Path, by: Transport, packet_max: Option<u16>) -> Options {
    let loopback = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let (bind_quic, bind_tcp) = match by {
        Transport::Quic => (loopback, Vec::new()),
        Transport::Tcp => (Vec::new(), loopback),
    };
    Options {
        bind_quic,
        bind_tcp,
        quic_packet_max: packet_max,
        ..Options::new(dir)
    }
}

fn local(path: &Path) -> LocalPath {
    LocalPath(path.to_str().expect("a path in Unicode").to_owned())
}
