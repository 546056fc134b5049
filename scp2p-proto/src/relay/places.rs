//! Where others can ask for this node: its places at relays, while nobody can dial it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::Tag;
use crate::cx::{CallError, Cx};
use crate::id::NodeKey;
use crate::io::CloseCode;
use crate::limits::{
    BOOTSTRAPS_MAX, PLACE_PING_TIME, PLACE_PINGS_MAX, PLACE_SILENCE, PLACES_WANTED,
    RELAYS_REFUSING_MAX,
};
use crate::lru::Lru;
use crate::netgroup::Netgroup;
use crate::rng::Rng;
use crate::session::Session;
use crate::time::Time;
use crate::wire::{Answer, Request};
use crate::wish::{Conduct, Wish};

/// How long a relay has to answer.
const RESERVE_TIME: Duration = Duration::from_secs(5);
/// How long a relay that gave no place is not asked again.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// The same of one that did not answer.
const SILENT_FOR: Duration = Duration::from_secs(30);
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
    /// Relays that the user prefers.
    named: BTreeSet<NodeKey>,
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
        /// Whether circuits through it are for content too.
        content: bool,
        watch: Watch,
    },
}

/// Whether a relay is still there, of which nothing else may tell for long.
#[derive(Debug, Clone, Copy)]
enum Watch {
    /// It is looked to then.
    Until(Time),
    /// It was pinged, after so many times in vain.
    Pinged(u32),
}

impl Places {
    pub(super) fn new(rng: Rng) -> Places {
        Places {
            rng,
            is_direct: None,
            places: BTreeMap::new(),
            refusing: Lru::new(RELAYS_REFUSING_MAX),
            named: BTreeSet::new(),
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
            cx.wish(Wish::NamedRelays);
        }
    }

    /// The user prefers this relay, which is connected.
    pub(super) fn on_named(&mut self, cx: &mut Cx<'_>, relay: NodeKey) {
        if self.named.len() < BOOTSTRAPS_MAX {
            self.named.insert(relay);
        }
        if self.is_direct == Some(false) {
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
        // It may have said no because it was about to stop, and come back.
        self.refusing.remove(&peer);
        if self.places.remove(&peer).is_some() {
            cx.wish(Wish::Judge(peer, Conduct::Slow));
            self.pause = LOOK_MIN;
            self.next = Some(cx.now.mono);
            self.show(cx);
        }
    }

    /// Whether more places are wanted.
    pub(super) fn is_lacking(&self) -> bool {
        self.is_direct == Some(false) && self.places.len() < PLACES_WANTED
    }

    /// Relays that were silent for long are pinged.
    fn watch(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        for (relay, place) in &mut self.places {
            let Place::Held { watch, .. } = place else {
                continue;
            };
            if !matches!(watch, Watch::Until(at) if *at <= now) {
                continue;
            }
            let heard = relay_session(cx, relay).map(|session| session.heard);
            let is_silent = heard.is_some_and(|at| now.since(at) >= PLACE_SILENCE * 3 / 4);
            *watch = if is_silent {
                ping(cx, *relay);
                Watch::Pinged(0)
            } else {
                Watch::Until(heard.unwrap_or(now) + self.rng.jitter(PLACE_SILENCE))
            };
        }
    }

    /// A relay has answered a ping, or not in time. One that stays silent is gone, whatever its transport still hopes for.
    pub(super) fn on_watched(
        &mut self,
        cx: &mut Cx<'_>,
        relay: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        let Some(Place::Held { watch, .. }) = self.places.get_mut(&relay) else {
            return;
        };
        let now = cx.now.mono;
        let heard = relay_session(cx, &relay).map(|session| session.heard);
        let is_silent = heard.is_some_and(|at| now.since(at) >= PLACE_PING_TIME);
        match (*watch, answer) {
            (Watch::Pinged(vain), Err(CallError::TimedOut)) if is_silent => {
                if vain + 1 < PLACE_PINGS_MAX {
                    ping(cx, relay);
                    *watch = Watch::Pinged(vain + 1);
                    return;
                }
                // Its end is seen to like that of any other.
                for session in cx.roster.all(&relay).to_vec() {
                    cx.close(session.link, CloseCode::Done);
                }
            }
            (Watch::Pinged(_) | Watch::Until(_), _) => {}
        }
        *watch = Watch::Until(now + self.rng.jitter(PLACE_SILENCE));
    }

    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>) {
        self.watch(cx);
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
        is_changed |= self.make_room(cx);
        if is_changed {
            self.show(cx);
        }
        for relay in asked {
            reserve(cx, relay);
        }
        self.next = self.due();
        if self.is_lacking() {
            let connected = cx.roster.iter().map(|(peer, _)| *peer);
            let open = connected.filter(|peer| self.may_be_asked(cx, peer));
            cx.wish(Wish::RankRelays(open.collect()));
        }
    }

