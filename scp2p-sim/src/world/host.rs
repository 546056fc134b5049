//! A computer: its program, disk and clocks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use scp2p_proto::command::{CommandError, Reply};
use scp2p_proto::config::{Announcing, Config, RelayLimits};
use scp2p_proto::id::{DownloadId, OpId, ShareId};
use scp2p_proto::io::{Input, Output, Transport};
use scp2p_proto::keys::Keys;
use scp2p_proto::rng::Rng;
use scp2p_proto::time::{Now, Time};
use scp2p_proto::{Node, storage::Batch};

use super::clock::Clock;
use super::workload::{Asked, Wanted};
use crate::disk::{CommitNo, Disk};
use crate::id::HostId;
use crate::scenario;
use crate::villain::Villain;

/// Where a node's QUIC port is.
pub(super) const QUIC_PORT: u16 = 7000;
/// Where its TCP port is.
pub(super) const TCP_PORT: u16 = 7001;
/// Things remembered of a host, to be shown with a violation.
const RECENT_MAX: usize = 24;

/// A computer with one program.
pub(super) struct Host {
    pub(super) id: HostId,
    pub(super) spec: scenario::Host,
    pub(super) keys: Keys,
    pub(super) program: Option<Program>,
    /// How often its program was started; what belongs to an earlier start is dropped.
    pub(super) boot: u32,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    /// When the world wakes it next; entries of the agenda for other times are stale.
    pub(super) wake: Option<Time>,
    /// Since when its program runs.
    pub(super) up_since: Time,
    /// Inputs that wait for the host to wake up, if it sleeps.
    pub(super) asleep: Option<Vec<Input>>,
    /// When it wakes up, if it sleeps.
    pub(super) sleeps_until: Time,
    /// Until when a partition from all others lasts, or lasted.
    pub(super) parted: Option<Time>,
    /// When the store is done with the commits that it has.
    pub(super) store_free: Time,
    /// The newest soft commit that is not durable yet.
    pub(super) soft: Option<CommitNo>,
    pub(super) next_op: u64,
    pub(super) asked: BTreeMap<OpId, Asked>,
    /// What the user wants of it, until it is done.
    pub(super) wanted: Vec<Wanted>,
    /// What was promised to be durable.
    pub(super) promised: Promised,
    pub(super) recent: VecDeque<(Time, Note)>,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// What its user was told is durable.
#[derive(Debug, Default)]
pub(super) struct Promised {
    /// Own shares and their newest revisions.
    pub(super) published: BTreeMap<ShareId, u64>,
    /// Subscriptions, and the newest revision that each was seen to have.
    pub(super) subscribed: BTreeMap<ShareId, u64>,
    /// Own shares that were taken back.
    pub(super) unpublished: BTreeSet<ShareId>,
    /// Downloads, and whether they were finished.
    pub(super) downloads: BTreeMap<DownloadId, bool>,
    /// Downloads that were paused or resumed, and whether they are paused.
    pub(super) paused: BTreeMap<DownloadId, bool>,
}

/// What runs.
pub(super) enum Program {
    Node(Box<Node>),
    Villain(Box<dyn Villain>),
}

impl Program {
    pub(super) fn handle(&mut self, now: Now, input: Input) {
        match self {
            Program::Node(node) => node.handle(now, input),
            Program::Villain(villain) => villain.handle(now, input),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Program::Node(node) => node.poll_output(),
            Program::Villain(villain) => villain.poll_output(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Program::Node(node) => node.deadline().map(|(at, _)| at),
            Program::Villain(villain) => villain.deadline(),
        }
    }

    pub(super) fn node(&self) -> Option<&Node> {
        match self {
            Program::Node(node) => Some(node),
            Program::Villain(_) => None,
        }
    }
}

impl Host {
    pub(super) fn node(&self) -> Option<&Node> {
        self.program.as_ref().and_then(Program::node)
    }

    /// Whether its program runs and is awake.
    pub(super) fn is_up(&self) -> bool {
        self.program.is_some() && self.asleep.is_none()
    }

    pub(super) fn is_villain(&self) -> bool {
        self.spec.villain.is_some()
    }

    /// The node's settings, without bootstrap peers.
    pub(super) fn config(&self) -> Config {
        let settings = &self.spec.node;
        let mut config = Config {
            quic_port: self.port(Transport::Quic),
            tcp_port: self.port(Transport::Tcp),
            ..Config::default()
        };
        if let Some(span) = settings.poll_interval {
            config.poll_interval = span.duration();
        }
        if let Some(span) = settings.republish_interval {
            config.republish_interval = span.duration();
        }
        if let Some(max) = settings.item_records_max {
            config.item_records_max = max;
        }
        if let Some(max) = settings.uploads_per_peer_max {
            config.uploads_per_peer_max = max;
        }
        if let Some(max) = settings.files_at_once_max {
            config.files_at_once_max = max;
        }
        if let Some(kept) = settings.sessions_kept {
            config.sessions_kept = kept;
        }
        if settings.relay {
            config.relay = Some(RelayLimits {
                content: true,
                ..RelayLimits::default()
            });
            config.capabilities.relay = true;
        }
        config.announcing = settings.announce.then(Announcing::default);
        config
    }

    /// Where it listens, if it does.
    pub(super) fn port(&self, transport: Transport) -> Option<u16> {
        match transport {
            Transport::Quic => (!self.spec.node.no_quic).then_some(QUIC_PORT),
            Transport::Tcp => (!self.spec.node.no_tcp).then_some(TCP_PORT),
        }
    }

    pub(super) fn remember(&mut self, at: Time, note: Note) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((at, note));
    }
}

/// Something that happened to a host, small enough to be kept for each step.
pub(super) enum Note {
    Started(u32),
    Ended(&'static str),
    Commit {
        urgent: bool,
        rows: usize,
        sync: usize,
        finish: usize,
    },
    Answered(OpId, Result<Box<Reply>, Box<CommandError>>),
    Event(Box<scp2p_proto::event::Event>),
    Happens(String),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Started(boot) => write!(f, "starts (boot {boot})"),
            Note::Ended(why) => write!(f, "ends: {why}"),
            Note::Commit {
                urgent,
                rows,
                sync,
                finish,
            } => {
                let urgent = if *urgent { "urgent, " } else { "" };
                write!(
                    f,
                    "commits {urgent}{rows} rows, syncs {sync}, finishes {finish}"
                )
            }
            Note::Answered(op, Ok(reply)) => write!(f, "{op:?} is answered: {reply:?}"),
            Note::Answered(op, Err(error)) => write!(f, "{op:?} fails: {error}"),
            Note::Event(event) => write!(f, "{event:?}"),
            Note::Happens(what) => write!(f, "happens: {what}"),
        }
    }
}

impl Note {
    pub(super) fn commit(batch: &Batch) -> Note {
        Note::Commit {
            urgent: batch.urgent,
            rows: batch.rows.len(),
            sync: batch.sync.len(),
            finish: batch.finish.len(),
        }
    }
}
