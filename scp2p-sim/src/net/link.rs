//! The state of links.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Frame, Lane, LinkInfo, Transport};
use scp2p_proto::time::Time;

use super::edge::Held;
use super::realm::{Datagram, EdgeNo};
use crate::id::HostId;

/// Room of a control lane, as drivers of real sockets have it.
pub(super) const CONTROL_ROOM: u32 = 2 << 20;
/// Room of a bulk lane.
pub(super) const BULK_ROOM: u32 = 4 << 20;
/// Room is given back when this part of it was used.
pub(super) const ROOM_PARTS: u32 = 16;
/// Bytes given to the node at a time.
pub(super) const READ_MAX: usize = 256 << 10;
/// Frames travel in pieces of at most so many bytes.
pub(super) const SEGMENT_MAX: usize = 64 << 10;

/// A link in the world: both ends of it have one. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pipe(pub(super) u64);

#[cfg(feature = "quic")]
impl Pipe {
    /// The pipe of no link.
    pub(super) const NONE: Pipe = Pipe(0);
}

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Dialer,
    Acceptor,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Dialer, Side::Acceptor];

    pub(super) fn other(self) -> Side {
        match self {
            Side::Dialer => Side::Acceptor,
            Side::Acceptor => Side::Dialer,
        }
    }
}

/// A link with both of its ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) transport: Transport,
    pub(super) exporter: [u8; 32],
    /// One way between the two hosts.
    pub(super) latency: Duration,
    /// The last message of the transport's handshake that the dialler sent.
    pub(super) leg: u8,
    /// When its keep-alives and time-outs are looked at next; none while nothing can
    /// happen to it.
    pub(super) watch: Option<Time>,
    /// Bindings that its keep-alives hold while it is not watched.
    pub(super) held: [Vec<(EdgeNo, Held)>; 2],
    ends: [End; 2],
}

/// How far an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It sent the first message of the handshake.
    Dialing,
    /// It answered one; until then.
    HalfOpen(Time),
    /// Its node uses it.
    Up,
    /// Its node closed it; what was sent before is still under way.
    Closing,
    /// Nobody is there.
    Gone,
}

/// What a host has of a link.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) id: LinkId,
    pub(super) state: State,
    pub(super) local: SocketAddrV4,
    /// The other end as it looks from here.
    pub(super) remote: SocketAddrV4,
    /// When it sent something last.
    pub(super) sent: Time,
    /// When something of the other end came last.
    pub(super) heard: Time,
    /// Whether what it sent last, as far as that is known, came through.
    pub(super) works: bool,
    /// What the other end sent before it closed, in segments by lane.
    pub(super) fin: Option<[u64; 2]>,
    pub(super) out: [Outgoing; 2],
    pub(super) inn: [Incoming; 2],
}

/// The sending half of a lane.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The number of the next segment.
    pub(super) next: u64,
    pub(super) room: i64,
}

/// The receiving half of a lane.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// The number of the segment that is waited for.
    pub(super) next: u64,
    /// Segments that came before it.
    pub(super) early: BTreeMap<u64, Frame>,
    /// Bytes in order that are not granted yet.
    pub(super) ready: VecDeque<Bytes>,
    pub(super) granted: u64,
    /// Bytes delivered and not given back as room.
    pub(super) used: u32,
}

impl Link {
    pub(super) fn new(transport: Transport, exporter: [u8; 32], ends: [End; 2]) -> Link {
        Link {
            transport,
            exporter,
            latency: Duration::ZERO,
            leg: 0,
            watch: None,
            held: Default::default(),
            ends,
        }
    }

    pub(super) fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    pub(super) fn info(&self, side: Side) -> LinkInfo {
        LinkInfo {
            transport: self.transport,
            remote: self.end(side).remote.into(),
            exporter: self.exporter,
        }
    }

    /// Whether a node knows of it or may still hear of it.
    pub(super) fn is_alive(&self) -> bool {
        let [dialer, acceptor] = [self.ends[0].state, self.ends[1].state];
        let told = |state| matches!(state, State::Dialing | State::Up);
        told(dialer)
            || told(acceptor)
            || dialer == State::Closing && matches!(acceptor, State::HalfOpen(_))
    }

