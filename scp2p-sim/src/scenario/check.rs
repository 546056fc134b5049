//! What must hold of a scenario before it is run.

use std::collections::{BTreeMap, BTreeSet};

use scp2p_proto::limits::MANIFEST_ITEMS_MAX;

use super::error::{Fault, Part, Place, ScenarioError};
use super::{Action, Edge, Event, Host, Links, Network, Scenario, Span};

/// Hosts of a scenario: what fits the memory of a small computer.
pub const HOSTS_MAX: usize = 2000;
/// Edges of a scenario: one for each host, and one that each of these is behind.
pub const EDGES_MAX: usize = 2 * HOSTS_MAX;
/// Events of a scenario: some fifty for each host.
pub const EVENTS_MAX: usize = 100_000;
/// Edges behind one another, at most: a router at home and one of the carrier are two.
pub const EDGE_DEPTH_MAX: usize = 8;
/// Length of a scenario: longer than anything in a node takes.
pub const LENGTH_MAX: Span = Span::secs(366 * 86_400);
/// Characters of a name, which are ASCII letters, digits, `-`, `_` and `.`.
pub const NAME_CHARS_MAX: usize = 64;
/// Bytes that all events publish, and bytes that all events download, as far as they can be told
/// beforehand. Published content is kept in memory.
pub const CONTENT_BYTES_MAX: u64 = 4 << 30;
/// Bytes per second of a host: 100 Gbit/s.
pub const RATE_MAX: u64 = 12_500_000_000;
/// A latency of a network or a disk.
pub const LATENCY_MAX: Span = Span::secs(60);
/// Seconds that a clock is wrong by or set by, at most: ten years.
pub const CLOCK_SECS_MAX: i64 = 3653 * 86_400;
/// Millionths that a clock runs too fast or too slow by, at most.
pub const DRIFT_PPM_MAX: i32 = 100_000;

