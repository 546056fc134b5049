//! What happens in a demonstration, step by step.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use scp2p_proto::id::ShareId;
use smol::Timer;

use super::nodes::ChildNode;
use super::{DemoError, Stage, files, say, shown};
use crate::api::{Download, GetRequest, PublishRequest, Published, Text};
use crate::failure::Failure;
use crate::output;
use crate::progress::{self, Progress};

const BOOTSTRAP: &str = "bootstrap node";
const PUBLISHER: &str = "publisher";
const FIRST: &str = "first subscriber";
const SECOND: &str = "second subscriber";

/// The share's name on the publisher.
const SHARE: &str = "demo";
/// What the second revision adds.
const ADDED: &str = "added by the second revision.txt";
/// How long anything but a download may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a new revision may take to arrive by itself.
const PUSH_PATIENCE: Duration = Duration::from_secs(10);
/// How often a node is asked.
const POLL: Duration = Duration::from_millis(50);
/// Results asked of a search.
const RESULTS: u32 = 200;

/// Tells the story with this file or folder, or one that is made.
///
/// # Errors
/// What was not as it should be.
pub async fn tell(stage: &mut Stage, path: Option<&Path>) -> Result<(), Failure> {
    let begun = Instant::now();
    let path = match path {
        Some(path) => {
            std::path::absolute(path).map_err(|error| DemoError::File(path.to_owned(), error))?
        }
        None => {
            let folder = stage.dir().join("SCP2P sample");
            files::sample(&folder)?;
            folder
        }
    };
    let made = path.starts_with(stage.dir());
    let originals = files::originals(&path)?;

    start(stage).await?;
    let published = publish(stage, &[&path]).await?;
    subscribe(stage, &published).await?;
    compare_catalogs(stage, published.share.0, &originals).await?;
    search(stage, &originals).await?;
    let mut verified = download(stage, FIRST, &published, &originals).await?.1;

    say(&format!(
        "\nThe {SECOND} downloads the same, now that there are two who have it."
    ));
    await_providers(stage, &published).await?;
    let (finished, bytes) = download(stage, SECOND, &published, &originals).await?;
    verified += bytes;
    let givers = finished
        .peers
        .iter()
        .filter(|giver| giver.bytes > 0)
        .count();
    if made && givers < 2 {
        return Err(DemoError::OneGiver(SECOND).into());
    }

    verified += second_revision(stage, &path, &published).await?;
    say(&format!(
        "\nAll was right: {} verified in {:.1} s.",
        output::size(verified),
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

async fn start(stage: &mut Stage) -> Result<(), DemoError> {
    say(&format!(
        "Four nodes start on this machine, each a process of its own, in {}.",
        shown(stage.dir())
    ));
    stage.start(BOOTSTRAP, &[]).await?;
    let bootstrap = stage.node(BOOTSTRAP).bootstrap();
    for name in [PUBLISHER, FIRST, SECOND] {
        stage.start(name, &bootstrap).await?;
    }
    for name in [BOOTSTRAP, PUBLISHER, FIRST, SECOND] {
        let node = stage.node(name);
        say(&format!(
            "  {name:18} {}, process {}",
            output::short(&node.status.key),
            node.status.pid
        ));
    }
    for name in [PUBLISHER, FIRST, SECOND] {
        let node = stage.node(name);
        until(name, "a connection to the network", PATIENCE, async || {
            let status = node
                .client
                .status()
                .await
                .map_err(|error| DemoError::Node(name, error))?;
            Ok((status.connected > 0).then_some(()))
        })
        .await?;
    }
    say("  All found the network through the bootstrap node.");
    Ok(())
}

async fn publish(stage: &Stage, paths: &[&Path]) -> Result<Published, DemoError> {
    let node = stage.node(PUBLISHER);
    let mut request = PublishRequest {
        name: SHARE.to_owned(),
        paths: Vec::new(),
        title: Some("A demonstration".to_owned()),
        description: Some("Published by scp2p demo.".to_owned()),
        tags: Some(vec!["demo".to_owned()]),
        visibility: None,
    };
    for path in paths {
        let path = path
            .to_str()
            .ok_or_else(|| DemoError::NotPublishable((*path).to_owned()))?;
        request.paths.push(path.to_owned());
    }
    let last = paths.last().map(|path| shown(path)).unwrap_or_default();
    say(&format!(
        "\nThe {PUBLISHER} publishes {last} where it is; nothing is copied."
    ));
    let begun = Instant::now();
    let published = node
        .client
        .publish(&request)
        .await
        .map_err(|error| DemoError::Node(PUBLISHER, error))?;
    say(&format!(
        "  Share {}, revision {}: {}, {}, hashed and signed in {:.1} s.",
        output::short(&published.share),
        published.seq,
        output::count(published.items, "file", "files"),
        output::size(published.bytes),
        begun.elapsed().as_secs_f64()
    ));
    Ok(published)
}

async fn subscribe(stage: &Stage, published: &Published) -> Result<(), DemoError> {
    say("\nBoth subscribers are given the link and follow it:");
    say(&format!("  {}", output::shown(&published.link)));
    for name in [FIRST, SECOND] {
        let node = stage.node(name);
        node.client
            .subscribe(&published.link)
            .await
            .map_err(|error| DemoError::Node(name, error))?;
    }
    for name in [FIRST, SECOND] {
        let waited = await_revision(stage.node(name), published, PATIENCE).await?;
        say(&format!(
            "  The {name} has the catalog after {:.1} s.",
            waited.as_secs_f64()
        ));
    }
    Ok(())
}

/// Waits until a node has this revision, without asking it to look.
async fn await_revision(
    node: &ChildNode,
    published: &Published,
    limit: Duration,
) -> Result<Duration, DemoError> {
    let begun = Instant::now();
    let what = format!("revision {} of the share", published.seq);
    until(node.name, &what, limit, async || {
        let followed = node
            .client
            .subscriptions()
            .await
            .map_err(|error| DemoError::Node(node.name, error))?;
        Ok(followed
            .iter()
            .find(|followed| followed.id == published.share && followed.seq >= published.seq)
            .map(drop))
    })
    .await?;
    Ok(begun.elapsed())
}

async fn compare_catalogs(
    stage: &Stage,
    share: ShareId,
    originals: &BTreeMap<String, PathBuf>,
) -> Result<(), DemoError> {
    for name in [FIRST, SECOND] {
        let catalog = stage
            .node(name)
            .client
            .catalog(&share)
            .await
            .map_err(|error| DemoError::Node(name, error))?;
        let mut missing: BTreeMap<_, _> = originals.iter().collect();
        for item in catalog.items {
            if missing.remove(&item.path).is_none() {
                return Err(DemoError::Catalog { path: item.path });
            }
        }
        if let Some(path) = missing.into_keys().next() {
            return Err(DemoError::Catalog { path: path.clone() });
        }
    }
    Ok(())
}

async fn search(stage: &Stage, originals: &BTreeMap<String, PathBuf>) -> Result<(), DemoError> {
    let Some((word, place)) = files::word(originals) else {
        say("\nNo file's name has a word to search for, so nothing is searched.");
        return Ok(());
    };
    say(&format!(
        "\nThe {FIRST} searches for \"{word}\", on its own machine:"
    ));
    let node = stage.node(FIRST);
    let found = until(FIRST, "a search result", PATIENCE, async || {
        let found = node.client.search(word, None, 0, RESULTS).await;
        let found = found.map_err(|error| DemoError::Node(FIRST, error))?;
        Ok((found.total > 0).then_some(found))
    })
    .await?;
    let total = found.total;
    let hit = found.hits.into_iter().find(|hit| hit.path == place);
    let hit = hit.ok_or_else(|| DemoError::NotFound(word.to_owned()))?;
    say(&format!(
        "  {}, among them {} ({})",
        output::count(total, "result", "results"),
        output::start(&hit.path),
        output::size(hit.size)
    ));
    Ok(())
}

/// Downloads all of the share and compares it with the originals.
async fn download(
    stage: &Stage,
    name: &'static str,
    published: &Published,
    originals: &BTreeMap<String, PathBuf>,
) -> Result<(Download, u64), Failure> {
    if name == FIRST {
        say(&format!("\nThe {name} downloads everything."));
    }
    let folder = stage.dir().join(format!(
        "{} downloads",
        name.split(' ').next().unwrap_or(name)
    ));
    get(stage, name, published, None, &folder, originals).await
}

async fn get(
    stage: &Stage,
    name: &'static str,
    published: &Published,
    path: Option<&str>,
    folder: &Path,
    originals: &BTreeMap<String, PathBuf>,
) -> Result<(Download, u64), Failure> {
    let node = stage.node(name);
    let begun = Instant::now();
    let request = GetRequest {
        share: Some(published.share),
        path: path.map(str::to_owned),
        content: None,
        folder: folder
            .to_str()
            .ok_or_else(|| DemoError::NotPublishable(folder.to_owned()))?
            .to_owned(),
    };
    let started = node
        .client
        .get(&request)
        .await
        .map_err(|error| DemoError::Node(name, error))?;
    if let Some(refused) = started.refused.first() {
        let reason = format!("{:?} was refused: {}", refused.path, refused.reason);
        return Err(DemoError::Download(name, reason).into());
    }
    let mut progress = Progress::on_terminal();
    let finished = progress::wait(&node.client, started.download, &mut progress).await;
    let finished = finished.map_err(|failure| {
        if let Failure::Client(error) = failure {
            DemoError::Node(name, error)
        } else {
            DemoError::Download(name, failure.to_string())
        }
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!(
        "  {}, {} in {seconds:.1} s ({})",
        output::count(finished.items, "file", "files"),
        output::size(finished.total),
        output::rate((finished.total as f64 / seconds) as u64)
    ));
    for giver in finished.peers.iter().filter(|giver| giver.bytes > 0) {
        say(&format!(
            "  {} from the {}",
            output::size(giver.bytes),
            giver_name(stage, giver.key)
        ));
    }
    let bytes = files::verify(folder, originals)?;
    say("  Every byte is as in the originals.");
    Ok((finished, bytes))
}

fn giver_name(stage: &Stage, key: Text<scp2p_proto::id::NodeKey>) -> String {
    let known = [BOOTSTRAP, PUBLISHER, FIRST, SECOND]
        .into_iter()
        .find(|name| stage.node(name).status.key == key);
    known.map_or_else(|| output::short(&key), str::to_owned)
}

/// Waits until the second subscriber knows both who have the share.
async fn await_providers(stage: &Stage, published: &Published) -> Result<(), DemoError> {
    let node = stage.node(SECOND);
    until(SECOND, "news of a second provider", PATIENCE, async || {
        let followed = node
            .client
            .subscriptions()
            .await
            .map_err(|error| DemoError::Node(SECOND, error))?;
        Ok(followed
            .iter()
            .find(|followed| followed.id == published.share && followed.providers >= 2)
            .map(drop))
    })
    .await
}

async fn second_revision(stage: &Stage, path: &Path, first: &Published) -> Result<u64, Failure> {
    let folder = stage.dir().join("new");
    let taken = path.file_name().is_some_and(|name| name == ADDED);
    let added = if taken {
        format!("also {ADDED}")
    } else {
        ADDED.to_owned()
    };
    let added_path = folder.join(&added);
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&added_path, "This arrived by itself.\n"))
        .map_err(|error| DemoError::File(added_path.clone(), error))?;
    let second = publish(stage, &[path, &added_path]).await?;
    if (second.share, second.seq) != (first.share, first.seq + 1) {
        return Err(DemoError::NotNext {
            share: second.share.to_string(),
            seq: second.seq,
        }
        .into());
    }
    let originals = BTreeMap::from([(added.clone(), added_path)]);
    let mut verified = 0;
    for name in [FIRST, SECOND] {
        let waited = await_revision(stage.node(name), &second, PUSH_PATIENCE).await?;
        say(&format!(
            "  It reached the {name} by itself within {:.1} s, which downloads the new file.",
            waited.as_secs_f64()
        ));
        let folder = stage.dir().join(format!(
            "{} downloads of revision 2",
            name.split(' ').next().unwrap_or(name)
        ));
        verified += get(stage, name, &second, Some(&added), &folder, &originals)
            .await?
            .1;
    }
    Ok(verified)
}

/// Asks until there is an answer.
async fn until<T>(
    name: &'static str,
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, DemoError>,
) -> Result<T, DemoError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(DemoError::Late(name, what.to_owned(), limit));
        }
        Timer::after(POLL).await;
    }
}
