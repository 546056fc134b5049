//! Following shares: who is asked for new heads, and what is made of them.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::candidates::Verdict;
use super::subscription::{Looking, Subscription};
use super::{Catalogs, Tag, Timer};
use crate::command::{CommandError, Reply};
use crate::cx::{CallError, Cx, Outcome};
use crate::event::{Event, ShareRejection};
use crate::id::{ContentId, NodeKey, OpId, ShareId};
use crate::limits::{
    HEADS_MAX, SHARE_DIALS_MAX, SHARE_DIALS_TOTAL_MAX, SUBSCRIPTIONS_MAX, WATCH_TIME,
};
use crate::planted::{self, Bug};
use crate::record::{Providers, ShareHead, ShareLink, head_key, providers_key};
use crate::storage::{IndexOp, Table};
use crate::time::Time;
use crate::wire::{Answer, BootstrapAddr, HeadAnnounce, PeerAddr, Request};
use crate::wish::{Conduct, Found, Want, Wish};

/// How long a deployed peer has to answer a question for a head.
const ASK_TIME: Duration = Duration::from_secs(5);
/// After how long a peer that did not take our list of shares gets it again.
const WATCH_RETRY: Duration = Duration::from_secs(30);
/// The first pause between lookups of a share that we know nothing of; doubles up to [`UNKNOWN_POLL`] poll intervals.
const FIRST_POLL: Duration = Duration::from_secs(1);
const UNKNOWN_POLL: u32 = 5;

impl Catalogs {
    pub(super) fn start_following(&mut self, cx: &mut Cx<'_>) {
        self.index_followed(cx);
        let mut hints: Vec<BootstrapAddr> = Vec::new();
        let shares: Vec<_> = self.subscriptions.keys().copied().collect();
        for share in shares {
            let pause = self.stagger();
            let Some(subscription) = self.subscriptions.get(&share) else {
                continue;
            };
            let at = match &subscription.revision {
                Some(revision) => {
                    cx.index(IndexOp::Set(share, revision.manifest()));
                    cx.now.mono + pause
                }
                None => cx.now.mono,
            };
            hints.extend(subscription.hints.iter().cloned());
            self.timers.set(Timer::Poll(share), at);
        }
        hints.sort();
        hints.dedup();
        if !hints.is_empty() {
            cx.wish(Wish::Hints(hints));
        }
    }

