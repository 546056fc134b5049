//! Looking for newer revisions at the user's wish.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Catalogs, Timer};
use crate::command::{CommandError, Reply};
use crate::cx::Cx;
use crate::id::{OpId, ShareId};
use crate::limits::{SYNC_TIME_MAX, SYNCS_MAX};

/// A sync that is not finished.
pub(super) struct SyncJob {
    /// The sequence numbers held when it began.
    began: BTreeMap<ShareId, u64>,
    /// Shares about which somebody was not heard yet.
    open: BTreeSet<ShareId>,
}

impl Catalogs {
    pub(crate) fn on_sync(&mut self, cx: &mut Cx<'_>, op: OpId, share: Option<ShareId>) {
        let shares: Vec<_> = match share {
            Some(share) if self.subscriptions.contains_key(&share) => Vec::from([share]),
            // Nobody knows more of our own share than we do.
            Some(share) if self.shares.contains_key(&share) => Vec::new(),
            Some(_) => return cx.done(op, Err(CommandError::UnknownShare)),
            None => self.subscriptions.keys().copied().collect(),
        };
        if self.syncs.len() >= SYNCS_MAX {
            let limit = SYNCS_MAX as u32;
            return cx.done(op, Err(CommandError::LimitReached("syncs", limit)));
        }
        if !shares.is_empty() {
            self.watch_all(cx);
        }
        for share in &shares {
            self.look_everywhere(cx, *share);
        }
        let seq = |share| self.subscriptions.get(share).map_or(0, |known| known.seq());
        let began = shares.iter().map(|share| (*share, seq(share))).collect();
        self.syncs.insert(
            op,
            SyncJob {
                began,
                open: shares.into_iter().collect(),
            },
        );
        self.timers
            .set(Timer::Sync(op), cx.now.mono + SYNC_TIME_MAX);
        self.settle_syncs(cx);
    }

    /// Ends the syncs of which all is heard and fetched.
    pub(super) fn settle_syncs(&mut self, cx: &mut Cx<'_>) {
        if self.syncs.is_empty() || self.watching > 0 {
            return;
        }
        let is_open = |share: &ShareId| {
            let subscription = self.subscriptions.get(share);
            subscription.is_some_and(|subscription| !subscription.is_settled())
        };
        let mut settled = Vec::new();
        for (op, job) in &mut self.syncs {
            job.open.retain(is_open);
            if job.open.is_empty() {
                settled.push(*op);
            }
        }
        for op in settled {
            self.end_sync(cx, op);
        }
    }

    pub(super) fn end_sync(&mut self, cx: &mut Cx<'_>, op: OpId) {
        self.timers.cancel(&Timer::Sync(op));
        let Some(job) = self.syncs.remove(&op) else {
            return;
        };
        let updated = |(share, began): &(&ShareId, &u64)| {
            self.subscriptions
                .get(*share)
                .is_some_and(|known| known.seq() > **began)
        };
        let updated = job.began.iter().filter(updated).count() as u32;
        cx.done(
            op,
            Ok(Reply::Synced {
                shares: job.began.len() as u32,
                updated,
            }),
        );
    }
}
