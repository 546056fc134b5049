//! Amounts as people read them. What is rounded is rounded down, so that 100 % are all.

/// Bytes in binary units.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{} {unit}", tenths_text(tenths))
}

/// Milliseconds in the largest unit of which there is at least one.
pub(super) fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{} s", tenths_text(u128::from(ms / 100))),
        60_000..3_600_000 => format!("{} min", tenths_text(u128::from(ms / 6000))),
        3_600_000..86_400_000 => format!("{} h", tenths_text(u128::from(ms / 360_000))),
        86_400_000.. => format!("{} d", tenths_text(u128::from(ms / 8_640_000))),
    }
}

/// A part of a whole in percent; of nothing there is no part.
pub(super) fn percent(part: u64, whole: u64) -> Option<String> {
    let hundredths = (u128::from(part) * 10_000).checked_div(u128::from(whole))?;
    Some(match (hundredths / 100, hundredths % 100) {
        (percent, 0) => format!("{percent} %"),
        (percent, rest) => format!("{percent}.{rest:02} %"),
    })
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 host`, `2 hosts`.
pub(super) fn count(of: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(of), if of == 1 { one } else { many })
}

fn tenths_text(tenths: u128) -> String {
    match (tenths / 10, tenths % 10) {
        (whole, 0) => whole.to_string(),
        (whole, _) if whole >= 100 => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_never_more_than_there_is() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1023 KiB");
        assert_eq!(bytes(u64::MAX), "15.9 EiB");
        assert_eq!(millis(999), "999 ms");
        assert_eq!(millis(59_999), "59.9 s");
        assert_eq!(millis(90_000), "1.5 min");
        assert_eq!(millis(7_200_000), "2 h");
        assert_eq!(millis(u64::MAX), "213503982334 d");
        assert_eq!(percent(9999, 10_000).as_deref(), Some("99.99 %"));
        assert_eq!(percent(999_999, 1_000_000).as_deref(), Some("99.99 %"));
        assert_eq!(percent(3, 3).as_deref(), Some("100 %"));
        assert_eq!(percent(0, 0), None);
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(number(123), "123");
        assert_eq!(count(1, "host", "hosts"), "1 host");
    }
}
