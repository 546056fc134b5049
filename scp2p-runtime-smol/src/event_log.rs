//! Events that somebody who reads the log must not miss.

use scp2p_proto::event::Event;
use scp2p_proto::time::Time;
use scp2p_proto::token_bucket::TokenBucket;
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
