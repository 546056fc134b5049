//! Why something is not done yet.

use crate::id::{DownloadId, NodeKey, ShareId};
use crate::time::Time;

/// What to ask [`Node::why`](crate::Node::why) about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Why is this download not finished?
    Download(DownloadId),
    /// Why may there be a newer revision of this subscribed share than we hold?
    Subscription(ShareId),
    /// Why is the newest revision of this own share not known to others?
    Share(ShareId),
    /// Why is this peer not connected?
    Peer(NodeKey),
}

/// One reason of several. Times are monotonic ones of the driver's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no such thing.
    Unknown,
    /// Of a download.
    Download(DownloadCause),
    /// Of a subscription.
    Subscription(SubscriptionCause),
    /// Of an own share.
    Share(ShareCause),
    /// Of a peer.
    Peer(PeerCause),
}

/// Why a download is not finished. A finished one has no cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadCause {
    /// It is being made durable.
    Beginning,
    /// The user paused it.
    Paused,
    /// There is no space on the disk; nothing is asked for until then.
    DiskFull {
        /// When it is tried again.
        until: Time,
    },
    /// It is being found out what of these files is on the disk.
    Resuming {
        /// How many.
        files: u32,
    },
    /// The hashes that prove the next chunks are being asked for.
    WaitingForHashes {
        /// Of how many files.
        files: u32,
    },
    /// Chunks were asked for.
    WaitingForChunks {
        /// Requests without an answer.
        outstanding: u32,
    },
    /// Chunks came and are being checked and written.
    WritingToDisk {
        /// How many.
        chunks: u32,
    },
    /// All peers that have the next chunks of these files are asked for as much as they may, or are
    /// left alone for a while.
    HoldersBusy {
        /// How many files.
        files: u32,
        /// When the first of them is asked again, if it is not just an answer that is waited for.
        until: Option<Time>,
    },
    /// All of these files is there, and they are being hashed as a whole.
    Checking {
        /// How many.
        files: u32,
    },
    /// These files are complete and being moved to their names.
    Finishing {
        /// How many.
        files: u32,
    },
    /// No connected peer has these files.
    NoSource {
        /// How many.
        files: u32,
    },
    /// Connected peers have these files, or they may be on the disk; others come first.
    OthersFirst {
        /// How many.
        files: u32,
    },
    /// Providers are being looked up.
    LookingUp {
        /// Lookups that have not ended.
        lookups: u32,
    },
    /// Providers are being dialled.
    Connecting {
        /// How many.
        peers: u32,
    },
    /// Connected peers were asked what they have.
    AskingPeers {
        /// Questions without an answer.
        questions: u32,
    },
    /// Peers are looked for again then.
    RetryAt(Time),
    /// Its end is being made durable.
    Ending,
    /// Its end could not be made durable, which is tried again then.
    StoreTrouble {
        /// When.
        until: Time,
    },
    /// It failed; [`DownloadView::waiting`](super::DownloadView::waiting) says why.
    Failed,
}

/// What goes on about a subscription. It always has a cause, since there may be a newer revision at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionCause {
    /// Nobody has answered since the start.
    NeverChecked,
    /// The newest head is being looked up.
    LookingUp,
    /// Providers of the share are being looked up.
    LookingForProviders,
    /// Providers are being dialled or asked.
    AskingPeers {
        /// How many.
        peers: u32,
    },
    /// A newer catalog is being fetched.
    FetchingManifest {
        /// Its sequence number.
        seq: u64,
        /// Sources that are asked next if this one does not have it.
        sources_left: u32,
    },
    /// A newer catalog is being made durable.
    Storing {
        /// Its sequence number.
        seq: u64,
    },
    /// Nobody who was asked gave a newer catalog that is known to exist.
    NoPeerHasIt {
        /// Its sequence number.
        seq: u64,
        /// When it is tried again.
        until: Time,
    },
    /// The newest head is looked up again then.
    NextPollAt(Time),
}