impl Scenario {
    /// Checks all that [`parse`](Scenario::parse) checks besides the syntax.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn check(&self) -> Result<(), ScenarioError> {
        self.check_numbers()?;
        let at_network = || Place::new(Part::Network, 0, String::new());
        check_network(&self.network).map_err(|fault| at_network().has(fault))?;
        let edges = named(Part::Edge, self.edges.iter().map(|edge| &edge.name))?;
        let hosts = named(Part::Host, self.hosts.iter().map(|host| &host.name))?;
        let names = Names { edges, hosts };
        for (at, edge) in self.edges.iter().enumerate() {
            self.check_edge(edge, &names)
                .map_err(|fault| Place::new(Part::Edge, at, edge.name.clone()).has(fault))?;
        }
        for (at, host) in self.hosts.iter().enumerate() {
            self.check_host(host, &names)
                .map_err(|fault| Place::new(Part::Host, at, host.name.clone()).has(fault))?;
        }
        let mut content = Content::default();
        for (at, event) in self.events.iter().enumerate() {
            self.check_event(event, &names)
                .and_then(|()| content.count(event))
                .map_err(|fault| {
                    let which = format!("at {}, host {}", event.at, event.host);
                    Place::new(Part::Event, at, which).has(fault)
                })?;
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ScenarioError> {
        for (part, number, max) in [
            (Part::Host, self.hosts.len(), HOSTS_MAX),
            (Part::Edge, self.edges.len(), EDGES_MAX),
            (Part::Event, self.events.len(), EVENTS_MAX),
        ] {
            if number > max {
                return Err(ScenarioError::TooMany { part, number, max });
            }
        }
        if self.hosts.is_empty() {
            return Err(ScenarioError::NoHosts);
        }
        if self.length == Span(0) || self.length > LENGTH_MAX {
            return Err(ScenarioError::Length(self.length));
        }
        if self.heal > self.length {
            let (heal, length) = (self.heal, self.length);
            return Err(ScenarioError::Heal { heal, length });
        }
        Ok(())
    }

    fn check_edge(&self, edge: &Edge, names: &Names<'_>) -> Result<(), Fault> {
        within("expiry", edge.expiry, Span::secs(1), LENGTH_MAX)?;
        let mut way = vec![edge.name.clone()];
        let mut next = edge.behind.as_deref();
        while let Some(name) = next {
            names.edge(name)?;
            let met = way.iter().position(|other| other == name);
            way.push(name.to_owned());
            if let Some(met) = met {
                return Err(Fault::Cycle(way.split_off(met)));
            }
            if way.len() > EDGE_DEPTH_MAX {
                return Err(Fault::TooDeep);
            }
            next = names
                .edges
                .get(name)
                .and_then(|at| self.edges.get(*at))
                .and_then(|edge| edge.behind.as_deref());
        }
        Ok(())
    }

    fn check_host(&self, host: &Host, names: &Names<'_>) -> Result<(), Fault> {
        if let Some(edge) = &host.edge {
            names.edge(edge)?;
        }
        for name in &host.bootstrap {
            names.host(name)?;
        }
        self.not_after_end(host.start)?;
        within("up", host.up, 1, RATE_MAX)?;
        within("down", host.down, 1, RATE_MAX)?;
        range("disk.latency", host.disk.latency)?;
        parts("disk.read_error_ppm", host.disk.read_error_ppm)?;
        parts("disk.write_error_ppm", host.disk.write_error_ppm)?;
        clock("clock.offset_secs", host.clock.offset_secs)?;
        within(
            "clock.drift_ppm",
            host.clock.drift_ppm,
            -DRIFT_PPM_MAX,
            DRIFT_PPM_MAX,
        )?;
        within("clock.late", host.clock.late, Span(0), LATENCY_MAX)?;
        parts("clock.spurious_ppm", host.clock.spurious_ppm)?;
        let node = &host.node;
        for (field, interval) in [
            ("node.poll_interval", node.poll_interval),
            ("node.republish_interval", node.republish_interval),
        ] {
            interval.map_or(Ok(()), |span| {
                within(field, span, Span::secs(1), LENGTH_MAX)
            })?;
        }
        for (field, number) in [
            ("node.uploads_per_peer_max", node.uploads_per_peer_max),
            ("node.files_at_once_max", node.files_at_once_max),
        ] {
            number.map_or(Ok(()), |number| within(field, number, 1, u32::MAX))?;
        }
        if node.no_quic && node.no_tcp {
            return Err(Fault::NoTransport);
        }
        Ok(())
    }

    fn check_event(&self, event: &Event, names: &Names<'_>) -> Result<(), Fault> {
        names.host(&event.host)?;
        self.not_after_end(event.at)?;
        match &event.action {
            Action::Start
            | Action::Stop
            | Action::Kill
            | Action::Crash
            | Action::Wipe
            | Action::Heal
            | Action::DiskFull { .. }
            | Action::DiskFree
            | Action::Sync
            | Action::Pause
            | Action::Resume
            | Action::Cancel => Ok(()),
            Action::Roam { edge } => edge.as_ref().map_or(Ok(()), |edge| names.edge(edge)),
            Action::Suspend { span } | Action::Clog { span } => {
                within("span", *span, Span(0), LENGTH_MAX)
            }
            Action::ClockStep { secs } => clock("secs", *secs),
            Action::Partition { from, .. } => from.iter().try_for_each(|name| names.host(name)),
            Action::Publish { share, files, .. } => {
                within("files", u64::from(*files), 1, MANIFEST_ITEMS_MAX as u64)?;
                plain(share)
            }
            Action::Edit { share, .. } | Action::Unpublish { share } => plain(share),
            Action::Subscribe { to, share }
            | Action::Unsubscribe { to, share }
            | Action::Search { to, share }
            | Action::Get { to, share } => {
                names.host(to)?;
                plain(share)
            }
        }
    }

    fn not_after_end(&self, at: Span) -> Result<(), Fault> {
        if at > self.length {
            return Err(Fault::AfterEnd {
                at,
                length: self.length,
            });
        }
        Ok(())
    }
}

/// Where each edge and host is in the scenario.
struct Names<'a> {
    edges: BTreeMap<&'a str, usize>,
    hosts: BTreeMap<&'a str, usize>,
}

