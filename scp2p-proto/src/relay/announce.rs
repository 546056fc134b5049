//! This node as a relay that says so: its own announcements (SPECIFICATION §5.5, §6.1).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::Tag;
use crate::config::{Announcing, RelayLimits};
use crate::cx::Cx;
use crate::limits::{RELAY_ADDRS_MAX, RELAY_ANNOUNCEMENT_LIFE_SECS_MAX};
use crate::netgroup::scope;
use crate::record::{RelayAnnouncement, RelayCapacity, RelayOffer, RendezvousHour};
use crate::rng::Rng;
use crate::time::{Time, UnixTime};
use crate::wire::{Capabilities, PeerAddr, Profile};
use crate::wish::Wish;

/// How soon after the first session: by then others have told where they see us, and dialled us there.
const FIRST: Duration = Duration::from_secs(15);
/// How soon again where it could not be announced.
const AGAIN: Duration = Duration::from_secs(60);
/// At least so long from one announcement to the next, unless the hour changes.
const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Relays do not announce themselves all at once when the hour changes.
const SPREAD_SECS: u64 = 60;
/// An announcement outlives so many intervals, and an hour at least.
const LIFE_INTERVALS: u64 = 3;
const LIFE_SECS_MIN: u64 = 3600;

pub(super) struct Announcer {
    rng: Rng,
    /// None while nobody is connected.
    next: Option<Time>,
    /// Whether others can dial us, if that is known.
    is_direct: Option<bool>,
    own: Vec<RelayAnnouncement>,
    /// Not to announce again before, whatever changes.
    earliest: Time,
    /// Announcements being stored, and how many nodes took the others of the last time.
    storing: u32,
    taken: u32,
}

impl Announcer {
    pub(super) fn new(rng: Rng) -> Announcer {
        Announcer {
            rng,
            next: None,
            is_direct: None,
            own: Vec::new(),
            earliest: Time(0),
            storing: 0,
            taken: 0,
        }
    }

    /// What we say of ourselves at this time, in a form for each deployed profile.
    pub(super) fn own(&self, now: UnixTime) -> impl Iterator<Item = &RelayAnnouncement> {
        let live = move |it: &&RelayAnnouncement| it.offer.expires_at > now;
        self.own.iter().filter(live)
    }

    pub(super) fn on_up(&mut self, cx: &Cx<'_>) {
        if cx.config.announcing.is_some() && self.next.is_none() {
            self.next = Some(cx.now.mono + self.rng.jitter(FIRST));
        }
    }

    pub(super) fn on_reachable(&mut self, is_direct: bool) {
        self.is_direct = Some(is_direct);
        if !is_direct {
            self.own.clear();
        }
    }

    /// Others see us elsewhere now: whoever finds what was announced would dial where we are not.
    pub(super) fn on_moved(&mut self, cx: &Cx<'_>) {
        let addrs = own_places(&cx.roster.own_addrs);
        let own = self.own.first();
        let is_news = own.is_some_and(|own| !is_same(&own.offer.addrs, &addrs));
        if is_news && !addrs.is_empty() {
            let soon = cx.now.mono + self.rng.jitter(FIRST);
            let soon = soon.max(self.earliest);
            self.next = self.next.map(|next| next.min(soon));
        }
    }

