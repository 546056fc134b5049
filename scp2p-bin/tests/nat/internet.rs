//! An internet of real packets: each host is a network namespace with a tun device, and this process is what lies between.
//!
//! Hosts can send nothing anywhere else, since the namespace in which they are made has no network; see
//! [`sandbox`](super::sandbox). Nothing is held up but what a slow host sends, and lost only where a device has no room
//! or NATs are parted. Bindings of TCP last no longer
//! than those of UDP. A NAT refuses silently.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, scope, sleep, spawn};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use scp2p_proto::io::Transport;
use scp2p_proto::time::Time;
use scp2p_sim::id::HostId;
use scp2p_sim::scenario;
use tun_rs::{DeviceBuilder, InterruptEvent, SyncDevice};

use super::common::{Node, Settings};
use super::packet::Packet;
use super::routes::{NatId, Routes, Traffic};

/// As Ethernet has it.
const MTU: u16 = 1500;
/// All addresses that hosts and NATs have begin with this bit, so that a device with one of them is the way to all others.
const PREFIX: u8 = 1;

/// NATs and hosts, and packets between them.
#[derive(Clone)]
pub struct Internet(Arc<Mutex<State>>);

struct State {
    routes: Routes,
    devices: BTreeMap<HostId, Arc<SyncDevice>>,
    started: Instant,
    skipped: Duration,
    hosts: u32,
    /// Bytes a second of hosts that send no faster.
    rates: BTreeMap<HostId, u32>,
}

/// A NAT; it stays when this is dropped.
#[derive(Clone)]
pub struct Nat {
    internet: Internet,
    id: NatId,
}

/// A host: a network namespace with one device. Dropping it pulls the plug.
pub struct Host {
    internet: Internet,
    id: HostId,
    namespace: File,
    address: Ipv4Addr,
    wire: Option<Wire>,
}

/// Reads what comes out of a host's device.
struct Wire {
    cut: Arc<InterruptEvent>,
    reader: Option<JoinHandle<()>>,
}

impl Internet {
    /// Without NATs and hosts.
    pub fn new() -> Internet {
        Internet(Arc::new(Mutex::new(State {
            routes: Routes::default(),
            devices: BTreeMap::new(),
            started: Instant::now(),
            skipped: Duration::ZERO,
            hosts: 0,
            rates: BTreeMap::new(),
        })))
    }

    /// Adds a NAT of this kind with a public address, or with one behind another NAT; what else the kind says of names
    /// is not looked at.
    pub fn nat(&self, kind: &scenario::Edge, behind: Option<&Nat>) -> Nat {
        let id = self.state().routes.add_nat(kind, behind.map(|nat| nat.id));
        Nat {
            internet: self.clone(),
            id,
        }
    }

    /// Adds a host behind a NAT, or with a public address.
    pub fn host(&self, behind: Option<&Nat>) -> Host {
        let namespace = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("the sandbox lets us");
            File::open("/proc/thread-self/ns/net").expect("it is there")
        });
        let id = {
            let mut state = self.state();
            state.hosts += 1;
            HostId(state.hosts)
        };
        let mut host = Host {
            internet: self.clone(),
            id,
            namespace,
            address: Ipv4Addr::UNSPECIFIED,
            wire: None,
        };
        host.move_to(behind);
        host
    }

    /// Lets NATs believe that so much time has passed, which makes bindings expire.
    pub fn skip(&self, time: Duration) {
        self.state().skipped += time;
    }

    /// Loses all packets from NAT to NAT, or none any more.
    pub fn part(&self, is_parted: bool) {
        self.state().routes.part(is_parted);
    }

    /// Takes a packet out of a host's device to where it goes.
    fn carry(&self, from: HostId, mut packet: Packet) {
        let (device, rate) = {
            let mut state = self.state();
            let now = Time::default() + (state.started.elapsed() + state.skipped);
            let to = state.routes.carry(now, from, &mut packet);
            let device = to.and_then(|to| state.devices.get(&to).cloned());
            (device, state.rates.get(&from).copied())
        };
        if let Some(rate) = rate {
            sleep(Duration::from_secs(packet.bytes().len() as u64) / rate);
        }
        if let Some(device) = device {
            // One without room loses the packet, as routers do.
            let _ = device.send(packet.bytes());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics in between")
    }
}

