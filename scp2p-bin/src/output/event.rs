//! Events.

use crate::api::{EventLine, Happened, Rejection};

use super::status::clock_doubt;
use super::{count, short, shown, size, time};

/// A line of `scp2p events`.
pub fn event(line: &EventLine) -> String {
    format!("{}  {}\n", time::clock(line.unix), sentence(&line.happened))
}

fn sentence(happened: &Happened) -> String {
    match happened {
        Happened::PeerConnected {
            peer,
            transport,
            remote,
            bound,
            via,
        } => format!(
            "peer {} connected over {} {} {remote}, {}",
            short(peer),
            shown(transport),
            if via.is_some() {
                "through the relay at"
            } else {
                "from"
            },
            if *bound { "bound" } else { "unbound" }
        ),
        Happened::Reachability {
            state, quic, tcp, ..
        } => format!(
            "this node is {}; by others that dialled it: QUIC {}, TCP {}",
            shown(state),
            shown(quic),
            shown(tcp)
        ),
        Happened::ClockDoubt(doubt) => clock_doubt(doubt),
        Happened::PeerDisconnected { peer } => format!("peer {} disconnected", short(peer)),
        Happened::Interception { claimed, remote } => {
            format!(
                "refused {remote}: somebody sits between us and peer {}",
                short(claimed)
            )
        }
        Happened::UnboundRefused { peer, remote } => format!(
            "refused peer {} at {remote}: it cannot prove that nobody sits in between",
            short(peer)
        ),
        Happened::PinMismatch {
            address,
            expected,
            found,
        } => format!(
            "refused {}: it has the key {} now, it had {} before",
            shown(address),
            short(found),
            short(expected)
        ),
        Happened::SharePublished { share, share_seq } => {
            format!("share {} published as revision {share_seq}", short(share))
        }
        Happened::ManifestUpdated {
            share, share_seq, ..
        } => {
            format!("share {} arrived in revision {share_seq}", short(share))
        }
        Happened::ShareRejected { share, reason } => {
            format!(
                "refused a revision of share {}: {}",
                short(share),
                rejection(*reason)
            )
        }
        Happened::FileChanged { path } => {
            format!(
                "{}: changed since it was published; no longer served, publish it again",
                shown(path)
            )
        }
        Happened::ItemRefused { download, item } => {
            format!(
                "download {download}: {} refused: {}",
                shown(&item.path),
                shown(&item.reason)
            )
        }
        Happened::ItemFailed {
            download,
            path,
            reason,
        } => format!(
            "download {download}: {} failed: {}",
            shown(path),
            shown(reason)
        ),
        Happened::DownloadProgress {
            download,
            done,
            total,
        } => {
            format!("download {download}: {} of {}", size(*done), size(*total))
        }
        Happened::DownloadFinished { download } => format!("download {download} finished"),
        Happened::DownloadFailed { download, reason } => {
            format!("download {download} failed: {}", shown(reason))
        }
        Happened::StoreTrouble { reason } => format!("the store failed: {}", shown(reason)),
        Happened::Lagged { missed } => format!("{} missed here", count(*missed, "event", "events")),
    }
}

fn rejection(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Signature => "its signature is wrong",
        Rejection::Frozen => "its number is not that of its catalog",
        Rejection::Equivocation => "another catalog has its number",
        Rejection::Expired => "it expired",
        Rejection::Malformed => "it is malformed",
    }
}
