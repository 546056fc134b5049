//! The fields of a map.

use super::{DecodeError, Reader};

/// A field of a map while the map is being read. Null stands for an absent value.
pub(crate) struct Field<T> {
    name: &'static str,
    seen: bool,
    value: Option<T>,
}

impl<T> Field<T> {
    /// A field not seen yet; the name is for errors.
    pub(crate) fn new(name: &'static str) -> Field<T> {
        Field {
            name,
            seen: false,
            value: None,
        }
    }

    /// Reads the value; a second one refuses the map, as in text-keyed maps.
    pub(crate) fn once<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        read: impl FnOnce(&mut Reader<'a>, &'static str) -> Result<T, DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.seen {
            return Err(DecodeError::Duplicate(self.name));
        }
        self.seen = true;
        self.value = reader.nullable(|r| read(r, self.name))?;
        Ok(())
    }

    /// Reads the value; later ones are skipped, as in integer-keyed maps.
    pub(crate) fn first<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        read: impl FnOnce(&mut Reader<'a>, &'static str) -> Result<T, DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.seen {
            return reader.skip();
        }
        self.once(reader, read)
    }

    /// The value, which must be there.
    pub(crate) fn required(self) -> Result<T, DecodeError> {
        self.value.ok_or(DecodeError::Missing(self.name))
    }

    /// The value, if there is one.
    pub(crate) fn optional(self) -> Option<T> {
        self.value
    }
}
