//! What people name things by: names, titles, first digits of ids, numbers of search results.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::{fs, io};

use scp2p_proto::id::{ContentId, ShareId};

use crate::api::{Client, ClientError, Hit, PublicShare, Share, Subscription};
use crate::{dirs, output};

/// The fewest digits of an id that name it.
const DIGITS_MIN: usize = 4;
/// Digits of a whole id.
const DIGITS: usize = 64;
/// The longest file of search results that is read, in bytes.
const LAST_SEARCH_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Everything that has a name.
#[derive(Debug, Default)]
pub struct Known {
    /// Own shares.
    pub shares: Vec<Share>,
    /// Shares followed.
    pub subscriptions: Vec<Subscription>,
    /// Results of the last search.
    pub hits: Vec<Hit>,
    /// Contents of catalogs with their paths, if [`Known::needs_contents`].
    pub contents: BTreeMap<ContentId, String>,
}

/// What to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Items of a share.
    Share {
        /// The share.
        share: ShareId,
        /// A path in it; none for all.
        path: Option<String>,
    },
    /// One content.
    Content(ContentId),
}

impl Known {
    /// Asks the node for its shares and subscriptions and reads the last search.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn load(client: &Client, data_dir: &Path) -> Result<Known, ClientError> {
        Ok(Known {
            shares: client.shares().await?,
            subscriptions: client.subscriptions().await?,
            hits: read_hits(&dirs::last_search(data_dir)).unwrap_or_default(),
            contents: BTreeMap::new(),
        })
    }

    /// Whether contents of catalogs could be meant by this text.
    pub fn needs_contents(&self, text: &str) -> bool {
        is_prefix(text)
            && text.len() < DIGITS
            && !self.shares.iter().any(|share| share.name == text)
    }

    /// Asks the node for the contents of all catalogs that it has.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn load_contents(&mut self, client: &Client) -> Result<(), ClientError> {
        let own = self.shares.iter().map(|share| share.id.0);
        let followed = self
            .subscriptions
            .iter()
            .map(|subscription| subscription.id.0);
        for share in own.chain(followed).collect::<Vec<_>>() {
            match client.catalog(&share).await {
                Ok(catalog) => {
                    self.contents.extend(
                        catalog
                            .items
                            .into_iter()
                            .map(|item| (item.content.0, item.path)),
                    );
                }
                // No catalog yet, or the share is gone meanwhile.
                Err(ClientError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The share of this name, title, id or search result. An own share's name comes before
    /// everything that others can choose.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn share(&self, text: &str) -> Result<ShareId, ResolveError> {
        if let Some(share) = self.shares.iter().find(|share| share.name == text) {
            return Ok(share.id.0);
        }
        if let Ok(share) = text.parse() {
            return Ok(share);
        }
        one(text, self.candidates(text), |named| match named {
            Named::Share(share) => Some(*share),
            Named::Content(_) => None,
        })
    }

    /// The share of this text as in [`Known::share`], or of `SHARE/PATH`, with the path.
    ///
    /// # Errors
    /// There is no share of this name, or there are several.
    pub fn share_and_path(&self, text: &str) -> Result<(ShareId, Option<String>), ResolveError> {
        match self.share(text) {
            Ok(share) => Ok((share, None)),
            Err(ResolveError::Unknown(_)) => self.below(text),
            Err(other @ (ResolveError::NotListed(_) | ResolveError::Ambiguous { .. })) => {
                Err(other)
            }
        }
    }

    /// What to download by this text: a share, `SHARE/PATH`, a content or a search result.
    ///
    /// # Errors
    /// There is nothing of this name, or there are several things.
    pub fn target(&self, text: &str) -> Result<Target, ResolveError> {
        if let Some(share) = self.shares.iter().find(|share| share.name == text) {
            return Ok(Target::Share {
                share: share.id.0,
                path: None,
            });
        }
        if let Some(hit) = self.hit(text) {
            return Ok(Target::Share {
                share: hit.share.0,
                path: Some(hit.path.clone()),
            });
        }
        if let Ok(content) = text.parse() {
            return Ok(
                match self
                    .ids()
                    .find(|id| *id.as_bytes() == *ContentId::as_bytes(&content))
                {
                    Some(share) => Target::Share { share, path: None },
                    None => Target::Content(content),
                },
            );
        }
        let whole = one(text, self.candidates(text), |named| {
            Some(match named {
                Named::Share(share) => Target::Share {
                    share: *share,
                    path: None,
                },
                Named::Content(content) => Target::Content(*content),
            })
        });
        match whole {
            Err(ResolveError::Unknown(_)) => {
                let (share, path) = self.below(text)?;
                Ok(Target::Share { share, path })
            }
            other => other,
        }
    }

    /// Names may have slashes themselves, so every part that ends at one may be the share.
    fn below(&self, text: &str) -> Result<(ShareId, Option<String>), ResolveError> {
        for (slash, _) in text.match_indices('/') {
            match self.share(&text[..slash]) {
                Ok(share) => {
                    let path = text[slash..].trim_matches('/');
                    return Ok((share, (!path.is_empty()).then(|| path.to_owned())));
                }
                Err(ResolveError::Unknown(_)) => {}
                Err(other @ (ResolveError::NotListed(_) | ResolveError::Ambiguous { .. })) => {
                    return Err(other);
                }
            }
        }
        Err(ResolveError::Unknown(text.to_owned()))
    }

    fn ids(&self) -> impl Iterator<Item = ShareId> {
        let own = self.shares.iter().map(|share| share.id.0);
        own.chain(
            self.subscriptions
                .iter()
                .map(|subscription| subscription.id.0),
        )
    }

    fn hit(&self, text: &str) -> Option<&Hit> {
        let number: u64 = text.parse().ok()?;
        self.hits.iter().find(|hit| hit.number == number)
    }

    /// All that the text can mean, with what to show for each.
    fn candidates(&self, text: &str) -> BTreeMap<Named, String> {
        let mut found = BTreeMap::new();
        let prefix = is_prefix(text).then(|| text.to_ascii_lowercase());
        let starts = |id: &dyn fmt::Display| {
            prefix
                .as_ref()
                .is_some_and(|prefix| id.to_string().starts_with(prefix))
        };
        for share in &self.shares {
            if share.title.as_deref() == Some(text) || starts(&share.id) {
                found.insert(
                    Named::Share(share.id.0),
                    format!("own share {}", output::shown(&share.name)),
                );
            }
        }
        for subscription in &self.subscriptions {
            let title = subscription.title.as_deref();
            if title == Some(text) || starts(&subscription.id) {
                let title = title.map_or("untitled".to_owned(), output::start);
                found.insert(
                    Named::Share(subscription.id.0),
                    format!("followed share {title}"),
                );
            }
        }
        if let Some(hit) = self.hit(text) {
            found.insert(
                Named::Share(hit.share.0),
                format!("share of search result {}", hit.number),
            );
        }
        let hits = self.hits.iter().map(|hit| (&hit.content.0, &hit.path));
        for (content, path) in self.contents.iter().chain(hits) {
            if starts(content) {
                found.insert(
                    Named::Content(*content),
                    format!("content {}", output::start(path)),
                );
            }
        }
        found
    }
}

/// The public share of this title or id.
///
/// # Errors
/// There is none, or there are several.
pub fn public<'a>(listed: &'a [PublicShare], text: &str) -> Result<&'a PublicShare, ResolveError> {
    let prefix = is_prefix(text).then(|| text.to_ascii_lowercase());
    let is_meant = |share: &&PublicShare| {
        let id = share.id.to_string();
        share.title.as_deref() == Some(text)
            || prefix.as_ref().is_some_and(|prefix| id.starts_with(prefix))
    };
    let fitting: Vec<_> = listed.iter().filter(is_meant).collect();
    match fitting[..] {
        [] => Err(ResolveError::NotListed(text.to_owned())),
        [share] => Ok(share),
        _ => Err(ResolveError::Ambiguous {
            text: text.to_owned(),
            candidates: fitting
                .iter()
                .map(|share| {
                    let title = share
                        .title
                        .as_deref()
                        .map_or("untitled".to_owned(), output::start);
                    (share.id.to_string(), format!("public share {title}"))
                })
                .collect(),
        }),
    }
}

