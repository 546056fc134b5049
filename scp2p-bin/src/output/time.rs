//! Times as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;

/// Seconds since 1970, now.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The time of day in UTC, `hh:mm:ss`.
pub fn clock(unix: u64) -> String {
    let secs = unix % DAY;
    format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

/// The day in UTC, `yyyy-mm-dd`. Years beyond 9999 are not told.
pub fn date(unix: u64) -> String {
    const YEAR_9999_END: u64 = 253_402_300_799;
    if unix > YEAR_9999_END {
        return "after 9999".to_owned();
    }
    // Days are counted from 1 March of the year 0, so that leap days end a year of 400-year eras.
    let days = unix / DAY + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// How long ago, roughly.
pub fn ago(unix: u64, now: u64) -> String {
    match now.saturating_sub(unix) {
        0..=1 => "now".to_owned(),
        secs => format!("{} ago", span(secs)),
    }
}

/// How many seconds, roughly.
pub fn span(secs: u64) -> String {
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        7200..=172_799 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"),
            (u64::MAX, "after 9999"),
        ] {
            assert_eq!(date(unix), text, "{unix}");
        }
        assert_eq!(clock(86_399), "23:59:59");
    }

    #[test]
    fn the_future_is_now() {
        assert_eq!(ago(100, 50), "now");
        assert_eq!(ago(0, 119), "119 s ago");
        assert_eq!(ago(0, 7200), "2 h ago");
    }
}
