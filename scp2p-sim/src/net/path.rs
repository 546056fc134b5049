//! What happens to a datagram between two hosts, edges aside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scp2p_proto::rng::Rng;
use scp2p_proto::time::Time;

use crate::id::HostId;
use crate::scenario;

/// Bursts of loss that are remembered; beyond it those that are over are forgotten.
const BURSTS_MAX: usize = 4096;
/// From a host to itself.
const LOOPBACK: Duration = Duration::from_micros(20);

/// The ways between hosts.
#[derive(Debug)]
pub(super) struct Paths {
    model: scenario::Network,
    key: [u8; 32],
    dice: Dice,
    blocked: BTreeSet<(HostId, HostId)>,
    bursts: BTreeMap<(HostId, HostId), Time>,
}

/// What becomes of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does not come.
    Lost,
    /// It comes later than the latency alone makes it.
    Late(Duration),
    /// It comes twice.
    Twice(Duration, Duration),
}

impl Paths {
    pub(super) fn new(model: scenario::Network, mut rng: Rng) -> Paths {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Paths {
            model,
            key,
            dice: Dice::new(rng),
            blocked: BTreeSet::new(),
            bursts: BTreeMap::new(),
        }
    }

    pub(super) fn model_mut(&mut self) -> &mut scenario::Network {
        &mut self.model
    }

    pub(super) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// One way between two hosts, whichever is asked first: a function of the pair and the seed.
    pub(super) fn latency(&self, a: HostId, b: HostId) -> Duration {
        if a == b {
            return LOOPBACK;
        }
        let label = format!("latency {} {}", a.0.min(b.0), a.0.max(b.0));
        let [least, most] = self.model.latency;
        let range = most.0.saturating_sub(least.0).saturating_add(1);
        let drawn = Rng::new(&self.key, &label).below(range);
        Duration::from_micros(least.0.saturating_add(drawn))
    }

    /// Lets nothing pass from one host to the other.
    pub(super) fn block(&mut self, from: HostId, to: HostId) {
        self.blocked.insert((from, to));
    }

    /// Lets everything pass between this host and any other.
    pub(super) fn unblock(&mut self, host: HostId) {
        self.blocked
            .retain(|(from, to)| *from != host && *to != host);
    }

    pub(super) fn is_blocked(&self, from: HostId, to: HostId) -> bool {
        !self.blocked.is_empty() && self.blocked.contains(&(from, to))
    }

    /// Decides about a datagram that leaves now.
    pub(super) fn fate(&mut self, now: Time, from: HostId, to: HostId) -> Fate {
        if from == to {
            return Fate::Late(Duration::ZERO);
        }
        if self.in_burst(now, from, to) || self.dice.chance(self.model.loss_ppm) {
            return Fate::Lost;
        }
        let jitter = self.model.jitter.0;
        let most = if self.dice.chance(self.model.reorder_ppm) {
            jitter.saturating_mul(10)
        } else {
            jitter
        };
        let late = Duration::from_micros(self.dice.below(most.saturating_add(1)));
        if self.dice.chance(self.model.duplicate_ppm) {
            let again = Duration::from_micros(self.dice.below(jitter.saturating_add(1)));
            return Fate::Twice(late, late + again);
        }
        Fate::Late(late)
    }

    fn in_burst(&mut self, now: Time, from: HostId, to: HostId) -> bool {
        if self.model.burst_ppm == 0 {
            return false;
        }
        let pair = (from.min(to), from.max(to));
        if self.bursts.get(&pair).is_some_and(|until| now < *until) {
            return true;
        }
        let begins = self.dice.chance(self.model.burst_ppm);
        if begins {
            if self.bursts.len() >= BURSTS_MAX {
                self.bursts.retain(|_, until| now < *until);
            }
            self.bursts.insert(pair, now + self.model.burst.duration());
        }
        begins
    }
}

/// Random numbers taken from the stream many at a time: one costs a hash, 64 hardly more.
#[derive(Debug)]
pub(super) struct Dice {
    rng: Rng,
    drawn: [u8; Dice::DRAWN],
    used: usize,
}

impl Dice {
    const DRAWN: usize = 512;

    fn new(rng: Rng) -> Dice {
        Dice {
            rng,
            drawn: [0; Dice::DRAWN],
            used: Dice::DRAWN,
        }
    }

    fn u64(&mut self) -> u64 {
        if self.used == Dice::DRAWN {
            self.rng.fill(&mut self.drawn);
            self.used = 0;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.drawn[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }

    /// A number below `n`, 0 for an `n` of 0.
    fn below(&mut self, n: u64) -> u64 {
        if n <= 1 {
            return 0;
        }
        // The high half of the product: for spans of time the bias is far below what matters.
        ((u128::from(self.u64()) * u128::from(n)) >> 64) as u64
    }

    /// True so many times in a million; costs no number if never.
    fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// A secret that two ends share.
    pub(super) fn exporter(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.rng.fill(&mut bytes);
        bytes
    }
}
