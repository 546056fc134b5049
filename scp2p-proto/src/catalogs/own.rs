//! An own share and its row.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::plan::About;
use super::revision::Revision;
use crate::id::{ShareId, ShareKey};
use crate::limits::{DESCRIPTION_MAX, ITEM_TAG_MAX, ITEM_TAGS_MAX, SHARE_NAME_MAX, TITLE_MAX};
use crate::record::{Manifest, ShareHead, Visibility};
use crate::storage::LocalPath;
use crate::view::ShareView;
use crate::wire::cbor::{Field, Reader, Writer};
use crate::wire::{DecodeError, HeadAnnounce, PublicShareSummary};

/// A named identity that revisions are published under.
pub(super) struct OwnShare {
    pub name: String,
    signing: SigningKey,
    /// The highest sequence number that may have been signed.
    pub reserved: u64,
    pub about: About,
    /// The newest revision; none before the first is durable, and none when the share was taken back.
    pub revision: Option<Revision>,
    /// Files of that revision that are not what they were.
    pub changed: BTreeSet<LocalPath>,
    /// The item whose provider record is written next.
    pub next_item: u32,
    /// Announcements since the start or the newest revision.
    pub rounds: u32,
    /// Announcements in a row that nobody took.
    pub unheard: u32,
    /// The highest sequence number that somebody took since the start.
    pub announced: u64,
}

impl OwnShare {
    /// A share without revisions.
    pub(super) fn new(name: String, secret: [u8; 32]) -> OwnShare {
        OwnShare {
            name,
            signing: SigningKey::from_bytes(&secret),
            reserved: 0,
            about: About::default(),
            revision: None,
            changed: BTreeSet::new(),
            next_item: 0,
            rounds: 0,
            unheard: 0,
            announced: 0,
        }
    }

    pub(super) fn key(&self) -> ShareKey {
        ShareKey(self.signing.verifying_key().to_bytes())
    }

    pub(super) fn id(&self) -> ShareId {
        self.key().share_id()
    }

    pub(super) fn sign_manifest(&self, manifest: Manifest) -> Manifest {
        manifest.sign(&self.signing)
    }

    pub(super) fn sign_head(&self, head: ShareHead) -> ShareHead {
        head.sign(&self.signing)
    }

    /// There is no revision any more; what was, if there was one.
    pub(super) fn withdraw(&mut self) -> Option<Revision> {
        self.changed.clear();
        self.next_item = 0;
        self.rounds = 0;
        self.unheard = 0;
        self.revision.take()
    }

    pub(super) fn announcement(&self) -> Option<HeadAnnounce> {
        let head = self.revision.as_ref()?.head.clone();
        Some(HeadAnnounce {
            key: self.key(),
            head,
        })
    }

    /// What anybody may list, if the share is public.
    pub(super) fn summary(&self) -> Option<(&ShareHead, PublicShareSummary)> {
        let head = &self.revision.as_ref()?.head;
        if self.about.visibility != Visibility::Public {
            return None;
        }
        let summary = PublicShareSummary {
            share: head.share,
            key: self.key(),
            latest_seq: head.latest_seq,
            latest_manifest: head.latest_manifest,
            title: self.about.title.clone(),
            description: self.about.description.clone(),
        };
        Some((head, summary))
    }

    pub(super) fn view(&self, followers: u32) -> ShareView {
        let revision = self.revision.as_ref();
        ShareView {
            id: self.id(),
            name: self.name.clone(),
            title: self.about.title.clone(),
            seq: revision.map_or(0, |revision| revision.head.latest_seq),
            manifest: revision.map(Revision::manifest),
            items: revision.map_or(0, |revision| revision.items),
            bytes: revision.map_or(0, |revision| revision.bytes),
            visibility: self.about.visibility,
            followers,
            changed: self.changed.iter().cloned().collect(),
        }
    }

