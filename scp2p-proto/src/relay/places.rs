//! Where others can ask for this node: its places at relays, while nobody can dial it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::Tag;
use crate::cx::{CallError, Cx};
use crate::id::NodeKey;
use crate::limits::{PLACES_WANTED, RELAYS_REFUSING_MAX};
use crate::lru::Lru;
use crate::netgroup::netgroup;
use crate::rng::Rng;
use crate::session::Session;
use crate::time::Time;
use crate::wire::{Answer, Request};
use crate::wish::Wish;

/// How long a relay has to answer.
const RESERVE_TIME: Duration = Duration::from_secs(5);
/// How long a relay that gave no place is not asked again.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// How often more relays are looked for while there are too few, at first and at most.
const LOOK_MIN: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(60);
/// A place is asked for again this long before its lease ends, in hundredths of the lease.
const RENEW_AT: u32 = 60;

pub(super) struct Places {
    rng: Rng,
    /// Whether others can dial us, if that is known.
    is_direct: Option<bool>,
    places: BTreeMap<NodeKey, Place>,
    refusing: Lru<NodeKey, Time>,
    next: Option<Time>,
    pause: Duration,
}

/// A place at a relay.
enum Place {
    Asked,
    Held {
        until: Time,
        renew: Time,
        /// Whether it was asked for again.
        is_asked: bool,
    },
}

impl Places {
    pub(super) fn new(rng: Rng) -> Places {
        Places {
            rng,
            is_direct: None,
            places: BTreeMap::new(),
            refusing: Lru::new(RELAYS_REFUSING_MAX),
            next: None,
            pause: LOOK_MIN,
        }
    }

    /// Whether others may ask a relay for us.
    pub(super) fn has(&self, relay: &NodeKey) -> bool {
        self.places.contains_key(relay)
    }

    /// Whether any relay connects others to us.
    pub(super) fn is_any_held(&self) -> bool {
        let mut places = self.places.values();
        places.any(|place| matches!(place, Place::Held { .. }))
    }

    pub(super) fn on_reachable(&mut self, cx: &mut Cx<'_>, is_direct: bool) {
        if self.is_direct == Some(is_direct) {
            return;
        }
        self.is_direct = Some(is_direct);
        if is_direct {
            self.places.clear();
            self.next = None;
            self.show(cx);
        } else {
            self.pause = LOOK_MIN;
            self.next = Some(cx.now.mono);
        }
    }

    pub(super) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let is_relay = relay_session(cx, &peer).is_some();
        if is_relay && self.is_lacking() {
            self.next = Some(cx.now.mono);
        }
    }

    pub(super) fn on_down(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        if self.places.remove(&peer).is_some() {
            self.pause = LOOK_MIN;
            self.next = Some(cx.now.mono);
            self.show(cx);
        }
    }

    fn is_lacking(&self) -> bool {
        self.is_direct == Some(false) && self.places.len() < PLACES_WANTED
    }

    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.next.is_none_or(|at| at > now) {
            return;
        }
        let mut is_changed = false;
        let mut asked = Vec::new();
        self.places.retain(|relay, place| match place {
            Place::Asked => true,
            Place::Held { until, .. } if *until <= now => {
                is_changed = true;
                false
            }
            Place::Held {
                renew, is_asked, ..
            } => {
                if *renew <= now && !*is_asked {
                    *is_asked = true;
                    asked.push(*relay);
                }
                true
            }
        });
        if is_changed {
            self.show(cx);
        }
        if self.is_lacking() {
            asked.extend(self.choose(cx));
        }
        for relay in asked {
            self.places.entry(relay).or_insert(Place::Asked);
            cx.call(relay, Request::Reserve, RESERVE_TIME, Tag::Reserve);
        }
        let look = self.is_lacking().then(|| {
            cx.wish(Wish::MoreRelays);
            let pause = self.rng.jitter(self.pause);
            self.pause = (self.pause * 2).min(LOOK_MAX);
            now + pause
        });
        self.next = [look, self.due()].into_iter().flatten().min();
    }

    /// When a place is to be asked for again, or ends.
    fn due(&self) -> Option<Time> {
        let held = self.places.values().filter_map(|place| match place {
            Place::Asked => None,
            Place::Held {
                until,
                is_asked: true,
                ..
            } => Some(*until),
            Place::Held { renew, .. } => Some(*renew),
        });
        held.min()
    }

    /// Relays among the connected peers, of different networks where there are.
    fn choose(&mut self, cx: &Cx<'_>) -> Vec<NodeKey> {
        let now = cx.now.mono;
        let is_resting =
            |relay: &NodeKey| self.refusing.peek(relay).is_some_and(|until| *until > now);
        let mut others: Vec<(NodeKey, [u8; 2])> = cx
            .roster
            .iter()
            .filter(|(peer, _)| !self.places.contains_key(*peer) && !is_resting(peer))
            .filter_map(|(peer, _)| Some((*peer, network(relay_session(cx, peer)?))))
            .collect();
        self.rng.shuffle(&mut others);
        let of_places = self.places.keys();
        let mut networks: Vec<[u8; 2]> = of_places
            .filter_map(|relay| relay_session(cx, relay).map(network))
            .collect();
        let mut chosen = Vec::new();
        let lacking = PLACES_WANTED.saturating_sub(self.places.len());
        while chosen.len() < lacking && !others.is_empty() {
            let other = others.iter().position(|(_, of)| !networks.contains(of));
            let (relay, network) = others.swap_remove(other.unwrap_or(0));
            networks.push(network);
            chosen.push(relay);
        }
        chosen
    }

    pub(super) fn on_reserved(
        &mut self,
        cx: &mut Cx<'_>,
        relay: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        let now = cx.now.mono;
        let Some(place) = self.places.get_mut(&relay) else {
            return;
        };
        match answer {
            Ok(Answer::Reserved(reservation)) if reservation.lease_secs > 0 => {
                let lease = Duration::from_secs(reservation.lease_secs.into());
                let is_new = matches!(place, Place::Asked);
                *place = Place::Held {
                    until: now + lease,
                    renew: now + self.rng.jitter(lease * RENEW_AT / 100),
                    is_asked: false,
                };
                if is_new {
                    self.pause = LOOK_MIN;
                    self.show(cx);
                }
            }
            Ok(_) | Err(_) => {
                self.places.remove(&relay);
                self.refusing.insert(relay, now + REFUSED_FOR);
                self.show(cx);
                self.next = Some(now);
            }
        }
        let due = self.due();
        self.next = [self.next, due].into_iter().flatten().min();
    }

    /// Where others find us through relays.
    fn show(&self, cx: &mut Cx<'_>) {
        let held = self.places.iter();
        let held = held.filter(|(_, place)| matches!(place, Place::Held { .. }));
        cx.wish(Wish::Routes(held.map(|(relay, _)| *relay).collect()));
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.next
    }
}

/// The session with a relay, if the peer is one and the session direct.
fn relay_session<'a>(cx: &Cx<'a>, relay: &NodeKey) -> Option<&'a Session> {
    cx.roster
        .session(relay)
        .filter(|session| session.capabilities.relay && session.is_direct())
}

fn network(session: &Session) -> [u8; 2] {
    netgroup(session.remote.ip())
}
