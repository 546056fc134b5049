//! Where we can be reached, as others see us.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::config::Config;
use crate::id::NodeKey;
use crate::io::Transport;
use crate::limits::{OWN_ADDRS_MAX, OWN_IPS_MAX, VOTES_MAX};
use crate::lru::Lru;
use crate::netgroup::{Netgroup, Scope, scope, subscriber};
use crate::session::Roster;
use crate::time::Time;
use crate::view::ObservedView;
use crate::wire::PeerAddr;

/// How long the vote of a peer that has gone counts.
const VOTE_LIFE: Duration = Duration::from_secs(600);

/// A router does not get another address sooner than this after the last.
const MOVE_PAUSE: Duration = Duration::from_secs(60);

/// What speaks for our addresses: what we are bound to, what peers observe, what interfaces have.
pub(super) struct OwnAddrs {
    votes: Lru<NodeKey, Vote>,
    interfaces: Vec<IpAddr>,
    /// Of each address family (whether it is IPv4), where most saw us from outside last, and since when.
    outside: BTreeMap<bool, (IpAddr, Time)>,
    /// Places at relays.
    routes: Vec<PeerAddr>,
    /// A slot at a deployed relay.
    tunnel: Option<PeerAddr>,
}

/// The address at which a peer saw us.
#[derive(Debug)]
struct Vote {
    ip: IpAddr,
    /// The port too, if it is that from which our QUIC links go out.
    quic_port: Option<u16>,
    /// Where the peer itself was.
    from: IpAddr,
    /// When the peer was known to be connected last.
    at: Time,
}

/// The networks that see us at an address: those of peers that are here now, and all.
type Networks = (BTreeSet<Netgroup>, BTreeSet<Netgroup>);

impl Vote {
    fn network(&self) -> Netgroup {
        Netgroup::of(self.from)
    }
}

impl Default for OwnAddrs {
    fn default() -> OwnAddrs {
        OwnAddrs {
            votes: Lru::new(VOTES_MAX),
            interfaces: Vec::new(),
            outside: BTreeMap::new(),
            routes: Vec::new(),
            tunnel: None,
        }
    }
}

impl OwnAddrs {
    /// A peer, which is at the address `from`, saw us at this one.
    pub(super) fn vote(
        &mut self,
        (voter, from): (NodeKey, IpAddr),
        ip: IpAddr,
        quic_port: Option<u16>,
        now: Time,
    ) {
        let vote = Vote {
            ip,
            quic_port,
            from,
            at: now,
        };
        self.votes.insert(voter, vote);
    }

    /// The port under which others see our QUIC links, which a router may have chosen; if they see several, the one
    /// that the user named or that we listen on.
    pub(super) fn quic_port(&self, config: &Config) -> Option<u16> {
        let own = config.outer_port(Transport::Quic)?;
        if !config.bound_ips.is_empty() || config.quic_port != Some(own) {
            return Some(own);
        }
        let telling = || self.votes.iter().filter(|(_, it)| it.quic_port.is_some());
        let networks: BTreeSet<Netgroup> = telling().map(|(_, vote)| vote.network()).collect();
        let mut voices: BTreeMap<u16, BTreeSet<(Netgroup, Option<&NodeKey>)>> = BTreeMap::new();
        for (voter, vote) in telling() {
            if let Some(port) = vote.quic_port {
                // Peers of one network are one voice, unless all there are are.
                let voice = (vote.network(), (networks.len() == 1).then_some(voter));
                voices.entry(port).or_default().insert(voice);
            }
        }
        let all: usize = voices.values().map(BTreeSet::len).sum();
        let counts = voices
            .into_iter()
            .map(|(port, voices)| (port, voices.len()));
        let most = counts.max_by_key(|(_, count)| *count);
        let is_most = |(_, count): &(u16, usize)| *count >= 2 && count * 2 > all;
        Some(most.filter(is_most).map_or(own, |(port, _)| port))
    }

