//! A relay.

use crate::api;

use super::status::listening;
use super::table::{Align, Table};
use super::{short, shown, size, time};

/// The line that `scp2p relay` prints when it is ready.
pub fn ready(ready: &api::Ready) -> String {
    let status = &ready.status;
    let pinned: Vec<String> = ready.bootstrap.iter().map(|text| shown(text)).collect();
    let reached = if pinned.is_empty() {
        "no address of this host is known, name one with --announce".to_owned()
    } else {
        format!("others start with --bootstrap {}", pinned.join(","))
    };
    format!(
        "scp2p {} relay ready; key {}; {}; {reached}\n",
        shown(&status.version),
        status.key,
        listening(&status.listening),
    )
}

/// `scp2p relay circuits`.
pub fn relay(relay: &api::Relay) -> String {
    let Some(limits) = &relay.limits else {
        return "this node relays for nobody; start one that does with: scp2p relay\n".to_owned();
    };
    let mut text = format!(
        "circuits  {} of {}, {} since the start\nplaces    {} of {}\nrefused   {} since the start\n\
         relayed   {}, {} of it in tunnels of deployed peers\n",
        relay.circuits.len(),
        limits.max_tunnels,
        relay.opened,
        relay.places.len(),
        limits.max_places,
        relay.refused,
        size(relay.bytes),
        size(relay.tunnel_bytes)
    );
    if !relay.circuits.is_empty() {
        text.push('\n');
        text.push_str(&circuits(&relay.circuits));
    }
    if !relay.places.is_empty() {
        text.push('\n');
        text.push_str(&places(&relay.places));
    }
    text
}

fn circuits(circuits: &[api::Circuit]) -> String {
    let mut table = Table::new([
        ("opened by", Align::Left),
        ("with", Align::Left),
        ("bytes", Align::Right),
        ("age", Align::Right),
        ("idle", Align::Right),
    ]);
    for circuit in circuits {
        table.row([
            short(&circuit.opener),
            short(&circuit.target),
            size(circuit.bytes),
            time::span(circuit.age),
            time::span(circuit.idle),
        ]);
    }
    table.render()
}

fn places(places: &[api::Place]) -> String {
    let mut table = Table::new([
        ("place of", Align::Left),
        ("at", Align::Left),
        ("expires in", Align::Right),
    ]);
    for place in places {
        table.row([
            short(&place.peer),
            place.ip.to_string(),
            time::span(place.expires_in),
        ]);
    }
    table.render()
}
