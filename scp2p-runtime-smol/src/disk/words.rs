//! Texts as the words that are searched for.

use tantivy::tokenizer::{AsciiFoldingFilter, RawTokenizer, TextAnalyzer, TokenStream};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// Longer words are cut, in the index and in queries alike.
const WORD_CHARS_MAX: usize = 64;

/// Splits texts into words, without regard to letter case, accents, composition and compatibility forms.
pub(super) struct Words {
    folding: TextAnalyzer,
}

/// A word, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// All of it.
    pub(super) whole: String,
    /// Its parts where it changes between lower case, upper case and digits (`DayOff2024`); none if it does not.
    pub(super) parts: Vec<String>,
}

impl Words {
    /// A splitter; it keeps buffers.
    pub(super) fn new() -> Words {
        let folding = TextAnalyzer::builder(RawTokenizer::default()).filter(AsciiFoldingFilter);
        Words {
            folding: folding.build(),
        }
    }

    /// The words of a text: runs of letters and digits. Scripts that are
    /// written without spaces give a word per character.
    pub(super) fn split(&mut self, text: &str) -> Vec<Word> {
        let mut words = Vec::new();
        let mut run = String::new();
        let bare = text.nfkd().filter(|char| !is_passed_over(*char));
        for char in bare.nfc() {
            if is_unspaced(char) {
                self.end_run(&mut run, &mut words);
                words.push(Word {
                    whole: char.to_string(),
                    parts: Vec::new(),
                });
            } else if char.is_alphanumeric() || (is_combining_mark(char) && !run.is_empty()) {
                run.push(char);
            } else {
                self.end_run(&mut run, &mut words);
            }
        }
        self.end_run(&mut run, &mut words);
        words
    }

    /// The words of a text and their parts, separated by spaces, as they are indexed.
    pub(super) fn indexed(&mut self, text: &str) -> String {
        let words = self.split(text);
        let all: Vec<&str> = words
            .iter()
            .flat_map(|word| std::iter::once(&word.whole).chain(&word.parts))
            .map(String::as_str)
            .collect();
        all.join(" ")
    }

    fn end_run(&mut self, run: &mut String, words: &mut Vec<Word>) {
        if run.is_empty() {
            return;
        }
        let mut parts: Vec<String> = parts_of(run)
            .into_iter()
            .map(|part| self.fold(part))
            .collect();
        if parts.len() == 1 {
            parts.clear();
        }
        words.push(Word {
            whole: self.fold(run),
            parts,
        });
        run.clear();
    }

    fn fold(&mut self, word: &str) -> String {
        // In small letters first: the folding to ASCII does not know every capital.
        let small = without_case(word).collect::<String>();
        let mut stream = self.folding.token_stream(&small);
        let folded = if stream.advance() {
            stream.token().text.as_str()
        } else {
            ""
        };
        without_case(folded).take(WORD_CHARS_MAX).collect()
    }
}

/// The text in small letters, through the capital, which the two small sigmas share.
fn without_case(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

/// What makes no other word: joiners, variation selectors, accents, vowel points. Marks that belong
/// to the letter stay: nukta, voicing of kana, virama and the vowels of Indic scripts.
fn is_passed_over(char: char) -> bool {
    matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(canonical_combining_class(char), 1 | 10..=36 | 200..)
}

/// Whether this is of a script written without spaces: Han and kana.
fn is_unspaced(char: char) -> bool {
    matches!(char, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && char.is_alphanumeric()
}

/// A run cut where lower case turns into upper case, letters into digits or back, and
/// before the last of several capitals that start a word (`HTMLPage`).
fn parts_of(run: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = run.char_indices().collect();
    let mut parts = Vec::new();
    let mut start = 0;
    for (index, window) in chars.windows(2).enumerate() {
        let [(_, before), (at, char)] = *window else {
            continue;
        };
        let next = chars.get(index + 2).map(|(_, next)| *next);
        let cut = before.is_numeric() != char.is_numeric()
            || (before.is_lowercase() && char.is_uppercase())
            || (before.is_uppercase()
                && char.is_uppercase()
                && next.is_some_and(char::is_lowercase));
        if cut {
            parts.push(&run[start..at]);
            start = at;
        }
    }
    parts.push(&run[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wholes(words: &mut Words, text: &str) -> Vec<String> {
        let words = words.split(text).into_iter();
        words.map(|word| word.whole).collect()
    }

    #[test]
    fn words_are_folded_and_cut() {
        let mut words = Words::new();
        let mut cases = [
            ("Holiday_2024-07.JPG", "holiday 2024 07 jpg"),
            ("DayOff2024", "dayoff2024 day off 2024"),
            ("HTMLPage", "htmlpage html page"),
            (
                "Crème BRÛLÉE ﬁnal Ｗｉｄｅ straße",
                "creme brulee final wide strasse",
            ),
            ("cafe\u{301} и\u{306} Ёж", "cafe и еж"),
            ("日本カ\u{3099}イド", "日 本 ガ イ ド"),
            ("\u{1112}\u{1161}\u{11ab}글", "한글"),
            ("Ά\u{3b1}\u{301}ς", "αασ"),
            ("ΟΔΟΣ οδος", "οδοσ οδοσ"),
            ("x² ｶﾞ ㎏ ½", "x2 x 2 ガ kg 1 2"),
            ("می\u{200c}خواهم مُحَمَّد שָׁלוֹם", "میخواهم محمد שלום"),
            ("हिन्दी क़लम", "हिन्दी क़लम"),
            ("ไทย ❤\u{fe0f}", "ไทย"),
            (" ../ \u{202e}*", ""),
        ];
        for (text, expected) in &mut cases {
            assert_eq!(words.indexed(text), *expected, "{text}");
        }
        assert_eq!(words.indexed(&"x".repeat(100)).len(), WORD_CHARS_MAX);
    }

    #[test]
    fn the_words_of_every_letter_are_folded_once_and_for_all() {
        let mut words = Words::new();
        for char in '\0'..=char::MAX {
            let once = wholes(&mut words, &char.to_string());
            assert_eq!(wholes(&mut words, &once.join(" ")), once, "{char:?}");
            let small: String = char.to_lowercase().collect();
            assert_eq!(wholes(&mut words, &small), once, "{char:?}");
        }
    }

    proptest! {
        // However a text is normalized, it has the same words.
        #[test]
        fn forms_of_a_text_have_the_same_words(text in any::<String>()) {
            let mut words = Words::new();
            let expected = wholes(&mut words, &text);
            let forms: [String; 4] =
                [text.nfc().collect(), text.nfd().collect(), text.nfkc().collect(), text.nfkd().collect()];
            for form in forms {
                prop_assert_eq!(wholes(&mut words, &form), expected.clone());
            }
            prop_assert_eq!(wholes(&mut words, &expected.join(" ")), expected);
        }
    }
}
