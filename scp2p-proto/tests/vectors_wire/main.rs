//! The wire against what deployed peers put on it.

mod addresses;
mod hellos;
mod messages;
mod relays;
mod sessions;
mod tolerance;

use std::path::Path;

use bytes::Bytes;
use scp2p_proto::io::Frame;
use scp2p_proto::wire::FrameReader;
use serde_json::Value;

/// The cases of a file of vectors.
fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vectors")
        .join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut file: Value = serde_json::from_str(&text).expect("vectors are JSON");
    let Value::Array(cases) = file["cases"].take() else {
        panic!("{}: no cases", path.display())
    };
    cases
}

fn name(case: &Value) -> &str {
    text(&case["name"])
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

fn small<T: TryFrom<u64>>(value: &Value) -> T {
    T::try_from(number(value)).unwrap_or_else(|_| panic!("out of range: {value}"))
}

fn hex(value: &Value) -> Bytes {
    let digits = text(value).as_bytes();
    assert!(digits.len().is_multiple_of(2), "half a byte: {value}");
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("vectors are hex") as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
        .collect()
}

fn hex_array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value)
        .as_ref()
        .try_into()
        .unwrap_or_else(|_| panic!("not {N} bytes: {value}"))
}

/// What `read` makes of a value that may be null or left out.
fn some<T>(value: &Value, read: impl Fn(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| read(value))
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
        .iter()
        .map(read)
        .collect()
}

/// A frame as one piece of bytes.
fn joined(frame: &Frame) -> Bytes {
    [frame.head.as_ref(), frame.body.as_ref()].concat().into()
}

/// The body of the one frame in these bytes.
fn body_of(frame: Bytes, limit: u32) -> Bytes {
    let mut reader = FrameReader::new(limit);
    reader.push(frame);
    let body = reader
        .next()
        .expect("the frame is well-formed")
        .expect("the frame is complete");
    assert_eq!(reader.buffered(), 0, "bytes after the frame");
    body
}
