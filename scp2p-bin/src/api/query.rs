//! Query strings.

use std::collections::BTreeMap;
use std::fmt::Write;

/// `?name=value&name=value`, or nothing if there are no pairs.
pub fn write(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (i, (name, value)) in pairs.iter().enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

/// The pairs of a query string without its `?`.
///
/// # Errors
/// The name or value that is not percent-encoded UTF-8, or a name that comes twice.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?;
        if pairs.insert(name.clone(), decode(value)?).is_some() {
            return Err(name);
        }
    }
    Ok(pairs)
}

fn encode(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(text.to_owned());
                };
                // Two hex digits are less than 256.
                (high * 16 + low) as u8
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_arrives_as_it_was() {
        let pairs = [
            ("q", "a b&c=d%+#?/ä世\u{0}"),
            ("share", ""),
            ("limit", "20"),
        ];
        let text = write(&pairs);
        assert!(text.is_ascii() && text.starts_with('?') && !text.contains(' '));
        let read = read(&text[1..]).expect("readable");
        assert_eq!(read.len(), 3);
        for (name, value) in pairs {
            assert_eq!(read[name], value);
        }
        assert_eq!(write(&[]), "");
    }

    #[test]
    fn what_is_not_a_query_is_refused() {
        assert_eq!(read("q=%4"), Err("%4".to_owned()));
        assert_eq!(read("q=%zz"), Err("%zz".to_owned()));
        assert_eq!(read("q=%ff"), Err("%ff".to_owned()));
        assert_eq!(read("q=1&q=2"), Err("q".to_owned()));
        assert_eq!(read("q=a+b").expect("readable")["q"], "a b");
    }
}
