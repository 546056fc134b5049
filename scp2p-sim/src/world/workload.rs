//! What the users of the hosts do and want.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::command::{Command, CommandError, Get, GetWhat, Publish, Reply};
use scp2p_proto::event::Event;
use scp2p_proto::id::{ContentId, DownloadId, OpId, ShareId};
use scp2p_proto::io::Input;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::record::ShareLink;
use scp2p_proto::rng::Rng;
use scp2p_proto::storage::{LocalPath, PartRef, Table};
use scp2p_proto::time::Time;

use super::host::Note;
use super::{Due, World};
use crate::id::HostId;

/// After this a user tries again what did not work.
const RETRY: Duration = Duration::from_secs(10);
/// Below this folder a host publishes.
const HOME: &str = "/home";
/// Below this folder a host downloads.
const DOWNLOADS: &str = "/downloads";

/// A share by its publisher and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShareName {
    pub(super) owner: HostId,
    pub(super) name: String,
}

/// What a user wants until it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Publish { share: String },
    Unpublish { share: String },
    Subscribe(ShareName),
    Unsubscribe(ShareName),
    Get(ShareName),
    Pause(DownloadId),
    Resume(DownloadId),
}

/// A download that runs.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) name: ShareName,
    pub(super) at: Time,
    /// Its user paused it.
    pub(super) paused: bool,
    /// A file of it failed while there were faults, so that it cannot be whole.
    pub(super) spoiled: bool,
    /// How often the files had been made when it began, if it was of the newest revision. Older files
    /// are nowhere any more.
    pub(super) made: Option<u32>,
}

/// A command that is not answered yet.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something that is wanted, and how often the share's files had been made: those that are to be published, or those
    /// to be downloaded if what the node has of the share is as new as they are.
    For(Wanted, Option<u32>),
    /// Something that may fail.
    Once,
}

/// All shares of honest hosts, as they really are.
#[derive(Debug, Default)]
pub(super) struct Library {
    pub(super) shares: BTreeMap<ShareName, Share>,
    pub(super) names: BTreeMap<ShareId, ShareName>,
    /// BLAKE3 of each chunk of each content.
    pub(super) chunks: BTreeMap<ContentId, Vec<[u8; 32]>>,
}

/// A share as it really is.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) link: Option<ShareLink>,
    /// When each revision was published, by its number.
    pub(super) revisions: BTreeMap<u64, Time>,
    /// All that its files ever were, by name.
    truth: BTreeMap<String, BTreeSet<ContentId>>,
    /// Whether a file was changed since it was published.
    pub(super) edited: bool,
    /// Whether its publisher took it back.
    pub(super) unpublished: bool,
    /// Versions of its files, the newest made.
    versions: Vec<u32>,
    pub(super) times_made: u32,
    /// How often they had been made when the newest revision was published.
    times_published: u32,
}

impl Share {
    pub(super) fn newest(&self) -> Option<u64> {
        self.revisions.last_key_value().map(|(seq, _)| *seq)
    }
}

impl Library {
    pub(super) fn id(&self, name: &ShareName) -> Option<ShareId> {
        let share = self.shares.get(name)?;
        share.link.as_ref().map(ShareLink::share)
    }
}

