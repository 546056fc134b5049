//! Publishing: scan, check, hash, reserve a sequence number, sign, commit, announce.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::own::OwnShare;
use super::plan::{About, Plan, check_fits, check_name, head_of};
use super::revision::Revision;
use super::{Catalogs, Tag, Timer};
use crate::command::{CommandError, Publish, Reply};
use crate::cx::{Cx, Outcome};
use crate::event::Event;
use crate::id::{ContentId, OpId, ShareId};
use crate::limits::{HASH_LOADS_MAX, MANIFEST_ITEMS_MAX, OWN_SHARES_MAX, PUBLISHINGS_MAX};
use crate::planted::{self, Bug};
use crate::storage::{FileRef, HashedFile, Load, Loaded, StoreError, Table};
use crate::view::ShareCause;
use crate::wish::Wish;

/// A revision on its way.
pub(super) struct Publishing {
    name: String,
    about: About,
    stage: Stage,
}

enum Stage {
    Scanning,
    Hashing(Hashing),
    /// Waiting for the sequence number to be durable.
    Reserving {
        share: ShareId,
        seq: u64,
        plan: Plan,
        files: Vec<HashedFile>,
    },
    /// Waiting for the revision to be durable.
    Storing {
        share: ShareId,
        revision: Revision,
    },
}

struct Hashing {
    plan: Plan,
    batches: Vec<Batch>,
    /// Batches begun.
    begun: u32,
    /// Batches being hashed.
    running: u32,
}

struct Batch {
    files: Range<usize>,
    hashed: Vec<HashedFile>,
}

impl Catalogs {
    pub(crate) fn on_publish(&mut self, cx: &mut Cx<'_>, op: OpId, publish: Publish) {
        match self.begin_publishing(&publish) {
            Ok(about) => {
                let stage = Stage::Scanning;
                self.publishings.insert(
                    op,
                    Publishing {
                        name: publish.name,
                        about,
                        stage,
                    },
                );
                let files_max = MANIFEST_ITEMS_MAX as u32;
                cx.load(
                    Load::Scan {
                        roots: publish.paths,
                        files_max,
                    },
                    Tag::Scanned(op),
                );
            }
            Err(error) => cx.done(op, Err(error)),
        }
    }

    fn begin_publishing(&self, publish: &Publish) -> Result<About, CommandError> {
        check_name(&publish.name)?;
        if publish.paths.is_empty() {
            return Err(CommandError::NothingToPublish);
        }
        let mut running = self.publishings.values();
        let known = self.share_named(&publish.name).map(|(_, share)| share);
        if running.any(|running| running.is_of(&publish.name))
            || known.is_some_and(|own| self.is_being_changed(own))
        {
            return Err(CommandError::Busy);
        }
        if self.publishings.len() >= PUBLISHINGS_MAX {
            let limit = PUBLISHINGS_MAX as u32;
            return Err(CommandError::LimitReached("shares being published", limit));
        }
        let last = known.map(|share| &share.about);
        if last.is_none() && self.shares.len() >= OWN_SHARES_MAX {
            return Err(CommandError::LimitReached(
                "own shares",
                OWN_SHARES_MAX as u32,
            ));
        }
        About::from_publish(publish, last)
    }

    pub(super) fn scanned(&mut self, cx: &mut Cx<'_>, op: OpId, outcome: Outcome) {
        let Outcome::Loaded(result) = outcome else {
            return;
        };
        let Some(publishing) = self.publishings.get_mut(&op) else {
            return;
        };
        let plan = match result {
            Ok(Loaded::Scan(files)) => Plan::new(files, &publishing.about),
            Ok(_) => Err(CommandError::Store(unexpected())),
            Err(StoreError::TooMany(limit)) => Err(CommandError::TooManyItems { limit }),
            Err(error) => Err(CommandError::Store(error)),
        };
        match plan {
            Ok(plan) => {
                publishing.stage = Stage::Hashing(Hashing::new(plan));
                publishing.hash_more(cx, op);
            }
            Err(error) => self.fail_publishing(cx, op, error),
        }
    }

