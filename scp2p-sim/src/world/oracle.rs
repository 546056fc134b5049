//! What must always hold, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};

use scp2p_proto::id::{ContentId, DhtKey, ManifestId, NodeKey, ShareId};
use scp2p_proto::record::{Manifest, head_key, providers_key};
use scp2p_proto::storage::{Batch, Load, PartRef, RowOp, Table};
use scp2p_proto::time::{Now, Time};
use scp2p_proto::view::{Cause, DownloadState, LookupKind, Subject};

use super::World;
use super::groups::Groups;
use super::workload::{Begun, ShareName, Wanted};
use crate::id::HostId;
use crate::report::{Spread, VIOLATIONS_MAX, Violation};
use crate::scenario::{Action, Span};

/// At this a peer is no longer dealt with.
const SCORE_BANNED: i32 = -50;

/// A node's whole state is looked at after each input of this number, which is no multiple of anything that nodes do, in
/// a world of more than [`SMALL`] hosts: what that takes grows with what the node knows.
const CHECK_EVERY: u64 = 101;
/// In a world of so many hosts it is looked at after each input.
const SMALL: usize = 10;

/// After this a share's head and providers are in the DHT.
const ANNOUNCED: Span = Span::secs(60);

/// What oracles remember.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// The manifest of each revision of a share, as its owner stored it.
    manifests: BTreeMap<(ShareId, u64), ManifestId>,
    /// Pairs that must be connected in the end: who dials, and whom.
    pub(super) pairs: BTreeSet<(HostId, HostId)>,
    /// Lookups of each host that were counted already.
    counted: BTreeMap<HostId, (u32, u64)>,
    /// What can be looked up, and since when.
    known: BTreeMap<DhtKey, Time>,
    /// When lookups were last counted.
    counted_at: Time,
}

/// Lookups in the DHT of all hosts.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    pub(super) ended: u64,
    pub(super) found: u64,
    pub(super) cut_off: u64,
    pub(super) took_ms: Spread,
    pub(super) hops: Spread,
}

