//! Links of real QUIC do what modelled ones do, as far as nodes and users can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Dial, Frame, Host, Lane, LinkEvent, Transport};
use scp2p_proto::rng::Rng;
use scp2p_proto::time::Time;
use scp2p_sim::agenda::Agenda;
use scp2p_sim::id::HostId;
use scp2p_sim::net::{Due, Effect, Network};
use scp2p_sim::scenario::{self, Dependence, Edge, Links, Span};
use scp2p_sim::{Scenario, ready, run};

const BOTH: [Links; 2] = [Links::Modelled, Links::Quic];
const A: HostId = HostId(0);
const B: HostId = HostId(1);
/// A host on the open internet that the others dial first.
const HUB: HostId = HostId(2);
const PORT: u16 = 7000;

/// What users see of a run in which all oracles hold.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    downloads: u64,
    finished: usize,
    /// Subscriptions in the end, and those with the newest revision.
    subscriptions: [u32; 2],
}

/// The outcome and the digest of a scenario on such links, with no other transport beside them.
fn outcome(scenario: &Scenario, links: Links) -> (Outcome, [u8; 32]) {
    let mut scenario = scenario.clone();
    scenario.network.links = links;
    for host in &mut scenario.hosts {
        host.node.no_tcp = true;
    }
    let scenario = Scenario::parse(&scenario.to_text()).expect("it is valid");
    let report = run(&scenario);
    assert!(report.is_clean(), "{}", report.text());
    let end = report.samples.last().expect("the end is measured");
    let outcome = Outcome {
        downloads: report.downloads,
        finished: report.download_ms.len(),
        subscriptions: [end.subscriptions, end.current],
    };
    (outcome, report.digest)
}

/// The outcome of a scenario, which does not depend on what its links are made of.
fn same(scenario: &Scenario) -> Outcome {
    let [modelled, quic] = BOTH.map(|links| outcome(scenario, links));
    assert_eq!(modelled.0, quic.0);
    assert_ne!(modelled.1, quic.1, "the links were the same");
    quic.0
}

#[test]
fn smoke() {
    let outcome = same(&ready::named("smoke", 1).expect("a ready scenario"));
    assert_eq!((outcome.downloads, outcome.finished), (3, 3));
    assert_eq!(outcome.subscriptions, [3, 3]);
}

#[test]
fn nat_matrix() {
    let outcome = same(&ready::named("nat-matrix", 1).expect("a ready scenario"));
    assert_eq!((outcome.downloads, outcome.finished), (12, 12));
    assert_eq!(outcome.subscriptions, [12, 12]);
}

/// Packets are lost, doubled and late all the time, and lines are slow: what is published arrives nevertheless.
#[test]
fn a_lossy_network() {
    let mut scenario = ready::named("smoke", 2).expect("a ready scenario");
    scenario.network = scenario::Network {
        jitter: Span::millis(15),
        loss_ppm: 30_000,
        burst_ppm: 500,
        burst: Span::millis(700),
        duplicate_ppm: 20_000,
        reorder_ppm: 50_000,
        ..scenario.network
    };
    // Nothing is healed before the end.
    scenario.heal = scenario.length;
    for host in &mut scenario.hosts {
        (host.up, host.down) = (500_000, 1_000_000);
    }
    let outcome = same(&scenario);
    assert_eq!((outcome.downloads, outcome.finished), (3, 3));
    assert_eq!(outcome.subscriptions, [3, 3]);
}

/// Hosts behind all kinds of edges that dialled somebody else before: who is let in by whom.
fn reached(links: Links) -> Vec<bool> {
    let mut reached = Vec::new();
    for a in kinds("a") {
        for b in kinds("b") {
            let mut world = World::new(links, [a.clone(), b]);
            assert!(world.dial_all(A, HUB) && world.dial_all(B, HUB));
            for (from, to) in [(A, B), (B, A)] {
                let possible = world.net.reaches(world.now, from, to);
                assert_eq!(world.dial_all(from, to), possible, "{a:?}");
                reached.push(possible);
            }
        }
    }
    reached
}

#[test]
fn a_dial_succeeds_where_the_oracle_says_so() {
    let [modelled, quic] = BOTH.map(reached);
    assert_eq!(modelled, quic);
    assert!(quic.contains(&true) && quic.contains(&false));
}

/// Whether bytes come through in both directions after a host moved, and twice the time has passed after which silence ends a link.
fn survives(links: Links, mover: HostId, to: Option<&str>) -> bool {
    let mut world = World::new(links, [None, None]);
    world.net.add_edge(&edge(
        "home",
        Some(Dependence::Address),
        Dependence::Address,
    ));
    assert!(world.dial_all(A, B));
    let ends = [A, B].map(|host| *world.up[&host].last().expect("it is up"));
    world.net.roam(world.now, mover, to);
    world.run(60);
    let mut came = 0;
    // The dialling end speaks first: it opens the lane.
    for at in [1, 0] {
        world.grant([A, B][at], ends[at]);
        world.send([A, B][1 - at], ends[1 - at]);
        world.run(2);
        came += world
            .bytes
            .get(&([A, B][at], ends[at]))
            .copied()
            .unwrap_or(0);
    }
    let is_up = ends
        .iter()
        .zip([A, B])
        .filter(|(id, host)| world.up[host].contains(id));
    assert_eq!(is_up.count(), came / 100);
    let told = [(B, ends[1])].into_iter().filter(|_| mover == A).collect();
    assert_eq!(world.moved, told, "who accepted is told of who dialled");
    came == 200
}