    pub(super) fn hashed(&mut self, cx: &mut Cx<'_>, op: OpId, batch: u32, outcome: Outcome) {
        let Outcome::Loaded(result) = outcome else {
            return;
        };
        let Some(publishing) = self.publishings.get_mut(&op) else {
            return;
        };
        let Stage::Hashing(hashing) = &mut publishing.stage else {
            return;
        };
        let files = match result {
            Ok(Loaded::Hash(files)) => files.into_iter().collect(),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(error),
        };
        match files.and_then(|files| hashing.add(batch, files)) {
            Ok(()) if hashing.is_complete() => self.reserve(cx, op),
            Ok(()) => publishing.hash_more(cx, op),
            Err(error) => self.fail_publishing(cx, op, CommandError::Store(error)),
        }
    }

    /// Makes the next sequence number durable before anything is signed with it: a crash may
    /// skip a number, never use one twice.
    fn reserve(&mut self, cx: &mut Cx<'_>, op: OpId) {
        let Some(publishing) = self.publishings.get_mut(&op) else {
            return;
        };
        let stage = core::mem::replace(&mut publishing.stage, Stage::Scanning);
        let Stage::Hashing(Hashing { plan, batches, .. }) = stage else {
            return;
        };
        let files = batches.into_iter().flat_map(|batch| batch.hashed).collect();
        let name = publishing.name.clone();
        let share = match self.share_named(&name) {
            Some((share, _)) => share,
            None => self.make_share(name),
        };
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        if own.reserved == 0 || !planted::has(cx.config, Bug::NumberTwice) {
            own.reserved = own.reserved.saturating_add(1);
        }
        let stage = Stage::Reserving {
            share,
            seq: own.reserved,
            plan,
            files,
        };
        cx.put(
            Table::Shares,
            share.0.to_vec(),
            own.row(&own.about, own.revision.as_ref()),
        );
        cx.commit(Tag::Reserved(op));
        if let Some(publishing) = self.publishings.get_mut(&op) {
            publishing.stage = stage;
        }
    }

    pub(super) fn reserved(&mut self, cx: &mut Cx<'_>, op: OpId, outcome: Outcome) {
        let Outcome::Committed(result) = outcome else {
            return;
        };
        let Some(publishing) = self.publishings.get_mut(&op) else {
            return;
        };
        let stage = core::mem::replace(&mut publishing.stage, Stage::Scanning);
        let Stage::Reserving {
            share,
            seq,
            plan,
            files,
        } = stage
        else {
            return;
        };
        if let Err(error) = result {
            if self
                .shares
                .get(&share)
                .is_some_and(|own| own.revision.is_none())
                && seq == 1
            {
                self.shares.remove(&share);
            }
            return self.fail_publishing(cx, op, CommandError::Store(error));
        }
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        let about = &publishing.about;
        let (items, served) = plan.items(&files, about);
        let manifest = about.manifest(own.key(), seq, cx.now.unix, items);
        let manifest = own.sign_manifest(manifest);
        let bytes = match check_fits(&manifest) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail_publishing(cx, op, error),
        };
        let head = own.sign_head(head_of(share, seq, manifest.id(), cx.now.unix));
        let revision = Revision::new(head, &manifest, own.revision.as_ref());
        cx.put(Table::Manifests, revision.manifest().0.to_vec(), bytes);
        cx.put(
            Table::Shares,
            share.0.to_vec(),
            own.row(about, Some(&revision)),
        );
        if let Some(old) = own
            .revision
            .as_ref()
            .and_then(|old| old.outdated_by(revision.manifest()))
        {
            cx.delete(Table::Manifests, old.0.to_vec());
        }
        publishing.stage = Stage::Storing { share, revision };
        serve(cx, share, served);
        if planted::has(cx.config, Bug::AnsweredEarly) {
            return cx.outcome(Tag::Published(op).into(), Outcome::Committed(Ok(())));
        }
        cx.commit(Tag::Published(op));
    }

    pub(super) fn published(&mut self, cx: &mut Cx<'_>, op: OpId, outcome: Outcome) {
        let Outcome::Committed(result) = outcome else {
            return;
        };
        if let Err(error) = result {
            return self.fail_publishing(cx, op, CommandError::Store(error));
        }
        let Some(publishing) = self.publishings.remove(&op) else {
            return;
        };
        let Stage::Storing { share, revision } = publishing.stage else {
            return;
        };
        let Some(own) = self.shares.get_mut(&share) else {
            return;
        };
        own.about = publishing.about;
        own.changed.clear();
        own.next_item = 0;
        let reply = Reply::Published {
            share,
            seq: revision.head.latest_seq,
            manifest: revision.manifest(),
            items: revision.items,
            bytes: revision.bytes,
            link: super::read::link(cx, own.key(), &[], true),
        };
        let seq = revision.head.latest_seq;
        own.revision = Some(revision);
        own.rounds = 0;
        cx.done(op, Ok(reply));
        cx.event(Event::SharePublished { share, seq });
        self.tell_watchers(cx, &share);
        self.timers.set(Timer::Announce(share), cx.now.mono);
    }

    fn fail_publishing(&mut self, cx: &mut Cx<'_>, op: OpId, error: CommandError) {
        if self.publishings.remove(&op).is_some() {
            cx.done(op, Err(error));
        }
    }

    fn share_named(&self, name: &str) -> Option<(ShareId, &OwnShare)> {
        let mut shares = self.shares.iter();
        shares
            .find(|(_, share)| share.name == name)
            .map(|(id, share)| (*id, share))
    }

    fn make_share(&mut self, name: String) -> ShareId {
        let mut secret = [0; 32];
        self.rng.fill(&mut secret);
        let own = OwnShare::new(name, secret);
        let share = own.id();
        self.shares.insert(share, own);
        share
    }
}

