//! The peers to start from: configured, added, or hinted at by links.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::dials::{Goal, Way};
use super::{BACK_OFF_MAX, BACK_OFF_MIN, Peers, Timer};
use crate::command::{CommandError, Reply};
use crate::cx::Cx;
use crate::id::{NodeKey, OpId};
use crate::limits::BOOTSTRAPS_MAX;
use crate::storage::Table;
use crate::time::Time;
use crate::wire::BootstrapAddr;
use crate::wish::Wish;

/// All bootstrap peers and the keys seen first at their addresses.
#[derive(Default)]
pub(super) struct Bootstraps {
    list: Vec<Bootstrap>,
    pins: BTreeMap<String, NodeKey>,
}

struct Bootstrap {
    addr: BootstrapAddr,
    /// Whom to insist on: the key given, else the one seen first.
    expected: Option<NodeKey>,
    peer: Option<NodeKey>,
    back_off: Duration,
}

impl Bootstraps {
    /// Adds an address and gives its number; none if there is no room. One known already need not wait
    /// any longer: whoever names it again wants it tried now.
    pub(super) fn add(&mut self, addr: BootstrapAddr) -> Option<usize> {
        let mut numbered = self.list.iter_mut().enumerate();
        if let Some((number, known)) = numbered.find(|(_, known)| known.addr == addr) {
            known.back_off = BACK_OFF_MIN;
            return Some(number);
        }
        if self.list.len() >= BOOTSTRAPS_MAX {
            return None;
        }
        let pin = || self.pins.get(&addr.to_string()).copied();
        self.list.push(Bootstrap {
            expected: addr.key.or_else(pin),
            addr,
            peer: None,
            back_off: BACK_OFF_MIN,
        });
        Some(self.list.len() - 1)
    }

    /// Whether the peer is connected as a bootstrap peer.
    pub(super) fn is_peer(&self, peer: &NodeKey) -> bool {
        self.list
            .iter()
            .any(|bootstrap| bootstrap.peer == Some(*peer))
    }

    /// The peer's last session ended; gives its numbers, as several addresses may be its.
    pub(super) fn down(&mut self, peer: &NodeKey) -> Vec<usize> {
        let numbered = self.list.iter_mut().enumerate();
        let its = numbered.filter(|(_, bootstrap)| bootstrap.peer == Some(*peer));
        its.map(|(number, bootstrap)| {
            bootstrap.peer = None;
            number
        })
        .collect()
    }

    /// Numbers of the addresses at which this peer is expected.
    pub(super) fn numbers_of(&self, peer: &NodeKey) -> impl Iterator<Item = usize> {
        let numbered = self.list.iter().enumerate();
        let its = move |(_, bootstrap): &(usize, &Bootstrap)| bootstrap.expected == Some(*peer);
        numbered.filter(its).map(|(number, _)| number)
    }

    pub(super) fn unconnected(&self) -> Vec<usize> {
        let numbered = self.list.iter().enumerate();
        numbered
            .filter(|(_, bootstrap)| bootstrap.peer.is_none())
            .map(|(number, _)| number)
            .collect()
    }

    /// The address whose pinned key somebody else does not have; `None` if the user gave the key.
    pub(super) fn pinned_address(&self, number: usize) -> Option<String> {
        self.list
            .get(number)
            .map(|bootstrap| bootstrap.addr.to_string())
    }

    pub(super) fn restore_pin(&mut self, key: &Bytes, value: &Bytes) {
        if let (Ok(address), Some(pin)) = (core::str::from_utf8(key), NodeKey::from_slice(value)) {
            self.pins.insert(address.to_string(), pin);
        }
    }
}

impl Peers {
    pub(crate) fn on_add_bootstrap(&mut self, cx: &mut Cx<'_>, op: OpId, addr: BootstrapAddr) {
        let result = match self.add_bootstrap(cx, addr) {
            true => Ok(Reply::Ok),
            false => {
                let limit = BOOTSTRAPS_MAX as u32;
                Err(CommandError::LimitReached("bootstrap peers", limit))
            }
        };
        cx.done(op, result);
    }

    /// Keeps an address connected from now on; false if there are too many already.
    pub(crate) fn add_bootstrap(&mut self, cx: &mut Cx<'_>, addr: BootstrapAddr) -> bool {
        let number = self.bootstraps.add(addr);
        if let Some(number) = number {
            self.timers.set(Timer::Bootstrap(number), cx.now.mono);
        }
        number.is_some()
    }

