//! Which relays are known, and how more are found: by asking peers and by looking them up (SPECIFICATION §9.7, §11.1).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::Tag;
use crate::announcements::Announcements;
use crate::cx::{CallError, Cx};
use crate::id::{DhtKey, NodeKey};
use crate::limits::{
    CLOCK_SKEW_SECS, RELAY_ANNOUNCEMENTS_MAX, RELAYS_ASKED_MAX, RELAYS_ENOUGH,
    RENDEZVOUS_LOOKUPS_MAX,
};
use crate::lru::Lru;
use crate::netgroup::Netgroup;
use crate::record::{
    RelayAnnouncement, RelayAnnouncementError, RendezvousHour, RendezvousSlot, rendezvous_key,
};
use crate::rng::Rng;
use crate::session::Session;
use crate::time::{Time, UnixTime};
use crate::wire::{Answer, Profile, Request};
use crate::wish::{Conduct, Found, Want, Wish};

/// Announcements asked of one peer, each of which costs a check of a signature.
const LIST_LEN: u16 = 16;
const LIST_TIME: Duration = Duration::from_secs(5);
/// Another peer is asked no sooner, and the same one again.
const ASK_PAUSE: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// So long after an hour began some relays may be under the keys of the one before only: clocks differ, and relays take a
/// while to announce themselves anew.
const NEW_HOUR_SECS: u64 = 2 * CLOCK_SKEW_SECS;
/// How long nothing is looked up after it was, at first and after ever more times that did not help.
const ROUND_PAUSE_MIN: Duration = Duration::from_secs(60);
const ROUND_PAUSE_MAX: Duration = Duration::from_secs(3600);

pub(super) struct Finder {
    rng: Rng,
    known: Announcements,
    asked: Lru<NodeKey, Time>,
    next_ask: Time,
    round: Option<Round>,
    next_round: Time,
    pause: Duration,
}

/// The rendezvous keys of an hour, being looked up.
struct Round {
    hour: RendezvousHour,
    /// Those still to be looked up.
    keys: Vec<DhtKey>,
    open: usize,
    found: BTreeSet<NodeKey>,
    /// Whether somebody answered.
    is_answered: bool,
    /// Whether the hour before is looked up if nothing is found.
    is_new_hour: bool,
}

impl Finder {
    pub(super) fn new(rng: Rng) -> Finder {
        Finder {
            rng,
            known: Announcements::default(),
            asked: Lru::new(RELAYS_ASKED_MAX),
            next_ask: Time(0),
            round: None,
            next_round: Time(0),
            pause: ROUND_PAUSE_MIN,
        }
    }

    /// Some of the known ones that peers of this profile can verify, at random.
    pub(super) fn sample(
        &mut self,
        profile: Profile,
        now: UnixTime,
        most: usize,
    ) -> Vec<RelayAnnouncement> {
        let suits = |it: &&RelayAnnouncement| it.suits(profile);
        let mut sample: Vec<_> = self.known.live(now).filter(suits).cloned().collect();
        self.rng.shuffle(&mut sample);
        sample.truncate(most);
        sample
    }

    /// A verified announcement came from this network.
    pub(super) fn heard(
        &mut self,
        cx: &Cx<'_>,
        announcement: RelayAnnouncement,
        network: Netgroup,
    ) {
        if announcement.relay != cx.keys.public() {
            let most = RELAY_ANNOUNCEMENTS_MAX;
            self.known.insert(announcement, network, most, cx.now.unix);
        }
    }

    /// A place was lost: what there is may be another than when relays were looked up last.
    pub(super) fn on_lost(&mut self, now: Time) {
        self.pause = ROUND_PAUSE_MIN;
        self.next_round = self.next_round.min(now + ROUND_PAUSE_MIN);
    }

    /// More relays are wanted than the address book has.
    pub(super) fn find(&mut self, cx: &mut Cx<'_>) {
        let known: Vec<_> = self.known.live(cx.now.unix).cloned().collect();
        if !known.is_empty() {
            cx.wish(Wish::RelaysHeard(known));
        }
        let now = cx.now.mono;
        if now >= self.next_ask
            && let Some(peer) = self.whom_to_ask(cx)
        {
            self.asked.insert(peer, now);
            self.next_ask = now + self.rng.jitter(ASK_PAUSE);
            let request = Request::ListRelays {
                max_count: LIST_LEN,
            };
            cx.call(peer, request, LIST_TIME, Tag::Listed);
        } else if now >= self.next_round && self.round.is_none() {
            let hour = RendezvousHour::of(cx.now.unix);
            let into = cx.now.unix.since(hour.before().ends());
            self.begin(cx, hour, into < NEW_HOUR_SECS);
        }
    }

