//! How a node behaves.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

#[cfg(feature = "planted")]
use crate::planted::Bug;
use crate::wire::{BootstrapAddr, Capabilities};

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

/// What a relay gives to others (SPECIFICATION §11.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayLimits {
    /// Circuits at a time.
    pub circuits_max: u32,
    /// Circuits at a time that one client has an end of.
    pub circuits_per_client_max: u32,
    /// Places at a time for clients at one address.
    pub reservations_per_ip_max: u32,
    /// A circuit through which nothing goes for so long ends.
    pub idle_time: Duration,
}

impl Default for RelayLimits {
    fn default() -> RelayLimits {
        RelayLimits {
            circuits_max: 64,
            circuits_per_client_max: 16,
            reservations_per_ip_max: 8,
            idle_time: Duration::from_secs(600),
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            bootstrap: Vec::new(),
            quic_port: None,
            tcp_port: None,
            bound_ips: Vec::new(),
            capabilities: Capabilities::node(),
            require_binding: false,
            poll_interval: Duration::from_secs(60),
            republish_interval: Duration::from_secs(1800),
            item_records_max: 64,
            uploads_per_peer_max: 4,
            files_at_once_max: 64,
            relay: None,
            deployed_relays: true,
            sessions_kept: 128,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}
