//! QUIC links as the runtime has them, in datagrams over this network.
//!
//! Each process that listens has the endpoint of one UDP socket: it dials from the port that it listens on. The endpoint
//! knows nothing of the network; datagrams cross lines, edges and ways as packets of modelled links do, and what is lost stays lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{CloseCode, Dial, DialError, Frame, Lane, LinkEvent, Transport};
use scp2p_proto::time::Time;
use scp2p_runtime_smol::quic::{
    AcceptedIds, Datagram, Identity, Mtus, OPENING_TIME_MAX, QuicLinks, Transmit,
};

use super::path::Fate;
use super::queue::Cargo;
use super::realm;
use super::{Doing, Effect, Network, Stop};
use crate::id::HostId;

/// The largest packets, as on most networks.
const MTUS: Mtus = Mtus {
    loopback: 1500,
    network: 1500,
};

/// All endpoints, and what they have in common.
pub(super) struct Real {
    /// The instant at which virtual time began. Nothing depends on which it is.
    start: Instant,
    identity: Identity,
    ids: AcceptedIds,
    endpoints: BTreeMap<HostId, Endpoint>,
}

/// The endpoint of one process.
struct Endpoint {
    links: QuicLinks,
    port: u16,
    /// When it wants to be woken; entries of the agenda for other times are stale.
    wake: Option<Time>,
    /// Links that the program may use.
    open: BTreeSet<LinkId>,
    /// Whether the process waits only for what it sent to be delivered.
    ending: bool,
}

/// A datagram at a host that sends or receives it.
#[derive(Debug)]
pub(super) struct Raw {
    host: HostId,
    local: SocketAddrV4,
    remote: SocketAddrV4,
    payload: Bytes,
}

impl Raw {
    /// Bytes of content.
    pub(super) fn len(&self) -> u64 {
        self.payload.len() as u64
    }
}

/// A datagram between two hosts.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    from: HostId,
    /// Who gets it if every edge lets it in.
    to: HostId,
    datagram: realm::Datagram,
    payload: Bytes,
}

impl fmt::Debug for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Real").finish_non_exhaustive()
    }
}

impl Real {
    pub(super) fn new() -> Real {
        Real {
            start: Instant::now(),
            identity: Identity::generate()
                .expect("the system has entropy for a key")
                .remembered([0; 32]),
            ids: AcceptedIds::default(),
            endpoints: BTreeMap::new(),
        }
    }

    /// An id for an accepted link, whatever its transport.
    pub(super) fn accepted_id(&self) -> LinkId {
        self.ids.next()
    }

    fn instant(&self, now: Time) -> Instant {
        self.start + Duration::from_micros(now.0)
    }

    /// The first time that is not before an instant.
    fn time(&self, instant: Instant) -> Time {
        let nanos = instant.saturating_duration_since(self.start).as_nanos();
        Time(u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX))
    }

    /// A host hears of its link.
    fn hear(&mut self, host: HostId, link: LinkId, event: &LinkEvent) {
        match event {
            LinkEvent::Dialed(_) | LinkEvent::Accepted(_) => {
                if let Some(endpoint) = self.endpoints.get_mut(&host) {
                    endpoint.open.insert(link);
                }
            }
            LinkEvent::Failed(_) | LinkEvent::Closed(_) => self.gone(host, link),
            LinkEvent::Bytes(..) | LinkEvent::Room(..) | LinkEvent::Moved(_) => {}
        }
    }

    fn gone(&mut self, host: HostId, link: LinkId) {
        if let Some(endpoint) = self.endpoints.get_mut(&host) {
            endpoint.open.remove(&link);
        }
    }
}

impl Network {
    /// A process of the host has a UDP socket there.
    pub(super) fn open_endpoint(&mut self, host: HostId, port: u16) {
        if let Some(real) = &mut self.real {
            let seed = self.paths.dice().exporter();
            let links = QuicLinks::new(&real.identity, MTUS, real.ids.clone(), seed);
            real.endpoints.insert(
                host,
                Endpoint {
                    links,
                    port,
                    wake: None,
                    open: BTreeSet::new(),
                    ending: false,
                },
            );
        }
    }

