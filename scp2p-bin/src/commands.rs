//! The commands that talk to a running node.

use std::path::{self, Component, Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use scp2p_proto::id::ShareId;
use serde::Serialize;
use smol::Timer;

use crate::api::{
    Client, ClientError, Download, GetRequest, Item, PublishRequest, Refused, Started, Text,
    Visibility,
};
use crate::cli::{BrowseArgs, Common, GetArgs, PublishArgs, SearchArgs};
use crate::failure::{Failure, Misuse};
use crate::progress::{self, Progress};
use crate::resolve::{self, Known, Target};
use crate::{dirs, output};

/// How long a node may take to stop when no circuits pass.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a stopping node is looked for.
const STOP_POLL: Duration = Duration::from_millis(20);
/// The most results of a search at a time.
const SEARCH_LIMIT_MAX: u32 = 200;

/// A user at a node.
pub struct Session {
    client: Client,
    data_dir: PathBuf,
    json: bool,
}

impl Session {
    /// With the node on the data directory that the arguments or the environment name.
    ///
    /// # Errors
    /// No data directory is known.
    pub fn new(common: &Common) -> Result<Session, Failure> {
        let data_dir = dirs::data_dir(common.data_dir.as_deref(), |name| env::var_os(name))?;
        Ok(Session {
            client: Client::new(&data_dir),
            data_dir,
            json: common.json,
        })
    }

    /// Asks the node and prints the answer.
    ///
    /// # Errors
    /// The node does not answer, refuses, or the answer cannot be printed.
    pub async fn show<T: Serialize>(
        &self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
        print: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let answer = ask(&self.client).await?;
        self.print(&answer, print)
    }

    /// `scp2p publish`.
    pub async fn publish(&self, args: &PublishArgs) -> Result<(), Failure> {
        let visibility = match (args.public, args.private) {
            (false, false) => None,
            (true, false) => Some(Visibility::Public),
            (false, true) => Some(Visibility::Private),
            (true, true) => return Err(Misuse::PublicAndPrivate.into()),
        };
        if args.paths.is_empty() {
            return Err(Misuse::NoPath.into());
        }
        let request = PublishRequest {
            name: args.share.clone(),
            paths: args
                .paths
                .iter()
                .map(|path| existing(path))
                .collect::<Result<_, _>>()?,
            title: args.title.clone(),
            description: args.description.clone(),
            tags: (!args.tag.is_empty()).then(|| args.tag.clone()),
            visibility,
        };
        let published = progress::while_hashing(self.json, self.client.publish(&request)).await?;
        self.print(&published, |published| {
            format!(
                "{}: revision {}, {}, {}\n{}\n",
                output::shown(&request.name),
                published.seq,
                output::count(published.items, "item", "items"),
                output::size(published.bytes),
                output::shown(&published.link)
            )
        })
    }

    /// `scp2p link`.
    pub async fn link(&self, share: &str) -> Result<(), Failure> {
        let share = self.share(share).await?;
        self.show(
            async |client| client.link(&share).await,
            |link| format!("{}\n", output::shown(&link.link)),
        )
        .await
    }

    /// `scp2p unpublish`.
    pub async fn unpublish(&self, share: &str) -> Result<(), Failure> {
        let share = self.share(share).await?;
        let answer = |_: &_| {
            format!(
                "{share} is no longer served; what others have of it stays with them, and its key is kept for publishing it again\n"
            )
        };
        self.show(async |client| client.unpublish(share).await, answer)
            .await
    }

    /// `scp2p subscribe`.
    pub async fn subscribe(&self, share: &str) -> Result<(), Failure> {
        let link = if share.contains("://") {
            share.to_owned()
        } else {
            let listed = self.client.public().await?;
            resolve::public(&listed, share)?.link.clone()
        };
        let answer = |subscribed: &crate::api::Subscribed| {
            if subscribed.new {
                format!(
                    "following {}; its catalog arrives when somebody who has it is reached: scp2p subscriptions\n",
                    subscribed.share
                )
            } else {
                format!("{} is followed already\n", subscribed.share)
            }
        };
        self.show(async |client| client.subscribe(&link).await, answer)
            .await
    }

    /// `scp2p unsubscribe`.
    pub async fn unsubscribe(&self, share: &str) -> Result<(), Failure> {
        let share = self.share(share).await?;
        let answer = |_: &_| format!("{share} is no longer followed; what was downloaded stays\n");
        self.show(async |client| client.unsubscribe(share).await, answer)
            .await
    }

    /// `scp2p sync`.
    pub async fn sync(&self, share: Option<&str>) -> Result<(), Failure> {
        let share = match share {
            Some(share) => Some(self.share(share).await?),
            None => None,
        };
        let answer = |synced: &crate::api::Synced| {
            format!(
                "{} looked up, {} with a new revision\n",
                output::count(synced.shares, "share", "shares"),
                synced.updated
            )
        };
        self.show(async |client| client.sync(share).await, answer)
            .await
    }

    /// `scp2p browse`.
    pub async fn browse(&self, args: &BrowseArgs) -> Result<(), Failure> {
        let known = Known::load(&self.client, &self.data_dir).await?;
        let (share, below) = known.share_and_path(&args.share)?;
        let mut catalog = self.client.catalog(&share).await?;
        if let Some(path) = args.path.as_ref().or(below.as_ref()) {
            catalog.items.retain(|item| is_below(item, path));
            if catalog.items.is_empty() {
                return Err(resolve::ResolveError::Unknown(path.clone()).into());
            }
        }
        self.print(&catalog, |catalog| {
            output::catalog(catalog, &catalog.items.iter().collect::<Vec<_>>())
        })
    }

    /// `scp2p search`.
    pub async fn search(&self, args: &SearchArgs) -> Result<(), Failure> {
        if args.query.is_empty() {
            return Err(Misuse::NoQuery.into());
        }
        if !(1..=SEARCH_LIMIT_MAX).contains(&args.limit) {
            return Err(Misuse::Limit(args.limit).into());
        }
        let share = match &args.share {
            Some(share) => Some(self.share(share).await?),
            None => None,
        };
        let found = self
            .client
            .search(&args.query.join(" "), share, args.offset, args.limit)
            .await?;
        resolve::keep_hits(&self.data_dir, &found.hits)
            .map_err(|error| Failure::File(dirs::last_search(&self.data_dir), error))?;
        self.print(&found, output::found)
    }

    /// `scp2p get`.
    pub async fn get(&self, args: &GetArgs) -> Result<(), Failure> {
        let target = self.target(&args.what).await?;
        let folder = absolute(args.output.as_deref().unwrap_or(Path::new(".")))?;
        let (share, path, content) = match target {
            Target::Share { share, path } => (Some(Text(share)), path, None),
            Target::Content(content) => (None, None, Some(Text(content))),
        };
        let request = GetRequest {
            share,
            path,
            content,
            folder: utf8(folder)?,
        };
        let started = self.client.get(&request).await?;
        for item in &started.refused {
            if !self.json {
                let (path, reason) = (output::shown(&item.path), output::shown(&item.reason));
                eprintln!("scp2p: not downloaded: {path}: {reason}");
            }
        }
        if args.detach {
            self.print(&started, started_line)?;
        } else {
            self.wait(&started).await?;
        }
        match started.refused.len() {
            0 => Ok(()),
            count => Err(Failure::ItemsRefused(count)),
        }
    }

    /// `scp2p pause`.
    pub async fn pause(&self, id: u64) -> Result<(), Failure> {
        let answer = |_: &_| format!("download {id} is paused; go on with: scp2p resume {id}\n");
        self.show(async |client| client.pause(id).await, answer)
            .await
    }

    /// `scp2p resume`.
    pub async fn resume(&self, id: u64) -> Result<(), Failure> {
        let answer = |_: &_| format!("download {id} goes on; see: scp2p downloads\n");
        self.show(async |client| client.resume(id).await, answer)
            .await
    }

    /// `scp2p cancel`.
    pub async fn cancel(&self, id: u64) -> Result<(), Failure> {
        let answer = |_: &_| {
            format!(
                "download {id} is no longer listed; complete files stay, partial ones are deleted\n"
            )
        };
        self.show(async |client| client.cancel(id).await, answer)
            .await
    }

    /// `scp2p events`.
    pub async fn events(&self) -> Result<(), Failure> {
        let mut events = self.client.events().await?;
        while let Some((line, event)) = events.next().await? {
            let text = if self.json {
                String::from_utf8_lossy(&line).into_owned()
            } else {
                output::event(&event)
            };
            if !output::print(&text).map_err(|error| Failure::System("standard output", error))? {
                break;
            }
        }
        Ok(())
    }

    /// `scp2p stop`: returns when the node is gone.
    pub async fn stop(&self) -> Result<(), Failure> {
        let stopping = self.client.stop().await?;
        let deadline = Instant::now() + STOP_TIMEOUT + Duration::from_secs(stopping.drain_secs);
        loop {
            match self.client.id().await {
                Err(ClientError::NoNode { .. }) => {
                    return self.print(&stopping, |_| "stopped\n".to_owned());
                }
                Ok(_) | Err(_) if Instant::now() > deadline => return Err(Failure::StillRunning),
                Ok(_) | Err(_) => drop(Timer::after(STOP_POLL).await),
            }
        }
    }

    async fn wait(&self, started: &Started) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut progress = Progress::new(self.json);
        let download = progress::wait(&self.client, started.download, &mut progress).await?;
        let refused = &started.refused;
        self.print(&Got { download, refused }, |Got { download, .. }| {
            let givers = output::givers(&download.peers);
            format!(
                "{}, {} in {:.1} s{}\n",
                output::count(download.items, "item", "items"),
                output::size(download.total),
                begun.elapsed().as_secs_f64(),
                if givers.is_empty() {
                    String::new()
                } else {
                    format!(", from {givers}")
                }
            )
        })
    }

    async fn share(&self, text: &str) -> Result<ShareId, Failure> {
        Ok(Known::load(&self.client, &self.data_dir)
            .await?
            .share(text)?)
    }

    async fn target(&self, text: &str) -> Result<Target, Failure> {
        let mut known = Known::load(&self.client, &self.data_dir).await?;
        if known.needs_contents(text) {
            known.load_contents(&self.client).await?;
        }
        Ok(known.target(text)?)
    }

    fn print<T: Serialize>(
        &self,
        value: &T,
        print: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let printed = if self.json {
            output::print_json(value)
        } else {
            output::print(&print(value))
        };
        printed
            .map(drop)
            .map_err(|error| Failure::System("standard output", error))
    }
}

