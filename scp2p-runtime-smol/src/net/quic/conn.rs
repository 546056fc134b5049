//! One QUIC connection and the link it carries.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, Dir, Event, StreamEvent, StreamId, TransportErrorCode, VarInt,
};
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{
    CloseCode, DialError, Frame, Lane, LinkError, LinkEvent, LinkInfo, Transport,
};
use scp2p_proto::session::EXPORTER_LABEL;

use super::super::{AcceptedIds, CLOSING_TIME_MAX, OPENING_TIME_MAX};
use super::config::FULL_WINDOW;
use super::lane::{LaneState, Reading};
use super::path::is_proven;

/// Bytes granted in all from where on a connection gets its full window: more than an
/// unauthenticated link is ever granted.
const EARNEST_GRANT: u64 = 192 << 10;

/// A connection with what its owner keeps about it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) quic: Connection,
    /// Where the remote was at first; it may move.
    pub(super) first_remote: IpAddr,
    /// Where the remote is, as the node was told.
    remote: SocketAddr,
    /// Answers to challenges that came while it was elsewhere.
    responses: u64,
    /// The instant registered for this connection.
    pub(super) timer: Option<Instant>,
    /// Whether this connection is queued to be driven.
    pub(super) is_touched: bool,
    /// Whether this connection is queued to be read.
    pub(super) is_readable: bool,
    phase: Phase,
    /// A link that the owner has not registered yet.
    new_link: Option<LinkId>,
    control: LaneState,
    bulk: LaneState,
    granted_in_all: u64,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Handshaking, for a dial or because the remote wants to.
    Opening {
        dial: Option<LinkId>,
        until: Instant,
    },
    /// A link of the node.
    Open { id: LinkId },
    /// Over, but the node has not read everything.
    Ended { id: LinkId, why: LinkError },
    /// Closed by the node; what it sent is being delivered.
    Closing { code: CloseCode, until: Instant },
    /// Nothing of it matters to the node.
    Over,
}

impl Conn {
    pub(super) fn dialing(quic: Connection, id: LinkId, until: Instant) -> Conn {
        Conn::new(
            quic,
            Phase::Opening {
                dial: Some(id),
                until,
            },
        )
    }

    pub(super) fn accepted(quic: Connection, now: Instant) -> Conn {
        Conn::new(
            quic,
            Phase::Opening {
                dial: None,
                until: now + OPENING_TIME_MAX,
            },
        )
    }

    fn new(quic: Connection, phase: Phase) -> Conn {
        Conn {
            first_remote: quic.remote_address().ip(),
            remote: quic.remote_address(),
            responses: 0,
            quic,
            timer: None,
            is_touched: false,
            is_readable: false,
            phase,
            new_link: None,
            control: LaneState::new(Lane::Control),
            bulk: LaneState::new(Lane::Bulk),
            granted_in_all: 0,
        }
    }

