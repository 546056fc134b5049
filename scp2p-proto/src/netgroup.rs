//! What an address says of where it is.

use core::net::{IpAddr, Ipv6Addr};

/// What tells networks apart: who has one can easily have all of its addresses, but hardly many of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Netgroup {
    /// The first two bytes.
    V4([u8; 2]),
    /// The first four, which is what providers are given.
    V6([u8; 4]),
}

impl Netgroup {
    /// An IPv4 address within an IPv6 one is of the network of the former.
    pub(crate) fn of(ip: IpAddr) -> Netgroup {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                Netgroup::V4([a, b])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.octets();
                Netgroup::V6([a, b, c, d])
            }
        }
    }
}

/// What somebody has one of: an IPv4 address, or the first half of IPv6 ones.
pub(crate) fn subscriber(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Who can dial an address, from few to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Programs of the same host.
    Host,
    /// Those in the same private network.
    Site,
    /// Everybody, unless something is in between.
    World,
}

/// However it is written: an IPv4 address within an IPv6 one is dialled as what it is.
pub(crate) fn scope(ip: &IpAddr) -> Scope {
    let ip = ip.to_canonical();
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match (ip.is_loopback(), is_local) {
        (true, _) => Scope::Host,
        (false, true) => Scope::Site,
        (false, false) => Scope::World,
    }
}
