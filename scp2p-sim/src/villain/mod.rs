//! Programs of hosts that mean harm, each built on the wire types and run by the driver contract of a node.
//!
//! All of them are a `Talker`, which can do what a node does on the wire, and a policy that
//! says what is done with that. They act at a bounded rate, some tens of messages a second at most, and
//! for as long as they run.

mod drip;
mod loot;
mod own_share;
mod talker;

mod clock_liar;
mod corrupt_seeder;
mod false_relay;
mod garbage_talker;
mod handshake_flooder;
mod head_forker;
mod hostile_publisher;
mod leech_flooder;
mod length_liar;
mod middle_man;
mod provider_flooder;
mod replayer;
mod routing_poisoner;
mod slow_drip;
mod storage_exhauster;
mod tarpit_seeder;

use core::fmt;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use scp2p_proto::id::NodeKey;
use scp2p_proto::io::{Input, Output};
use scp2p_proto::keys::Keys;
use scp2p_proto::record::ShareLink;
use scp2p_proto::rng::Rng;
use scp2p_proto::time::{Now, Time};

use crate::scenario::VillainKind;
pub use hostile_publisher::{COLLISIONS, HARMLESS, tricks};
use talker::{Actor, Policy, Talker};

/// A program that means harm, driven as a [`Node`](scp2p_proto::Node) is.
pub trait Villain: fmt::Debug {
    /// Works off one input as a node would.
    fn handle(&mut self, now: Now, input: Input);

    /// The next output to carry out.
    fn poll_output(&mut self) -> Option<Output>;

    /// When it wants a [`Input::Tick`]; a time that is past, as at first, stands for at once.
    fn deadline(&self) -> Option<Time>;

    /// A share of its own that honest hosts may follow to their harm.
    fn share(&self) -> Option<ShareLink> {
        None
    }

    /// Tells it more of the world; what it knew before is forgotten.
    fn learn(&mut self, knowledge: Knowledge);

    /// How often it did what: each kind of harm that it does has a name here once it was done.
    fn deeds(&self) -> &Deeds;
}

/// How often something was done, by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deeds(pub BTreeMap<&'static str, u64>);

impl Deeds {
    /// How often this was done.
    pub fn of(&self, deed: &str) -> u64 {
        self.0.get(deed).copied().unwrap_or_default()
    }

    fn add(&mut self, deed: &'static str) {
        *self.0.entry(deed).or_default() += 1;
    }
}

/// A host that may be attacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its node's key.
    pub key: NodeKey,
    /// Where it listens for QUIC, if it does.
    pub quic: Option<SocketAddr>,
    /// Where it listens for TLS over TCP, if it does.
    pub tcp: Option<SocketAddr>,
}

/// What a villain knows of the world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// Hosts.
    pub targets: Vec<Target>,
    /// Shares that honest hosts publish.
    pub shares: Vec<ShareLink>,
    /// Where it can be reached itself, with its own key. If this is not given it assumes ports 7000
    /// and 7001 at the first address that it hears to have.
    pub own: Option<Target>,
}

/// The villain of this kind, with a node's keys of its own.
pub fn villain(kind: VillainKind, keys: Keys, rng: Rng, knowledge: Knowledge) -> Box<dyn Villain> {
    let mut talker = Talker::new(keys, rng, knowledge);
    match kind {
        VillainKind::GarbageTalker => act(garbage_talker::GarbageTalker::default(), talker),
        VillainKind::LengthLiar => act(length_liar::LengthLiar::default(), talker),
        VillainKind::SlowDrip => act(slow_drip::SlowDrip::default(), talker),
        VillainKind::HandshakeFlooder => {
            act(handshake_flooder::HandshakeFlooder::default(), talker)
        }
        VillainKind::Replayer => act(replayer::Replayer::default(), talker),
        VillainKind::MiddleMan => act(middle_man::MiddleMan::default(), talker),
        VillainKind::ClockLiar => act(clock_liar::ClockLiar::new(&mut talker), talker),
        VillainKind::CorruptSeeder => act(corrupt_seeder::CorruptSeeder::default(), talker),
        VillainKind::TarpitSeeder => act(tarpit_seeder::TarpitSeeder::default(), talker),
        VillainKind::ProviderFlooder => act(provider_flooder::ProviderFlooder::default(), talker),
        VillainKind::HeadForker => act(head_forker::HeadForker::new(&mut talker), talker),
        VillainKind::RoutingPoisoner => act(routing_poisoner::RoutingPoisoner::default(), talker),
        VillainKind::HostilePublisher => act(
            hostile_publisher::HostilePublisher::new(&mut talker),
            talker,
        ),
        VillainKind::StorageExhauster => {
            act(storage_exhauster::StorageExhauster::default(), talker)
        }
        VillainKind::FalseRelay => act(false_relay::FalseRelay::new(&mut talker), talker),
        VillainKind::LeechFlooder => act(leech_flooder::LeechFlooder::default(), talker),
    }
}

fn act<P: Policy + 'static>(policy: P, talker: Talker) -> Box<dyn Villain> {
    Box::new(Actor::new(policy, talker))
}
