//! Scenarios that have a name.

use crate::generate::{NatMix, Options, Profile, generate};
use crate::scenario::{Action, Dependence, Edge, Event, Host, Scenario, Span, VillainKind};

/// The names of all ready scenarios.
pub const NAMES: [&str; 16] = [
    "smoke",
    "churn50",
    "nat-matrix",
    "relays",
    "nat-mix",
    "false-relays",
    "rendezvous",
    "relay-churn",
    "roaming",
    "partition-heal",
    "crash-storm",
    "update-propagation",
    "swarm",
    "flash-crowd",
    "villains",
    "dht1000",
];

/// The ready scenario of this name, its chance fed by `seed`; none if there is none of this name.
pub fn named(name: &str, seed: u64) -> Option<Scenario> {
    Some(match name {
        "smoke" => smoke(seed),
        "churn50" => churn50(seed),
        "nat-matrix" => nat_matrix(seed),
        "relays" => relays(seed),
        "nat-mix" => nat_mix(seed),
        "false-relays" => false_relays(seed),
        "rendezvous" => rendezvous(seed),
        "relay-churn" => relay_churn(seed),
        "roaming" => roaming(seed),
        "partition-heal" => partition_heal(seed),
        "crash-storm" => crash_storm(seed),
        "update-propagation" => update_propagation(seed),
        "swarm" => swarm(seed),
        "flash-crowd" => flash_crowd(seed),
        "villains" => villains(seed),
        "dht1000" => dht1000(seed),
        _ => return None,
    })
}

/// Five nodes do the main job: publish, follow, revise, search, download; one crashes and comes back.
fn smoke(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 5, Span::secs(600), Span::secs(900));
    made.publish(5, 1, 3, 300_000);
    for host in 2..5 {
        made.follow(20, host, 1);
        made.at(60 + u64::from(host), host, get(1));
        made.at(100, host, search(1));
    }
    made.at(110, 3, Action::Crash);
    made.at(130, 3, Action::Start);
    made.publish(200, 1, 3, 300_000);
    made.scenario
}

/// Fifty nodes come and go as servers of a large network do, for six hours.
fn churn50(seed: u64) -> Scenario {
    let options = Options {
        nodes: 50,
        length: Span::secs(6 * 3600),
        profile: Profile::Ipfs,
        villains_percent: 0,
        nat: NatMix::Open,
        unresponsive_percent: 0,
        faults: false,
    };
    generate(seed, &options)
}

/// A host behind each kind of edge, all of them told to connect to each other, and each
/// following a share of a host that everybody can dial.
fn nat_matrix(seed: u64) -> Scenario {
    let all = [
        Dependence::Independent,
        Dependence::Address,
        Dependence::AddressAndPort,
    ];
    let mut made = Made::new(seed, 3, Span::secs(600), Span::secs(1200));
    let mappings = [None, Some(all[0]), Some(all[1]), Some(all[2])];
    let kinds = mappings
        .into_iter()
        .flat_map(|mapping| all.map(|filtering| (mapping, filtering)));
    for (number, (mapping, filtering)) in (3_u32..).zip(kinds) {
        made.edge(number, mapping, filtering);
        made.follow(30, number, 1);
        made.at(60, number, get(1));
    }
    made.publish(5, 1, 2, 100_000);
    made.publish(300, 1, 2, 100_000);
    made.scenario
}

/// A host behind each kind of edge, and two relays: each publishes, and each gets what all others published.
fn relays(seed: u64) -> Scenario {
    let mut scenario = nat_matrix(seed);
    scenario.events.clear();
    scenario.length = Span::secs(1800);
    let mut made = Made { scenario };
    for relay in [0, 1] {
        made.host(relay).node.relay = true;
    }
    made.all_to_all(3, 20_000);
    made.scenario
}

