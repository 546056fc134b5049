//! Untrusted text made fit to be shown on a terminal.

use core::fmt::Write;

use alloc::borrow::Cow;
use alloc::string::String;

/// The text with every character that could steer a terminal, reorder what is read or hide
/// something written as `\u{..}` instead: control characters (line ends included), bidirectional
/// controls, invisible format characters, line and paragraph separators.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut shown, c));
    Cow::Owned(shown)
}

/// As [`printable`], of at most the first `chars_max` characters of the text; `…` stands for the rest.
pub fn printable_start(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => printable(text),
        Some((cut, _)) => {
            let mut shown = printable(&text[..cut]).into_owned();
            shown.push('…');
            Cow::Owned(shown)
        }
    }
}

/// Control characters: C0, DEL and C1.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
}

/// Characters that are not seen themselves but change or hide what is: bidirectional controls,
/// joiners, zero-width and other format characters, fillers, tags, line separators. Variation selectors
/// of the basic plane are not among them, emoji are written with them.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn is_unprintable(c: char) -> bool {
    is_control(c) || is_invisible(c)
}

fn push(shown: &mut String, c: char) {
    if is_unprintable(c) {
        // Writing into a String cannot fail.
        let _ = write!(shown, "{}", c.escape_unicode());
    } else {
        shown.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmless_text_is_left_alone() {
        for text in ["", "plain name.txt", "Grüße, 世界 ❤\u{fe0f} \\ 'x'"] {
            assert!(matches!(printable(text), Cow::Borrowed(shown) if shown == text));
        }
    }

    #[test]
    fn what_steers_or_hides_is_spelled_out() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(printable("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(
            printable("\u{9b}x\u{7f}\u{2028}\u{200d}"),
            "\\u{9b}x\\u{7f}\\u{2028}\\u{200d}"
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(printable_start("äöü", 3), "äöü");
        assert_eq!(printable_start("äöü", 2), "äö…");
        assert_eq!(printable_start("\u{7}x", 0), "…");
        assert_eq!(printable_start("\u{7}x", 1), "\\u{7}…");
    }

    proptest! {
        // Whatever the text, nothing that steers a terminal is left, and showing it twice changes nothing.
        #[test]
        fn nothing_dangerous_is_left(text in any::<String>(), chars_max in 0usize..40) {
            let shown = printable_start(&text, chars_max);
            prop_assert!(shown.chars().all(|c| !is_unprintable(c)));
            prop_assert_eq!(printable(&shown), &*shown);
            prop_assert!(shown.len() <= chars_max * 10 + 3);
        }
    }
}
