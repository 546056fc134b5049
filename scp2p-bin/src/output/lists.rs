//! Lists of things.

use std::fmt::Write;

use crate::api::{self, DownloadState};

use super::table::{Align, Table};
use super::{count, rate, short, shown, size, start, time};

/// `scp2p peers`.
pub fn peers(peers: &[api::Peer]) -> String {
    if peers.is_empty() {
        return "no peers known; name one with: scp2p node --bootstrap HOST:PORT\n".to_owned();
    }
    let now = time::now();
    let mut table = Table::new([
        ("peer", Align::Left),
        ("session", Align::Left),
        ("remote", Align::Left),
        ("rtt", Align::Right),
        ("received", Align::Right),
        ("sent", Align::Right),
        ("score", Align::Right),
        ("seen", Align::Left),
    ]);
    for peer in peers {
        let session = peer.session.as_ref();
        table.row([
            short(&peer.key),
            session.map_or("-".to_owned(), how),
            session.map_or_else(
                || peer.addresses.first().map_or("-".to_owned(), |a| start(a)),
                |s| s.remote.to_string(),
            ),
            session.and_then(|s| s.rtt_us).map_or("-".to_owned(), |us| {
                format!("{}.{} ms", us / 1000, us % 1000 / 100)
            }),
            session.map_or("-".to_owned(), |s| size(s.received)),
            session.map_or("-".to_owned(), |s| size(s.sent)),
            peer.score.to_string(),
            match (session, peer.last_seen) {
                (Some(_), _) => "connected".to_owned(),
                (None, Some(at)) => time::ago(at, now),
                (None, None) => "never".to_owned(),
            },
        ]);
    }
    table.render()
}

/// Transport, direction, and whether somebody could sit in between.
fn how(session: &api::Session) -> String {
    format!(
        "{} {}{}, {}",
        shown(&session.transport),
        if session.inbound { "in" } else { "out" },
        match (&session.tunnel, &session.via) {
            (Some(_), _) => " tunnel, readable by the relay",
            (None, Some(_)) => " relayed",
            (None, None) => "",
        },
        if session.bound {
            "bound".to_owned()
        } else {
            format!("unbound {}", shown(&session.profile))
        }
    )
}

/// `scp2p shares`.
pub fn shares(shares: &[api::Share]) -> String {
    if shares.is_empty() {
        return "nothing published; publish with: scp2p publish PATH --share NAME\n".to_owned();
    }
    let mut table = Table::new([
        ("name", Align::Left),
        ("id", Align::Left),
        ("revision", Align::Right),
        ("items", Align::Right),
        ("size", Align::Right),
        ("visibility", Align::Left),
        ("followers", Align::Right),
        ("title", Align::Left),
    ]);
    for share in shares {
        table.row([
            start(&share.name),
            short(&share.id),
            share.seq.to_string(),
            share.items.to_string(),
            size(share.bytes),
            visibility(share.visibility).to_owned(),
            share.followers.to_string(),
            share.title.as_deref().map(start).unwrap_or_default(),
        ]);
    }
    let mut text = table.render();
    for share in shares {
        for path in &share.changed {
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{}: changed since it was published and is not served; publish {} again",
                shown(path),
                shown(&share.name)
            );
        }
    }
    text
}

fn visibility(visibility: api::Visibility) -> &'static str {
    match visibility {
        api::Visibility::Private => "private",
        api::Visibility::Public => "public",
    }
}

/// `scp2p subscriptions`.
pub fn subscriptions(subscriptions: &[api::Subscription]) -> String {
    if subscriptions.is_empty() {
        return "nothing followed; follow a share with: scp2p subscribe LINK\n".to_owned();
    }
    let now = time::now();
    let mut table = Table::new([
        ("id", Align::Left),
        ("revision", Align::Right),
        ("items", Align::Right),
        ("size", Align::Right),
        ("providers", Align::Right),
        ("checked", Align::Left),
        ("title", Align::Left),
    ]);
    for subscription in subscriptions {
        table.row([
            short(&subscription.id),
            if subscription.seq == 0 {
                "none yet".to_owned()
            } else {
                subscription.seq.to_string()
            },
            subscription.items.to_string(),
            size(subscription.bytes),
            subscription.providers.to_string(),
            subscription
                .checked
                .map_or("never".to_owned(), |at| time::ago(at, now)),
            subscription.title.as_deref().map(start).unwrap_or_default(),
        ]);
    }
    table.render()
}

