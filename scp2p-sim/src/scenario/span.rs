//! Times and spans as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use scp2p_proto::time::Time;
use serde::{Deserialize, Serialize};

/// A span of virtual time in whole microseconds; as text `90s`, `1h 30m`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub u64);

impl Span {
    /// So many microseconds.
    pub const fn micros(micros: u64) -> Span {
        Span(micros)
    }

    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1000))
    }

    /// So many seconds.
    pub const fn secs(secs: u64) -> Span {
        Span(secs.saturating_mul(1_000_000))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// So long after the start of the world.
    pub const fn time(self) -> Time {
        Time(self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Span {
        Span(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.duration()).fmt(f)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl FromStr for Span {
    type Err = humantime::DurationError;
    fn from_str(text: &str) -> Result<Span, humantime::DurationError> {
        humantime::parse_duration(text).map(Span::from)
    }
}

impl TryFrom<String> for Span {
    type Error = humantime::DurationError;
    fn try_from(text: String) -> Result<Span, humantime::DurationError> {
        text.parse()
    }
}
