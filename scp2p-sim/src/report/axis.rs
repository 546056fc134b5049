//! Axes of plots: where a number is on them, and where their ticks are.

use super::amount;

/// Ticks of an axis, about.
const TICKS: f64 = 5.0;

/// An axis.
pub(super) struct Axis {
    /// What is along it.
    pub label: &'static str,
    /// In what it is counted.
    pub unit: Unit,
    /// From where.
    pub low: f64,
    /// To where; the axis ends at the next tick if it is [`Axis::rounded`].
    pub high: f64,
    /// Whether equal distances are equal factors. Then `low` is above zero.
    pub log: bool,
    /// Whether the ends are moved outwards to ticks.
    pub rounded: bool,
}

/// In what an axis is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things.
    Count,
    /// Hundredths.
    Percent,
    /// Microseconds.
    Time,
    /// Milliseconds.
    Millis,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    Rate,
}

impl Axis {
    /// An axis from zero up to a number.
    pub fn up_to(label: &'static str, unit: Unit, high: f64) -> Axis {
        Axis {
            label,
            unit,
            low: 0.0,
            high,
            log: false,
            rounded: true,
        }
    }

    /// An axis that is no longer than the run.
    pub fn time(high: f64) -> Axis {
        Axis {
            rounded: false,
            ..Axis::up_to("time", Unit::Time, high)
        }
    }

    /// An axis of percentages.
    pub fn percent(label: &'static str) -> Axis {
        Axis::up_to(label, Unit::Percent, 100.0)
    }

    /// An axis of milliseconds from one number to another, in equal factors.
    pub fn millis(label: &'static str, low: u64, high: u64) -> Axis {
        let low = low.max(1);
        Axis {
            label,
            unit: Unit::Millis,
            low: low as f64,
            high: high.max(low) as f64,
            log: true,
            rounded: true,
        }
    }

    /// The ticks, lowest first, and the axis with its ends where they are drawn.
    pub fn ticks(mut self) -> (Axis, Vec<f64>) {
        let mut ticks = if self.log {
            log_ticks(self.low, self.high)
        } else {
            self.high = self.high.max(self.low + self.unit.step(0.0));
            let step = self.unit.step((self.high - self.low) / TICKS);
            let first = libm::floor(self.low / step);
            let count = libm::ceil(self.high / step - first) as u32;
            (0..=count)
                .map(|at| (first + f64::from(at)) * step)
                .collect()
        };
        if self.rounded {
            self.low = ticks.first().copied().unwrap_or(self.low);
            self.high = ticks.last().copied().unwrap_or(self.high);
        }
        ticks.retain(|tick| (self.low..=self.high).contains(tick));
        (self, ticks)
    }

    /// How far along the axis a number is, from 0 to 1.
    pub fn part(&self, number: f64) -> f64 {
        let number = number.clamp(self.low, self.high);
        let part = if self.log {
            libm::log(number / self.low) / libm::log(self.high / self.low)
        } else {
            (number - self.low) / (self.high - self.low)
        };
        if part.is_finite() { part } else { 0.0 }
    }

    /// What is written at a tick.
    pub fn tick_text(&self, tick: f64, step: f64) -> String {
        let whole = tick as u64;
        match self.unit {
            Unit::Count => amount::number(whole),
            Unit::Percent => format!("{whole} %"),
            Unit::Time => time_text(whole, step as u64),
            Unit::Millis => amount::millis(whole),
            Unit::Bytes => amount::bytes(whole),
            Unit::Rate => format!("{}/s", amount::bytes(whole)),
        }
    }
}

impl Unit {
    /// The smallest round step that is not below a number.
    fn step(self, least: f64) -> f64 {
        const SECOND: f64 = 1e6;
        const MINUTE: f64 = 60.0 * SECOND;
        const HOUR: f64 = 60.0 * MINUTE;
        let small: &[f64] = match self {
            Unit::Time => &[
                SECOND,
                2.0 * SECOND,
                5.0 * SECOND,
                10.0 * SECOND,
                15.0 * SECOND,
                30.0 * SECOND,
                MINUTE,
                2.0 * MINUTE,
                5.0 * MINUTE,
                10.0 * MINUTE,
                15.0 * MINUTE,
                30.0 * MINUTE,
                HOUR,
                2.0 * HOUR,
                3.0 * HOUR,
                4.0 * HOUR,
                6.0 * HOUR,
                12.0 * HOUR,
            ],
            Unit::Count | Unit::Percent | Unit::Millis | Unit::Bytes | Unit::Rate => &[],
        };
        if let Some(step) = small.iter().find(|step| **step >= least) {
            return *step;
        }
        let (mut size, factor, steps): (f64, f64, &[f64]) = match self {
            Unit::Time => (24.0 * HOUR, 10.0, &[1.0, 2.0, 5.0]),
            Unit::Count | Unit::Percent | Unit::Millis => (1.0, 10.0, &[1.0, 2.0, 5.0]),
            Unit::Bytes | Unit::Rate => (
                1.0,
                1024.0,
                &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0],
            ),
        };
        loop {
            if let Some(step) = steps.iter().find(|step| **step * size >= least) {
                return step * size;
            }
            size *= factor;
        }
    }
}