/// `scp2p public`.
pub fn public(shares: &[api::PublicShare]) -> String {
    if shares.is_empty() {
        return "no peer that is connected has public shares; see: scp2p peers\n".to_owned();
    }
    let mut table = Table::new([
        ("id", Align::Left),
        ("revision", Align::Right),
        ("peers", Align::Right),
        ("title", Align::Left),
    ]);
    for share in shares {
        table.row([
            short(&share.id),
            share.seq.to_string(),
            share.peers.to_string(),
            share.title.as_deref().map(start).unwrap_or_default(),
        ]);
    }
    let mut text = table.render();
    text.push_str("follow one with: scp2p subscribe ID\n");
    text
}

/// `scp2p downloads`.
pub fn downloads(downloads: &[api::Download]) -> String {
    if downloads.is_empty() {
        return "no downloads; start one with: scp2p get SHARE\n".to_owned();
    }
    let mut table = Table::new([
        ("id", Align::Right),
        ("state", Align::Left),
        ("done", Align::Right),
        ("size", Align::Right),
        ("items", Align::Right),
        ("rate", Align::Right),
        ("peers", Align::Right),
        ("name", Align::Left),
        ("folder", Align::Left),
    ]);
    for download in downloads {
        table.row([
            download.id.to_string(),
            state(download),
            format!("{} %", percent(download.done, download.total)),
            size(download.total),
            format!("{}/{}", download.items_done, download.items),
            match download.state {
                DownloadState::Running => rate(download.rate),
                DownloadState::Paused | DownloadState::Finished | DownloadState::Failed => {
                    "-".to_owned()
                }
            },
            format!("{}{}", download.peers.len(), readable(&download.peers)),
            start(&download.name),
            shown(&download.folder),
        ]);
    }
    table.render()
}

fn state(download: &api::Download) -> String {
    let word = match download.state {
        DownloadState::Running => "running",
        DownloadState::Paused => return "paused".to_owned(),
        DownloadState::Finished => "finished",
        DownloadState::Failed => "failed",
    };
    match &download.waiting {
        Some(waiting) if download.state != DownloadState::Finished => {
            format!("{word}: {}", start(waiting))
        }
        Some(_) | None => word.to_owned(),
    }
}

/// How many of those who give are asked through tunnels, or nothing if none is.
pub fn readable(givers: &[api::Giver]) -> String {
    match givers.iter().filter(|giver| giver.tunnel).count() {
        0 => String::new(),
        tunnels => format!(" ({tunnels} by tunnel, readable by the relay)"),
    }
}

/// What share each peer gave: `1a2b3c4d5e6f 60 %, ...`.
pub fn givers(givers: &[api::Giver]) -> String {
    let total: u64 = givers
        .iter()
        .fold(0, |sum, giver| sum.saturating_add(giver.bytes));
    let mut givers: Vec<_> = givers.iter().filter(|giver| giver.bytes > 0).collect();
    givers.sort_by_key(|giver| std::cmp::Reverse(giver.bytes));
    let given = |giver: &&api::Giver| {
        format!(
            "{} {} % ({}{})",
            short(&giver.key),
            percent(giver.bytes, total),
            size(giver.bytes),
            if giver.tunnel {
                "; tunnel, readable by the relay"
            } else {
                ""
            }
        )
    };
    givers.iter().map(given).collect::<Vec<_>>().join(", ")
}

