//! A world of a network alone.

mod edges;
mod faults;
mod lanes;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Dial, Frame, Host, Lane, LinkEvent, Transport};
use scp2p_proto::rng::Rng;
use scp2p_proto::time::Time;

use super::{Due, Effect, Network, Stop};
use crate::agenda::Agenda;
use crate::id::HostId;
use crate::scenario::{self, Dependence, Edge, Span};

const A: HostId = HostId(0);
const B: HostId = HostId(1);
const PORT: u16 = 7000;
const BOTH: [Transport; 2] = [Transport::Quic, Transport::Tcp];
const DEPENDENCES: [Dependence; 3] = [
    Dependence::Independent,
    Dependence::Address,
    Dependence::AddressAndPort,
];

/// A network, its agenda, and what its hosts heard.
struct World {
    net: Network,
    agenda: Agenda<Due>,
    now: Time,
    /// What was told, and not yet asked for.
    told: Vec<(Time, HostId, LinkId, LinkEvent)>,
    /// Bytes told, by lane.
    bytes: BTreeMap<(HostId, LinkId, Lane), Vec<u8>>,
    room: BTreeMap<(HostId, LinkId, Lane), i64>,
    links: u64,
}

impl World {
    fn new(model: scenario::Network, seed: u8) -> World {
        World {
            net: Network::new(model, Rng::new(&[seed; 32], "network")),
            agenda: Agenda::default(),
            now: Time(5_000_000),
            told: Vec::new(),
            bytes: BTreeMap::new(),
            room: BTreeMap::new(),
            links: 0,
        }
    }

    /// Two hosts that listen, each behind an edge or not.
    fn pair(model: scenario::Network, seed: u8, edges: [Option<Edge>; 2]) -> World {
        let mut world = World::new(model, seed);
        for (host, edge) in [A, B].into_iter().zip(edges) {
            if let Some(edge) = &edge {
                world.net.add_edge(edge);
            }
            world.host(host, edge.as_ref().map(|edge| edge.name.as_str()));
        }
        world
    }

    fn open() -> World {
        World::pair(scenario::Network::default(), 1, [None, None])
    }

    fn host(&mut self, host: HostId, edge: Option<&str>) {
        self.net.add_host(host, edge, 12_500_000, 12_500_000);
        self.listen(host);
    }

    fn listen(&mut self, host: HostId) {
        for transport in BOTH {
            self.net.listen(host, transport, PORT);
        }
    }

    fn address(&self, host: HostId) -> IpAddr {
        self.net.addresses(host)[0]
    }

