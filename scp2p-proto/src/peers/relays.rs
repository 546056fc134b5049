//! Relays: those to have a place or a tunnel at, and where others find us through them (SPECIFICATION §9.7, §11.1).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Peers;
use super::dials::Goal;
use crate::cx::Cx;
use crate::event::Event;
use crate::id::{LinkId, NodeKey};
use crate::io::{Dial, Host};
use crate::record::RelayAnnouncement;
use crate::session::{DialPlan, Purpose};
use crate::view::ReachState;
use crate::wire::{CIRCUIT_SLOT, PeerAddr, RelayRoute};
use crate::wish::Wish;

/// Relays that are dialled at a time because more are wanted.
const RELAYS_AT_ONCE: usize = 2;

impl Peers {
    /// Others find us at these relays, where we have reached them: at the last of several over TCP, for those who have no
    /// way over QUIC.
    pub(crate) fn set_routes(&mut self, cx: &mut Cx<'_>, relays: Vec<NodeKey>) {
        let own = cx.keys.public();
        let records = relays.iter().filter_map(|relay| self.book.peer(relay));
        let last = relays.len().saturating_sub(1);
        let at = records.enumerate().filter_map(|(n, record)| {
            let known = record.dial_order();
            let reached = known.into_iter().find(|known| known.reached.is_some())?;
            let over_tcp = record.over_tcp_at(reached.addr.ip);
            let addr = over_tcp.filter(|_| n > 0 && n == last);
            Some(addr.unwrap_or(&reached.addr).clone())
        });
        let routes = at.map(|relay| PeerAddr {
            key: Some(own),
            relay_via: Some(Box::new(RelayRoute {
                relay: relay.clone(),
                slot: CIRCUIT_SLOT,
            })),
            ..relay
        });
        let before = self.reachability(cx.config).state();
        self.own.set_routes(routes.collect());
        self.tell_relayed(cx, before);
    }

    /// Sees to sessions with the relays that the user named, from now on.
    pub(crate) fn connect_named_relays(&mut self, cx: &mut Cx<'_>) {
        for addr in &cx.config.relays {
            self.add_bootstrap(cx, addr.clone());
        }
    }

    /// Says in which order connected relays are to be asked for places.
    pub(crate) fn rank_relays(&mut self, cx: &mut Cx<'_>, relays: &[NodeKey]) {
        let ranked = self.by_esteem(cx, relays);
        cx.wish(Wish::RelaysRanked(ranked));
    }

    /// In an order at random, those that behaved well and were reached before rather first.
    fn by_esteem(&mut self, cx: &Cx<'_>, relays: &[NodeKey]) -> Vec<NodeKey> {
        let weights = relays.iter().map(|relay| {
            let record = self.book.peer(relay);
            record.map_or(1, |record| record.esteem(cx.now.unix))
        });
        let weights: Vec<u64> = weights.collect();
        let drawn = weights.into_iter().map(|weight| self.rng.below(weight));
        let mut drawn: Vec<(u64, NodeKey)> = drawn.zip(relays.iter().copied()).collect();
        drawn.sort_unstable_by(|one, other| other.cmp(one));
        drawn.into_iter().map(|(_, relay)| relay).collect()
    }

    /// Sees to sessions with relays that are known, at random and rather with those that behaved well and were reached
    /// before. If there is none to dial, more are to be found.
    pub(crate) fn connect_relays(&mut self, cx: &mut Cx<'_>) {
        let known = self.book.iter();
        let relays =
            known.filter(|(key, record)| record.may_relay() && !cx.roster.is_callable(key));
        let relays: Vec<NodeKey> = relays.map(|(key, _)| *key).collect();
        let relays = self.by_esteem(cx, &relays);
        let goals = || relays.iter().map(|relay| (Goal::Peer(*relay), *relay));
        let mut under_way = goals()
            .filter(|(goal, _)| self.dials.is_under_way(goal))
            .count();
        for (goal, relay) in goals() {
            if under_way >= RELAYS_AT_ONCE {
                break;
            }
            if !self.dials.is_under_way(&goal) && self.begin(cx, &goal, relay).is_ok() {
                under_way += 1;
            }
        }
        if under_way == 0 {
            cx.wish(Wish::FindRelays);
        }
    }

    /// Relays announced themselves. If one of them was not known as one, it is tried.
    pub(crate) fn relays_heard(&mut self, cx: &mut Cx<'_>, relays: Vec<RelayAnnouncement>) {
        let own = cx.keys.public();
        let mut is_news = false;
        for RelayAnnouncement { relay, offer, .. } in relays {
            let key = Some(relay);
            let places = offer.addrs.into_iter().map(|addr| PeerAddr { key, ..addr });
            for addr in places.filter(|_| relay != own) {
                if self.is_place_to_try(cx, &addr) {
                    is_news |= self.book.heard_of_relay(relay, addr, offer.issued_at);
                }
            }
        }
        if is_news {
            self.connect_relays(cx);
        }
    }

