//! Which addresses are likely to be somebody's together.

use core::net::IpAddr;

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
