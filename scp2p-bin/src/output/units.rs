//! Amounts as people read them.

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in binary units, with three digits that count.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    // From 999.5 on three digits would be rounded to four.
    while amount >= 999.5 {
        let Some(next) = units.next() else { break };
        amount /= 1024.0;
        unit = Some(next);
    }
    let digits = if amount < 9.995 {
        2
    } else if amount < 99.95 {
        1
    } else {
        0
    };
    format!("{amount:.digits$} {}", unit.unwrap_or(&"B"))
}

/// Bytes per second.
pub fn rate(bytes: u64) -> String {
    format!("{}/s", size(bytes))
}

/// A number of things: `1 item`, `2 items`.
pub fn count(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10 * 1024, "10.0 KiB"),
            (100 * 1024 + 512, "100 KiB"),
            (1_023_000, "999 KiB"),
            (1024 * 1024 - 1, "1.00 MiB"),
            (5 << 30, "5.00 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