impl World<'_> {
    /// A user changes the files of a share and publishes it.
    pub(super) fn user_publishes(&mut self, host: HostId, name: &str, files: u32, bytes: u64) {
        let key = ShareName {
            owner: host,
            name: name.to_owned(),
        };
        let share = self.library.shares.entry(key).or_default();
        share.versions.resize(files as usize, 0);
        let revised = share.times_made % files.max(1);
        share.times_made += 1;
        share.edited = false;
        for (file, version) in (0_u32..).zip(&mut share.versions) {
            // A new file, or the one that changes this time.
            if *version == 0 || file == revised {
                *version += 1;
            }
            let label = format!("{} {name} {file} {version}", host.0);
            let content = content(self.scenario.seed, &label, bytes);
            let file = file_name(host, name, file);
            let id = ContentId(*blake3::hash(&content).as_bytes());
            let chunks = || content.chunks(CHUNK_LEN as usize);
            let hashes = chunks().map(|chunk| blake3::hash(chunk).into()).collect();
            self.canaries.plant("a file's name", canary_of(&file));
            self.canaries.plant("a content's id", &id.0);
            for chunk in chunks() {
                self.canaries.plant("the beginning of a chunk", chunk);
            }
            self.library.chunks.insert(id, hashes);
            share.truth.entry(file.clone()).or_default().insert(id);
            let path = format!("{HOME}/{name}/{file}");
            let disk = &mut self.hosts[host.index()].disk;
            disk.put(&path, [Bytes::from(content)], &mut self.chunks);
        }
        let share = name.to_owned();
        let other = Wanted::Unpublish {
            share: share.clone(),
        };
        self.want_instead(host, Wanted::Publish { share }, &other);
    }

    /// A user takes a share back.
    pub(super) fn user_unpublishes(&mut self, host: HostId, name: &str) {
        let share = name.to_owned();
        let other = Wanted::Publish {
            share: share.clone(),
        };
        self.want_instead(host, Wanted::Unpublish { share }, &other);
    }

    /// A user changes a file and forgets to publish it.
    pub(super) fn user_edits(&mut self, host: HostId, name: &str, file: u32) {
        let file = file_name(host, name, file);
        let path = format!("{HOME}/{name}/{file}");
        let key = ShareName {
            owner: host,
            name: name.to_owned(),
        };
        let disk = &mut self.hosts[host.index()].disk;
        disk.edit(&path, 0, b"edited", &mut self.chunks);
        // What is still to be published is the file as it is now.
        let content = disk.content(&path, &mut self.chunks);
        let wanted = Wanted::Publish {
            share: name.to_owned(),
        };
        let is_to_be_published = self.hosts[host.index()].wanted.contains(&wanted);
        if let Some(share) = self.library.shares.get_mut(&key) {
            share.edited = true;
            if is_to_be_published {
                let truth = share.truth.entry(file).or_default();
                truth.extend(content);
            }
        }
    }

    /// Wants something in the place of its opposite.
    pub(super) fn want_instead(&mut self, host: HostId, wanted: Wanted, opposite: &Wanted) {
        let all = &mut self.hosts[host.index()].wanted;
        all.retain(|other| other != opposite);
        self.want(host, wanted);
    }

    /// Wants something until it is done.
    pub(super) fn want(&mut self, host: HostId, wanted: Wanted) {
        let all = &mut self.hosts[host.index()].wanted;
        if !all.contains(&wanted) {
            all.push(wanted);
        }
        self.pursue(host);
    }

    /// Gives the commands for what is wanted and can be had.
    pub(super) fn pursue(&mut self, host: HostId) {
        if !self.hosts[host.index()].is_up() || self.hosts[host.index()].is_villain() {
            return;
        }
        for wanted in self.hosts[host.index()].wanted.clone() {
            let asked = self.hosts[host.index()].asked.values();
            let under_way = asked.into_iter().any(|asked| match asked {
                Asked::For(other, _) => *other == wanted,
                Asked::Once => false,
            });
            let nth = self.hosts[host.index()].next_op;
            if !under_way && let Some(command) = self.command(host, &wanted, nth) {
                self.unpromise(host, &wanted);
                let made = self.made(host, &wanted);
                self.ask(host, command, Asked::For(wanted, made));
            }
        }
    }

    /// See [`Asked::For`].
    fn made(&self, host: HostId, wanted: &Wanted) -> Option<u32> {
        match wanted {
            Wanted::Get(name) => self.made_if_newest(host, name),
            Wanted::Publish { share } => {
                let name = ShareName {
                    owner: host,
                    name: share.clone(),
                };
                let share = self.library.shares.get(&name);
                share.map(|share| share.times_made)
            }
            Wanted::Unpublish { .. }
            | Wanted::Subscribe(_)
            | Wanted::Unsubscribe(_)
            | Wanted::Pause(_)
            | Wanted::Resume(_) => None,
        }
    }

    /// Until this is answered, it may or may not be so after a crash.
    fn unpromise(&mut self, host: HostId, wanted: &Wanted) {
        let id = |library: &Library, share: &String| {
            library.id(&ShareName {
                owner: host,
                name: share.clone(),
            })
        };
        let promised = &mut self.hosts[host.index()].promised;
        match wanted {
            Wanted::Publish { share } => {
                let id = id(&self.library, share);
                promised.unpublished.retain(|of| Some(*of) != id);
            }
            Wanted::Unpublish { share } => {
                let id = id(&self.library, share);
                promised.published.retain(|of, _| Some(*of) != id);
            }
            Wanted::Pause(download) | Wanted::Resume(download) => {
                promised.paused.remove(download);
            }
            Wanted::Subscribe(_) | Wanted::Unsubscribe(_) | Wanted::Get(_) => {}
        }
    }

    /// Gives a command.
    pub(super) fn ask(&mut self, host: HostId, command: Command, asked: Asked) {
        let at = &mut self.hosts[host.index()];
        if !at.is_up() || at.is_villain() {
            return;
        }
        let op = OpId(at.next_op);
        at.next_op += 1;
        at.asked.insert(op, asked);
        self.ready.push_back((host, Input::Command(op, command)));
    }

    /// The command for something wanted; none while it cannot be. Each download gets a folder of its own.
    fn command(&self, host: HostId, wanted: &Wanted, nth: u64) -> Option<Command> {
        Some(match wanted {
            Wanted::Publish { share } => Command::Publish(Publish::new(
                share.clone(),
                vec![LocalPath(format!("{HOME}/{share}"))],
            )),
            Wanted::Unpublish { share } => Command::Unpublish(self.library.id(&ShareName {
                owner: host,
                name: share.clone(),
            })?),
            Wanted::Pause(download) => Command::Pause(*download),
            Wanted::Resume(download) => Command::Resume(*download),
            Wanted::Subscribe(name) => Command::Subscribe(self.link(name)?),
            Wanted::Unsubscribe(name) => Command::Unsubscribe(self.link(name)?.share()),
            Wanted::Get(name) => Command::Get(Get {
                what: GetWhat::Share {
                    share: self.link(name)?.share(),
                    path: None,
                },
                root: LocalPath(format!("{DOWNLOADS}/{nth}/{}/{}", name.owner.0, name.name)),
            }),
        })
    }

    fn link(&self, name: &ShareName) -> Option<ShareLink> {
        let villain = match &self.hosts[name.owner.index()].program {
            Some(super::host::Program::Villain(villain)) => villain.share(),
            Some(super::host::Program::Node(_)) | None => None,
        };
        villain.or_else(|| self.library.shares.get(name)?.link.clone())
    }

    /// A command was answered.
    pub(super) fn answered(&mut self, host: HostId, op: OpId, result: Result<Reply, CommandError>) {
        let now = self.now;
        let at = &mut self.hosts[host.index()];
        let note = result.clone().map(Box::new).map_err(Box::new);
        at.remember(now, Note::Answered(op, note));
        let Some(asked) = at.asked.remove(&op) else {
            let what = format!("{op:?} was answered again or never asked");
            return self.violate("a command is answered once", &[host], what);
        };
        let Asked::For(wanted, made) = asked else {
            return;
        };
        match (wanted, result) {
            (
                Wanted::Publish { share },
                Ok(Reply::Published {
                    share: id,
                    seq,
                    link,
                    manifest,
                    ..
                }),
            ) => {
                let name = ShareName {
                    owner: host,
                    name: share,
                };
                self.published(name, made.unwrap_or(0), id, seq, link, manifest);
            }
            (Wanted::Unpublish { share }, Ok(_) | Err(CommandError::UnknownShare)) => {
                self.unpublished(host, share);
            }
            (
                wanted @ (Wanted::Pause(download) | Wanted::Resume(download)),
                Ok(_) | Err(CommandError::UnknownDownload | CommandError::DownloadEnded),
            ) => {
                // Whoever wants the opposite by now is promised nothing.
                if at.wanted.contains(&wanted) {
                    let paused = wanted == Wanted::Pause(download);
                    at.wanted.retain(|other| *other != wanted);
                    at.promised.paused.insert(download, paused);
                }
            }
            (Wanted::Subscribe(name), Ok(Reply::Subscribed { share, .. })) => {
                at.wanted
                    .retain(|other| *other != Wanted::Subscribe(name.clone()));
                at.promised.subscribed.entry(share).or_insert(0);
            }
            (Wanted::Unsubscribe(name), Ok(_) | Err(CommandError::UnknownShare)) => {
                at.wanted
                    .retain(|other| *other != Wanted::Unsubscribe(name.clone()));
                if let Some(id) = self.library.id(&name) {
                    at.promised.subscribed.remove(&id);
                }
            }
            (Wanted::Get(name), Ok(Reply::Started { download, .. })) => {
                at.wanted
                    .retain(|other| *other != Wanted::Get(name.clone()));
                at.promised.downloads.insert(download, false);
                let begun = Begun {
                    at: now,
                    paused: false,
                    spoiled: false,
                    made,
                    name,
                };
                self.downloads.insert((host, download), begun);
                self.downloads_begun += 1;
            }
            // Whoever does not follow the share any more, or not this one of the name, gives up.
            (Wanted::Get(name), Err(CommandError::UnknownShare)) => {
                at.wanted
                    .retain(|other| *other != Wanted::Get(name.clone()));
            }
            (_, Err(_)) => self.agenda.push(now + RETRY, Due::Pursue(host)),
            (wanted, Ok(reply)) => {
                let what = format!("{wanted:?} was answered with {reply:?}");
                self.violate(
                    "a command gets the answer that belongs to it",
                    &[host],
                    what,
                );
            }
        }
    }

    /// How often the files of a share had been made, if a node has its newest revision and they were not changed since.
    fn made_if_newest(&self, host: HostId, name: &ShareName) -> Option<u32> {
        let share = self.library.shares.get(name)?;
        let subscriptions = self.hosts[host.index()].node()?.subscriptions();
        let id = self.library.id(name)?;
        let has = subscriptions.iter().find(|view| view.id == id)?;
        let is_newest = share.newest() == Some(has.seq);
        (is_newest && share.times_published == share.times_made).then_some(share.times_made)
    }

    fn unpublished(&mut self, host: HostId, share: String) {
        let wanted = Wanted::Unpublish {
            share: share.clone(),
        };
        let name = ShareName {
            owner: host,
            name: share,
        };
        let at = &mut self.hosts[host.index()];
        let is_wanted = at.wanted.contains(&wanted);
        at.wanted.retain(|other| *other != wanted);
        if let Some(id) = self.library.id(&name)
            && is_wanted
        {
            at.promised.unpublished.insert(id);
        }
        if let Some(share) = self.library.shares.get_mut(&name) {
            share.unpublished = true;
        }
    }

    fn published(
        &mut self,
        name: ShareName,
        made: u32,
        id: ShareId,
        seq: u64,
        link: ShareLink,
        manifest: scp2p_proto::id::ManifestId,
    ) {
        let (now, host) = (self.now, name.owner);
        let share = self.library.shares.get(&name);
        let is_current = share.is_some_and(|share| share.times_made == made);
        let at = &mut self.hosts[host.index()];
        at.promised.published.insert(id, seq);
        let wanted = Wanted::Publish {
            share: name.name.clone(),
        };
        if is_current {
            at.wanted.retain(|other| *other != wanted);
        } else {
            // The files were made anew meanwhile.
            self.agenda.push(now, Due::Pursue(host));
        }
        let before = share.and_then(Share::newest);
        if before.is_some_and(|before| before >= seq) {
            let what = format!("{id} had revision {before:?} and got {seq}");
            self.violate("sequence numbers only grow", &[host], what);
        }
        if !self.hosts[host.index()]
            .disk
            .is_durable(Table::Manifests, &manifest.0)
        {
            let what = format!("revision {seq} of {id}");
            self.violate(
                "nothing is said to be published that a crash would undo",
                &[host],
                what,
            );
        }
        self.canaries.plant("a share's id", &id.0);
        self.canaries.plant("a manifest's id", &manifest.0);
        self.library.names.insert(id, name.clone());
        let share = self.library.shares.entry(name).or_default();
        share.unpublished = false;
        share.revisions.insert(seq, now);
        share.times_published = made;
        let first = share.link.replace(link).is_none();
        if first {
            self.can_be_looked_up(id);
            // Others may have waited for its link.
            for number in 0..self.hosts.len() {
                self.agenda.push(now, Due::Pursue(HostId(number as u32)));
            }
        }
    }

    /// The node tells its user something.
    pub(super) fn told(&mut self, host: HostId, event: &Event) {
        let now = self.now;
        match event {
            Event::ManifestUpdated {
                share,
                seq,
                manifest,
            } => {
                let at = &mut self.hosts[host.index()];
                if !at.disk.is_durable(Table::Manifests, &manifest.0) {
                    let what = format!("revision {seq} of {share}");
                    let rule = "no revision counts that a crash would undo";
                    self.violate(rule, &[host], what);
                }
                let at = &mut self.hosts[host.index()];
                let had = at.promised.subscribed.get(share).copied();
                if had.is_some_and(|had| had > *seq) {
                    let what = format!("{share} went from {had:?} to {seq}");
                    self.violate("a subscriber's revision never goes back", &[host], what);
                } else if had.is_some() {
                    at.promised.subscribed.insert(*share, *seq);
                }
                let known = self.library.names.get(share);
                let revisions = known.and_then(|name| self.library.shares.get(name));
                let published = revisions.and_then(|share| share.revisions.get(seq));
                if let Some(at) = published
                    && self.hosts[host.index()].up_since <= *at
                    && had.is_some_and(|had| had > 0)
                {
                    self.update_ms.push(now.since(*at).as_millis() as u64);
                }
            }
            Event::DownloadFinished { download } => {
                self.hosts[host.index()]
                    .promised
                    .downloads
                    .insert(*download, true);
                if let Some(begun) = self.downloads.remove(&(host, *download)) {
                    self.download_ms
                        .push(now.since(begun.at).as_millis() as u64);
                }
            }
            Event::DownloadFailed { download, reason } => {
                self.hosts[host.index()].promised.downloads.remove(download);
                if let Some(begun) = self.downloads.remove(&(host, *download)) {
                    self.failed_download(host, &begun, reason);
                }
            }
            Event::ItemFailed { download, .. } => {
                let is_healed = now >= self.scenario.heal.time();
                if let Some(begun) = self.downloads.get_mut(&(host, *download)) {
                    begun.spoiled |= !is_healed;
                }
            }
            Event::PeerConnected { peer, via, .. } => self.check_identity(host, *peer, *via),
            Event::PeerDisconnected { .. }
            | Event::Reachability(_)
            | Event::ClockDoubt(_)
            | Event::Interception { .. }
            | Event::UnboundRefused { .. }
            | Event::PinMismatch { .. }
            | Event::SharePublished { .. }
            | Event::ShareRejected { .. }
            | Event::FileChanged { .. }
            | Event::ItemRefused { .. }
            | Event::DownloadProgress { .. }
            | Event::StoreTrouble { .. } => {}
        }
    }

    /// Whether a file of a download, complete and about to get its name, is one that its publisher had.
    pub(super) fn is_true(&self, part: &PartRef, content: &ContentId) -> bool {
        let Some(name) = self.share_of_root(&part.root) else {
            return true;
        };
        let Some(share) = self.library.shares.get(&name) else {
            return true;
        };
        let rel = part.rel.to_string();
        let file = rel.rsplit('/').next().unwrap_or_default();
        share
            .truth
            .get(file)
            .is_some_and(|ids| ids.contains(content))
    }

    fn share_of_root(&self, root: &LocalPath) -> Option<ShareName> {
        let rest = root.0.strip_prefix(DOWNLOADS)?.strip_prefix('/')?;
        let (_, share) = rest.split_once('/')?;
        let (owner, name) = share.split_once('/')?;
        Some(ShareName {
            owner: HostId(owner.parse().ok()?),
            name: name.to_owned(),
        })
    }
}

/// A file's name has its number, by which it is searched for, and random text, by which a relay would know it.
fn file_name(owner: HostId, share: &str, file: u32) -> String {
    let random = blake3::hash(format!("{} {share} {file}", owner.0).as_bytes());
    format!("file-{file:04}-{}.bin", &random.to_hex()[..32])
}

/// The random text in a file's name.
fn canary_of(file_name: &str) -> &[u8] {
    let random = file_name.splitn(3, '-').nth(2);
    random.unwrap_or_default().as_bytes()
}

fn content(seed: u64, label: &str, bytes: u64) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut content = vec![0; bytes as usize];
    Rng::new(&key, label).fill(&mut content);
    content
}
