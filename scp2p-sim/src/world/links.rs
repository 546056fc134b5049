//! Who is at the ends of the links that programs know of.

use std::collections::BTreeMap;

use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Input, LinkEvent};

use crate::id::HostId;

/// Links that are or were up, told apart by what both ends export of them.
#[derive(Debug, Default)]
pub(super) struct Links {
    known: BTreeMap<(HostId, LinkId), Known>,
    /// Ends whose other ends did not hear of their links yet.
    single: BTreeMap<[u8; 32], (HostId, LinkId)>,
    /// How many links a host's program knows that lead to another.
    pairs: BTreeMap<(HostId, HostId), u32>,
}

/// A link that a host's program knows.
#[derive(Debug)]
struct Known {
    exporter: [u8; 32],
    /// Who heard of it too.
    other: Option<HostId>,
}

impl Links {
    /// A host's program is about to handle this: links that come up.
    pub(super) fn before(&mut self, host: HostId, input: &Input) {
        let Input::Link(link, LinkEvent::Dialed(info) | LinkEvent::Accepted(info)) = input else {
            return;
        };
        let exporter = info.exporter;
        let first = self.single.remove(&exporter);
        let other = first.map(|(other, _)| other);
        self.known.insert((host, *link), Known { exporter, other });
        let Some((other, first)) = first else {
            self.single.insert(exporter, (host, *link));
            return;
        };
        if let Some(known) = self.known.get_mut(&(other, first)) {
            known.other = Some(host);
            *self.pairs.entry((other, host)).or_default() += 1;
        }
        *self.pairs.entry((host, other)).or_default() += 1;
    }

    /// A host's program knows this link no more.
    pub(super) fn gone(&mut self, host: HostId, link: LinkId) {
        let Some(known) = self.known.remove(&(host, link)) else {
            return;
        };
        let Some(other) = known.other else {
            self.single.remove(&known.exporter);
            return;
        };
        if let Some(links) = self.pairs.get_mut(&(host, other)) {
            *links -= 1;
            if *links == 0 {
                self.pairs.remove(&(host, other));
            }
        }
    }

    /// A host's program ended.
    pub(super) fn all_gone(&mut self, host: HostId) {
        let of_host = (host, LinkId(0))..=(host, LinkId(u64::MAX));
        let links = self.known.range(of_host);
        let links: Vec<LinkId> = links.map(|((_, link), _)| *link).collect();
        for link in links {
            self.gone(host, link);
        }
    }

    /// Whether a link that one host's program knows is or was up at the other.
    pub(super) fn are_linked(&self, host: HostId, other: HostId) -> bool {
        self.pairs.contains_key(&(host, other))
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
        assert!(!links.are_linked(b, a) && links.known.len() == 1);
    }
}