    /// One was stored at so many nodes. Deployed ones refuse that which is not for their profile.
    pub(super) fn on_stored(&mut self, cx: &Cx<'_>, taken: u32) {
        self.storing = self.storing.saturating_sub(1);
        self.taken = self.taken.saturating_add(taken);
        if self.storing == 0 && self.taken == 0 {
            let again = cx.now.mono + self.rng.jitter(AGAIN);
            self.next = self.next.map(|next| next.min(again));
        }
    }

    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>) {
        if self.next.is_none_or(|at| at > cx.now.mono) {
            return;
        }
        let (Some(announcing), Some(limits)) = (cx.config.announcing, &cx.config.relay) else {
            return self.next = None;
        };
        if cx.roster.len() == 0 {
            return self.next = None;
        }
        let addrs = own_places(&cx.roster.own_addrs);
        let pause = if self.is_direct == Some(false) || addrs.is_empty() {
            self.rng.jitter(AGAIN)
        } else {
            self.announce(cx, announcing, limits, addrs);
            self.pause(announcing, cx.now.unix)
        };
        self.next = Some(cx.now.mono + pause);
    }

    /// Signs for each profile and stores what peers of B and C verify in the first of our places of the hour, what those
    /// of A do in the second.
    fn announce(
        &mut self,
        cx: &mut Cx<'_>,
        announcing: Announcing,
        limits: &RelayLimits,
        addrs: Vec<PeerAddr>,
    ) {
        let now = cx.now.unix;
        let life_secs = announcing.interval.as_secs().saturating_mul(LIFE_INTERVALS);
        let life_secs = life_secs.clamp(LIFE_SECS_MIN, RELAY_ANNOUNCEMENT_LIFE_SECS_MAX);
        let offer = RelayOffer {
            addrs,
            capabilities: Capabilities {
                relay: true,
                ..cx.config.capabilities
            },
            capacity: RelayCapacity {
                max_tunnels: u16::try_from(limits.circuits_max).unwrap_or(u16::MAX),
                bandwidth: announcing.bandwidth,
                max_bytes_per_tunnel: limits.bytes_per_circuit,
            },
            issued_at: now,
            expires_at: now.plus(life_secs),
        };
        let for_c = RelayAnnouncement::sign(cx.keys.signing(), Profile::C, offer.clone());
        let for_a = RelayAnnouncement::sign(cx.keys.signing(), Profile::A, offer);
        let [first, second] = for_c.places(RendezvousHour::of(now));
        self.taken = 0;
        let mut store = |key, announcement: &RelayAnnouncement| {
            self.storing += 1;
            cx.wish(Wish::Store {
                key,
                value: announcement.encode().into(),
                ttl_secs: life_secs,
                tag: Tag::Announced.into(),
            });
        };
        store(first, &for_c);
        if second != first {
            store(second, &for_a);
        }
        self.own = Vec::from([for_c, for_a]);
        self.earliest = cx.now.mono + INTERVAL_MIN;
    }

    /// Until the interval is over or the hour, with which our places change.
    fn pause(&mut self, announcing: Announcing, now: UnixTime) -> Duration {
        let interval = self.rng.jitter(announcing.interval.max(INTERVAL_MIN));
        let hour = RendezvousHour::of(now).ends().since(now);
        let spread = self.rng.below(SPREAD_SECS * 1000);
        interval.min(Duration::from_secs(hour) + Duration::from_millis(spread))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// `open` announcements are being stored.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn check(&self, open: usize, broken: &mut crate::check::Broken) {
        broken.equal(
            "announcements being stored and those waited for",
            open as u64,
            self.storing.into(),
        );
    }
}

/// Where others are to find us: at our addresses of the widest scope, as those of narrower ones are of no use to whoever
/// finds us by the others.
fn own_places(own: &[PeerAddr]) -> Vec<PeerAddr> {
    let direct = || own.iter().filter(|addr| addr.is_dialable());
    let widest = direct().map(|addr| scope(&addr.ip)).max();
    let announced = direct().filter(|addr| Some(scope(&addr.ip)) == widest);
    announced.take(RELAY_ADDRS_MAX).cloned().collect()
}

/// In whatever order.
fn is_same(one: &[PeerAddr], other: &[PeerAddr]) -> bool {
    let set = |addrs: &[PeerAddr]| addrs.iter().cloned().collect::<BTreeSet<PeerAddr>>();
    set(one) == set(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RelaySlotId;
    use crate::io::Transport;
    use crate::wire::RelayRoute;
    use alloc::boxed::Box;

    fn addr(ip: &str) -> PeerAddr {
        PeerAddr {
            ip: ip.parse().expect(ip),
            port: 7000,
            transport: Transport::Quic,
            key: None,
            relay_via: None,
        }
    }

    #[test]
    fn only_addresses_of_the_widest_scope_are_announced() {
        let all = [
            "127.0.0.1",
            "192.168.1.2",
            "0.0.0.0",
            "5.5.5.5",
            "2001:db8::1",
        ]
        .map(addr);
        assert_eq!(own_places(&all), ["5.5.5.5", "2001:db8::1"].map(addr));
        let site = ["127.0.0.1", "192.168.1.2", "fd00::1"].map(addr);
        assert_eq!(own_places(&site), ["192.168.1.2", "fd00::1"].map(addr));
        let host = ["127.0.0.1", "0.0.0.0"].map(addr);
        assert_eq!(own_places(&host), [addr("127.0.0.1")]);
        let route = RelayRoute {
            relay: addr("6.6.6.6"),
            slot: RelaySlotId(0),
        };
        let behind = PeerAddr {
            relay_via: Some(Box::new(route)),
            ..addr("6.6.6.6")
        };
        assert_eq!(own_places(&[behind, addr("0.0.0.0")]), []);
    }
}
