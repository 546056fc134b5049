//! What a world asks about the network, and the end of its faults.

use std::net::SocketAddr;

use scp2p_proto::io::Transport;
use scp2p_proto::time::Time;

use super::Network;
use crate::id::HostId;
use crate::scenario;

impl Network {
    /// Whether a dial from one host to the listening address of the other always succeeds without help, whatever was
    /// sent before.
    pub fn can_dial(&self, from: HostId, to: HostId) -> bool {
        !self.paths.is_blocked(from, to)
            && !self.paths.is_blocked(to, from)
            && self.realms.lets_in(from, to)
    }

    /// Whether a dial from one host to an endpoint of the other would succeed now without help: always, or because the
    /// edges of the other let it in as long as they remember what its QUIC port sent out.
    pub fn reaches(&self, now: Time, from: HostId, to: HostId) -> bool {
        if self.paths.is_blocked(from, to) || self.paths.is_blocked(to, from) {
            return false;
        }
        let ends = [from, to].map(|host| Some((host, self.quic_port(host)?)));
        self.realms.lets_in(from, to)
            || matches!(ends, [Some(from), Some(to)] if self.realms.reaches(now, Transport::Quic, from, to))
    }

    /// The endpoints under which a host's QUIC port is known now: its own, then those that translators gave it.
    pub fn quic_endpoints(&self, now: Time, host: HostId) -> Vec<SocketAddr> {
        let Some(port) = self.quic_port(host) else {
            return Vec::new();
        };
        let faces = self.realms.faces(now, Transport::Quic, host, port);
        faces.into_iter().map(SocketAddr::V4).collect()
    }

    /// The port that QUIC links of the host come to and go out from.
    pub(super) fn quic_port(&self, host: HostId) -> Option<u16> {
        let listening = &self.hosts.get(&host)?.listening;
        let mut quic = listening.iter().filter(|(by, _)| *by == Transport::Quic);
        quic.next().map(|(_, port)| *port)
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
