//! Who wants to hear of new heads, and what they were told.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::id::{NodeKey, ShareId};
use crate::limits::IDS_MAX;

/// Connected peers that watch shares with us.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    peers: BTreeMap<NodeKey, Watched>,
}

/// What a peer watches.
#[derive(Debug, Default)]
struct Watched {
    /// For each share the highest sequence number that the peer has from us or gave us.
    shares: BTreeMap<ShareId, u64>,
}

impl Watchers {
    /// A peer watches these shares, and no others any more.
    pub(super) fn set(&mut self, peer: NodeKey, shares: &[ShareId]) {
        let shares: BTreeSet<_> = shares.iter().take(IDS_MAX).collect();
        let watched = self.peers.entry(peer).or_default();
        watched.shares.retain(|share, _| shares.contains(share));
        for share in shares {
            watched.shares.entry(*share).or_insert(0);
        }
    }

    pub(super) fn remove(&mut self, peer: &NodeKey) {
        self.peers.remove(peer);
    }

    /// Notes that a peer has the head of this number.
    pub(super) fn knows(&mut self, peer: &NodeKey, share: &ShareId, seq: u64) {
        if let Some(told) = self
            .peers
            .get_mut(peer)
            .and_then(|peer| peer.shares.get_mut(share))
        {
            *told = seq.max(*told);
        }
    }

    /// The peers that watch a share and lack the head of this number. From now on they count as told.
    pub(super) fn tell(&mut self, share: &ShareId, seq: u64) -> Vec<NodeKey> {
        let mut lacking = Vec::new();
        for (peer, watched) in &mut self.peers {
            match watched.shares.get_mut(share) {
                Some(told) if *told < seq => {
                    *told = seq;
                    lacking.push(*peer);
                }
                Some(_) | None => {}
            }
        }
        lacking
    }

    /// The peers that watch a share.
    pub(super) fn of<'a>(&'a self, share: &'a ShareId) -> impl Iterator<Item = NodeKey> + 'a {
        let watches = move |(peer, watched): (&NodeKey, &Watched)| {
            watched.shares.contains_key(share).then_some(*peer)
        };
        self.peers.iter().filter_map(watches)
    }
}

#[cfg(any(test, feature = "check"))]
impl Watchers {
    pub(super) fn check(
        &self,
        is_connected: impl Fn(&NodeKey) -> bool,
        broken: &mut crate::check::Broken,
    ) {
        for (peer, watched) in &self.peers {
            broken.at_most("shares watched by a peer", watched.shares.len(), IDS_MAX);
            broken.unless(is_connected(peer), || {
                alloc::format!("{peer} watches shares and is gone")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShareId = ShareId([1; 32]);
    const B: ShareId = ShareId([2; 32]);
    const PEER: NodeKey = NodeKey([3; 32]);
    const OTHER: NodeKey = NodeKey([4; 32]);

    #[test]
    fn each_peer_is_told_a_head_once() {
        let mut watchers = Watchers::default();
        watchers.set(PEER, &[A]);
        watchers.set(OTHER, &[A, B]);
        assert_eq!(watchers.tell(&A, 3), [PEER, OTHER]);
        assert!(watchers.tell(&A, 3).is_empty());
        watchers.knows(&OTHER, &A, 4);
        assert_eq!(watchers.tell(&A, 4), [PEER]);
        assert_eq!(watchers.tell(&B, 1), [OTHER]);
    }

    #[test]
    fn a_new_list_replaces_the_old_one() {
        let mut watchers = Watchers::default();
        watchers.set(PEER, &[A]);
        watchers.set(PEER, &[B]);
        assert_eq!(watchers.of(&A).count(), 0);
        assert_eq!(watchers.of(&B).collect::<Vec<_>>(), [PEER]);
        watchers.remove(&PEER);
        assert_eq!(watchers.of(&B).count(), 0);
    }
}