/// What `scp2p get --json` prints at the end.
#[derive(Serialize)]
struct Got<'a> {
    #[serde(flatten)]
    download: Download,
    refused: &'a [Refused],
}

fn started_line(started: &Started) -> String {
    format!(
        "download {}: {}, {}; see: scp2p downloads\n",
        started.download,
        output::count(started.items, "item", "items"),
        output::size(started.bytes)
    )
}

/// Whether an item is the path itself or in the folder of that path.
fn is_below(item: &Item, path: &str) -> bool {
    let path = path.trim_matches('/');
    path.is_empty()
        || item
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The absolute form of a path that is there, with the name that the user gave it.
fn existing(path: &Path) -> Result<String, Failure> {
    let absolute = absolute(path)?;
    fs::symlink_metadata(&absolute).map_err(|error| Failure::File(path.to_owned(), error))?;
    utf8(absolute)
}

/// A path without `.` and `..`, which would not name a folder in a catalog.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: io::Error| Failure::File(path.to_owned(), error);
    let absolute = path::absolute(path).map_err(failed)?;
    if absolute
        .components()
        .any(|part| part == Component::ParentDir)
    {
        return fs::canonicalize(&absolute).map_err(failed);
    }
    // Collecting the components drops a slash at the end.
    Ok(absolute.components().collect())
}

