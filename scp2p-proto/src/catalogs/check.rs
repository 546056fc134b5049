//! What must hold of own shares and subscriptions.

use alloc::format;
use alloc::vec::Vec;

use super::subscription::{Looking, Subscription, Work};
use super::{Catalogs, Tag, Timer};
use crate::check::Broken;
use crate::id::{LinkId, NodeKey, ShareId};
use crate::limits::{
    LISTINGS_MAX, OWN_SHARES_MAX, PUBLISHINGS_MAX, SHARE_DIALS_TOTAL_MAX, SUBSCRIPTIONS_MAX,
    SYNCS_MAX,
};
use crate::session::Roster;
use crate::time::Now;

impl Catalogs {
    /// `tags` is what all components wait for.
    pub(crate) fn check(
        &self,
        tags: &[&crate::cx::Tag],
        roster: &Roster,
        now: Now,
        broken: &mut Broken,
    ) {
        broken.not_overdue("catalogs", self.deadline(), now.mono);
        let own = tags.iter().filter_map(|tag| {
            if let crate::cx::Tag::Catalogs(tag) = tag {
                return Some(tag);
            }
            None
        });
        let tags: Vec<&Tag> = own.collect();
        let is_connected = |peer: &NodeKey| roster.session(peer).is_some();
        self.check_shares(&tags, broken);
        broken.at_most(
            "subscriptions",
            self.subscriptions.len(),
            SUBSCRIPTIONS_MAX + self.leaving.len(),
        );
        for (share, known) in &self.subscriptions {
            broken.unless(known.key.share_id() == *share, || {
                format!("the subscription {share} has the key of another share")
            });
            known.check(is_connected, broken);
            self.check_work(*share, known, &tags, broken);
        }
        self.watchers.check(is_connected, broken);
        self.cache.check("manifests in memory", broken);
        let count = |test: fn(&Tag) -> bool| tags.iter().filter(|tag| test(tag)).count() as u64;
        let reaching = count(|tag| matches!(tag, Tag::Reached(_)));
        broken.equal("providers being reached", self.reaching.into(), reaching);
        broken.at_most(
            "providers being reached",
            self.reaching as usize,
            SHARE_DIALS_TOTAL_MAX as usize,
        );
        let watching = count(|tag| matches!(tag, Tag::Watching(_)));
        broken.equal(
            "lists of shares without an answer",
            self.watching.into(),
            watching,
        );
        for id in self.asked.keys() {
            broken.unless(tags.contains(&&Tag::Serving(*id)), || {
                format!("the manifest {id} is waited for and not being read")
            });
        }
        broken.at_most("syncs", self.syncs.len(), SYNCS_MAX);
        let timed = |op| self.timers.at(&Timer::Sync(op)).is_some();
        broken.unless(self.syncs.keys().all(|op| timed(*op)), || {
            "a sync has no end".into()
        });
        broken.at_most("lists of public shares", self.listings.len(), LISTINGS_MAX);
        for (op, listing) in &self.listings {
            let open = tags.iter().filter(|tag| ***tag == Tag::Listed(*op));
            listing.check(open.count() as u64, broken);
        }
    }

    fn check_shares(&self, tags: &[&Tag], broken: &mut Broken) {
        let shares_max = OWN_SHARES_MAX + PUBLISHINGS_MAX;
        broken.at_most("own shares", self.shares.len(), shares_max);
        for (id, own) in &self.shares {
            let seq = own
                .revision
                .as_ref()
                .map_or(0, |revision| revision.head.latest_seq);
            broken.unless(own.id() == *id && own.reserved >= seq, || {
                format!("{id}: {seq} is published and {} reserved", own.reserved)
            });
            broken.unless(own.announced <= own.reserved, || {
                format!(
                    "{id}: {} was announced and {} reserved",
                    own.announced, own.reserved
                )
            });
            let of_share = own
                .revision
                .as_ref()
                .is_none_or(|revision| revision.head.share == *id);
            broken.unless(of_share, || {
                format!("{id}: the revision is of another share")
            });
            let timed = self.timers.at(&Timer::Announce(*id)).is_some();
            broken.unless(timed == (seq > 0), || {
                format!("{id} must be announced just when it has a revision")
            });
        }
        for share in &self.withdrawing {
            let is_awaited =
                |tag: &&&Tag| matches!(tag, Tag::Unpublished { share: of, .. } if of == share);
            broken.equal(
                "outcomes that an unpublishing waits for",
                tags.iter().filter(is_awaited).count() as u64,
                1,
            );
        }
        broken.at_most(
            "shares being published",
            self.publishings.len(),
            PUBLISHINGS_MAX,
        );
        for (op, publishing) in &self.publishings {
            let (is_its, wanted) = publishing.awaited();
            let open = tags.iter().filter(|tag| is_its(tag, *op)).count() as u64;
            broken.equal("outcomes that a publishing waits for", open, wanted);
            broken.unless(wanted > 0, || {
                format!("the publishing {op:?} waits for nothing")
            });
        }
    }

    fn check_work(&self, share: ShareId, known: &Subscription, tags: &[&Tag], broken: &mut Broken) {
        let count = |tag: &Tag| tags.iter().filter(|open| **open == tag).count();
        match &known.work {
            Work::Fetching(fetch) => {
                let round = fetch.round;
                broken.unless(count(&Tag::Fetched { share, round }) == 1, || {
                    format!("nobody was asked for the manifest of {share} that is waited for")
                });
            }
            Work::Storing { round, .. } => {
                let round = *round;
                broken.unless(count(&Tag::Stored { share, round }) == 1, || {
                    format!("the revision of {share} that is to be stored is not being stored")
                });
            }
            Work::Idle => {
                let timed = self.timers.at(&Timer::Fetch(share)).is_some();
                broken.unless(timed || known.candidates.best().is_none(), || {
                    format!("there is a newer head of {share}, and nobody sees to it")
                });
            }
        }
        let is_looking = match known.asks.heads {
            Looking::No => false,
            Looking::Yes | Looking::Again => true,
        };
        broken.unless(!is_looking || count(&Tag::HeadsFound(share)) > 0, || {
            format!("the lookup of {share} that is waited for is none")
        });
        let polled = self.timers.at(&Timer::Poll(share)).is_some();
        broken.unless(is_looking || polled, || {
            format!("{share} is no longer looked up")
        });
        let providers = count(&Tag::ProvidersFound(share));
        broken.unless(!known.asks.providers || providers > 0, || {
            format!("the lookup of providers of {share} that is waited for is none")
        });
        let asked = count(&Tag::Reached(share)) + count(&Tag::Asked(share));
        broken.at_most(
            "answers that a subscription waits for",
            known.asks.peers as usize,
            asked,
        );
    }

    /// Requests to be answered, by session.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.asked.values().flatten().map(|ticket| ticket.link())
    }
}
