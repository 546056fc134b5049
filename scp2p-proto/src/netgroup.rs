//! Which addresses are likely to be somebody's together.

use core::net::{IpAddr, Ipv6Addr};

/// What tells networks apart: the first two bytes of IPv4 addresses, and those of IPv6 ones that tell providers apart.
pub(crate) fn netgroup(ip: IpAddr) -> [u8; 2] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            [a, b]
        }
        IpAddr::V6(ip) => {
            let [_, _, a, b, ..] = ip.octets();
            [a, b]
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
