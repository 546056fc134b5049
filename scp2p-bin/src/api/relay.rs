//! What a relay tells of itself.

use std::net::IpAddr;

use scp2p_proto::config::RelayLimits;
use scp2p_proto::id::NodeKey;
use scp2p_proto::view;
use serde::{Deserialize, Serialize};

use super::Text;

/// `GET relay`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relay {
    /// What is relayed, none if nothing is.
    pub limits: Option<Limits>,
    /// Who can be reached through this node.
    pub places: Vec<Place>,
    /// The circuits that pass.
    pub circuits: Vec<Circuit>,
    /// The slots of deployed peers.
    pub slots: Vec<Slot>,
    /// Circuits opened since the start.
    pub opened: u64,
    /// Places and circuits refused since the start, and requests in tunnels for which a quota left no bytes.
    pub refused: u64,
    /// Bytes relayed since the start.
    pub bytes: u64,
    /// Those of them that went through tunnels of deployed peers.
    pub tunnel_bytes: u64,
}

/// The limits of a relay, named as its settings are; what is none is not limited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Circuits at a time.
    pub max_tunnels: u32,
    /// Circuits of one client.
    pub max_tunnels_per_client: u32,
    /// Circuits opened from one address.
    pub max_tunnels_per_ip: u32,
    /// Circuits opened from one network.
    pub max_tunnels_per_network: u32,
    /// Places at a time.
    pub max_places: u32,
    /// Places of one address.
    pub max_places_per_ip: u32,
    /// Places of one network.
    pub max_places_per_network: u32,
    /// Bytes per second of all circuits and tunnels.
    pub max_rate: Option<u32>,
    /// Bytes per second of the circuits and tunnels used from one address.
    pub max_rate_per_ip: Option<u32>,
    /// Bytes per hour of all circuits and tunnels.
    pub max_hourly: Option<u64>,
    /// Bytes per hour of the circuits and tunnels used from one address.
    pub max_hourly_per_ip: Option<u64>,
    /// Bytes after which a circuit is ended.
    pub max_tunnel_bytes: Option<u64>,
    /// Seconds after which an idle circuit is ended.
    pub idle_secs: u64,
    /// Who is relayed for; none for everybody.
    pub allow: Option<Vec<Text<NodeKey>>>,
    /// Whether circuits are for content too.
    pub relay_content: bool,
}

/// A client that can be reached through the relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Its key.
    pub peer: Text<NodeKey>,
    /// From where it is connected: an IPv4 address, or the first half of an IPv6 one.
    pub ip: IpAddr,
    /// Seconds until the place is lost if it is not asked for again.
    pub expires_in: u64,
}

/// A circuit that passes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Circuit {
    /// Who asked for it.
    pub opener: Text<NodeKey>,
    /// Whom it was asked for.
    pub target: Text<NodeKey>,
    /// Bytes that went through, in both directions.
    pub bytes: u64,
    /// Seconds since it was opened.
    pub age: u64,
    /// Seconds since something went through.
    pub idle: u64,
}

/// A slot of a deployed peer, which others ask through a tunnel that the relay can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Its number.
    pub slot: u64,
    /// Who has it.
    pub owner: Text<NodeKey>,
    /// From where it was registered: an IPv4 address, or the first half of an IPv6 one.
    pub ip: IpAddr,
    /// Seconds since it was registered first.
    pub age: u64,
    /// The tunnel on which the owner is asked; null while it has none.
    pub tunnel: Option<Tunnel>,
}

/// The tunnel of a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Seconds since it came up.
    pub age: u64,
    /// Seconds since something went through.
    pub idle: u64,
    /// Requests that went to the owner.
    pub requests: u64,
    /// Bytes that went through, in both directions.
    pub bytes: u64,
    /// Who waits for an answer, first the one whose request the owner has.
    pub asking: Vec<Asker>,
}

/// Who waits for an answer of the owner of a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asker {
    /// Its key.
    pub peer: Text<NodeKey>,
    /// Seconds since it asked.
    pub age: u64,
}

impl Relay {
    /// What a node does as a relay, within these limits.
    pub(super) fn new(view: view::RelayView, limits: Option<&RelayLimits>) -> Relay {
        Relay {
            limits: limits.map(Limits::from),
            places: view.places.into_iter().map(Place::from).collect(),
            circuits: view.circuits.into_iter().map(Circuit::from).collect(),
            slots: view.slots.into_iter().map(Slot::from).collect(),
            opened: view.totals.circuits,
            refused: view.totals.refused,
            bytes: view.totals.bytes,
            tunnel_bytes: view.totals.tunnelled,
        }
    }
}

impl From<&RelayLimits> for Limits {
    fn from(limits: &RelayLimits) -> Self {
        let keys = limits.allowed.as_ref();
        Limits {
            max_tunnels: limits.circuits_max,
            max_tunnels_per_client: limits.circuits_per_client_max,
            max_tunnels_per_ip: limits.circuits_per_ip_max,
            max_tunnels_per_network: limits.circuits_per_network_max,
            max_places: limits.reservations_max,
            max_places_per_ip: limits.reservations_per_ip_max,
            max_places_per_network: limits.reservations_per_network_max,
            max_rate: limits.rate_total,
            max_rate_per_ip: limits.rate_per_ip,
            max_hourly: limits.hourly_total,
            max_hourly_per_ip: limits.hourly_per_ip,
            max_tunnel_bytes: limits.bytes_per_circuit,
            idle_secs: limits.idle_time.as_secs(),
            allow: keys.map(|keys| keys.iter().copied().map(Text).collect()),
            relay_content: limits.content,
        }
    }
}

impl From<view::PlaceView> for Place {
    fn from(place: view::PlaceView) -> Self {
        Place {
            peer: Text(place.peer),
            ip: place.ip,
            expires_in: place.expires_in.as_secs(),
        }
    }
}

impl From<view::CircuitView> for Circuit {
    fn from(circuit: view::CircuitView) -> Self {
        Circuit {
            opener: Text(circuit.opener),
            target: Text(circuit.target),
            bytes: circuit.bytes,
            age: circuit.age.as_secs(),
            idle: circuit.idle.as_secs(),
        }
    }
}

impl From<view::SlotView> for Slot {
    fn from(slot: view::SlotView) -> Self {
        Slot {
            slot: slot.slot.0,
            owner: Text(slot.owner),
            ip: slot.ip,
            age: slot.age.as_secs(),
            tunnel: slot.tunnel.map(Tunnel::from),
        }
    }
}

impl From<view::TunnelView> for Tunnel {
    fn from(tunnel: view::TunnelView) -> Self {
        let asking = tunnel.asking.into_iter().map(|asker| Asker {
            peer: Text(asker.peer),
            age: asker.age.as_secs(),
        });
        Tunnel {
            age: tunnel.age.as_secs(),
            idle: tunnel.idle.as_secs(),
            requests: tunnel.requests,
            bytes: tunnel.bytes,
            asking: asking.collect(),
        }
    }
}
