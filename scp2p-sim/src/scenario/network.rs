//! How the network behaves.

use serde::{Deserialize, Serialize};

use super::{Span, is_default};

/// The internet between the hosts' networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// One way between two hosts, the same for a pair at all times: drawn between these two.
    pub latency: [Span; 2],
    /// Added to each packet's way, at most.
    pub jitter: Span,
    /// Packets lost, in a million.
    pub loss_ppm: u32,
    /// Packets at which a burst of loss begins, in a million; it ends for a pair of hosts after [`Network::burst`].
    pub burst_ppm: u32,
    /// How long a burst of loss lasts.
    pub burst: Span,
    /// Packets that come twice, in a million.
    pub duplicate_ppm: u32,
    /// Packets held up for up to ten times the jitter, so that later ones pass them, in a million.
    pub reorder_ppm: u32,
    /// What QUIC links are made of. TCP links are always modelled.
    #[serde(skip_serializing_if = "is_default")]
    pub links: Links,
}

/// What QUIC links are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Links {
    /// A model of them. The same scenario gives the same digest.
    #[default]
    Modelled,
    /// Those of the runtime, in datagrams over the simulated network. Their keys are
    /// random, so runs are alike by what comes out of them and not by their digests.
    /// Needs the feature `quic`.
    Quic,
}

impl Default for Network {
    /// A good network: 10 to 80 ms one way, 2 ms of jitter, nothing lost.
    fn default() -> Network {
        Network {
            latency: [Span::millis(10), Span::millis(80)],
            jitter: Span::millis(2),
            loss_ppm: 0,
            burst_ppm: 0,
            burst: Span::millis(500),
            duplicate_ppm: 0,
            reorder_ppm: 0,
            links: Links::Modelled,
        }
    }
}

/// A router between some hosts and the rest: a firewall, or a translator of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// How hosts and other edges refer to it.
    pub name: String,
    /// The edge that this one is behind; none if it has a public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// How outgoing addresses are translated; none for a firewall, behind which hosts have
    /// addresses of the network outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Dependence>,
    /// Which packets from outside are let in to an endpoint that sent something out.
    pub filtering: Dependence,
    /// How long after the last packet a binding lasts (RFC 4787 REQ-5).
    #[serde(default = "Edge::default_expiry")]
    pub expiry: Span,
    /// Whether packets from outside keep a binding alive too (RFC 4787 REQ-6).
    #[serde(default, skip_serializing_if = "is_default")]
    pub inbound_refresh: bool,
    /// Whether hosts inside reach each other at their outside endpoints (RFC 4787 REQ-9).
    #[serde(default, skip_serializing_if = "is_default")]
    pub hairpin: bool,
}

impl Edge {
    fn default_expiry() -> Span {
        Span::secs(120)
    }
}

/// What a mapping or a filter depends on (RFC 4787 §4.1, §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// The inside endpoint alone.
    Independent,
    /// The inside endpoint and the outside address.
    Address,
    /// The inside endpoint and the outside address and port.
    AddressAndPort,
}
