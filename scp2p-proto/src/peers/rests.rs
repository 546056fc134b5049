//! Addresses that are left alone for a while, so that nobody has us dial others again and again.

use core::net::IpAddr;
use core::time::Duration;

use super::dials::Way;
use crate::id::NodeKey;
use crate::io::{Dial, Host, Transport};
use crate::limits::RESTING_ADDRS_MAX;
use crate::lru::Lru;
use crate::time::Time;
use crate::wire::PeerAddr;

/// How long an address that was dialled because somebody named it is left alone.
const REST: Duration = Duration::from_secs(60);

/// The addresses dialled lately because somebody named them, whatever the peers that were named
/// with them: else whoever makes up keys could have us dial a third party without end.
pub(super) struct Rests {
    dialled: Lru<Place, Dialled>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    ip: IpAddr,
    port: u16,
    transport: Transport,
}

#[derive(Debug)]
struct Dialled {
    at: Time,
    /// Who showed itself there in the place of who was named.
    found: Option<NodeKey>,
}

impl Default for Rests {
    fn default() -> Rests {
        Rests {
            dialled: Lru::new(RESTING_ADDRS_MAX),
        }
    }
}

impl Rests {
    /// Until when this way must not be gone.
    pub(super) fn until(&self, way: &Way, now: Time) -> Option<Time> {
        let place = Place::of(&way.dial).filter(|_| !way.is_vouched)?;
        self.place_until(&place, way.expected, now)
    }

    /// Until when a peer must not be dialled at an address where it was never reached.
    pub(super) fn addr_until(&self, addr: &PeerAddr, peer: NodeKey, now: Time) -> Option<Time> {
        let place = Place::new(addr.ip, addr.port, addr.transport);
        self.place_until(&place, Some(peer), now)
    }

    fn place_until(&self, place: &Place, expected: Option<NodeKey>, now: Time) -> Option<Time> {
        let dialled = self.dialled.peek(place)?;
        let is_found = dialled.found.is_some() && dialled.found == expected;
        let until = dialled.at + REST;
        (!is_found && until > now).then_some(until)
    }

    /// The way is gone now.
    pub(super) fn dialled(&mut self, way: &Way, now: Time) {
        if let Some(place) = Place::of(&way.dial).filter(|_| !way.is_vouched) {
            let found = self.dialled.remove(&place).and_then(|last| last.found);
            self.dialled.insert(place, Dialled { at: now, found });
        }
    }

    /// Somebody else than who was named is there; it need not wait because of those who were not.
    pub(super) fn found(&mut self, dial: &Dial, key: NodeKey) {
        if let Some(place) = Place::of(dial)
            && let Some(dialled) = self.dialled.get(&place)
        {
            dialled.found = Some(key);
        }
    }
}

impl Place {
    /// An IPv4 address within an IPv6 one is the same place.
    fn new(ip: IpAddr, port: u16, transport: Transport) -> Place {
        let ip = ip.to_canonical();
        Place {
            ip,
            port,
            transport,
        }
    }

    fn of(dial: &Dial) -> Option<Place> {
        match dial.host {
            Host::Ip(ip) => Some(Place::new(ip, dial.port, dial.transport)),
            Host::Name(_) => None,
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Rests {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        self.dialled.check("addresses dialled lately", broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::dials::{Dials, Goal, Next};
    use crate::session::{HandshakeError, LinkFailure, ProfileMemory};
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn addr(port: u16) -> PeerAddr {
        PeerAddr {
            ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            port,
            transport: Transport::Quic,
            key: None,
            relay_via: None,
        }
    }

    fn way(port: u16, key: u8) -> Way {
        let memory = ProfileMemory::new();
        Way::to_addr(&addr(port), Some(NodeKey([key; 32])), true, &memory)
    }

    /// Begins an attempt and works off what is due; gives the links that are dialled.
    fn attempt(dials: &mut Dials, way: Way, now: Time) -> Vec<(crate::id::LinkId, Dial)> {
        let goal = Goal::Peer(way.expected.expect("a key"));
        dials.begin(goal, Vec::from([way]), now);
        let mut links = Vec::new();
        while let Some(next) = dials.next(now) {
            match next {
                Next::Dial(link, dial, _) => links.push((link, dial)),
                Next::Circuit { .. } | Next::Ended(_) => {}
            }
        }
        links
    }

    #[test]
    fn who_was_met_or_found_there_need_not_wait() {
        let mut dials = Dials::default();
        let dialled = attempt(&mut dials, way(7, 1), Time(0));
        let (expected, found) = (NodeKey([1; 32]), NodeKey([2; 32]));
        let error = HandshakeError::WrongKey { expected, found };
        assert_eq!(dialled.len(), 1);
        assert!(attempt(&mut dials, way(7, 2), Time(1)).is_empty());
        dials.failed(dialled[0].0, &LinkFailure::Handshake(error));
        assert!(attempt(&mut dials, way(7, 3), Time(2)).is_empty());
        assert_eq!(attempt(&mut dials, way(7, 2), Time(2)).len(), 1);
        let met = Way {
            is_vouched: true,
            ..way(7, 4)
        };
        assert_eq!(attempt(&mut dials, met, Time(3)).len(), 1);
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let mut rests = Rests::default();
        rests.dialled(&way(7, 1), Time(0));
        let mapped = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201);
        let mut other = way(7, 2);
        other.dial.host = Host::Ip(IpAddr::V6(mapped));
        assert_eq!(rests.until(&other, Time(1)), Some(Time(0) + REST));
        other.dial.transport = Transport::Tcp;
        assert_eq!(rests.until(&other, Time(1)), None);
    }

    proptest! {
        // However many keys are named at an address, it is dialled once a minute, and it is dialled
        // when it has rested.
        #[test]
        fn a_named_address_is_dialled_once_a_minute(steps in vec((0u8..40, 0u16..3, 0u64..30), 1..120)) {
            let mut dials = Dials::default();
            let mut last: BTreeMap<u16, Time> = BTreeMap::new();
            let mut now = Time(1);
            for (key, port, seconds) in steps {
                now = now + SECOND * seconds as u32;
                let links = attempt(&mut dials, way(port, key), now);
                let rested = last.get(&port).is_none_or(|at| now.since(*at) >= REST);
                prop_assert_eq!(links.len(), usize::from(rested));
                for (link, dial) in links {
                    last.insert(dial.port, now);
                    dials.failed(link, &LinkFailure::TimedOut);
                }
                while dials.next(now).is_some() {}
            }
        }
    }
}
