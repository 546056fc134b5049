//! How many accepted connections may be in their handshake.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::{HALF_OPEN_MAX, HALF_OPEN_PER_IP_MAX};

/// Counts accepted connections whose handshake is not finished.
#[derive(Debug, Default)]
pub(crate) struct HalfOpen {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
}

impl HalfOpen {
    /// How many there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Whether one more from this address is too many.
    pub(crate) fn is_full(&self, ip: IpAddr) -> bool {
        let of_ip = self.per_ip.get(&group(ip)).copied().unwrap_or(0);
        self.total >= HALF_OPEN_MAX || (of_ip >= HALF_OPEN_PER_IP_MAX && !is_loopback(ip))
    }

    /// Counts one.
    pub(crate) fn add(&mut self, ip: IpAddr) {
        self.total += 1;
        *self.per_ip.entry(group(ip)).or_default() += 1;
    }

    /// Takes back one that was counted.
    pub(crate) fn remove(&mut self, ip: IpAddr) {
        self.total -= 1;
        if let Some(count) = self.per_ip.get_mut(&group(ip)) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&group(ip));
            }
        }
    }
}

/// Whether an address is this host's own, also when an IPv6 socket shows it.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// What one party is likely to hold: an IPv4 address, an IPv6 network of 64 bits.
fn group(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A party is bounded by itself, however many addresses of its network it uses; loopback
    /// only by the total; and what is taken back leaves nothing behind.
    #[test]
    fn one_party_cannot_shut_others_out() {
        let mut half_open = HalfOpen::default();
        let of = |n: u128| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | n));
        for n in 0..HALF_OPEN_PER_IP_MAX as u128 {
            assert!(!half_open.is_full(of(n)));
            half_open.add(of(n));
        }
        assert!(half_open.is_full(of(1 << 63)));
        assert!(!half_open.is_full(of(1 << 64)));
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().expect("an address");
        for _ in HALF_OPEN_PER_IP_MAX..HALF_OPEN_MAX {
            assert!(!half_open.is_full(mapped));
            half_open.add(mapped);
        }
        assert!(half_open.is_full(mapped));
        for n in 0..HALF_OPEN_PER_IP_MAX as u128 {
            half_open.remove(of(n));
        }
        for _ in HALF_OPEN_PER_IP_MAX..HALF_OPEN_MAX {
            half_open.remove(mapped);
        }
        assert_eq!(half_open.total(), 0);
        assert!(half_open.per_ip.is_empty());
    }
}
