//! What must hold of uploads.

use alloc::collections::BTreeSet;
use alloc::format;

use super::{Tag, Uploads};
use crate::check::Broken;
use crate::id::{ContentId, LinkId};
use crate::session::Roster;

impl Uploads {
    /// `tags` is what all components wait for from us.
    pub(in crate::transfers) fn check(&self, tags: &[&Tag], roster: &Roster, broken: &mut Broken) {
        let mut jobs = BTreeSet::new();
        let mut hashed: BTreeSet<ContentId> = BTreeSet::new();
        for tag in tags {
            match tag {
                Tag::Piece(id, _) | Tag::Row(id) => drop(jobs.insert(*id)),
                Tag::Hashed(content, _) => drop(hashed.insert(*content)),
            }
        }
        broken.unless(self.lines.working().eq(&jobs), || {
            "the requests that the disk works on are not those that are loaded for".into()
        });
        for content in self.hashing.running() {
            broken.unless(hashed.contains(content), || {
                format!("{content} is to be hashed and is not")
            });
        }
        self.lines.check(|link| roster.is_held_up(link), broken);
        self.hashing.check(broken);
        self.level1.check("level 1 of large contents", broken);
    }

    /// Requests to be answered, by session.
    pub(in crate::transfers) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.lines.tickets().chain(self.hashing.tickets())
    }
}