impl Publishing {
    /// Whether it is one of the share of this name.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.name == name
    }

    /// How far the revision of a share of this name is.
    pub(super) fn cause(&self, name: &str) -> Option<ShareCause> {
        if !self.is_of(name) {
            return None;
        }
        Some(match &self.stage {
            Stage::Scanning => ShareCause::Scanning,
            Stage::Hashing(hashing) => {
                let begun = hashing.begun.saturating_sub(hashing.running);
                let batches_left = (hashing.batches.len() as u32).saturating_sub(begun);
                ShareCause::Hashing { batches_left }
            }
            Stage::Reserving { .. } => ShareCause::Reserving,
            Stage::Storing { .. } => ShareCause::Storing,
        })
    }

    /// Keeps several batches under way, so that several cores are busy.
    fn hash_more(&mut self, cx: &mut Cx<'_>, op: OpId) {
        let Stage::Hashing(hashing) = &mut self.stage else {
            return;
        };
        while hashing.running < HASH_LOADS_MAX {
            let number = hashing.begun;
            let Some(batch) = hashing.batches.get(number as usize) else {
                return;
            };
            hashing.begun += 1;
            hashing.running += 1;
            let files = hashing.plan.paths(batch.files.clone());
            cx.load(Load::Hash(files), Tag::Hashed(op, number));
        }
    }
}

impl Hashing {
    fn new(plan: Plan) -> Hashing {
        let batch = |files| Batch {
            files,
            hashed: Vec::new(),
        };
        let batches = plan.batches().into_iter().map(batch).collect();
        Hashing {
            plan,
            batches,
            begun: 0,
            running: 0,
        }
    }

    fn add(&mut self, number: u32, files: Vec<HashedFile>) -> Result<(), StoreError> {
        self.running = self.running.saturating_sub(1);
        let batch = self
            .batches
            .get_mut(number as usize)
            .ok_or_else(unexpected)?;
        if files.len() != batch.files.len() {
            return Err(unexpected());
        }
        batch.hashed = files;
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.running == 0 && self.begun as usize == self.batches.len()
    }
}

/// Goes into the same batch as the revision, so that a durable revision is always served.
fn serve(cx: &mut Cx<'_>, share: ShareId, files: Vec<(ContentId, FileRef)>) {
    cx.wish(Wish::Serve { share, files });
}

fn unexpected() -> StoreError {
    StoreError::Failed(String::from("the disk answered another question"))
}

#[cfg(any(test, feature = "check"))]
impl Publishing {
    /// The outcomes that it waits for, and how many.
    pub(super) fn awaited(&self) -> (fn(&Tag, OpId) -> bool, u64) {
        match &self.stage {
            Stage::Scanning => (|tag, op| *tag == Tag::Scanned(op), 1),
            Stage::Hashing(hashing) => (
                |tag, op| matches!(tag, Tag::Hashed(of, _) if *of == op),
                hashing.running.into(),
            ),
            Stage::Reserving { .. } => (|tag, op| *tag == Tag::Reserved(op), 1),
            Stage::Storing { .. } => (|tag, op| *tag == Tag::Published(op), 1),
        }
    }
}
