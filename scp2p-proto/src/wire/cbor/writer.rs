//! Writing, in the one form that deployed peers write.

use core::convert::Infallible;

use alloc::vec::Vec;
use minicbor::Encoder;
use minicbor::encode::Error;

/// Writes CBOR: definite lengths, shortest integers. All methods return the writer.
pub(crate) struct Writer(Encoder<Vec<u8>>);

impl Writer {
    /// An empty writer.
    pub(crate) fn new() -> Writer {
        Writer::with_capacity(0)
    }

    /// An empty writer with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Writer {
        Writer(Encoder::new(Vec::with_capacity(bytes)))
    }

    /// All that was written.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_writer()
    }

    /// The head of a map of so many pairs, which follow as keys and values.
    pub(crate) fn map(&mut self, pairs: usize) -> &mut Writer {
        self.write(|e| e.map(pairs as u64).map(drop))
    }

    /// The head of an array of so many entries, which follow.
    pub(crate) fn array(&mut self, entries: usize) -> &mut Writer {
        self.write(|e| e.array(entries as u64).map(drop))
    }

    /// An array with an entry per element of `entries`.
    pub(crate) fn list<T>(
        &mut self,
        entries: &[T],
        mut entry: impl FnMut(&mut Writer, &T),
    ) -> &mut Writer {
        self.array(entries.len());
        entries.iter().for_each(|element| entry(self, element));
        self
    }

    /// Text, or the key of a text-keyed map.
    pub(crate) fn text(&mut self, text: &str) -> &mut Writer {
        self.write(|e| e.str(text).map(drop))
    }

    /// An unsigned integer, or the key of an integer-keyed map.
    pub(crate) fn uint(&mut self, value: impl Into<u64>) -> &mut Writer {
        let value = value.into();
        self.write(|e| e.u64(value).map(drop))
    }

    /// A truth value.
    pub(crate) fn bool(&mut self, value: bool) -> &mut Writer {
        self.write(|e| e.bool(value).map(drop))
    }

    /// Null.
    pub(crate) fn null(&mut self) -> &mut Writer {
        self.write(|e| e.null().map(drop))
    }

    /// A byte string.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.write(|e| e.bytes(bytes).map(drop))
    }

    /// The head of a byte string of so many bytes, which somebody else appends.
    pub(crate) fn bytes_head(&mut self, len: usize) -> &mut Writer {
        self.write(|e| e.bytes_len(len as u64).map(drop))
    }

    /// An octet array: bytes as an array of integers.
    pub(crate) fn octets(&mut self, octets: &[u8]) -> &mut Writer {
        self.array(octets.len());
        let out = self.0.writer_mut();
        out.reserve(octets.len() * 2);
        for &octet in octets {
            if octet > 0x17 {
                out.push(0x18);
            }
            out.push(octet);
        }
        self
    }

    /// A value, or null if there is none.
    pub(crate) fn option<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Writer, T),
    ) -> &mut Writer {
        match value {
            Some(value) => write(self, value),
            None => return self.null(),
        }
        self
    }

    /// An octet array, or null if there is none.
    pub(crate) fn octets_or_null<const N: usize>(
        &mut self,
        octets: Option<&[u8; N]>,
    ) -> &mut Writer {
        match octets {
            Some(octets) => self.octets(octets),
            None => self.null(),
        }
    }

    /// Text, or null if there is none.
    pub(crate) fn text_or_null(&mut self, text: Option<&str>) -> &mut Writer {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// An unsigned integer, or null if there is none.
    pub(crate) fn uint_or_null(&mut self, value: Option<impl Into<u64>>) -> &mut Writer {
        match value {
            Some(value) => self.uint(value),
            None => self.null(),
        }
    }

    /// Items encoded already.
    pub(crate) fn raw(&mut self, items: &[u8]) -> &mut Writer {
        self.0.writer_mut().extend_from_slice(items);
        self
    }

    fn write(
        &mut self,
        item: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), Error<Infallible>>,
    ) -> &mut Writer {
        item(&mut self.0).expect("appending to a Vec cannot fail");
        self
    }
}
