//! Real sockets and real nodes behind NATs of all kinds.
//!
//! A test runs its body by [`sandbox::run`], makes an [`Internet`](internet::Internet) there, in it NATs and hosts, and
//! on the hosts sockets and nodes:
//!
//! ```text
//!     host "client" ── tun ──▶ 192.168.1.1          198.18.2.1 ◀── tun ── host "seeder"
//!                                  │                    │
//!                                 NAT ── 198.18.1.1 ── this process
//! ```
//!
//! What a NAT does is the simulator's model, [`scp2p_sim::net::Edge`].

#[path = "../common/mod.rs"]
mod common;

mod controls;
mod internet;
mod kinds;
mod nodes;
mod packet;
mod relays;
mod routes;
mod sandbox;
mod sockets;

use std::time::Duration;

use scp2p_sim::scenario::{Dependence, Edge, Span};

/// What must come comes within this time, even on a busy machine.
const SOON: Duration = Duration::from_secs(40);
/// How long the bindings of NATs last here.
const EXPIRY: Duration = Duration::from_secs(120);

/// All that a mapping or a filter can depend on.
const DEPENDENCES: [Dependence; 3] = [
    Dependence::Independent,
    Dependence::Address,
    Dependence::AddressAndPort,
];

/// A NAT without hairpinning.
fn nat(mapping: Dependence, filtering: Dependence) -> Edge {
    Edge {
        name: String::new(),
        behind: None,
        mapping: Some(mapping),
        filtering,
        expiry: Span::from(EXPIRY),
        inbound_refresh: false,
        hairpin: false,
    }
}

/// The strictest NAT.
fn strict() -> Edge {
    nat(Dependence::AddressAndPort, Dependence::AddressAndPort)
}

/// The NAT of most homes: one port for all, and in comes who was sent something.
fn usual() -> Edge {
    nat(Dependence::Independent, Dependence::AddressAndPort)
}
