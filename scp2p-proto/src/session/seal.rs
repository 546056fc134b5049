//! What makes a circuit private: its frames are sealed records (SPECIFICATION §11.4).
//!
//! A link over TLS is private by itself. A circuit is carried by a relay, so both ends seal what
//! they send under keys that only they can know: those of the handshake that went over it.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};

use super::binding::Role;
use crate::io::Frame;
use crate::limits::RECORD_MAX;

const INITIATOR_CONTEXT: &str = "scp2p circuit 2026 initiator's records";
const RESPONDER_CONTEXT: &str = "scp2p circuit 2026 responder's records";
const NEXT_CONTEXT: &str = "scp2p circuit 2026 next key";

/// Bytes that sealing adds to a record.
const TAG_LEN: usize = 16;
/// So many records go under one key.
const RECORDS_PER_KEY: u64 = 1 << 16;

/// The keys of one end of a circuit.
pub(super) struct Seal {
    own: Direction,
    theirs: Direction,
}

/// The record was made by somebody else, or one before it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forged;

/// Records from one end to the other: each has its number as the nonce.
struct Direction {
    key: [u8; 32],
    cipher: ChaCha20Poly1305,
    number: u64,
}

impl Seal {
    /// The keys of the end in `role`, out of the secret of the handshake.
    pub(super) fn new(secret: &[u8; 32], role: Role) -> Seal {
        let initiator = Direction::new(blake3::derive_key(INITIATOR_CONTEXT, secret));
        let responder = Direction::new(blake3::derive_key(RESPONDER_CONTEXT, secret));
        let (own, theirs) = match role {
            Role::Initiator => (initiator, responder),
            Role::Responder => (responder, initiator),
        };
        Seal { own, theirs }
    }

    /// How many records a frame becomes.
    pub(super) fn records(frame: &Frame) -> usize {
        frame.len().div_ceil(RECORD_MAX - TAG_LEN)
    }

    /// How many bytes they have.
    pub(super) fn sealed_len(frame: &Frame) -> usize {
        frame.len() + Seal::records(frame) * TAG_LEN
    }

    /// A frame as records of at most [`RECORD_MAX`] bytes.
    pub(super) fn seal(&mut self, frame: &Frame) -> Vec<Bytes> {
        let plain_max = RECORD_MAX - TAG_LEN;
        let mut records = Vec::with_capacity(Seal::records(frame));
        let mut record = Vec::new();
        let mut left = frame.len();
        for mut piece in [frame.head.as_ref(), frame.body.as_ref()] {
            while !piece.is_empty() {
                if record.is_empty() {
                    record.reserve_exact(left.min(plain_max) + TAG_LEN);
                }
                let (part, rest) = piece.split_at(piece.len().min(plain_max - record.len()));
                record.extend_from_slice(part);
                piece = rest;
                left -= part.len();
                if record.len() == plain_max || left == 0 {
                    records.push(self.own.seal(core::mem::take(&mut record)));
                }
            }
        }
        records
    }

    /// What is in the next record of the other end.
    pub(super) fn open(&mut self, record: Bytes) -> Result<Bytes, Forged> {
        self.theirs.open(record)
    }
}

impl Direction {
    fn new(key: [u8; 32]) -> Direction {
        Direction {
            key,
            cipher: ChaCha20Poly1305::new(&Key::from(key)),
            number: 0,
        }
    }

    fn seal(&mut self, mut record: Vec<u8>) -> Bytes {
        let nonce = self.nonce();
        self.cipher
            .encrypt_in_place(&nonce, &[], &mut record)
            .expect("a record is far shorter than what the cipher takes");
        record.into()
    }

    fn open(&mut self, record: Bytes) -> Result<Bytes, Forged> {
        if record.len() > RECORD_MAX {
            return Err(Forged);
        }
        let nonce = self.nonce();
        let mut record = record
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        match self.cipher.decrypt_in_place(&nonce, &[], &mut record) {
            Ok(()) => Ok(record.freeze()),
            Err(_) => Err(Forged),
        }
    }

