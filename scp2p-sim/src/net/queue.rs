//! A host's line to the network, in one direction.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use scp2p_proto::time::Time;

use super::link::{Packet, Pipe, Side};
#[cfg(feature = "quic")]
use super::real::Raw;

/// What a packet costs beside its bytes.
const HEADER: u64 = 64;
/// Lines that are busy for less count as free: the packet then costs no event of its own.
const SLACK: Duration = Duration::from_millis(6);

/// About the largest datagram of real QUIC. A line holds those that it carries in a fifth of a second.
#[cfg(feature = "quic")]
const RAW_LEN: u64 = 1500;
/// Even the slowest line holds so many.
#[cfg(feature = "quic")]
const RAW_WAITING_MIN: usize = 16;

/// Packets that share a line: flows take turns, and within a flow the control lane goes first.
#[derive(Debug)]
pub(super) struct Queue {
    rate: u64,
    free: Time,
    serving: Option<Cargo>,
    turns: VecDeque<(Pipe, Side)>,
    waiting: BTreeMap<(Pipe, Side), [VecDeque<Cargo>; 2]>,
    /// Datagrams of real QUIC that wait at most. Senders of modelled packets have room instead.
    #[cfg(feature = "quic")]
    raw_max: usize,
}

/// What goes over a line.
#[derive(Debug)]
pub(super) enum Cargo {
    /// A packet of a modelled link.
    Packet(Box<Packet>),
    /// A datagram of real QUIC. All of a host are one flow.
    #[cfg(feature = "quic")]
    Raw(Box<Raw>),
}

/// What a line does with a packet.
#[derive(Debug)]
pub(super) enum Pass {
    /// It is through then.
    Through(Cargo, Time),
    /// The line wants to be asked then.
    Busy(Time),
    /// It waits for its turn, or was dropped because too much waits.
    Waits,
}

impl Queue {
    /// A line of so many bytes per second.
    pub(super) fn new(rate: u64) -> Queue {
        Queue {
            rate: rate.max(1),
            free: Time::default(),
            serving: None,
            turns: VecDeque::new(),
            waiting: BTreeMap::new(),
            #[cfg(feature = "quic")]
            raw_max: usize::try_from(rate / (5 * RAW_LEN))
                .map_or(usize::MAX, |most| most.max(RAW_WAITING_MIN)),
        }
    }

    /// Takes a packet.
    pub(super) fn offer(&mut self, now: Time, packet: Cargo) -> Pass {
        if self.serving.is_some() {
            let (flow, lane) = (packet.flow(), packet.lane());
            let waiting = self.waiting.entry(flow).or_insert_with(|| {
                self.turns.push_back(flow);
                Default::default()
            });
            #[cfg(feature = "quic")]
            if matches!(packet, Cargo::Raw(_)) && waiting[lane].len() >= self.raw_max {
                return Pass::Waits;
            }
            waiting[lane].push_back(packet);
            return Pass::Waits;
        }
        let through = self.serve(now, &packet);
        if through.since(now) <= SLACK {
            return Pass::Through(packet, through);
        }
        self.serving = Some(packet);
        Pass::Busy(through)
    }

    /// The packet that is through now, and when the next one is.
    pub(super) fn next(&mut self, now: Time) -> (Option<Cargo>, Option<Time>) {
        let done = self.serving.take();
        let next = self.turn().map(|packet| {
            let through = self.serve(now, &packet);
            self.serving = Some(packet);
            through
        });
        (done, next)
    }

    /// Drops what waits for a link that is gone.
    pub(super) fn forget(&mut self, pipe: Pipe) {
        if !self.turns.is_empty() {
            self.turns.retain(|(waiting, _)| *waiting != pipe);
            for side in [Side::Dialer, Side::Acceptor] {
                self.waiting.remove(&(pipe, side));
            }
        }
    }

    fn serve(&mut self, now: Time, packet: &Cargo) -> Time {
        let micros = (packet.len() + HEADER).saturating_mul(1_000_000) / self.rate;
        self.free = self.free.max(now) + Duration::from_micros(micros);
        self.free
    }

    fn turn(&mut self) -> Option<Cargo> {
        let flow = self.turns.pop_front()?;
        let [control, bulk] = self.waiting.get_mut(&flow)?;
        let packet = control.pop_front().or_else(|| bulk.pop_front());
        if control.is_empty() && bulk.is_empty() {
            self.waiting.remove(&flow);
        } else {
            self.turns.push_back(flow);
        }
        packet
    }
}

impl Cargo {
    fn len(&self) -> u64 {
        match self {
            Cargo::Packet(packet) => packet.len(),
            #[cfg(feature = "quic")]
            Cargo::Raw(raw) => raw.len(),
        }
    }

    fn flow(&self) -> (Pipe, Side) {
        match self {
            Cargo::Packet(packet) => (packet.pipe, packet.side),
            #[cfg(feature = "quic")]
            Cargo::Raw(_) => (Pipe::NONE, Side::Dialer),
        }
    }

    fn lane(&self) -> usize {
        match self {
            Cargo::Packet(packet) => packet.lane(),
            #[cfg(feature = "quic")]
            Cargo::Raw(_) => 0,
        }
    }
}
