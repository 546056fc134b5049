//! Events that somebody who reads the log must not miss.

use scp2p_proto::event::Event;
use scp2p_proto::time::Time;
use scp2p_proto::token_bucket::TokenBucket;
use scp2p_proto::view::ClockDoubt;
use tracing::warn;

/// Lines that may come at once, and how many a second after that: strangers cause some of
/// them, and must not fill a disk with them.
const LINES_MAX: u32 = 50;
const LINES_PER_SECOND: u32 = 1;

/// Writes warnings.
#[derive(Debug)]
pub(crate) struct EventLog {
    lines: TokenBucket,
    left_out: u64,
}

impl EventLog {
    pub(crate) fn new(now: Time) -> EventLog {
        EventLog {
            lines: TokenBucket::new(LINES_MAX, LINES_PER_SECOND, now),
            left_out: 0,
        }
    }

    /// Writes a line if the event is a warning.
    pub(crate) fn write(&mut self, now: Time, event: &Event) {
        let Some(warning) = warning(event) else {
            return;
        };
        if !self.lines.take(now, 1) {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 {
            warn!("{} more warnings were left out", self.left_out);
            self.left_out = 0;
        }
        warn!("{warning}");
    }
}

/// The clock may be wrong: who says so, and what to do.
fn clock_warning(doubt: &ClockDoubt) -> String {
    let ClockDoubt {
        off_secs,
        peers,
        networks,
    } = doubt;
    let Some(off_secs) = off_secs else {
        return format!(
            "peers of {networks} networks closed on our hello without saying why; this machine's clock may be wrong, check it"
        );
    };
    let off = off_secs.unsigned_abs();
    let side = if *off_secs > 0 { "ahead" } else { "behind" };
    match doubt.is_likely() {
        true => format!(
            "this machine's clock is about {off} s {side}, say {peers} peers in {networks} networks; set it, peers refuse each other otherwise"
        ),
        false => format!(
            "this machine's clock may be about {off} s {side}, as {peers} peers of one network say and nobody else was heard; check it"
        ),
    }
}

/// What to write. Text that may come from strangers is quoted.
fn warning(event: &Event) -> Option<String> {
    Some(match event {
        Event::Interception { claimed, remote } => {
            format!("refused {remote}: somebody sits between us and peer {claimed}")
        }
        Event::UnboundRefused { peer, remote } => {
            format!("refused {remote}: peer {peer} cannot prove that nobody sits in between")
        }
        Event::PinMismatch {
            address,
            expected,
            found,
        } => format!("refused {address}: it has the key {found} now, it had {expected} before"),
        Event::ClockDoubt(doubt) => clock_warning(doubt),
        Event::ShareRejected { share, reason } => {
            format!("refused a revision of share {share}: {reason:?}")
        }
        Event::FileChanged { path } => {
            format!(
                "{:?} changed since it was published; no longer served",
                path.0
            )
        }
        Event::ItemFailed {
            download,
            path,
            reason,
        } => format!("download {}: {path} failed: {reason:?}", download.0),
        Event::DownloadFailed { download, reason } => {
            format!("download {} failed: {reason:?}", download.0)
        }
        Event::StoreTrouble { reason } => format!("the store failed: {reason:?}"),
        Event::PeerConnected { .. }
        | Event::PeerDisconnected { .. }
        | Event::Reachability(_)
        | Event::SharePublished { .. }
        | Event::ManifestUpdated { .. }
        | Event::ItemRefused { .. }
        | Event::DownloadProgress { .. }
        | Event::DownloadFinished { .. } => return None,
    })
}