    /// The number of the handshake's last message.
    pub(super) fn last_leg(&self) -> u8 {
        match self.transport {
            Transport::Quic => 2,
            Transport::Tcp => 4,
        }
    }

    /// How long an end waits for the other.
    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(match self.transport {
            Transport::Quic => 30,
            Transport::Tcp => 50,
        })
    }

    /// How long an end is silent before it sends a keep-alive.
    pub(super) fn keep_alive(&self) -> Duration {
        Duration::from_secs(match self.transport {
            Transport::Quic => 10,
            Transport::Tcp => 20,
        })
    }

    /// When a packet is sent again that was lost so many times.
    pub(super) fn resend(&self, attempt: u8) -> Duration {
        let first = (self.latency * 4).max(Duration::from_millis(200));
        (first * (1 << attempt.min(6))).min(Duration::from_secs(8))
    }
}

impl End {
    pub(super) fn new(host: HostId, id: LinkId, state: State, at: [SocketAddrV4; 2]) -> End {
        let [local, remote] = at;
        End {
            host,
            id,
            state,
            local,
            remote,
            sent: Time::default(),
            heard: Time::default(),
            works: false,
            fin: None,
            out: Default::default(),
            inn: Default::default(),
        }
    }

    /// Whether everything is delivered that the other end sent before it closed.
    pub(super) fn is_finished(&self) -> bool {
        let done = |(lane, sent): (&Incoming, &u64)| lane.next == *sent && lane.ready.is_empty();
        self.fin
            .is_some_and(|fin| self.inn.iter().zip(&fin).all(done))
    }
}

/// All of a lane's room; none for a lane that does not exist.
pub(super) fn room(transport: Transport, lane: Lane) -> u32 {
    match (transport, lane) {
        (Transport::Quic | Transport::Tcp, Lane::Control) => CONTROL_ROOM,
        (Transport::Quic, Lane::Bulk) => BULK_ROOM,
        (Transport::Tcp, Lane::Bulk) => 0,
    }
}

/// A datagram of a link on its way.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) pipe: Pipe,
    /// Who sends it.
    pub(super) side: Side,
    /// How often it was lost.
    pub(super) attempt: u8,
    /// Its addresses, once it left.
    pub(super) datagram: Option<Datagram>,
    pub(super) what: What,
}

/// What a packet is.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A message of the transport's handshake. The dialler sends the even ones.
    Leg(u8),
    /// Nobody listens there, or nobody knows the link.
    Reset,
    /// A piece of a lane's bytes.
    Segment(Lane, u64, Frame),
    /// The receiver takes more bytes.
    Room(Lane, u32),
    /// Nothing comes after so many segments.
    Fin([u64; 2]),
}

impl Packet {
    pub(super) fn new(pipe: Pipe, side: Side, what: What) -> Box<Packet> {
        Box::new(Packet {
            pipe,
            side,
            attempt: 0,
            datagram: None,
            what,
        })
    }

    /// Bytes of content.
    pub(super) fn len(&self) -> u64 {
        match &self.what {
            What::Segment(_, _, frame) => frame.len() as u64,
            What::Leg(_) | What::Reset | What::Room(..) | What::Fin(_) => 0,
        }
    }

    /// The lane's number among a link's.
    pub(super) fn lane(&self) -> usize {
        match self.what {
            What::Segment(lane, _, _) => lane as usize,
            What::Leg(_) | What::Reset | What::Room(..) | What::Fin(_) => 0,
        }
    }
}

/// Cuts a frame into pieces.
pub(super) fn cut(mut frame: Frame) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(move || {
        let head = frame.head.split_to(frame.head.len().min(SEGMENT_MAX));
        let rest = SEGMENT_MAX - head.len();
        let body = frame.body.split_to(frame.body.len().min(rest));
        let piece = Frame { head, body };
        (!piece.is_empty()).then_some(piece)
    })
}
