//! Which contents we serve, and from which files.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{ContentId, ShareId};
use crate::storage::{FileRef, LocalPath};
use crate::wire::DecodeError;
use crate::wire::cbor::{Field, Reader, Writer};

/// A path is bounded by the system that it came from; a row of ours has no longer one.
const PATH_BYTES_MAX: usize = 8192;

/// All contents served.
#[derive(Default)]
pub(super) struct Sources {
    contents: BTreeMap<ContentId, Vec<Source>>,
}

/// A file with the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The share it belongs to, own or subscribed.
    pub share: Option<ShareId>,
    /// It was published by us, not downloaded.
    pub own: bool,
    pub file: FileRef,
}

impl Sources {
    pub(super) fn len(&self) -> usize {
        self.contents.len()
    }

    pub(super) fn contents(&self) -> impl Iterator<Item = ContentId> {
        self.contents.keys().copied()
    }

    /// The file to serve a content from.
    pub(super) fn source(&self, content: &ContentId) -> Option<&Source> {
        self.contents.get(content)?.first()
    }

    /// A file to serve a content from that is none of these.
    pub(super) fn copy(&self, content: &ContentId, failed: &[FileRef]) -> Option<&Source> {
        let mut sources = self.contents.get(content)?.iter();
        sources.find(|source| !failed.contains(&source.file))
    }

    /// All that is served of a content from this file.
    pub(super) fn at(&self, content: &ContentId, file: &FileRef) -> Vec<Source> {
        let sources = self.contents.get(content).into_iter().flatten();
        sources
            .filter(|source| source.file == *file)
            .cloned()
            .collect()
    }

    /// Subscribed shares of which something is served.
    pub(super) fn followed(&self) -> Vec<ShareId> {
        let sources = self
            .contents
            .values()
            .flatten()
            .filter(|source| !source.own);
        let mut shares: Vec<ShareId> = sources.filter_map(|source| source.share).collect();
        shares.sort_unstable();
        shares.dedup();
        shares
    }

    /// Serves a file too; true if the content was not served before.
    pub(super) fn insert(&mut self, content: ContentId, source: Source) -> bool {
        let sources = self.contents.entry(content).or_default();
        sources.retain(|known| known.share != source.share || known.own != source.own);
        sources.push(source);
        sources.len() == 1
    }

    /// No longer serves a content for a share; true if it is not served at all any more.
    pub(super) fn remove(
        &mut self,
        content: &ContentId,
        share: Option<ShareId>,
        own: bool,
    ) -> bool {
        let Some(sources) = self.contents.get_mut(content) else {
            return false;
        };
        sources.retain(|source| source.share != share || source.own != own);
        if sources.is_empty() {
            self.contents.remove(content);
            return true;
        }
        false
    }

    /// What is served for an own share.
    pub(super) fn of_own_share(&self, share: ShareId) -> Vec<ContentId> {
        let served = self.contents.iter().filter(|(_, sources)| {
            sources
                .iter()
                .any(|source| source.own && source.share == Some(share))
        });
        served.map(|(content, _)| *content).collect()
    }
}

/// The key of a source's row.
pub(super) fn row_key(content: &ContentId, share: Option<ShareId>, own: bool) -> Bytes {
    let mut key = Vec::with_capacity(65);
    key.extend_from_slice(&content.0);
    key.push(u8::from(own));
    if let Some(share) = share {
        key.extend_from_slice(&share.0);
    }
    key.into()
}

pub(super) fn encode(source: &Source) -> Bytes {
    let mut w = Writer::new();
    w.map(3);
    w.uint(0u8).text(&source.file.path.0);
    w.uint(1u8).uint(source.file.size);
    // Times before 1970 keep their bits.
    w.uint(2u8).uint(source.file.mtime_ns.cast_unsigned());
    w.finish().into()
}

/// Reads a row back; `None` if it is not one of ours.
pub(super) fn decode(key: &[u8], row: &[u8]) -> Option<(ContentId, Source)> {
    let (content, rest) = key.split_first_chunk::<32>()?;
    let (own, share) = rest.split_first()?;
    let file = read_file(row).ok()?;
    let share = ShareId::from_slice(share);
    Some((
        ContentId(*content),
        Source {
            share,
            own: *own == 1,
            file,
        },
    ))
}

fn read_file(row: &[u8]) -> Result<FileRef, DecodeError> {
    let (mut path, mut size) = (Field::new("path"), Field::new("size"));
    let mut mtime = Field::new("mtime");
    Reader::new(row).int_map(|key, r| match key {
        0 => path.first(r, |r, name| r.string(name, PATH_BYTES_MAX)),
        1 => size.first(r, Reader::u64),
        2 => mtime.first(r, Reader::u64),
        _ => r.skip(),
    })?;
    let path: String = path.required()?;
    Ok(FileRef {
        path: LocalPath(path),
        size: size.required()?,
        mtime_ns: mtime.required()?.cast_signed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(share: Option<u8>, own: bool) -> Source {
        let file = FileRef {
            path: LocalPath("/a/b".into()),
            size: 7,
            mtime_ns: -3,
        };
        Source {
            share: share.map(|byte| ShareId([byte; 32])),
            own,
            file,
        }
    }

    #[test]
    fn a_source_survives_its_row() {
        let content = ContentId([9; 32]);
        for source in [
            source(None, false),
            source(Some(1), true),
            source(Some(2), false),
        ] {
            let row = encode(&source);
            let read = decode(&row_key(&content, source.share, source.own), &row);
            assert_eq!(read, Some((content, source)));
        }
    }

    #[test]
    fn a_file_is_told_apart_from_others_of_the_same_content() {
        let mut sources = Sources::default();
        let content = ContentId([9; 32]);
        let mut copy = source(None, false);
        copy.file.path = LocalPath("/copy".into());
        sources.insert(content, source(Some(1), true));
        sources.insert(content, copy.clone());
        assert_eq!(sources.at(&content, &copy.file), [copy.clone()]);
        sources.remove(&content, None, false);
        assert_eq!(sources.at(&content, &copy.file), []);
        assert_eq!(sources.source(&content), Some(&source(Some(1), true)));
    }

    #[test]
    fn a_content_is_served_until_its_last_file_is_gone() {
        let mut sources = Sources::default();
        let content = ContentId([9; 32]);
        assert!(sources.insert(content, source(Some(1), true)));
        assert!(!sources.insert(content, source(Some(2), false)));
        assert_eq!(sources.of_own_share(ShareId([1; 32])), [content]);
        assert_eq!(sources.followed(), [ShareId([2; 32])]);
        assert!(!sources.remove(&content, Some(ShareId([1; 32])), true));
        assert!(sources.remove(&content, Some(ShareId([2; 32])), false));
        assert!(sources.source(&content).is_none());
    }
}
