//! How much is asked of one peer at a time.

use core::time::Duration;

use crate::limits::{CHUNK_LEN, CHUNK_REQUESTS_MAX};
use crate::time::Time;

/// What a request costs beside its chunk: tiny files are many requests.
const REQUEST_COST: u64 = 2048;
const CHUNK: u64 = CHUNK_LEN as u64;
const LEAST: u64 = 2 * CHUNK;
const MOST: u64 = 64 * CHUNK;
/// Less is asked for when more than this waits in queues on the way, more when it is less than half
/// of it. It keeps the way full between two looks at it, and is what a killed download fetches twice:
/// so it is a small part of what was delivered, within bounds.
const QUEUED_PART: u64 = 16;
const QUEUED_FIRST: u64 = 4 * CHUNK;
const QUEUED_MOST: u64 = 6 * CHUNK;
/// Latency that was measured longer ago is measured anew: the way may have changed.
const LATENCY_AGE: Duration = Duration::from_secs(10);
/// Latency is the smallest of this time, as any one chunk may have met a busy host.
const PROBE_TIME: Duration = Duration::from_millis(30);

/// A request is given up after so long at least, whatever the peer's rate was.
const PATIENCE_LEAST: Duration = Duration::from_secs(3);
/// And at most: two chunks at 2 KiB a second. Who is gone or silent is noticed in seconds by its session.
const PATIENCE_MOST: Duration = Duration::from_secs(300);

/// The first bytes came at once and tell no rate.
const RATE_TIME_MIN: Duration = Duration::from_millis(100);

/// What is under way at one peer, and how much may be. As in TCP Vegas, the limit follows what
/// waits in queues: the part of what is under way that the latency of the way does not explain. Chunks
/// count as delivered when they are on the disk.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Cost of what is under way.
    cost: u64,
    /// Cost of what may be under way.
    limit: u64,
    /// Nothing was ever queued, so the limit doubles with every round trip.
    is_new: bool,
    requests: u32,
    /// No more requests than this at a time.
    requests_max: u32,
    /// Cost of all that was delivered.
    delivered: u64,
    /// Cost delivered per second, lately; 0 before the first delivery.
    rate: u64,
    /// Requests not answered in time since something was delivered.
    overdue: u32,
    /// How long a chunk takes that waits for no other.
    latency: Duration,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The least is under way, so that what arrives tells the latency.
    Probing(Option<Probe>),
    /// The latency was measured then.
    Steady(Time),
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    since: Time,
    least: Duration,
}

/// A request as it was when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(super) at: Time,
    len: u32,
    delivered: u64,
    /// Cost of what was under way, itself included.
    under_way: u64,
}

impl Window {
    pub(super) fn new(deployed: bool) -> Window {
        Window {
            cost: 0,
            limit: LEAST,
            is_new: true,
            requests: 0,
            requests_max: if deployed { 4 } else { CHUNK_REQUESTS_MAX },
            delivered: 0,
            rate: 0,
            overdue: 0,
            latency: Duration::ZERO,
            phase: Phase::Probing(None),
        }
    }

    /// Whether one more request may be sent.
    pub(super) fn has_room(&self) -> bool {
        let limit = match self.phase {
            Phase::Probing(_) => LEAST,
            Phase::Steady(_) => self.limit,
        };
        self.cost < limit && self.requests < self.requests_max
    }

    /// A chunk of so many bytes is asked for.
    pub(super) fn send(&mut self, len: u32, now: Time) -> Sent {
        self.cost = self.cost.saturating_add(cost(len));
        self.requests = self.requests.saturating_add(1);
        Sent {
            at: now,
            len,
            delivered: self.delivered,
            under_way: self.cost,
        }
    }

    /// The chunk is written.
    pub(super) fn deliver(&mut self, sent: &Sent, now: Time) {
        self.delivered = self.delivered.saturating_add(cost(sent.len));
        self.overdue = 0;
        let took = now.since(sent.at).max(Duration::from_micros(1));
        // What was sent before the peer came again counted from another start.
        let since = self.delivered.saturating_sub(sent.delivered);
        let sample = since.saturating_mul(1_000_000) / micros(took);
        self.rate = if sample >= self.rate {
            sample
        } else {
            self.rate - self.rate / 16 + sample / 16
        };
        self.measure(sent, took, now);
        self.end(sent);
    }

    fn measure(&mut self, sent: &Sent, took: Duration, now: Time) {
        if self.latency == Duration::ZERO || took < self.latency {
            self.latency = took;
        }
        match self.phase {
            Phase::Probing(_) if sent.under_way > LEAST + CHUNK + REQUEST_COST => {}
            Phase::Probing(probe) => {
                let probe = Probe {
                    since: probe.map_or(sent.at, |probe| probe.since),
                    least: probe.map_or(took, |probe| probe.least.min(took)),
                };
                if now.since(probe.since) < PROBE_TIME {
                    self.phase = Phase::Probing(Some(probe));
                } else {
                    self.latency = probe.least;
                    self.phase = Phase::Steady(now);
                }
            }
            Phase::Steady(since) if now.since(since) > LATENCY_AGE => {
                self.phase = Phase::Probing(None);
            }
            Phase::Steady(_) => self.adapt(sent, took),
        }
    }