    /// The row as it will be with this revision.
    pub(super) fn row(&self, about: &About, revision: Option<&Revision>) -> Bytes {
        let mut w = Writer::new();
        w.map(8);
        w.uint(0u8).text(&self.name);
        w.uint(1u8).bytes(&self.signing.to_bytes());
        w.uint(2u8).uint(self.reserved);
        w.uint(3u8)
            .option(revision, |w, revision| revision.write(w));
        w.uint(4u8).option(about.title.as_deref(), |w, text| {
            w.text(text);
        });
        w.uint(5u8).option(about.description.as_deref(), |w, text| {
            w.text(text);
        });
        w.uint(6u8).list(&about.tags, |w, tag| {
            w.text(tag);
        });
        w.uint(7u8).bool(about.visibility == Visibility::Public);
        w.finish().into()
    }

    pub(super) fn from_row(row: &[u8]) -> Result<OwnShare, DecodeError> {
        let (mut name, mut secret) = (Field::new("name"), Field::new("secret"));
        let (mut reserved, mut revision) = (Field::new("reserved"), Field::new("revision"));
        let (mut title, mut description) = (Field::new("title"), Field::new("description"));
        let (mut tags, mut public) = (Field::new("tags"), Field::new("public"));
        Reader::new(row).int_map(|key, r| match key {
            0 => name.first(r, |r, name| r.string(name, SHARE_NAME_MAX)),
            1 => secret.first(r, Reader::exact),
            2 => reserved.first(r, Reader::u64),
            3 => revision.first(r, |r, _| Revision::read(r)),
            4 => title.first(r, |r, name| r.string(name, TITLE_MAX)),
            5 => description.first(r, |r, name| r.string(name, DESCRIPTION_MAX)),
            6 => tags.first(r, |r, name| {
                r.list(name, ITEM_TAGS_MAX, |r| r.string(name, ITEM_TAG_MAX))
            }),
            7 => public.first(r, Reader::bool),
            _ => r.skip(),
        })?;
        let mut share = OwnShare::new(name.required()?, secret.required()?);
        share.reserved = reserved.required()?;
        share.revision = revision.optional();
        share.about = About {
            title: title.optional(),
            description: description.optional(),
            tags: tags.optional().unwrap_or_else(Vec::new),
            visibility: match public.optional() {
                Some(true) => Visibility::Public,
                Some(false) | None => Visibility::Private,
            },
        };
        Ok(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogs::plan::head_of;
    use crate::id::ManifestId;
    use crate::time::UnixTime;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn share() -> OwnShare {
        let mut share = OwnShare::new("photos".to_string(), [9; 32]);
        share.reserved = 12;
        share.about = About {
            title: Some("Photos".to_string()),
            description: None,
            tags: Vec::from(["a".to_string(), "b".to_string()]),
            visibility: Visibility::Public,
        };
        let head = head_of(share.id(), 11, ManifestId([3; 32]), UnixTime(5));
        share.revision = Some(Revision {
            head: share.sign_head(head),
            title: share.about.title.clone(),
            items: 4,
            bytes: 1 << 40,
            previous: Some(ManifestId([2; 32])),
        });
        share
    }

    #[test]
    fn a_row_holds_all_that_must_survive() {
        let share = share();
        let row = share.row(&share.about, share.revision.as_ref());
        let read = OwnShare::from_row(&row).expect("a row of ours");
        assert_eq!(read.key(), share.key());
        assert_eq!(read.name, share.name);
        assert_eq!((read.reserved, &read.about), (12, &share.about));
        assert_eq!(read.revision, share.revision);
    }

    proptest! {
        /// A damaged row is read or refused, nothing else.
        #[test]
        fn a_damaged_row_never_panics(at in 0usize..400, with in any::<u8>()) {
            let share = share();
            let mut row = share.row(&share.about, share.revision.as_ref()).to_vec();
            let at = at % row.len();
            row[at] = with;
            let _ = OwnShare::from_row(&row);
            let _ = OwnShare::from_row(&row[..at]);
        }
    }
}
