//! Fetching the manifest of a newer head, from one source after another.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::revision::{Revision, stored_form};
use super::subscription::{Fetch, Source, Subscription, Work};
use super::{Catalogs, Tag, Timer};
use crate::cx::{Cx, Outcome};
use crate::event::{Event, ShareRejection};
use crate::id::{NodeKey, ShareId};
use crate::limits::{FETCH_PEERS_FIRST, FETCH_PEERS_MAX, FETCH_TIME};
use crate::planted::{self, Bug};
use crate::record::{Manifest, ManifestError, ShareHead, manifest_key};
use crate::storage::{IndexOp, Table};
use crate::time::UnixTime;
use crate::wire::{Answer, Request};
use crate::wish::{Conduct, Found, Want, Wish};

/// What a manifest that was fetched turned out to be.
enum Checked {
    Good,
    /// Not the one asked for.
    Other,
    /// The one asked for, and wrong for good.
    Refused(ShareRejection),
}

impl Catalogs {
    /// Fetches the manifest of the best head that may be tried now, unless that is under way.
    pub(super) fn fetch(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        match subscription.work {
            Work::Idle => {}
            Work::Fetching(_) | Work::Storing { .. } => return,
        }
        let Some(candidate) = subscription.candidates.next(cx.now.mono) else {
            match subscription.candidates.retry_at() {
                Some(at) => self.timers.set(Timer::Fetch(share), at),
                None => {
                    self.timers.cancel(&Timer::Fetch(share));
                }
            }
            return;
        };
        let head = candidate.head.clone();
        let watchers: Vec<_> = self.watchers.of(&share).collect();
        let mut followers = subscription
            .holders(head.latest_seq)
            .chain(watchers)
            .collect::<Vec<_>>();
        self.rng.shuffle(&mut followers);
        let sources = sources(cx, &candidate.sources, &followers);
        self.round += 1;
        subscription.work = Work::Fetching(Fetch {
            round: self.round,
            head,
            sources,
        });
        self.ask_next(cx, share);
    }

    fn ask_next(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        let Work::Fetching(fetch) = &mut subscription.work else {
            return;
        };
        let manifest = fetch.head.latest_manifest;
        let tag = Tag::Fetched {
            share,
            round: fetch.round,
        };
        match fetch.sources.pop_front() {
            Some(Source::Peer(peer)) => {
                cx.call(peer, Request::GetManifest(manifest), FETCH_TIME, tag);
            }
            Some(Source::Dht) => cx.wish(Wish::Lookup {
                key: manifest_key(&manifest),
                want: Want::Manifest,
                tag: tag.into(),
            }),
            None => {
                let pause_max = cx.config.poll_interval;
                subscription
                    .candidates
                    .failed(cx.now.mono, &manifest, pause_max);
                subscription.work = Work::Idle;
                self.fetch(cx, share);
            }
        }
    }