    /// Whether this is an accepted connection whose handshake is not finished.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::Opening { dial: None, .. })
    }

    /// Whether what the node sent is still being delivered.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// The link that has just been accepted, once.
    pub(super) fn take_new_link(&mut self) -> Option<LinkId> {
        self.new_link.take()
    }

    pub(super) fn send(&mut self, lane: Lane, frame: Frame) {
        if !matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        if lane == Lane::Bulk && self.bulk.send.is_none() {
            self.bulk.send = self.quic.streams().open(Dir::Uni);
        }
        self.lane_mut(lane).push(frame);
        self.flush(lane);
    }

    pub(super) fn grant(&mut self, lane: Lane, bytes: u32) {
        let lane = self.lane_mut(lane);
        lane.granted = lane.granted.saturating_add(u64::from(bytes));
        let before = self.granted_in_all;
        self.granted_in_all = before.saturating_add(u64::from(bytes));
        if before < EARNEST_GRANT && self.granted_in_all >= EARNEST_GRANT {
            self.quic.set_receive_window(VarInt::from_u32(FULL_WINDOW));
        }
    }

    pub(super) fn close(&mut self, now: Instant, code: CloseCode) {
        match self.phase {
            Phase::Open { .. } => {
                self.phase = Phase::Closing {
                    code,
                    until: now + CLOSING_TIME_MAX,
                };
                self.finish_flushed(now);
            }
            Phase::Opening { .. } | Phase::Ended { .. } => self.shut(now, code),
            Phase::Closing { .. } | Phase::Over => {}
        }
    }

    /// Does what is due in quinn and here.
    pub(super) fn timeout(&mut self, now: Instant) {
        let remote = self.quic.remote_address();
        self.quic.handle_timeout(now);
        if self.quic.remote_address() != remote {
            // Nobody proved to be there, so quinn went back, where its timer for what is not acknowledged needs
            // something to be under way.
            self.quic.ping();
        }
        match self.phase {
            Phase::Closing { code, until } if until <= now => self.shut(now, code),
            // An opening that is too late is told by `settle`, as one that failed otherwise is.
            Phase::Opening { .. }
            | Phase::Open { .. }
            | Phase::Ended { .. }
            | Phase::Closing { .. }
            | Phase::Over => {}
        }
    }

    /// When [`Self::timeout`] has something to do.
    pub(super) fn next_timer(&mut self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Opening { until, .. } | Phase::Closing { until, .. } => Some(until),
            Phase::Open { .. } | Phase::Ended { .. } | Phase::Over => None,
        };
        match (own, self.quic.poll_timeout()) {
            (Some(own), Some(quic)) => Some(own.min(quic)),
            (own, quic) => own.or(quic),
        }
    }

    /// Takes quinn's events and says what they mean for the link.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        ids: &AcceptedIds,
        events: &mut VecDeque<(LinkId, LinkEvent)>,
    ) {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => self.connected(ids, events),
                Event::ConnectionLost { reason } => self.lost(&reason, events),
                Event::Stream(event) => self.on_stream(now, event),
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {
                }
            }
        }
        if let Phase::Opening { dial, until } = self.phase
            && until <= now
        {
            events.extend(dial.map(|id| (id, LinkEvent::Failed(DialError::TimedOut))));
            self.shut(now, CloseCode::Handshake);
        }
        if let Phase::Open { id } = self.phase {
            events.extend(self.moved().map(|remote| (id, LinkEvent::Moved(remote))));
            for (lane, state) in [
                (Lane::Control, &mut self.control),
                (Lane::Bulk, &mut self.bulk),
            ] {
                // Control exists with its stream, bulk with the connection.
                if lane == Lane::Bulk || state.send.is_some() {
                    events.extend(state.room().map(|room| (id, LinkEvent::Room(lane, room))));
                }
            }
        }
    }

    /// The address of the remote if the node was told another one, once the remote has proved it. Whoever sends from
    /// addresses that are not its own has not moved.
    fn moved(&mut self) -> Option<SocketAddr> {
        let remote = self.quic.remote_address();
        if remote == self.remote {
            return None;
        }
        if is_proven(&self.quic) {
            self.remote = remote;
            return Some(remote);
        }
        // What is acknowledged after the proof shows that there was one.
        let responses = self.quic.stats().frame_rx.path_response;
        if responses != self.responses {
            self.responses = responses;
            self.quic.ping();
        }
        None
    }

    /// Whether reading could give the node something.
    pub(super) fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Open { .. } => [&self.control, &self.bulk]
                .iter()
                .any(|lane| lane.readable && lane.granted > 0),
            Phase::Ended { .. } => true,
            Phase::Opening { .. } | Phase::Closing { .. } | Phase::Over => false,
        }
    }

    /// The next bytes for the node, control first, or the link's end once there are none.
    pub(super) fn read(
        &mut self,
        now: Instant,
        scratch: &mut Vec<Bytes>,
    ) -> Option<(LinkId, LinkEvent)> {
        let (Phase::Open { id } | Phase::Ended { id, .. }) = self.phase else {
            return None;
        };
        match self.control.read(&mut self.quic, scratch) {
            Reading::Bytes(bytes) => return Some((id, LinkEvent::Bytes(Lane::Control, bytes))),
            Reading::Nothing => {}
            Reading::End => self.end(LinkError::Closed),
            Reading::Reset => self.end(LinkError::Lost),
        }
        match self.bulk.read(&mut self.quic, scratch) {
            Reading::Bytes(bytes) => return Some((id, LinkEvent::Bytes(Lane::Bulk, bytes))),
            // A remote that has no more bulk to send may still want ours.
            Reading::Nothing | Reading::End => {}
            Reading::Reset => self.end(LinkError::Lost),
        }
        let Phase::Ended { id, why } = self.phase else {
            return None;
        };
        self.shut(now, CloseCode::Done);
        Some((id, LinkEvent::Closed(why)))
    }

    /// What the node must still hear of a connection that is gone.
    pub(super) fn last_words(&mut self) -> Option<(LinkId, LinkEvent)> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Opening { dial, .. } => {
                dial.map(|id| (id, LinkEvent::Failed(DialError::TimedOut)))
            }
            Phase::Open { id } => Some((id, LinkEvent::Closed(LinkError::Lost))),
            Phase::Ended { id, why } => Some((id, LinkEvent::Closed(why))),
            Phase::Closing { .. } | Phase::Over => None,
        }
    }

    fn connected(&mut self, ids: &AcceptedIds, events: &mut VecDeque<(LinkId, LinkEvent)>) {
        let Phase::Opening { dial, .. } = self.phase else {
            return;
        };
        let mut exporter = [0; 32];
        self.quic
            .crypto_session()
            .export_keying_material(&mut exporter, EXPORTER_LABEL.as_bytes(), b"")
            .expect("32 bytes are a length that every suite exports");
        let info = LinkInfo {
            transport: Transport::Quic,
            remote: self.remote,
            exporter,
        };
        if let Some(id) = dial {
            self.control.send = self.quic.streams().open(Dir::Bi);
            self.control.recv = self.control.send;
            self.prefer_control();
            self.phase = Phase::Open { id };
            events.push_back((id, LinkEvent::Dialed(info)));
            if self.control.send.is_none() {
                // A remote that grants no stream cannot be talked to.
                self.end(LinkError::Lost);
            }
        } else {
            let id = ids.next();
            self.phase = Phase::Open { id };
            self.new_link = Some(id);
            events.push_back((id, LinkEvent::Accepted(info)));
        }
    }

    fn lost(&mut self, reason: &ConnectionError, events: &mut VecDeque<(LinkId, LinkEvent)>) {
        match self.phase {
            Phase::Opening { dial, .. } => {
                self.phase = Phase::Over;
                events.extend(dial.map(|id| (id, LinkEvent::Failed(dial_error(reason)))));
            }
            Phase::Open { .. } => self.end(link_error(reason)),
            Phase::Closing { .. } => self.phase = Phase::Over,
            Phase::Ended { .. } | Phase::Over => {}
        }
    }

    fn on_stream(&mut self, now: Instant, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir } => self.accept_streams(dir),
            StreamEvent::Readable { id } => {
                for lane in [&mut self.control, &mut self.bulk] {
                    lane.readable |= lane.recv == Some(id);
                }
            }
            StreamEvent::Writable { id } => {
                if let Some(lane) = self.lane_of_sending(id) {
                    self.flush(lane);
                    self.finish_flushed(now);
                }
            }
            StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. } => {
                if let Some(lane) = self.lane_of_sending(id) {
                    let state = self.lane_mut(lane);
                    state.finishing = false;
                    state.send = None;
                    self.end(LinkError::Closed);
                    self.finish_flushed(now);
                }
            }
            StreamEvent::Available { dir } => {
                if dir == Dir::Uni && self.bulk.send.is_none() && !self.bulk.is_flushed() {
                    self.bulk.send = self.quic.streams().open(Dir::Uni);
                    self.flush(Lane::Bulk);
                }
            }
        }
    }

    /// The first stream of each kind is its lane; a further one is refused.
    fn accept_streams(&mut self, dir: Dir) {
        while let Some(id) = self.quic.streams().accept(dir) {
            let lane = match dir {
                Dir::Bi => &mut self.control,
                Dir::Uni => &mut self.bulk,
            };
            if lane.recv.is_none() && lane.send.is_none_or(|_| dir == Dir::Uni) {
                lane.recv = Some(id);
                lane.readable = true;
                if dir == Dir::Bi {
                    lane.send = Some(id);
                    self.prefer_control();
                }
            } else {
                let _ = self.quic.recv_stream(id).stop(VarInt::from_u32(0));
                if dir == Dir::Bi {
                    let _ = self.quic.send_stream(id).reset(VarInt::from_u32(0));
                }
            }
        }
    }

    /// Control frames go before bulk ones that wait in quinn.
    fn prefer_control(&mut self) {
        if let Some(id) = self.control.send {
            let _ = self.quic.send_stream(id).set_priority(1);
        }
    }

    fn flush(&mut self, lane: Lane) {
        let state = match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        };
        if !state.flush(&mut self.quic) {
            self.end(LinkError::Closed);
        }
    }

    /// While closing: ends the streams that are written out, and the connection when all are
    /// acknowledged.
    fn finish_flushed(&mut self, now: Instant) {
        let Phase::Closing { code, .. } = self.phase else {
            return;
        };
        let mut waits = false;
        for lane in [&mut self.control, &mut self.bulk] {
            if lane.send.is_none() {
                continue;
            }
            waits |= !lane.is_flushed() || lane.finishing || lane.finish(&mut self.quic);
        }
        if !waits {
            self.shut(now, code);
        }
    }

    /// The link is over; what has arrived is still read.
    fn end(&mut self, why: LinkError) {
        if let Phase::Open { id } = self.phase {
            self.phase = Phase::Ended { id, why };
        }
    }

    /// Closes the connection now.
    fn shut(&mut self, now: Instant, code: CloseCode) {
        self.phase = Phase::Over;
        if !self.quic.is_closed() {
            self.quic
                .close(now, VarInt::from_u32(code_number(code)), Bytes::new());
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn lane_of_sending(&self, id: StreamId) -> Option<Lane> {
        if self.control.send == Some(id) {
            Some(Lane::Control)
        } else if self.bulk.send == Some(id) {
            Some(Lane::Bulk)
        } else {
            None
        }
    }
}

/// The application code that a peer sees; deployed ones send 0 and look at none.
fn code_number(code: CloseCode) -> u32 {
    match code {
        CloseCode::Done => 0,
        CloseCode::Handshake => 1,
        CloseCode::Offence => 2,
        CloseCode::Duplicate => 3,
        CloseCode::Busy => 4,
        CloseCode::Shutdown => 5,
        CloseCode::Idle => 6,
    }
}

fn dial_error(reason: &ConnectionError) -> DialError {
    match reason {
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            DialError::Refused
        }
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_) => DialError::Tls,
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => DialError::Refused,
        ConnectionError::TimedOut => DialError::TimedOut,
        ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => DialError::Unreachable,
    }
}

fn link_error(reason: &ConnectionError) -> LinkError {
    match reason {
        ConnectionError::ApplicationClosed(_) => LinkError::Closed,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => LinkError::Lost,
    }
}
