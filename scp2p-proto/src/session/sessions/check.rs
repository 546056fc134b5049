//! What must hold of links and sessions.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

use super::{Sessions, State};
use crate::check::{Broken, counted};
use crate::id::{LinkId, NodeKey};
use crate::limits::{
    BOOTSTRAPS_MAX, CALLS_MAX, DIALS_MAX, LINKS_MAX, PROBES_MAX, SLOTS_ASKED_MAX, STRANGERS_MAX,
    TICKETS_MAX,
};
use crate::pending::CallId;
use crate::time::Time;

/// Peers are dialled while there are fewer links than they may be at most; what comes of the attempts is
/// let in.
const LINKS_EVER_MAX: usize =
    LINKS_MAX + 2 * DIALS_MAX + BOOTSTRAPS_MAX + PROBES_MAX + SLOTS_ASKED_MAX;

impl Sessions {
    pub(crate) fn check(&self, now: Time, broken: &mut Broken) {
        broken.not_overdue("handshakes", self.deadline(), now);
        broken.at_most("links", self.links.len(), LINKS_EVER_MAX);
        self.nonces.check(broken);
        let (mut strangers, mut up) = (0, BTreeMap::new());
        for (id, link) in &self.links {
            link.room.check(broken);
            link.grants.check(broken);
            let is_up = !matches!(link.state, State::Dialing(_));
            broken.unless(!is_up || link.grants.is_given(), || {
                format!("a grant for {id:?} is due and not given")
            });
            let waits = self.roster.held_up().contains(id);
            broken.unless(waits != link.room.is_empty(), || {
                format!("whether frames wait on {id:?} is not what the roster shows")
            });
            let is_timed = self.deadlines.at(id).is_some();
            let is_up = match &link.state {
                State::Accepted(_) | State::Answered(..) => {
                    strangers += 1;
                    false
                }
                State::Dialing(_) | State::Offered(..) => false,
                State::Up(session) => {
                    up.insert(*id, session.key);
                    broken.at_most("calls of a session", session.calls.len(), CALLS_MAX);
                    let tickets = session.tickets as usize;
                    broken.at_most("requests of a session", tickets, TICKETS_MAX as usize);
                    true
                }
                State::Moving => {
                    broken.unless(false, || format!("{id:?} is between two states"));
                    false
                }
            };
            let is_replaced = is_timed && is_up && link.via.is_some();
            broken.unless(is_timed != is_up || is_replaced, || {
                format!("{id:?} must be a session or have a deadline")
            });
        }
        broken.at_most("links that are not authenticated", strangers, STRANGERS_MAX);
        let shown = self.roster.every();
        let shown: BTreeMap<LinkId, NodeKey> =
            shown.map(|(key, session)| (session.link, *key)).collect();
        broken.unless(shown == up, || "the roster is not what is up".into());
        for (key, session) in self.roster.every() {
            let link = self.links.get(&session.link);
            let carries = link.is_some_and(|link| match &link.state {
                State::Up(up) => !up.calls.is_empty(),
                State::Dialing(_)
                | State::Offered(..)
                | State::Accepted(_)
                | State::Answered(..)
                | State::Moving => false,
            });
            broken.unless(session.is_callable() || !carries, || {
                format!("a call to {key} is on a session on which nobody answers")
            });
        }
        let bound = self.roster.every();
        // Circuits that direct sessions have replaced end soon.
        let is_replaced = |link| self.deadlines.at(link).is_some();
        let bound = counted(
            bound
                .filter(|(_, session)| session.level.is_some() && !is_replaced(&session.link))
                .map(|(key, _)| *key),
        );
        broken.unless(bound.values().all(|sessions| *sessions == 1), || {
            "there are two sessions with one node of ours".into()
        });
        let held_up = self.roster.held_up().iter();
        let gone = held_up
            .filter(|link| !self.links.contains_key(link))
            .count();
        broken.at_most("links that are gone and held up", gone, 0);
        broken.at_most("deadlines", self.deadlines.len(), self.links.len());
    }

    /// Calls that were sent and have no reply.
    pub(crate) fn carried(&self) -> BTreeSet<CallId> {
        let sessions = self.links.values().filter_map(|link| match &link.state {
            State::Up(up) => Some(up),
            State::Dialing(_)
            | State::Offered(..)
            | State::Accepted(_)
            | State::Answered(..)
            | State::Moving => None,
        });
        sessions
            .flat_map(|up| up.calls.waiters().copied())
            .collect()
    }

    /// Links that we dial.
    pub(crate) fn dialled(&self) -> BTreeSet<LinkId> {
        let opening = |link: &super::Link| match link.state {
            State::Dialing(_) | State::Offered(..) => true,
            State::Accepted(_) | State::Answered(..) | State::Up(_) | State::Moving => false,
        };
        let links = self.links.iter().filter(|(_, link)| opening(link));
        links.map(|(id, _)| *id).collect()
    }

    /// Requests without an answer, by session.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = (LinkId, u32)> {
        self.links
            .iter()
            .filter_map(|(id, link)| match &link.state {
                State::Up(up) => Some((*id, up.tickets)),
                State::Dialing(_)
                | State::Offered(..)
                | State::Accepted(_)
                | State::Answered(..)
                | State::Moving => None,
            })
    }
}