/// Twenty hosts behind edges as they are common, and two relays among those in the open: each publishes, and each gets what
/// all others published.
fn nat_mix(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 20, Span::secs(600), Span::secs(1800));
    for relay in [0, 1] {
        made.host(relay).node.relay = true;
    }
    let kinds = [
        (6..14, Dependence::Independent),
        (14..18, Dependence::Address),
        (18..20, Dependence::AddressAndPort),
    ];
    for (hosts, dependence) in kinds {
        for number in hosts {
            made.edge(number, Some(dependence), dependence);
        }
    }
    // The router of the last one is behind another, of its carrier.
    if let Some(last) = made.scenario.edges.last_mut() {
        let inner = Edge {
            name: "inner".into(),
            behind: Some(last.name.clone()),
            ..last.clone()
        };
        made.host(19).edge = Some(inner.name.clone());
        made.scenario.edges.push(inner);
    }
    made.all_to_all(0, 20_000);
    made.scenario
}

/// Five hosts that must have relays to reach each other, of which two of four mean harm.
fn false_relays(seed: u64) -> Scenario {
    const FALSE: [u32; 2] = [3, 4];
    let mut made = Made::new(seed, 10, Span::secs(600), Span::secs(1800));
    for relay in [0, 1] {
        made.host(relay).node.relay = true;
    }
    for relay in FALSE {
        made.host(relay).villain = Some(VillainKind::FalseRelay);
        made.host(relay).core = false;
    }
    for number in 5..10 {
        let strict = Dependence::AddressAndPort;
        made.edge(number, Some(strict), strict);
        made.host(number).bootstrap.extend(FALSE.map(name));
    }
    made.all_to_all(5, 3_000_000);
    made.scenario
}

/// Hosts that nobody can dial, and a relay that none of them was told of: it announces itself, they look for one, and each
/// gets what the other publishes.
fn rendezvous(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 20, Span::secs(900), Span::secs(1500));
    made.host(3).node.relay = true;
    made.host(3).node.announce = true;
    let strict = Dependence::AddressAndPort;
    let walled = [4, 5];
    for host in walled {
        let edge = format!("e{host}");
        made.scenario.edges.push(Edge {
            name: edge.clone(),
            behind: None,
            mapping: Some(strict),
            filtering: strict,
            expiry: Span::secs(60),
            inbound_refresh: false,
            hairpin: false,
        });
        made.host(host).edge = Some(edge);
        // So it dials nobody only to have more peers.
        made.host(host).node.sessions_kept = Some(1);
        made.host(host).start = Span::secs(60);
        made.publish(240, host, 1, 20_000);
    }
    for [host, owner] in [walled, [5, 4]] {
        made.follow(300, host, owner);
        made.at(360, host, get(owner));
    }
    made.scenario
}

/// A download of two minutes between two hosts that must have a relay, of which there are three that crash in turns.
fn relay_churn(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 5, Span::secs(400), Span::secs(600));
    for relay in 0..3 {
        made.host(relay).node.relay = true;
    }
    let strict = Dependence::AddressAndPort;
    for host in [3, 4] {
        made.edge(host, Some(strict), strict);
    }
    made.long_download(3, 4);
    for (turn, relay) in (0..3).zip(0..3) {
        let at = 110 + 40 * turn;
        made.at(at, relay, Action::Crash);
        made.at(at + 10, relay, Action::Start);
    }
    made.scenario
}

/// Two downloads of two minutes, one direct and one that must have a relay, by hosts that change their addresses.
fn roaming(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 7, Span::secs(400), Span::secs(600));
    for relay in [0, 1] {
        made.host(relay).node.relay = true;
    }
    let (usual, strict) = (Dependence::Independent, Dependence::AddressAndPort);
    made.edge(4, Some(strict), strict);
    // The edges at home, and elsewhere.
    for (host, mapping) in [(5, usual), (6, strict), (15, usual), (16, strict)] {
        made.edge_of(host % 10, &format!("e{host}"), Some(mapping), mapping);
    }
    for host in [5, 6] {
        made.host(host).edge = Some(format!("e{host}"));
    }
    made.long_download(3, 5);
    made.long_download(4, 6);
    for (turn, place) in (0..5).zip([1, 0].into_iter().cycle()) {
        for host in [5, 6] {
            let edge = Some(format!("e{}", host + 10 * place));
            made.at(110 + 20 * turn, host, Action::Roam { edge });
        }
    }
    made.scenario
}

