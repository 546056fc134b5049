//! What must hold of the address book and the dialling.

use alloc::collections::BTreeSet;
use alloc::format;

use super::dials::Goal;
use super::{Peers, Timer};
use crate::check::Broken;
use crate::id::{LinkId, NodeKey};
use crate::limits::{BOOTSTRAPS_MAX, PROBES_MAX};
use crate::session::Roster;
use crate::time::Now;

impl Peers {
    pub(crate) fn check(&self, own: NodeKey, roster: &Roster, now: Now, broken: &mut Broken) {
        broken.not_overdue("peers", self.deadline(), now.mono);
        self.book.check(broken);
        self.ailing.check(broken);
        self.clocks.check(broken);
        self.own.check(broken);
        self.dials.check(broken);
        self.profiles.check(broken);
        broken.unless(self.book.peer(&own).is_none(), || {
            "we are in our own address book".into()
        });
        broken.at_most("probes", self.probes.len(), PROBES_MAX);
        self.back_off.check("pauses between dials", broken);
        let gone = self
            .rtts
            .keys()
            .filter(|peer| roster.session(peer).is_none());
        broken.at_most("round trips of peers that are gone", gone.count(), 0);
        let gone = self.doubted.keys();
        let gone = gone.filter(|peer| roster.session(peer).is_none());
        broken.at_most("doubts about peers that are gone", gone.count(), 0);
        let gone = self.unparted.keys();
        let gone = gone.filter(|peer| roster.session(peer).is_none());
        broken.at_most("sessions in use that are gone", gone.count(), 0);
        broken.unless(self.timers.at(&Timer::Round).is_some(), || {
            "connections are no longer looked after".into()
        });
        for (peer, _) in roster.iter() {
            let record = self.book.peer(peer);
            broken.unless(
                record.is_none_or(|record| !record.is_shunned_at(now.unix)),
                || format!("{peer} is connected although it behaved too badly"),
            );
        }
        self.check_bootstraps(own, roster, broken);
        self.check_punches(roster, broken);
    }

    fn check_bootstraps(&self, own: NodeKey, roster: &Roster, broken: &mut Broken) {
        broken.at_most(
            "bootstrap peers",
            self.bootstraps.states(own).count(),
            BOOTSTRAPS_MAX,
        );
        for (number, is_own, peer) in self.bootstraps.states(own) {
            let is_seen_to = match peer {
                Some(peer) => roster.session(&peer).is_some(),
                None => {
                    let timed = self.timers.at(&Timer::Bootstrap(number)).is_some();
                    is_own || timed || self.dials.is_under_way(&Goal::Bootstrap(number))
                }
            };
            broken.unless(is_seen_to, || {
                format!("bootstrap peer {number} is not connected, and nobody sees to it")
            });
        }
    }

    pub(crate) fn is_dialling(&self, peer: &NodeKey) -> bool {
        self.dials.is_under_way(&Goal::Peer(*peer))
    }

    /// Links being opened, probes too.
    pub(crate) fn dialled(&self) -> BTreeSet<LinkId> {
        let probes = self.probes.keys().copied();
        let tunnels = self.tunnels.iter().copied();
        self.dials.links().chain(probes).chain(tunnels).collect()
    }
}