/// Rounded down, so that 100 means all.
fn percent(part: u64, whole: u64) -> u128 {
    match whole {
        0 => 100,
        _ => u128::from(part) * 100 / u128::from(whole),
    }
}

/// `scp2p browse`, with those items only.
pub fn catalog(catalog: &api::Catalog, items: &[&api::Item]) -> String {
    let bytes = items
        .iter()
        .fold(0u64, |sum, item| sum.saturating_add(item.size));
    let mut text = format!(
        "{} (share {}, revision {} of {}, {})\n",
        catalog
            .title
            .as_deref()
            .map_or("untitled".to_owned(), start),
        short(&catalog.share),
        catalog.seq,
        time::date(catalog.created),
        visibility(catalog.visibility),
    );
    if let Some(description) = &catalog.description {
        // Paragraphs are the publisher's, everything else that steers a terminal is not.
        text.extend(description.lines().map(|line| format!("{}\n", shown(line))));
    }
    let mut table = Table::new([
        ("size", Align::Right),
        ("content", Align::Left),
        ("path", Align::Left),
        ("tags", Align::Left),
    ]);
    for item in items {
        table.row([
            size(item.size),
            short(&item.content),
            shown(&item.path),
            tags(&item.tags),
        ]);
    }
    text.push_str(&table.render());
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{}, {}",
        count(items.len() as u64, "item", "items"),
        size(bytes)
    );
    text
}

fn tags(tags: &[String]) -> String {
    start(&tags.join(", "))
}

/// `scp2p search`.
pub fn found(found: &api::Found) -> String {
    let (Some(first), Some(last)) = (found.hits.first(), found.hits.last()) else {
        return match found.total {
            0 => "nothing found in the shares followed\n".to_owned(),
            total => format!("{total} found, but none so far down\n"),
        };
    };
    let mut table = Table::new([
        ("no.", Align::Right),
        ("size", Align::Right),
        ("path", Align::Left),
        ("share", Align::Left),
        ("tags", Align::Left),
    ]);
    for hit in &found.hits {
        let share = short(&hit.share);
        table.row([
            hit.number.to_string(),
            size(hit.size),
            shown(&hit.path),
            hit.share_title
                .as_deref()
                .map_or(share.clone(), |title| format!("{} ({share})", start(title))),
            tags(&hit.tags),
        ]);
    }
    let mut text = table.render();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{} to {} of {}; download one with: scp2p get {}",
        first.number, last.number, found.total, first.number
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Text;
    use scp2p_proto::id::{ContentId, NodeKey, ShareId};

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let evil = "a\u{1b}[2J\u{202e}b\nc";
        let catalog = api::Catalog {
            share: Text(ShareId([1; 32])),
            seq: 1,
            title: Some(evil.to_owned()),
            description: Some(evil.to_owned()),
            visibility: api::Visibility::Public,
            created: 0,
            items: vec![api::Item {
                path: evil.to_owned(),
                content: Text(ContentId([2; 32])),
                size: 3,
                mime: Some(evil.to_owned()),
                tags: vec![evil.to_owned()],
            }],
        };
        let text = super::catalog(&catalog, &catalog.items.iter().collect::<Vec<_>>());
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        // Heading, two lines of description, column names, one item, the sum.
        assert_eq!(text.lines().count(), 6, "{text}");
    }

    #[test]
    fn shares_of_a_download_are_those_of_the_bytes_given() {
        let giver = |key, bytes| api::Giver {
            key: Text(NodeKey([key; 32])),
            bytes,
            tunnel: key == 1,
        };
        let all = [giver(1, 1024), giver(2, 3072), giver(3, 0)];
        assert_eq!(
            givers(&all),
            "020202020202 75 % (3.00 KiB), 010101010101 25 % (1.00 KiB; tunnel, readable by the relay)"
        );
        assert_eq!(givers(&[]), "");
        assert_eq!(readable(&all), " (1 by tunnel, readable by the relay)");
        assert_eq!(readable(&all[1..]), "");
    }
}