/// Two halves of a network cannot see each other for ten minutes, in which both publish.
fn partition_heal(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 12, Span::secs(1200), Span::secs(1800));
    made.publish(5, 3, 2, 50_000);
    made.publish(5, 9, 2, 50_000);
    for host in 0..12 {
        for owner in [3, 9] {
            if host != owner {
                made.follow(30, host, owner);
            }
        }
    }
    let far: Vec<String> = (6..12).map(name).collect();
    for host in 0..6 {
        let from = far.clone();
        made.at(
            300,
            host,
            Action::Partition {
                from,
                one_way: false,
            },
        );
        made.at(900, host, Action::Heal);
    }
    made.publish(400, 3, 2, 50_000);
    made.publish(400, 9, 2, 50_000);
    made.scenario
}

/// Hosts lose power again and again while they publish, follow and download, and a third of them at once.
fn crash_storm(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 10, Span::secs(1200), Span::secs(1800));
    made.publish(5, 3, 2, 2_000_000);
    for host in 4..10 {
        made.follow(20, host, 3);
        made.at(40, host, get(3));
    }
    for round in 0..20_u64 {
        for host in 0..10_u32 {
            let turn = (u64::from(host) * 7 + round * 3) % 10;
            if turn < 4 {
                let at = 45 + round * 50 + turn;
                made.at(at, host, Action::Crash);
                made.at(at + 10 + turn, host, Action::Start);
            }
        }
        made.publish(50 + round * 50, 3, 2, 2_000_000);
    }
    made.scenario
}

/// One publishes a revision every three minutes, forty follow.
fn update_propagation(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 44, Span::secs(3600), Span::secs(4200));
    for host in 4..44 {
        made.follow(30, host, 3);
    }
    for revision in 0..18 {
        made.publish(10 + revision * 180, 3, 4, 1000);
    }
    made.scenario
}

/// Thirty download eight megabytes of one.
fn swarm(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 34, Span::secs(900), Span::secs(1200));
    made.publish(5, 3, 1, 8_000_000);
    made.host(3).up = 2_500_000;
    for host in 4..34 {
        made.follow(20, host, 3);
        made.at(60, host, get(3));
    }
    made.scenario
}

/// Ten times as many hosts come within a minute, and want the same.
fn flash_crowd(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 5, Span::secs(900), Span::secs(1500));
    made.publish(5, 3, 2, 500_000);
    for host in 5..55 {
        made.host(host).start = Span::millis(300_000 + u64::from(host - 5) * 1200);
        made.follow(310, host, 3);
        made.at(370, host, get(3));
    }
    made.scenario
}

/// Villains of all kinds among ten honest hosts that do the main job.
fn villains(seed: u64) -> Scenario {
    let mut made = Made::new(seed, 10, Span::secs(1200), Span::secs(1800));
    made.publish(5, 3, 3, 600_000);
    for host in 4..10 {
        made.follow(20, host, 3);
        made.at(300, host, get(3));
    }
    made.publish(600, 3, 3, 600_000);
    for (number, kind) in VillainKind::ALL.into_iter().enumerate() {
        let mut host = Host::new(format!("v{number}"));
        host.villain = Some(kind);
        host.core = false;
        host.start = Span::secs(30);
        made.scenario.hosts.push(host);
    }
    made.scenario
}

