//! Why a peer is not connected.

use alloc::vec::Vec;

use super::dials::Goal;
use super::{Peers, Timer};
use crate::id::NodeKey;
use crate::session::Roster;
use crate::time::{Now, Time};
use crate::view::PeerCause;

impl Peers {
    /// Whom attempts under way are for.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &crate::cx::Tag> {
        self.dials.tags()
    }

    pub(crate) fn why(
        &self,
        peer: NodeKey,
        own: NodeKey,
        roster: &Roster,
        now: Now,
    ) -> Vec<PeerCause> {
        if peer == own {
            return Vec::from([PeerCause::Own]);
        }
        let mut causes = Vec::new();
        if roster.session(&peer).is_some() {
            let callable = roster.is_callable(&peer);
            causes.push(PeerCause::Connected { callable });
            if callable {
                return causes;
            }
        }
        let numbers: Vec<usize> = self.bootstraps.numbers_of(&peer).collect();
        let mut goals = Vec::from([Goal::Peer(peer), Goal::Unasked(peer)]);
        goals.extend(numbers.iter().map(|number| Goal::Bootstrap(*number)));
        goals.retain(|goal| self.dials.is_under_way(goal));
        if !goals.is_empty() {
            let links = goals
                .iter()
                .map(|goal| self.dials.open(goal))
                .sum::<usize>() as u32;
            causes.push(PeerCause::Dialling { links });
        }
        let timers = numbers.iter().map(|number| Timer::Bootstrap(*number));
        let retry_at = timers.filter_map(|timer| self.timers.at(&timer)).min();
        causes.extend(retry_at.map(PeerCause::RetryAt));
        let back_off = self.back_off.peek(&peer).map(|back_off| back_off.until);
        let back_off = back_off.filter(|until| *until > now.mono);
        causes.extend(back_off.map(|until| PeerCause::BackOff { until }));
        let ahead_secs = self.clock_ahead_secs(&peer, now);
        causes.extend(ahead_secs.map(|ahead_secs| PeerCause::ClockDiffers { ahead_secs }));
        match self.book.peer(&peer) {
            None => causes.push(PeerCause::Unknown),
            Some(record) if record.is_shunned_at(now.unix) => causes.push(PeerCause::Shunned),
            Some(record) if record.addrs.is_empty() => causes.push(PeerCause::NoAddress),
            Some(record) if goals.is_empty() && retry_at.is_none() => {
                let mut rests = record.addrs.iter().map(|known| match known.reached {
                    Some(_) => None,
                    None => self.dials.addr_rests_until(&known.addr, peer, now.mono),
                });
                let first = rests.try_fold(Time(u64::MAX), |first, until| Some(first.min(until?)));
                causes.extend(first.map(|until| PeerCause::AddressesRest { until }));
                let round_at = self.timers.at(&Timer::Round);
                causes.extend(round_at.map(|round_at| PeerCause::Unwanted { round_at }));
            }
            Some(_) => {}
        }
        causes
    }
}
