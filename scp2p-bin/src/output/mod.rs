//! Printing for people. Every text that comes from others passes through [`shown`] or [`start`].

mod event;
mod lists;
mod relay;
mod status;
mod table;
mod time;
mod units;

use std::io::{self, Write};

use scp2p_proto::escape::{printable, printable_start};
use serde::Serialize;

pub use event::event;
pub use lists::{
    catalog, downloads, found, givers, peers, public, readable, shares, subscriptions,
};
pub use relay::{ready as relay_ready, relay};
pub use status::{identity, ready, status};
pub use units::{count, rate, size};

/// Characters of a name or title in a table.
const CELL_CHARS_MAX: usize = 60;
/// Hex digits of an id in a table: enough to name it by.
const SHORT_ID_DIGITS: usize = 12;

/// Untrusted text, whole, that cannot steer the terminal.
pub fn shown(text: &str) -> String {
    printable(text).into_owned()
}

/// The start of untrusted text, for a table's cell.
pub fn start(text: &str) -> String {
    printable_start(text, CELL_CHARS_MAX).into_owned()
}

/// The first digits of an id.
pub fn short(id: &impl ToString) -> String {
    let mut text = id.to_string();
    text.truncate(SHORT_ID_DIGITS);
    text
}

/// Writes to standard output; false if nobody reads it any more, which is no error.
///
/// # Errors
/// It cannot be written for another reason.
pub fn print(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a value to standard output as indented JSON, as [`print()`] does.
///
/// # Errors
/// It cannot be written.
pub fn print_json(value: &impl Serialize) -> io::Result<bool> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}