    /// The nonce of the next record, under a new key when the old one has sealed enough.
    fn nonce(&mut self) -> Nonce {
        if self.number == RECORDS_PER_KEY {
            *self = Direction::new(blake3::derive_key(NEXT_CONTEXT, &self.key));
        }
        let number = u128::from(self.number).to_le_bytes();
        self.number += 1;
        let (nonce, _) = number
            .split_first_chunk::<12>()
            .expect("sixteen bytes are more than twelve");
        Nonce::from(*nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::hex;
    use alloc::vec;
    use proptest::prelude::*;

    fn ends() -> (Seal, Seal) {
        let secret = [7; 32];
        (
            Seal::new(&secret, Role::Initiator),
            Seal::new(&secret, Role::Responder),
        )
    }

    fn frame(head: usize, body: usize) -> Frame {
        Frame {
            head: vec![1; head].into(),
            body: vec![2; body].into(),
        }
    }

    fn opened(seal: &mut Seal, records: Vec<Bytes>) -> Result<Vec<u8>, Forged> {
        let mut plain = Vec::new();
        for record in records {
            plain.extend_from_slice(&seal.open(record)?);
        }
        Ok(plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What one end seals the other opens, whatever the lengths of the pieces.
        #[test]
        fn sealed_frames_are_opened(head in 1_usize..100, body in 0_usize..300_000) {
            let (mut one, mut other) = ends();
            let frame = frame(head, body);
            let records = one.seal(&frame);
            prop_assert!(records.iter().all(|record| record.len() <= RECORD_MAX));
            prop_assert_eq!(records.len(), Seal::records(&frame));
            let sealed: usize = records.iter().map(Bytes::len).sum();
            prop_assert_eq!(sealed, Seal::sealed_len(&frame));
            let whole = [&frame.head[..], &frame.body[..]].concat();
            prop_assert_eq!(opened(&mut other, records), Ok(whole));
        }

        /// No record is opened that was changed in any bit or has another place among the others.
        #[test]
        fn a_changed_record_is_refused(at in 0_usize..300, bit in 0_u8..8) {
            let (mut one, mut other) = ends();
            let record = one.seal(&frame(4, 280)).remove(0);
            let mut changed = record.to_vec();
            changed[at] ^= 1 << bit;
            prop_assert_eq!(other.open(changed.into()), Err(Forged));
        }
    }

    /// What other implementations of RFC 8439 make of the same bytes: a short record, and the longest one, for which the
    /// processor's widest instructions are used.
    #[test]
    fn records_are_those_of_the_standard() {
        let (mut one, _) = ends();
        let short = one.seal(&frame(4, 20)).remove(0);
        assert_eq!(
            hex(&short),
            "e2612cad83bf3fdd9dedae3efdaf6e5f2d1a03930cee2282de24a5c2720727c52dcf4dfcd9b1c7fe"
        );
        let longest = one.seal(&frame(4, RECORD_MAX - TAG_LEN - 4)).remove(0);
        assert_eq!(longest.len(), RECORD_MAX);
        assert_eq!(
            blake3::hash(&longest).to_hex().as_str(),
            "9b959877fb8c854c555fb68f8b51ef74bff181e755fc57ec80886b5b9fb8e58e"
        );
    }

    #[test]
    fn a_record_counts_once_and_in_its_place() {
        let (mut one, mut other) = ends();
        let records: Vec<Bytes> = (1..=3).flat_map(|n| one.seal(&frame(n, 0))).collect();
        let (_, mut late) = ends();
        assert_eq!(late.open(records[1].clone()), Err(Forged), "one is missing");
        assert!(other.open(records[0].clone()).is_ok());
        assert_eq!(other.open(records[0].clone()), Err(Forged), "replayed");
    }

    /// A relay that sends a record back to its sender, or gives it to somebody else, gives it to nobody.
    #[test]
    fn a_record_is_for_the_other_end_alone() {
        let (mut one, _) = ends();
        let record = one.seal(&frame(4, 10)).remove(0);
        assert_eq!(one.open(record.clone()), Err(Forged));
        let mut stranger = Seal::new(&[8; 32], Role::Responder);
        assert_eq!(stranger.open(record), Err(Forged));
    }

    #[test]
    fn keys_change_and_the_ends_stay_together() {
        let (mut one, mut other) = ends();
        let first = one.own.key;
        for _ in 0..=RECORDS_PER_KEY {
            let records = one.seal(&frame(4, 0));
            assert!(opened(&mut other, records).is_ok());
        }
        assert_ne!(one.own.key, first);
        assert_eq!((one.own.number, other.theirs.number), (1, 1));
    }
}
