//! A clock that goes on while the host sleeps.

use std::time::{Duration, Instant, SystemTime};

use scp2p_proto::time::{Now, Time, UnixTime};

/// Sleep shorter than this is not worth telling: no peer gives up so soon.
const ASLEEP_MIN: Duration = Duration::from_secs(5);

/// Tells the node's time, in microseconds since the clock was made, one second added: a deadline
/// may lie before the first moment.
#[derive(Debug)]
pub(crate) struct Clock {
    /// What the sleepless clock showed at the start.
    start: Duration,
    started: Instant,
    /// Time slept until the last moment that [`Self::moment`] told of.
    asleep: Duration,
}

/// One moment, on all clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// As the node knows it.
    pub(crate) now: Now,
    /// As timers and QUIC know it; it stops while the host sleeps.
    pub(crate) instant: Instant,
    /// Whether the host slept since the last moment.
    pub(crate) resumed: bool,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let started = Instant::now();
        Clock {
            start: sleepless(started),
            started,
            asleep: Duration::ZERO,
        }
    }

    /// This moment.
    pub(crate) fn moment(&mut self) -> Moment {
        let instant = Instant::now();
        self.moment_at(instant, sleepless(instant))
    }

    fn moment_at(&mut self, instant: Instant, sleepless: Duration) -> Moment {
        let passed = sleepless.saturating_sub(self.start);
        let awake = instant.saturating_duration_since(self.started);
        let asleep = passed.saturating_sub(awake);
        let resumed = asleep.saturating_sub(self.asleep) >= ASLEEP_MIN;
        if resumed {
            self.asleep = asleep;
        }
        let mono = Time::default() + Duration::from_secs(1) + passed.max(awake);
        Moment {
            now: Now {
                mono,
                unix: unix_time(),
            },
            instant,
            resumed,
        }
    }
}

impl Moment {
    /// When a timer must fire so that the node's time is then `time`, if the host stays awake.
    pub(crate) fn instant_of(&self, time: Time) -> Instant {
        self.instant + time.since(self.now.mono)
    }
}

/// Seconds since 1970; 0 for a clock set before.
fn unix_time() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

/// A clock that counts time asleep. Only differences mean something.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn sleepless(_instant: Instant) -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(secs, nanos)
}

/// Where there is no such clock the ordinary one must do, and sleep goes unnoticed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn sleepless(instant: Instant) -> Duration {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    instant.saturating_duration_since(*FIRST.get_or_init(Instant::now))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time asleep counts for the node, and waking up is told once.
    #[test]
    fn sleep_is_noticed_once() {
        let mut clock = Clock::start();
        let (start, started) = (clock.start, clock.started);
        let secs = Duration::from_secs;
        let before = clock.moment_at(started + secs(10), start + secs(10));
        assert!(!before.resumed);
        let after = clock.moment_at(started + secs(11), start + secs(3611));
        assert!(after.resumed);
        assert_eq!(after.now.mono.since(before.now.mono), secs(3601));
        let later = clock.moment_at(started + secs(12), start + secs(3612));
        assert!(!later.resumed);
        assert_eq!(
            later.instant_of(later.now.mono + secs(2)),
            started + secs(14)
        );
    }

    /// The node's time never goes back.
    #[test]
    fn time_goes_on() {
        let mut clock = Clock::start();
        let mut last = clock.moment().now.mono;
        for _ in 0..1000 {
            let next = clock.moment().now.mono;
            assert!(next >= last);
            last = next;
        }
    }
}
