//! What others ask about shares.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::own::OwnShare;
use super::revision::Revision;
use super::{Catalogs, Tag};
use crate::cx::{Cx, Outcome};
use crate::id::{ManifestId, NodeKey, ShareId};
use crate::limits::{IDS_MAX, PAYLOAD_MAX};
use crate::planted::{self, Bug};
use crate::session::Ticket;
use crate::storage::{Load, Loaded, Table};
use crate::wire::{Answer, HeadAnnounce, PublicShareSummary};

/// What an entry of a list of public shares takes beside its texts, and some more.
const SUMMARY_BYTES: usize = 512;

impl Catalogs {
    pub(crate) fn on_get_manifest(&mut self, cx: &mut Cx<'_>, ticket: Ticket, id: ManifestId) {
        if !self.keeps(&id) {
            if planted::has(cx.config, Bug::RequestUnanswered) {
                return drop(ticket);
            }
            return cx.refuse(ticket, NOT_FOUND);
        }
        if let Some(bytes) = self.cache.get(&id) {
            let bytes = bytes.clone();
            return cx.answer(ticket, Answer::Manifest { id, bytes });
        }
        let asked = self.asked.entry(id).or_default();
        asked.push(ticket);
        if asked.len() == 1 {
            cx.load(
                Load::Row(Table::Manifests, id.0.to_vec().into()),
                Tag::Serving(id),
            );
        }
    }

    pub(super) fn serving_loaded(&mut self, cx: &mut Cx<'_>, id: ManifestId, outcome: Outcome) {
        let tickets = self.asked.remove(&id).unwrap_or_default();
        let Outcome::Loaded(Ok(Loaded::Row(Some(bytes)))) = outcome else {
            tickets
                .into_iter()
                .for_each(|ticket| cx.refuse(ticket, NOT_FOUND));
            return;
        };
        for ticket in tickets {
            cx.answer(
                ticket,
                Answer::Manifest {
                    id,
                    bytes: bytes.clone(),
                },
            );
        }
        self.cache.insert(id, bytes);
    }

    pub(crate) fn on_list_public(&mut self, cx: &mut Cx<'_>, ticket: Ticket, max_entries: u16) {
        let mut shares: Vec<_> = self.shares.values().filter_map(OwnShare::summary).collect();
        shares.sort_by_key(|(head, _)| (Reverse((head.updated_at, head.latest_seq)), head.share));
        let shares = shares.into_iter().map(|(_, summary)| summary);
        let mut room = PAYLOAD_MAX;
        let fitting = shares
            .take(max_entries.max(1).into())
            .take_while(|summary| {
                let left = room.checked_sub(summary_bytes(summary));
                room = left.unwrap_or(0);
                left.is_some()
            });
        let fitting = fitting.collect();
        cx.answer(ticket, Answer::PublicShares(fitting));
    }

    /// A peer watches these shares from now on. The answer has the heads that we know of them.
    pub(crate) fn on_watch(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        shares: Vec<ShareId>,
    ) {
        self.watchers.set(from, &shares);
        let mut heads = Vec::new();
        for share in shares.iter().take(IDS_MAX) {
            if let Some(announcement) = self.announcement(share) {
                self.watchers
                    .knows(&from, share, announcement.head.latest_seq);
                heads.push(announcement);
            }
        }
        cx.answer(ticket, Answer::Heads(heads));
    }

    pub(crate) fn on_head_announce(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        announce: HeadAnnounce,
    ) {
        cx.answer(ticket, Answer::Ack);
        self.hear_verified(cx, from, &announce.head);
    }

    /// The newest head held of an own or subscribed share.
    pub(super) fn announcement(&self, share: &ShareId) -> Option<HeadAnnounce> {
        let own = self.shares.get(share).and_then(OwnShare::announcement);
        own.or_else(|| self.subscriptions.get(share)?.announcement())
    }

    /// Whether there is a row of this manifest.
    fn keeps(&self, id: &ManifestId) -> bool {
        let own = self.shares.values().filter_map(|own| own.revision.as_ref());
        let followed = self
            .subscriptions
            .values()
            .filter_map(|known| known.revision.as_ref());
        own.chain(followed)
            .flat_map(Revision::manifests)
            .any(|kept| kept == *id)
    }
}

/// As deployed peers word it.
const NOT_FOUND: &str = "manifest not found";

fn summary_bytes(summary: &PublicShareSummary) -> usize {
    let texts = [&summary.title, &summary.description];
    texts
        .into_iter()
        .flatten()
        .map(|text| text.len())
        .sum::<usize>()
        + SUMMARY_BYTES
}
