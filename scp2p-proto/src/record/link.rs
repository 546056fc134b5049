//! Share links (SPECIFICATION §5.4).

use core::fmt;
use core::str::FromStr;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use data_encoding::{BASE64URL_NOPAD, Encoding};

use crate::id::{ShareId, ShareKey};
use crate::io::Host;
use crate::limits::LINK_HINTS_MAX;
use crate::wire::BootstrapAddr;

const SCHEME: &str = "scp2p://s/";

/// What is given to others so that they can follow a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLink {
    /// The share's key.
    pub key: ShareKey,
    /// Peers that know the share. At most the first 16 are read or written, and never
    /// unspecified addresses such as 0.0.0.0: nobody can dial them.
    pub bootstrap: Vec<BootstrapAddr>,
}

impl ShareLink {
    /// The share's id.
    pub fn share(&self) -> ShareId {
        self.key.share_id()
    }
}

/// `scp2p://s/` and the unpadded Base64url of id and key, then `?bp=` and the hints if any.
impl fmt::Display for ShareLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = [0; 64];
        payload[..32].copy_from_slice(self.share().as_bytes());
        payload[32..].copy_from_slice(self.key.as_bytes());
        write!(f, "{SCHEME}{}", BASE64URL_NOPAD.encode_display(&payload))?;

        let hints = self.bootstrap.iter().filter(|hint| is_dialable(hint));
        for (index, hint) in hints.take(LINK_HINTS_MAX).enumerate() {
            f.write_str(if index == 0 { "?bp=" } else { "%2C" })?;
            fmt::write(&mut PercentEncode(f), format_args!("{hint}"))?;
        }
        Ok(())
    }
}

/// Takes what deployed desktops take: surrounding white space, padding, the standard
/// Base64 alphabet, queries percent-encoded up to twice and other query keys. Hints that cannot
/// be read are skipped.
impl FromStr for ShareLink {
    type Err = ParseLinkError;

    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        let rest = text
            .trim()
            .strip_prefix(SCHEME)
            .ok_or(ParseLinkError::Scheme)?;
        let (payload, query) = rest.split_once('?').unwrap_or((rest, ""));
        let bytes = tolerant_base64()
            .decode(payload.trim_end_matches('=').as_bytes())
            .map_err(|_| ParseLinkError::Base64)?;
        let (id, key) = bytes
            .split_at_checked(ShareId::LEN)
            .and_then(|(id, key)| Some((ShareId::from_slice(id)?, ShareKey::from_slice(key)?)))
            .ok_or(ParseLinkError::Length(bytes.len()))?;
        if key.share_id() != id {
            return Err(ParseLinkError::Mismatch);
        }
        Ok(ShareLink {
            key,
            bootstrap: read_hints(query),
        })
    }
}

/// Why a text is not a share link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseLinkError {
    /// It does not start with `scp2p://s/`.
    Scheme,
    /// What follows is not Base64.
    Base64,
    /// What follows has not the 64 bytes of an id and a key; the number is what it has.
    Length(usize),
    /// The id is not that of the key.
    Mismatch,
}

impl fmt::Display for ParseLinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseLinkError::Scheme => f.write_str("a share link starts with scp2p://s/"),
            ParseLinkError::Base64 => f.write_str(
                "the link has a character that does not belong there; copy it again as a whole",
            ),
            ParseLinkError::Length(found) => {
                write!(
                    f,
                    "the link holds {found} bytes instead of 64; copy it again as a whole"
                )
            }
            ParseLinkError::Mismatch => {
                f.write_str("the link's id is not that of its key; ask for the link again")
            }
        }
    }
}

impl core::error::Error for ParseLinkError {}

/// Base64 of either alphabet without padding. Left-over bits may be anything, as deployed
/// desktops have it.
fn tolerant_base64() -> Encoding {
    let mut specification = BASE64URL_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification.translate.from = "+/".to_owned();
    specification.translate.to = "-_".to_owned();
    specification
        .encoding()
        .expect("BASE64URL_NOPAD uses neither + nor /")
}

fn read_hints(query: &str) -> Vec<BootstrapAddr> {
    let Some(list) = query.split('&').find_map(|pair| pair.strip_prefix("bp=")) else {
        return Vec::new();
    };
    let list = percent_decode(&percent_decode(list));
    let hints = list.split(',').filter_map(|hint| hint.trim().parse().ok());
    hints.filter(is_dialable).take(LINK_HINTS_MAX).collect()
}

fn is_dialable(hint: &BootstrapAddr) -> bool {
    match &hint.host {
        Host::Ip(ip) => !ip.to_canonical().is_unspecified(),
        Host::Name(_) => true,
    }
}

/// Percent-encodes what is written to it, all but the characters that are plain everywhere
/// in a URI (RFC 3986, section 2.3).
struct PercentEncode<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for PercentEncode<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                self.0.write_char(char::from(byte))
            }
            _ => write!(self.0, "%{byte:02X}"),
        })
    }
}

/// Undoes percent-encoding once. A percent sign without two hex digits stands for itself;
/// what is not UTF-8 afterwards becomes replacement characters, which no hint has.
fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let unescaped = if byte == b'%' { escaped(after) } else { None };
        let (byte, after) = unescaped.unwrap_or((byte, after));
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The byte that two hex digits at the start of `digits` stand for, and what follows them.
fn escaped(digits: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = digits.split_first_chunk()?;
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    Some(((high * 16 + low) as u8, rest))
}