    /// Lets the limit follow what is queued.
    fn adapt(&mut self, sent: &Sent, took: Duration) {
        let waited = micros(took.saturating_sub(self.latency));
        let queued = self.cost.saturating_mul(waited) / micros(took);
        let part = |amount: u64| amount.saturating_mul(cost(sent.len)) / self.limit;
        let most = (self.delivered / QUEUED_PART).clamp(QUEUED_FIRST, QUEUED_MOST);
        self.is_new &= queued < most / 2;
        self.limit = if queued > most {
            self.limit.saturating_sub(part(queued - most))
        } else if queued < most / 2 && self.cost.saturating_mul(2) > self.limit {
            let step = if self.is_new { self.limit } else { CHUNK };
            self.limit.saturating_add(part(step))
        } else {
            self.limit
        }
        .clamp(LEAST, MOST);
    }

    /// The request ended without a chunk that was of use.
    pub(super) fn end(&mut self, sent: &Sent) {
        self.cost = self.cost.saturating_sub(cost(sent.len));
        self.requests = self.requests.saturating_sub(1);
    }

    /// The peer did not answer in time: less is asked of it.
    pub(super) fn slow_down(&mut self) {
        self.rate /= 2;
        self.overdue = self.overdue.saturating_add(1);
    }

    /// What the peer delivers per second, in units that compare peers.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// How long a request sent now will take: what is under way comes first.
    pub(super) fn expected(&self) -> Duration {
        if self.rate == 0 {
            return Duration::from_secs(2);
        }
        let micros = self.cost.saturating_add(CHUNK).saturating_mul(1_000_000) / self.rate;
        self.latency.saturating_add(Duration::from_micros(micros))
    }

    /// How long to wait for a request sent now: ever longer while nothing comes, as it may be on a slow way, where what
    /// was given up is sent all the same and in vain.
    pub(super) fn patience(&self) -> Duration {
        let times = 4_u32 << self.overdue.min(8);
        (self.expected().saturating_mul(times)).clamp(PATIENCE_LEAST, PATIENCE_MOST)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn cost(len: u32) -> u64 {
    u64::from(len) + REQUEST_COST
}

/// Bytes per second over the last seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    seconds: [u64; Meter::SPAN],
    last: u64,
    /// When the first bytes came.
    since: Option<Time>,
}

impl Meter {
    const SPAN: usize = 4;

    pub(super) fn add(&mut self, bytes: u64, now: Time) {
        self.advance(now);
        self.since.get_or_insert(now);
        if let Some(second) = self.seconds.first_mut() {
            *second = second.saturating_add(bytes);
        }
    }

    /// The mean over the span, or since the first bytes.
    pub(super) fn rate(&self, now: Time) -> u64 {
        let mut meter = self.clone();
        meter.advance(now);
        let past = meter.seconds.iter().skip(1);
        let part = now.0 % 1_000_000 / 1000;
        let lasts = now.since(self.since.unwrap_or(now)).max(RATE_TIME_MIN);
        let millis = ((Meter::SPAN as u64 - 1) * 1000 + part).min(micros(lasts) / 1000);
        let sum = past.fold(meter.seconds[0], |sum, second| sum.saturating_add(*second));
        sum.saturating_mul(1000) / millis
    }