    /// A node of ours that was not asked lately, a relay if there is one.
    fn whom_to_ask(&mut self, cx: &Cx<'_>) -> Option<NodeKey> {
        let now = cx.now.mono;
        let is_resting = |peer: &NodeKey| {
            let asked = self.asked.peek(peer);
            asked.is_some_and(|at| now.since(*at) < ASK_AGAIN)
        };
        let ours = cx.roster.iter().filter(|(_, session)| is_ours(session));
        let rested: Vec<(NodeKey, bool)> = ours
            .filter(|(peer, _)| !is_resting(peer))
            .map(|(peer, session)| (*peer, session.capabilities.relay))
            .collect();
        let relays: Vec<_> = rested.iter().copied().filter(|(_, relay)| *relay).collect();
        let of = if relays.is_empty() { rested } else { relays };
        self.rng.pick(&of).map(|(peer, _)| *peer)
    }

    /// A peer told which relays it knows.
    pub(super) fn on_listed(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        let Ok(Answer::Relays(list)) = answer else {
            return;
        };
        let network = cx.roster.session(&from).map(Session::netgroup);
        let mut good = Vec::new();
        for announcement in list.into_iter().take(LIST_LEN.into()) {
            match announcement.verify(cx.now.unix) {
                Ok(()) => good.push(announcement),
                // Nodes of ours keep none that they did not verify; of the time two may think differently.
                Err(RelayAnnouncementError::Signature) => {
                    cx.wish(Wish::Judge(from, Conduct::Offence));
                    break;
                }
                Err(_) => {}
            }
        }
        self.take(cx, good, network);
    }

    /// A rendezvous key was looked up. `is_lacking` is whether relays are still wanted.
    pub(super) fn on_found(&mut self, cx: &mut Cx<'_>, found: Found, is_lacking: bool) {
        let Some(round) = self.round.as_mut() else {
            return;
        };
        round.open = round.open.saturating_sub(1);
        if !is_lacking {
            round.keys.clear();
            round.is_new_hour = false;
        }
        match found {
            Found::Relays(relays) => {
                round.is_answered = true;
                round.found.extend(relays.iter().map(|it| it.relay));
                self.take(cx, relays, None);
            }
            Found::Nothing { asked } => round.is_answered |= asked > 0,
            Found::Heads(_) | Found::Manifest(_) | Found::Providers(_) => {}
        }
        self.go_on(cx);
    }

    /// Verified announcements: places to try. They count for the network that they came from, or else for that which they
    /// name.
    fn take(&mut self, cx: &mut Cx<'_>, good: Vec<RelayAnnouncement>, from: Option<Netgroup>) {
        for announcement in &good {
            let named = announcement.offer.addrs.first();
            let named = named.map(|addr| Netgroup::of(addr.ip));
            if let Some(network) = from.or(named) {
                self.heard(cx, announcement.clone(), network);
            }
        }
        if !good.is_empty() {
            cx.wish(Wish::RelaysHeard(good));
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, hour: RendezvousHour, is_new_hour: bool) {
        let keys = RendezvousSlot::all().map(|slot| rendezvous_key(hour, slot));
        let mut keys: Vec<DhtKey> = keys.collect();
        self.rng.shuffle(&mut keys);
        self.round = Some(Round {
            hour,
            keys,
            open: 0,
            found: BTreeSet::new(),
            is_answered: false,
            is_new_hour,
        });
        self.go_on(cx);
    }

    /// Looks further keys up, or ends the round.
    fn go_on(&mut self, cx: &mut Cx<'_>) {
        let Some(round) = self.round.as_mut() else {
            return;
        };
        while round.open < RENDEZVOUS_LOOKUPS_MAX
            && round.found.len() < RELAYS_ENOUGH
            && let Some(key) = round.keys.pop()
        {
            round.open += 1;
            cx.wish(Wish::Lookup {
                key,
                want: Want::Relays,
                tag: Tag::Looked.into(),
            });
        }
        if round.open > 0 {
            return;
        }
        let (hour, is_vain) = (round.hour, round.found.is_empty() && round.is_answered);
        let is_new_hour = round.is_new_hour;
        self.round = None;
        if is_vain && is_new_hour {
            return self.begin(cx, hour.before(), false);
        }
        let pause = self.rng.jitter(self.pause);
        self.next_round = cx.now.mono + pause;
        self.pause = (self.pause * 2).min(ROUND_PAUSE_MAX);
    }
}

fn is_ours(session: &Session) -> bool {
    session.level.is_some()
}

#[cfg(any(test, feature = "check"))]
impl Finder {
    /// `open` lookups are under way for it.
    pub(super) fn check(&self, open: usize, broken: &mut crate::check::Broken) {
        self.known
            .check("relays known", RELAY_ANNOUNCEMENTS_MAX, broken);
        self.asked.check("peers asked for relays", broken);
        let waited = self.round.as_ref().map_or(0, |round| round.open);
        broken.equal(
            "rendezvous keys being looked up and those waited for",
            open as u64,
            waited as u64,
        );
        broken.at_most("rendezvous lookups", waited, RENDEZVOUS_LOOKUPS_MAX);
        broken.unless(self.round.is_none() || waited > 0, || {
            "relays are looked for, and nobody is asked".into()
        });
    }
}
