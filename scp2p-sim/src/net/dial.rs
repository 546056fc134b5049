//! How links begin and end.

use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use scp2p_proto::id::LinkId;
use scp2p_proto::io::{self, Dial, DialError, Lane, LinkError, LinkEvent, Transport};
use scp2p_proto::time::Time;

use super::link::{self, End, Link, Packet, Pipe, Side, State, What};
use super::realm::{Datagram, Stuck};
use super::{Doing, Effect, Network, Stop};
use crate::id::HostId;

/// The first port that links are dialled from; they go up to the last.
pub(super) const FIRST_PORT: u16 = 49_152;
/// From a dial's attempts, the first included, to the next, and at last to its end.
const DIAL_AGAIN: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(2),
];
/// How long an end that answered waits for the handshake's end.
const OPENING_TIME_MAX: Duration = Duration::from_secs(5);
/// The id of an end that no node knows.
const NOBODY: LinkId = LinkId(u64::MAX);

impl Network {
    pub(super) fn begin(&mut self, now: Time, host: HostId, id: LinkId, dial: &Dial) {
        let ends = match self.endpoints(host, dial) {
            Ok(ends) => ends,
            Err(error) => {
                let failed = LinkEvent::Failed(error);
                self.effects.push_back(Effect::Tell(host, id, failed));
                return;
            }
        };
        self.pipes += 1;
        let pipe = Pipe(self.pipes);
        let [local, remote] = ends;
        let dialer = End::new(host, id, State::Dialing, [local, remote]);
        let acceptor = End::new(host, NOBODY, State::Gone, [remote, local]);
        let exporter = self.paths.dice().exporter();
        let link = Link::new(dial.transport, exporter, [dialer, acceptor]);
        self.links.insert(pipe, link);
        self.ends.insert((host, id), (pipe, Side::Dialer));
        self.attempt(now, pipe, 0);
    }

    pub(super) fn dial_again(&mut self, now: Time, pipe: Pipe, attempt: usize) {
        let dialing = |link: &Link| link.end(Side::Dialer).state == State::Dialing;
        if self.links.get(&pipe).is_some_and(dialing) {
            self.attempt(now, pipe, attempt);
        }
    }

    /// The first message of a handshake came to a host.
    pub(super) fn on_dial(
        &mut self,
        now: Time,
        host: HostId,
        at: SocketAddrV4,
        packet: &Packet,
        from: SocketAddrV4,
    ) {
        let pipe = packet.pipe;
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let transport = link.transport;
        if link.end(Side::Dialer).state != State::Dialing {
            return;
        }
        let listens = |known: &super::Host| known.listening.contains(&(transport, at.port()));
        if !self.hosts.get(&host).is_some_and(listens) {
            if transport == Transport::Tcp {
                self.reset(now, host, [at, from], pipe, Side::Acceptor);
            }
            return;
        }
        match link.end(Side::Acceptor).state {
            State::Gone | State::HalfOpen(_) => {
                let until = now + OPENING_TIME_MAX;
                let end = End::new(host, NOBODY, State::HalfOpen(until), [at, from]);
                *link.end_mut(Side::Acceptor) = end;
                self.transmit(now, Packet::new(pipe, Side::Acceptor, What::Leg(1)));
            }
            State::Dialing | State::Up | State::Closing => {}
        }
    }

