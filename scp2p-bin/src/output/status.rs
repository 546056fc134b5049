//! The node itself.

use crate::api;

use super::table::pairs;
use super::{count, short, shown, size};

/// `scp2p status`.
pub fn status(status: &api::Status) -> String {
    pairs(&[
        ("key", status.key.to_string()),
        ("id", status.id.to_string()),
        ("listening", listening(&status.listening)),
        ("reachable", addresses(&status.addresses, &status.tunnels)),
        ("dialled", dialled(&status.reachability)),
        (
            "peers",
            format!(
                "{} connected, {} known, {} in the routing table",
                status.connected, status.known, status.contacts
            ),
        ),
        (
            "shares",
            format!("{} own, {} followed", status.shares, status.subscriptions),
        ),
        ("downloads", downloads(status)),
        (
            "serving",
            format!(
                "{}, {}",
                count(status.sources, "content", "contents"),
                count(status.values, "DHT value", "DHT values")
            ),
        ),
        (
            "traffic",
            format!(
                "{} of content received, {} sent",
                size(status.downloaded),
                size(status.uploaded)
            ),
        ),
        ("data", shown(&status.data_dir)),
        (
            "program",
            format!("scp2p {}, process {}", shown(&status.version), status.pid),
        ),
    ])
}

/// `scp2p id`.
pub fn identity(identity: &api::Identity) -> String {
    pairs(&[
        ("key", identity.key.to_string()),
        ("id", identity.id.to_string()),
        (
            "reachable",
            addresses(&identity.addresses, &identity.tunnels),
        ),
    ])
}

/// The line that `scp2p node` prints when it is ready.
pub fn ready(status: &api::Status) -> String {
    format!(
        "scp2p node {} ready; {}; control socket {}\n",
        short(&status.key),
        listening(&status.listening),
        shown(&status.control)
    )
}

/// Whether others can dial this node, and who says so.
fn dialled(reach: &api::Reachability) -> String {
    if reach.voices == 0 {
        return "not known yet whether others can dial this node".to_owned();
    }
    format!(
        "{} (QUIC {}, TCP {}, by {})",
        shown(&reach.state),
        shown(&reach.quic),
        shown(&reach.tcp),
        count(reach.voices, "attempt of a peer", "attempts of peers")
    )
}

fn downloads(status: &api::Status) -> String {
    match status.paused {
        0 => format!("{} unfinished", status.downloads),
        paused => format!("{} unfinished, {paused} of them paused", status.downloads),
    }
}

pub(super) fn listening(listening: &api::Listening) -> String {
    let named = |name: &str, list: &[std::net::SocketAddr]| {
        list.iter()
            .map(|address| format!("{name} {address}"))
            .collect::<Vec<_>>()
    };
    let all = [named("quic", &listening.quic), named("tcp", &listening.tcp)].concat();
    if all.is_empty() {
        "not listening".to_owned()
    } else {
        all.join(", ")
    }
}

/// Where others reach the node, and where a relay can read what they ask it.
fn addresses(addresses: &[String], tunnels: &[String]) -> String {
    if addresses.is_empty() {
        return "not known yet".to_owned();
    }
    addresses
        .iter()
        .map(|address| match tunnels.contains(address) {
            true => format!("{} (tunnel, readable by the relay)", shown(address)),
            false => shown(address),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_through_relays_that_read_are_marked() {
        let all = ["tcp://a".to_owned(), "tcp://a via tcp://b#9".to_owned()];
        let shown = super::addresses(&all, &all[1..]);
        assert_eq!(
            shown,
            "tcp://a, tcp://a via tcp://b#9 (tunnel, readable by the relay)"
        );
    }
}
