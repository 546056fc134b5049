//! Announcements of relays that we keep for others (SPECIFICATION §6.4): in memory, since they are soon over.

use alloc::collections::BTreeMap;

use crate::announcements::Announcements;
use crate::id::DhtKey;
#[cfg(any(test, feature = "check"))]
use crate::limits::RENDEZVOUS_KEYS_MAX;
use crate::limits::RENDEZVOUS_RELAYS_MAX;
use crate::netgroup::Netgroup;
use crate::record::{RelayAnnouncement, RendezvousHour};
use crate::rng::Rng;
use crate::time::UnixTime;
use crate::wire::Profile;

/// The announcements under each key of this hour and those beside it.
#[derive(Default)]
pub(super) struct Rendezvous {
    slots: BTreeMap<DhtKey, Slot>,
}

struct Slot {
    hour: RendezvousHour,
    list: Announcements,
}

impl Rendezvous {
    /// Keeps an announcement that was verified and belongs under the key. True if that is news; nobody looks under
    /// keys of other hours, so nothing is kept there.
    pub(super) fn insert(
        &mut self,
        key: DhtKey,
        announcement: RelayAnnouncement,
        network: Netgroup,
        now: UnixTime,
    ) -> bool {
        self.expire(now);
        let mut hours = RendezvousHour::of(now).around().into_iter();
        let Some(hour) = hours.find(|hour| announcement.places(*hour).contains(&key)) else {
            return false;
        };
        let list = Announcements::default();
        let slot = self.slots.entry(key).or_insert(Slot { hour, list });
        slot.list
            .insert(announcement, network, RENDEZVOUS_RELAYS_MAX, now)
    }

    /// What lies under a key.
    pub(super) fn at(
        &self,
        key: &DhtKey,
        now: UnixTime,
    ) -> impl Iterator<Item = &RelayAnnouncement> {
        let slot = self.slots.get(key).into_iter();
        slot.flat_map(move |slot| slot.list.live(now))
    }

    /// One of those under a key, as an answer has one value. Each time it may be another, so that relays in one slot do not
    /// hide each other; those go first that peers of this profile can verify.
    pub(super) fn pick(
        &self,
        key: &DhtKey,
        profile: Profile,
        now: UnixTime,
        rng: &mut Rng,
    ) -> Option<&RelayAnnouncement> {
        let suits = |it: &&RelayAnnouncement| it.suits(profile);
        let suiting = self.at(key, now).filter(suits).count();
        let all = self.at(key, now).count();
        let mut one_of = |count: usize| usize::try_from(rng.below(count as u64)).unwrap_or(0);
        match (suiting, all) {
            (_, 0) => None,
            (0, all) => self.at(key, now).nth(one_of(all)),
            (suiting, _) => self.at(key, now).filter(suits).nth(one_of(suiting)),
        }
    }

    pub(super) fn expire(&mut self, now: UnixTime) {
        let hours = RendezvousHour::of(now).around();
        self.slots.retain(|_, slot| {
            slot.list.expire(now);
            hours.contains(&slot.hour) && slot.list.len() > 0
        });
    }

    pub(super) fn len(&self) -> usize {
        self.slots.values().map(|slot| slot.list.len()).sum()
    }
}

#[cfg(any(test, feature = "check"))]
impl Rendezvous {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most("rendezvous keys", self.slots.len(), RENDEZVOUS_KEYS_MAX);
        for slot in self.slots.values() {
            slot.list
                .check("relays under a key", RENDEZVOUS_RELAYS_MAX, broken);
        }
    }
}
