//! Taking back an own share.

use super::own::OwnShare;
use super::{Catalogs, Tag, Timer};
use crate::command::{CommandError, Reply};
use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, OpId, ShareId};
use crate::storage::Table;
use crate::wish::Wish;

impl Catalogs {
    /// The row keeps the key and the last sequence number, and has no revision any more.
    pub(crate) fn on_unpublish(&mut self, cx: &mut Cx<'_>, op: OpId, share: ShareId) {
        let Some(own) = self.shares.get(&share).filter(|own| self.is_listed(own)) else {
            return cx.done(op, Err(CommandError::UnknownShare));
        };
        let Some(revision) = &own.revision else {
            return cx.done(op, Err(CommandError::Busy));
        };
        if self.is_being_changed(own) {
            return cx.done(op, Err(CommandError::Busy));
        }
        for manifest in revision.manifests() {
            cx.delete(Table::Manifests, manifest.0.to_vec());
        }
        let row = own.row(&own.about, None);
        cx.put(Table::Shares, share.0.to_vec(), row);
        self.withdrawing.insert(share);
        cx.commit(Tag::Unpublished { op, share });
    }

    pub(super) fn unpublished(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        share: ShareId,
        outcome: Outcome,
    ) {
        let Outcome::Committed(result) = outcome else {
            return;
        };
        self.withdrawing.remove(&share);
        if let Err(error) = result {
            return cx.done(op, Err(CommandError::Store(error)));
        }
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        let revision = own.withdraw();
        for manifest in revision.iter().flat_map(|revision| revision.manifests()) {
            self.cache.remove(&manifest);
        }
        self.timers.cancel(&Timer::Announce(share));
        serve_nothing(cx, share);
        cx.done(op, Ok(Reply::Ok));
    }

    /// What a stop left of shares that were taken back is no longer served.
    pub(super) fn withdraw_leftovers(&self, cx: &mut Cx<'_>) {
        let withdrawn = self.shares.iter().filter(|(_, own)| own.revision.is_none());
        withdrawn.for_each(|(share, _)| serve_nothing(cx, *share));
    }

    /// Whether the application is told of a share: a mere key with a name is none.
    pub(super) fn is_listed(&self, own: &OwnShare) -> bool {
        own.revision.is_some() || self.is_being_published(own)
    }

    /// Whether its row is about to change, so that it must not be changed from another side.
    pub(super) fn is_being_changed(&self, own: &OwnShare) -> bool {
        self.is_being_published(own) || self.withdrawing.contains(&own.id())
    }

    fn is_being_published(&self, own: &OwnShare) -> bool {
        let mut running = self.publishings.values();
        running.any(|publishing| publishing.is_of(&own.name))
    }
}

/// Other shares of ours and downloads may have the same files, which are served for those.
fn serve_nothing(cx: &mut Cx<'_>, share: ShareId) {
    let files = [].into();
    cx.wish(Wish::Serve { share, files });
    cx.wish(Wish::Withdrawn([ContentId(share.0)].into()));
}
