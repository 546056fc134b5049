//! Which heads of a subscribed share are believed, and which of them to fetch next.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::event::ShareRejection;
use crate::id::{ManifestId, NodeKey, ShareKey};
use crate::limits::{CANDIDATE_SOURCES_MAX, CANDIDATES_MAX, REFUSED_MANIFESTS_MAX};
use crate::record::ShareHead;
use crate::time::Time;

/// The best heads of a share that are newer than what we hold and whose manifests we lack. All are signed
/// by the share's key.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Best first.
    list: Vec<Candidate>,
    /// Manifests found to be wrong for good; heads that lead to them are passed over.
    refused: VecDeque<ManifestId>,
}

/// A head whose manifest is to be fetched.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub head: ShareHead,
    /// Peers that sent it, and so should have the manifest.
    pub sources: Vec<NodeKey>,
    failures: u32,
    retry_at: Time,
}

/// What a head turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Older than what we hold.
    Old,
    /// What we hold.
    Held,
    /// Newer, and its manifest should be fetched now.
    Wanted,
    /// Newer, but there is nothing to do that is not being done.
    Known,
    /// Not to be believed.
    Refused(ShareRejection),
}

impl Candidates {
    /// Judges a head from a peer, or from the DHT. A signature is checked only where the head would change anything.
    pub(super) fn offer(
        &mut self,
        now: Time,
        key: &ShareKey,
        held: Option<&ShareHead>,
        head: &ShareHead,
        from: Option<NodeKey>,
    ) -> Verdict {
        if let Some(held) = held {
            if head.latest_seq < held.latest_seq {
                return Verdict::Old;
            }
            if head.latest_seq == held.latest_seq {
                return match head.latest_manifest == held.latest_manifest {
                    true => Verdict::Held,
                    false if head.verify(key) => Verdict::Refused(ShareRejection::Equivocation),
                    false => Verdict::Refused(ShareRejection::Signature),
                };
            }
        }
        if self.refused.contains(&head.latest_manifest) {
            return Verdict::Known;
        }
        if let Some(candidate) = self.list.iter_mut().find(|known| known.head == *head) {
            return candidate.add_source(now, from);
        }
        if !head.verify(key) {
            return Verdict::Refused(ShareRejection::Signature);
        }
        self.insert(Candidate {
            head: head.clone(),
            sources: from.into_iter().collect(),
            failures: 0,
            retry_at: now,
        })
    }

    /// The best head whose manifest may be tried now.
    pub(super) fn next(&self, now: Time) -> Option<&Candidate> {
        self.list.iter().find(|candidate| candidate.retry_at <= now)
    }

    /// The best head.
    pub(super) fn best(&self) -> Option<&ShareHead> {
        self.list.first().map(|candidate| &candidate.head)
    }

    /// When the next manifest may be tried.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.list.iter().map(|candidate| candidate.retry_at).min()
    }

    /// A manifest could not be had from anybody. It is tried again after 2 s, 4 s, 8 s, …, `pause_max`.
    pub(super) fn failed(&mut self, now: Time, manifest: &ManifestId, pause_max: Duration) {
        for candidate in &mut self.list {
            if candidate.head.latest_manifest == *manifest {
                candidate.failures = candidate.failures.saturating_add(1);
                let pause = Duration::from_secs(1 << candidate.failures.min(16));
                candidate.retry_at = now + pause.min(pause_max);
            }
        }
    }

    /// A manifest is wrong for good.
    pub(super) fn refuse(&mut self, manifest: ManifestId) {
        self.list
            .retain(|candidate| candidate.head.latest_manifest != manifest);
        if self.refused.len() >= REFUSED_MANIFESTS_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back(manifest);
    }

    /// A revision is held now; what is not newer is forgotten.
    pub(super) fn held(&mut self, head: &ShareHead) {
        self.list
            .retain(|candidate| candidate.head.latest_seq > head.latest_seq);
    }

    fn insert(&mut self, candidate: Candidate) -> Verdict {
        let place = self
            .list
            .partition_point(|known| known.head.newer_than(&candidate.head));
        if place >= CANDIDATES_MAX {
            return Verdict::Known;
        }
        self.list.insert(place, candidate);
        self.list.truncate(CANDIDATES_MAX);
        Verdict::Wanted
    }
}

