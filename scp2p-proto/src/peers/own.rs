//! Where we can be reached, as others see us.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::config::Config;
use crate::id::NodeKey;
use crate::io::Transport;
use crate::limits::{OWN_ADDRS_MAX, OWN_IPS_MAX, VOTES_MAX};
use crate::lru::Lru;
use crate::netgroup::{Scope, scope, subscriber};
use crate::session::Roster;
use crate::time::Time;
use crate::wire::PeerAddr;

/// How long the vote of a peer that has gone counts.
const VOTE_LIFE: Duration = Duration::from_secs(600);

/// What speaks for our addresses: what we are bound to, what peers observe, what interfaces have.
pub(super) struct OwnAddrs {
    votes: Lru<NodeKey, Vote>,
    interfaces: Vec<IpAddr>,
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
    /// When the peer was known to be connected last.
    at: Time,
}

impl Default for OwnAddrs {
    fn default() -> OwnAddrs {
        OwnAddrs {
            votes: Lru::new(VOTES_MAX),
            interfaces: Vec::new(),
            routes: Vec::new(),
            tunnel: None,
        }
    }
}

impl OwnAddrs {
    /// A peer saw us at this address.
    pub(super) fn vote(&mut self, voter: NodeKey, ip: IpAddr, quic_port: Option<u16>, now: Time) {
        let vote = Vote {
            ip,
            quic_port,
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
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        for port in self.votes.iter().filter_map(|(_, vote)| vote.quic_port) {
            *counts.entry(port).or_default() += 1;
        }
        let all: usize = counts.values().sum();
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let is_most = |(_, count): &(u16, usize)| *count >= 2 && count * 2 > all;
        Some(most.filter(is_most).map_or(own, |(port, _)| port))
    }

    /// Where others see our QUIC links go out from, what most say first.
    pub(super) fn quic_endpoints(&self, config: &Config) -> Vec<(IpAddr, u16)> {
        if config.quic_port.is_none() {
            return Vec::new();
        }
        let mut counts: BTreeMap<(IpAddr, u16), usize> = BTreeMap::new();
        for (_, vote) in self.votes.iter() {
            if let Some(port) = vote.quic_port {
                *counts.entry((vote.ip, port)).or_default() += 1;
            }
        }
        let mut places: Vec<((IpAddr, u16), usize)> = counts.into_iter().collect();
        places.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
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
        }
        is_gone
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
    pub(super) fn is_near(&self, config: &Config, ip: IpAddr) -> bool {
        let of = subscriber(ip);
        let mut own = config.bound_ips.iter().chain(&self.interfaces);
        let is_seen = |(_, vote): (_, &Vote)| subscriber(vote.ip) == of;
        scope(&ip) != Scope::World
            || own.any(|own| subscriber(*own) == of)
            || self.votes.iter().any(is_seen)
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

    /// Where peers saw us, what most of those say who are here now first.
    fn observed(&self, roster: &Roster) -> Vec<IpAddr> {
        let mut counts: BTreeMap<IpAddr, (u32, u32)> = BTreeMap::new();
        for (voter, vote) in self.votes.iter() {
            let (here, all) = counts.entry(vote.ip).or_default();
            *here += u32::from(roster.is_ours(voter));
            *all += 1;
        }
        let mut ips: Vec<(IpAddr, (u32, u32))> = counts.into_iter().collect();
        ips.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
        ips.into_iter().map(|(ip, _)| ip).collect()
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
            own.vote(NodeKey([voter; 32]), ip(seen), None, Time(0));
        }
        assert_eq!(ips(&own, &roster), [ip(2), ip(1), ip(9)]);
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
            own.vote(NodeKey([voter; 32]), ip(1), None, Time(0));
        }
        own.vote(NodeKey([4; 32]), ip(2), None, Time(1));
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
            own.vote(NodeKey([voter; 32]), ip(1), None, Time(0));
        }
        own.vote(NodeKey([255; 32]), ip(2), None, Time(1));
        assert_eq!(ips(&own, &connected(&[255])), [ip(2), ip(1)]);
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
