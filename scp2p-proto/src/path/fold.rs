//! Folding of names that some file system takes for the same.

use alloc::string::String;

use unicode_normalization::UnicodeNormalization;

use crate::escape::is_joiner;

/// Fold letter case, composition, compatibility forms (full width, ligatures, superscripts), joiners and
/// variation selectors of a path, component by component: coarser than any one file system.
pub(super) fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(path.len());
    for (at, name) in path.split('/').enumerate() {
        if at > 0 {
            folded.push('/');
        }
        fold_name(name, &mut folded);
    }
    folded
}

/// Decomposed first, as one letter with its marks may be written in several orders, and composed last,
/// as the case of some letters has marks of its own.
fn fold_name(name: &str, folded: &mut String) {
    let seen = name
        .nfkd()
        .filter(|c| !is_joiner(*c) && !is_variation_selector(*c));
    folded.extend(seen.flat_map(fold_case).nfkc().map(without_solidus));
}

/// Small, capital, small again: several small letters share a capital, as the two sigmas do, and `ẞ` is its own.
fn fold_case(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

/// A compatibility form may contain a solidus, as `℀` does; it separates nothing.
fn without_solidus(c: char) -> char {
    match c {
        '/' => '\u{ff0f}',
        _ => c,
    }
}

fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn same(left: &str, right: &str) -> bool {
        fold(left) == fold(right)
    }

    #[test]
    fn case_makes_no_difference() {
        assert!(same("README.TXT", "ReadMe.txt"));
        assert!(same("ÄÖÜ ÉCOLE Ж 𐐀", "äöü école ж 𐐨"));
        assert!(same("ΟΔΟΣ", "οδος") && same("οδοσ", "οδος"));
        assert!(same("\u{212a}", "k") && same("ſ", "S"));
        assert!(same("straße", "STRASSE") && same("STRAẞE", "strasse"));
    }

    #[test]
    fn no_letter_differs_from_its_capital_or_its_small_form() {
        for c in '\0'..=char::MAX {
            let (lower, upper) = (c.to_lowercase(), c.to_uppercase());
            let c = c.to_string();
            assert!(
                same(&c, &lower.to_string()) && same(&c, &upper.to_string()),
                "{c}"
            );
        }
    }

    #[test]
    fn composition_makes_no_difference() {
        assert!(same("é", "e\u{301}") && same("É", "e\u{301}"));
        assert!(same("ǖ", "u\u{308}\u{304}") && same("\u{212b}", "a\u{30a}"));
        assert!(
            same("ệ", "e\u{302}\u{323}") && same("ệ", "e\u{323}\u{302}") && same("ệ", "ẹ\u{302}")
        );
        assert!(same("각", "\u{1100}\u{1161}\u{11a8}") && same("가", "\u{1100}\u{1161}"));
        assert!(same("が", "か\u{3099}") && same("й", "и\u{306}"));
        assert!(same("\u{fa30}", "侮") && same("𑂚", "\u{11099}\u{110ba}"));
    }

    #[test]
    fn width_and_other_compatibility_forms_make_no_difference() {
        assert!(same("\u{ff21}\u{ff42}\u{ff11}", "ab1") && same("ｶﾞ", "ガ"));
        assert!(same("ﬁle²", "file2"));
    }

    #[test]
    fn what_is_not_seen_makes_no_difference() {
        assert!(same("❤\u{fe0f}", "❤"));
        assert!(same("می\u{200c}خواهم", "میخواهم") && same("👨\u{200d}👩", "👨👩"));
    }

    #[test]
    fn other_differences_stay() {
        for (left, right) in [
            ("resume", "résumé"),
            ("a", "b"),
            ("か", "が"),
            ("가", "각"),
            ("e\u{301}", "e\u{300}"),
            ("l1", "ll"),
            ("a\u{ff0f}b", "a/b"),
            ("℀", "a/c"),
        ] {
            assert!(!same(left, right), "{left} {right}");
        }
    }

    proptest! {
        // Folding again changes nothing, so that two names with a common third fold alike.
        #[test]
        fn what_is_folded_stays(text in any::<String>()) {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        // A folded path has the components that it had: nothing in a name comes to separate.
        #[test]
        fn folding_keeps_the_components(text in any::<String>()) {
            prop_assert_eq!(fold(&text).split('/').count(), text.split('/').count());
        }

        // However a name is normalized, it folds to the same.
        #[test]
        fn normal_forms_fold_alike(text in any::<String>()) {
            let forms: [String; 4] =
                [text.nfc().collect(), text.nfd().collect(), text.nfkc().collect(), text.nfkd().collect()];
            let folded = fold(&text);
            for form in forms.iter().filter(|form| form.matches('/').count() == text.matches('/').count()) {
                prop_assert_eq!(&fold(form), &folded);
            }
        }
    }
}
