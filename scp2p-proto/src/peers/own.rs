//! Where we can be reached, as others see us.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::config::Config;
use crate::id::NodeKey;
use crate::io::Transport;
use crate::limits::{OWN_IPS_MAX, VOTES_MAX};
use crate::wire::PeerAddr;

/// What speaks for our addresses: what we are bound to, what peers observe, what interfaces have.
#[derive(Default)]
pub(super) struct OwnAddrs {
    /// The address at which each peer saw us.
    votes: BTreeMap<NodeKey, IpAddr>,
    interfaces: Vec<IpAddr>,
}

impl OwnAddrs {
    /// A peer saw us at this address.
    pub(super) fn vote(&mut self, voter: NodeKey, ip: IpAddr) {
        if self.votes.len() < VOTES_MAX || self.votes.contains_key(&voter) {
            self.votes.insert(voter, ip);
        }
    }

    pub(super) fn set_interfaces(&mut self, ips: Vec<IpAddr>) {
        self.interfaces = ips;
    }

    /// Our addresses, the best first. Listeners bound to certain addresses are at those; else the
    /// most observed addresses come before those of our interfaces.
    pub(super) fn addrs(&self, config: &Config, key: NodeKey) -> Vec<PeerAddr> {
        let mut ips = config.bound_ips.clone();
        if ips.is_empty() {
            ips = self.observed();
            ips.extend(self.interfaces.iter().copied());
        }
        let mut seen: Vec<IpAddr> = Vec::new();
        for ip in ips {
            if !ip.is_unspecified() && !seen.contains(&ip) && seen.len() < OWN_IPS_MAX {
                seen.push(ip);
            }
        }
        let ports = [
            (Transport::Quic, config.quic_port),
            (Transport::Tcp, config.tcp_port),
        ];
        seen.into_iter()
            .flat_map(|ip| {
                ports.into_iter().filter_map(move |(transport, port)| {
                    Some(PeerAddr {
                        ip,
                        port: port?,
                        transport,
                        key: Some(key),
                        relay_via: None,
                    })
                })
            })
            .collect()
    }

    fn observed(&self) -> Vec<IpAddr> {
        let mut counts: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for ip in self.votes.values() {
            *counts.entry(*ip).or_default() += 1;
        }
        let mut ips: Vec<(IpAddr, u32)> = counts.into_iter().collect();
        ips.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
        ips.into_iter().map(|(ip, _)| ip).collect()
    }
}

#[cfg(any(test, feature = "check"))]
impl OwnAddrs {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most("votes for own addresses", self.votes.len(), VOTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))
    }

    #[test]
    fn the_most_observed_address_comes_first_unless_bound() {
        let mut own = OwnAddrs::default();
        own.set_interfaces([ip(9)].into());
        own.vote(NodeKey([1; 32]), ip(1));
        own.vote(NodeKey([2; 32]), ip(2));
        own.vote(NodeKey([3; 32]), ip(2));
        let mut config = Config {
            quic_port: Some(7),
            ..Config::default()
        };
        let ips: Vec<IpAddr> = own
            .addrs(&config, NodeKey([0; 32]))
            .iter()
            .map(|addr| addr.ip)
            .collect();
        assert_eq!(ips, [ip(2), ip(1), ip(9)]);
        config.bound_ips = [ip(4)].into();
        let bound = own.addrs(&config, NodeKey([0; 32]));
        assert_eq!((bound.len(), bound[0].ip, bound[0].port), (1, ip(4), 7));
    }
}
