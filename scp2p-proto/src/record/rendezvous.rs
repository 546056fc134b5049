//! Where relays announce themselves in the DHT (SPECIFICATION §6.1): sixteen places that change every hour, of which each
//! relay takes up to two.

use sha2::{Digest, Sha256};

use super::keys::derive;
use crate::id::{DhtKey, NodeKey};
use crate::time::UnixTime;

/// Length of the times between which the places change.
const HOUR_SECS: u64 = 3600;

/// A time during which the places stay the same: so many hours after the beginning of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RendezvousHour(pub u64);

impl RendezvousHour {
    /// The hour that this time is in.
    pub fn of(time: UnixTime) -> RendezvousHour {
        RendezvousHour(time.0 / HOUR_SECS)
    }

    /// The one before.
    pub fn before(self) -> RendezvousHour {
        RendezvousHour(self.0.saturating_sub(1))
    }

    /// The first second after it.
    pub fn ends(self) -> UnixTime {
        UnixTime(self.0.saturating_add(1).saturating_mul(HOUR_SECS))
    }

    /// The hour before, this one and the next: clocks differ, so an announcement may lie where its maker is in
    /// another hour.
    pub fn around(self) -> [RendezvousHour; 3] {
        [
            self.before(),
            self,
            RendezvousHour(self.0.saturating_add(1)),
        ]
    }
}

/// One of the places of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RendezvousSlot(u8);

impl RendezvousSlot {
    /// How many there are.
    pub const COUNT: u8 = 16;

    /// All of them, in order. Whoever looks for relays looks there.
    pub fn all() -> impl Iterator<Item = RendezvousSlot> {
        (0..RendezvousSlot::COUNT).map(RendezvousSlot)
    }

    /// Those in which a relay announces itself in an hour, which may be the same one twice.
    pub fn of(relay: &NodeKey, hour: RendezvousHour) -> [RendezvousSlot; 2] {
        [0_u8, 1].map(|which| {
            let digest: [u8; 32] = Sha256::new()
                .chain_update(relay.0)
                .chain_update(hour.0.to_be_bytes())
                .chain_update([which])
                .finalize()
                .into();
            // The last eight bytes count as a big-endian number, and its remainder is that of the last byte, as 256 is a
            // multiple of the number of slots.
            let [.., last] = digest;
            RendezvousSlot(last % RendezvousSlot::COUNT)
        })
    }

    /// Its number, below [`RendezvousSlot::COUNT`].
    pub fn number(self) -> u8 {
        self.0
    }
}

/// The key of a slot in an hour. Deployed nodes keep one value under it, so relays in the same slot displace each
/// other.
pub fn rendezvous_key(hour: RendezvousHour, slot: RendezvousSlot) -> DhtKey {
    let mut name = [0; 16];
    let (first, second) = name.split_at_mut(8);
    first.copy_from_slice(&hour.0.to_be_bytes());
    second.copy_from_slice(&u64::from(slot.0).to_be_bytes());
    derive(b"scp2p:relay:rendezvous", &name)
}
