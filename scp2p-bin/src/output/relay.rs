//! A relay.

use crate::api;

use super::status::listening;
use super::table::{Align, Table};
use super::{count, short, shown, size, time};

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
    let tunnels = relay.slots.iter().filter_map(|slot| slot.tunnel.as_ref());
    let asking: u64 = tunnels.clone().map(|it| it.asking.len() as u64).sum();
    let mut text = format!(
        "circuits  {} of {}, {} since the start\nplaces    {} of {}\n\
         tunnels   {} of deployed peers, readable here, {} under way\nrefused   {} since the start\n\
         relayed   {}, {} of it in tunnels of deployed peers\n",
        relay.circuits.len(),
        limits.max_tunnels,
        relay.opened,
        relay.places.len(),
        limits.max_places,
        tunnels.clone().count(),
        count(asking, "request", "requests"),
        relay.refused,
        size(relay.bytes),
        size(relay.tunnel_bytes)
    );
    if !relay.circuits.is_empty() {
        text.push('\n');
        text.push_str(&circuits(&relay.circuits));
    }
    if !relay.slots.is_empty() {
        text.push('\n');
        text.push_str(&slots(&relay.slots));
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

/// One line for each slot, and one below it for each who waits for an answer of its owner.
fn slots(slots: &[api::Slot]) -> String {
    let mut table = Table::new([
        ("slot of", Align::Left),
        ("at", Align::Left),
        ("asked by", Align::Left),
        ("requests", Align::Right),
        ("bytes", Align::Right),
        ("age", Align::Right),
        ("idle", Align::Right),
    ]);
    for slot in slots {
        let tunnel = slot.tunnel.as_ref();
        let of_tunnel = |what: &dyn Fn(&api::Tunnel) -> String| tunnel.map_or("-".to_owned(), what);
        table.row([
            short(&slot.owner),
            slot.ip.to_string(),
            tunnel.map_or("no tunnel".to_owned(), |_| "-".to_owned()),
            of_tunnel(&|tunnel| tunnel.requests.to_string()),
            of_tunnel(&|tunnel| size(tunnel.bytes)),
            time::span(slot.age),
            of_tunnel(&|tunnel| time::span(tunnel.idle)),
        ]);
        for asker in tunnel.into_iter().flat_map(|tunnel| &tunnel.asking) {
            let blank = String::new;
            let (peer, age) = (short(&asker.peer), time::span(asker.age));
            table.row([blank(), blank(), peer, blank(), blank(), age, blank()]);
        }
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