fn utf8(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string()
        .into_string()
        .map_err(|path| Misuse::NotUtf8(path.into()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use scp2p_proto::id::ContentId;

    #[test]
    fn a_path_selects_itself_and_what_is_below() {
        let item = |path: &str| Item {
            path: path.to_owned(),
            content: Text(ContentId([0; 32])),
            size: 0,
            mime: None,
            tags: Vec::new(),
        };
        assert!(is_below(&item("a/b/c"), "a/b"));
        assert!(is_below(&item("a/b/c"), "/a/b/"));
        assert!(is_below(&item("a/b"), "a/b"));
        assert!(is_below(&item("a"), ""));
        assert!(!is_below(&item("a/bc"), "a/b"));
        assert!(!is_below(&item("b/a/b"), "a/b"));
    }

    #[test]
    fn a_path_keeps_the_name_that_was_given() {
        let temp = tempfile::tempdir().expect("temp");
        let dir = temp.path().canonicalize().expect("there");
        fs::create_dir(dir.join("folder")).expect("made");
        std::os::unix::fs::symlink(dir.join("folder"), dir.join("link")).expect("linked");
        let given = |path: &str| existing(&dir.join(path)).expect("there");
        assert_eq!(Path::new(&given("link/.")), dir.join("link"));
        assert_eq!(Path::new(&given("folder/")), dir.join("folder"));
        assert_eq!(Path::new(&given("folder/..")), dir);
        assert!(matches!(
            existing(&dir.join("none")),
            Err(Failure::File(..))
        ));
    }
}
