//! Announcing own shares: to peers that watch them at once, to the DHT again and again.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Catalogs, Tag, Timer};
use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, ShareId};
use crate::limits::HEAD_ANNOUNCE_TIME;
use crate::record::{Item, Manifest, head_key, manifest_key};
use crate::storage::{Load, Loaded, Table};
use crate::time::Time;
use crate::wire::Request;
use crate::wish::Wish;

/// How long others are asked to keep our values: what deployed peers keep them at least.
const TTL_SECS: u64 = 86_400;
/// The pause after a first announcement; doubles up to the republish interval: who is closest to a key changes most
/// while we are new.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause while a deployed peer takes our values: others like it bring old ones back all the time.
const DEPLOYED_PAUSE: Duration = Duration::from_secs(240);
/// The longest pause after announcements that nobody took.
const UNHEARD_PAUSE: Duration = Duration::from_secs(240);

impl Catalogs {
    /// Tells the peers that watch a share of ours or one we follow about its newest head.
    pub(super) fn tell_watchers(&mut self, cx: &mut Cx<'_>, share: &ShareId) {
        let Some(announcement) = self.announcement(share) else {
            return;
        };
        for peer in self.watchers.tell(share, announcement.head.latest_seq) {
            if cx.roster.is_ours(&peer) {
                let request = Request::HeadAnnounce(announcement.clone());
                cx.call(peer, request, HEAD_ANNOUNCE_TIME, Tag::Unattended);
            }
        }
    }

    /// Brings a share's newest revision into the DHT. Its manifest is read for that.
    pub(super) fn announce(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        let Some(revision) = &own.revision else {
            return;
        };
        let row = Load::Row(Table::Manifests, revision.manifest().0.to_vec().into());
        cx.load(row, Tag::Announcing(share));
        let pause = self.rng.jitter(pause(cx, &mut own.rounds));
        self.timers.set(Timer::Announce(share), cx.now.mono + pause);
    }

    pub(super) fn announce_loaded(&mut self, cx: &mut Cx<'_>, share: ShareId, outcome: Outcome) {
        let Outcome::Loaded(Ok(Loaded::Row(Some(row)))) = outcome else {
            return;
        };
        let Ok(manifest) = Manifest::decode(&row) else {
            return;
        };
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        let Some(revision) = &own.revision else {
            return;
        };
        if manifest.seq != revision.head.latest_seq {
            // A newer revision has an announcement of its own.
            return;
        }
        // First what the head leads to.
        if let Some(value) = super::revision::dht_form(&manifest) {
            cx.wish(Wish::Store {
                key: manifest_key(&revision.manifest()),
                value: value.into(),
                ttl_secs: TTL_SECS,
                tag: Tag::Unattended.into(),
            });
        }
        cx.wish(Wish::Store {
            key: head_key(&share),
            value: revision.head.encode().into(),
            ttl_secs: TTL_SECS,
            tag: Tag::HeadStored(share, manifest.seq).into(),
        });
        // One record for the whole share is what nodes of ours look for.
        cx.wish(Wish::Provide {
            content: ContentId(share.0),
            tag: Tag::Unattended.into(),
        });
        // Deployed peers look for each item; large shares take turns.
        let (contents, next) = window(&manifest.items, own.next_item, cx.config.item_records_max);
        own.next_item = next;
        for content in contents {
            cx.wish(Wish::Provide {
                content,
                tag: Tag::Unattended.into(),
            });
        }
    }

    /// An announcement that nobody took is made again soon.
    pub(super) fn head_stored(
        &mut self,
        cx: &mut Cx<'_>,
        share: ShareId,
        seq: u64,
        outcome: &Outcome,
    ) {
        let Outcome::Stored(nodes) = outcome else {
            return;
        };
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        if *nodes > 0 {
            own.unheard = 0;
            own.announced = own.announced.max(seq);
            return;
        }
        if own.revision.is_none() {
            return;
        }
        own.unheard = own.unheard.saturating_add(1);
        let longest = UNHEARD_PAUSE.min(cx.config.republish_interval);
        let pause = Duration::from_secs(1 << own.unheard.min(16)).min(longest);
        let at = cx.now.mono + self.rng.jitter(pause);
        self.set_by(Timer::Announce(share), at);
    }

