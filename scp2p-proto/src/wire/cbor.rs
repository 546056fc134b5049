//! CBOR as deployed peers take it (SPECIFICATION §2): tolerant reading, canonical writing.
//!
//! Reading is bounded: every string and list is read with a limit that is checked before anything
//! is allocated for it, and nesting ends at [`CBOR_DEPTH_MAX`](crate::limits::CBOR_DEPTH_MAX). Tags are skipped, lengths may be
//! indefinite, integers need not be minimal, and bytes after the first item are ignored.

use core::fmt;

mod field;
mod reader;
mod writer;

pub(crate) use field::Field;
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// Why bytes are not what they should be. The texts are names of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end within an item.
    Truncated,
    /// Not CBOR.
    Malformed,
    /// An item of another type than the field has.
    Type,
    /// A field that must be there is not.
    Missing(&'static str),
    /// A string that is too short or too long.
    Length(&'static str),
    /// A list with more entries than allowed.
    TooMany(&'static str),
    /// Nested more than [`CBOR_DEPTH_MAX`](crate::limits::CBOR_DEPTH_MAX) deep.
    TooDeep,
    /// A field given twice.
    Duplicate(&'static str),
    /// A value that the field cannot have.
    Value(&'static str),
    /// Text that is not UTF-8.
    Utf8,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("the data end within an item"),
            DecodeError::Malformed => f.write_str("not CBOR"),
            DecodeError::Type => f.write_str("an item of the wrong type"),
            DecodeError::Missing(name) => write!(f, "missing field {name}"),
            DecodeError::Length(name) => write!(f, "field {name}: wrong length"),
            DecodeError::TooMany(name) => write!(f, "field {name}: too many entries"),
            DecodeError::TooDeep => f.write_str("nested too deeply"),
            DecodeError::Duplicate(name) => write!(f, "duplicate field {name}"),
            DecodeError::Value(name) => write!(f, "field {name}: no such value"),
            DecodeError::Utf8 => f.write_str("text that is not UTF-8"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl From<minicbor::decode::Error> for DecodeError {
    fn from(error: minicbor::decode::Error) -> DecodeError {
        if error.is_end_of_input() {
            DecodeError::Truncated
        } else if error.is_type_mismatch() {
            DecodeError::Type
        } else {
            DecodeError::Malformed
        }
    }
}
