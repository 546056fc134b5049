//! Who is at the ends of the links that programs know of.

use std::collections::BTreeMap;

use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Input, LinkEvent};

use crate::id::HostId;

/// Links that are or were up, by what both ends export of them.
#[derive(Debug, Default)]
pub(super) struct Links {
    exporters: BTreeMap<(HostId, LinkId), [u8; 32]>,
    ends: BTreeMap<[u8; 32], Vec<End>>,
}

/// A host that heard that the link is up.
#[derive(Debug)]
struct End {
    host: HostId,
    is_gone: bool,
}

impl Links {
    /// A host's program is about to handle this: links that come up.
    pub(super) fn before(&mut self, host: HostId, input: &Input) {
        if let Input::Link(link, LinkEvent::Dialed(info) | LinkEvent::Accepted(info)) = input {
            self.exporters.insert((host, *link), info.exporter);
            let ends = self.ends.entry(info.exporter).or_default();
            ends.push(End {
                host,
                is_gone: false,
            });
        }
    }

    /// A host's program knows this link no more.
    pub(super) fn gone(&mut self, host: HostId, link: LinkId) {
        let Some(exporter) = self.exporters.remove(&(host, link)) else {
            return;
        };
        let Some(ends) = self.ends.get_mut(&exporter) else {
            return;
        };
        for end in ends.iter_mut().filter(|end| end.host == host) {
            end.is_gone = true;
        }
        if ends.iter().all(|end| end.is_gone) {
            self.ends.remove(&exporter);
        }
    }

    /// A host's program ended.
    pub(super) fn all_gone(&mut self, host: HostId) {
        let of_host = (host, LinkId(0))..=(host, LinkId(u64::MAX));
        let links = self.exporters.range(of_host);
        let links: Vec<LinkId> = links.map(|((_, link), _)| *link).collect();
        for link in links {
            self.gone(host, link);
        }
    }

    /// Whether a link that one host's program knows is or was up at the other.
    pub(super) fn are_linked(&self, host: HostId, other: HostId) -> bool {
        let of_host = (host, LinkId(0))..=(host, LinkId(u64::MAX));
        let mut exporters = self.exporters.range(of_host);
        exporters.any(|(_, exporter)| {
            let ends = self.ends.get(exporter);
            ends.is_some_and(|ends| ends.iter().any(|end| end.host == other))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scp2p_proto::io::{LinkError, LinkInfo, Transport};

    const ACCEPTED: LinkId = LinkId(1 << 63);

    fn up(exporter: u8) -> LinkInfo {
        LinkInfo {
            transport: Transport::Quic,
            remote: ([192, 0, 2, 1], 7000).into(),
            exporter: [exporter; 32],
        }
    }

    /// What the dialler sent before it hung up may be handled long after.
    #[test]
    fn a_link_leads_to_its_other_end_until_both_know_it_no_more() {
        let [a, b, c] = [HostId(0), HostId(1), HostId(2)];
        let mut links = Links::default();
        links.before(a, &Input::Link(LinkId(1), LinkEvent::Dialed(up(1))));
        assert!(!links.are_linked(a, b));
        links.before(b, &Input::Link(ACCEPTED, LinkEvent::Accepted(up(1))));
        links.before(c, &Input::Link(ACCEPTED, LinkEvent::Accepted(up(2))));
        assert!(links.are_linked(a, b) && links.are_linked(b, a));
        assert!(!links.are_linked(a, c) && !links.are_linked(c, b));
        links.all_gone(a);
        assert!(links.are_linked(b, a) && !links.are_linked(a, b));
        let closed = LinkEvent::Closed(LinkError::Closed);
        links.before(b, &Input::Link(ACCEPTED, closed));
        assert!(links.are_linked(b, a));
        links.gone(b, ACCEPTED);
        assert!(!links.are_linked(b, a) && links.ends.len() == 1);
    }
}