    /// The host's process is gone, and says nothing of it. One that closed all of its links is let
    /// deliver what was sent on them.
    pub(super) fn stop_endpoint(&mut self, host: HostId, stop: Stop) {
        let Some(real) = &mut self.real else {
            return;
        };
        let Some(endpoint) = real.endpoints.get_mut(&host) else {
            return;
        };
        endpoint.ending = stop == Stop::Reset && endpoint.open.is_empty();
        let open: Vec<LinkId> = endpoint.open.iter().copied().collect();
        for link in open {
            real.gone(host, link);
        }
        real.endpoints
            .retain(|of, endpoint| *of != host || endpoint.ending);
    }

    /// Whether this is a link of real QUIC.
    pub(super) fn is_real(&self, host: HostId, link: LinkId) -> bool {
        self.real
            .as_ref()
            .and_then(|real| real.endpoints.get(&host))
            .is_some_and(|endpoint| endpoint.open.contains(&link))
    }

    pub(super) fn dial_real(&mut self, now: Time, host: HostId, link: LinkId, dial: &Dial) {
        let remote = self.destination(host, dial);
        let dialed = self.with_links(now, host, |links, instant| {
            let remote = remote?;
            let until = instant + OPENING_TIME_MAX;
            links.dial(instant, link, remote.into(), until);
            Ok(())
        });
        if let Err(error) = dialed.unwrap_or(Err(DialError::Unreachable)) {
            let failed = LinkEvent::Failed(error);
            self.effects.push_back(Effect::Tell(host, link, failed));
        } else if let Some(real) = &mut self.real
            && let Some(endpoint) = real.endpoints.get_mut(&host)
        {
            endpoint.open.insert(link);
        }
        self.drive(now, host);
    }

    pub(super) fn send_real(
        &mut self,
        now: Time,
        host: HostId,
        link: LinkId,
        lane: Lane,
        frame: Frame,
    ) {
        self.with_links(now, host, |links, _| links.send(link, lane, frame));
        self.drive(now, host);
    }

    pub(super) fn grant_real(
        &mut self,
        now: Time,
        host: HostId,
        link: LinkId,
        lane: Lane,
        bytes: u32,
    ) {
        self.with_links(now, host, |links, _| links.grant(link, lane, bytes));
        self.drive(now, host);
    }

    pub(super) fn close_real(&mut self, now: Time, host: HostId, link: LinkId) {
        if let Some(real) = &mut self.real {
            real.gone(host, link);
        }
        self.with_links(now, host, |links, instant| {
            links.close(instant, link, CloseCode::Done);
        });
        self.drive(now, host);
    }

    /// The endpoint's time has come, or its host woke up.
    pub(super) fn wake_endpoint(&mut self, now: Time, host: HostId) {
        if !self.is_paused(host) {
            self.with_links(now, host, |links, instant| links.timeout(instant));
            self.drive(now, host);
        }
    }

