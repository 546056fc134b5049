//! Untrusted text made fit to be shown on a terminal.

use core::fmt::Write;

use alloc::borrow::Cow;
use alloc::string::String;

/// The text with every character that could steer a terminal, reorder what is read or hide
/// something written as `\u{..}` instead: control characters (line ends included), bidirectional
/// controls, invisible format characters, line and paragraph separators. Joiners stay where
/// they join: emoji and Persian are written with them.
pub fn printable(text: &str) -> Cow<'_, str> {
    if hidden(text).next().is_none() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = 0;
    for (at, c) in hidden(text) {
        shown.push_str(&text[rest..at]);
        // Writing into a String cannot fail.
        let _ = write!(shown, "{}", c.escape_unicode());
        rest = at + c.len_utf8();
    }
    shown.push_str(&text[rest..]);
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

/// The characters of a text, with their places, that are not printed as they are, in order.
pub(crate) fn hidden(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut before = None;
    let mut rest = text.char_indices().peekable();
    core::iter::from_fn(move || {
        loop {
            let (at, c) = rest.next()?;
            let after = rest.peek().map(|(_, after)| *after);
            let is_harmless = match is_joiner(c) {
                true => is_joined(before, after),
                false => is_visible(c),
            };
            before = Some(c);
            if !is_harmless {
                return Some((at, c));
            }
        }
    })
}

/// Control characters: C0, DEL and C1.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
}

/// The zero-width joiner and non-joiner.
pub(crate) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether a joiner between these characters may do something to how they look. It never
/// does at an end of the text, beside another one, or between two characters of ASCII.
fn is_joined(before: Option<char>, after: Option<char>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            is_visible(before) && is_visible(after) && !(before.is_ascii() && after.is_ascii())
        }
        _ => false,
    }
}

fn is_visible(c: char) -> bool {
    !is_control(c) && !is_invisible(c)
}

/// Characters that are not seen themselves but change or hide what is: bidirectional controls,
/// joiners, zero-width and other format characters, fillers, tags, line separators. Variation selectors
/// of the basic plane are not among them, emoji are written with them.
fn is_invisible(c: char) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmless_text_is_left_alone() {
        for text in [
            "",
            "plain name.txt",
            "Grüße, 世界 ❤\u{fe0f} \\ 'x'",
            "👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}\u{200d}🔥 می\u{200c}خواهم DVD\u{200c}ها",
        ] {
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
    fn a_joiner_that_joins_nothing_is_spelled_out() {
        for (text, shown) in [
            ("é\u{200d}", "é\\u{200d}"),
            ("\u{200c}é", "\\u{200c}é"),
            ("a\u{200d}b", "a\\u{200d}b"),
            ("é\u{200d}\u{200c}é", "é\\u{200d}\\u{200c}é"),
            ("é\u{200d}\u{202e}", "é\\u{200d}\\u{202e}"),
        ] {
            assert_eq!(printable(text), shown);
        }
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
            prop_assert_eq!(hidden(&shown).next(), None);
            prop_assert!(shown.chars().all(|c| is_visible(c) || is_joiner(c)));
            prop_assert_eq!(printable(&shown), &*shown);
            prop_assert!(shown.len() <= chars_max * 10 + 3);
        }
    }
}
