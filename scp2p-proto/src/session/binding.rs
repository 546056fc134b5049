//! Channel binding inside a hello's nonce (SPECIFICATION §3.4).
//!
//! A hello is signed, but nothing in it depends on the TLS connection it travels on, so
//! somebody who terminates TLS on both sides could pass genuine hellos through and read
//! along. A nonce of ours therefore carries a proof that its signer saw this very
//! connection. To deployed peers it is a nonce like any other.

use crate::id::NodeKey;

/// What this node can do beyond the deployed protocol, told in its nonces.
pub const EXTENSION_LEVEL: u8 = 1;

const MARKER: &[u8; 4] = b"scpx";
/// Marker, level and randomness: what the tag covers.
const STEM_LEN: usize = 16;

/// Which end of a link speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that opened the link.
    Initiator,
    /// The end that accepted it.
    Responder,
}

/// Whether a session is tied to the TLS connection that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// The remote proved that it is the other end of this connection.
    Bound {
        /// What the remote can do beyond the deployed protocol.
        level: u8,
    },
    /// The remote proved nothing, as deployed peers do: somebody may sit in between.
    Unbound,
}

/// The remote signed a proof for another connection: somebody sits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intercepted;

/// The nonce by which `key`, in `role`, proves to be an end of the connection that
/// `exporter` was taken from.
pub fn make_nonce(exporter: &[u8; 32], role: Role, key: &NodeKey, random: [u8; 11]) -> [u8; 32] {
    let mut stem = [0; STEM_LEN];
    stem[..4].copy_from_slice(MARKER);
    stem[4] = EXTENSION_LEVEL;
    stem[5..].copy_from_slice(&random);
    let mut nonce = [0; 32];
    nonce[..STEM_LEN].copy_from_slice(&stem);
    nonce[STEM_LEN..].copy_from_slice(&tag(exporter, role, key, &stem));
    nonce
}

/// What the nonce that `key` signed in `role` says about the connection that `exporter`
/// was taken from. Only meaningful once the signature was found right.
///
/// A deployed peer's random nonce starts with the marker once in 2^32 hellos; it is then
/// refused, and accepted with the next nonce.
pub fn check(
    nonce: &[u8; 32],
    exporter: &[u8; 32],
    role: Role,
    key: &NodeKey,
) -> Result<Binding, Intercepted> {
    let (stem, proof) = nonce
        .split_first_chunk::<STEM_LEN>()
        .expect("a nonce is longer than its stem");
    if !stem.starts_with(MARKER) {
        Ok(Binding::Unbound)
    } else if proof == tag(exporter, role, key, stem) {
        Ok(Binding::Bound { level: stem[4] })
    } else {
        Err(Intercepted)
    }
}

fn tag(exporter: &[u8; 32], role: Role, key: &NodeKey, stem: &[u8; STEM_LEN]) -> [u8; 16] {
    let role = match role {
        Role::Initiator => 0,
        Role::Responder => 1,
    };
    let mut hasher = blake3::Hasher::new_keyed(exporter);
    hasher.update(&[role]).update(key.as_bytes()).update(stem);
    let mut tag = [0; 16];
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: NodeKey = NodeKey([3; 32]);

    proptest! {
        /// A nonce is bound for the connection, role and key it was made for and for no other.
        #[test]
        fn bound_to_one_connection_role_and_key(exporter: [u8; 32], other: [u8; 32], random: [u8; 11]) {
            prop_assume!(exporter != other);
            let nonce = make_nonce(&exporter, Role::Initiator, &KEY, random);
            let bound = Ok(Binding::Bound { level: EXTENSION_LEVEL });
            prop_assert_eq!(check(&nonce, &exporter, Role::Initiator, &KEY), bound);
            prop_assert_eq!(check(&nonce, &other, Role::Initiator, &KEY), Err(Intercepted));
            prop_assert_eq!(check(&nonce, &exporter, Role::Responder, &KEY), Err(Intercepted));
            prop_assert_eq!(check(&nonce, &exporter, Role::Initiator, &NodeKey(other)), Err(Intercepted));
        }

        /// No changed bit leaves a nonce bound: behind the marker it shows interception, in
        /// the marker it makes the nonce that of a deployed peer.
        #[test]
        fn every_bit_counts(exporter: [u8; 32], random: [u8; 11], bit in 0_usize..256) {
            let mut nonce = make_nonce(&exporter, Role::Responder, &KEY, random);
            nonce[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 32 { Ok(Binding::Unbound) } else { Err(Intercepted) };
            prop_assert_eq!(check(&nonce, &exporter, Role::Responder, &KEY), expected);
        }
    }

    #[test]
    fn layout() {
        let nonce = make_nonce(&[7; 32], Role::Responder, &KEY, [9; 11]);
        assert_eq!(&nonce[..5], b"scpx\x01");
        assert_eq!(nonce[5..16], [9; 11]);
        let mut covered = [1; 49];
        covered[1..33].copy_from_slice(KEY.as_bytes());
        covered[33..].copy_from_slice(&nonce[..16]);
        assert_eq!(
            nonce[16..],
            blake3::keyed_hash(&[7; 32], &covered).as_bytes()[..16]
        );
    }

    #[test]
    fn higher_levels_are_told() {
        let mut stem = [0; STEM_LEN];
        stem[..4].copy_from_slice(MARKER);
        stem[4] = 200;
        let mut nonce = [0; 32];
        nonce[..STEM_LEN].copy_from_slice(&stem);
        nonce[STEM_LEN..].copy_from_slice(&tag(&[1; 32], Role::Initiator, &KEY, &stem));
        assert_eq!(
            check(&nonce, &[1; 32], Role::Initiator, &KEY),
            Ok(Binding::Bound { level: 200 })
        );
    }
}
