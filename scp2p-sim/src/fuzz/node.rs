//! A driver by choice.

use std::time::Duration;

use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::record::ShareLink;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::{Cause, DownloadState, Subject};

use super::pair::Pair;
use crate::choices::Choices;

/// What the bytes choose before the driver becomes an orderly one.
const STEPS_MAX: u32 = 2_000;
/// Steps within which two nodes and an orderly driver must have done all that was asked for.
const SETTLE_MAX: u32 = 200_000;
/// How long everything may take in the end.
const SETTLE: Duration = Duration::from_secs(1200);
const HOME: &str = "/home/files";
/// Which of the two does what.
const PUBLISHER: usize = 0;
const FOLLOWER: usize = 1;

/// Drives two nodes as the bytes choose: what they are owed comes in any order that the contract allows, late or early;
/// disks fail, links break and power is cut. With the bytes used up the driver is orderly, and what users then want is done:
/// a revision is published, followed and downloaded.
///
/// # Panics
/// If a node breaks an invariant or its contract, loses an answer, or does not get done.
pub fn node(bytes: &[u8]) {
    let mut choices = Choices::from_bytes(bytes);
    let mut pair = Pair::new();
    for step in 0..STEPS_MAX {
        match choices.below(16) {
            1 => command(&mut pair, &mut choices, step),
            2 => {
                let millis = choices.one_of([1, 20, 300, 5_000, 60_000]);
                pair.wait(Duration::from_millis(millis));
            }
            3 => pair.tick(choices.below(2) as usize),
            4 if choices.percent(30) => pair.cut(choices.below(8) as usize),
            5 if choices.percent(20) => pair.crash(choices.below(2) as usize),
            6 if choices.percent(30) => pair.refuse(choices.below(pair.owed() as u64) as usize),
            7 => {
                pair.wait_for_deadline();
            }
            _ => pair.deliver(choices.below(pair.owed() as u64) as usize),
        }
        if choices.is_spent() {
            break;
        }
    }
    settle(&mut pair, |pair| silent(pair).is_empty());
    finish(&mut pair);
}

fn command(pair: &mut Pair, choices: &mut Choices<'_>, step: u32) {
    let Some(link) = link(pair) else {
        return publish(pair, choices, step);
    };
    let download = choices
        .pick(&pair.node(FOLLOWER).downloads())
        .map(|view| view.id);
    let command = match (choices.below(16), download) {
        (0 | 1, _) => return publish(pair, choices, step),
        (2, _) if choices.percent(30) => {
            return pair.ask(PUBLISHER, Command::Unpublish(link.share()));
        }
        (3, _) if choices.percent(30) => Command::Unsubscribe(link.share()),
        (4, _) => Command::Sync(Some(link.share())),
        (5, Some(download)) => Command::Cancel(download),
        (6, Some(download)) => Command::Pause(download),
        (7, Some(download)) => Command::Resume(download),
        (8..12, _) => get(&link, step),
        (_, _) => Command::Subscribe(link),
    };
    pair.ask(FOLLOWER, command);
}

/// Changes a file, or adds one, and publishes.
fn publish(pair: &mut Pair, choices: &mut Choices<'_>, step: u32) {
    let len = choices.one_of([1_000, 0, 300_000]);
    let mut bytes = vec![choices.below(256) as u8; len];
    bytes.extend(step.to_le_bytes());
    pair.put(PUBLISHER, &format!("{HOME}/{}", choices.below(3)), bytes);
    let paths = vec![LocalPath(HOME.into())];
    pair.ask(PUBLISHER, Command::Publish(Publish::new("s", paths)));
}

fn get(link: &ShareLink, step: u32) -> Command {
    let (share, path) = (link.share(), None);
    Command::Get(Get {
        what: GetWhat::Share { share, path },
        root: LocalPath(format!("/downloads/{step}")),
    })
}

/// The main job, after whatever happened.
fn finish(pair: &mut Pair) {
    publish(pair, &mut Choices::from_bytes(&[]), STEPS_MAX);
    settle(pair, |pair| pair.node(PUBLISHER).shares().len() == 1);
    let link = link(pair).expect("the publishing was answered, and not with an error");
    pair.ask(FOLLOWER, Command::Subscribe(link.clone()));
    settle(pair, |pair| !pair.node(FOLLOWER).subscriptions().is_empty());
    pair.ask(FOLLOWER, get(&link, STEPS_MAX));
    settle(pair, |pair| {
        let downloads = pair.node(FOLLOWER).downloads();
        let newest = downloads.first();
        newest.is_some_and(|view| view.state == DownloadState::Finished)
    });
}

/// The link of what the first node has published.
fn link(pair: &Pair) -> Option<ShareLink> {
    let links = pair.replies(PUBLISHER).iter().map(|reply| match reply {
        Ok(Reply::Published { link, .. }) => Some(link.clone()),
        Ok(_) | Err(_) => None,
    });
    links.flatten().last()
}

/// Does what is owed in its order, until all commands are answered, the follower has the newest revision, and this holds.
fn settle(pair: &mut Pair, holds: impl Fn(&Pair) -> bool) {
    let mut left = SETTLE;
    for _ in 0..SETTLE_MAX {
        if pair.owed() > 0 {
            pair.deliver(0);
            continue;
        }
        if is_current(pair) && pair.unanswered() == 0 && holds(pair) {
            return;
        }
        let passed = pair.wait_for_deadline();
        assert!(passed <= left, "after {SETTLE:?}: {}", what_is_left(pair));
        left -= passed;
    }
    panic!("after {SETTLE_MAX} steps: {}", what_is_left(pair));
}

fn is_current(pair: &Pair) -> bool {
    let shares = pair.node(PUBLISHER).shares();
    let subscriptions = pair.node(FOLLOWER).subscriptions();
    subscriptions.iter().all(|view| {
        let newest = shares.iter().find(|share| share.id == view.id);
        newest.is_none_or(|newest| view.seq >= newest.seq)
    })
}

/// Downloads that are not finished and have no cause for it.
fn silent(pair: &Pair) -> Vec<Subject> {
    let node = pair.node(FOLLOWER);
    let downloads = node.downloads().into_iter();
    downloads
        .filter(|view| view.state != DownloadState::Finished)
        .map(|view| Subject::Download(view.id))
        .filter(|subject| {
            let causes = node.why(*subject);
            causes.is_empty() || causes.contains(&Cause::Unknown)
        })
        .collect()
}

fn what_is_left(pair: &Pair) -> String {
    format!(
        "{} answers are missing; shares: {:?}; subscriptions: {:?}; downloads: {:?}; without a cause: {:?}",
        pair.unanswered(),
        pair.node(PUBLISHER).shares(),
        pair.node(FOLLOWER).subscriptions(),
        pair.node(FOLLOWER).downloads(),
        silent(pair)
    )
}
