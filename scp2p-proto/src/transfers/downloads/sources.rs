//! Who has what of a download.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::file::{File, Phase};
use super::{Downloads, Place, Tag, Timer};
use crate::cx::{CallError, Cx};
use crate::id::{ContentId, DownloadId, NodeKey};
use crate::limits::{CONTENT_LOOKUPS_MAX, IDS_MAX, PROVIDER_REACHES_MAX};
use crate::record::providers_key;
use crate::wire::{Answer, PeerAddr, Request};
use crate::wish::{Want, Wish};

/// How often peers are asked what they have while a download is incomplete.
const POLL: Duration = Duration::from_secs(15);
/// How often at least, if nothing comes for long: who connects is asked at once all the same.
const POLL_RARE: Duration = Duration::from_secs(300);
const HAVE_TIME: Duration = Duration::from_secs(10);
/// After so long without anything arriving, hubs are asked for contents too.
const LAST_RESORT: Duration = Duration::from_secs(30);

impl Downloads {
    /// Looks for peers that have what is missing.
    pub(super) fn poll(&mut self, cx: &mut Cx<'_>, id: DownloadId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_running()) else {
            return;
        };
        let share = job.share;
        let pause = (cx.now.mono.since(job.moved) / 4).clamp(POLL, POLL_RARE);
        let lost: Vec<NodeKey> = job
            .peers
            .iter()
            .filter(|(key, peer)| peer.bytes > 0 && !peer.banned && !cx.roster.is_callable(key))
            .map(|(key, _)| *key)
            .collect();
        for peer in lost {
            cx.wish(Wish::Connect(peer));
        }
        let connected: Vec<NodeKey> = cx.roster.iter().map(|(key, _)| *key).collect();
        for peer in connected {
            self.ask_have(cx, id, peer);
        }
        self.last_resort(cx, id);
        if let Some(share) = share {
            self.lookup(
                cx,
                ContentId(share.0),
                Tag::Lookup {
                    job: id,
                    item: None,
                },
            );
        }
        for (item, content) in self.unserved(cx, id) {
            let item = Some(item);
            self.lookup(cx, content, Tag::Lookup { job: id, item });
        }
        self.park_orphans();
        self.look_again(id);
        let next = cx.now.mono + self.rng.jitter(pause);
        self.timers.set(Timer::Poll(id), next);
    }

    /// Files that stopped because every holder was to be left alone for a while go on.
    fn look_again(&mut self, id: DownloadId) {
        let idle = |file: &File| file.phase == Phase::Fetching && !file.asking;
        let stopped = self
            .files
            .iter()
            .filter(|(place, file)| place.job == id && idle(file))
            .map(|(place, _)| *place);
        self.ready.extend(stopped);
    }

    /// Asks a peer of ours which of the missing items it serves.
    pub(super) fn ask_have(&mut self, cx: &mut Cx<'_>, id: DownloadId, peer: NodeKey) {
        if !cx.roster.is_ours(&peer) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_running()) else {
            return;
        };
        if job
            .peers
            .get(&peer)
            .is_some_and(|peer| peer.asking > 0 || peer.banned)
        {
            return;
        }
        let unknown: Vec<(u32, ContentId)> = job
            .missing()
            .filter(|(index, _)| !job.holds(&peer, *index))
            .map(|(index, item)| (index, item.content))
            .collect();
        if unknown.is_empty() {
            return;
        }
        let Some(record) = job.peer(peer) else {
            return;
        };
        for slice in unknown.chunks(IDS_MAX) {
            record.asking = record.asking.saturating_add(1);
            let items = slice.iter().map(|(item, _)| *item).collect();
            let contents = slice.iter().map(|(_, content)| *content).collect();
            let tag = Tag::Have { job: id, items };
            cx.call(peer, Request::Have(contents), HAVE_TIME, tag);
        }
    }

    pub(super) fn on_have(
        &mut self,
        cx: &mut Cx<'_>,
        id: DownloadId,
        items: &[u32],
        from: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Some(peer) = job.peers.get_mut(&from) else {
            return;
        };
        peer.asking = peer.asking.saturating_sub(1);
        let Ok(Answer::Have(have)) = answer else {
            return;
        };
        if !cx.roster.is_callable(&from) {
            return;
        }
        let mut gained = Vec::new();
        for (index, size) in items.iter().zip(&have.sizes) {
            let wanted = job.items.get(*index as usize).map(|item| item.size);
            if size.is_some() && *size == wanted && peer.have.set(*index) {
                gained.push(*index);
            }
        }
        self.offer_all(id, &gained);
    }

    /// Somebody is connected who may have an item, or any of the share.
    pub(super) fn on_provider(
        &mut self,
        cx: &mut Cx<'_>,
        id: DownloadId,
        item: Option<u32>,
        peer: NodeKey,
    ) {
        if cx.roster.is_ours(&peer) {
            return self.ask_have(cx, id, peer);
        }
        if !cx.roster.is_callable(&peer) {
            return;
        }
        match item {
            Some(item) => self.may_have(id, peer, &[item]),
            None => {
                let Some(job) = self.jobs.get(&id) else {
                    return;
                };
                if job.peers.get(&peer).is_some_and(|known| known.tried) {
                    return;
                }
                let items: Vec<u32> = job.missing().map(|(index, _)| index).collect();
                self.may_have(id, peer, &items);
                if let Some(known) = self.jobs.get_mut(&id).and_then(|job| job.peer(peer)) {
                    known.tried = true;
                }
            }
        }
        if cx.roster.is_name(&peer)
            && let Some(known) = self.jobs.get_mut(&id).and_then(|job| job.peer(peer))
        {
            known.tunnel = true;
        }
    }

    /// A deployed peer counts as a holder until it refuses.
    fn may_have(&mut self, id: DownloadId, peer: NodeKey, items: &[u32]) {
        let Some(known) = self.jobs.get_mut(&id).and_then(|job| job.peer(peer)) else {
            return;
        };
        for item in items {
            known.have.set(*item);
        }
        self.offer_all(id, items);
    }

    /// Somebody new has these items.
    fn offer_all(&mut self, id: DownloadId, items: &[u32]) {
        for item in items {
            self.offer(Place {
                job: id,
                item: *item,
            });
        }
        self.refill |= !items.is_empty();
    }

    /// The peer does not serve this item after all.
    pub(super) fn has_not(&mut self, place: Place, peer: &NodeKey) {
        let Some(job) = self.jobs.get_mut(&place.job) else {
            return;
        };
        if let Some(known) = job.peers.get_mut(peer) {
            known.have.clear(place.item);
        }
        self.park(place);
    }

    /// Nothing more is asked of this peer for this download.
    pub(super) fn ban(&mut self, id: DownloadId, peer: &NodeKey) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if let Some(known) = job.peers.get_mut(peer) {
            known.banned = true;
        }
        self.park_orphans();
    }

    /// Connects providers, a few at a time; ourselves excepted.
    pub(super) fn reach(&mut self, cx: &mut Cx<'_>, providers: &[PeerAddr], tag: &Tag) {
        self.seek_content_paths(cx, providers);
        for addr in providers {
            if cx.roster.is_own_addr(addr) || addr.key == Some(cx.keys.public()) {
                continue;
            }
            if self.reaches >= PROVIDER_REACHES_MAX {
                return;
            }
            self.reaches += 1;
            cx.reach(addr.clone(), tag.clone());
        }
    }

    /// Providers that are connected over relays for control only may be found at others.
    fn seek_content_paths(&self, cx: &mut Cx<'_>, providers: &[PeerAddr]) {
        let is_lacking =
            |addr: &&PeerAddr| addr.key.is_some_and(|key| cx.roster.lacks_content(&key));
        let lacking: Vec<PeerAddr> = providers.iter().filter(is_lacking).cloned().collect();
        let peers: BTreeSet<NodeKey> = lacking.iter().filter_map(|addr| addr.key).collect();
        cx.wish(Wish::Heard(lacking));
        for peer in peers {
            cx.wish(Wish::ContentPath(peer));
        }
    }

    fn lookup(&mut self, cx: &mut Cx<'_>, content: ContentId, tag: Tag) {
        cx.wish(Wish::Lookup {
            key: providers_key(&content),
            want: Want::Providers,
            tag: tag.into(),
        });
    }

    /// A few of the contents that no peer of ours serves, others each time.
    fn unserved(&mut self, cx: &Cx<'_>, id: DownloadId) -> Vec<(u32, ContentId)> {
        let Some(job) = self.jobs.get(&id) else {
            return Vec::new();
        };
        let served = |index: u32| {
            job.peers.iter().any(|(key, peer)| {
                !peer.banned && peer.have.contains(index) && cx.roster.is_ours(key)
            })
        };
        let mut unserved: Vec<(u32, ContentId)> = job
            .missing()
            .filter(|(index, _)| !served(*index))
            .map(|(index, item)| (index, item.content))
            .collect();
        if unserved.len() > CONTENT_LOOKUPS_MAX {
            let start = self.rng.below(unserved.len() as u64) as usize;
            unserved.rotate_left(start);
            unserved.truncate(CONTENT_LOOKUPS_MAX);
        }
        unserved
    }

    /// Connected deployed peers are taken for possible holders when nothing else helps.
    fn last_resort(&mut self, cx: &mut Cx<'_>, id: DownloadId) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        if cx.now.mono.since(job.moved) < LAST_RESORT {
            return;
        }
        let orphans: Vec<u32> = job
            .missing()
            .map(|(index, _)| index)
            .filter(|index| !job.has_holder(*index))
            .take(CONTENT_LOOKUPS_MAX)
            .collect();
        for peer in cx.roster.deployed() {
            self.may_have(id, peer, &orphans);
        }
    }
}
