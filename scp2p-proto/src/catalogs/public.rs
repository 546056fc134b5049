//! Which public shares the connected peers have, at the user's wish.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Catalogs, Tag};
use crate::command::{CommandError, PublicShare, Reply};
use crate::cx::{Cx, Outcome};
use crate::id::{NodeKey, OpId, ShareId};
use crate::limits::{
    LISTINGS_MAX, LISTINGS_PEERS_MAX, LISTINGS_SHARES_MAX, PUBLIC_SHARES_ASKED, PUBLIC_TIME,
};
use crate::record::ShareLink;
use crate::wire::{Answer, PublicShareSummary, Request};

/// A listing of which some peers have not answered.
#[derive(Default)]
pub(super) struct Listing {
    /// Calls without an outcome.
    open: u32,
    shares: BTreeMap<ShareId, PublicShare>,
}

impl Catalogs {
    pub(crate) fn on_list(&mut self, cx: &mut Cx<'_>, op: OpId) {
        if self.listings.len() >= LISTINGS_MAX {
            let limit = LISTINGS_MAX as u32;
            return cx.done(
                op,
                Err(CommandError::LimitReached("lists under way", limit)),
            );
        }
        let peers: BTreeSet<NodeKey> = cx
            .roster
            .iter()
            .filter(|(_, session)| session.is_callable())
            .map(|(key, _)| *key)
            .take(LISTINGS_PEERS_MAX)
            .collect();
        let mut listing = Listing::default();
        for peer in peers {
            let request = Request::ListPublicShares {
                max_entries: PUBLIC_SHARES_ASKED,
            };
            cx.call(peer, request, PUBLIC_TIME, Tag::Listed(op));
            listing.open += 1;
        }
        self.listings.insert(op, listing);
        self.end_listing(cx, op);
    }

    pub(super) fn listed(&mut self, cx: &mut Cx<'_>, op: OpId, outcome: Outcome) {
        let Some(listing) = self.listings.get_mut(&op) else {
            return;
        };
        listing.open = listing.open.saturating_sub(1);
        if let Outcome::Answer {
            answer: Ok(Answer::PublicShares(shares)),
            ..
        } = outcome
        {
            listing.take(shares);
        }
        self.end_listing(cx, op);
    }

    fn end_listing(&mut self, cx: &mut Cx<'_>, op: OpId) {
        if self
            .listings
            .get(&op)
            .is_some_and(|listing| listing.open > 0)
        {
            return;
        }
        let Some(listing) = self.listings.remove(&op) else {
            return;
        };
        let mut shares: Vec<PublicShare> = listing.shares.into_values().collect();
        shares.sort_by(|a, b| (Reverse(a.peers), &a.title).cmp(&(Reverse(b.peers), &b.title)));
        cx.done(op, Ok(Reply::Public(shares)));
    }
}

impl Listing {
    /// What one peer has. Of what several peers have, the newest revision is told.
    fn take(&mut self, summaries: Vec<PublicShareSummary>) {
        let mut named = BTreeSet::new();
        for summary in summaries {
            // A key belongs to one share only, and who names a share often counts once.
            if summary.key.share_id() != summary.share || !named.insert(summary.share) {
                continue;
            }
            let is_full = self.shares.len() >= LISTINGS_SHARES_MAX;
            match self.shares.get_mut(&summary.share) {
                None if is_full => {}
                None => {
                    self.shares
                        .insert(summary.share, PublicShare::of(summary, 1));
                }
                Some(known) => {
                    let peers = known.peers.saturating_add(1);
                    if summary.latest_seq > known.seq {
                        *known = PublicShare::of(summary, peers);
                    } else {
                        known.peers = peers;
                    }
                }
            }
        }
    }
}

impl PublicShare {
    fn of(summary: PublicShareSummary, peers: u32) -> PublicShare {
        PublicShare {
            link: ShareLink {
                key: summary.key,
                bootstrap: Vec::new(),
            },
            seq: summary.latest_seq,
            title: summary.title,
            description: summary.description,
            peers,
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Listing {
    /// `open` calls have no outcome.
    pub(super) fn check(&self, open: u64, broken: &mut crate::check::Broken) {
        broken.equal("peers asked for public shares", self.open.into(), open);
        broken.unless(open > 0, || {
            "a list of public shares waits for nobody".into()
        });
        broken.at_most("public shares", self.shares.len(), LISTINGS_SHARES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ManifestId, ShareKey};
    use alloc::string::ToString;
    use alloc::vec;

    fn summary(share: u8, seq: u64) -> PublicShareSummary {
        let key = ShareKey([share; 32]);
        PublicShareSummary {
            share: key.share_id(),
            key,
            latest_seq: seq,
            latest_manifest: ManifestId([0; 32]),
            title: Some(seq.to_string()),
            description: None,
        }
    }

    #[test]
    fn the_newest_of_what_peers_say_is_told() {
        let mut listing = Listing::default();
        listing.take(vec![summary(1, 2), summary(2, 1), summary(1, 9)]);
        listing.take(vec![summary(1, 3)]);
        listing.take(vec![summary(1, 1)]);
        let found: Vec<_> = listing
            .shares
            .values()
            .map(|share| (share.link.share(), share.seq, share.peers))
            .collect();
        let mut expected = vec![(summary(1, 0).share, 3, 3), (summary(2, 0).share, 1, 1)];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_key_of_another_share_is_not_listed() {
        let mut listing = Listing::default();
        let wrong = PublicShareSummary {
            share: summary(1, 1).share,
            ..summary(2, 1)
        };
        listing.take(vec![wrong]);
        assert!(listing.shares.is_empty());
    }
}