    /// Where others see our QUIC links go out from, what most networks say first.
    pub(super) fn quic_endpoints(&self, config: &Config) -> Vec<(IpAddr, u16)> {
        if config.quic_port.is_none() {
            return Vec::new();
        }
        let mut networks: BTreeMap<(IpAddr, u16), BTreeSet<Netgroup>> = BTreeMap::new();
        for (_, vote) in self.votes.iter() {
            if let Some(port) = vote.quic_port {
                let of_place = networks.entry((vote.ip, port)).or_default();
                of_place.insert(vote.network());
            }
        }
        let mut places: Vec<((IpAddr, u16), BTreeSet<Netgroup>)> = networks.into_iter().collect();
        places.sort_by_key(|(_, networks)| core::cmp::Reverse(networks.len()));
        places.into_iter().map(|(place, _)| place).collect()
    }

    /// Forgets what peers said that went long ago: we may be elsewhere now.
    pub(super) fn forget_votes(&mut self, now: Time, roster: &Roster) {
        let voters: Vec<NodeKey> = self.votes.iter().map(|(voter, _)| *voter).collect();
        for voter in voters {
            if roster.is_ours(&voter) {
                // Votes of those who are here are forgotten last.
                if let Some(vote) = self.votes.get(&voter) {
                    vote.at = now;
                }
            } else if let Some(vote) = self.votes.peek(&voter)
                && now.since(vote.at) > VOTE_LIFE
            {
                self.votes.remove(&voter);
            }
        }
    }

    /// Whether an address is gone. What peers saw before is then worth nothing.
    pub(super) fn set_interfaces(&mut self, ips: Vec<IpAddr>) -> bool {
        let mut before = core::mem::replace(&mut self.interfaces, ips).into_iter();
        let is_gone = before.any(|ip| !self.interfaces.contains(&ip));
        if is_gone {
            self.votes = Lru::new(VOTES_MAX);
            self.outside.clear();
        }
        is_gone
    }

    /// Whether those outside see us at another public address than before, as when a router gets another. More networks
    /// have to name the new one than the old, so that hosts with two are not taken for moving, and the old one has to have
    /// stood for a while, so that one peer which names ever new ones does not keep us busy.
    pub(super) fn has_moved(&mut self, config: &Config, roster: &Roster, now: Time) -> bool {
        let mut networks = self.networks(roster);
        let observed = self.observed(roster).into_iter();
        let found = observed.filter(|ip| {
            let is_own = self.interfaces.contains(ip) || config.bound_ips.contains(ip);
            scope(ip) == Scope::World && !is_own
        });
        let mut first: BTreeMap<bool, IpAddr> = BTreeMap::new();
        for ip in found {
            first.entry(ip.is_ipv4()).or_insert(ip);
        }
        let mut here = |ip: &IpAddr| networks.remove(ip).map_or(0, |(here, _)| here.len());
        let mut has_moved = false;
        for (is_ipv4, ip) in first {
            let before = self.outside.get(&is_ipv4);
            let is_new = before.is_none_or(|(before, since)| {
                let is_settled = now.since(*since) >= MOVE_PAUSE;
                *before != ip && is_settled && here(&ip) > here(before)
            });
            if is_new {
                has_moved |= self.outside.insert(is_ipv4, (ip, now)).is_some();
            }
        }
        has_moved
    }

    pub(super) fn set_routes(&mut self, routes: Vec<PeerAddr>) {
        self.routes = routes;
    }

    /// How many relays lead to us, deployed ones included.
    pub(super) fn relays(&self) -> u32 {
        self.routes.iter().chain(&self.tunnel).count() as u32
    }

    pub(super) fn set_tunnel(&mut self, tunnel: Option<PeerAddr>) {
        self.tunnel = tunnel;
    }

