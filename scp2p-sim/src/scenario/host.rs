//! The hosts: what runs on them, and how their disks and clocks behave.

use serde::{Deserialize, Serialize};

use super::{Span, is_default};

/// A computer with one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// How events and other hosts refer to it.
    pub name: String,
    /// The edge that it is behind; none if it has a public address and no firewall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// Names of hosts that its node starts from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bootstrap: Vec<String>,
    /// When its program starts first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start: Span,
    /// What runs on it if not a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub villain: Option<VillainKind>,
    /// Whether its node must be as it should be at the end of the run, whatever happened to it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub core: bool,
    /// Bytes per second that it can send.
    #[serde(
        default = "Host::default_rate",
        skip_serializing_if = "Host::is_default_rate"
    )]
    pub up: u64,
    /// Bytes per second that it can receive.
    #[serde(
        default = "Host::default_rate",
        skip_serializing_if = "Host::is_default_rate"
    )]
    pub down: u64,
    /// Its disk.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disk: Disk,
    /// Its clock.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clock: Clock,
    /// Its node's settings.
    #[serde(default, skip_serializing_if = "is_default")]
    pub node: NodeSettings,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

impl Host {
    /// A host on the open internet with a node and everything else as usual.
    pub fn new(name: impl Into<String>) -> Host {
        Host {
            name: name.into(),
            edge: None,
            bootstrap: Vec::new(),
            start: Span::default(),
            villain: None,
            core: true,
            up: Host::default_rate(),
            down: Host::default_rate(),
            disk: Disk::default(),
            clock: Clock::default(),
            node: NodeSettings::default(),
        }
    }

    fn default_rate() -> u64 {
        12_500_000
    }

    fn is_default_rate(rate: &u64) -> bool {
        *rate == Host::default_rate()
    }
}

/// A disk's faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// How long a load, a write or a commit takes: drawn between these two.
    pub latency: [Span; 2],
    /// Loads that fail, in a million.
    #[serde(skip_serializing_if = "is_default")]
    pub read_error_ppm: u32,
    /// Writes and commits that fail, in a million.
    #[serde(skip_serializing_if = "is_default")]
    pub write_error_ppm: u32,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk {
            latency: [Span::micros(100), Span::millis(2)],
            read_error_ppm: 0,
            write_error_ppm: 0,
        }
    }
}

/// How a host's clock differs from the world's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clock {
    /// Its wall clock is ahead by so many seconds, or behind.
    #[serde(skip_serializing_if = "is_default")]
    pub offset_secs: i64,
    /// It runs too fast by so many millionths, or too slow.
    #[serde(skip_serializing_if = "is_default")]
    pub drift_ppm: i32,
    /// Wake-ups come late by up to this.
    #[serde(skip_serializing_if = "is_default")]
    pub late: Span,
    /// Wake-ups with nothing to do, in a million events.
    #[serde(skip_serializing_if = "is_default")]
    pub spurious_ppm: u32,
}

/// Settings of a node that differ from the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// How often subscriptions are looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<Span>,
    /// How often own heads, manifests and provider records are stored again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish_interval: Option<Span>,
    /// Per-item provider records written per share and republishing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_records_max: Option<u32>,
    /// Chunks being read for one session at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads_per_peer_max: Option<u32>,
    /// Files downloaded at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_at_once_max: Option<u32>,
    /// Sessions kept although they are of no use at the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_kept: Option<u32>,
    /// Whether it relays for others.
    #[serde(skip_serializing_if = "is_default")]
    pub relay: bool,
    /// Whether QUIC is off.
    #[serde(skip_serializing_if = "is_default")]
    pub no_quic: bool,
    /// Whether TCP is off.
    #[serde(skip_serializing_if = "is_default")]
    pub no_tcp: bool,
}

/// Peers that mean harm, each built on the wire types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VillainKind {
    /// Sends random, cut and altered frames before and after the handshake.
    GarbageTalker,
    /// Announces lengths that it does not send, and nested or endless CBOR.
    LengthLiar,
    /// Sends a byte a second and holds what it opened.
    SlowDrip,
    /// Dials and begins handshakes without end.
    HandshakeFlooder,
    /// Sends recorded hellos and requests again.
    Replayer,
    /// Sits between two honest hosts with a session to each.
    MiddleMan,
    /// Lives in another time.
    ClockLiar,
    /// Serves wrong bytes, at first right ones.
    CorruptSeeder,
    /// Claims to have everything and gives it a byte at a time.
    TarpitSeeder,
    /// Fills provider lists.
    ProviderFlooder,
    /// Shows old heads, old manifests under new heads, and two manifests of one number.
    HeadForker,
    /// Hands out addresses of nobody and of others.
    RoutingPoisoner,
    /// Publishes catalogs with every bad path and number.
    HostilePublisher,
    /// Stores as much as it can under keys that nobody needs.
    StorageExhauster,
    /// Asks for chunks again and again and reads nothing.
    LeechFlooder,
    /// Relays, and drops, delays, reorders, repeats, cuts and alters what it carries, puts it on other circuits, and lies
    /// about addresses.
    FalseRelay,
}

impl VillainKind {
    /// All of them.
    pub const ALL: [VillainKind; 16] = [
        VillainKind::GarbageTalker,
        VillainKind::LengthLiar,
        VillainKind::SlowDrip,
        VillainKind::HandshakeFlooder,
        VillainKind::Replayer,
        VillainKind::MiddleMan,
        VillainKind::ClockLiar,
        VillainKind::CorruptSeeder,
        VillainKind::TarpitSeeder,
        VillainKind::ProviderFlooder,
        VillainKind::HeadForker,
        VillainKind::RoutingPoisoner,
        VillainKind::HostilePublisher,
        VillainKind::StorageExhauster,
        VillainKind::LeechFlooder,
        VillainKind::FalseRelay,
    ];
}