impl World<'_> {
    /// Notes that a rule is broken.
    pub(super) fn violate(&mut self, rule: &'static str, hosts: &[HostId], what: String) {
        self.violations_total += 1;
        if self.violations.len() == VIOLATIONS_MAX {
            return;
        }
        let before = hosts.iter().flat_map(|host| {
            let host = &self.hosts[host.index()];
            let name = &host.spec.name;
            let notes = host.recent.iter();
            notes.map(move |(at, note)| format!("{} {name}: {note}", Span(at.0)))
        });
        self.violations.push(Violation {
            at: Span(self.now.0),
            rule,
            hosts: hosts
                .iter()
                .map(|host| self.hosts[host.index()].spec.name.clone())
                .collect(),
            what,
            before: before.collect(),
        });
    }

    /// After each input.
    pub(super) fn check_step(&mut self, host: HostId, now: Now) {
        let Some(node) = self.hosts[host.index()].node() else {
            return;
        };
        if let Some((deadline, why)) = node.deadline()
            && deadline <= now.mono
        {
            let what = format!("{why:?} is due at {deadline:?}, and it is {:?}", now.mono);
            self.violate("a deadline is in the future", &[host], what);
        } else if self.hosts.len() <= SMALL || self.steps.is_multiple_of(CHECK_EVERY) {
            for what in node.check() {
                self.violate("a node's state is in order", &[host], what);
            }
        }
    }

    /// A batch is about to be applied.
    pub(super) fn check_batch(&mut self, host: HostId, batch: &Batch) {
        for op in &batch.rows {
            let RowOp::Put(Table::Manifests, _, value) = op else {
                continue;
            };
            let Ok(manifest) = Manifest::decode(value) else {
                let what = format!("{} bytes", value.len());
                self.violate("stored manifests can be read", &[host], what);
                continue;
            };
            let (share, seq, id) = (manifest.share, manifest.seq, manifest.id());
            let owner = self.library.names.get(&share).map(|name| name.owner);
            if owner.is_some_and(|owner| owner != host) {
                continue;
            }
            let known = *self.oracle.manifests.entry((share, seq)).or_insert(id);
            if known != id && owner == Some(host) {
                let what = format!("{share} {seq}: {known} and {id}");
                self.violate("sequence numbers are never used twice", &[host], what);
            }
        }
    }

    /// Files are complete and have their names.
    pub(super) fn check_finished(&mut self, host: HostId, finished: &[PartRef]) {
        for part in finished {
            let path = part.to_string();
            let content = self.hosts[host.index()]
                .disk
                .content(&path, &mut self.chunks);
            if !content.is_some_and(|content| self.is_true(part, &content)) {
                self.violate("no wrong byte ever reaches a finished file", &[host], path);
            }
        }
    }

    /// The node asks for something.
    pub(super) fn check_load(&mut self, host: HostId, load: &Load) {
        let Load::Resume {
            part,
            verified,
            content,
            ..
        } = load
        else {
            return;
        };
        let Some(hashes) = self.library.chunks.get(content) else {
            return;
        };
        let disk = &self.hosts[host.index()].disk;
        let path = format!("{part}.part");
        let missing = (0..).zip(hashes).filter(|(index, hash)| {
            let claimed = verified.contains(*index);
            claimed && disk.chunk_hash(&path, *index).as_ref() != Some(*hash)
        });
        let missing = missing.count();
        // After the file got its name the have-map may still be there.
        if missing > 0 && disk.len(&part.to_string()).is_none() {
            let what = format!("{part}: {missing} chunks of {content} are not there");
            self.violate("the have-map is never ahead of the disk", &[host], what);
        }
    }

    /// A session is up: if it is with an honest host's key, that host is at the other end of a link.
    /// The ends of a circuit are both linked to its relay, unless that means harm and lies about where it leads.
    pub(super) fn check_identity(&mut self, host: HostId, peer: NodeKey, via: Option<NodeKey>) {
        let relay = via.map(|relay| self.honest.get(&relay).copied());
        let is_linked = |other| match relay {
            None => self.links.are_linked(host, other),
            Some(None) => true,
            Some(Some(relay)) => {
                self.links.are_linked(host, relay) && self.links.are_linked(relay, other)
            }
        };
        if let Some(other) = self.honest.get(&peer).copied()
            && !is_linked(other)
        {
            let what = format!("{peer} is at no other end of a link");
            self.violate(
                "a session is with the key that answered",
                &[host, other],
                what,
            );
        }
    }

    /// A node starts again: what its user was told is durable is there.
    pub(super) fn check_promises(&mut self, host: HostId) {
        let at = &self.hosts[host.index()];
        let Some(node) = at.node() else {
            return;
        };
        let mut broken = Vec::new();
        let shares = node.shares();
        for (share, seq) in &at.promised.published {
            let has = shares.iter().find(|view| view.id == *share);
            if has.is_none_or(|view| view.seq < *seq) {
                broken.push(format!("revision {seq} of the own share {share}"));
            }
        }
        let subscriptions = node.subscriptions();
        for (share, seq) in &at.promised.subscribed {
            let has = subscriptions.iter().find(|view| view.id == *share);
            if has.is_none_or(|view| view.seq < *seq) {
                let seen = has.map(|view| view.seq);
                broken.push(format!("revision {seq} of {share}, which has {seen:?}"));
            }
        }
        let downloads = node.downloads();
        for (download, finished) in &at.promised.downloads {
            let has = downloads.iter().find(|view| view.id == *download);
            let kept = match has.map(|view| view.state) {
                Some(DownloadState::Finished) => true,
                Some(DownloadState::Running | DownloadState::Paused | DownloadState::Failed) => {
                    !finished
                }
                None => *finished,
            };
            if !kept {
                broken.push(format!("{download:?}, finished: {finished}"));
            }
        }
        for (download, paused) in &at.promised.paused {
            let has = downloads.iter().find(|view| view.id == *download);
            let kept = match has.map(|view| view.state) {
                Some(DownloadState::Running) => !paused,
                Some(DownloadState::Paused) => *paused,
                Some(DownloadState::Finished | DownloadState::Failed) | None => true,
            };
            if !kept {
                broken.push(format!("{download:?}, paused: {paused}"));
            }
        }
        for share in &at.promised.unpublished {
            if shares.iter().any(|view| view.id == *share) {
                broken.push(format!("the end of the own share {share}"));
            }
        }
        for what in broken {
            self.violate("what was said to be durable survives", &[host], what);
        }
    }

    /// A download gave up.
    pub(super) fn failed_download(&mut self, host: HostId, begun: &Begun, reason: &str) {
        let what = format!("{}: {reason}", begun.name.name);
        let is_healed = self.now >= self.scenario.heal.time();
        if is_healed && !begun.spoiled && self.must_finish(host, begun) {
            self.violate("no download fails in a healed world", &[host], what);
        } else if !self.may_fail(host) {
            let rule = "no download fails unless a disk or a villain is to blame";
            self.violate(rule, &[host], what);
        }
    }

    /// Whether something may go wrong for good at a host: its disk has faults, or there are villains.
    fn may_fail(&self, host: HostId) -> bool {
        let spec = &self.hosts[host.index()].spec;
        let has_errors = spec.disk.read_error_ppm > 0 || spec.disk.write_error_ppm > 0;
        let is_filled = self.scenario.events.iter().any(|event| {
            event.host == spec.name && matches!(event.action, Action::DiskFull { .. })
        });
        has_errors || is_filled || self.hosts.iter().any(super::Host::is_villain)
    }

    /// A share has its first revision.
    pub(super) fn can_be_looked_up(&mut self, share: ShareId) {
        for key in [head_key(&share), providers_key(&ContentId(share.0))] {
            self.oracle.known.entry(key).or_insert(self.now);
        }
    }

    /// Counts the lookups that ended since the last time. One that found nothing counts only if what it was after had
    /// been announced for a while, and apart if the network had cut off whoever asked.
    pub(super) fn collect_lookups(&mut self) {
        let counted_at = std::mem::replace(&mut self.oracle.counted_at, self.now);
        let since = Time(counted_at.0.saturating_sub(ANNOUNCED.0));
        for host in &self.hosts {
            let Some(node) = host.node() else {
                continue;
            };
            let (boot, last) = self.oracle.counted.entry(host.id).or_default();
            if *boot != host.boot {
                (*boot, *last) = (host.boot, 0);
            }
            for lookup in node.stats().lookups {
                if lookup.number <= *last {
                    continue;
                }
                *last = lookup.number;
                let is_early = match lookup.kind {
                    LookupKind::Head | LookupKind::Providers => {
                        let known = self.oracle.known.get(&lookup.key);
                        known.is_none_or(|known| *known > since)
                    }
                    // Whether any relay announced itself is not known.
                    LookupKind::Relays => true,
                    LookupKind::Manifest
                    | LookupKind::Provide
                    | LookupKind::Store
                    | LookupKind::Refresh => false,
                };
                if is_early && !lookup.found {
                    continue;
                }
                let begun = Time(counted_at.0.saturating_sub(lookup.took.as_micros() as u64));
                let is_cut_off = host.parted.max(Some(self.network.clogged(host.id))) > Some(begun);
                if !lookup.found && lookup.answers == 0 && is_cut_off {
                    self.lookups.cut_off += 1;
                    continue;
                }
                self.lookups.ended += 1;
                self.lookups.found += u64::from(lookup.found);
                self.lookups.took_ms.push(lookup.took.as_millis() as u64);
                self.lookups.hops.push(u64::from(lookup.hops));
            }
        }
    }

    /// Nodes name a cause for everything unfinished.
    pub(super) fn check_causes(&mut self) {
        let hosts = self.hosts.iter();
        let nodes = hosts.filter_map(|host| Some((host.id, host.node()?)));
        let mut silent: Vec<(HostId, Subject)> = Vec::new();
        for (host, node) in nodes {
            let downloads = node.downloads().into_iter();
            let downloads = downloads
                .filter(|view| view.state != DownloadState::Finished)
                .map(|view| Subject::Download(view.id));
            let subscriptions = node.subscriptions().into_iter();
            let subscriptions = subscriptions.map(|view| Subject::Subscription(view.id));
            let peers = node.peer_keys().map(Subject::Peer);
            let unfinished = downloads.chain(subscriptions).chain(peers);
            let has_cause = |subject: &Subject| {
                let causes = node.why(*subject);
                !causes.is_empty() && !causes.contains(&Cause::Unknown)
            };
            let without = unfinished.filter(|subject| !has_cause(subject));
            silent.extend(without.map(|subject| (host, subject)));
        }
        for (host, subject) in silent {
            let what = format!("{subject:?}");
            self.violate("everything unfinished has a cause", &[host], what);
        }
    }

    /// What must hold in the end.
    pub(super) fn judge(&mut self) {
        let core: Vec<HostId> = self.core().collect();
        for (host, peer) in self.oracle.pairs.clone() {
            self.judge_pair(host, peer);
        }
        let groups = self.groups();
        let newest = self.newest(&core, &groups);
        for host in &core {
            self.judge_subscriptions(*host, groups.of(*host), &newest);
            self.judge_wishes(*host);
            self.judge_scores(*host);
        }
        for ((host, download), begun) in self.downloads.clone() {
            if self.must_finish(host, &begun) {
                let why = self.why(host, Subject::Download(download));
                let what = format!("{download:?} of {}: {why}", begun.name.name);
                let hosts = [host, begun.name.owner];
                self.violate("a download with a core source finishes", &hosts, what);
            }
        }
    }

    fn judge_pair(&mut self, host: HostId, peer: HostId) {
        let key = self.hosts[peer.index()].keys.public();
        let connected = self.hosts[host.index()].node().is_some_and(|node| {
            let peers = node.peers();
            peers
                .iter()
                .any(|view| view.key == key && view.session.is_some())
        });
        if !connected {
            let why = self.why(host, Subject::Peer(key));
            let name = &self.hosts[peer.index()].spec.name;
            let what = format!("told to dial {name}: {why}");
            self.violate("core hosts with a path connect", &[host, peer], what);
        }
    }

    fn judge_subscriptions(
        &mut self,
        host: HostId,
        group: HostId,
        newest: &BTreeMap<(HostId, ShareId), u64>,
    ) {
        let Some(node) = self.hosts[host.index()].node() else {
            return self.violate("core hosts run in the end", &[host], String::new());
        };
        for view in node.subscriptions() {
            let name = self.library.names.get(&view.id);
            let share = name.and_then(|name| self.library.shares.get(name));
            if share.is_some_and(|share| share.unpublished) {
                continue;
            }
            let newest = newest.get(&(group, view.id)).copied().unwrap_or(0);
            if view.seq < newest {
                let why = self.why(host, Subject::Subscription(view.id));
                let what = format!("{} is at {}, not {newest}: {why}", view.id, view.seq);
                let owner = self.library.names.get(&view.id).map(|name| name.owner);
                let hosts: Vec<HostId> = [Some(host), owner].into_iter().flatten().collect();
                self.violate("core subscriptions reach the newest revision", &hosts, what);
            }
        }
    }

    /// The newest revision of each share that a core host of a group has.
    fn newest(&self, core: &[HostId], groups: &Groups) -> BTreeMap<(HostId, ShareId), u64> {
        let mut newest = BTreeMap::new();
        for host in core {
            let Some(node) = self.hosts[host.index()].node() else {
                continue;
            };
            let own = node.shares().into_iter().map(|view| (view.id, view.seq));
            let followed = node.subscriptions().into_iter();
            for (share, seq) in own.chain(followed.map(|view| (view.id, view.seq))) {
                let known = newest.entry((groups.of(*host), share)).or_insert(0);
                *known = seq.max(*known);
            }
        }
        newest
    }

    fn judge_wishes(&mut self, host: HostId) {
        for wanted in self.hosts[host.index()].wanted.clone() {
            let name = match &wanted {
                Wanted::Publish { share } => Some(ShareName {
                    owner: host,
                    name: share.clone(),
                }),
                Wanted::Unpublish { share } => {
                    let name = ShareName {
                        owner: host,
                        name: share.clone(),
                    };
                    self.library.id(&name).map(|_| name)
                }
                Wanted::Pause(_) | Wanted::Resume(_) => None,
                Wanted::Subscribe(name) | Wanted::Unsubscribe(name) | Wanted::Get(name) => {
                    self.library.id(name).map(|_| name.clone())
                }
            };
            // A download begins when the catalog is there, for which others answer.
            let possible = match &wanted {
                Wanted::Get(_) => false,
                Wanted::Publish { .. }
                | Wanted::Unpublish { .. }
                | Wanted::Subscribe(_)
                | Wanted::Unsubscribe(_) => name.is_some(),
                Wanted::Pause(_) | Wanted::Resume(_) => true,
            };
            if possible {
                let what = format!("{wanted:?}");
                self.violate("what users want is done in the end", &[host], what);
            }
        }
    }

    fn judge_scores(&mut self, host: HostId) {
        let Some(node) = self.hosts[host.index()].node() else {
            return;
        };
        for view in node.peers() {
            if let Some(peer) = self.honest.get(&view.key).copied()
                && view.score <= SCORE_BANNED
            {
                let name = &self.hosts[peer.index()].spec.name;
                let what = format!("{name} has {}", view.score);
                self.violate("honest peers are never banned", &[host, peer], what);
            }
        }
    }

    /// Whether a download has a source that it has a way to: its publisher, with the files as they were when it began.
    fn must_finish(&self, host: HostId, begun: &Begun) -> bool {
        let owner = &self.hosts[begun.name.owner.index()];
        let share = self.library.shares.get(&begun.name);
        let whole = share.is_some_and(|share| {
            !share.edited && !share.unpublished && begun.made == Some(share.times_made)
        });
        !begun.paused
            && self.hosts[host.index()].spec.core
            && owner.spec.core
            && whole
            && self.can_meet(host, begun.name.owner)
    }

    /// What a node says about something unfinished.
    fn why(&self, host: HostId, subject: Subject) -> String {
        let node = self.hosts[host.index()].node();
        let causes = node.map(|node| node.why(subject)).unwrap_or_default();
        format!("{causes:?}")
    }
}
