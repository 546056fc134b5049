//! How a node behaves.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::id::NodeKey;
use crate::io::Transport;
#[cfg(feature = "planted")]
use crate::planted::Bug;
use crate::record::BandwidthClass;
use crate::wire::{BootstrapAddr, Capabilities, PeerAddr};

/// Settings of a node. [`Config::default`] is what the command uses.
#[derive(Debug, Clone)]
pub struct Config {
    /// Peers to start from.
    pub bootstrap: Vec<BootstrapAddr>,
    /// The UDP port that QUIC listens on, if it does.
    pub quic_port: Option<u16>,
    /// The TCP port that TLS listens on, if it does.
    pub tcp_port: Option<u16>,
    /// The addresses that listeners are bound to when they are not bound to all.
    pub bound_ips: Vec<IpAddr>,
    /// Addresses at which the node is reached from outside, where it cannot see that itself: a router forwards their ports.
    /// They come first among its own, of which others are told [`OWN_ADDRS_MAX`](crate::limits::OWN_ADDRS_MAX), those
    /// through relays among them; those that nobody can dial are left out.
    pub announced: Vec<PeerAddr>,
    /// What to announce in hellos.
    pub capabilities: Capabilities,
    /// Refuse peers whose sessions are not bound to their TLS channel. Deployed peers never are.
    pub require_binding: bool,
    /// How often a subscription is looked up by itself and those peers together that would push what they find;
    /// jittered by a quarter.
    pub poll_interval: Duration,
    /// How often own heads, manifests and provider records are stored again at the most, sooner while they are new or a
    /// deployed peer keeps them; jittered by a quarter.
    pub republish_interval: Duration,
    /// Per-item provider records written per share and republishing.
    pub item_records_max: u32,
    /// Chunks being read for one session at a time; small pieces count by their bytes.
    pub uploads_per_peer_max: u32,
    /// Files downloaded at a time.
    pub files_at_once_max: u32,
    /// Whether and how far this node relays for others; then [`Config::capabilities`] must say so too.
    pub relay: Option<RelayLimits>,
    /// Relays that the user prefers to all others, for when others cannot dial this node: it then connects to them as to
    /// bootstrap peers, of which there are [`BOOTSTRAPS_MAX`] at most with these, and has its places there first.
    ///
    /// [`BOOTSTRAPS_MAX`]: crate::limits::BOOTSTRAPS_MAX
    pub relays: Vec<BootstrapAddr>,
    /// Whether and how this node announces itself as a relay, which it does only with [`Config::relay`].
    pub announcing: Option<Announcing>,
    /// Whether tunnels of deployed peers are used, whose relays read and can alter all that goes through them
    /// (SPECIFICATION §9.7): as their relay, if this node relays at all, to reach others and to be reached.
    pub deployed_relays: bool,
    /// Sessions kept although they are of no use at the time. More make a lookup cheaper, each costs some kilobytes
    /// here and more in the transport.
    pub sessions_kept: u32,
    /// The deliberate bug that the node has, if any.
    #[cfg(feature = "planted")]
    pub planted: Option<Bug>,
}

/// What a relay gives to others (SPECIFICATION §11.5). A circuit counts for the address from which it was opened: an IPv4
/// address, or the first 64 bits of an IPv6 one. Networks are told apart by the first 16 bits of IPv4 addresses and the third
/// and fourth byte of IPv6 ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayLimits {
    /// Circuits at a time.
    pub circuits_max: u32,
    /// Circuits at a time that one client has an end of.
    pub circuits_per_client_max: u32,
    /// Circuits at a time from one address.
    pub circuits_per_ip_max: u32,
    /// Circuits at a time from one network.
    pub circuits_per_network_max: u32,
    /// Places at a time, at most [`RESERVATIONS_MAX`](crate::limits::RESERVATIONS_MAX).
    pub reservations_max: u32,
    /// Places at a time for clients at one address.
    pub reservations_per_ip_max: u32,
    /// Places at a time for clients of one network.
    pub reservations_per_network_max: u32,
    /// Bytes per second of all circuits, and of tunnels of deployed peers, together.
    pub rate_total: Option<u32>,
    /// Bytes per second of all circuits from one address, and of what is asked from there through tunnels.
    pub rate_per_ip: Option<u32>,
    /// Bytes per hour of all circuits and tunnels together; when they are used up circuits end and requests are refused.
    pub hourly_total: Option<u64>,
    /// Bytes per hour of all circuits from one address, and of what is asked from there through tunnels.
    pub hourly_per_ip: Option<u64>,
    /// A circuit through which so many bytes went ends.
    pub bytes_per_circuit: Option<u64>,
    /// A circuit through which nothing goes for so long ends.
    pub idle_time: Duration,
    /// Who may have a place or a slot, if not everybody.
    pub allowed: Option<BTreeSet<NodeKey>>,
    /// The relay is about to stop: what is there goes on, and everything new is refused.
    pub closing: bool,
    /// Whether circuits are for content too. If not, the two ends are told so and each circuit gets little more than it
    /// takes to meet and to pass catalogs on.
    pub content: bool,
}

/// How a relay announces itself in the DHT and to those who ask for relays (SPECIFICATION §5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcing {
    /// How fast it says that it is.
    pub bandwidth: BandwidthClass,
    /// How often it announces itself, at least 60 s and jittered by a quarter; each hour it does so once more.
    pub interval: Duration,
}

impl Default for Announcing {
    fn default() -> Announcing {
        Announcing {
            bandwidth: BandwidthClass::Medium,
            interval: Duration::from_secs(1800),
        }
    }
}

impl Default for RelayLimits {
    fn default() -> RelayLimits {
        RelayLimits {
            circuits_max: 64,
            circuits_per_client_max: 16,
            circuits_per_ip_max: 32,
            circuits_per_network_max: 48,
            reservations_max: 512,
            reservations_per_ip_max: 8,
            reservations_per_network_max: 64,
            rate_total: None,
            rate_per_ip: None,
            hourly_total: None,
            hourly_per_ip: None,
            bytes_per_circuit: None,
            idle_time: Duration::from_secs(600),
            allowed: None,
            closing: false,
            content: false,
        }
    }
}

impl RelayLimits {
    /// Whether this peer may have a place or a slot.
    pub(crate) fn allows(&self, peer: &NodeKey) -> bool {
        let allowed = self.allowed.as_ref();
        allowed.is_none_or(|allowed| allowed.contains(peer))
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            bootstrap: Vec::new(),
            quic_port: None,
            tcp_port: None,
            bound_ips: Vec::new(),
            announced: Vec::new(),
            capabilities: Capabilities::node(),
            require_binding: false,
            poll_interval: Duration::from_secs(60),
            republish_interval: Duration::from_secs(1800),
            item_records_max: 64,
            uploads_per_peer_max: 4,
            files_at_once_max: 64,
            relay: None,
            relays: Vec::new(),
            announcing: None,
            deployed_relays: true,
            sessions_kept: 128,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

impl Config {
    /// The port at which others reach this node over a transport: that which the user named, else that listened on.
    pub(crate) fn outer_port(&self, transport: Transport) -> Option<u16> {
        let mut named = self.announced.iter();
        let named = named.find(|addr| addr.transport == transport && addr.is_dialable());
        let listened = match transport {
            Transport::Quic => self.quic_port,
            Transport::Tcp => self.tcp_port,
        };
        named.map(|addr| addr.port).or(listened)
    }
}