    /// A later message of a handshake came.
    pub(super) fn on_leg(&mut self, now: Time, pipe: Pipe, side: Side, leg: u8) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let last = link.last_leg();
        let state = link.end(side).state;
        match (side, state) {
            (Side::Acceptor, State::HalfOpen(_)) if leg == last => self.accept(now, pipe),
            (Side::Acceptor, State::HalfOpen(_)) => {
                self.transmit(now, Packet::new(pipe, side, What::Leg(leg + 1)));
            }
            // A message that came again, or one that is behind what was answered.
            (Side::Dialer, State::Dialing) if leg + 1 > link.leg => {
                link.leg = leg + 1;
                if leg + 1 == last {
                    self.up(now, pipe, Side::Dialer);
                }
                self.transmit(now, Packet::new(pipe, side, What::Leg(leg + 1)));
            }
            (Side::Dialer | Side::Acceptor, _) => {}
        }
    }

    /// The dialling end is up, so this one is.
    pub(super) fn accept(&mut self, now: Time, pipe: Pipe) {
        let half_open = |link: &Link| matches!(link.end(Side::Acceptor).state, State::HalfOpen(_));
        if !self.links.get(&pipe).is_some_and(half_open) {
            return;
        }
        let id = self.accepted_id();
        if let Some(link) = self.links.get_mut(&pipe) {
            let end = link.end_mut(Side::Acceptor);
            end.id = id;
            self.ends.insert((end.host, id), (pipe, Side::Acceptor));
            self.up(now, pipe, Side::Acceptor);
        }
    }

    pub(super) fn on_reset(&mut self, now: Time, pipe: Pipe, side: Side) {
        self.watch(now, pipe);
        let Some(link) = self.links.get(&pipe) else {
            return;
        };
        let end = link.end(side);
        match end.state {
            State::Dialing => self.fail(pipe, DialError::Refused),
            State::Up if end.fin.is_none() => self.lose(pipe, side),
            State::Closing | State::HalfOpen(_) => self.end_gone(pipe, side, State::Gone),
            State::Up | State::Gone => {}
        }
    }

    /// The end heard nothing for too long, or was reset.
    pub(super) fn lose(&mut self, pipe: Pipe, side: Side) {
        let closed = |link: &Link| link.end(side).fin.is_some();
        let error = if self.links.get(&pipe).is_some_and(closed) {
            LinkError::Closed
        } else {
            LinkError::Lost
        };
        self.tell(pipe, side, LinkEvent::Closed(error));
        self.end_gone(pipe, side, State::Gone);
    }

    pub(super) fn close_end(&mut self, now: Time, pipe: Pipe, side: Side) {
        let Some(link) = self.links.get(&pipe) else {
            return;
        };
        let end = link.end(side);
        match end.state {
            State::Dialing => self.end_gone(pipe, side, State::Gone),
            State::Up => {
                let fin = [end.out[0].next, end.out[1].next];
                let linger = now + link.idle();
                self.watch(now, pipe);
                self.end_gone(pipe, side, State::Closing);
                if self.links.contains_key(&pipe) {
                    self.transmit(now, Packet::new(pipe, side, What::Fin(fin)));
                    self.at(linger, Doing::Linger(pipe));
                }
            }
            State::HalfOpen(_) | State::Closing | State::Gone => {}
        }
    }

    /// What was sent on a closed link had its time.
    pub(super) fn linger_ends(&mut self, pipe: Pipe) {
        for side in Side::BOTH {
            let Some(link) = self.links.get(&pipe) else {
                return;
            };
            if link.end(side).state == State::Closing {
                let peer = link.end(side.other());
                if peer.state == State::Up && peer.fin.is_some() {
                    self.lose(pipe, side.other());
                }
                self.end_gone(pipe, side, State::Gone);
            }
        }
    }

    pub(super) fn stop_end(&mut self, now: Time, pipe: Pipe, side: Side, host: HostId, stop: Stop) {
        let Some(link) = self.links.get(&pipe) else {
            return;
        };
        let end = link.end(side);
        let goes = match end.state {
            State::Gone => false,
            State::Closing => stop == Stop::Silent,
            State::Dialing | State::HalfOpen(_) | State::Up => true,
        };
        if end.host != host || !goes {
            return;
        }
        let known = end.state == State::Up;
        if known && stop == Stop::Reset && link.transport == Transport::Tcp {
            let ends = [end.local, end.remote];
            self.reset(now, host, ends, pipe, side);
        }
        self.end_gone(pipe, side, State::Gone);
    }

    /// Both ends broke with each other: one of them broke the driver contract.
    pub(super) fn break_off(&mut self, pipe: Pipe) {
        for side in Side::BOTH {
            let up = |link: &Link| link.end(side).state == State::Up;
            if self.links.get(&pipe).is_some_and(up) {
                self.lose(pipe, side);
            }
        }
    }

    /// Whether a datagram from there to an endpoint of the host belongs to this end of the link. What came to an
    /// accepted QUIC link from another endpoint of its dialler is answered there from now on.
    pub(super) fn knows(
        &mut self,
        now: Time,
        pipe: Pipe,
        side: Side,
        host: HostId,
        at: SocketAddrV4,
        datagram: &Datagram,
    ) -> bool {
        let Some(link) = self.links.get_mut(&pipe) else {
            return false;
        };
        let follows = (link.transport, side) == (Transport::Quic, Side::Acceptor);
        let end = link.end_mut(side);
        let (exists, settled) = match end.state {
            State::Up | State::Closing => (true, true),
            State::Dialing => (true, false),
            State::HalfOpen(until) => (now < until, false),
            State::Gone => (false, false),
        };
        if !exists || (end.host, end.local) != (host, at) {
            return false;
        }
        if end.remote == datagram.from {
            return true;
        }
        let moves = follows && settled;
        if moves {
            end.remote = datagram.from;
        }
        if moves && end.state == State::Up {
            self.tell(pipe, side, LinkEvent::Moved(datagram.from.into()));
        }
        moves
    }

    /// QUIC links that the host dialled have its new address.
    pub(super) fn migrate(&mut self, host: HostId) {
        let Some(address) = self.realms.address(host) else {
            return;
        };
        for link in self.links.values_mut() {
            let is_quic = link.transport == Transport::Quic;
            let end = link.end_mut(Side::Dialer);
            if is_quic && end.host == host && matches!(end.state, State::Up | State::Closing) {
                end.local.set_ip(address);
            }
        }
    }

    fn attempt(&mut self, now: Time, pipe: Pipe, attempt: usize) {
        let (Some(wait), Some(link)) = (DIAL_AGAIN.get(attempt), self.links.get(&pipe)) else {
            self.fail(pipe, DialError::TimedOut);
            return;
        };
        let leg = Packet::new(pipe, Side::Dialer, What::Leg(link.leg));
        if self.leave(now, now, leg) == Err(Stuck::NoRoute) {
            self.fail(pipe, DialError::Unreachable);
            return;
        }
        self.at(now + *wait, Doing::Dial(pipe, attempt + 1));
    }

    fn fail(&mut self, pipe: Pipe, error: DialError) {
        self.tell(pipe, Side::Dialer, LinkEvent::Failed(error));
        self.end_gone(pipe, Side::Dialer, State::Gone);
    }

    /// The node may use this end.
    fn up(&mut self, now: Time, pipe: Pipe, side: Side) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let transport = link.transport;
        let info = link.info(side);
        let end = link.end_mut(side);
        end.state = State::Up;
        end.sent = now;
        end.heard = now;
        let lanes = [Lane::Control, Lane::Bulk].map(|lane| (lane, link::room(transport, lane)));
        for (lane, room) in lanes {
            end.out[lane as usize].room = i64::from(room);
        }
        self.tell(
            pipe,
            side,
            match side {
                Side::Dialer => LinkEvent::Dialed(info),
                Side::Acceptor => LinkEvent::Accepted(info),
            },
        );
        for (lane, room) in lanes.into_iter().filter(|(_, room)| *room > 0) {
            self.tell(pipe, side, LinkEvent::Room(lane, room));
        }
        self.watch_from(now, pipe);
    }

    /// The endpoints that a dial is from and to.
    fn endpoints(&mut self, host: HostId, dial: &Dial) -> Result<[SocketAddrV4; 2], DialError> {
        let remote = self.destination(host, dial)?;
        let quic_port = self.quic_port(host);
        let (Some(address), Some(host)) = (self.realms.address(host), self.hosts.get_mut(&host))
        else {
            return Err(DialError::Unreachable);
        };
        let port = match dial.transport {
            Transport::Quic => quic_port,
            Transport::Tcp => host.free_tcp_port(),
        };
        let port = port.ok_or(DialError::Unreachable)?;
        Ok([SocketAddrV4::new(address, port), remote])
    }

    /// The endpoint that a dial is to. A host's own loopback address is that of its interface.
    pub(super) fn destination(&self, host: HostId, dial: &Dial) -> Result<SocketAddrV4, DialError> {
        let ip = match &dial.host {
            io::Host::Ip(ip) => ip.to_canonical(),
            io::Host::Name(_) => return Err(DialError::NoSuchHost),
        };
        match (ip, self.realms.address(host)) {
            (IpAddr::V4(ip), Some(own)) => {
                let ip = if ip.is_loopback() { own } else { ip };
                Ok(SocketAddrV4::new(ip, dial.port))
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => Err(DialError::Unreachable),
        }
    }
}

impl super::Host {
    /// The next port that nothing uses, taken; none if there is none.
    fn free_tcp_port(&mut self) -> Option<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.listening.contains(&(Transport::Tcp, port)) && self.ports.insert(port) {
                return Some(port);
            }
        }
        None
    }
}