    /// Our addresses, the best first, those through relays last. First are those that the user named. Listeners bound to
    /// certain addresses are at those; else the most observed addresses come before those of our interfaces. Who is found
    /// through relays cannot be dialled from outside, so these ways take their room before all others.
    pub(super) fn addrs(&self, config: &Config, key: NodeKey, roster: &Roster) -> Vec<PeerAddr> {
        let with = |quic_port: Option<u16>| move |ip: &IpAddr| (*ip, quic_port);
        let mut places: Vec<(IpAddr, Option<u16>)> = config
            .bound_ips
            .iter()
            .map(with(config.quic_port))
            .collect();
        if places.is_empty() {
            let observed = self.observed(roster);
            let is_own = |ip: &&IpAddr| self.interfaces.contains(ip);
            places.extend(observed.iter().map(|ip| match is_own(&ip) {
                true => (*ip, config.quic_port),
                false => (*ip, self.quic_port(config)),
            }));
            places.extend(self.interfaces.iter().map(with(config.quic_port)));
        }
        let mut seen: Vec<(IpAddr, Option<u16>)> = Vec::new();
        for (ip, quic_port) in places {
            let is_new = seen.iter().all(|(other, _)| *other != ip);
            if !ip.is_unspecified() && is_new && seen.len() < OWN_IPS_MAX {
                seen.push((ip, quic_port));
            }
        }
        let through_relays = self.routes.iter().chain(&self.tunnel);
        let room = OWN_ADDRS_MAX.saturating_sub(through_relays.clone().count());
        let found = seen.into_iter().flat_map(|(ip, quic_port)| {
            let ports = [
                (Transport::Quic, quic_port),
                (Transport::Tcp, config.tcp_port),
            ];
            ports.into_iter().filter_map(move |(transport, port)| {
                Some(PeerAddr {
                    ip,
                    port: port?,
                    transport,
                    key: Some(key),
                    relay_via: None,
                })
            })
        });
        let mut found: Vec<PeerAddr> = found.collect();
        if found.len() > room {
            // Any interface may be the one on the network of who dials; one transport is enough there.
            found.sort_by_key(|addr| addr.transport == Transport::Tcp);
        }
        let mut addrs: Vec<PeerAddr> = Vec::new();
        for addr in announced(config, key).chain(found) {
            if addrs.len() < room && !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        addrs.extend(through_relays.cloned());
        addrs
    }

    /// Whether somebody at this address is on our own network, or behind the same router, so that being reached from there
    /// says nothing of others.
    pub(super) fn is_near(&self, config: &Config, roster: &Roster, ip: IpAddr) -> bool {
        let is_own = |own: &IpAddr| subscriber(*own) == subscriber(ip);
        let mut bound = config.bound_ips.iter().chain(&self.interfaces);
        scope(&ip) != Scope::World || bound.any(is_own) || self.observed(roster).iter().any(is_own)
    }

    /// Whether we listen there ourselves for certain: what peers observe may be the address of a router.
    pub(super) fn is_listening_at(&self, config: &Config, addr: &PeerAddr) -> bool {
        let port = match addr.transport {
            Transport::Quic => config.quic_port,
            Transport::Tcp => config.tcp_port,
        };
        let ip = addr.ip.to_canonical();
        let mut own = config.bound_ips.iter().chain(&self.interfaces);
        let is_announced = |own: &PeerAddr| {
            (own.ip.to_canonical(), own.port, own.transport) == (ip, addr.port, addr.transport)
        };
        port == Some(addr.port) && own.any(|own| own.to_canonical() == ip)
            || config.announced.iter().any(is_announced)
    }

    /// Where peers see us.
    pub(super) fn observed_views(&self, roster: &Roster) -> Vec<ObservedView> {
        let view = |(ip, (_, all), is_believed): (IpAddr, Networks, bool)| ObservedView {
            ip,
            networks: all.len() as u32,
            is_believed,
        };
        self.weighed(roster).into_iter().map(view).collect()
    }

    /// Where peers saw us, as far as that is believed, the best first.
    fn observed(&self, roster: &Roster) -> Vec<IpAddr> {
        let weighed = self.weighed(roster).into_iter();
        let believed = weighed.filter(|(_, _, is_believed)| *is_believed);
        believed.map(|(ip, _, _)| ip).collect()
    }

    /// Where peers saw us and whether it is believed, what most networks of those say who are here now first. Where two
    /// agree on an address, others of its family and scope that one network alone names are not believed, unless they are
    /// of our interfaces. Where no two do, any may be right.
    fn weighed(&self, roster: &Roster) -> Vec<(IpAddr, Networks, bool)> {
        let networks = self.networks(roster);
        let is_anybody_here = networks.values().any(|(here, _)| !here.is_empty());
        let kind = |ip: &IpAddr| (ip.is_ipv4(), scope(ip));
        let agreed = networks.iter().filter(|(_, (here, all))| {
            let speaking = if is_anybody_here { here } else { all };
            speaking.len() > 1
        });
        let agreed: BTreeSet<(bool, Scope)> = agreed.map(|(ip, _)| kind(ip)).collect();
        let weigh = |(ip, (here, all)): (IpAddr, Networks)| {
            let is_alone = all.len() == 1 && !self.interfaces.contains(&ip);
            (ip, (here, all), !(is_alone && agreed.contains(&kind(&ip))))
        };
        let mut weighed: Vec<(IpAddr, Networks, bool)> = networks.into_iter().map(weigh).collect();
        weighed.sort_by_key(|(_, (here, all), _)| core::cmp::Reverse((here.len(), all.len())));
        weighed
    }

    /// By address, who sees us there.
    fn networks(&self, roster: &Roster) -> BTreeMap<IpAddr, Networks> {
        let mut networks: BTreeMap<IpAddr, Networks> = BTreeMap::new();
        for (voter, vote) in self.votes.iter() {
            let (here, all) = networks.entry(vote.ip).or_default();
            all.insert(vote.network());
            if roster.is_ours(voter) {
                here.insert(vote.network());
            }
        }
        networks
    }
}

/// The addresses that the user named, with our key.
fn announced(config: &Config, key: NodeKey) -> impl Iterator<Item = PeerAddr> {
    let dialable = config.announced.iter().filter(|addr| addr.is_dialable());
    dialable.map(move |addr| PeerAddr {
        key: Some(key),
        ..addr.clone()
    })
}

#[cfg(any(test, feature = "check"))]
impl OwnAddrs {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        self.votes.check("votes for own addresses", broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::session::Session;
    use core::net::Ipv4Addr;

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))
    }

    /// A peer of a network of its own.
    fn peer(number: u8) -> (NodeKey, IpAddr) {
        let from = Ipv4Addr::new(20, number, 0, 1);
        (NodeKey([number; 32]), from.into())
    }

    /// Another of the same network as the peer of this number.
    fn beside(number: u8, other: u8) -> (NodeKey, IpAddr) {
        (NodeKey([other; 32]), peer(number).1)
    }

    fn ips(own: &OwnAddrs, roster: &Roster) -> Vec<IpAddr> {
        let config = Config {
            quic_port: Some(7),
            ..Config::default()
        };
        let addrs = own.addrs(&config, NodeKey([0; 32]), roster);
        addrs.iter().map(|addr| addr.ip).collect()
    }

    fn connected(keys: &[u8]) -> Roster {
        let mut roster = Roster::default();
        for key in keys {
            let session = Session::dialled(LinkId((*key).into()), Some(1), Time(0));
            roster.add(NodeKey([*key; 32]), session);
        }
        roster
    }

    #[test]
    fn the_most_observed_address_comes_first_unless_bound() {
        let mut own = OwnAddrs::default();
        let roster = Roster::default();
        own.set_interfaces([ip(9)].into());
        for (voter, seen) in [(1, 1), (2, 2), (3, 2)] {
            own.vote(peer(voter), ip(seen), None, Time(0));
        }
        assert_eq!(ips(&own, &roster), [ip(2), ip(9)], "one voice against two");
        let config = Config {
            quic_port: Some(7),
            bound_ips: [ip(4)].into(),
            ..Config::default()
        };
        let bound = own.addrs(&config, NodeKey([0; 32]), &roster);
        assert_eq!((bound.len(), bound[0].ip, bound[0].port), (1, ip(4), 7));
    }

    #[test]
    fn who_is_here_now_is_believed_before_those_who_went() {
        let mut own = OwnAddrs::default();
        for voter in 1..=3 {
            own.vote(peer(voter), ip(1), None, Time(0));
        }
        own.vote(peer(4), ip(2), None, Time(1));
        let roster = connected(&[4]);
        assert_eq!(ips(&own, &roster), [ip(2), ip(1)]);
        let late = Time(1) + VOTE_LIFE + Duration::from_secs(1);
        own.forget_votes(late, &roster);
        assert_eq!(ips(&own, &roster), [ip(2)]);
        assert_eq!(ips(&own, &Roster::default()), [ip(2)], "for a while");
        own.forget_votes(
            late + VOTE_LIFE + Duration::from_secs(1),
            &Roster::default(),
        );
        assert!(ips(&own, &Roster::default()).is_empty());
    }

    #[test]
    fn however_many_voted_before_a_new_vote_counts() {
        let mut own = OwnAddrs::default();
        for voter in 0..=VOTES_MAX as u8 {
            own.vote(peer(voter), ip(1), None, Time(0));
        }
        own.vote(peer(255), ip(2), None, Time(1));
        assert_eq!(ips(&own, &connected(&[255])), [ip(2), ip(1)]);
    }

    #[test]
    fn one_network_alone_is_believed_only_while_no_two_agree() {
        let mut own = OwnAddrs::default();
        own.vote(peer(1), ip(1), Some(7000), Time(0));
        let here = connected(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(ips(&own, &here), [ip(1)], "there is no other");
        for key in [4, 5, 6] {
            own.vote(beside(1, key), ip(1), Some(7000), Time(0));
        }
        own.vote(peer(2), ip(2), Some(9000), Time(0));
        let mut disputed = ips(&own, &here);
        disputed.sort_unstable();
        assert_eq!(disputed, [ip(1), ip(2)], "either may be right");
        own.vote(peer(3), ip(2), Some(9000), Time(0));
        assert_eq!(ips(&own, &here), [ip(2)], "most networks");
        let config = Config {
            quic_port: Some(7),
            ..Config::default()
        };
        assert_eq!(own.quic_port(&config), Some(9000));
        assert_eq!(own.quic_endpoints(&config)[0], (ip(2), 9000));
    }

    #[test]
    fn those_on_our_own_network_do_not_outvote_who_sees_us_from_outside() {
        let mut own = OwnAddrs::default();
        let inside: IpAddr = Ipv4Addr::new(192, 168, 0, 7).into();
        for number in [2, 3] {
            let near = Ipv4Addr::new(192, 160 + number, 0, 8).into();
            own.vote((NodeKey([number; 32]), near), inside, None, Time(0));
        }
        own.vote(peer(1), ip(1), None, Time(0));
        assert_eq!(ips(&own, &connected(&[1, 2, 3])), [inside, ip(1)]);
    }

    #[test]
    fn a_peer_that_names_ever_new_addresses_moves_us_once_a_minute_at_most() {
        let mut own = OwnAddrs::default();
        let config = Config::default();
        let here = connected(&[1]);
        let mut moves = 0;
        for second in 0..=180 {
            let now = Time(0) + Duration::from_secs(second);
            own.vote(peer(1), ip(second as u8), None, now);
            moves += u32::from(own.has_moved(&config, &here, now));
        }
        assert_eq!(moves, 3);
    }

    #[test]
    fn what_the_user_announces_comes_first_with_our_key_if_it_can_be_dialled() {
        let mut own = OwnAddrs::default();
        own.set_interfaces([ip(9)].into());
        let addr = |ip: IpAddr, port, transport| PeerAddr {
            ip,
            port,
            transport,
            key: None,
            relay_via: None,
        };
        let config = Config {
            quic_port: Some(7),
            tcp_port: Some(8),
            announced: [
                addr(Ipv4Addr::UNSPECIFIED.into(), 443, Transport::Tcp),
                addr(ip(1), 443, Transport::Tcp),
                addr(ip(9), 7, Transport::Quic),
            ]
            .into(),
            ..Config::default()
        };
        let key = NodeKey([5; 32]);
        let found = own.addrs(&config, key, &Roster::default());
        let places: Vec<_> = found.iter().map(|addr| (addr.ip, addr.port)).collect();
        assert_eq!(places, [(ip(1), 443), (ip(9), 7), (ip(9), 8)]);
        assert_eq!(config.outer_port(Transport::Tcp), Some(443));
        assert!(found.iter().all(|addr| addr.key == Some(key)));
        assert!(own.is_listening_at(&config, &addr(ip(1), 443, Transport::Tcp)));
        assert!(!own.is_listening_at(&config, &addr(ip(1), 443, Transport::Quic)));
    }
}