/// A thousand nodes keep a DHT for a day, after they all came within ten minutes: twenty publish a small share, five follow
/// each, and nobody downloads.
fn dht1000(seed: u64) -> Scenario {
    let day = Span::secs(24 * 3600);
    let mut made = Made::new(seed, 1000, Span::secs(20 * 3600), day);
    for host in 0..1000 {
        made.host(host).start = Span::millis(u64::from(host) * 600);
    }
    for share in 0..20 {
        let owner = 3 + share * 49;
        made.publish(700, owner, 2, 1000);
        for follower in 0..5 {
            made.follow(720, owner + 7 + follower * 5, owner);
        }
    }
    made.scenario
}

fn name(host: u32) -> String {
    format!("n{host}")
}

fn get(owner: u32) -> Action {
    Action::Get {
        to: name(owner),
        share: "files".into(),
    }
}

fn search(owner: u32) -> Action {
    Action::Search {
        to: name(owner),
        share: "files".into(),
    }
}

/// A scenario being made: hosts `n0`, `n1` …, the first three of which all others start from.
struct Made {
    scenario: Scenario,
}

impl Made {
    fn new(seed: u64, hosts: u32, heal: Span, length: Span) -> Made {
        let mut made = Made {
            scenario: Scenario {
                seed,
                length,
                heal,
                network: Default::default(),
                edges: Vec::new(),
                hosts: Vec::new(),
                events: Vec::new(),
            },
        };
        if let Some(last) = hosts.checked_sub(1) {
            made.host(last);
        }
        made
    }

    /// The host of this number, made with those before it if it is not there.
    fn host(&mut self, number: u32) -> &mut Host {
        for new in self.scenario.hosts.len() as u32..=number {
            let mut host = Host::new(name(new));
            host.bootstrap = (0..3).filter(|hub| *hub != new).map(name).collect();
            self.scenario.hosts.push(host);
        }
        &mut self.scenario.hosts[number as usize]
    }

    fn at(&mut self, secs: u64, host: u32, action: Action) {
        let at = Span::secs(secs);
        let after = self.scenario.events.partition_point(|event| event.at <= at);
        self.scenario.events.insert(
            after,
            Event {
                at,
                host: name(host),
                action,
            },
        );
    }

    /// Puts a host behind an edge of its own.
    fn edge(&mut self, number: u32, mapping: Option<Dependence>, filtering: Dependence) {
        self.edge_of(number, &format!("e{number}"), mapping, filtering);
    }

    /// Puts a host behind a new edge of this name.
    fn edge_of(
        &mut self,
        number: u32,
        edge: &str,
        mapping: Option<Dependence>,
        filtering: Dependence,
    ) {
        self.scenario.edges.push(Edge {
            name: edge.to_owned(),
            behind: None,
            mapping,
            filtering,
            expiry: Span::secs(60),
            inbound_refresh: false,
            hairpin: false,
        });
        self.host(number).edge = Some(edge.to_owned());
    }

    /// A host gets what another publishes, which sends as much as it can in two minutes.
    fn long_download(&mut self, owner: u32, host: u32) {
        self.host(owner).up = 250_000;
        self.publish(30, owner, 1, 30_000_000);
        self.follow(60, host, owner);
        self.at(90, host, get(owner));
    }

    /// All hosts from this one on publish, and get what all others published.
    fn all_to_all(&mut self, first: u32, bytes: u64) {
        let hosts = first..self.scenario.hosts.len() as u32;
        for owner in hosts.clone() {
            self.publish(60, owner, 1, bytes);
            for host in hosts.clone().filter(|host| *host != owner) {
                self.follow(120, host, owner);
                self.at(180, host, get(owner));
            }
        }
    }

    fn publish(&mut self, secs: u64, host: u32, files: u32, bytes: u64) {
        self.at(
            secs,
            host,
            Action::Publish {
                share: "files".into(),
                files,
                bytes,
            },
        );
    }

    fn follow(&mut self, secs: u64, host: u32, owner: u32) {
        self.at(
            secs,
            host,
            Action::Subscribe {
                to: name(owner),
                share: "files".into(),
            },
        );
    }
}
