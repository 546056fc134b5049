//! What happens in a scenario, and when.

use serde::{Deserialize, Serialize};

use super::{Span, is_default};

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, after the start of the world.
    pub at: Span,
    /// To which host; for faults of the network one of its ends.
    pub host: String,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// What happens to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Its program starts, with the data that it has.
    Start,
    /// Its program is asked to stop, and stops when everything is durable.
    Stop,
    /// Its program is killed; the system resets its connections. Files stay as they were
    /// written; rows of the last seconds that were not asked to be durable may be lost.
    Kill,
    /// The power is cut: nobody is told, and what was not durable may be lost or torn.
    Crash,
    /// Its disk is replaced by an empty one. Only while its program does not run.
    Wipe,
    /// It moves to another edge, or to the open internet, and has a new address.
    Roam {
        /// Behind which edge.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edge: Option<String>,
    },
    /// It sleeps: nothing runs, its timers and its monotonic clock go on.
    Suspend {
        /// For how long.
        span: Span,
    },
    /// Its wall clock is set.
    ClockStep {
        /// By so many seconds.
        secs: i64,
    },
    /// Nothing passes between it and these hosts.
    Partition {
        /// The other hosts; none for all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        from: Vec<String>,
        /// Whether its own packets still reach them.
        #[serde(default, skip_serializing_if = "is_default")]
        one_way: bool,
    },
    /// All partitions that it is an end of are over.
    Heal,
    /// Packets from and to it are held up until this is over.
    Clog {
        /// For how long.
        span: Span,
    },
    /// Its disk takes so many more writes and then no more.
    DiskFull {
        /// How many.
        writes: u32,
    },
    /// Its disk has space again.
    DiskFree,
    /// Its node publishes files made for this as the next revision of a share of this name.
    Publish {
        /// The share.
        share: String,
        /// How many files.
        files: u32,
        /// How long each is, in bytes.
        bytes: u64,
    },
    /// A file of a share is changed in place, without publishing it again.
    Edit {
        /// The share.
        share: String,
        /// Which file.
        file: u32,
    },
    /// Its node takes a share of its own back.
    Unpublish {
        /// The share.
        share: String,
    },
    /// Its node follows a share of another host.
    Subscribe {
        /// The publishing host.
        to: String,
        /// The share.
        share: String,
    },
    /// Its node follows a share no more.
    Unsubscribe {
        /// The publishing host.
        to: String,
        /// The share.
        share: String,
    },
    /// Its node looks for newer revisions of all shares.
    Sync,
    /// What its index has is searched for the name of a file of a share.
    Search {
        /// The publishing host.
        to: String,
        /// The share.
        share: String,
    },
    /// Its node downloads a share.
    Get {
        /// The publishing host.
        to: String,
        /// The share.
        share: String,
    },
    /// Its node pauses its newest download.
    Pause,
    /// Its node goes on with the newest download that it paused.
    Resume,
    /// Its node ends its newest download.
    Cancel,
}

impl Action {
    /// The host whose share this is about, if it is another host's.
    pub fn publisher(&self) -> Option<&String> {
        match self {
            Action::Subscribe { to, .. }
            | Action::Unsubscribe { to, .. }
            | Action::Search { to, .. }
            | Action::Get { to, .. } => Some(to),
            Action::Start
            | Action::Stop
            | Action::Kill
            | Action::Crash
            | Action::Wipe
            | Action::Roam { .. }
            | Action::Suspend { .. }
            | Action::ClockStep { .. }
            | Action::Partition { .. }
            | Action::Heal
            | Action::Clog { .. }
            | Action::DiskFull { .. }
            | Action::DiskFree
            | Action::Publish { .. }
            | Action::Edit { .. }
            | Action::Unpublish { .. }
            | Action::Sync
            | Action::Pause
            | Action::Resume
            | Action::Cancel => None,
        }
    }
}