    /// Opens another link to a deployed bootstrap peer, for a tunnel of ours.
    pub(crate) fn dial_tunnel(&mut self, cx: &mut Cx<'_>, but: &[NodeKey]) {
        let is_relay = |peer: &NodeKey| self.bootstraps.is_peer(peer) && !but.contains(peer);
        let relays: Vec<NodeKey> = cx.roster.deployed().filter(is_relay).collect();
        let relay = self.rng.pick(&relays).copied();
        let session = relay.and_then(|relay| Some((relay, cx.roster.session(&relay)?)));
        let Some((relay, session)) = session.filter(|_| self.tunnels.is_empty()) else {
            return;
        };
        let link = self.dials.fresh_link();
        let dial = Dial {
            transport: session.transport,
            host: Host::Ip(session.remote.ip()),
            port: session.remote.port(),
        };
        let plan = DialPlan {
            profile: session.profile,
            expected: Some(relay),
            purpose: Purpose::Tunnel,
        };
        self.note_dial(&dial, cx.now.mono);
        self.tunnels.insert(link);
        cx.dial(link, dial, plan);
    }

    /// A link for a tunnel of ours is there.
    pub(crate) fn on_tunnel_up(&mut self, link: LinkId) {
        self.tunnels.remove(&link);
    }

    /// Deployed peers ask us through a slot.
    pub(crate) fn set_tunnel(&mut self, cx: &mut Cx<'_>, route: Option<Box<RelayRoute>>) {
        let own = cx.keys.public();
        let before = self.reachability(cx.config).state();
        self.own.set_tunnel(route.map(|route| PeerAddr {
            key: Some(own),
            port: port_for_slot(&route),
            relay_via: Some(route.clone()),
            ..route.relay
        }));
        self.tell_relayed(cx, before);
    }

    /// Shows where relays lead to us, and tells if others find us by them who did not before, or no longer do.
    fn tell_relayed(&mut self, cx: &mut Cx<'_>, before: ReachState) {
        self.show_own_addrs(cx);
        let now = self.reachability(cx.config);
        if now.state() != before {
            cx.event(Event::Reachability(now));
        }
    }
}

/// The port in the address that leads through a slot, which nobody dials. Deployed peers tell providers by address, port
/// and transport alone, so it is neither the relay's nor, as a rule, that of another owner there or of a slot before.
fn port_for_slot(route: &RelayRoute) -> u16 {
    let [.., high, low] = route.slot.0.to_be_bytes();
    let ports = [u16::from_be_bytes([high, low]), 1, 2];
    let mut fit = ports
        .into_iter()
        .filter(|port| *port != 0 && *port != route.relay.port);
    fit.next().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::cx::{Act, Acts};
    use crate::id::RelaySlotId;
    use crate::io::Transport;
    use crate::keys::Keys;
    use crate::rng::Rng;
    use crate::session::Roster;
    use crate::storage::Saved;
    use crate::time::{Now, Time, UnixTime};
    use crate::wish::Conduct;
    use alloc::collections::BTreeMap;
    use core::net::{IpAddr, Ipv4Addr};

    const NOW: Now = Now {
        mono: Time(1),
        unix: UnixTime(1_700_000_000),
    };

    /// The relays in the order in which they are to be asked.
    fn ranked(peers: &mut Peers, relays: &[NodeKey]) -> Vec<NodeKey> {
        let (config, keys) = (Config::default(), Keys::from_seed([1; 32]));
        let (roster, mut acts) = (Roster::default(), Acts::default());
        let mut cx = Cx {
            now: NOW,
            config: &config,
            keys: &keys,
            roster: &roster,
            acts: acts.begin_call(),
        };
        peers.rank_relays(&mut cx, relays);
        let Some(Act::Wish(Wish::RelaysRanked(ranked))) = acts.queue.pop_front() else {
            panic!("they are not ranked");
        };
        ranked
    }

    #[test]
    fn relays_that_were_lost_are_asked_last_more_often_than_others() {
        let keys = Keys::from_seed([1; 32]);
        let rng = Rng::new(&[2; 32], "peers");
        let mut peers = Peers::new(&Config::default(), &keys, rng, &Saved::default(), NOW);
        let relays = [3, 4, 5].map(|number| NodeKey([number; 32]));
        let [lost, steady, new] = relays;
        for relay in relays {
            peers.book.entry(relay);
        }
        for _ in 0..20 {
            peers.book.judge(lost, Conduct::Slow, NOW.unix);
            peers.book.judge(steady, Conduct::Good, NOW.unix);
        }
        let mut last: BTreeMap<NodeKey, u32> = BTreeMap::new();
        for _ in 0..1000 {
            let order = ranked(&mut peers, &relays);
            assert_eq!(order.len(), 3);
            let of = order.last().copied().expect("three relays");
            *last.entry(of).or_default() += 1;
        }
        let times = [steady, new, lost].map(|relay| last.get(&relay).copied().unwrap_or(0));
        let [steady, new, lost] = times;
        // By scores of 20, 0 and -15, of which none is left out.
        assert!(
            steady > 100 && new > steady && lost > 2 * steady,
            "{times:?}"
        );
    }

    #[test]
    fn the_port_of_a_slot_is_never_the_relays_and_never_none() {
        let port = |slot, relay_port| {
            port_for_slot(&RelayRoute {
                relay: PeerAddr {
                    ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    port: relay_port,
                    transport: Transport::Tcp,
                    key: None,
                    relay_via: None,
                },
                slot: RelaySlotId(slot),
            })
        };
        assert_eq!(port(0x1234_0000_0000_1b59, 7000), 7001);
        assert_eq!(port(0x1234_0000_0000_1b59, 7001), 1);
        assert_eq!(port(0x1234_0000_0000_0000, 7001), 1);
        assert_eq!(port(0x1234_0000_0000_0000, 1), 2);
    }
}