    fn advance(&mut self, now: Time) {
        let second = now.0 / 1_000_000;
        let gone = second.saturating_sub(self.last).min(Meter::SPAN as u64);
        for _ in 0..gone {
            self.seconds.rotate_right(1);
            self.seconds[0] = 0;
        }
        self.last = self.last.max(second);
    }
}

#[cfg(any(test, feature = "check"))]
impl Window {
    /// `sent` is what is under way at the peer.
    pub(super) fn check<'a>(
        &self,
        sent: impl Iterator<Item = &'a Sent> + Clone,
        broken: &mut crate::check::Broken,
    ) {
        let requests = self.requests as usize;
        broken.at_most("requests counted at a peer", requests, sent.clone().count());
        broken.at_most(
            "requests to a peer",
            requests,
            self.requests_max as usize + 1,
        );
        let cost = sent.fold(0_u64, |sum, sent| sum.saturating_add(cost(sent.len)));
        broken.unless(self.cost <= cost, || {
            alloc::format!(
                "{} bytes are counted as asked of a peer, {cost} are",
                self.cost
            )
        });
        broken.unless(self.cost <= MOST + CHUNK + REQUEST_COST, || {
            alloc::format!("{} bytes are asked of a peer", self.cost)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;

    /// A peer that sends `per_second` bytes after a latency; how much is under way in the end.
    fn settled(latency: Duration, per_second: u64, len: u32) -> (u64, u64) {
        settled_after(Duration::ZERO, latency, per_second, len)
    }

    /// The same when the host is busy at first, and each chunk takes 20 ms more.
    fn settled_after(busy: Duration, latency: Duration, per_second: u64, len: u32) -> (u64, u64) {
        let mut window = Window::new(false);
        let mut way: VecDeque<(Sent, Time)> = VecDeque::new();
        let (mut now, mut free, mut received) = (Time(1), Time(1), 0);
        let end = Time(15_000_000);
        while now < end {
            while window.has_room() {
                let took = Duration::from_micros(u64::from(len) * 1_000_000 / per_second);
                let is_busy = now < Time(1) + busy;
                let more = Duration::from_millis(if is_busy { 20 } else { 0 });
                free = free.max(now + latency + more) + took;
                way.push_back((window.send(len, now), free));
            }
            let (sent, at) = way.pop_front().expect("a window has room for one request");
            now = now.max(at);
            window.deliver(&sent, now);
            received += u64::from(len);
        }
        (window.cost, received * 1_000_000 / now.0)
    }

    #[test]
    fn a_long_fat_way_is_filled() {
        let (under_way, rate) = settled(Duration::from_millis(50), 50_000_000, CHUNK_LEN);
        assert!(rate > 45_000_000, "{rate}");
        assert!(under_way <= MOST + 2 * CHUNK);
    }

    #[test]
    fn on_one_host_little_is_under_way() {
        let (under_way, rate) = settled(Duration::from_micros(100), 400_000_000, CHUNK_LEN);
        assert!(rate > 360_000_000, "{rate}");
        assert!(under_way <= 18 * (CHUNK + REQUEST_COST), "{under_way}");
    }

    /// What is under way is lost by a kill.
    #[test]
    fn little_is_under_way_before_much_came() {
        let mut window = Window::new(false);
        let mut way = VecDeque::new();
        let mut now = Time(1);
        for _ in 0..256 {
            while window.has_room() {
                way.push_back(window.send(CHUNK_LEN, now));
            }
            let most = (window.delivered / QUEUED_PART).max(QUEUED_FIRST);
            assert!(window.cost <= most + 2 * (CHUNK + REQUEST_COST));
            now = now + Duration::from_micros(600);
            let sent = way.pop_front().expect("a window has room for one request");
            window.deliver(&sent, now);
        }
    }

    #[test]
    fn a_busy_start_is_made_up_for() {
        let (busy, latency) = (Duration::from_secs(1), Duration::from_micros(100));
        let (under_way, rate) = settled_after(busy, latency, 400_000_000, CHUNK_LEN);
        assert!(rate > 340_000_000, "{rate}");
        assert!(under_way <= 18 * (CHUNK + REQUEST_COST), "{under_way}");
    }

    #[test]
    fn tiny_files_are_many_requests() {
        let mut window = Window::new(false);
        let mut requests = 0;
        while window.has_room() {
            window.send(1024, Time(1));
            requests += 1;
        }
        assert!((100..=CHUNK_REQUESTS_MAX).contains(&requests), "{requests}");
    }

    #[test]
    fn a_deployed_peer_is_asked_little() {
        for len in [1, CHUNK_LEN] {
            let mut window = Window::new(true);
            let sent: alloc::vec::Vec<Sent> =
                core::iter::from_fn(|| window.has_room().then(|| window.send(len, Time(1))))
                    .collect();
            assert_eq!(sent.len(), if len == 1 { 4 } else { 2 });
            window.end(&sent[0]);
            assert!(window.has_room());
        }
    }

    #[test]
    fn what_came_before_a_new_session_may_be_written_after_it() {
        let mut before = Window::new(false);
        for second in 1..9 {
            let sent = before.send(CHUNK_LEN, Time(second * 1_000_000));
            before.deliver(&sent, Time(second * 1_000_000 + 5));
        }
        let sent = before.send(CHUNK_LEN, Time(9_000_000));
        let mut after = Window::new(false);
        after.deliver(&sent, Time(10_000_000));
        assert_eq!((after.requests, after.cost), (0, 0));
        assert!(after.has_room());
    }

    #[test]
    fn patience_is_bounded() {
        let mut window = Window::new(false);
        let sent = window.send(1, Time(1));
        window.deliver(&sent, Time(60_000_000));
        assert_eq!(window.patience(), PATIENCE_MOST);
        let sent = window.send(CHUNK_LEN, Time(70_000_000));
        window.deliver(&sent, Time(70_000_100));
        assert_eq!(window.patience(), PATIENCE_LEAST);
    }

    #[test]
    fn patience_grows_while_nothing_comes() {
        let mut window = Window::new(false);
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            assert!(window.patience() > last);
            last = window.patience();
            window.slow_down();
        }
        for _ in 0..100 {
            window.slow_down();
        }
        assert_eq!(window.patience(), PATIENCE_MOST);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut meter = Meter::default();
        for second in 0..10 {
            meter.add(1000, Time(second * 1_000_000 + 999_000));
        }
        assert!((900..=1100).contains(&meter.rate(Time(9_999_000))));
        assert_eq!(meter.rate(Time(20_000_000)), 0);
        let mut meter = Meter::default();
        for tenth in 0..=5 {
            meter.add(100, Time(7_000_000 + tenth * 100_000));
        }
        assert_eq!(meter.rate(Time(7_500_000)), 1200);
    }
}