/// Round times of factors of about ten, or, for a short axis, of about two.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    const S: f64 = 1000.0;
    const MIN: f64 = 60.0 * S;
    const H: f64 = 60.0 * MIN;
    const D: f64 = 24.0 * H;
    const FAR: [f64; 12] = [
        1.0,
        10.0,
        100.0,
        S,
        10.0 * S,
        MIN,
        10.0 * MIN,
        H,
        10.0 * H,
        4.0 * D,
        40.0 * D,
        400.0 * D,
    ];
    const NEAR: [f64; 27] = [
        1.0,
        2.0,
        5.0,
        10.0,
        20.0,
        50.0,
        100.0,
        200.0,
        500.0,
        S,
        2.0 * S,
        5.0 * S,
        10.0 * S,
        20.0 * S,
        MIN,
        2.0 * MIN,
        5.0 * MIN,
        10.0 * MIN,
        20.0 * MIN,
        H,
        2.0 * H,
        5.0 * H,
        10.0 * H,
        D,
        2.0 * D,
        5.0 * D,
        10.0 * D,
    ];
    let ticks: &[f64] = if high / low > 300.0 { &FAR } else { &NEAR };
    // An axis of no length shows nothing.
    let first = ticks.iter().rposition(|tick| *tick <= low).unwrap_or(0);
    let first = first.min(ticks.len() - 2);
    let last = ticks.iter().position(|tick| *tick >= high);
    let last = last.unwrap_or(ticks.len() - 1).max(first + 1);
    ticks.get(first..=last).unwrap_or(ticks).to_vec()
}

/// A time in the largest unit of which the step between two ticks is a multiple.
fn time_text(micros: u64, step: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
    ];
    if micros == 0 {
        return "0".to_owned();
    }
    let unit = UNITS.iter().find(|(unit, _)| step.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{} {name}", micros / unit),
        None => amount::millis(micros / 1000),
    }
}

/// How far ticks are apart.
pub(super) fn step_of(ticks: &[f64]) -> f64 {
    match ticks {
        [first, second, ..] => second - first,
        [] | [_] => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few_on_axes_of_any_length() {
        for unit in [
            Unit::Count,
            Unit::Percent,
            Unit::Time,
            Unit::Millis,
            Unit::Bytes,
            Unit::Rate,
        ] {
            let mut high = 0.0;
            while high < 1e19 {
                let (axis, ticks) = Axis::up_to("x", unit, high).ticks();
                assert!((2..=7).contains(&ticks.len()), "{unit:?} {high}: {ticks:?}");
                assert!(axis.low <= 0.0 && axis.high >= high);
                high = high * 1.37 + 1.0;
            }
        }
        let texts = |axis: Axis| -> Vec<String> {
            let (axis, ticks) = axis.ticks();
            ticks
                .iter()
                .map(|tick| axis.tick_text(*tick, step_of(&ticks)))
                .collect()
        };
        assert_eq!(
            texts(Axis::time(86.4e9)),
            ["0", "6 h", "12 h", "18 h", "24 h"]
        );
        assert_eq!(
            texts(Axis::time(4.5e9)),
            ["0", "15 min", "30 min", "45 min", "60 min", "75 min"]
        );
        assert_eq!(
            texts(Axis::up_to("x", Unit::Bytes, 3.0 * 1024.0 * 1024.0)),
            ["0 B", "1 MiB", "2 MiB", "3 MiB"]
        );
        assert_eq!(
            texts(Axis::millis("x", 30, 400)),
            ["20 ms", "50 ms", "100 ms", "200 ms", "500 ms"]
        );
        assert_eq!(
            texts(Axis::millis("x", 0, 7_000_000))[3..],
            ["1 s", "10 s", "1 min", "10 min", "1 h", "10 h"]
        );
        assert_eq!(texts(Axis::millis("x", 5, 5)), ["5 ms", "10 ms"]);
        assert!(texts(Axis::millis("x", u64::MAX, u64::MAX)).len() > 1);
    }
}
