//! How far ids are from each other.

use crate::id::NodeId;

/// Bits of a node id, and so the number of buckets of a routing table.
pub(super) const ID_BITS: u32 = NodeId::LEN as u32 * 8;

/// The exclusive or of two ids, as a big-endian number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance([u8; NodeId::LEN]);

impl Distance {
    /// The distance between two ids; zero only between an id and itself.
    pub fn between(one: &NodeId, other: &NodeId) -> Distance {
        let mut bytes = one.0;
        bytes
            .iter_mut()
            .zip(other.0)
            .for_each(|(byte, other)| *byte ^= other);
        Distance(bytes)
    }

    /// How many leading bits the two ids share; `None` if they share all.
    pub fn common_prefix(&self) -> Option<u32> {
        let (zeros, byte) = (0u32..).zip(self.0).find(|(_, byte)| *byte != 0)?;
        Some(zeros * 8 + byte.leading_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bits_are_counted_from_the_front() {
        let id = |first: u8, last: u8| {
            let mut bytes = [0; 20];
            (bytes[0], bytes[19]) = (first, last);
            NodeId(bytes)
        };
        let prefix = |one, other| Distance::between(&one, &other).common_prefix();
        assert_eq!(prefix(id(0, 0), id(0, 0)), None);
        assert_eq!(prefix(id(0x80, 0), id(0, 0)), Some(0));
        assert_eq!(prefix(id(0x81, 0), id(0x80, 0)), Some(7));
        assert_eq!(prefix(id(5, 1), id(5, 0)), Some(ID_BITS - 1));
        assert!(Distance::between(&id(0, 1), &id(0, 0)) < Distance::between(&id(1, 0), &id(0, 0)));
    }
}
