//! A host's line to the network, in one direction.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use scp2p_proto::time::Time;

use super::link::{Packet, Pipe, Side};

/// What a packet costs beside its bytes.
const HEADER: u64 = 64;
/// Lines that are busy for less count as free: the packet then costs no event of its own.
const SLACK: Duration = Duration::from_millis(6);

/// Packets that share a line: flows take turns, and within a flow the control lane goes first.
#[derive(Debug)]
pub(super) struct Queue {
    rate: u64,
    free: Time,
    serving: Option<Box<Packet>>,
    turns: VecDeque<(Pipe, Side)>,
    waiting: BTreeMap<(Pipe, Side), [VecDeque<Box<Packet>>; 2]>,
}

/// What a line does with a packet.
#[derive(Debug)]
pub(super) enum Pass {
    /// It is through then.
    Through(Box<Packet>, Time),
    /// The line wants to be asked then.
    Busy(Time),
    /// It waits for its turn.
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
        }
    }

    /// Takes a packet.
    pub(super) fn offer(&mut self, now: Time, packet: Box<Packet>) -> Pass {
        if self.serving.is_some() {
            let flow = (packet.pipe, packet.side);
            let lane = packet.lane();
            let waiting = self.waiting.entry(flow).or_insert_with(|| {
                self.turns.push_back(flow);
                Default::default()
            });
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
    pub(super) fn next(&mut self, now: Time) -> (Option<Box<Packet>>, Option<Time>) {
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

    fn serve(&mut self, now: Time, packet: &Packet) -> Time {
        let micros = (packet.len() + HEADER).saturating_mul(1_000_000) / self.rate;
        self.free = self.free.max(now) + Duration::from_micros(micros);
        self.free
    }

    fn turn(&mut self) -> Option<Box<Packet>> {
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