impl Candidate {
    fn add_source(&mut self, now: Time, from: Option<NodeKey>) -> Verdict {
        match from {
            Some(from)
                if self.sources.len() < CANDIDATE_SOURCES_MAX && !self.sources.contains(&from) =>
            {
                self.sources.push(from);
                self.retry_at = now;
                Verdict::Wanted
            }
            Some(_) | None => Verdict::Known,
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Candidates {
    /// `held` is the sequence number of the revision that is there, if there is one.
    pub(super) fn check(&self, held: Option<u64>, broken: &mut crate::check::Broken) {
        broken.at_most("candidates", self.list.len(), CANDIDATES_MAX);
        broken.at_most(
            "refused manifests",
            self.refused.len(),
            REFUSED_MANIFESTS_MAX,
        );
        for candidate in &self.list {
            let sources = candidate.sources.len();
            broken.at_most("sources of a candidate", sources, CANDIDATE_SOURCES_MAX);
            broken.unless(
                held.is_none_or(|held| candidate.head.latest_seq > held),
                || {
                    alloc::format!(
                        "a head of {} is wanted although {held:?} is held",
                        candidate.head.latest_seq
                    )
                },
            );
        }
        let pairs = self.list.iter().zip(self.list.iter().skip(1));
        let sorted = pairs
            .clone()
            .all(|(better, worse)| !worse.head.newer_than(&better.head));
        broken.unless(sorted, || "candidates are not in order".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ShareId;
    use crate::time::UnixTime;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    const NOW: Time = Time(1_000_000);

    fn owner() -> (SigningKey, ShareKey) {
        let signing = SigningKey::from_bytes(&[7; 32]);
        let key = ShareKey(signing.verifying_key().to_bytes());
        (signing, key)
    }

    fn head(seq: u64, manifest: u8) -> ShareHead {
        let (signing, key) = owner();
        ShareHead {
            share: key.share_id(),
            latest_seq: seq,
            latest_manifest: ManifestId([manifest; 32]),
            updated_at: UnixTime(seq),
            signature: [0; 64],
        }
        .sign(&signing)
    }

    fn offer(
        candidates: &mut Candidates,
        held: Option<&ShareHead>,
        head: &ShareHead,
        from: u8,
    ) -> Verdict {
        candidates.offer(NOW, &owner().1, held, head, Some(NodeKey([from; 32])))
    }

    #[test]
    fn sequence_numbers_never_go_back() {
        let mut candidates = Candidates::default();
        let held = head(5, 5);
        assert_eq!(
            offer(&mut candidates, Some(&held), &head(4, 4), 1),
            Verdict::Old
        );
        assert_eq!(offer(&mut candidates, Some(&held), &held, 1), Verdict::Held);
        assert_eq!(candidates.next(NOW), None);
    }

    #[test]
    fn a_second_manifest_of_the_held_number_is_equivocation_if_signed() {
        let mut candidates = Candidates::default();
        let held = head(5, 5);
        let mut other = head(5, 6);
        assert_eq!(
            offer(&mut candidates, Some(&held), &other, 1),
            Verdict::Refused(ShareRejection::Equivocation)
        );
        other.signature[3] ^= 1;
        assert_eq!(
            offer(&mut candidates, Some(&held), &other, 1),
            Verdict::Refused(ShareRejection::Signature)
        );
    }

    #[test]
    fn an_unsigned_head_does_not_hide_a_signed_one() {
        let mut candidates = Candidates::default();
        let mut forged = head(9, 9);
        forged.signature = [1; 64];
        assert_eq!(
            offer(&mut candidates, None, &forged, 1),
            Verdict::Refused(ShareRejection::Signature)
        );
        let mut foreign = head(9, 9);
        foreign.share = ShareId([3; 32]);
        assert_eq!(
            offer(&mut candidates, None, &foreign, 1),
            Verdict::Refused(ShareRejection::Signature)
        );
        assert_eq!(
            offer(&mut candidates, None, &head(2, 2), 1),
            Verdict::Wanted
        );
        assert_eq!(candidates.next(NOW).map(|c| c.head.latest_seq), Some(2));
    }

    #[test]
    fn while_the_newest_manifest_is_missing_older_ones_get_their_turn() {
        let mut candidates = Candidates::default();
        offer(&mut candidates, None, &head(3, 3), 1);
        offer(&mut candidates, None, &head(8, 8), 1);
        assert_eq!(candidates.next(NOW).map(|c| c.head.latest_seq), Some(8));
        candidates.failed(NOW, &ManifestId([8; 32]), Duration::from_secs(60));
        assert_eq!(candidates.next(NOW).map(|c| c.head.latest_seq), Some(3));
        candidates.held(&head(3, 3));
        assert_eq!(candidates.next(NOW), None);
        assert_eq!(candidates.retry_at(), Some(NOW + Duration::from_secs(2)));
        // Somebody else who has it is asked at once.
        assert_eq!(
            offer(&mut candidates, None, &head(8, 8), 2),
            Verdict::Wanted
        );
        assert_eq!(offer(&mut candidates, None, &head(8, 8), 2), Verdict::Known);
        assert_eq!(candidates.next(NOW).map(|c| c.sources.len()), Some(2));
    }

    #[test]
    fn a_refused_manifest_is_not_fetched_again() {
        let mut candidates = Candidates::default();
        offer(&mut candidates, None, &head(3, 3), 1);
        candidates.refuse(ManifestId([3; 32]));
        assert_eq!(candidates.next(NOW), None);
        assert_eq!(offer(&mut candidates, None, &head(3, 3), 2), Verdict::Known);
        assert_eq!(candidates.next(NOW), None);
    }

    proptest! {
        /// Whatever is offered, the list stays bounded and ordered and holds only what is newer than
        /// what we hold.
        #[test]
        fn candidates_stay_few_ordered_and_newer(
            held in proptest::option::of(0u64..8),
            offers in proptest::collection::vec((0u64..20, 0u8..3, 0u8..20), 0..40),
        ) {
            let mut candidates = Candidates::default();
            let held = held.map(|seq| head(seq, 100));
            for (seq, manifest, from) in offers {
                offer(&mut candidates, held.as_ref(), &head(seq, manifest), from);
            }
            prop_assert!(candidates.list.len() <= CANDIDATES_MAX);
            prop_assert!(candidates.list.is_sorted_by(|a, b| !b.head.newer_than(&a.head)));
            for candidate in &candidates.list {
                prop_assert!(candidate.sources.len() <= CANDIDATE_SOURCES_MAX);
                prop_assert!(held.as_ref().is_none_or(|held| candidate.head.latest_seq > held.latest_seq));
            }
        }
    }
}
