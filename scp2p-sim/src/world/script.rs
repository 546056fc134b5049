//! What happens to the hosts, and how a run is measured.

use scp2p_proto::command::Command;
use scp2p_proto::io::{HostEvent, Input, Transport};
use scp2p_proto::keys::Keys;
use scp2p_proto::time::Time;
use scp2p_proto::wire::BootstrapAddr;

use super::host::Note;
use super::workload::{Asked, ShareName, Wanted};
use super::{Due, World};
use crate::id::HostId;
use crate::net::Stop;
use crate::report::Sample;
use crate::scenario::{Action, Span};

/// Peers that each core host must be able to connect to when the world is healed.
const PAIRS_PER_HOST: u64 = 4;
/// Endpoints that translators gave a peer, of those that it is looked for at: a node takes 64 bootstrap addresses in all,
/// and a translator that maps each flow anew gives hundreds.
const FACES_MAX: usize = 4;
/// The end of a partition that is not known yet.
const UNTIL_HEALED: Time = Time(u64::MAX);

impl World<'_> {
    /// An event of the scenario happens.
    pub(super) fn happens(&mut self, number: usize) {
        let scenario = self.scenario;
        let event = &scenario.events[number];
        let Some(host) = self.names.get(event.host.as_str()).copied() else {
            return;
        };
        let note = Note::Happens(format!("{:?}", event.action));
        self.hosts[host.index()].remember(self.now, note);
        match &event.action {
            Action::Start => self.start(host),
            Action::Stop => self.ask(host, Command::Shutdown, Asked::Once),
            Action::Kill => {
                self.end(host, Stop::Reset, "it was killed");
                self.hosts[host.index()].disk.kill();
            }
            Action::Crash => {
                self.end(host, Stop::Silent, "the power was cut");
                let at = &mut self.hosts[host.index()];
                at.disk.crash(&mut at.rng);
            }
            Action::Wipe => self.wipe(host),
            Action::Roam { edge } => self.roam(host, edge.as_deref()),
            Action::Suspend { span } => self.suspend(host, *span),
            Action::ClockStep { secs } => self.hosts[host.index()].clock.step(*secs),
            Action::Partition { from, one_way } => {
                if from.is_empty() {
                    self.hosts[host.index()].parted = Some(UNTIL_HEALED);
                }
                let others = self.others(host, from);
                self.network.partition(self.now, host, &others, *one_way);
            }
            Action::Heal => self.heal_host(host),
            Action::Clog { span } => {
                let until = self.now + span.duration();
                self.network.clog(self.now, host, until);
            }
            Action::DiskFull { writes } => self.hosts[host.index()].disk.full_after(*writes),
            Action::DiskFree => self.hosts[host.index()].disk.free(),
            Action::Publish {
                share,
                files,
                bytes,
            } => {
                self.user_publishes(host, share, *files, *bytes);
            }
            Action::Edit { share, file } => self.user_edits(host, share, *file),
            Action::Subscribe { to, share } => self.want_share(host, to, share, Wanted::Subscribe),
            Action::Unsubscribe { to, share } => {
                self.want_share(host, to, share, Wanted::Unsubscribe);
            }
            Action::Sync => self.ask(host, Command::Sync(None), Asked::Once),
            Action::Search { to, share } => self.search(host, to, share),
            Action::Get { to, share } => self.want_share(host, to, share, Wanted::Get),
            Action::Unpublish { share } => self.user_unpublishes(host, share),
            Action::Pause => self.pause(host, true),
            Action::Resume => self.pause(host, false),
            Action::Cancel => self.cancel(host),
        }
        self.network_effects();
    }

    fn heal_host(&mut self, host: HostId) {
        self.network.heal(self.now, host);
        let parted = &mut self.hosts[host.index()].parted;
        *parted = parted.map(|until| until.min(self.now));
    }

    fn want_share(
        &mut self,
        host: HostId,
        to: &str,
        share: &str,
        wanted: impl Fn(ShareName) -> Wanted,
    ) {
        if let Some(name) = self.share_name(to, share) {
            // Who wants the one no longer wants the other.
            let all = &mut self.hosts[host.index()].wanted;
            all.retain(|other| {
                *other != Wanted::Subscribe(name.clone())
                    && *other != Wanted::Unsubscribe(name.clone())
            });
            self.want(host, wanted(name));
        }
    }

    pub(super) fn share_name(&self, to: &str, share: &str) -> Option<ShareName> {
        Some(ShareName {
            owner: self.names.get(to).copied()?,
            name: share.to_owned(),
        })
    }

    fn others(&self, host: HostId, named: &[String]) -> Vec<HostId> {
        if named.is_empty() {
            let all = self.hosts.iter().map(|other| other.id);
            return all.filter(|other| *other != host).collect();
        }
        named
            .iter()
            .filter_map(|name| self.names.get(name.as_str()).copied())
            .collect()
    }

    fn wipe(&mut self, host: HostId) {
        let at = &mut self.hosts[host.index()];
        if at.program.is_some() {
            return;
        }
        at.disk.wipe();
        // Its key was on that disk.
        let mut secret = [0; 32];
        at.rng.fill(&mut secret);
        at.keys = Keys::from_seed(secret);
        at.promised = super::host::Promised::default();
        // What its user did with what is lost is lost too.
        at.wanted.retain(|wanted| match wanted {
            Wanted::Publish { .. }
            | Wanted::Unpublish { .. }
            | Wanted::Pause(_)
            | Wanted::Resume(_) => false,
            Wanted::Subscribe(_) | Wanted::Unsubscribe(_) | Wanted::Get(_) => true,
        });
        self.downloads.retain(|(of, _), _| *of != host);
        // The keys of its shares are gone, and with them the shares.
        self.library.names.retain(|_, name| name.owner != host);
        self.library.shares.retain(|name, _| name.owner != host);
    }

    fn roam(&mut self, host: HostId, edge: Option<&str>) {
        self.network.roam(self.now, host, edge);
        let addresses = HostEvent::Addresses(self.network.addresses(host));
        self.ready.push_back((host, Input::Host(addresses)));
    }

    fn suspend(&mut self, host: HostId, span: Span) {
        let at = &mut self.hosts[host.index()];
        if at.is_up() {
            at.asleep = Some(Vec::new());
            at.sleeps_until = self.now + span.duration();
            self.agenda.push(at.sleeps_until, Due::WakeUp(host));
            self.network.pause(self.now, host, true);
        }
    }

    /// A suspended host wakes up: it learns so before anything else.
    pub(super) fn wake_up(&mut self, host: HostId) {
        let Some(waiting) = self.hosts[host.index()].asleep.take() else {
            return;
        };
        self.network.pause(self.now, host, false);
        self.ready
            .push_back((host, Input::Host(HostEvent::Resumed)));
        let waiting = waiting.into_iter().map(|input| (host, input));
        self.ready.extend(waiting);
        // What its user wanted while it slept.
        self.pursue(host);
        self.network_effects();
        // What its user came to want meanwhile.
        self.agenda.push(self.now, Due::Pursue(host));
    }

    /// A user pauses the newest download, or goes on with the newest that is paused.
    fn pause(&mut self, host: HostId, paused: bool) {
        let its = self.downloads.iter_mut().rev();
        let mut its = its.filter(|((of, _), begun)| *of == host && begun.paused != paused);
        let Some(((_, download), begun)) = its.next() else {
            return;
        };
        begun.paused = paused;
        let (wanted, other) = match paused {
            true => (Wanted::Pause(*download), Wanted::Resume(*download)),
            false => (Wanted::Resume(*download), Wanted::Pause(*download)),
        };
        self.want_instead(host, wanted, &other);
    }

    fn cancel(&mut self, host: HostId) {
        let newest = self.downloads.keys().rev().find(|(of, _)| *of == host);
        if let Some((_, download)) = newest.copied() {
            self.downloads.remove(&(host, download));
            let at = &mut self.hosts[host.index()];
            at.promised.downloads.remove(&download);
            at.promised.paused.remove(&download);
            self.ask(host, Command::Cancel(download), Asked::Once);
        }
    }

    /// What a host has indexed must have the share's files, if it has the share.
    fn search(&mut self, host: HostId, to: &str, share: &str) {
        let Some(name) = self.share_name(to, share) else {
            return;
        };
        let Some(id) = self.library.id(&name) else {
            return;
        };
        let Some(node) = self.hosts[host.index()].node() else {
            return;
        };
        let subscriptions = node.subscriptions();
        let has = subscriptions
            .iter()
            .any(|view| view.id == id && view.items > 0);
        let found = self.hosts[host.index()].disk.search("file-0000");
        if has && !found.iter().any(|(of, _)| *of == id) {
            let what = format!("nothing of {id} is found");
            self.violate("what is subscribed to is found by its names", &[host], what);
        }
    }

    /// All faults end, and what is core runs.
    pub(super) fn heal(&mut self) {
        self.network.calm();
        for number in 0..self.hosts.len() {
            let host = HostId(number as u32);
            self.heal_host(host);
            self.hosts[number].disk.calm();
            if self.hosts[number].asleep.is_some() {
                self.wake_up(host);
            }
            if self.hosts[number].spec.core {
                self.start(host);
            }
        }
        self.network_effects();
    }

    /// The healed world is put to the test: pairs of core hosts are told to connect, and subscriptions
    /// are looked up.
    pub(super) fn demand(&mut self) {
        let core: Vec<HostId> = self.core().collect();
        for host in &core {
            for _ in 0..PAIRS_PER_HOST {
                let Some(peer) = self.rng.pick(&core).copied() else {
                    continue;
                };
                if peer != *host && self.network.reaches(self.now, *host, peer) {
                    // A way that an edge remembers may be forgotten before the node tries it.
                    if self.network.can_dial(*host, peer) {
                        self.oracle.pairs.insert((*host, peer));
                    }
                    self.introduce(*host, peer);
                }
            }
            self.ask(*host, Command::Sync(None), Asked::Once);
        }
    }

    /// Core hosts with an honest program.
    pub(super) fn core(&self) -> impl Iterator<Item = HostId> {
        let core = self
            .hosts
            .iter()
            .filter(|host| host.spec.core && !host.is_villain());
        core.map(|host| host.id)
    }

    fn introduce(&mut self, host: HostId, peer: HostId) {
        let key = self.hosts[peer.index()].keys.public();
        let mut endpoints = self.endpoints(peer);
        let faces = self.network.quic_endpoints(self.now, peer);
        for addr in faces.into_iter().take(FACES_MAX) {
            if !endpoints.contains(&(Transport::Quic, addr)) {
                endpoints.push((Transport::Quic, addr));
            }
        }
        for (transport, addr) in endpoints {
            let bootstrap: Result<BootstrapAddr, _> = format!("{transport}://{addr}@{key}").parse();
            if let Ok(bootstrap) = bootstrap {
                self.ask(host, Command::AddBootstrap(bootstrap), Asked::Once);
            }
        }
    }

    /// Measures the run.
    pub(super) fn sample(&mut self) {
        self.collect_lookups();
        self.check_causes();
        let mut sample = Sample {
            at: Span(self.now.0),
            lookups: self.lookups.ended,
            lookups_found: self.lookups.found,
            downloads: self.downloads_begun,
            downloads_done: self.download_ms.len() as u64,
            bytes: self.bytes,
            ..Sample::default()
        };
        for host in self.hosts.iter().filter(|host| host.is_up()) {
            sample.online += 1;
            let Some(node) = host.node() else {
                continue;
            };
            let status = node.status();
            sample.sessions += status.connected;
            sample.relayed += status.relayed;
            for view in node.subscriptions() {
                let name = self.library.names.get(&view.id);
                let share = name.and_then(|name| self.library.shares.get(name));
                sample.subscriptions += 1;
                let newest = share.and_then(super::workload::Share::newest);
                sample.current += u32::from(newest.is_none_or(|newest| view.seq >= newest));
            }
        }
        self.samples.push(sample);
    }
}
