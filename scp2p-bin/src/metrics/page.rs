//! The text form that Prometheus reads.

use std::fmt::{Display, Write};

use scp2p_proto::command::CommandError;
use scp2p_proto::view::{LookupCounts, Stats};

use crate::api::{Node, Relay, Status};

/// What a node counts.
pub struct Counters {
    status: Status,
    stats: Stats,
    relay: Relay,
    uptime_secs: u64,
}

impl Counters {
    /// Asks the node.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn of(node: &Node) -> Result<Counters, CommandError> {
        Ok(Counters {
            status: node.status().await?,
            stats: node.handle.stats().await?,
            relay: node.relay().await?,
            uptime_secs: node.started.elapsed().as_secs(),
        })
    }

    /// All of it as text.
    pub fn page(&self) -> String {
        let mut page = Page::default();
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        page.gauge("build_info", "The program.", [(version.as_str(), 1)]);
        page.gauge("uptime_seconds", "Since the start.", self.uptime_secs);
        self.node(&mut page);
        self.relay(&mut page);
        self.stats(&mut page);
        page.0
    }

    fn node(&self, page: &mut Page) {
        let status = &self.status;
        let direct = status.connected.saturating_sub(status.relayed);
        let sessions = [
            ("way=\"direct\"", direct),
            ("way=\"relayed\"", status.relayed),
        ];
        page.gauge("sessions", "Peers with a session.", sessions);
        page.gauge("peers_known", "Peers in the address book.", status.known);
        page.gauge(
            "dht_contacts",
            "Contacts in the routing table.",
            status.contacts,
        );
        page.gauge("dht_values", "DHT values held.", status.values);
        page.gauge("shares", "Own shares.", status.shares);
        page.gauge("subscriptions", "Shares followed.", status.subscriptions);
        page.gauge("downloads", "Unfinished downloads.", status.downloads);
    }

    fn relay(&self, page: &mut Page) {
        let relay = &self.relay;
        let limits = relay.limits.as_ref();
        let (circuits, places) = (relay.circuits.len(), relay.places.len());
        let circuits_max = limits.map_or(0, |limits| limits.max_tunnels);
        let places_max = limits.map_or(0, |limits| limits.max_places);
        page.gauge("relay_circuits", "Circuits that pass.", circuits);
        page.gauge("relay_circuits_max", "Circuits allowed.", circuits_max);
        page.gauge("relay_places", "Clients that can be reached here.", places);
        page.gauge("relay_places_max", "Such clients allowed.", places_max);
        page.counter("relay_circuits_total", "Circuits opened.", relay.opened);
        page.counter(
            "relay_refused_total",
            "Places, circuits and requests in tunnels refused.",
            relay.refused,
        );
        page.counter("relay_bytes_total", "Bytes relayed.", relay.bytes);
        page.counter(
            "relay_tunnel_bytes_total",
            "Those of them in tunnels of deployed peers.",
            relay.tunnel_bytes,
        );
    }

    fn stats(&self, page: &mut Page) {
        let stats = &self.stats;
        let by = [
            ("by=\"peers\"", stats.sessions_inbound),
            ("by=\"us\"", stats.sessions_outbound),
        ];
        page.counter("sessions_total", "Sessions, by who dialled.", by);
        page.counter(
            "dials_failed_total",
            "Links dialled in vain.",
            stats.dials_failed,
        );
        let results = [
            ("result=\"answered\"", stats.requests_answered),
            ("result=\"refused\"", stats.requests_refused),
        ];
        page.counter("requests_total", "Requests of peers.", results);
        page.counter(
            "received_bytes_total",
            "Bytes of all sessions.",
            stats.received,
        );
        page.counter("sent_bytes_total", "Bytes of all sessions.", stats.sent);
        page.counter(
            "downloaded_bytes_total",
            "Content received and verified.",
            stats.downloaded,
        );
        page.counter("uploaded_bytes_total", "Content sent.", stats.uploaded);
        let (nodes, values) = (&stats.find_node, &stats.find_value);
        let ended = |counts: &LookupCounts| [counts.succeeded, counts.failed];
        let ([nodes_found, nodes_failed], [found, failed]) = (ended(nodes), ended(values));
        let lookups = [
            ("for=\"nodes\",result=\"succeeded\"", nodes_found),
            ("for=\"nodes\",result=\"failed\"", nodes_failed),
            ("for=\"value\",result=\"succeeded\"", found),
            ("for=\"value\",result=\"failed\"", failed),
        ];
        page.counter("dht_lookups_total", "Lookups that ended.", lookups);
        let queries = [
            ("for=\"nodes\"", nodes.queries),
            ("for=\"value\"", values.queries),
        ];
        page.counter("dht_queries_total", "Queries of those.", queries);
        let took = [
            ("for=\"nodes\"", nodes.took.as_secs_f64()),
            ("for=\"value\"", values.took.as_secs_f64()),
        ];
        page.counter("dht_lookup_seconds_total", "How long those took.", took);
        let stores = [
            ("result=\"sent\"", stats.stores_sent),
            ("result=\"acknowledged\"", stats.stores_acknowledged),
        ];
        page.counter("dht_stores_total", "Values given to nodes to keep.", stores);
    }
}

/// The values of one metric.
trait Values {
    /// Adds a line for each.
    fn write(self, name: &str, text: &mut String);
}

impl<T: Display, const N: usize> Values for [(&str, T); N] {
    fn write(self, name: &str, text: &mut String) {
        for (labels, value) in self {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "scp2p_{name}{{{labels}}} {value}");
        }
    }
}

macro_rules! plain_values {
    ($($number:ty),*) => {$(
        impl Values for $number {
            fn write(self, name: &str, text: &mut String) {
                // Writing into a String cannot fail.
                let _ = writeln!(text, "scp2p_{name} {self}");
            }
        }
    )*};
}

plain_values!(u32, u64, usize);

/// Metrics as they are written one after another.
#[derive(Default)]
struct Page(String);

impl Page {
    /// What goes up and down.
    fn gauge(&mut self, name: &str, help: &str, values: impl Values) {
        self.metric(name, "gauge", help, values);
    }

    /// What only grows until the node is started anew.
    fn counter(&mut self, name: &str, help: &str, values: impl Values) {
        self.metric(name, "counter", help, values);
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str, values: impl Values) {
        // Writing into a String cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP scp2p_{name} {help}\n# TYPE scp2p_{name} {kind}"
        );
        values.write(name, &mut self.0);
    }
}
