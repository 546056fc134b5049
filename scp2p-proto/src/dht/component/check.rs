//! What must hold of lookups, stores and values.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

use super::{Dht, Tag};
use crate::check::{Broken, counted};
use crate::id::LinkId;
use crate::limits::{HUBS_MAX, SEARCHES_MAX, SEARCHES_WAITING_MAX};
use crate::time::Now;

impl Dht {
    /// `tags` is what all components wait for.
    pub(crate) fn check(&self, tags: &[&crate::cx::Tag], now: Now, broken: &mut Broken) {
        broken.not_overdue("the DHT", self.deadline(), now.mono);
        let all: [fn(&Tag) -> Option<u64>; 4] = [
            |tag| {
                if let Tag::Query(id) = tag {
                    Some(*id)
                } else {
                    None
                }
            },
            |tag| {
                if let Tag::Local(id) = tag {
                    Some(*id)
                } else {
                    None
                }
            },
            |tag| {
                if let Tag::Sent(id) = tag {
                    Some(*id)
                } else {
                    None
                }
            },
            |tag| {
                if let Tag::Kept(id) = tag {
                    Some(*id)
                } else {
                    None
                }
            },
        ];
        let own = || {
            tags.iter().filter_map(|tag| {
                if let crate::cx::Tag::Dht(tag) = tag {
                    return Some(tag);
                }
                None
            })
        };
        let [queries, local, sent, kept] = all.map(|id| counted(own().filter_map(id)));
        self.table.check(broken);
        broken.at_most("hubs", self.hubs.len(), HUBS_MAX);
        self.check_searches(&queries, &local, broken);
        for (id, sending) in &self.sendings {
            let open = sent.get(id).copied().unwrap_or(0);
            broken.equal(
                "stores sent and those waited for",
                open,
                sending.open.into(),
            );
            broken.unless(sending.open > 0, || format!("nobody ends the sending {id}"));
        }
        let unknown = sent.keys().filter(|id| !self.sendings.contains_key(id));
        broken.at_most("stores sent for nothing", unknown.count(), 0);
        self.values.check(broken);
        self.rendezvous.check(broken);
        let kept: BTreeSet<u64> = kept.into_keys().collect();
        self.storing.check(&kept, broken);
        let open = self.searches.len() + self.waiting.len();
        self.ledger.check(open, broken);
    }

    fn check_searches(
        &self,
        queries: &BTreeMap<u64, u64>,
        local: &BTreeMap<u64, u64>,
        broken: &mut Broken,
    ) {
        broken.at_most("lookups", self.searches.len(), SEARCHES_MAX);
        broken.at_most(
            "lookups that wait",
            self.waiting.len(),
            SEARCHES_WAITING_MAX,
        );
        let is_full = self.searches.len() == SEARCHES_MAX;
        broken.unless(is_full || self.waiting.is_empty(), || {
            "a lookup waits although there is a place for it".into()
        });
        for (id, search) in &self.searches {
            search.check(broken);
            let open = queries.get(id).copied().unwrap_or(0);
            broken.equal("queries sent and those waited for", open, search.open());
            broken.unless(open > 0 || local.contains_key(id), || {
                format!("the lookup {id} waits for nothing")
            });
        }
    }

    /// Requests to be answered, by session.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.storing.tickets()
    }
}
