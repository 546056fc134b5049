//! Identifiers, each a newtype (SPECIFICATION §3).

use core::fmt;
use core::str::FromStr;

use alloc::string::String;
use sha2::{Digest, Sha256};

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseIdError {
    /// The text has not exactly two hex digits per byte.
    Length,
    /// A character is not a hex digit.
    Digit,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseIdError::Length => f.write_str("not of the right length for an identifier"),
            ParseIdError::Digit => f.write_str("not all characters are hex digits"),
        }
    }
}

impl core::error::Error for ParseIdError {}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(ParseIdError::Length);
    }
    let mut bytes = [0; N];
    let (pairs, _) = digits.as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let high = char::from(*high).to_digit(16).ok_or(ParseIdError::Digit)?;
        let low = char::from(*low).to_digit(16).ok_or(ParseIdError::Digit)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Lower-case hex of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From a slice of exactly [`Self::LEN`] bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        /// The first four bytes, enough to tell ids apart in a trace.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                write_hex(f, &self.0[..4])?;
                f.write_str("..)")
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

bytes_id!(
    /// A node's Ed25519 public key.
    NodeKey, 32
);
bytes_id!(
    /// The first 20 bytes of SHA-256 of a node's key: its place in the DHT.
    NodeId, 20
);
bytes_id!(
    /// A share's Ed25519 public key.
    ShareKey, 32
);
bytes_id!(
    /// SHA-256 of a share's key.
    ShareId, 32
);
bytes_id!(
    /// BLAKE3 of a file's bytes.
    ContentId, 32
);
bytes_id!(
    /// BLAKE3 of a manifest's identified form (SPECIFICATION §5.2).
    ManifestId, 32
);
bytes_id!(
    /// Where a value lies in the DHT.
    DhtKey, 32
);

impl NodeKey {
    /// The DHT id of this key.
    pub fn node_id(&self) -> NodeId {
        let digest: [u8; 32] = Sha256::digest(self.0).into();
        let (id, _) = digest
            .split_first_chunk()
            .expect("32 bytes are more than 20");
        NodeId(*id)
    }
}

impl ShareKey {
    /// The id of this share.
    pub fn share_id(&self) -> ShareId {
        ShareId(Sha256::digest(self.0).into())
    }
}

impl DhtKey {
    /// The routing target of this key: its first 20 bytes.
    pub fn target(&self) -> NodeId {
        let mut id = [0; 20];
        id.copy_from_slice(&self.0[..20]);
        NodeId(id)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    };
}

number_id!(
    /// A link. Ids of accepted links are chosen by the driver and have bit 63 set and bit 62 clear, ids of dialled
    /// links are chosen by the node and have both clear. The node gives ids with bit 62 set to its circuits, of which
    /// drivers learn nothing.
    LinkId
);

impl LinkId {
    const CIRCUIT: u64 = 1 << 62;
    const TUNNEL: u64 = 1 << 60;

    /// The link of a circuit, of which this is the number.
    pub(crate) fn circuit(number: u64) -> LinkId {
        LinkId(number | LinkId::CIRCUIT)
    }

    /// The link of a circuit that others opened.
    pub(crate) fn accepted_circuit(number: u64) -> LinkId {
        LinkId::circuit(number | 1 << 61)
    }

    /// The link to the owner of a deployed relay's slot; for drivers it is a circuit.
    pub(crate) fn tunnel(number: u64) -> LinkId {
        LinkId::circuit(number | LinkId::TUNNEL)
    }

    pub(crate) fn is_tunnel(self) -> bool {
        self.is_circuit() && self.0 & LinkId::TUNNEL != 0
    }

    pub(crate) fn is_circuit(self) -> bool {
        self.0 & LinkId::CIRCUIT != 0
    }
}

/// A circuit among those between a relay and one peer, chosen by the relay (SPECIFICATION §11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitId(pub u32);

number_id!(
    /// A command of the local application, chosen by the driver, answered once.
    OpId
);
number_id!(
    /// A load asked of the driver, answered once.
    LoadId
);
number_id!(
    /// A piece write asked of the driver, answered once.
    WriteId
);
number_id!(
    /// A commit asked of the driver, answered once.
    CommitId
);
number_id!(
    /// A download of the local application.
    DownloadId
);
impl NodeKey {
    /// A name for the slot of a relay, in the place of the key of whoever is asked or asks through it, who proves none. It
    /// is nobody's key, as nobody can make a key that is a certain hash.
    pub(crate) fn of_slot(relay: &NodeKey, slot: RelaySlotId) -> NodeKey {
        NodeKey::of_nobody(relay, b"slot", slot.0)
    }

    /// The same for a tunnel of ours at a relay, which is this link.
    pub(crate) fn of_tunnel(relay: &NodeKey, link: LinkId) -> NodeKey {
        NodeKey::of_nobody(relay, b"link", link.0)
    }

    fn of_nobody(relay: &NodeKey, what: &[u8; 4], number: u64) -> NodeKey {
        let of = [&relay.0[..], what, &number.to_be_bytes()].concat();
        NodeKey(blake3::derive_key("scp2p tunnel 2026 name of nobody", &of))
    }
}

number_id!(
    /// A place at a relay under which its owner is reached, chosen at random by the relay; never 0.
    RelaySlotId
);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_and_back() {
        let id = ShareId([0xa5; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a5".parse::<ShareId>(), Err(ParseIdError::Length));
        assert_eq!("zz".repeat(32).parse::<ShareId>(), Err(ParseIdError::Digit));
    }
}