/// Something that an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Share(ShareId),
    Content(ContentId),
}

fn is_prefix(text: &str) -> bool {
    (DIGITS_MIN..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The only candidate that will do.
fn one<T>(
    text: &str,
    found: BTreeMap<Named, String>,
    wanted: impl Fn(&Named) -> Option<T>,
) -> Result<T, ResolveError> {
    let mut fitting: Vec<_> = found
        .into_iter()
        .filter_map(|(named, label)| Some((wanted(&named)?, named, label)))
        .collect();
    match fitting.len() {
        0 => Err(ResolveError::Unknown(text.to_owned())),
        1 => Ok(fitting.remove(0).0),
        _ => Err(ResolveError::Ambiguous {
            text: text.to_owned(),
            candidates: fitting
                .into_iter()
                .map(|(_, named, label)| match named {
                    Named::Share(share) => (share.to_string(), label),
                    Named::Content(content) => (content.to_string(), label),
                })
                .collect(),
        }),
    }
}

/// Why a text does not name a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveError {
    /// It names nothing.
    Unknown(String),
    /// It names no public share.
    NotListed(String),
    /// It names several things: each id and what it is.
    Ambiguous {
        /// The text.
        text: String,
        /// The things.
        candidates: Vec<(String, String)>,
    },
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::Unknown(text) => write!(
                f,
                "{text:?} names nothing here: neither a share's name or title, nor {DIGITS_MIN} or more digits of an \
                 id, nor a number of the last search; see: scp2p shares, scp2p subscriptions, scp2p search"
            ),
            ResolveError::NotListed(text) => write!(
                f,
                "{text:?} is no link, and no public share of a connected peer has this title or id; see: scp2p public"
            ),
            ResolveError::Ambiguous { text, candidates } => {
                write!(
                    f,
                    "{text:?} names several things; use more digits of one of these ids:"
                )?;
                candidates
                    .iter()
                    .try_for_each(|(id, label)| write!(f, "\n  {id}  {label}"))
            }
        }
    }
}