    fn dial(&mut self, from: HostId, to: SocketAddr, transport: Transport) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        let dial = Dial {
            transport,
            host: Host::Ip(to.ip()),
            port: to.port(),
        };
        self.net.dial(self.now, from, link, &dial);
        self.settle();
        link
    }

    /// Dials the address of a host and waits for what comes of it.
    fn dial_host(&mut self, from: HostId, to: HostId, transport: Transport) -> LinkId {
        let at = SocketAddr::new(self.address(to), PORT);
        let link = self.dial(from, at, transport);
        self.run(6);
        link
    }

    /// A link from A to B, and its ids at both.
    fn link(&mut self, transport: Transport) -> (LinkId, LinkId) {
        let dialed = self.dial_host(A, B, transport);
        let accepted = self.accepted(B).expect("B was dialled");
        self.told.clear();
        (dialed, accepted)
    }

    fn send(&mut self, host: HostId, link: LinkId, lane: Lane, bytes: Vec<u8>) {
        let half = bytes.len() / 2;
        let body = Bytes::from(bytes);
        let frame = Frame {
            head: body.slice(..half),
            body: body.slice(half..),
        };
        *self.room.entry((host, link, lane)).or_default() -= frame.len() as i64;
        self.net.send(self.now, host, link, lane, frame);
        self.settle();
    }

    fn grant(&mut self, host: HostId, link: LinkId, lane: Lane, bytes: u32) {
        self.net.grant(self.now, host, link, lane, bytes);
        self.settle();
    }

    fn close(&mut self, host: HostId, link: LinkId) {
        self.net.close(self.now, host, link);
        self.settle();
    }

    /// So many seconds pass.
    fn run(&mut self, secs: u64) {
        self.run_micros(secs * 1_000_000);
    }

    fn run_micros(&mut self, micros: u64) {
        self.settle();
        let end = Time(self.now.0 + micros);
        while self.agenda.next_at().is_some_and(|at| at <= end) {
            let (at, due) = self.agenda.pop().expect("there is a next one");
            assert!(at >= self.now, "nothing is due in the past");
            self.now = at;
            self.net.handle(at, due);
            self.settle();
        }
        self.now = end;
    }

    fn settle(&mut self) {
        while let Some(effect) = self.net.poll_effect() {
            match effect {
                Effect::At(at, due) => self.agenda.push(at, due),
                Effect::Tell(host, link, event) => self.hear(host, link, event),
            }
        }
    }

    fn hear(&mut self, host: HostId, link: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Bytes(lane, bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= 256 << 10);
                self.bytes
                    .entry((host, link, lane))
                    .or_default()
                    .extend_from_slice(&bytes);
            }
            LinkEvent::Room(lane, room) => {
                *self.room.entry((host, link, lane)).or_default() += i64::from(room);
            }
            event @ (LinkEvent::Accepted(_)
            | LinkEvent::Dialed(_)
            | LinkEvent::Failed(_)
            | LinkEvent::Moved(_)
            | LinkEvent::Closed(_)) => self.told.push((self.now, host, link, event)),
        }
    }

    fn received(&self, host: HostId, link: LinkId, lane: Lane) -> &[u8] {
        self.bytes
            .get(&(host, link, lane))
            .map_or(&[], Vec::as_slice)
    }

    fn room(&self, host: HostId, link: LinkId, lane: Lane) -> i64 {
        self.room.get(&(host, link, lane)).copied().unwrap_or(0)
    }

    /// The link that the host accepted last.
    fn accepted(&self, host: HostId) -> Option<LinkId> {
        self.told
            .iter()
            .rev()
            .find(|(_, at, _, event)| *at == host && matches!(event, LinkEvent::Accepted(_)))
            .map(|(_, _, link, _)| *link)
    }

    /// What the host heard of a link, bytes and room aside.
    fn heard(&self, host: HostId, link: LinkId) -> Vec<&LinkEvent> {
        self.told
            .iter()
            .filter(|(_, at, of, _)| (*at, *of) == (host, link))
            .map(|(_, _, _, event)| event)
            .collect()
    }

    /// How long after this time the host's link was gone, in seconds.
    fn lost_after(&self, host: HostId, link: LinkId, since: Time) -> Option<u64> {
        self.told
            .iter()
            .find(|(_, at, of, event)| {
                (*at, *of) == (host, link) && matches!(event, LinkEvent::Closed(_))
            })
            .map(|(at, ..)| at.since(since).as_secs())
    }
}

/// A network without chance.
fn still() -> scenario::Network {
    scenario::Network {
        jitter: Span::millis(0),
        ..scenario::Network::default()
    }
}

/// A network with all there is of it.
fn rough() -> scenario::Network {
    scenario::Network {
        jitter: Span::millis(20),
        loss_ppm: 50_000,
        burst_ppm: 2_000,
        burst: Span::millis(700),
        duplicate_ppm: 50_000,
        reorder_ppm: 100_000,
        ..scenario::Network::default()
    }
}

fn edge(name: &str, mapping: Option<Dependence>, filtering: Dependence) -> Edge {
    Edge {
        name: name.into(),
        behind: None,
        mapping,
        filtering,
        expiry: Span::secs(120),
        inbound_refresh: false,
        hairpin: false,
    }
}