impl Names<'_> {
    fn edge(&self, name: &str) -> Result<(), Fault> {
        if self.edges.contains_key(name) {
            return Ok(());
        }
        Err(Fault::UnknownEdge(name.to_owned()))
    }

    fn host(&self, name: &str) -> Result<(), Fault> {
        if self.hosts.contains_key(name) {
            return Ok(());
        }
        Err(Fault::UnknownHost(name.to_owned()))
    }
}

/// Names with their places, if each is a plain one and there only once.
fn named<'a>(
    part: Part,
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<&'a str, usize>, ScenarioError> {
    let mut places = BTreeMap::new();
    for (at, name) in names.enumerate() {
        let here = || Place::new(part, at, name.clone());
        plain(name).map_err(|fault| here().has(fault))?;
        if let Some(first) = places.insert(name.as_str(), at) {
            return Err(here().has(Fault::Twice { first: first + 1 }));
        }
    }
    Ok(places)
}

/// Bytes published and downloaded by the events so far.
#[derive(Default)]
struct Content<'a> {
    shares: BTreeMap<(&'a str, &'a str), u64>,
    published: u64,
    downloaded: u64,
    getters: BTreeSet<(&'a str, &'a str, &'a str)>,
}

impl<'a> Content<'a> {
    fn count(&mut self, event: &'a Event) -> Result<(), Fault> {
        if let Action::Publish {
            share,
            files,
            bytes,
        } = &event.action
        {
            let more = bytes.saturating_mul(u64::from(*files));
            self.published = self.published.saturating_add(more);
            let size = self.shares.entry((&event.host, share)).or_default();
            *size = (*size).max(more);
            bounded("published", self.published)?;
        }
        if let Action::Get { to, share } = &event.action
            && self.getters.insert((&event.host, to, share))
        {
            let more = self.shares.get(&(to.as_str(), share.as_str()));
            self.downloaded = self.downloaded.saturating_add(more.copied().unwrap_or(0));
            bounded("downloaded", self.downloaded)?;
        }
        Ok(())
    }
}

fn bounded(verb: &'static str, bytes: u64) -> Result<(), Fault> {
    if bytes > CONTENT_BYTES_MAX {
        return Err(Fault::Content { verb, bytes });
    }
    Ok(())
}

fn check_network(network: &Network) -> Result<(), Fault> {
    if network.links == Links::Quic && !cfg!(feature = "quic") {
        return Err(Fault::NoQuic);
    }
    range("latency", network.latency)?;
    within("jitter", network.jitter, Span(0), LATENCY_MAX)?;
    within("burst", network.burst, Span(0), LENGTH_MAX)?;
    parts("loss_ppm", network.loss_ppm)?;
    parts("burst_ppm", network.burst_ppm)?;
    parts("duplicate_ppm", network.duplicate_ppm)?;
    parts("reorder_ppm", network.reorder_ppm)
}

fn plain(name: &str) -> Result<(), Fault> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Fault::Name(name.to_owned()))
}

fn within<T: PartialOrd + ToString>(
    field: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), Fault> {
    if (&min..=&max).contains(&&value) {
        return Ok(());
    }
    let [value, min, max] = [value, min, max].map(|number| number.to_string());
    Err(Fault::OutOfRange {
        field,
        value,
        min,
        max,
    })
}

fn parts(field: &'static str, ppm: u32) -> Result<(), Fault> {
    within(field, ppm, 0, 1_000_000)
}

fn clock(field: &'static str, secs: i64) -> Result<(), Fault> {
    within(field, secs, -CLOCK_SECS_MAX, CLOCK_SECS_MAX)
}

/// A pair of latencies to draw between.
fn range(field: &'static str, [low, high]: [Span; 2]) -> Result<(), Fault> {
    if low > high {
        return Err(Fault::Reversed { field, low, high });
    }
    within(field, high, Span(0), LATENCY_MAX)
}