impl Nat {
    /// Its address outside.
    pub fn address(&self) -> Ipv4Addr {
        self.internet.state().routes.address(self.id)
    }

    /// Forwards one of its ports to one of a host's address inside, for good.
    pub fn forward(&self, transport: Transport, port: u16, host: &Host, inner_port: u16) {
        let to = SocketAddrV4::new(host.address, inner_port);
        let mut state = self.internet.state();
        state.routes.forward(self.id, transport, port, to);
    }

    /// What passed it so far.
    pub fn traffic(&self) -> Traffic {
        self.internet.state().routes.nat_traffic(self.id)
    }
}

impl Host {
    /// The address of its device.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What it sent and got so far.
    pub fn traffic(&self) -> Traffic {
        self.internet.state().routes.host_traffic(self.id)
    }

    /// Lets it send no faster than this.
    pub fn slow_down(&self, bytes_per_second: u32) {
        let mut state = self.internet.state();
        state.rates.insert(self.id, bytes_per_second);
    }

    /// Does something on this host. Sockets and processes that are made there belong to the host, wherever they are used.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("it is a network namespace");
            act()
        })
    }

    /// Starts a node here, which listens at the ports that nodes have by default.
    pub fn start(&self, settings: Settings) -> Node {
        let settings = Settings {
            everywhere: true,
            ..settings
        };
        self.enter(|| Node::start(settings))
    }

    /// Starts a node again that was started here and has ended.
    pub fn restart(&self, node: &mut Node) {
        self.enter(|| node.restart());
    }

    /// How other nodes start from one on this host, if it is reached at this address: its own, or that of a NAT.
    pub fn bootstrap_at(address: Ipv4Addr) -> [String; 2] {
        [
            format!("quic://{address}:7000"),
            format!("tcp://{address}:7001"),
        ]
    }

    /// Moves the host behind another NAT, or to a public address. Its device goes, and another one with another
    /// address comes; processes and sockets stay.
    pub fn move_to(&mut self, behind: Option<&Nat>) {
        self.unplug();
        let behind = behind.map(|nat| nat.id);
        self.address = self.internet.state().routes.place(self.id, behind);
        let device = self.enter(|| {
            let device = DeviceBuilder::new()
                .ipv4(self.address, PREFIX, None)
                .mtu(MTU);
            device.build_sync().expect("a tun device")
        });
        device.set_nonblocking(true).expect("it can be");
        let device = Arc::new(device);
        let internet = self.internet.clone();
        internet.state().devices.insert(self.id, device.clone());
        self.wire = Some(Wire::new(internet, self.id, device));
    }

    /// The device goes with the last who has it open.
    fn unplug(&mut self) {
        self.wire = None;
        self.internet.state().devices.remove(&self.id);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.unplug();
    }
}

impl Wire {
    fn new(internet: Internet, host: HostId, device: Arc<SyncDevice>) -> Wire {
        let cut = Arc::new(InterruptEvent::new().expect("a pipe"));
        let seen = cut.clone();
        let reader = spawn(move || {
            let mut buffer = vec![0; usize::from(MTU)];
            while let Ok(length) = device.recv_intr(&mut buffer, &seen) {
                if let Some(packet) = Packet::parse(&mut buffer[..length]) {
                    internet.carry(host, packet);
                }
            }
        });
        Wire {
            cut,
            reader: Some(reader),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut.trigger().expect("the pipe has room");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it does not panic");
        }
    }
}

/// Does something in a thread of its own, since the namespaces of a thread stay its own.
fn in_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    scope(|scope| {
        let result = scope.spawn(act).join();
        result.unwrap_or_else(|panic| resume_unwind(panic))
    })
}
