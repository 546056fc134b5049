//! From the files a user named to the items of a manifest.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::{mime, revision};
use crate::command::{CommandError, Publish};
use crate::id::{ContentId, ManifestId, ShareId, ShareKey};
use crate::limits::{
    DESCRIPTION_MAX, HASH_BATCH_BYTES, HASH_BATCH_FILES, ITEM_PATH_MAX, ITEM_TAG_MAX,
    ITEM_TAGS_MAX, MANIFEST_BYTES_MAX, MANIFEST_ITEMS_MAX, SHARE_NAME_MAX, TITLE_MAX,
};
use crate::record::{Item, Manifest, ShareHead, Visibility};
use crate::storage::{FileRef, HashedFile, LocalPath, ScannedFile};
use crate::time::UnixTime;

/// What an owner says about a share and all its items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct About {
    pub title: Option<String>,
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub visibility: Visibility,
}

impl About {
    /// What a publishing says, with what it leaves open taken from the last revision. An empty text
    /// removes the one before.
    pub(super) fn from_publish(
        publish: &Publish,
        last: Option<&About>,
    ) -> Result<About, CommandError> {
        check_length("title", publish.title.as_deref(), TITLE_MAX)?;
        check_length(
            "description",
            publish.description.as_deref(),
            DESCRIPTION_MAX,
        )?;
        let mut about = last.cloned().unwrap_or_default();
        if let Some(title) = &publish.title {
            about.title = Some(title.clone()).filter(|title| !title.is_empty());
        }
        if let Some(description) = &publish.description {
            about.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        if let Some(tags) = &publish.tags {
            about.tags = checked_tags(tags)?;
        }
        if let Some(visibility) = publish.visibility {
            about.visibility = visibility;
        }
        Ok(about)
    }

    /// A manifest of these items, not signed yet.
    pub(super) fn manifest(
        &self,
        key: ShareKey,
        seq: u64,
        now: UnixTime,
        items: Vec<Item>,
    ) -> Manifest {
        Manifest {
            version: 1,
            key,
            share: key.share_id(),
            seq,
            created_at: now,
            expires_at: None,
            title: self.title.clone(),
            description: self.description.clone(),
            visibility: self.visibility,
            communities: Vec::new(),
            items,
            recommended_shares: Vec::new(),
            signature: None,
        }
    }
}

/// Checks a share's local name.
pub(super) fn check_name(name: &str) -> Result<(), CommandError> {
    if name.is_empty() || name.len() > SHARE_NAME_MAX || name.chars().any(char::is_control) {
        return Err(CommandError::BadName);
    }
    Ok(())
}

/// The head of a manifest, not signed yet.
pub(super) fn head_of(share: ShareId, seq: u64, manifest: ManifestId, now: UnixTime) -> ShareHead {
    ShareHead {
        share,
        latest_seq: seq,
        latest_manifest: manifest,
        updated_at: now,
        signature: [0; 64],
    }
}

/// Files that fit a manifest, sorted by their place in it.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    files: Vec<ScannedFile>,
}

impl Plan {
    /// Checks everything that can be known before a byte is hashed.
    pub(super) fn new(mut files: Vec<ScannedFile>, about: &About) -> Result<Plan, CommandError> {
        if files.is_empty() {
            return Err(CommandError::NothingToPublish);
        }
        if files.len() > MANIFEST_ITEMS_MAX {
            let limit = MANIFEST_ITEMS_MAX as u32;
            return Err(CommandError::TooManyItems { limit });
        }
        files.sort_by(|a, b| a.rel.cmp(&b.rel));
        if let Some(file) = files.iter().find(|file| file.rel.len() > ITEM_PATH_MAX) {
            return Err(CommandError::PathTooLong(file.rel.clone()));
        }
        for pair in files.windows(2) {
            if let [first, second] = pair
                && first.rel == second.rel
            {
                return Err(CommandError::DuplicatePath(first.rel.clone()));
            }
        }
        let plan = Plan { files };
        plan.check_size(about)?;
        Ok(plan)
    }