    /// Connected relays, those to prefer by what they did rather first. More are looked for if they are too few.
    pub(super) fn on_ranked(&mut self, cx: &mut Cx<'_>, ranked: Vec<NodeKey>) {
        for relay in self.choose(cx, ranked) {
            self.places.insert(relay, Place::Asked);
            reserve(cx, relay);
        }
        if self.is_lacking() {
            cx.wish(Wish::MoreRelays);
            let look = cx.now.mono + self.rng.jitter(self.pause);
            self.pause = (self.pause * 2).min(LOOK_MAX);
            self.next = self.next.into_iter().chain([look]).min();
        }
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

    /// A place elsewhere is given up for one at a relay that the user prefers.
    fn make_room(&mut self, cx: &Cx<'_>) -> bool {
        let is_full = self.is_direct == Some(false) && self.places.len() >= PLACES_WANTED;
        if !is_full || !self.named.iter().any(|relay| self.may_be_asked(cx, relay)) {
            return false;
        }
        let other = self
            .places
            .keys()
            .find(|relay| !self.named.contains(*relay));
        let other = other.copied();
        other.and_then(|relay| self.places.remove(&relay)).is_some()
    }

    /// Whether a peer can be asked for a place that we have not.
    fn may_be_asked(&self, cx: &Cx<'_>, relay: &NodeKey) -> bool {
        let until = self.refusing.peek(relay);
        let is_resting = until.is_some_and(|until| *until > cx.now.mono);
        let is_new = !self.places.contains_key(relay);
        is_new && !is_resting && relay_session(cx, relay).is_some()
    }

    /// As many of the relays as are wanted: those that the user prefers first, then in their order, of different networks
    /// where there are.
    fn choose(&self, cx: &Cx<'_>, ranked: Vec<NodeKey>) -> Vec<NodeKey> {
        let open = ranked
            .into_iter()
            .filter(|relay| self.may_be_asked(cx, relay));
        let mut others: Vec<(NodeKey, Netgroup)> = open
            .filter_map(|relay| Some((relay, relay_session(cx, &relay)?.netgroup())))
            .collect();
        let of_places = self.places.keys();
        let mut networks: Vec<Netgroup> = of_places
            .filter_map(|relay| relay_session(cx, relay).map(Session::netgroup))
            .collect();
        let mut chosen = Vec::new();
        let lacking = PLACES_WANTED.saturating_sub(self.places.len());
        while chosen.len() < lacking && !others.is_empty() {
            let named = others.iter().position(|(key, _)| self.named.contains(key));
            let other = || others.iter().position(|(_, of)| !networks.contains(of));
            let (relay, network) = others.remove(named.or_else(other).unwrap_or(0));
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
                    content: reservation.content,
                    watch: Watch::Until(now + self.rng.jitter(PLACE_SILENCE)),
                };
                if is_new {
                    self.pause = LOOK_MIN;
                    self.show(cx);
                } else {
                    cx.wish(Wish::Judge(relay, Conduct::Good));
                }
            }
            Ok(_) | Err(_) => {
                let rest = match answer {
                    Ok(_) | Err(CallError::Refused { .. } | CallError::Malformed) => REFUSED_FOR,
                    Err(CallError::TimedOut | CallError::Busy) => SILENT_FOR,
                    // When there is a session again it is asked again.
                    Err(CallError::Lost | CallError::Connect(_)) => Duration::ZERO,
                };
                self.places.remove(&relay);
                self.refusing.insert(relay, now + rest);
                cx.wish(Wish::Judge(relay, Conduct::Slow));
                self.show(cx);
                self.next = Some(now);
            }
        }
        let due = self.due();
        self.next = [self.next, due].into_iter().flatten().min();
    }

    /// Where others find us through relays, and can fetch something, first. Else they are in an order of our own, or the first
    /// of the relays that many have places at would get all circuits.
    fn show(&self, cx: &mut Cx<'_>) {
        let own = cx.keys.public();
        let held = self.places.iter().filter_map(|(relay, place)| match place {
            Place::Asked => None,
            Place::Held { content, .. } => Some((!content, apart(&own, relay), *relay)),
        });
        let mut held: Vec<_> = held.collect();
        held.sort_unstable();
        let relays = held.into_iter().map(|(_, _, relay)| relay).collect();
        cx.wish(Wish::Routes(relays));
    }

    #[cfg(any(test, feature = "check"))]
    /// `pings` of its own are under way.
    pub(super) fn check(&self, pings: usize, broken: &mut crate::check::Broken) {
        let pinged = self.places.values().filter(|place| {
            let watch = match place {
                Place::Asked => None,
                Place::Held { watch, .. } => Some(watch),
            };
            matches!(watch, Some(Watch::Pinged(_)))
        });
        broken.at_most("relays said to be pinged", pinged.count(), pings);
        broken.at_most("places", self.places.len(), PLACES_WANTED);
        broken.at_most(
            "relays that the user named",
            self.named.len(),
            BOOTSTRAPS_MAX,
        );
        self.refusing.check("relays that gave no place", broken);
        broken.unless(
            self.is_direct == Some(false) || self.places.is_empty(),
            || "a node that others can dial has places".into(),
        );
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let watches = self.places.values().filter_map(|place| match place {
            Place::Held {
                watch: Watch::Until(at),
                ..
            } => Some(*at),
            Place::Asked | Place::Held { .. } => None,
        });
        watches.chain(self.next).min()
    }
}

fn reserve(cx: &mut Cx<'_>, relay: NodeKey) {
    cx.call(relay, Request::Reserve, RESERVE_TIME, Tag::Reserve);
}

fn ping(cx: &mut Cx<'_>, relay: NodeKey) {
    cx.call(relay, Request::Ping, PLACE_PING_TIME, Tag::Watched);
}

/// The session with a relay, if the peer is one and the session direct.
fn relay_session<'a>(cx: &Cx<'a>, relay: &NodeKey) -> Option<&'a Session> {
    cx.roster
        .session(relay)
        .filter(|session| session.capabilities.relay && session.is_direct())
}

/// How far two keys are apart, by XOR.
fn apart(one: &NodeKey, other: &NodeKey) -> Vec<u8> {
    let bytes = one.0.iter().zip(&other.0);
    bytes.map(|(one, other)| one ^ other).collect()
}
