//! How packets travel, and how bytes come out of them.

use std::net::SocketAddrV4;

use scp2p_proto::io::{Frame, Lane, LinkEvent, Transport};
use scp2p_proto::time::Time;

use super::link::{self, Incoming, Packet, Pipe, READ_MAX, ROOM_PARTS, Side, State, What};
use super::path::Fate;
use super::queue::{Cargo, Pass};
use super::realm::Stuck;
use super::{Doing, Network};
use crate::id::HostId;

impl Network {
    /// Sends a frame in pieces.
    pub(super) fn push(&mut self, now: Time, pipe: Pipe, side: Side, lane: Lane, frame: Frame) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let end = link.end_mut(side);
        if end.state != State::Up || frame.is_empty() {
            return;
        }
        let out = &mut end.out[lane as usize];
        if out.room <= 0 {
            self.break_off(pipe);
            return;
        }
        out.room -= frame.len() as i64;
        let mut next = out.next;
        for piece in link::cut(frame) {
            let segment = What::Segment(lane, next, piece);
            next += 1;
            self.offer_packet(now, Packet::new(pipe, side, segment));
        }
        if let Some(link) = self.links.get_mut(&pipe) {
            link.end_mut(side).out[lane as usize].next = next;
        }
    }

    /// Sends a packet from its end of the link to the other.
    pub(super) fn transmit(&mut self, now: Time, packet: Box<Packet>) {
        let _: Result<(), Stuck> = self.leave(now, now, packet);
    }

    /// A datagram leaves its host at a time, from and to these endpoints.
    pub(super) fn launch(
        &mut self,
        now: Time,
        leaves: Time,
        host: HostId,
        ends: [SocketAddrV4; 2],
        mut packet: Box<Packet>,
    ) -> Result<(), Stuck> {
        let [from, to] = ends;
        let Some(transport) = self.links.get(&packet.pipe).map(|link| link.transport) else {
            return Ok(());
        };
        if self.is_paused(host) || self.realms.address(host) != Some(*from.ip()) {
            self.lost(now, packet);
            return Ok(());
        }
        let datagram = match self.realms.depart(now, transport, host, from, to) {
            Ok(datagram) => datagram,
            Err(stuck) => {
                self.lost(now, packet);
                return Err(stuck);
            }
        };
        if let What::Leg(0) = packet.what {
            let Some(target) = self.realms.target(&datagram) else {
                return Ok(());
            };
            self.aim(packet.pipe, host, target);
        }
        packet.datagram = Some(datagram);
        self.fly(now, leaves, host, packet);
        Ok(())
    }

    pub(super) fn arrive(&mut self, now: Time, packet: Box<Packet>) {
        let (Some(datagram), Some(link)) = (packet.datagram, self.links.get(&packet.pipe)) else {
            return;
        };
        let transport = link.transport;
        let (pipe, side) = (packet.pipe, packet.side.other());
        let (from, to) = (link.end(packet.side).host, link.end(side).host);
        let clogged = self.clogged(to);
        if clogged > now {
            self.at(clogged, Doing::Arrive(packet));
            return;
        }
        if self.paths.is_blocked(from, to) {
            self.lost(now, packet);
            return;
        }
        let Some((host, at)) = self.realms.arrive(now, datagram) else {
            self.lost(now, packet);
            return;
        };
        if !self.answers(host) {
            self.lost(now, packet);
        } else if let What::Leg(0) = packet.what {
            self.on_dial(now, host, at, &packet, datagram.from);
        } else if self.knows(now, pipe, side, host, at, &datagram) {
            if packet.len() == 0 {
                return self.take(now, *packet);
            }
            self.offer_down(now, host, Cargo::Packet(packet));
        } else {
            if transport == Transport::Tcp && !matches!(packet.what, What::Reset) {
                self.reset(now, host, [at, datagram.from], pipe, side);
            }
            self.lost(now, packet);
        }
    }

    /// A lost packet is sent again.
    pub(super) fn again(&mut self, now: Time, packet: Box<Packet>) {
        let Some(link) = self.links.get(&packet.pipe) else {
            return;
        };
        match link.end(packet.side).state {
            State::Up | State::Closing => self.offer_packet(now, packet),
            State::Dialing | State::HalfOpen(_) | State::Gone => {}
        }
    }

    pub(super) fn line_up(&mut self, now: Time, host: HostId) {
        let Some(queue) = self.hosts.get_mut(&host).map(|host| &mut host.up) else {
            return;
        };
        let (cargo, next) = queue.next(now);
        if let Some(next) = next {
            self.at(next, Doing::Up(host));
        }
        if let Some(cargo) = cargo {
            self.set_out(now, now, cargo);
        }
    }

    pub(super) fn line_down(&mut self, now: Time, host: HostId) {
        let Some(queue) = self.hosts.get_mut(&host).map(|host| &mut host.down) else {
            return;
        };
        let (cargo, next) = queue.next(now);
        if let Some(next) = next {
            self.at(next, Doing::Down(host));
        }
        if let Some(cargo) = cargo {
            self.hand_over(now, cargo);
        }
    }

    /// Gives the node what it granted, and the other end room for it.
    pub(super) fn deliver(&mut self, now: Time, pipe: Pipe, side: Side, lane: Lane) {
        loop {
            let Some(link) = self.links.get_mut(&pipe) else {
                return;
            };
            let total = link::room(link.transport, lane);
            let inn = &mut link.end_mut(side).inn[lane as usize];
            let Some(bytes) = inn.granted_bytes() else {
                let used = inn.used;
                if used > 0 && used >= total / ROOM_PARTS {
                    inn.used = 0;
                    let room = Packet::new(pipe, side, What::Room(lane, used));
                    self.transmit(now, room);
                }
                break;
            };
            self.tell(pipe, side, LinkEvent::Bytes(lane, bytes));
        }
        self.finish(pipe, side);
    }

    /// Where a dial leads.
    fn aim(&mut self, pipe: Pipe, host: HostId, target: HostId) {
        let latency = self.paths.latency(host, target);
        if let Some(link) = self.links.get_mut(&pipe) {
            let acceptor = link.end_mut(Side::Acceptor);
            if acceptor.state == State::Gone {
                acceptor.host = target;
                link.latency = latency;
            }
        }
    }

    /// A packet leaves its end of the link for the other at a time.
    pub(super) fn leave(
        &mut self,
        now: Time,
        leaves: Time,
        packet: Box<Packet>,
    ) -> Result<(), Stuck> {
        let Some(link) = self.links.get_mut(&packet.pipe) else {
            return Ok(());
        };
        let end = link.end_mut(packet.side);
        end.sent = end.sent.max(leaves);
        let (host, ends) = (end.host, [end.local, end.remote]);
        self.launch(now, leaves, host, ends, packet)
    }

    /// What the way does to a datagram.
    fn fly(&mut self, now: Time, leaves: Time, host: HostId, packet: Box<Packet>) {
        let Some(link) = self.links.get(&packet.pipe) else {
            return;
        };
        let to = link.end(packet.side.other()).host;
        let there = leaves.max(self.clogged(host)) + link.latency;
        if self.paths.is_blocked(host, to) {
            self.lost(now, packet);
            return;
        }
        match self.paths.fate(now, host, to) {
            Fate::Lost => self.lost(now, packet),
            Fate::Late(late) => self.at(there + late, Doing::Arrive(packet)),
            Fate::Twice(late, again) => {
                // Room counts each time it comes.
                if !matches!(packet.what, What::Room(..)) {
                    self.at(there + again, Doing::Arrive(packet.clone()));
                }
                self.at(there + late, Doing::Arrive(packet));
            }
        }
    }

    /// A packet did not come. Its sender notices by the missing answer, if one was due.
    fn lost(&mut self, now: Time, mut packet: Box<Packet>) {
        let Some(link) = self.links.get(&packet.pipe) else {
            return;
        };
        let resent = match packet.what {
            What::Leg(leg) => leg == link.last_leg(),
            What::Segment(..) | What::Room(..) | What::Fin(_) => true,
            What::Reset => false,
        };
        if resent {
            let at = now + link.resend(packet.attempt);
            packet.attempt = packet.attempt.saturating_add(1);
            packet.datagram = None;
            self.at(at, Doing::Again(packet));
        }
    }

    fn offer_packet(&mut self, now: Time, packet: Box<Packet>) {
        let Some(link) = self.links.get(&packet.pipe) else {
            return;
        };
        let host = link.end(packet.side).host;
        if packet.len() == 0 {
            return self.transmit(now, packet);
        }
        self.offer_up(now, host, Cargo::Packet(packet));
    }

    /// Something is to go over a host's line to the network.
    pub(super) fn offer_up(&mut self, now: Time, host: HostId, cargo: Cargo) {
        let Some(queue) = self.hosts.get_mut(&host).map(|host| &mut host.up) else {
            return;
        };
        match queue.offer(now, cargo) {
            Pass::Through(cargo, leaves) => self.set_out(now, leaves, cargo),
            Pass::Busy(until) => self.at(until, Doing::Up(host)),
            Pass::Waits => {}
        }
    }

    /// Something is to go over a host's line from the network.
    pub(super) fn offer_down(&mut self, now: Time, host: HostId, cargo: Cargo) {
        let Some(queue) = self.hosts.get_mut(&host).map(|host| &mut host.down) else {
            return;
        };
        match queue.offer(now, cargo) {
            Pass::Through(cargo, _) => self.hand_over(now, cargo),
            Pass::Busy(until) => self.at(until, Doing::Down(host)),
            Pass::Waits => {}
        }
    }

    /// Something is through its sender's line at a time.
    fn set_out(&mut self, now: Time, leaves: Time, cargo: Cargo) {
        match cargo {
            Cargo::Packet(packet) => {
                let _: Result<(), Stuck> = self.leave(now, leaves, packet);
            }
            #[cfg(feature = "quic")]
            Cargo::Raw(raw) => self.fly_raw(now, leaves, *raw),
        }
    }

    /// Something is through its receiver's line.
    fn hand_over(&mut self, now: Time, cargo: Cargo) {
        match cargo {
            Cargo::Packet(packet) => self.take(now, *packet),
            #[cfg(feature = "quic")]
            Cargo::Raw(raw) => self.receive_raw(now, *raw),
        }
    }

    /// A packet is at the end that it is for.
    fn take(&mut self, now: Time, packet: Packet) {
        let (pipe, side) = (packet.pipe, packet.side.other());
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let watched = link.watch.is_some();
        link.end_mut(side).heard = now;
        link.end_mut(packet.side).works = true;
        if !matches!(packet.what, What::Leg(_) | What::Reset) {
            self.accept(now, pipe);
        }
        match packet.what {
            What::Leg(leg) => self.on_leg(now, pipe, side, leg),
            What::Reset => self.on_reset(now, pipe, side),
            What::Segment(lane, number, frame) => {
                if watched {
                    self.pulse(now, pipe, side);
                }
                self.on_segment(now, pipe, side, lane, number, frame);
            }
            What::Room(lane, room) => self.on_room(pipe, side, lane, room),
            What::Fin(fin) => {
                if let Some(link) = self.links.get_mut(&pipe) {
                    link.end_mut(side).fin = Some(fin);
                    self.finish(pipe, side);
                }
            }
        }
    }

    fn on_segment(
        &mut self,
        now: Time,
        pipe: Pipe,
        side: Side,
        lane: Lane,
        number: u64,
        frame: Frame,
    ) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let end = link.end_mut(side);
        if end.state == State::Up && end.inn[lane as usize].put(number, frame) {
            self.deliver(now, pipe, side, lane);
        }
    }

    fn on_room(&mut self, pipe: Pipe, side: Side, lane: Lane, room: u32) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let end = link.end_mut(side);
        if end.state == State::Up {
            end.out[lane as usize].room += i64::from(room);
            self.tell(pipe, side, LinkEvent::Room(lane, room));
        }
    }

    /// Closes the end if the other one did and nothing is left to deliver.
    fn finish(&mut self, pipe: Pipe, side: Side) {
        let Some(link) = self.links.get(&pipe) else {
            return;
        };
        let end = link.end(side);
        if end.state == State::Up && end.is_finished() {
            self.lose(pipe, side);
        }
    }
}

impl Incoming {
    /// Takes a segment; whether it was the one waited for.
    fn put(&mut self, number: u64, frame: Frame) -> bool {
        if number != self.next {
            if number > self.next {
                self.early.insert(number, frame);
            }
            return false;
        }
        let mut found = Some(frame);
        while let Some(frame) = found {
            let parts = [frame.head, frame.body];
            self.ready
                .extend(parts.into_iter().filter(|part| !part.is_empty()));
            self.next += 1;
            found = self.early.remove(&self.next);
        }
        true
    }

    /// The next bytes that the node may have.
    fn granted_bytes(&mut self) -> Option<bytes::Bytes> {
        let most = self.granted.min(READ_MAX as u64) as usize;
        let first = self.ready.front_mut().filter(|_| most > 0)?;
        let bytes = if first.len() <= most {
            self.ready.pop_front()?
        } else {
            first.split_to(most)
        };
        self.granted -= bytes.len() as u64;
        self.used += bytes.len() as u32;
        Some(bytes)
    }
}
