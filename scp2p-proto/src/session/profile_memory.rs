//! Which hello profile worked with whom (SPECIFICATION §1.1).

use core::net::SocketAddr;

use crate::id::NodeKey;
use crate::limits::PROFILES_MAX;
use crate::lru::Lru;
use crate::wire::Profile;

/// The order without knowledge: our own nodes and the newest deployed ones first, the most
/// widely deployed older release next.
const DEFAULT_ORDER: [Profile; 3] = [Profile::C, Profile::A, Profile::B];

/// The profile that worked per node key and per address. When full, what was confirmed
/// longest ago is forgotten; the next dial there may then take up to three connections.
#[derive(Debug)]
pub struct ProfileMemory {
    keys: Lru<NodeKey, Profile>,
    addrs: Lru<SocketAddr, Profile>,
}

impl Default for ProfileMemory {
    fn default() -> ProfileMemory {
        ProfileMemory {
            keys: Lru::new(PROFILES_MAX),
            addrs: Lru::new(PROFILES_MAX),
        }
    }
}

impl ProfileMemory {
    /// Nothing known yet.
    pub fn new() -> ProfileMemory {
        ProfileMemory::default()
    }

    /// A session with `key` came about in `profile`, over a link that was dialled to `addr`.
    pub fn worked(&mut self, key: NodeKey, addr: SocketAddr, profile: Profile) {
        self.keys.insert(key, profile);
        self.addrs.insert(addr, profile);
    }

    /// The profiles to try, each on a connection of its own: what worked with the expected
    /// key, then what worked at the address, then the rest.
    pub fn order(&self, expected: Option<NodeKey>, addr: SocketAddr) -> [Profile; 3] {
        let mut order = DEFAULT_ORDER;
        let of_addr = self.addrs.peek(&addr);
        let of_key = expected.and_then(|key| self.keys.peek(&key));
        for known in [of_addr, of_key].into_iter().flatten() {
            // A stable sort moves the known one to the front and keeps the rest in order.
            order.sort_by_key(|profile| profile != known);
        }
        order
    }
}

#[cfg(any(test, feature = "check"))]
impl ProfileMemory {
    pub(crate) fn check(&self, broken: &mut crate::check::Broken) {
        self.keys.check("profiles of peers", broken);
        self.addrs.check("profiles of addresses", broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Profile::{A, B, C};

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn key(n: u64) -> NodeKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        NodeKey(bytes)
    }

    #[test]
    fn what_worked_comes_first() {
        let mut memory = ProfileMemory::new();
        assert_eq!(memory.order(Some(key(1)), addr(1)), [C, A, B]);
        memory.worked(key(1), addr(1), B);
        memory.worked(key(2), addr(2), A);
        assert_eq!(memory.order(Some(key(1)), addr(9)), [B, C, A]);
        assert_eq!(memory.order(None, addr(1)), [B, C, A]);
        assert_eq!(
            memory.order(Some(key(2)), addr(1)),
            [A, B, C],
            "the key counts more than the address"
        );
        memory.worked(key(1), addr(1), C);
        assert_eq!(memory.order(Some(key(1)), addr(1)), [C, A, B]);
    }

    #[test]
    fn bounded_and_the_longest_unconfirmed_goes() {
        let mut memory = ProfileMemory::new();
        memory.worked(key(0), addr(0), A);
        memory.worked(key(1), addr(1), A);
        for n in 2..PROFILES_MAX as u64 {
            memory.worked(key(n), addr(n as u16), A);
        }
        memory.worked(key(0), addr(0), A);
        memory.worked(key(u64::MAX), addr(u16::MAX), A);
        assert_eq!(memory.keys.len(), PROFILES_MAX);
        assert_eq!(memory.addrs.len(), PROFILES_MAX);
        assert_eq!(memory.order(Some(key(0)), addr(1)), [A, C, B]);
        assert_eq!(memory.order(Some(key(1)), addr(1)), [C, A, B]);
    }
}