    pub(super) fn fetched(
        &mut self,
        cx: &mut Cx<'_>,
        share: ShareId,
        round: u64,
        outcome: Outcome,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        let Work::Fetching(fetch) = &subscription.work else {
            return;
        };
        if fetch.round != round {
            return;
        }
        let (from, manifest) = if let Outcome::Found(Found::Manifest(manifest)) = outcome {
            (None, Some(manifest))
        } else if let Outcome::Answer {
            from,
            answer: Ok(Answer::Manifest { bytes, .. }),
            ..
        } = outcome
        {
            (Some(from), Manifest::decode(&bytes).ok().map(Box::new))
        } else {
            return self.ask_next(cx, share);
        };
        let Some(manifest) = manifest else {
            self.complain(cx, share, from, ShareRejection::Malformed);
            return self.ask_next(cx, share);
        };
        match check(subscription, &fetch.head, &manifest, cx.now.unix) {
            Checked::Good => self.store(cx, share, &manifest),
            Checked::Other => {
                if let Some(peer) = from {
                    cx.wish(Wish::Judge(peer, Conduct::Corrupt));
                }
                self.ask_next(cx, share);
            }
            Checked::Refused(reason) => self.refuse(cx, share, reason),
        }
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, share: ShareId, reason: ShareRejection) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        if let Work::Fetching(fetch) = &subscription.work {
            subscription.candidates.refuse(fetch.head.latest_manifest);
        }
        subscription.work = Work::Idle;
        cx.event(Event::ShareRejected { share, reason });
        self.fetch(cx, share);
    }

    /// The revision counts when it is durable.
    fn store(&mut self, cx: &mut Cx<'_>, share: ShareId, manifest: &Manifest) {
        let Some(bytes) = stored_form(manifest) else {
            return self.refuse(cx, share, ShareRejection::Malformed);
        };
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        let Work::Fetching(fetch) = &subscription.work else {
            return;
        };
        let (round, head) = (fetch.round, fetch.head.clone());
        let held = subscription.revision.as_ref();
        let revision = Revision::new(head, manifest, held);
        cx.put(Table::Manifests, revision.manifest().0.to_vec(), bytes);
        cx.put(
            Table::Subscriptions,
            share.0.to_vec(),
            subscription.row(Some(&revision)),
        );
        if let Some(old) = held.and_then(|held| held.outdated_by(revision.manifest())) {
            cx.delete(Table::Manifests, old.0.to_vec());
        }
        cx.index(IndexOp::Set(share, revision.manifest()));
        subscription.work = Work::Storing { round, revision };
        if planted::has(cx.config, Bug::BelievedEarly) {
            let tag = Tag::Stored { share, round };
            return cx.outcome(tag.into(), Outcome::Committed(Ok(())));
        }
        cx.commit(Tag::Stored { share, round });
    }

    pub(super) fn stored(&mut self, cx: &mut Cx<'_>, share: ShareId, round: u64, outcome: Outcome) {
        let Outcome::Committed(result) = outcome else {
            return;
        };
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        let awaited = match &subscription.work {
            Work::Storing { round: awaited, .. } => *awaited == round,
            Work::Idle | Work::Fetching(_) => false,
        };
        if !awaited {
            return;
        }
        let work = core::mem::replace(&mut subscription.work, Work::Idle);
        let Work::Storing { revision, .. } = work else {
            return;
        };
        if let Err(error) = result {
            let pause_max = cx.config.poll_interval;
            subscription
                .candidates
                .failed(cx.now.mono, &revision.manifest(), pause_max);
            cx.event(Event::StoreTrouble {
                reason: error.to_string(),
            });
            return self.fetch(cx, share);
        }
        let (seq, manifest) = (revision.head.latest_seq, revision.manifest());
        subscription.candidates.held(&revision.head);
        subscription.revision = Some(revision);
        cx.event(Event::ManifestUpdated {
            share,
            seq,
            manifest,
        });
        self.tell_watchers(cx, &share);
        self.fetch(cx, share);
    }
}

/// Whom to ask for the manifest of a head, most likely first: some who showed the head, the DHT, then the others
/// who showed it, whoever follows the share, and deployed peers, which may have anything in their caches. The DHT
/// comes early so that peers who show a head and then keep silent do not hold us up for long.
fn sources(cx: &Cx<'_>, shown_by: &[NodeKey], followers: &[NodeKey]) -> VecDeque<Source> {
    let mut peers: Vec<NodeKey> = Vec::new();
    let deployed = cx
        .roster
        .iter()
        .filter(|(_, session)| session.level.is_none());
    let (near, far): (Vec<_>, Vec<_>) = shown_by
        .iter()
        .copied()
        .partition(|peer| cx.roster.is_callable(peer));
    let known = near.into_iter().chain(followers.iter().copied()).chain(far);
    for peer in known.chain(deployed.map(|(peer, _)| *peer)) {
        let may_ask = cx.roster.is_callable(&peer) || shown_by.contains(&peer);
        if peers.len() < FETCH_PEERS_MAX && may_ask && !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    let mut sources: VecDeque<_> = peers.into_iter().map(Source::Peer).collect();
    sources.insert(sources.len().min(FETCH_PEERS_FIRST), Source::Dht);
    sources
}

fn check(
    subscription: &Subscription,
    head: &ShareHead,
    manifest: &Manifest,
    now: UnixTime,
) -> Checked {
    if manifest.id() != head.latest_manifest {
        return Checked::Other;
    }
    // The id covers the signature too, so nobody can have another manifest of this id.
    if manifest.key != subscription.key {
        return Checked::Refused(ShareRejection::Signature);
    }
    match manifest.verify(now) {
        Err(
            ManifestError::Unsigned | ManifestError::ShareIdMismatch | ManifestError::Signature,
        ) => Checked::Refused(ShareRejection::Signature),
        Err(ManifestError::Expired(_)) => Checked::Refused(ShareRejection::Expired),
        Err(ManifestError::Lifetime) => Checked::Refused(ShareRejection::Malformed),
        Ok(()) if manifest.seq != head.latest_seq => Checked::Refused(ShareRejection::Frozen),
        Ok(()) => Checked::Good,
    }
}
