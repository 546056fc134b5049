//! Text in HTML, and a check that tags are closed where they must be.

use std::borrow::Cow;

/// The text with everything that means something in HTML or could reorder what is read escaped;
/// for element content and for attribute values in quotes.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(char),
            char if is_special(char) => escaped.extend(char.escape_unicode()),
            char => escaped.push(char),
        }
    }
    Cow::Owned(escaped)
}

fn is_special(char: char) -> bool {
    matches!(char, '&' | '<' | '>' | '"' | '\'')
        || char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Elements that have no end tag.
#[cfg(test)]
const VOID: [&str; 2] = ["meta", "!doctype"];

/// What is wrong with the tags of a page that the program wrote, if anything: end tags must match
/// start tags, attribute values be in double quotes, and nothing refer to anywhere outside the page.
#[cfg(test)]
pub(super) fn complaint(page: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some((text, after)) = rest.split_once('<') {
        if text.contains('>') {
            return Some(format!("a stray > in {text:?}"));
        }
        let Some((tag, after)) = after.split_once('>') else {
            return Some(format!("an unfinished tag at {after:?}"));
        };
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let expected = open.pop();
            if expected != Some(name) {
                return Some(format!("</{name}> where {expected:?} is open"));
            }
            continue;
        }
        let (tag, closed) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let name = tag.split_whitespace().next().unwrap_or_default();
        if let Some(complaint) = attributes_complaint(&tag[name.len()..]) {
            return Some(format!("{complaint} in <{tag}>"));
        }
        if matches!(name, "script" | "link" | "img" | "iframe" | "a") {
            return Some(format!("<{name}> is not for this page"));
        }
        if name == "style" {
            let Some((style, after)) = rest.split_once("</style>") else {
                return Some("<style> is not closed".to_owned());
            };
            if style.contains("url(") || style.contains("@import") || style.contains('<') {
                return Some("the style refers to something".to_owned());
            }
            rest = after;
        } else if !closed && !VOID.contains(&name) {
            open.push(name);
        }
    }
    if rest.contains('>') {
        return Some(format!("a stray > in {rest:?}"));
    }
    open.pop().map(|name| format!("<{name}> is not closed"))
}

#[cfg(test)]
fn attributes_complaint(mut attributes: &str) -> Option<String> {
    loop {
        attributes = attributes.trim_start();
        let Some((name, after)) = attributes.split_once('=') else {
            let bare = matches!(attributes, "" | "html" | "open");
            return (!bare).then(|| format!("attribute {attributes:?} without a value"));
        };
        if !name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '-')
        {
            return Some(format!("attribute name {name:?}"));
        }
        if matches!(name, "src" | "href" | "style") || name.starts_with("on") {
            return Some(format!("attribute {name:?}"));
        }
        let Some((_, after)) = after
            .strip_prefix('"')
            .and_then(|value| value.split_once('"'))
        else {
            return Some(format!("attribute {name:?} without quotes"));
        };
        attributes = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_escaped_ends_a_tag_or_an_attribute() {
        assert_eq!(
            escape("</pre><script>alert(\"1\" & '2')</script>"),
            "&lt;/pre&gt;&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;"
        );
        assert_eq!(escape("a\u{202e}b\u{0}\n"), "a\\u{202e}b\\u{0}\n");
        assert!(matches!(escape("plain, ünïcode"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_check_of_tags_sees_what_is_wrong() {
        assert_eq!(
            complaint("<p class=\"a\">x<meta charset=\"utf-8\"><br/></p>"),
            None
        );
        for wrong in [
            "<p>",
            "<p></b>",
            "</p>",
            "<p class=a></p>",
            "<p><b></p></b>",
            "a > b",
            "<p",
            "<script></script>",
            "<p onclick=\"x\"></p>",
            "<style>a { background: url(x) }</style>",
        ] {
            assert!(complaint(wrong).is_some(), "{wrong}");
        }
    }
}
