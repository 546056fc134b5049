//! A host's clocks, which are not the world's.

use scp2p_proto::time::{Now, Time, UnixTime};

use crate::scenario;

/// The wall clock of a host without offset when the world starts.
const START_UNIX: i128 = 1_760_000_000;
const MILLION: i128 = 1_000_000;

/// A host's clocks.
#[derive(Debug)]
pub(super) struct Clock {
    drift_ppm: i128,
    offset_secs: i128,
}

impl Clock {
    pub(super) fn new(model: &scenario::Clock) -> Clock {
        Clock {
            drift_ppm: i128::from(model.drift_ppm.max(-500_000)),
            offset_secs: i128::from(model.offset_secs),
        }
    }

    /// Sets the wall clock by so many seconds.
    pub(super) fn step(&mut self, secs: i64) {
        self.offset_secs += i128::from(secs);
    }

    /// What they show.
    pub(super) fn now(&self, world: Time) -> Now {
        let mono = self.mono(world);
        let unix = START_UNIX + self.offset_secs + i128::from(mono.0) / MILLION;
        Now {
            mono,
            unix: UnixTime(u64::try_from(unix).unwrap_or(0)),
        }
    }

    /// The first time of the world at which the monotonic clock shows this.
    pub(super) fn world(&self, mono: Time) -> Time {
        let scaled = i128::from(mono.0) * MILLION;
        let rate = MILLION + self.drift_ppm;
        let world = (scaled + rate - 1).div_euclid(rate);
        Time(u64::try_from(world).unwrap_or(u64::MAX))
    }

    fn mono(&self, world: Time) -> Time {
        let mono = i128::from(world.0) * (MILLION + self.drift_ppm) / MILLION;
        Time(u64::try_from(mono).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // A host that is woken when the world says so finds its deadline reached, and not a microsecond before.
        #[test]
        fn a_deadline_is_reached_exactly(at in 0..1_u64 << 50, drift_ppm in -400_000..400_000) {
            let clock = Clock::new(&scenario::Clock { drift_ppm, ..Default::default() });
            let world = clock.world(Time(at));
            prop_assert!(clock.now(world).mono >= Time(at));
            if world.0 > 0 {
                prop_assert!(clock.now(Time(world.0 - 1)).mono < Time(at));
            }
        }
    }
}
