//! The node itself.

use crate::api;

use super::table::pairs;
use super::{count, short, shown, size, time};

/// So many attempts to dial the node are told one by one; all are in `--json`.
const ATTEMPTS_SHOWN: usize = 4;

/// `scp2p status`.
pub fn status(status: &api::Status) -> String {
    let clock = status.clock.as_ref();
    let clock = clock.map_or("nobody says that it is wrong".to_owned(), clock_doubt);
    pairs(&[
        ("key", status.key.to_string()),
        ("id", status.id.to_string()),
        ("listening", listening(&status.listening)),
        ("reachable", addresses(&status.addresses, &status.tunnels)),
        ("seen at", observed(&status.reachability)),
        ("dialled", dialled(&status.reachability)),
        ("clock", clock),
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
        attempts(&reach.attempts)
    )
}

/// The last attempts of peers, the newest first.
fn attempts(attempts: &[api::Attempt]) -> String {
    let mut attempts: Vec<&api::Attempt> = attempts.iter().collect();
    attempts.sort_by_key(|it| it.ago_secs);
    let line = |it: &&api::Attempt| {
        format!(
            "{} from {} over {} {} ago: {}",
            short(&it.peer),
            it.from,
            shown(&it.transport),
            time::span(it.ago_secs),
            if it.reached { "reached" } else { "not reached" }
        )
    };
    let shown: Vec<String> = attempts.iter().take(ATTEMPTS_SHOWN).map(line).collect();
    let rest = attempts.len().saturating_sub(ATTEMPTS_SHOWN);
    match rest {
        0 => shown.join("; "),
        rest => format!("{}; {rest} more", shown.join("; ")),
    }
}

/// Where peers see this node, and how many networks say so.
fn observed(reach: &api::Reachability) -> String {
    if reach.observed.is_empty() {
        return "no peer said yet where it sees this node".to_owned();
    }
    let seen = reach.observed.iter().map(|it| {
        let networks = count(it.networks, "network", "networks");
        let doubt = if it.believed { "" } else { ", not believed" };
        format!("{} by peers of {networks}{doubt}", it.ip)
    });
    seen.collect::<Vec<_>>().join("; ")
}

/// That the clock may be wrong, who says so, and what to do.
pub(super) fn clock_doubt(doubt: &api::ClockDoubt) -> String {
    let peers = count(doubt.peers, "peer", "peers");
    let Some(off_secs) = doubt.off_secs else {
        return format!(
            "may be wrong: {peers} closed when this node said hello, without saying why; they do so if clocks differ by \
             more than 5 min, among other reasons, so check that this machine's date and time are right"
        );
    };
    let off = format!(
        "{} {}",
        time::span(off_secs.unsigned_abs()),
        if off_secs > 0 { "ahead" } else { "behind" }
    );
    match doubt.likely {
        true => format!(
            "wrong: {off}, by what {peers} in {} say; set this machine's date and time, peers refuse each other otherwise",
            count(doubt.networks, "network", "networks")
        ),
        false => format!(
            "may be wrong: {off}, by what {peers} of one network {}, and nobody else was heard; check that this machine's \
             date and time are right",
            if doubt.peers == 1 { "says" } else { "say" }
        ),
    }
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
