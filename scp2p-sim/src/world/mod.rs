//! The world: it lets time pass and carries out what the hosts ask for.

mod canaries;
mod clock;
mod digest;
mod groups;
mod host;
mod links;
mod meeting;
mod oracle;
mod script;
mod trace;
mod workload;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use scp2p_proto::Node;
use scp2p_proto::config::Config;
use scp2p_proto::id::{CommitId, DownloadId, LinkId, NodeKey};
use scp2p_proto::io::{HostEvent, Input, LinkEvent, Output, Transport};
use scp2p_proto::keys::Keys;
#[cfg(feature = "planted")]
use scp2p_proto::planted::Bug;
use scp2p_proto::rng::Rng;
use scp2p_proto::storage::{Batch, Load, StoreError};
use scp2p_proto::time::Time;

use self::canaries::Canaries;
use self::clock::Clock;
use self::digest::Digest;
use self::host::{Host, Note, Program, Promised};
use self::workload::{Begun, Library};
use crate::agenda::Agenda;
use crate::disk::{Chunks, CommitNo, Disk};
use crate::id::HostId;
use crate::net::{self, Network, Stop};
use crate::report::{Report, SAMPLES_MAX, Sample, Spread, Traffic, Violation};
use crate::scenario::{Scenario, Span};
use crate::villain::{self, Knowledge, Target};

pub use self::trace::Step;

/// Soft commits are durable after this, as the runtime has it.
const FLUSH: Duration = Duration::from_secs(3);
/// Bytes hashed per microsecond.
const HASH_RATE: u64 = 500;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Virtual time since the start.
    pub at: Span,
    /// When the run will end.
    pub length: Span,
    /// Hosts whose program runs.
    pub online: u32,
}

/// Runs a scenario to its end. The same scenario gives the same report.
///
/// # Panics
/// If the scenario is not valid, see [`Scenario::check`], or a node panics, which is a defect of the node.
pub fn run(scenario: &Scenario) -> Report {
    run_with(scenario, &mut |_| {})
}

/// Runs a scenario and tells at each sample how far it is.
///
/// # Panics
/// As [`run`] does.
pub fn run_with(scenario: &Scenario, progress: &mut dyn FnMut(Progress)) -> Report {
    let mut world = World::new(scenario);
    while world.step(progress) {}
    world.judge();
    world.report()
}

/// Runs a scenario and tells each step. It takes a few times as long as [`run`].
///
/// # Panics
/// As [`run`] does.
pub fn run_traced(scenario: &Scenario, trace: &mut dyn FnMut(Step)) -> Report {
    let mut world = World::new(scenario);
    world.trace = Some(trace);
    while world.step(&mut |_| {}) {}
    world.judge();
    world.report()
}

/// Runs a scenario in which all nodes have a bug, until something is not as it should be.
///
/// # Panics
/// As [`run`] does.
#[cfg(feature = "planted")]
pub fn run_planted(scenario: &Scenario, bug: Bug) -> Report {
    let mut world = World::new(scenario);
    world.planted = Some(bug);
    while world.step(&mut |_| {}) {
        if !world.violations.is_empty() {
            return world.report();
        }
    }
    world.judge();
    world.report()
}

/// Something due.
enum Due {
    /// An event of the scenario.
    Happens(usize),
    /// All faults end.
    Heal,
    /// The healed world is put to the test.
    Demand,
    /// The run is measured.
    Sample,
    /// Something that the network asked for.
    Net(net::Due),
    /// A host's deadline.
    Wake(HostId),
    /// An input that is on its way to a host's program of this start.
    Input(HostId, u32, Input),
    /// A batch is in the store.
    Committed(HostId, u32, CommitId, CommitNo, bool),
    /// Soft commits become durable.
    Flush(HostId, u32),
    /// A user tries again what did not work.
    Pursue(HostId),
    /// A host's program starts for the first time.
    Start(HostId),
    /// A suspended host wakes up.
    WakeUp(HostId),
}

struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    agenda: Agenda<Due>,
    network: Network,
    links: links::Links,
    hosts: Vec<Host>,
    names: BTreeMap<&'a str, HostId>,
    /// Hosts that are no villains, by their keys.
    honest: BTreeMap<NodeKey, HostId>,
    chunks: Chunks,
    library: Library,
    canaries: Canaries,
    digest: Digest,
    rng: Rng,
    /// Inputs for hosts that are worked off before anything else happens.
    ready: VecDeque<(HostId, Input)>,
    /// Downloads that run.
    downloads: BTreeMap<(HostId, DownloadId), Begun>,
    oracle: oracle::Oracle,
    steps: u64,
    samples: Vec<Sample>,
    violations: Vec<Violation>,
    violations_total: u64,
    update_ms: Spread,
    download_ms: Spread,
    downloads_begun: u64,
    lookups: oracle::Lookups,
    bytes: u64,
    trace: Option<&'a mut dyn FnMut(Step)>,
    /// The bug that all nodes have.
    #[cfg(feature = "planted")]
    planted: Option<Bug>,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> World<'a> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&scenario.seed.to_le_bytes());
        let rng = |label: &str| Rng::new(&seed, label);
        let mut network = Network::new(scenario.network.clone(), rng("network"));
        for edge in &scenario.edges {
            network.add_edge(edge);
        }
        let mut hosts = Vec::new();
        for (number, spec) in (0..).zip(&scenario.hosts) {
            let id = HostId(number);
            network.add_host(id, spec.edge.as_deref(), spec.up, spec.down);
            let mut rng = rng(&format!("host {number}"));
            let mut secret = [0; 32];
            rng.fill(&mut secret);
            hosts.push(Host {
                id,
                keys: Keys::from_seed(secret),
                program: None,
                boot: 0,
                disk: Disk::new(spec.disk.clone(), Rng::new(&secret, "disk")),
                clock: Clock::new(&spec.clock),
                rng,
                wake: None,
                asleep: None,
                parted: None,
                sleeps_until: Time(0),
                up_since: Time(0),
                store_free: Time(0),
                soft: None,
                next_op: 1,
                asked: BTreeMap::new(),
                wanted: Vec::new(),
                promised: Promised::default(),
                recent: VecDeque::new(),
                sent: 0,
                received: 0,
                spec: spec.clone(),
            });
        }
        let honest = hosts.iter().filter(|host| !host.is_villain());
        let mut world = World {
            honest: honest.map(|host| (host.keys.public(), host.id)).collect(),
            scenario,
            now: Time(0),
            agenda: Agenda::default(),
            network,
            links: links::Links::default(),
            hosts,
            names: scenario
                .hosts
                .iter()
                .zip(0..)
                .map(|(host, number)| (host.name.as_str(), HostId(number)))
                .collect(),
            chunks: Chunks::default(),
            library: Library::default(),
            canaries: Canaries::default(),
            digest: Digest::default(),
            rng: rng("world"),
            ready: VecDeque::new(),
            downloads: BTreeMap::new(),
            oracle: oracle::Oracle::default(),
            steps: 0,
            samples: Vec::new(),
            violations: Vec::new(),
            violations_total: 0,
            update_ms: Spread::default(),
            download_ms: Spread::default(),
            downloads_begun: 0,
            lookups: oracle::Lookups::default(),
            bytes: 0,
            trace: None,
            #[cfg(feature = "planted")]
            planted: None,
        };
        world.plan();
        world
    }

    /// Puts all that is known beforehand on the agenda.
    fn plan(&mut self) {
        let scenario = self.scenario;
        for (number, event) in scenario.events.iter().enumerate() {
            self.agenda.push(event.at.time(), Due::Happens(number));
        }
        for host in 0..self.hosts.len() {
            let at = self.hosts[host].spec.start.time();
            self.agenda.push(at, Due::Start(HostId(host as u32)));
        }
        self.agenda.push(scenario.heal.time(), Due::Heal);
        let rest = scenario.length.0.saturating_sub(scenario.heal.0);
        self.agenda
            .push(Time(scenario.heal.0 + rest / 4), Due::Demand);
        let every = (scenario.length.0 / SAMPLES_MAX).max(1);
        for number in 1..=SAMPLES_MAX {
            self.agenda.push(Time(every * number), Due::Sample);
        }
    }

    /// Lets the next thing happen. False at the end of the run.
    fn step(&mut self, progress: &mut dyn FnMut(Progress)) -> bool {
        let Some((at, due)) = self.agenda.pop() else {
            return false;
        };
        if at > self.scenario.length.time() {
            return false;
        }
        self.now = at;
        match due {
            Due::Happens(number) => self.happens(number),
            Due::Heal => self.heal(),
            Due::Demand => self.demand(),
            Due::Sample => {
                self.sample();
                progress(Progress {
                    at: Span(at.0),
                    length: self.scenario.length,
                    online: self.samples.last().map_or(0, |sample| sample.online),
                });
            }
            Due::Net(due) => {
                self.network.handle(at, due);
                self.network_effects();
            }
            Due::Wake(host) => self.wake(host),
            Due::Input(host, boot, input) => {
                if self.hosts[host.index()].boot == boot {
                    self.input(host, input);
                }
            }
            Due::Committed(host, boot, id, number, urgent) => {
                let at = &mut self.hosts[host.index()];
                if at.boot == boot {
                    if urgent {
                        at.disk.durable(number);
                    }
                    self.input(host, Input::Committed(id, Ok(())));
                }
            }
            Due::Flush(host, boot) => {
                let at = &mut self.hosts[host.index()];
                if at.boot == boot
                    && let Some(number) = at.soft.take()
                {
                    at.disk.durable(number);
                }
            }
            Due::Pursue(host) => self.pursue(host),
            Due::Start(host) => self.start(host),
            // It may have been woken, and sleep anew, since that was planned.
            Due::WakeUp(host) if self.hosts[host.index()].sleeps_until > at => {}
            Due::WakeUp(host) => self.wake_up(host),
        }
        while let Some((host, input)) = self.ready.pop_front() {
            self.input(host, input);
        }
        true
    }

    /// Starts a host's program from what its disk has.
    fn start(&mut self, host: HostId) {
        let number = host.index();
        if self.hosts[number].program.is_some() {
            return;
        }
        let config = self.config(host);
        let at = &mut self.hosts[number];
        at.boot += 1;
        at.asleep = None;
        at.wake = None;
        at.soft = None;
        at.store_free = self.now;
        at.up_since = self.now;
        at.remember(self.now, Note::Started(at.boot));
        for transport in [Transport::Quic, Transport::Tcp] {
            if let Some(port) = at.port(transport) {
                self.network.listen(host, transport, port);
            }
        }
        let now = at.clock.now(self.now);
        let mut seed = [0; 32];
        at.rng.fill(&mut seed);
        let keys = at.keys.clone();
        let program = match at.spec.villain {
            Some(kind) => {
                let knowledge = self.knowledge(host);
                Program::Villain(villain::villain(
                    kind,
                    keys,
                    Rng::new(&seed, "villain"),
                    knowledge,
                ))
            }
            None => {
                let saved = at.disk.saved();
                Program::Node(Box::new(Node::new(config, keys, seed, saved, now)))
            }
        };
        self.hosts[number].program = Some(program);
        self.check_promises(host);
        let addresses = HostEvent::Addresses(self.network.addresses(host));
        self.ready.push_back((host, Input::Host(addresses)));
        self.agenda.push(self.now, Due::Pursue(host));
    }

    fn config(&self, host: HostId) -> Config {
        let at = &self.hosts[host.index()];
        let mut config = at.config();
        #[cfg(feature = "planted")]
        {
            config.planted = self.planted;
        }
        for name in &at.spec.bootstrap {
            let Some(peer) = self.names.get(name.as_str()) else {
                continue;
            };
            let key = self.hosts[peer.index()].keys.public();
            for (transport, addr) in self.endpoints(*peer) {
                let text = format!("{transport}://{addr}@{key}");
                config.bootstrap.extend(text.parse());
            }
        }
        config
    }

    /// Where a host listens, as its interfaces have it.
    fn endpoints(&self, host: HostId) -> Vec<(Transport, std::net::SocketAddr)> {
        let ips = self.network.addresses(host);
        let mut endpoints = Vec::new();
        for transport in [Transport::Quic, Transport::Tcp] {
            let port = self.hosts[host.index()].port(transport);
            endpoints.extend(port.iter().flat_map(|port| {
                ips.iter()
                    .map(|ip| (transport, std::net::SocketAddr::new(*ip, *port)))
            }));
        }
        endpoints
    }

    /// What a villain knows: everybody.
    fn knowledge(&self, villain: HostId) -> Knowledge {
        let honest = self.hosts.iter().filter(|host| !host.is_villain());
        Knowledge {
            targets: honest.map(|host| self.target(host)).collect(),
            shares: self
                .library
                .shares
                .values()
                .filter_map(|share| share.link.clone())
                .collect(),
            own: Some(self.target(&self.hosts[villain.index()])),
        }
    }

    fn target(&self, host: &Host) -> Target {
        let endpoints = self.endpoints(host.id);
        let by = |wanted| {
            endpoints
                .iter()
                .find(|(transport, _)| *transport == wanted)
                .map(|(_, addr)| *addr)
        };
        Target {
            key: host.keys.public(),
            quic: by(Transport::Quic),
            tcp: by(Transport::Tcp),
        }
    }

    /// A host's program is gone, and how others notice.
    fn end(&mut self, host: HostId, stop: Stop, why: &'static str) {
        let at = &mut self.hosts[host.index()];
        at.remember(self.now, Note::Ended(why));
        at.program = None;
        at.boot += 1;
        let slept = at.asleep.take().is_some();
        at.asked.clear();
        self.links.all_gone(host);
        self.ready.retain(|(other, _)| *other != host);
        self.network.stop(self.now, host, stop);
        if slept {
            self.network.pause(self.now, host, false);
        }
        self.network_effects();
    }

    /// A host's deadline may have come.
    fn wake(&mut self, host: HostId) {
        let at = &mut self.hosts[host.index()];
        if at.wake != Some(self.now) {
            return;
        }
        at.wake = None;
        let (Some(program), None) = (&at.program, &at.asleep) else {
            return;
        };
        let due = program.deadline().map(|mono| at.clock.world(mono));
        if due.is_some_and(|due| due <= self.now) {
            self.input(host, Input::Tick);
        } else {
            self.plan_wake(host);
        }
    }

    /// Gives an input to a host's program and carries out what it asks for.
    fn input(&mut self, host: HostId, input: Input) {
        let at = &mut self.hosts[host.index()];
        let Some(program) = &mut at.program else {
            return;
        };
        if let Some(waiting) = &mut at.asleep {
            return waiting.push(input);
        }
        self.steps += 1;
        if let Input::Link(_, LinkEvent::Bytes(_, bytes)) = &input {
            at.received += bytes.len() as u64;
        }
        let now = at.clock.now(self.now);
        self.digest.input(self.now, now, host, &input);
        self.links.before(host, &input);
        let mut closed = None;
        if let Input::Link(link, LinkEvent::Closed(_)) = &input {
            closed = Some(*link);
        }
        let mut begun = self
            .trace
            .is_some()
            .then(|| trace::Begun::new(self.steps, Span(self.now.0), &at.spec.name, &input));
        program.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = program.poll_output() {
            self.digest.output(host, &output);
            if let Some(begun) = &mut begun {
                begun.output(&output);
            }
            outputs.push(output);
        }
        if let (Some(trace), Some(begun)) = (&mut self.trace, begun) {
            trace(begun.end());
        }
        self.check_step(host, now);
        for output in outputs {
            self.carry_out(host, output);
        }
        if let Some(link) = closed {
            self.links.gone(host, link);
        }
        self.network_effects();
        self.plan_wake(host);
        self.spurious(host);
        if self.hosts[host.index()].node().is_some_and(Node::is_done) {
            self.end(host, Stop::Reset, "it stopped");
            let at = &mut self.hosts[host.index()];
            at.disk.kill();
        }
    }

    /// Wakes a host's program for nothing now and then.
    fn spurious(&mut self, host: HostId) {
        let at = &mut self.hosts[host.index()];
        let ppm = at.spec.clock.spurious_ppm;
        if ppm > 0 && self.now < self.scenario.heal.time() && at.rng.chance(ppm, 1_000_000) {
            let boot = at.boot;
            let after = Duration::from_micros(at.rng.below(1_000_000));
            self.agenda
                .push(self.now + after, Due::Input(host, boot, Input::Tick));
        }
    }

    /// Sees to it that a host is woken at its deadline.
    fn plan_wake(&mut self, host: HostId) {
        let at = &mut self.hosts[host.index()];
        let Some(mono) = at.program.as_ref().and_then(Program::deadline) else {
            return;
        };
        let mut due = at.clock.world(mono);
        if at.wake.is_some_and(|wake| wake <= due && wake > self.now) {
            return;
        }
        let late = at.spec.clock.late.0;
        if late > 0 && self.now < self.scenario.heal.time() {
            due = due + Duration::from_micros(at.rng.below(late));
        }
        due = due.max(Time(self.now.0 + 1));
        at.wake = Some(due);
        self.agenda.push(due, Due::Wake(host));
    }

    fn carry_out(&mut self, host: HostId, output: Output) {
        let number = host.index();
        match output {
            Output::Dial(link, dial) => self.network.dial(self.now, host, link, &dial),
            Output::Send(link, lane, frame) => {
                self.check_sent(host, &frame);
                self.hosts[number].sent += frame.len() as u64;
                self.bytes += frame.len() as u64;
                self.network.send(self.now, host, link, lane, frame);
            }
            Output::Grant(link, lane, bytes) => {
                self.network.grant(self.now, host, link, lane, bytes)
            }
            Output::Close(link, _) => {
                self.network.close(self.now, host, link);
                self.links.gone(host, link);
                // Nothing is heard of a link after it was closed.
                self.ready.retain(|(of, input)| {
                    !(*of == host && matches!(input, Input::Link(id, _) if *id == link))
                });
            }
            Output::Load(id, load) => {
                self.check_load(host, &load);
                let at = &mut self.hosts[number];
                let mut took = at.disk.latency();
                if let Load::Hash(paths) = &load {
                    let bytes: u64 = paths
                        .iter()
                        .map(|path| at.disk.len(&path.0).unwrap_or(0))
                        .sum();
                    took += Duration::from_micros(bytes / HASH_RATE);
                }
                let result = at.disk.load(load, &mut self.chunks);
                self.later(host, took, Input::Loaded(id, result));
            }
            Output::Write(id, piece) => {
                let at = &mut self.hosts[number];
                let took = at.disk.latency();
                let result = at.disk.write(piece, &mut self.chunks);
                self.later(host, took, Input::Written(id, result));
            }
            Output::Commit(id, batch) => self.commit(host, id, batch),
            Output::Done(op, result) => self.answered(host, op, result),
            Output::Event(event) => {
                self.told(host, &event);
                let now = self.now;
                self.hosts[number].remember(now, Note::Event(Box::new(event)));
            }
        }
    }

    /// One batch after the other, as a store has them.
    fn commit(&mut self, host: HostId, id: CommitId, batch: Batch) {
        self.check_batch(host, &batch);
        let now = self.now;
        let at = &mut self.hosts[host.index()];
        at.remember(now, Note::commit(&batch));
        let took = at.disk.latency();
        let urgent = batch.urgent;
        let finished = batch.finish.clone();
        at.store_free = at.store_free.max(now) + took;
        let (boot, ready) = (at.boot, at.store_free);
        match at.disk.commit(batch, &mut self.chunks) {
            Ok(number) => {
                if !urgent && at.soft.replace(number).is_none() {
                    self.agenda.push(now + FLUSH, Due::Flush(host, boot));
                }
                self.agenda
                    .push(ready, Due::Committed(host, boot, id, number, urgent));
                self.check_finished(host, &finished);
            }
            Err(error) => self.refuse(host, ready, id, error),
        }
    }

    fn refuse(&mut self, host: HostId, at: Time, id: CommitId, error: StoreError) {
        let boot = self.hosts[host.index()].boot;
        let input = Input::Committed(id, Err(error));
        self.agenda.push(at, Due::Input(host, boot, input));
    }

    fn later(&mut self, host: HostId, after: Duration, input: Input) {
        let boot = self.hosts[host.index()].boot;
        self.agenda
            .push(self.now + after, Due::Input(host, boot, input));
    }

    fn network_effects(&mut self) {
        while let Some(effect) = self.network.poll_effect() {
            match effect {
                net::Effect::At(at, due) => self.agenda.push(at, Due::Net(due)),
                net::Effect::Tell(host, link, event) => self.tell(host, link, event),
            }
        }
    }

    fn tell(&mut self, host: HostId, link: LinkId, event: LinkEvent) {
        if self.hosts[host.index()].program.is_some() {
            self.ready.push_back((host, Input::Link(link, event)));
        }
    }

    fn report(mut self) -> Report {
        for host in &self.hosts {
            for (table, key, value) in host.disk.rows() {
                self.digest.bytes(table.name().as_bytes());
                self.digest.bytes(key);
                self.digest.bytes(value);
            }
        }
        Report {
            scenario: self.scenario.clone(),
            digest: self.digest.finish(),
            steps: self.steps,
            violations: self.violations,
            violations_total: self.violations_total,
            samples: self.samples,
            lookups_found: self.lookups.found,
            lookups: self.lookups.ended,
            lookups_cut_off: self.lookups.cut_off,
            lookup_ms: self.lookups.took_ms,
            lookup_hops: self.lookups.hops,
            update_ms: self.update_ms,
            downloads: self.downloads_begun,
            download_ms: self.download_ms,
            traffic: self
                .hosts
                .iter()
                .map(|host| Traffic {
                    host: host.spec.name.clone(),
                    sent: host.sent,
                    received: host.received,
                })
                .collect(),
        }
    }
}
