//! What a world asks about the network, and the end of its faults.

use super::link::Side;
use super::{Network, link::State};
use crate::id::HostId;
use crate::scenario;

impl Network {
    /// Whether a dial from one host to the listening address of the other can ever succeed without help.
    pub fn can_dial(&self, from: HostId, to: HostId) -> bool {
        !self.paths.is_blocked(from, to)
            && !self.paths.is_blocked(to, from)
            && self.realms.lets_in(from, to)
    }

    /// Whether a link between two hosts is or was up whose ends are not both gone.
    pub fn are_linked(&self, a: HostId, b: HostId) -> bool {
        #[cfg(feature = "quic")]
        if self.real.as_ref().is_some_and(|real| real.are_linked(a, b)) {
            return true;
        }
        self.links.values().any(|link| {
            let [dialer, acceptor] = Side::BOTH.map(|side| link.end(side));
            let hosts = (dialer.host, acceptor.host);
            dialer.state != State::Dialing && (hosts == (a, b) || hosts == (b, a))
        })
    }

    /// From now on nothing is lost, doubled, held up or late, except by latency.
    pub fn calm(&mut self) {
        let model = self.paths.model_mut();
        *model = scenario::Network {
            latency: model.latency,
            links: model.links,
            ..scenario::Network::default()
        };
    }
}