impl std::error::Error for ResolveError {}

/// Keeps the results of a search so that they can be named by number.
///
/// # Errors
/// They cannot be written.
pub fn keep_hits(data_dir: &Path, hits: &[Hit]) -> io::Result<()> {
    let file = tempfile::NamedTempFile::new_in(data_dir)?;
    serde_json::to_writer(&file, hits)?;
    file.persist(dirs::last_search(data_dir))?;
    Ok(())
}

fn read_hits(path: &Path) -> Option<Vec<Hit>> {
    let size = fs::metadata(path).ok()?.len();
    let bytes = if size <= LAST_SEARCH_BYTES_MAX {
        fs::read(path).ok()?
    } else {
        return None;
    };
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Text, Visibility};

    fn id(start: &str) -> ShareId {
        format!("{start:0<64}").parse().expect("hex")
    }

    fn content(start: &str) -> ContentId {
        ContentId(id(start).0)
    }

    fn own(name: &str, start: &str) -> Share {
        Share {
            id: Text(id(start)),
            name: name.to_owned(),
            title: None,
            seq: 1,
            manifest: None,
            items: 0,
            bytes: 0,
            visibility: Visibility::Private,
            followers: 0,
            changed: Vec::new(),
        }
    }

    fn followed(title: &str, start: &str) -> Subscription {
        Subscription {
            id: Text(id(start)),
            title: Some(title.to_owned()),
            seq: 1,
            manifest: None,
            items: 0,
            bytes: 0,
            checked: None,
            providers: 0,
        }
    }

    fn hit(number: u64, share: &str, path: &str, start: &str) -> Hit {
        Hit {
            number,
            share: Text(id(share)),
            share_title: None,
            path: path.to_owned(),
            content: Text(content(start)),
            size: 1,
            mime: None,
            tags: Vec::new(),
            score_milli: 0,
        }
    }

    fn known() -> Known {
        Known {
            shares: vec![own("photos", "abcd1"), own("a/b", "1111")],
            subscriptions: vec![
                followed("Films", "abcd2"),
                followed("Films", "5555"),
                followed("photos", "6666"),
            ],
            hits: vec![
                hit(1, "abcd2", "x/y.mkv", "7777"),
                hit(2, "5555", "z", "abcd3"),
            ],
            contents: BTreeMap::from([
                (content("99990"), "p".to_owned()),
                (content("99991"), "q".to_owned()),
            ]),
        }
    }

    fn path(share: &str, path: &str) -> Target {
        Target::Share {
            share: id(share),
            path: (!path.is_empty()).then(|| path.to_owned()),
        }
    }

    #[test]
    fn a_share_has_a_name_a_title_an_id_and_search_results() {
        let known = known();
        assert_eq!(
            known.share("photos"),
            Ok(id("abcd1")),
            "an own name beats a title that others chose"
        );
        assert_eq!(known.share("ABCD1"), Ok(id("abcd1")));
        assert_eq!(known.share("6666"), Ok(id("6666")));
        assert_eq!(known.share("2"), Ok(id("5555")));
        let unknown = id("ffff");
        assert_eq!(
            known.share(&unknown.to_string()),
            Ok(unknown),
            "a whole id needs not be known"
        );
    }

    #[test]
    fn what_names_nothing_or_several_things_is_an_error() {
        let known = known();
        for text in ["", "photo", "abc", "3", "0", "films", "7777"] {
            assert_eq!(
                known.share(text),
                Err(ResolveError::Unknown(text.to_owned()))
            );
        }
        let Err(ResolveError::Ambiguous { candidates, .. }) = known.share("abcd") else {
            panic!("not ambiguous")
        };
        assert_eq!(
            candidates
                .iter()
                .map(|(id, _)| &id[..5])
                .collect::<Vec<_>>(),
            ["abcd1", "abcd2"]
        );
        let several = known.share("Films").expect_err("two titles");
        assert!(
            several.to_string().contains(&id("5555").to_string()),
            "{several}"
        );
    }

    #[test]
    fn a_download_is_a_share_a_path_a_content_or_a_search_result() {
        let known = known();
        assert_eq!(known.target("photos"), Ok(path("abcd1", "")));
        assert_eq!(known.target("photos/"), Ok(path("abcd1", "")));
        assert_eq!(
            known.target("photos/2024/a b.jpg"),
            Ok(path("abcd1", "2024/a b.jpg"))
        );
        assert_eq!(known.target("a/b"), Ok(path("1111", "")));
        assert_eq!(known.target("a/b/c"), Ok(path("1111", "c")));
        assert_eq!(known.target("5555/c/d/"), Ok(path("5555", "c/d")));
        assert_eq!(known.target("1"), Ok(path("abcd2", "x/y.mkv")));
        assert_eq!(known.target("7777"), Ok(Target::Content(content("7777"))));
        assert_eq!(known.target("99991"), Ok(Target::Content(content("99991"))));
        let other = content("eeee");
        assert_eq!(known.target(&other.to_string()), Ok(Target::Content(other)));
        assert_eq!(known.target(&id("5555").to_string()), Ok(path("5555", "")));
    }

    #[test]
    fn several_things_to_download_are_an_error() {
        let known = known();
        assert!(matches!(
            known.target("9999"),
            Err(ResolveError::Ambiguous { .. })
        ));
        assert!(matches!(
            known.target("Films/x"),
            Err(ResolveError::Ambiguous { .. })
        ));
        let Err(ResolveError::Ambiguous { candidates, .. }) = known.target("abcd") else {
            panic!("not ambiguous")
        };
        assert_eq!(candidates.len(), 3, "two shares and a content");
        assert!(matches!(
            known.target("nothing/here"),
            Err(ResolveError::Unknown(_))
        ));
    }

    #[test]
    fn search_results_are_kept_and_a_damaged_file_is_none() {
        let temp = tempfile::tempdir().expect("temp");
        let hits = known().hits;
        keep_hits(temp.path(), &hits).expect("kept");
        let file = dirs::last_search(temp.path());
        assert_eq!(read_hits(&file), Some(hits));
        fs::write(&file, "[{").expect("written");
        assert_eq!(read_hits(&file), None);
    }
}
