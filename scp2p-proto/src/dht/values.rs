//! What is known of the values that we keep, without reading them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::provider_list::ProviderList;
use crate::id::{DhtKey, NodeId, ShareId, ShareKey};
use crate::limits::{SIGNERS_MAX, VALUES_BYTES_MAX, VALUES_MAX};
use crate::lru::Lru;
use crate::record::{ShareHead, head_key};
use crate::time::UnixTime;
use crate::wire::DecodeError;
use crate::wire::cbor::{Field, Reader, Writer};

/// The index of all kept values.
pub(super) struct Values {
    own: NodeId,
    metas: BTreeMap<DhtKey, Meta>,
    bytes: u64,
    /// Keys of shares, learnt from manifests and signed stores.
    signers: Lru<ShareId, ShareKey>,
}

/// What is known of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub kind: Kind,
    pub expires: UnixTime,
    /// When it was last stored by somebody or by us at others.
    pub refreshed: UnixTime,
    pub len: u32,
}

/// What kind of value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Head {
        share: ShareId,
        seq: u64,
        updated_at: UnixTime,
        signer: Option<ShareKey>,
    },
    Manifest {
        signer: ShareKey,
    },
    Providers,
}

impl Values {
    pub(super) fn new(own: NodeId) -> Values {
        Values {
            own,
            metas: BTreeMap::new(),
            bytes: 0,
            signers: Lru::new(SIGNERS_MAX),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.metas.len()
    }

    /// A value that is still to be given out.
    pub(super) fn live(&self, key: &DhtKey, now: UnixTime) -> Option<&Meta> {
        self.metas.get(key).filter(|meta| meta.expires > now)
    }

    /// The key of a share, if it was learnt lately or its head is kept.
    pub(super) fn signer(&self, share: &ShareId) -> Option<ShareKey> {
        let known = self.signers.peek(share).copied();
        known.or_else(|| match &self.metas.get(&head_key(share))?.kind {
            Kind::Head { signer, .. } => *signer,
            Kind::Manifest { .. } | Kind::Providers => None,
        })
    }

    /// The key of the share that the head or manifest under this key is of.
    pub(super) fn signer_of(&self, key: &DhtKey) -> Option<ShareKey> {
        match &self.metas.get(key)?.kind {
            Kind::Head { share, signer, .. } => signer.or_else(|| self.signer(share)),
            Kind::Manifest { .. } | Kind::Providers => None,
        }
    }

    /// A row as the value that others get; `None` if nothing of it stands any more.
    pub(super) fn read(&self, key: &DhtKey, row: &Bytes, now: UnixTime) -> Option<Bytes> {
        match self.live(key, now)?.kind {
            Kind::Head { .. } | Kind::Manifest { .. } => Some(row.clone()),
            Kind::Providers => Some(ProviderList::decode(row).ok()?.record(now)?.encode().into()),
        }
    }

    /// The key of a share, proven by its id.
    pub(super) fn learn(&mut self, signer: ShareKey) {
        self.signers.insert(signer.share_id(), signer);
    }

    /// Whether this head should take the place of what is kept: verified ones go before others, then
    /// the newer one wins. A lower sequence never replaces a higher one of its kind; the same head
    /// again does, since that is how its owner prolongs its time.
    pub(super) fn accepts_head(
        &self,
        key: &DhtKey,
        head: &ShareHead,
        verified: bool,
        now: UnixTime,
    ) -> bool {
        match self.live(key, now).map(|meta| &meta.kind) {
            Some(Kind::Head {
                seq,
                updated_at,
                signer,
                ..
            }) => {
                let kept = (signer.is_some(), *seq, *updated_at);
                (verified, head.latest_seq, head.updated_at) >= kept
            }
            Some(Kind::Manifest { .. } | Kind::Providers) | None => true,
        }
    }

    /// Keeps a value, or gives it back among the keys that had to go if it is one without a place.
    pub(super) fn insert(&mut self, key: DhtKey, meta: Meta, now: UnixTime) -> Vec<DhtKey> {
        match meta.kind {
            Kind::Manifest { signer }
            | Kind::Head {
                signer: Some(signer),
                ..
            } => self.learn(signer),
            Kind::Head { signer: None, .. } | Kind::Providers => {}
        }
        let mut gone = Vec::new();
        self.remove(&key);
        if self.is_full(meta.len) {
            gone = self.expire(now);
        }
        while self.is_full(meta.len) {
            // The value farthest from us is the one that others should keep.
            let farthest = self.metas.keys().max_by_key(|key| distance(&self.own, key));
            let farther = |other: &&DhtKey| distance(&self.own, other) > distance(&self.own, &key);
            let Some(farthest) = farthest.filter(farther).copied() else {
                gone.push(key);
                return gone;
            };
            self.remove(&farthest);
            gone.push(farthest);
        }
        self.bytes += u64::from(meta.len);
        self.metas.insert(key, meta);
        gone
    }

    pub(super) fn remove(&mut self, key: &DhtKey) -> bool {
        let Some(meta) = self.metas.remove(key) else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(u64::from(meta.len));
        true
    }

    /// Forgets all values whose time is over.
    pub(super) fn expire(&mut self, now: UnixTime) -> Vec<DhtKey> {
        let over: Vec<DhtKey> = self
            .metas
            .iter()
            .filter(|(_, meta)| meta.expires <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in &over {
            self.remove(key);
        }
        over
    }

    /// The values that nobody stored for longest, if that was before `since`; they count as stored now.
    pub(super) fn take_stale(
        &mut self,
        since: UnixTime,
        now: UnixTime,
        most: usize,
    ) -> Vec<(DhtKey, Meta)> {
        let mut stale: Vec<(UnixTime, DhtKey)> = self
            .metas
            .iter()
            .filter(|(_, meta)| meta.refreshed < since && meta.expires > now)
            .map(|(key, meta)| (meta.refreshed, *key))
            .collect();
        stale.sort_unstable();
        stale
            .into_iter()
            .take(most)
            .filter_map(|(_, key)| {
                let meta = self.metas.get_mut(&key)?;
                meta.refreshed = now;
                Some((key, meta.clone()))
            })
            .collect()
    }

    fn is_full(&self, more: u32) -> bool {
        self.metas.len() >= VALUES_MAX
            || self.bytes.saturating_add(u64::from(more)) > VALUES_BYTES_MAX
    }
}

impl Meta {
    pub(super) fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.map(5);
        w.uint(0u8).uint(self.expires.0);
        w.uint(1u8).uint(self.refreshed.0);
        w.uint(2u8).uint(self.len);
        w.uint(3u8);
        match &self.kind {
            Kind::Head {
                share,
                seq,
                updated_at,
                signer,
            } => {
                w.uint(0u8).uint(4u8).map(4);
                w.uint(0u8)
                    .bytes(&share.0)
                    .uint(1u8)
                    .uint(*seq)
                    .uint(2u8)
                    .uint(updated_at.0);
                w.uint(3u8).option(*signer, |w, signer| {
                    w.bytes(&signer.0);
                });
            }
            Kind::Manifest { signer } => {
                w.uint(1u8).uint(4u8).bytes(&signer.0);
            }
            Kind::Providers => {
                w.uint(2u8).uint(4u8).null();
            }
        }
        w.finish().into()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Meta, DecodeError> {
        let (mut expires, mut refreshed) = (Field::new("expires"), Field::new("refreshed"));
        let (mut len, mut code, mut kind) =
            (Field::new("len"), Field::new("kind"), Field::new("detail"));
        let mut which = None;
        Reader::new(row).int_map(|key, r| match key {
            0 => expires.first(r, Reader::time),
            1 => refreshed.first(r, Reader::time),
            2 => len.first(r, Reader::u32),
            3 => code.first(r, |r, name| {
                let code = r.u8(name)?;
                which = Some(code);
                Ok(code)
            }),
            4 => match which {
                Some(0) => kind.first(r, |r, _| read_head(r)),
                Some(1) => kind.first(r, |r, name| {
                    Ok(Kind::Manifest {
                        signer: ShareKey(r.octets(name)?),
                    })
                }),
                Some(_) | None => r.skip(),
            },
            _ => r.skip(),
        })?;
        let kind = match code.required()? {
            2 => Kind::Providers,
            _ => kind.required()?,
        };
        Ok(Meta {
            kind,
            expires: expires.required()?,
            refreshed: refreshed.required()?,
            len: len.required()?,
        })
    }
}

fn read_head(r: &mut Reader<'_>) -> Result<Kind, DecodeError> {
    let (mut share, mut seq) = (Field::new("share"), Field::new("seq"));
    let (mut updated_at, mut signer) = (Field::new("updated_at"), Field::new("signer"));
    r.int_map(|key, r| match key {
        0 => share.first(r, Reader::octets),
        1 => seq.first(r, Reader::u64),
        2 => updated_at.first(r, Reader::time),
        3 => signer.first(r, Reader::octets),
        _ => r.skip(),
    })?;
    Ok(Kind::Head {
        share: ShareId(share.required()?),
        seq: seq.required()?,
        updated_at: updated_at.required()?,
        signer: signer.optional().map(ShareKey),
    })
}

fn distance(own: &NodeId, key: &DhtKey) -> [u8; 20] {
    let target = key.target();
    let mut distance = own.0;
    for (byte, of_target) in distance.iter_mut().zip(target.0) {
        *byte ^= of_target;
    }
    distance
}

#[cfg(any(test, feature = "check"))]
impl Values {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most("values", self.metas.len(), VALUES_MAX);
        broken.unless(self.bytes <= VALUES_BYTES_MAX, || {
            alloc::format!("the values have {} bytes", self.bytes)
        });
        let bytes = self.metas.values().map(|meta| u64::from(meta.len)).sum();
        broken.equal(
            "bytes of values, as counted and as they are",
            self.bytes,
            bytes,
        );
        self.signers.check("keys of shares", broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ManifestId;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn head(seq: u64) -> ShareHead {
        ShareHead {
            share: ShareId([1; 32]),
            latest_seq: seq,
            latest_manifest: ManifestId([2; 32]),
            updated_at: NOW,
            signature: [0; 64],
        }
    }

    fn head_meta(seq: u64, signer: Option<ShareKey>) -> Meta {
        let kind = Kind::Head {
            share: ShareId([1; 32]),
            seq,
            updated_at: NOW,
            signer,
        };
        Meta {
            kind,
            expires: NOW.plus(10),
            refreshed: NOW,
            len: 300,
        }
    }

    #[test]
    fn a_lower_sequence_never_replaces_a_higher_one_and_a_verified_head_beats_any_other() {
        let key = DhtKey([7; 32]);
        let mut values = Values::new(NodeId([0; 20]));
        assert_eq!(values.insert(key, head_meta(5, None), NOW), []);
        assert!(!values.accepts_head(&key, &head(4), false, NOW));
        assert!(values.accepts_head(&key, &head(6), false, NOW));
        assert!(values.accepts_head(&key, &head(1), true, NOW));
        let verified = head_meta(1, Some(ShareKey([3; 32])));
        assert_eq!(values.insert(key, verified, NOW), []);
        assert!(!values.accepts_head(&key, &head(u64::MAX), false, NOW));
    }

    #[test]
    fn a_full_store_keeps_what_is_near() {
        let mut values = Values::new(NodeId([0; 20]));
        for n in 0..VALUES_MAX as u32 {
            let mut key = DhtKey([0x80; 32]);
            key.0[10..14].copy_from_slice(&n.to_be_bytes());
            assert_eq!(values.insert(key, head_meta(1, None), NOW), []);
        }
        let far = DhtKey([0xff; 32]);
        assert_eq!(values.insert(far, head_meta(1, None), NOW), [far]);
        let near = values.insert(DhtKey([0x01; 32]), head_meta(1, None), NOW);
        assert_eq!(near.len(), 1);
        assert_eq!(values.len(), VALUES_MAX);
    }

    #[test]
    fn a_flood_of_keys_pushes_out_old_ones_and_none_of_a_kept_head() {
        let mut values = Values::new(NodeId([0; 20]));
        let key = |n: u32| {
            let mut key = ShareKey([0; 32]);
            key.0[..4].copy_from_slice(&n.to_be_bytes());
            key
        };
        let share = key(0).share_id();
        let kind = Kind::Head {
            share,
            seq: 1,
            updated_at: NOW,
            signer: Some(key(0)),
        };
        let meta = Meta {
            kind,
            ..head_meta(1, None)
        };
        values.insert(head_key(&share), meta, NOW);
        for n in 1..=SIGNERS_MAX as u32 + 1 {
            values.learn(key(n));
        }
        assert_eq!(values.signers.len(), SIGNERS_MAX);
        let newest = key(SIGNERS_MAX as u32 + 1);
        assert_eq!(values.signer(&newest.share_id()), Some(newest));
        assert_eq!(values.signer(&key(1).share_id()), None);
        assert_eq!(values.signer(&share), Some(key(0)));
    }

    #[test]
    fn a_meta_survives_its_row() {
        let manifest = Kind::Manifest {
            signer: ShareKey([4; 32]),
        };
        for kind in [
            head_meta(9, None).kind,
            head_meta(9, Some(ShareKey([3; 32]))).kind,
            manifest,
            Kind::Providers,
        ] {
            let meta = Meta {
                kind,
                ..head_meta(0, None)
            };
            assert_eq!(Meta::decode(&meta.encode()), Ok(meta));
        }
    }
}