    pub(crate) fn on_subscribe(&mut self, cx: &mut Cx<'_>, op: OpId, link: ShareLink) {
        let share = link.share();
        if self.shares.contains_key(&share) {
            return cx.done(op, Err(CommandError::OwnShare));
        }
        let new = !self.subscriptions.contains_key(&share);
        if new && self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let limit = SUBSCRIPTIONS_MAX as u32;
            return cx.done(op, Err(CommandError::LimitReached("subscriptions", limit)));
        }
        let subscription = self
            .subscriptions
            .entry(share)
            .or_insert_with(|| Subscription::new(link.key, Vec::new()));
        subscription.merge_hints(&link.bootstrap);
        if !link.bootstrap.is_empty() {
            cx.wish(Wish::Hints(link.bootstrap));
        }
        // A row written while a revision is on its way would take that back.
        if !subscription.is_storing() {
            let row = subscription.row(subscription.revision.as_ref());
            cx.put(Table::Subscriptions, share.0.to_vec(), row);
        }
        cx.commit(Tag::Subscribed { op, share, new });
        if new {
            self.watch_all_soon(cx);
            self.look(cx, share);
        }
    }

    pub(super) fn subscribed(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        share: ShareId,
        new: bool,
        outcome: Outcome,
    ) {
        let Outcome::Committed(result) = outcome else {
            return;
        };
        if let Err(error) = result {
            if new {
                self.subscriptions.remove(&share);
                self.forget_timers(&share);
            }
            return cx.done(op, Err(CommandError::Store(error)));
        }
        cx.done(op, Ok(Reply::Subscribed { share, new }));
    }

    pub(crate) fn on_unsubscribe(&mut self, cx: &mut Cx<'_>, op: OpId, share: ShareId) {
        let Some(subscription) = self.subscriptions.remove(&share) else {
            return cx.done(op, Err(CommandError::UnknownShare));
        };
        self.forget_timers(&share);
        for manifest in subscription.manifests() {
            cx.delete(Table::Manifests, manifest.0.to_vec());
            self.cache.remove(&manifest);
        }
        cx.delete(Table::Subscriptions, share.0.to_vec());
        self.index_followed(cx);
        if subscription.serving {
            // Single contents of it are still served and found; the share as a whole is not.
            cx.wish(Wish::Withdrawn([ContentId(share.0)].into()));
        }
        self.leaving.insert(op, (share, subscription));
        self.watch_all_soon(cx);
        cx.commit(Tag::Unsubscribed(op));
    }

    pub(super) fn unsubscribed(&mut self, cx: &mut Cx<'_>, op: OpId, outcome: Outcome) {
        let Outcome::Committed(result) = outcome else {
            return;
        };
        let left = self.leaving.remove(&op);
        match (result, left) {
            (Ok(()), _) => cx.done(op, Ok(Reply::Ok)),
            (Err(error), left) => {
                if let Some((share, subscription)) = left {
                    // It is still on the disk, and would be followed again after a restart.
                    let anew = Subscription::resumed(subscription);
                    if anew.serving {
                        let at = cx.now.mono + FIRST_POLL;
                        self.timers.set(Timer::Provide(share), at);
                    }
                    self.subscriptions.entry(share).or_insert(anew);
                    self.timers
                        .set(Timer::Poll(share), cx.now.mono + FIRST_POLL);
                }
                cx.done(op, Err(CommandError::Store(error)));
            }
        }
    }

    /// Asks the DHT for a share's head, and its providers unless somebody connected has the share.
    pub(super) fn look(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        match subscription.asks.heads {
            Looking::No => {}
            Looking::Yes | Looking::Again => return,
        }
        subscription.asks.heads = Looking::Yes;
        cx.wish(Wish::Lookup {
            key: head_key(&share),
            want: Want::Head,
            tag: Tag::HeadsFound(share).into(),
        });
        if !subscription.has_holders() {
            self.look_for_providers(cx, share);
        }
    }

    /// Asks everybody who may know a head newer than what was asked for already.
    pub(super) fn look_everywhere(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        self.look_for_providers(cx, share);
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        match subscription.asks.heads {
            Looking::No => self.look(cx, share),
            Looking::Yes | Looking::Again => subscription.asks.heads = Looking::Again,
        }
    }

    fn look_for_providers(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        if !subscription.asks.providers {
            subscription.asks.providers = true;
            cx.wish(Wish::Lookup {
                key: providers_key(&ContentId(share.0)),
                want: Want::Providers,
                tag: Tag::ProvidersFound(share).into(),
            });
        }
    }

    /// Somebody is connected: shares that we know nothing of are looked up soon.
    pub(super) fn look_soon(&mut self, from: Time) {
        let unknown = self
            .subscriptions
            .iter()
            .filter(|(_, known)| known.revision.is_none());
        for share in unknown.map(|(share, _)| *share).collect::<Vec<_>>() {
            let pause = self.rng.jitter(FIRST_POLL);
            self.set_by(Timer::Poll(share), from + pause);
        }
    }

    pub(super) fn heads_found(&mut self, cx: &mut Cx<'_>, share: ShareId, outcome: Outcome) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        let again = subscription.asks.heads == Looking::Again;
        subscription.asks.heads = Looking::No;
        let Outcome::Found(found) = outcome else {
            return;
        };
        let (heads, is_answered) = match found {
            Found::Heads(heads) => (heads, true),
            Found::Nothing { asked } => (Vec::new(), asked > 0),
            Found::Manifest(_) | Found::Providers(_) | Found::Relays(_) => (Vec::new(), false),
        };
        if is_answered {
            subscription.checked = Some(cx.now.unix);
        }
        for head in heads.iter().take(HEADS_MAX) {
            self.hear(cx, None, share, head);
        }
        if again {
            return self.look(cx, share);
        }
        if planted::has(cx.config, Bug::LookupOnce) {
            return;
        }
        let pause = self.poll_pause(cx, &share);
        self.timers.set(Timer::Poll(share), cx.now.mono + pause);
    }

    fn poll_pause(&mut self, cx: &Cx<'_>, share: &ShareId) -> Duration {
        let full = cx.config.poll_interval;
        let pause = match self.subscriptions.get_mut(share) {
            Some(known) if known.revision.is_none() && known.candidates.retry_at().is_none() => {
                let pause = FIRST_POLL.saturating_mul(1 << known.misses.min(16));
                known.misses = known.misses.saturating_add(1);
                pause.min(full.saturating_mul(UNKNOWN_POLL))
            }
            Some(known) => full.saturating_mul(known.askers()),
            None => full,
        };
        self.rng.jitter(pause)
    }

    pub(super) fn providers_found(&mut self, cx: &mut Cx<'_>, share: ShareId, outcome: Outcome) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        subscription.asks.providers = false;
        let Outcome::Found(Found::Providers(Providers { mut providers, .. })) = outcome else {
            return;
        };
        providers.retain(|addr| is_worth_a_dial(cx, addr));
        self.rng.shuffle(&mut providers);
        for addr in providers.into_iter().take(SHARE_DIALS_MAX) {
            if self.reaching >= SHARE_DIALS_TOTAL_MAX {
                return;
            }
            self.reaching += 1;
            subscription.asks.peers += 1;
            cx.reach(addr, Tag::Reached(share));
        }
    }

    /// A node of ours was asked with the list of shares when its session came up; a deployed peer
    /// answers for its own part of the DHT.
    pub(super) fn reached(&mut self, cx: &mut Cx<'_>, share: ShareId, outcome: &Outcome) {
        if !planted::has(cx.config, Bug::ReachesLeak) {
            self.reaching = self.reaching.saturating_sub(1);
        }
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        if let Outcome::Reached(Ok(peer)) = outcome
            && !cx.roster.is_ours(peer)
        {
            let request = Request::FindValue(head_key(&share));
            cx.call(*peer, request, ASK_TIME, Tag::Asked(share));
        } else {
            subscription.asks.peers = subscription.asks.peers.saturating_sub(1);
        }
    }

    pub(super) fn head_answered(&mut self, cx: &mut Cx<'_>, share: ShareId, outcome: Outcome) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        subscription.asks.peers = subscription.asks.peers.saturating_sub(1);
        let Outcome::Answer {
            from,
            answer: Ok(Answer::Found(found)),
            ..
        } = outcome
        else {
            return;
        };
        subscription.checked = Some(cx.now.unix);
        let head = found
            .record
            .and_then(|record| ShareHead::decode(&record.value).ok());
        if let Some(head) = head.filter(|head| head.share == share) {
            self.hear(cx, Some(from), share, &head);
        }
    }

    /// A head from a node of ours, which verifies heads before it passes them on.
    pub(super) fn hear_verified(&mut self, cx: &mut Cx<'_>, peer: NodeKey, head: &ShareHead) {
        let verdict = self.hear(cx, Some(peer), head.share, head);
        if verdict == Some(Verdict::Refused(ShareRejection::Signature)) {
            cx.wish(Wish::Judge(peer, Conduct::Corrupt));
        }
    }

    /// Judges a head of a share that we follow.
    fn hear(
        &mut self,
        cx: &mut Cx<'_>,
        from: Option<NodeKey>,
        share: ShareId,
        head: &ShareHead,
    ) -> Option<Verdict> {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            self.hear_own(cx, share, head);
            return None;
        };
        let held = subscription
            .revision
            .as_ref()
            .map(|revision| &revision.head)
            .filter(|_| !planted::has(cx.config, Bug::OlderHead));
        let candidates = &mut subscription.candidates;
        let verdict = candidates.offer(cx.now.mono, &subscription.key, held, head, from);
        match verdict {
            Verdict::Old => {}
            Verdict::Refused(reason) => self.complain(cx, share, from, reason),
            Verdict::Held | Verdict::Known | Verdict::Wanted => {
                if let Some(peer) = from {
                    subscription.add_holder(peer, head.latest_seq);
                    self.watchers.knows(&peer, &share, head.latest_seq);
                }
                if verdict == Verdict::Wanted {
                    subscription.turn_to(head);
                    self.fetch(cx, share);
                }
            }
        }
        Some(verdict)
    }

    /// A head of our own with a number that we do not know of was signed by us before an old state
    /// was restored. That number is not used again.
    fn hear_own(&mut self, cx: &mut Cx<'_>, share: ShareId, head: &ShareHead) {
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        if head.latest_seq > own.reserved && head.verify(&own.key()) {
            own.reserved = head.latest_seq;
            cx.put(
                Table::Shares,
                share.0.to_vec(),
                own.row(&own.about, own.revision.as_ref()),
            );
        }
    }

    pub(super) fn complain(
        &mut self,
        cx: &mut Cx<'_>,
        share: ShareId,
        from: Option<NodeKey>,
        reason: ShareRejection,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        if subscription.complain(cx.now.mono, from) {
            cx.event(Event::ShareRejected { share, reason });
        }
    }

    /// Gives a peer of ours the list of shares that we follow. It answers with the heads it knows.
    pub(super) fn watch(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.unwatched.remove(&peer);
        self.watching += 1;
        let shares = self.subscriptions.keys().copied().collect();
        cx.call(
            peer,
            Request::Watch(shares),
            WATCH_TIME,
            Tag::Watching(peer),
        );
    }

    /// All connected peers of ours get the list soon; several changes together cost one call.
    fn watch_all_soon(&mut self, cx: &mut Cx<'_>) {
        let ours = cx
            .roster
            .iter()
            .filter(|(_, session)| session.level.is_some());
        self.unwatched.extend(ours.map(|(peer, _)| *peer));
        self.set_by(Timer::Watch, cx.now.mono + Duration::from_millis(20));
    }

    pub(super) fn watch_all(&mut self, cx: &mut Cx<'_>) {
        self.watch_all_soon(cx);
        self.watch_unwatched(cx);
    }

    pub(super) fn watch_unwatched(&mut self, cx: &mut Cx<'_>) {
        self.timers.cancel(&Timer::Watch);
        for peer in core::mem::take(&mut self.unwatched) {
            if cx.roster.is_ours(&peer) {
                self.watch(cx, peer);
            }
        }
    }

    pub(super) fn watched(&mut self, cx: &mut Cx<'_>, peer: NodeKey, outcome: Outcome) {
        self.watching = self.watching.saturating_sub(1);
        let Outcome::Answer { answer, .. } = outcome else {
            return;
        };
        match answer {
            Ok(Answer::Heads(heads)) => {
                let mut heard = BTreeSet::new();
                for HeadAnnounce { head, .. } in heads {
                    if let Some(subscription) = self.subscriptions.get_mut(&head.share)
                        && heard.insert(head.share)
                    {
                        subscription.checked = Some(cx.now.unix);
                        self.hear_verified(cx, peer, &head);
                    }
                }
            }
            Ok(_) | Err(CallError::Refused { .. } | CallError::Malformed) => {}
            // It gets the list with its next session.
            Err(CallError::Lost | CallError::Connect(_)) => {}
            Err(CallError::TimedOut | CallError::Busy) => {
                self.unwatched.insert(peer);
                let pause = self.rng.jitter(WATCH_RETRY);
                self.set_by(Timer::Watch, cx.now.mono + pause);
            }
        }
    }

    fn forget_timers(&mut self, share: &ShareId) {
        for timer in [
            Timer::Fetch(*share),
            Timer::Poll(*share),
            Timer::Provide(*share),
        ] {
            self.timers.cancel(&timer);
        }
    }
}

/// Whether an address may lead to somebody else who is not connected as a node of ours.
fn is_worth_a_dial(cx: &Cx<'_>, addr: &PeerAddr) -> bool {
    let is_own_key = addr.key == Some(cx.keys.public());
    let is_own_addr = cx.roster.is_own_addr(addr);
    let is_followed =
        addr.relay_via.is_none() || addr.circuit().is_some() || addr.tunnel().is_some();
    let is_connected = addr.key.is_some_and(|key| cx.roster.is_ours(&key));
    !is_own_key && !is_own_addr && !is_connected && is_followed && addr.port != 0
}
