//! Why a share is not announced, or a subscription may not be up to date.

use alloc::vec::Vec;

use super::subscription::{Looking, Work};
use super::{Catalogs, Tag, Timer};
use crate::id::ShareId;
use crate::view::{ShareCause, SubscriptionCause};

impl Catalogs {
    /// What goes on about a subscription; `None` if the share is not followed.
    pub(crate) fn why_subscription(&self, share: ShareId) -> Option<Vec<SubscriptionCause>> {
        let known = self.subscriptions.get(&share)?;
        let mut causes = Vec::new();
        if known.checked.is_none() {
            causes.push(SubscriptionCause::NeverChecked);
        }
        match &known.work {
            Work::Fetching(fetch) => causes.push(SubscriptionCause::FetchingManifest {
                seq: fetch.head.latest_seq,
                sources_left: fetch.sources.len() as u32,
            }),
            Work::Storing { revision, .. } => causes.push(SubscriptionCause::Storing {
                seq: revision.head.latest_seq,
            }),
            Work::Idle => {
                if let Some(head) = known.candidates.best()
                    && let Some(until) = self.timers.at(&Timer::Fetch(share))
                {
                    let seq = head.latest_seq;
                    causes.push(SubscriptionCause::NoPeerHasIt { seq, until });
                }
            }
        }
        match known.asks.heads {
            Looking::No => {}
            Looking::Yes | Looking::Again => causes.push(SubscriptionCause::LookingUp),
        }
        if known.asks.providers {
            causes.push(SubscriptionCause::LookingForProviders);
        }
        if known.asks.peers > 0 {
            let peers = known.asks.peers;
            causes.push(SubscriptionCause::AskingPeers { peers });
        }
        let poll = self.timers.at(&Timer::Poll(share));
        causes.extend(poll.map(SubscriptionCause::NextPollAt));
        Some(causes)
    }

    /// Why others may not know of the newest revision of an own share; `None` if it is not ours. `open`
    /// is what all components wait for.
    pub(crate) fn why_share<'a>(
        &self,
        share: ShareId,
        mut open: impl Iterator<Item = &'a crate::cx::Tag>,
    ) -> Option<Vec<ShareCause>> {
        let own = self.shares.get(&share).filter(|own| self.is_listed(own))?;
        let running = self.publishings.values();
        let mut causes: Vec<ShareCause> = running
            .filter_map(|publishing| publishing.cause(&own.name))
            .collect();
        let Some(revision) = &own.revision else {
            causes.push(ShareCause::NoRevision);
            return Some(causes);
        };
        if own.announced >= revision.head.latest_seq {
            return Some(causes);
        }
        let is_announcing = |tag: &crate::cx::Tag| matches!(tag, crate::cx::Tag::Catalogs(Tag::Announcing(of) | Tag::HeadStored(of, _)) if *of == share);
        if open.any(is_announcing) {
            causes.push(ShareCause::Announcing);
        }
        if own.unheard > 0 {
            let attempts = own.unheard;
            causes.push(ShareCause::Unheard { attempts });
        }
        let next = self.timers.at(&Timer::Announce(share));
        causes.extend(next.map(ShareCause::NextAnnouncementAt));
        Some(causes)
    }
}
