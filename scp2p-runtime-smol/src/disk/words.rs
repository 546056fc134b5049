//! Texts as the words that are searched for.

use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, RawTokenizer, TextAnalyzer, TokenStream};

/// Longer words are cut, in the index and in queries alike.
const WORD_CHARS_MAX: usize = 64;

/// Splits texts into words, without regard to letter case, accents, width and composition.
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
        let folding = TextAnalyzer::builder(RawTokenizer::default())
            .filter(AsciiFoldingFilter)
            .filter(LowerCaser);
        Words {
            folding: folding.build(),
        }
    }

    /// The words of a text: runs of letters and digits. Scripts that are
    /// written without spaces give a word per character.
    pub(super) fn split(&mut self, text: &str) -> Vec<Word> {
        let mut words = Vec::new();
        let mut run = String::new();
        for char in compose(text) {
            if !char.is_alphanumeric() || is_unspaced(char) {
                self.end_run(&mut run, &mut words);
            }
            if is_unspaced(char) {
                words.push(Word {
                    whole: char.to_string(),
                    parts: Vec::new(),
                });
            } else if char.is_alphanumeric() {
                run.push(char);
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
        let mut stream = self.folding.token_stream(word);
        let folded = if stream.advance() {
            stream.token().text.as_str()
        } else {
            ""
        };
        folded
            .chars()
            .map(without_accent)
            .take(WORD_CHARS_MAX)
            .collect()
    }
}

/// Characters with the marks that follow them: accents are dropped, kana and Hangul composed.
fn compose(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text
        .chars()
        .filter(|char| !matches!(char, '\u{300}'..='\u{36f}'))
        .peekable();
    std::iter::from_fn(move || {
        let mut char = rest.next()?;
        while let Some(both) = rest.peek().and_then(|next| pair(char, *next)) {
            char = both;
            rest.next();
        }
        Some(char)
    })
}

/// The character that two others make up.
fn pair(first: char, second: char) -> Option<char> {
    let (a, b) = (u32::from(first), u32::from(second));
    let both = match (a, b) {
        (0x3046 | 0x30a6, 0x3099) => a + 0x4e,
        (0x304b..=0x307b | 0x30ab..=0x30db, 0x3099) => a + 1,
        (0x306f..=0x307b | 0x30cf..=0x30db, 0x309a) => a + 2,
        (0x1100..=0x1112, 0x1161..=0x1175) => 0xac00 + ((a - 0x1100) * 21 + (b - 0x1161)) * 28,
        (0xac00..=0xd7a3, 0x11a8..=0x11c2) if (a - 0xac00) % 28 == 0 => a + (b - 0x11a7),
        _ => return None,
    };
    char::from_u32(both)
}

/// Accented letters that are not Latin.
fn without_accent(char: char) -> char {
    match char {
        'ά' => 'α',
        'έ' => 'ε',
        'ή' => 'η',
        'ί' | 'ϊ' | 'ΐ' => 'ι',
        'ό' => 'ο',
        'ύ' | 'ϋ' | 'ΰ' => 'υ',
        'ώ' => 'ω',
        'ς' => 'σ',
        'ё' => 'е',
        'й' => 'и',
        other => other,
    }
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
            (" ../ \u{202e}*", ""),
        ];
        for (text, expected) in &mut cases {
            assert_eq!(words.indexed(text), *expected, "{text}");
        }
        assert_eq!(words.indexed(&"x".repeat(100)).len(), WORD_CHARS_MAX);
    }
}