    /// Somebody is connected: shares that nobody has heard of yet are announced.
    pub(super) fn announce_unheard(&mut self, from: Time) {
        let unheard = self.shares.iter().filter(|(_, own)| own.unheard > 0);
        for share in unheard.map(|(share, _)| *share).collect::<Vec<_>>() {
            let pause = self.rng.jitter(Duration::from_secs(1));
            self.set_by(Timer::Announce(share), from + pause);
        }
    }

    /// Our addresses changed, so the provider records are wrong.
    pub(super) fn announce_moved(&mut self, cx: &mut Cx<'_>) {
        if self.addrs.is_empty() {
            return;
        }
        for timer in self.announcements() {
            let pause = self.stagger();
            self.set_by(timer, cx.now.mono + pause);
        }
    }

    /// A deployed peer is there that takes our values.
    pub(super) fn announce_deployed(&mut self, cx: &mut Cx<'_>) {
        let longest = DEPLOYED_PAUSE.min(cx.config.republish_interval);
        for timer in self.announcements() {
            let pause = self.rng.jitter(longest);
            self.set_by(timer, cx.now.mono + pause);
        }
    }

    /// The timers of all that is announced.
    fn announcements(&self) -> Vec<Timer> {
        let own = self.shares.iter().filter(|(_, own)| own.revision.is_some());
        let served = self.subscriptions.iter().filter(|(_, known)| known.serving);
        let timers = own.map(|(share, _)| Timer::Announce(*share));
        timers
            .chain(served.map(|(share, _)| Timer::Provide(*share)))
            .collect()
    }

    /// We serve something of a subscribed share.
    pub(crate) fn on_serving(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        if !subscription.serving {
            subscription.serving = true;
            self.provide(cx, share);
        }
    }

    /// Names us as provider of a subscribed share.
    pub(super) fn provide(&mut self, cx: &mut Cx<'_>, share: ShareId) {
        let Some(subscription) = self.subscriptions.get_mut(&share) else {
            return;
        };
        if subscription.serving {
            cx.wish(Wish::Provide {
                content: ContentId(share.0),
                tag: Tag::Provided(share).into(),
            });
            let pause = self.rng.jitter(pause(cx, &mut subscription.rounds));
            self.timers.set(Timer::Provide(share), cx.now.mono + pause);
        }
    }

    pub(super) fn provided(&mut self, cx: &mut Cx<'_>, share: ShareId, outcome: &Outcome) {
        if matches!(outcome, Outcome::Stored(0)) && self.subscriptions.contains_key(&share) {
            let pause = self.rng.jitter(Duration::from_secs(30));
            self.set_by(Timer::Provide(share), cx.now.mono + pause);
        }
    }
}

/// The pause after an announcement that so many came before; it is counted.
fn pause(cx: &Cx<'_>, rounds: &mut u32) -> Duration {
    let mut pause = FIRST_PAUSE.saturating_mul(1 << (*rounds).min(16));
    *rounds = rounds.saturating_add(1);
    if cx.roster.deployed().next().is_some() {
        pause = pause.min(DEPLOYED_PAUSE);
    }
    pause.min(cx.config.republish_interval)
}

/// At most `max` contents of the items from `start` on, round and round, and where to go on.
fn window(items: &[Item], start: u32, max: u32) -> (Vec<ContentId>, u32) {
    let Some(start) = (start as usize).checked_rem(items.len()) else {
        return (Vec::new(), 0);
    };
    let count = items.len().min(max as usize);
    let round = items.iter().cycle().skip(start).take(count);
    let next = (start + count) % items.len();
    (round.map(|item| item.content).collect(), next as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn item(number: u8) -> Item {
        Item {
            content: ContentId([number; 32]),
            size: 1,
            name: String::new(),
            path: None,
            mime: None,
            tags: Vec::new(),
            chunk_count: 1,
            chunk_list_hash: [0; 32],
        }
    }

    proptest! {
        /// Every item gets its turn, and none twice in one.
        #[test]
        fn items_take_turns(len in 0u8..40, max in 1u32..20, start in any::<u32>()) {
            let items: Vec<_> = (0..len).map(item).collect();
            let mut seen = alloc::collections::BTreeSet::new();
            let mut next = start;
            for _ in 0..len {
                let (contents, then) = window(&items, next, max);
                let distinct: alloc::collections::BTreeSet<_> = contents.iter().copied().collect();
                prop_assert_eq!(distinct.len(), contents.len());
                prop_assert!(contents.len() <= max as usize);
                seen.extend(contents);
                next = then;
            }
            prop_assert_eq!(seen.len(), usize::from(len));
        }
    }
}