    pub(super) fn dial_bootstrap(&mut self, cx: &mut Cx<'_>, number: usize) {
        let goal = Goal::Bootstrap(number);
        let Some(bootstrap) = self.bootstraps.list.get(number) else {
            return;
        };
        if bootstrap.peer.is_some() || self.dials.is_under_way(&goal) {
            return;
        }
        let expected = bootstrap.expected;
        if let Some(peer) = expected.filter(|peer| cx.roster.is_callable(peer)) {
            return self.bootstrap_up(cx, number, peer);
        }
        if expected == Some(cx.keys.public()) {
            return;
        }
        if let Some(at) = expected.and_then(|peer| self.head_start(number, peer, cx.now.mono)) {
            return self.timers.set(Timer::Bootstrap(number), at);
        }
        let ours = expected
            .and_then(|peer| self.book.peer(&peer))
            .is_some_and(|record| record.ours);
        let ways: Vec<Way> = bootstrap
            .addr
            .dials()
            .into_iter()
            .map(|dial| Way {
                is_vouched: true,
                ..Way::new(dial, expected, ours, &self.profiles)
            })
            .collect();
        self.dials.begin(goal, ways, cx.now.mono);
    }

    /// Until when the peer's other addresses have a head start before this one.
    fn head_start(&self, number: usize, peer: NodeKey, now: Time) -> Option<Time> {
        let others = self.bootstraps.numbers_of(&peer);
        let others = others.filter(|other| *other != number);
        others
            .map(Goal::Bootstrap)
            .chain([Goal::Peer(peer)])
            .filter_map(|goal| self.dials.head_start(&goal, now))
            .max()
    }

    pub(super) fn bootstrap_up(&mut self, cx: &mut Cx<'_>, number: usize, peer: NodeKey) {
        let Some(bootstrap) = self.bootstraps.list.get_mut(number) else {
            return;
        };
        bootstrap.peer = Some(peer);
        bootstrap.back_off = BACK_OFF_MIN;
        if bootstrap.expected.is_none() {
            bootstrap.expected = Some(peer);
            let address = bootstrap.addr.to_string();
            cx.put(Table::Pins, address.clone().into_bytes(), peer.0.to_vec());
            self.bootstraps.pins.insert(address, peer);
        }
        if cx.config.relays.contains(&bootstrap.addr) {
            cx.wish(Wish::NamedRelay(peer));
        }
        if !cx.roster.is_ours(&peer) {
            cx.wish(Wish::Hub(peer));
        }
    }

    pub(super) fn bootstrap_failed(&mut self, cx: &mut Cx<'_>, number: usize) {
        let Some(bootstrap) = self.bootstraps.list.get_mut(number) else {
            return;
        };
        let wait = self.rng.jitter(bootstrap.back_off);
        bootstrap.back_off = (bootstrap.back_off * 2).min(BACK_OFF_MAX / 5);
        self.timers
            .set(Timer::Bootstrap(number), cx.now.mono + wait);
    }
}

#[cfg(any(test, feature = "check"))]
impl Bootstraps {
    /// The number of each, whether it is ourselves, and who is connected as it.
    pub(super) fn states(
        &self,
        own: NodeKey,
    ) -> impl Iterator<Item = (usize, bool, Option<NodeKey>)> {
        let numbered = self.list.iter().enumerate();
        numbered.map(move |(number, bootstrap)| {
            let is_own = bootstrap.expected == Some(own);
            (number, is_own, bootstrap.peer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_named_again_is_the_same_and_need_not_wait() {
        let mut bootstraps = Bootstraps::default();
        let addr: BootstrapAddr = "quic://192.0.2.1:7000".parse().expect("an address");
        assert_eq!(bootstraps.add(addr.clone()), Some(0));
        bootstraps.list[0].back_off = BACK_OFF_MAX;
        assert_eq!(bootstraps.add(addr), Some(0));
        assert_eq!(bootstraps.list.len(), 1);
        assert_eq!(bootstraps.list[0].back_off, BACK_OFF_MIN);
    }

    #[test]
    fn a_peer_that_goes_leaves_all_its_addresses_to_be_dialled() {
        let mut bootstraps = Bootstraps::default();
        for addr in ["quic://192.0.2.1:7000", "tcp://192.0.2.1:7001"] {
            assert!(bootstraps.add(addr.parse().expect("an address")).is_some());
        }
        let peer = NodeKey([1; 32]);
        for bootstrap in &mut bootstraps.list {
            bootstrap.peer = Some(peer);
        }
        assert_eq!(bootstraps.down(&peer), [0, 1]);
        assert_eq!(bootstraps.unconnected(), [0, 1]);
    }
}
