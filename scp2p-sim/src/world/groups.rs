//! Which hosts can find each other.

use std::collections::BTreeMap;

use super::World;
use crate::id::HostId;

/// Hosts in groups: those of a group are tied to each other, directly or by others.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Another of the group, unless it stands for the group.
    ties: BTreeMap<HostId, HostId>,
}

impl Groups {
    /// Who stands for the group of a host.
    pub(super) fn of(&self, mut host: HostId) -> HostId {
        while let Some(other) = self.ties.get(&host) {
            host = *other;
        }
        host
    }

    fn tie(&mut self, one: HostId, other: HostId) {
        let (one, other) = (self.of(one), self.of(other));
        if one != other {
            self.ties.insert(one, other);
        }
    }
}

impl World<'_> {
    /// Core hosts are in one group if they can find each other: each is told of those that it starts from and of those
    /// whose shares it follows, and dials them if the network lets it.
    pub(super) fn groups(&self) -> Groups {
        let core: Vec<HostId> = self.core().collect();
        let mut groups = Groups::default();
        for host in &core {
            let at = &self.hosts[host.index()];
            let bootstrap = at.spec.bootstrap.iter();
            let bootstrap = bootstrap.filter_map(|name| self.names.get(name.as_str()).copied());
            let followed = at
                .node()
                .map(|node| node.subscriptions())
                .unwrap_or_default();
            let followed = followed.into_iter();
            let owners = followed.filter_map(|view| Some(self.library.names.get(&view.id)?.owner));
            for peer in bootstrap.chain(owners) {
                if core.contains(&peer) && self.network.can_dial(*host, peer) {
                    groups.tie(*host, peer);
                }
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_tied_to_the_same_host_is_in_one_group() {
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(HostId);
        let mut groups = Groups::default();
        for (one, other) in [(a, b), (c, d), (d, c), (a, a), (b, d)] {
            groups.tie(one, other);
        }
        for host in [a, b, c] {
            assert_eq!(groups.of(host), groups.of(d));
        }
        assert_ne!(groups.of(e), groups.of(a));
    }
}