    /// The files to hash together, in order: few enough that several batches keep several cores busy.
    pub(super) fn batches(&self) -> Vec<Range<usize>> {
        let mut batches = Vec::new();
        let (mut start, mut bytes) = (0, 0u64);
        for (index, file) in self.files.iter().enumerate() {
            let full = index - start >= HASH_BATCH_FILES
                || bytes.saturating_add(file.size) > HASH_BATCH_BYTES;
            if full && index > start {
                batches.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes = bytes.saturating_add(file.size);
        }
        batches.push(start..self.files.len());
        batches
    }

    /// Where the files of a batch lie.
    pub(super) fn paths(&self, batch: Range<usize>) -> Vec<LocalPath> {
        let files = self.files.get(batch).unwrap_or_default();
        files.iter().map(|file| file.path.clone()).collect()
    }

    /// The items, once all files are hashed, and what to serve them from.
    pub(super) fn items(
        &self,
        hashed: &[HashedFile],
        about: &About,
    ) -> (Vec<Item>, Vec<(ContentId, FileRef)>) {
        let items = self
            .files
            .iter()
            .zip(hashed)
            .map(|(file, hashed)| item(&file.rel, hashed, &about.tags));
        let files = hashed
            .iter()
            .map(|hashed| (hashed.content, hashed.file.clone()));
        (items.collect(), files.collect())
    }

    /// Refuses what cannot fit, taking hashes and numbers that are as long as any.
    fn check_size(&self, about: &About) -> Result<(), CommandError> {
        let longest = |file: &ScannedFile| HashedFile {
            file: FileRef {
                path: LocalPath(String::new()),
                size: file.size,
                mtime_ns: 0,
            },
            content: ContentId([0xff; 32]),
            chunk_count: u32::MAX,
            chunk_list_hash: [0xff; 32],
        };
        let items = self
            .files
            .iter()
            .map(|file| item(&file.rel, &longest(file), &about.tags))
            .collect();
        let mut draft = about.manifest(ShareKey([0xff; 32]), u64::MAX, UnixTime(u64::MAX), items);
        draft.signature = Some([0xff; 64]);
        check_fits(&draft).map(drop)
    }
}

/// The bytes of a manifest that can be sent.
pub(super) fn check_fits(manifest: &Manifest) -> Result<Vec<u8>, CommandError> {
    revision::stored_form(manifest).ok_or_else(|| CommandError::ManifestTooLarge {
        bytes: manifest.encode_compact().len() as u64,
        limit: MANIFEST_BYTES_MAX as u64,
    })
}

fn item(rel: &str, hashed: &HashedFile, tags: &[String]) -> Item {
    let folder_and_name = rel.rsplit_once('/');
    let name = folder_and_name.map_or(rel, |(_, name)| name);
    Item {
        content: hashed.content,
        size: hashed.file.size,
        name: name.to_owned(),
        path: folder_and_name.map(|_| rel.to_owned()),
        mime: mime::guess(name).map(ToOwned::to_owned),
        tags: tags.to_vec(),
        chunk_count: hashed.chunk_count,
        chunk_list_hash: hashed.chunk_list_hash,
    }
}

fn check_length(what: &'static str, text: Option<&str>, max: usize) -> Result<(), CommandError> {
    match text {
        Some(text) if text.len() > max => Err(CommandError::TooLong(what, max as u32)),
        Some(_) | None => Ok(()),
    }
}

/// The tags without surrounding space, empty ones and repetitions.
fn checked_tags(tags: &[String]) -> Result<Vec<String>, CommandError> {
    let mut checked: Vec<String> = Vec::new();
    for tag in tags
        .iter()
        .map(|tag| tag.trim())
        .filter(|tag| !tag.is_empty())
    {
        check_length("tag", Some(tag), ITEM_TAG_MAX)?;
        if checked.iter().any(|known| known == tag) {
            continue;
        }
        if checked.len() >= ITEM_TAGS_MAX {
            return Err(CommandError::LimitReached("tags", ITEM_TAGS_MAX as u32));
        }
        checked.push(tag.to_owned());
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn file(rel: &str, size: u64) -> ScannedFile {
        ScannedFile {
            path: LocalPath(format!("/{rel}")),
            rel: rel.to_string(),
            size,
        }
    }

    fn plan(files: Vec<ScannedFile>) -> Result<Plan, CommandError> {
        Plan::new(files, &About::default())
    }

    fn hashed(file: &ScannedFile) -> HashedFile {
        HashedFile {
            file: FileRef {
                path: file.path.clone(),
                size: file.size,
                mtime_ns: 1,
            },
            content: ContentId(blake3::hash(file.rel.as_bytes()).into()),
            chunk_count: 1,
            chunk_list_hash: [1; 32],
        }
    }

    fn publish() -> Publish {
        Publish {
            name: "n".to_string(),
            paths: Vec::new(),
            title: None,
            description: None,
            tags: None,
            visibility: None,
        }
    }

    #[test]
    fn what_cannot_be_a_manifest_is_refused_before_hashing() {
        assert_eq!(plan(Vec::new()), Err(CommandError::NothingToPublish));
        assert_eq!(
            plan(Vec::from([file("b", 1), file("a", 1), file("b", 2)])),
            Err(CommandError::DuplicatePath("b".to_string()))
        );
        let long = "x".repeat(ITEM_PATH_MAX + 1);
        assert_eq!(
            plan(Vec::from([file(&long, 1)])),
            Err(CommandError::PathTooLong(long))
        );
        let many = (0..=MANIFEST_ITEMS_MAX)
            .map(|n| file(&format!("{n}"), 1))
            .collect();
        assert_eq!(plan(many), Err(CommandError::TooManyItems { limit: 3000 }));
        let stem = "y".repeat(900);
        let wide = (0..2000).map(|n| file(&format!("{stem}/{n}"), 1)).collect();
        assert!(matches!(
            plan(wide),
            Err(CommandError::ManifestTooLarge { .. })
        ));
    }

    #[test]
    fn three_thousand_files_with_everyday_names_fit() {
        let many = (0..3000).map(|n| file(&format!("photos/2024/IMG_{n:05}.jpeg"), 4_000_000));
        assert!(plan(many.collect()).is_ok());
    }

    #[test]
    fn only_files_of_folders_have_paths() {
        let plan = plan(Vec::from([file("z.txt", 3), file("a/b/c.png", 4)])).expect("it fits");
        let hashes: Vec<_> = plan.files.iter().map(hashed).collect();
        let about = About {
            tags: Vec::from(["t".to_string()]),
            ..About::default()
        };
        let (items, files) = plan.items(&hashes, &about);
        assert_eq!(items[0].path.as_deref(), Some("a/b/c.png"));
        assert_eq!(items[0].name, "c.png");
        assert_eq!(items[0].mime.as_deref(), Some("image/png"));
        assert_eq!(items[0].tags, ["t"]);
        assert_eq!(
            (items[1].path.as_deref(), items[1].name.as_str()),
            (None, "z.txt")
        );
        assert_eq!(files[1], (items[1].content, hashes[1].file.clone()));
    }

    #[test]
    fn what_is_left_open_is_kept_and_what_is_empty_is_removed() {
        let first = Publish {
            title: Some("T".to_string()),
            tags: Some(Vec::from([
                " a ".to_string(),
                "a".to_string(),
                " ".to_string(),
            ])),
            visibility: Some(Visibility::Public),
            ..publish()
        };
        let about = About::from_publish(&first, None).expect("all within bounds");
        assert_eq!(about.tags, ["a"]);
        assert_eq!(
            About::from_publish(&publish(), Some(&about)),
            Ok(about.clone())
        );
        let cleared = Publish {
            title: Some(String::new()),
            ..publish()
        };
        let cleared = About::from_publish(&cleared, Some(&about)).expect("all within bounds");
        assert_eq!(
            (cleared.title, cleared.visibility),
            (None, Visibility::Public)
        );
        let long = Publish {
            title: Some("x".repeat(TITLE_MAX + 1)),
            ..publish()
        };
        assert_eq!(
            About::from_publish(&long, None),
            Err(CommandError::TooLong("title", TITLE_MAX as u32))
        );
    }

    #[test]
    fn names_are_short_and_printable() {
        assert_eq!(check_name("Fotos é"), Ok(()));
        for bad in ["", "a\nb", "x".repeat(65).as_str()] {
            assert_eq!(check_name(bad), Err(CommandError::BadName));
        }
    }

    proptest! {
        /// Batches follow each other without gaps, none is empty, and one is larger than its bounds only if it
        /// is a single file.
        #[test]
        fn batches_cover_every_file_once(sizes in proptest::collection::vec(0..2 * HASH_BATCH_BYTES, 1..200)) {
            let files = sizes.iter().enumerate().map(|(n, size)| file(&format!("{n:04}"), *size));
            let plan = plan(files.collect()).expect("it fits");
            let mut next = 0;
            for batch in plan.batches() {
                prop_assert_eq!(batch.start, next);
                prop_assert!(batch.end > batch.start);
                let bytes: u64 = sizes[batch.clone()].iter().sum();
                prop_assert!(batch.len() <= HASH_BATCH_FILES);
                prop_assert!(batch.len() == 1 || bytes <= HASH_BATCH_BYTES);
                next = batch.end;
            }
            prop_assert_eq!(next, sizes.len());
        }
    }
}