    /// An endpoint asked to be woken.
    pub(super) fn endpoint_due(&mut self, now: Time, host: HostId) {
        let endpoint = self
            .real
            .as_mut()
            .and_then(|real| real.endpoints.get_mut(&host));
        if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.wake == Some(now)) {
            endpoint.wake = None;
            self.wake_endpoint(now, host);
        }
    }

    /// A datagram is through its sender's line.
    pub(super) fn fly_raw(&mut self, now: Time, leaves: Time, raw: Raw) {
        let Raw {
            host,
            local,
            remote,
            payload,
        } = raw;
        if self.is_paused(host) || self.realms.address(host) != Some(*local.ip()) {
            return;
        }
        let way = self
            .realms
            .depart(now, Transport::Quic, host, local, remote);
        let Ok(datagram) = way else {
            return;
        };
        let Some(to) = self.realms.target(&datagram) else {
            return;
        };
        if self.paths.is_blocked(host, to) {
            return;
        }
        let there = leaves.max(self.clogged(host)) + self.paths.latency(host, to);
        let flight = Box::new(Flight {
            from: host,
            to,
            datagram,
            payload,
        });
        match self.paths.fate(now, host, to) {
            Fate::Lost => {}
            Fate::Late(late) => self.at(there + late, Doing::Land(flight)),
            Fate::Twice(late, again) => {
                self.at(there + again, Doing::Land(flight.clone()));
                self.at(there + late, Doing::Land(flight));
            }
        }
    }

    /// A datagram is where its receiver's edges begin.
    pub(super) fn land(&mut self, now: Time, flight: Box<Flight>) {
        let clogged = self.clogged(flight.to);
        if clogged > now {
            self.at(clogged, Doing::Land(flight));
            return;
        }
        let Flight {
            from,
            to,
            datagram,
            payload,
        } = *flight;
        if self.paths.is_blocked(from, to) {
            return;
        }
        if let Some((host, local)) = self.realms.arrive(now, datagram)
            && self.answers(host)
        {
            let remote = datagram.from;
            let raw = Raw {
                host,
                local,
                remote,
                payload,
            };
            self.offer_down(now, host, Cargo::Raw(Box::new(raw)));
        }
    }

    /// A datagram is through its receiver's line.
    pub(super) fn receive_raw(&mut self, now: Time, raw: Raw) {
        let Raw {
            host,
            local,
            remote,
            payload,
        } = raw;
        let listens = self
            .real
            .as_ref()
            .and_then(|real| real.endpoints.get(&host))
            .is_some_and(|endpoint| endpoint.port == local.port());
        if !listens || !self.answers(host) {
            return;
        }
        self.with_links(now, host, |links, instant| {
            links.receive(
                instant,
                Datagram {
                    remote: remote.into(),
                    local: Some(IpAddr::V4(*local.ip())),
                    ecn: None,
                    payload: BytesMut::from(&payload[..]),
                },
            );
        });
        self.drive(now, host);
    }

    fn with_links<T>(
        &mut self,
        now: Time,
        host: HostId,
        act: impl FnOnce(&mut QuicLinks, Instant) -> T,
    ) -> Option<T> {
        let real = self.real.as_mut()?;
        let instant = real.instant(now);
        let endpoint = real.endpoints.get_mut(&host)?;
        Some(act(&mut endpoint.links, instant))
    }

    /// Carries out what an endpoint wants.
    fn drive(&mut self, now: Time, host: HostId) {
        let Some(real) = &mut self.real else {
            return;
        };
        let instant = real.instant(now);
        let Some(endpoint) = real.endpoints.get_mut(&host) else {
            return;
        };
        let wants = endpoint.drain(instant);
        let port = endpoint.port;
        if endpoint.ending {
            if endpoint.links.is_quiet() {
                real.endpoints.remove(&host);
            }
        } else {
            for (link, event) in wants.events {
                real.hear(host, link, &event);
                self.effects.push_back(Effect::Tell(host, link, event));
            }
        }
        for (transmit, payload) in wants.datagrams {
            self.send_raw(now, host, port, &transmit, payload);
        }
        self.plan_wake(now, host);
    }

    fn send_raw(
        &mut self,
        now: Time,
        host: HostId,
        port: u16,
        transmit: &Transmit,
        payload: Bytes,
    ) {
        let (SocketAddr::V4(remote), Some(address)) =
            (transmit.destination, self.realms.address(host))
        else {
            return;
        };
        // A socket cannot send from an address that its host has no more.
        if transmit
            .src_ip
            .is_none_or(|from| from == IpAddr::V4(address))
        {
            let raw = Raw {
                host,
                local: SocketAddrV4::new(address, port),
                remote,
                payload,
            };
            self.offer_up(now, host, Cargo::Raw(Box::new(raw)));
        }
    }

    /// Sees to it that an endpoint is woken at its deadline.
    fn plan_wake(&mut self, now: Time, host: HostId) {
        let Some(real) = &mut self.real else {
            return;
        };
        let endpoint = real.endpoints.get(&host);
        let Some(due) = endpoint.and_then(|endpoint| endpoint.links.deadline()) else {
            return;
        };
        let at = real.time(due).max(Time(now.0 + 1));
        if let Some(endpoint) = real.endpoints.get_mut(&host)
            && endpoint.wake.is_none_or(|wake| at < wake)
        {
            endpoint.wake = Some(at);
            self.at(at, Doing::Wake(host));
        }
    }
}

/// All that an endpoint wants at a moment.
#[derive(Default)]
struct Wants {
    events: Vec<(LinkId, LinkEvent)>,
    datagrams: Vec<(Transmit, Bytes)>,
}

impl Endpoint {
    fn drain(&mut self, now: Instant) -> Wants {
        let mut wants = Wants::default();
        loop {
            let before = wants.events.len() + wants.datagrams.len();
            while let Some(event) = self.links.poll_event(now) {
                wants.events.push(event);
            }
            let mut buffer = Vec::new();
            while let Some(transmit) = self.links.poll_transmit(now, 1, &mut buffer) {
                let mut payload = std::mem::take(&mut buffer);
                payload.truncate(transmit.size);
                wants.datagrams.push((transmit, Bytes::from(payload)));
            }
            if wants.events.len() + wants.datagrams.len() == before {
                return wants;
            }
        }
    }
}