#[test]
fn links_follow_the_host_that_dialled_them() {
    for links in BOTH {
        for to in [None, Some("home")] {
            assert!(survives(links, A, to), "{links:?} {to:?}");
            assert!(!survives(links, B, to), "{links:?} {to:?}");
        }
    }
}

/// A network alone, and what its hosts heard.
struct World {
    net: Network,
    agenda: Agenda<Due>,
    now: Time,
    /// Links that are up.
    up: BTreeMap<HostId, Vec<LinkId>>,
    bytes: BTreeMap<(HostId, LinkId), usize>,
    /// Ends that were told that the other end is elsewhere.
    moved: BTreeSet<(HostId, LinkId)>,
    dialed: u64,
}

impl World {
    /// Two hosts, each behind an edge or not, and the hub.
    fn new(links: Links, edges: [Option<Edge>; 2]) -> World {
        let model = scenario::Network {
            links,
            ..scenario::Network::default()
        };
        let mut net = Network::new(model, Rng::new(&[1; 32], "network"));
        for (host, edge) in [A, B, HUB].into_iter().zip(edges.into_iter().chain([None])) {
            if let Some(edge) = &edge {
                net.add_edge(edge);
            }
            let name = edge.as_ref().map(|edge| edge.name.as_str());
            net.add_host(host, name, 12_500_000, 12_500_000);
            net.listen(host, Transport::Quic, PORT);
        }
        World {
            net,
            agenda: Agenda::default(),
            now: Time(5_000_000),
            up: [A, B, HUB].map(|host| (host, Vec::new())).into(),
            bytes: BTreeMap::new(),
            moved: BTreeSet::new(),
            dialed: 0,
        }
    }

    /// Whether a dial succeeds at any of the endpoints that a host is known under.
    fn dial_all(&mut self, from: HostId, to: HostId) -> bool {
        let mut endpoints = self.net.quic_endpoints(self.now, to).into_iter();
        endpoints.any(|at| {
            let link = self.dial(from, at);
            self.run(6);
            self.up[&from].contains(&link)
        })
    }

    fn dial(&mut self, from: HostId, to: SocketAddr) -> LinkId {
        self.dialed += 1;
        let link = LinkId(self.dialed);
        let dial = Dial {
            transport: Transport::Quic,
            host: Host::Ip(to.ip()),
            port: to.port(),
        };
        self.net.dial(self.now, from, link, &dial);
        link
    }

    fn grant(&mut self, host: HostId, link: LinkId) {
        self.net.grant(self.now, host, link, Lane::Control, 100);
    }

    fn send(&mut self, host: HostId, link: LinkId) {
        let frame = Frame {
            head: Bytes::from_static(&[1; 50]),
            body: Bytes::from_static(&[2; 50]),
        };
        self.net.send(self.now, host, link, Lane::Control, frame);
    }

    /// So many seconds pass.
    fn run(&mut self, secs: u64) {
        let end = Time(self.now.0 + secs * 1_000_000);
        self.settle();
        while self.agenda.next_at().is_some_and(|at| at <= end) {
            let (at, due) = self.agenda.pop().expect("there is a next one");
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
                Effect::Tell(host, link, event) => self.hear(host, link, &event),
            }
        }
    }

    fn hear(&mut self, host: HostId, link: LinkId, event: &LinkEvent) {
        let up = self.up.get_mut(&host).expect("a host of this world");
        match event {
            LinkEvent::Dialed(_) | LinkEvent::Accepted(_) => up.push(link),
            LinkEvent::Closed(_) | LinkEvent::Failed(_) => up.retain(|id| *id != link),
            LinkEvent::Bytes(_, bytes) => {
                *self.bytes.entry((host, link)).or_default() += bytes.len();
            }
            LinkEvent::Moved(_) => {
                self.moved.insert((host, link));
            }
            LinkEvent::Room(..) => {}
        }
    }
}

/// No edge, a firewall of each kind, and a translator of each kind.
fn kinds(name: &str) -> Vec<Option<Edge>> {
    let all = [
        Dependence::Independent,
        Dependence::Address,
        Dependence::AddressAndPort,
    ];
    let mappings = [None, Some(all[0]), Some(all[1]), Some(all[2])];
    let edges = mappings
        .into_iter()
        .flat_map(|mapping| all.map(|filtering| Some(edge(name, mapping, filtering))));
    [None].into_iter().chain(edges).collect()
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
