//! Reading, as tolerant as deployed peers are and not more.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the types are minicbor's, and those not named are refused whatever they are"
)]

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use minicbor::Decoder;
use minicbor::data::Type;

use super::DecodeError;
use crate::limits::CBOR_DEPTH_MAX;
use crate::time::UnixTime;

/// Map keys in pieces are put together up to this length; no key that we know is longer.
const KEY_LEN_MAX: usize = 64;

/// Reads CBOR items one after another.
///
/// The `name` that most methods take is only for errors. Together with [`Field`](super::Field) a map reads as
///
/// ```ignore
/// let (mut share, mut title) = (Field::new("share_id"), Field::new("title"));
/// reader.text_map(|key, r| match key {
///     "share_id" => share.once(r, Reader::octets),
///     "title" => title.once(r, |r, name| r.string(name, TITLE_MAX)),
///     _ => r.skip(),
/// })?;
/// let (share, title) = (ShareId(share.required()?), title.optional());
/// ```
pub(crate) struct Reader<'a> {
    decoder: Decoder<'a>,
    shared: Option<&'a Bytes>,
    depth: u32,
}

impl<'a> Reader<'a> {
    /// Reads a slice; [`Reader::bytes`] copies.
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            decoder: Decoder::new(bytes),
            shared: None,
            depth: 0,
        }
    }

    /// Reads a shared buffer; [`Reader::bytes`] gives slices of it.
    pub(crate) fn shared(bytes: &'a Bytes) -> Reader<'a> {
        Reader {
            decoder: Decoder::new(bytes),
            shared: Some(bytes),
            depth: 0,
        }
    }

    /// Reads a map with text keys. `field` is called with each key and the reader at its value,
    /// which it must read or [skip](Reader::skip). A key of another type refuses the map.
    pub(crate) fn text_map(
        &mut self,
        mut field: impl FnMut(&str, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.peek()?;
        let len = self.decoder.map()?;
        self.nested(|r| {
            r.each(len, |r| {
                let key = r.text_key()?;
                field(&key, r)
            })
        })
    }

    /// Reads a map with integer keys. `field` is called with each non-negative integer key and the
    /// reader at its value, which it must read or [skip](Reader::skip). Other keys are skipped.
    pub(crate) fn int_map(
        &mut self,
        mut field: impl FnMut(u64, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.peek()?;
        let len = self.decoder.map()?;
        self.nested(|r| {
            r.each(len, |r| {
                if is_unsigned(r.peek()?) {
                    let key = r.decoder.u64()?;
                    field(key, r)
                } else {
                    r.skip()?;
                    r.skip()
                }
            })
        })
    }

    /// Reads an array of at most `max` entries.
    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        max: usize,
        mut entry: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut entries = Vec::new();
        self.array(|r| {
            if entries.len() >= max {
                return Err(DecodeError::TooMany(name));
            }
            entries.push(entry(r)?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Reads the first `max` entries of an array and skips the rest.
    pub(crate) fn list_cut<T>(
        &mut self,
        max: usize,
        mut entry: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut entries = Vec::new();
        self.array(|r| {
            if entries.len() >= max {
                return r.skip();
            }
            entries.push(entry(r)?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Reads an array, calling `entry` with the reader at each entry.
    pub(crate) fn array(
        &mut self,
        entry: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.peek()?;
        let len = self.decoder.array()?;
        self.nested(|r| r.each(len, entry))
    }

    /// Reads `N` octets: an array of integers or a byte string. A longer string is cut; of a longer
    /// array only `N` elements are read, so that the rest is taken for the next items, which is
    /// what deployed peers do.
    pub(crate) fn octets<const N: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let mut octets = [0; N];
        match self.peek()? {
            Type::Bytes => {
                let bytes = self.decoder.bytes()?;
                octets.copy_from_slice(bytes.get(..N).ok_or(DecodeError::Length(name))?);
            }
            Type::BytesIndef => {
                let (bytes, _) = self.pieces(N)?;
                octets.copy_from_slice(bytes.get(..N).ok_or(DecodeError::Length(name))?);
            }
            _ => {
                let len = self.decoder.array()?;
                if len.is_some_and(|len| len < N as u64) {
                    return Err(DecodeError::Length(name));
                }
                let plain = self.plain_octets(&mut octets);
                for octet in octets.iter_mut().skip(plain) {
                    if self.peek()? == Type::Break {
                        return Err(DecodeError::Length(name));
                    }
                    *octet = self.u8(name)?;
                }
                if len.is_none() && !self.at_break()? {
                    return Err(DecodeError::Length(name));
                }
            }
        }
        Ok(octets)
    }

    /// Reads what has one form of several, or stays where it is.
    pub(crate) fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let start = self.decoder.position();
        let value = read(self);
        if value.is_none() {
            self.decoder.set_position(start);
        }
        value
    }

    /// Passes these bytes if they come next.
    pub(crate) fn eat(&mut self, bytes: &[u8]) -> bool {
        let at = self.decoder.position();
        let rest = self.decoder.input().get(at..).unwrap_or_default();
        let comes = rest.starts_with(bytes);
        if comes {
            self.decoder.set_position(at + bytes.len());
        }
        comes
    }

    /// Reads an array of `N` octets, at most 255, if it is written in the shortest form.
    pub(crate) fn plain<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut octets = [0; N];
        let head = match N as u8 {
            len @ 0..=0x17 => self.eat(&[0x80 | len]),
            len => self.eat(&[0x98, len]),
        };
        (head && self.plain_octets(&mut octets) == N).then_some(octets)
    }

    /// Reads integers up to 255 as long as they are in the form in which deployed peers send octets, and says how
    /// many. Manifests and addresses have so many of them that anything slower is felt.
    fn plain_octets(&mut self, octets: &mut [u8]) -> usize {
        let mut at = self.decoder.position();
        let input = self.decoder.input();
        let mut read = 0;
        for octet in octets.iter_mut() {
            (*octet, at) = match *input.get(at..).unwrap_or_default() {
                [value @ 0..=0x17, ..] => (value, at + 1),
                [0x18, value, ..] => (value, at + 2),
                _ => break,
            };
            read += 1;
        }
        self.decoder.set_position(at);
        read
    }

    /// Reads a byte string of exactly `N` bytes, as integer-keyed maps have them.
    pub(crate) fn exact<const N: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let bytes = self.raw_bytes(name, N)?;
        bytes
            .as_ref()
            .try_into()
            .map_err(|_| DecodeError::Length(name))
    }

    /// Reads a byte string of at most `max` bytes. It is a slice of the buffer read from if that
    /// is [shared](Reader::shared) and the string is in one piece.
    pub(crate) fn bytes(&mut self, name: &'static str, max: usize) -> Result<Bytes, DecodeError> {
        let bytes = self.raw_bytes(name, max)?;
        Ok(self.share(bytes))
    }

    /// Reads a byte string like [`Reader::bytes`], or an array of integers in its place, as
    /// text-keyed maps may have it.
    pub(crate) fn loose_bytes(
        &mut self,
        name: &'static str,
        max: usize,
    ) -> Result<Bytes, DecodeError> {
        match self.peek()? {
            Type::Array | Type::ArrayIndef => {
                let mut bytes = Vec::new();
                self.array(|r| {
                    if bytes.len() >= max {
                        return Err(DecodeError::Length(name));
                    }
                    bytes.push(r.u8(name)?);
                    Ok(())
                })?;
                Ok(bytes.into())
            }
            _ => self.bytes(name, max),
        }
    }

    /// Reads exactly `N` bytes: a byte string or an array of integers, neither longer nor shorter, as
    /// deployed peers take signatures.
    pub(crate) fn loose_exact<const N: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let bytes = self.loose_bytes(name, N)?;
        bytes
            .as_ref()
            .try_into()
            .map_err(|_| DecodeError::Length(name))
    }

    /// Reads text of at most `max` bytes; a byte string that is UTF-8 will do.
    pub(crate) fn text(
        &mut self,
        name: &'static str,
        max: usize,
    ) -> Result<Cow<'a, str>, DecodeError> {
        match self.raw_string(max)? {
            Some(bytes) => utf8(bytes),
            None => Err(DecodeError::Length(name)),
        }
    }

    /// [`Reader::text`] as an owned string.
    pub(crate) fn string(&mut self, name: &'static str, max: usize) -> Result<String, DecodeError> {
        self.text(name, max).map(Cow::into_owned)
    }

    /// Reads an unsigned integer.
    pub(crate) fn u64(&mut self, name: &'static str) -> Result<u64, DecodeError> {
        match self.peek()? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => Ok(self.decoder.u64()?),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
                Err(DecodeError::Value(name))
            }
            _ => Err(DecodeError::Type),
        }
    }

    /// Reads an unsigned integer of 32 bits.
    pub(crate) fn u32(&mut self, name: &'static str) -> Result<u32, DecodeError> {
        self.u64(name)?
            .try_into()
            .map_err(|_| DecodeError::Value(name))
    }

    /// Reads an unsigned integer of 16 bits.
    pub(crate) fn u16(&mut self, name: &'static str) -> Result<u16, DecodeError> {
        self.u64(name)?
            .try_into()
            .map_err(|_| DecodeError::Value(name))
    }

    /// Reads an unsigned integer of 8 bits.
    pub(crate) fn u8(&mut self, name: &'static str) -> Result<u8, DecodeError> {
        self.u64(name)?
            .try_into()
            .map_err(|_| DecodeError::Value(name))
    }

    /// Reads seconds since 1970.
    pub(crate) fn time(&mut self, name: &'static str) -> Result<UnixTime, DecodeError> {
        self.u64(name).map(UnixTime)
    }

    /// Reads a truth value.
    pub(crate) fn bool(&mut self, _name: &'static str) -> Result<bool, DecodeError> {
        self.peek()?;
        Ok(self.decoder.bool()?)
    }

    /// Reads null as `None` and anything else with `read`.
    pub(crate) fn nullable<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.peek()? {
            Type::Null | Type::Undefined => {
                self.decoder.skip()?;
                Ok(None)
            }
            _ => read(self).map(Some),
        }
    }

    /// Reads an item with `read` and gives its bytes too, without tags before it.
    pub(crate) fn with_source<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<(T, &'a [u8]), DecodeError> {
        self.peek()?;
        let start = self.decoder.position();
        let value = read(self)?;
        let source = self.decoder.input().get(start..self.decoder.position());
        Ok((
            value,
            source.expect("the decoder only moves forward within its input"),
        ))
    }

    /// Reads an item of any type.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        match self.peek()? {
            Type::Array | Type::ArrayIndef => self.array(Reader::skip),
            Type::Map | Type::MapIndef => {
                let len = self.decoder.map()?;
                self.nested(|r| {
                    r.each(len, |r| {
                        r.skip()?;
                        r.skip()
                    })
                })
            }
            Type::Break | Type::Unknown(_) => Err(DecodeError::Malformed),
            _ => Ok(self.decoder.skip()?),
        }
    }

    /// The type of the next item, after the tags before it, which are read.
    fn peek(&mut self) -> Result<Type, DecodeError> {
        loop {
            match self.decoder.datatype()? {
                Type::Tag => self.decoder.tag()?,
                other => return Ok(other),
            };
        }
    }

    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth >= CBOR_DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Calls `entry` so many times, or up to the break of an indefinite length.
    fn each(
        &mut self,
        len: Option<u64>,
        mut entry: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        match len {
            Some(len) => (0..len).try_for_each(|_| entry(self)),
            None => {
                while !self.at_break()? {
                    entry(self)?;
                }
                Ok(())
            }
        }
    }

    /// Whether a break comes next; it is read.
    fn at_break(&mut self) -> Result<bool, DecodeError> {
        let found = self.peek()? == Type::Break;
        if found {
            self.decoder.set_position(self.decoder.position() + 1);
        }
        Ok(found)
    }

    /// A key of a text-keyed map. Keys that cannot be one of ours come as an empty text.
    fn text_key(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        if let Some(text) = self.plain_text() {
            return Ok(Cow::Borrowed(text));
        }
        match self.peek()? {
            Type::String | Type::StringIndef => match self.raw_string(KEY_LEN_MAX)? {
                Some(bytes) => utf8(bytes),
                None => Ok(Cow::Borrowed("")),
            },
            Type::Bytes | Type::BytesIndef => {
                let bytes = self.raw_string(KEY_LEN_MAX)?.unwrap_or_default();
                Ok(utf8(bytes).unwrap_or(Cow::Borrowed("")))
            }
            _ => Err(DecodeError::Type),
        }
    }

    /// Reads a text of up to 23 bytes in its shortest form, as nearly all keys are written.
    fn plain_text(&mut self) -> Option<&'a str> {
        let at = self.decoder.position();
        let (head @ 0x60..=0x77, rest) = self.decoder.input().get(at..)?.split_first()? else {
            return None;
        };
        let len = usize::from(head & 0x1f);
        let text = core::str::from_utf8(rest.get(..len)?).ok()?;
        self.decoder.set_position(at + 1 + len);
        Some(text)
    }

    /// A byte string of at most `max` bytes.
    fn raw_bytes(&mut self, name: &'static str, max: usize) -> Result<Cow<'a, [u8]>, DecodeError> {
        match self.peek()? {
            Type::Bytes | Type::BytesIndef => {
                self.raw_string(max)?.ok_or(DecodeError::Length(name))
            }
            _ => Err(DecodeError::Type),
        }
    }

    /// The bytes of a byte or text string, or `None` if they are more than `max`.
    fn raw_string(&mut self, max: usize) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        let bytes = match self.peek()? {
            Type::BytesIndef | Type::StringIndef => {
                let (bytes, len) = self.pieces(max)?;
                return Ok((len <= max).then_some(Cow::Owned(bytes)));
            }
            _ => self.piece()?,
        };
        Ok((bytes.len() <= max).then_some(Cow::Borrowed(bytes)))
    }

    /// The first `keep` bytes of a string of indefinite length, and how many it has.
    fn pieces(&mut self, keep: usize) -> Result<(Vec<u8>, usize), DecodeError> {
        let kind = match self.peek()? {
            Type::BytesIndef => Type::Bytes,
            Type::StringIndef => Type::String,
            _ => return Err(DecodeError::Type),
        };
        self.decoder.set_position(self.decoder.position() + 1);
        let (mut bytes, mut len) = (Vec::new(), 0);
        while !self.at_break()? {
            if self.peek()? != kind {
                return Err(DecodeError::Malformed);
            }
            let piece = self.piece()?;
            let room = keep.saturating_sub(bytes.len());
            bytes.extend(piece.iter().take(room));
            len = piece.len().saturating_add(len);
        }
        Ok((bytes, len))
    }

    /// The bytes of a string of definite length.
    fn piece(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.peek()? {
            Type::Bytes => Ok(self.decoder.bytes()?),
            Type::String => match self.decoder.str() {
                Ok(text) => Ok(text.as_bytes()),
                Err(error) if error.is_end_of_input() => Err(DecodeError::Truncated),
                Err(error) if error.is_type_mismatch() => Err(DecodeError::Malformed),
                Err(_) => Err(DecodeError::Utf8),
            },
            _ => Err(DecodeError::Type),
        }
    }

    fn share(&self, bytes: Cow<'a, [u8]>) -> Bytes {
        match (bytes, self.shared) {
            (Cow::Borrowed(slice), Some(shared)) => shared.slice_ref(slice),
            (Cow::Borrowed(slice), None) => Bytes::copy_from_slice(slice),
            (Cow::Owned(bytes), _) => Bytes::from(bytes),
        }
    }
}

fn is_unsigned(kind: Type) -> bool {
    matches!(kind, Type::U8 | Type::U16 | Type::U32 | Type::U64)
}

fn utf8(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, DecodeError> {
    match bytes {
        Cow::Borrowed(bytes) => core::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| DecodeError::Utf8),
        Cow::Owned(bytes) => String::from_utf8(bytes)
            .map(Cow::Owned)
            .map_err(|_| DecodeError::Utf8),
    }
}