/// Why others may not know of the newest revision of an own share. There is no cause when somebody took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareCause {
    /// The files of a new revision are being listed.
    Scanning,
    /// The files of a new revision are being hashed.
    Hashing {
        /// Batches of files that are not hashed.
        batches_left: u32,
    },
    /// The sequence number of a new revision is being made durable.
    Reserving,
    /// A new revision is being made durable.
    Storing,
    /// There is no revision yet.
    NoRevision,
    /// The newest revision is being given to other nodes.
    Announcing,
    /// Nobody took the newest revision when it was announced.
    Unheard {
        /// How often in a row.
        attempts: u32,
    },
    /// It is announced then.
    NextAnnouncementAt(Time),
}

/// Why a peer is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerCause {
    /// It is this node itself.
    Own,
    /// It is connected.
    Connected {
        /// Whether it answers calls; a deployed peer that dialled us does not.
        callable: bool,
    },
    /// It is being dialled.
    Dialling {
        /// Links being opened.
        links: u32,
    },
    /// It could not be reached and is not dialled until then.
    BackOff {
        /// When.
        until: Time,
    },
    /// All its addresses were dialled lately, for whomever. None of them is again until then.
    AddressesRest {
        /// When.
        until: Time,
    },
    /// Its clock is so far ahead of ours, or behind if negative, that hellos are refused (SPECIFICATION §3.3). Whose is wrong
    /// is in [`Status::clock`](super::Status::clock), as far as it is known.
    ClockDiffers {
        /// By how many seconds.
        ahead_secs: i64,
    },
    /// It behaved too badly.
    Shunned,
    /// It is not in the address book.
    Unknown,
    /// No address of it is known.
    NoAddress,
    /// It is a bootstrap peer and dialled then.
    RetryAt(Time),
    /// Nobody needs it now. If there are too few sessions, some peers are dialled then.
    Unwanted {
        /// When.
        round_at: Time,
    },
}

impl Cause {
    /// When what this says is over, if it is a matter of time. It is in the future, or a deadline
    /// is due at once.
    pub fn until(&self) -> Option<Time> {
        match *self {
            Cause::Unknown => None,
            Cause::Download(cause) => match cause {
                DownloadCause::DiskFull { until }
                | DownloadCause::RetryAt(until)
                | DownloadCause::StoreTrouble { until } => Some(until),
                DownloadCause::HoldersBusy { until, .. } => until,
                DownloadCause::Beginning
                | DownloadCause::Paused
                | DownloadCause::Resuming { .. }
                | DownloadCause::WaitingForHashes { .. }
                | DownloadCause::WaitingForChunks { .. }
                | DownloadCause::WritingToDisk { .. }
                | DownloadCause::Checking { .. }
                | DownloadCause::Finishing { .. }
                | DownloadCause::NoSource { .. }
                | DownloadCause::OthersFirst { .. }
                | DownloadCause::LookingUp { .. }
                | DownloadCause::Connecting { .. }
                | DownloadCause::AskingPeers { .. }
                | DownloadCause::Ending
                | DownloadCause::Failed => None,
            },
            Cause::Subscription(cause) => match cause {
                SubscriptionCause::NoPeerHasIt { until, .. }
                | SubscriptionCause::NextPollAt(until) => Some(until),
                SubscriptionCause::NeverChecked
                | SubscriptionCause::LookingUp
                | SubscriptionCause::LookingForProviders
                | SubscriptionCause::AskingPeers { .. }
                | SubscriptionCause::FetchingManifest { .. }
                | SubscriptionCause::Storing { .. } => None,
            },
            Cause::Share(cause) => match cause {
                ShareCause::NextAnnouncementAt(at) => Some(at),
                ShareCause::Scanning
                | ShareCause::Hashing { .. }
                | ShareCause::Reserving
                | ShareCause::Storing
                | ShareCause::NoRevision
                | ShareCause::Announcing
                | ShareCause::Unheard { .. } => None,
            },
            Cause::Peer(cause) => match cause {
                PeerCause::BackOff { until } | PeerCause::AddressesRest { until } => Some(until),
                PeerCause::RetryAt(at) | PeerCause::Unwanted { round_at: at } => Some(at),
                PeerCause::Own
                | PeerCause::Connected { .. }
                | PeerCause::Dialling { .. }
                | PeerCause::ClockDiffers { .. }
                | PeerCause::Shunned
                | PeerCause::Unknown
                | PeerCause::NoAddress => None,
            },
        }
    }
}
