//! The core of SCP2P: every protocol as one state machine that consumes bytes and timestamps.
//!
//! A [`Node`] sees *links*, which are ordered byte pipes with credit in both directions, and asks its driver for
//! effects. It never sees a socket, a file or a clock, and it is `no_std`, so that it cannot. The same node is
//! driven by sockets and disks, by a simulator, or by your own runtime; `examples/loopback.rs` drives two of
//! them in memory.
//!
//! # The driver contract
//!
//! 1. Call [`Node::handle`] with a [`Now`](time::Now) whose `mono` never decreases.
//! 2. Pop [`Node::poll_output`] until it is `None`, and carry the outputs out in order.
//! 3. Sleep until [`Node::deadline`] or until something happens; then call `handle` again.
//! 4. Accept every [`Send`](io::Output::Send) within the room that was reported, and read from a link no more
//!    than was granted.
//! 5. Apply a [`Batch`](storage::Batch) in the order discard, sync, finish, rows (atomically), index; answer
//!    it once it is as durable as asked; and let every [`Load`](storage::Load) see all earlier batches.
//!
//! There is no sixth rule. Every dial, load, write and commit is answered exactly once; a command is answered
//! by [`Output::Done`](io::Output::Done).
//!
//! ```
//! # use scp2p_proto::{Node, config::Config, keys::Keys, storage::Saved, time::{Now, Time, UnixTime}};
//! use scp2p_proto::io::Input;
//!
//! let mut now = Now { mono: Time(0), unix: UnixTime(1_700_000_000) };
//! let mut node = Node::new(Config::default(), Keys::from_seed([1; 32]), [2; 32], Saved::default(), now);
//! while let Some(_output) = node.poll_output() {
//!     // Carry it out.
//! }
//! let (deadline, _why) = node.deadline().expect("a running node has something to do");
//! now.mono = deadline;
//! node.handle(now, Input::Tick);
//! ```
#![no_std]
#![forbid(unsafe_code)]
// A remote must not be able to make the node panic. Tests and fuzz targets panic on purpose.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::panic,
        clippy::unreachable,
        clippy::unimplemented,
        clippy::todo,
        clippy::dbg_macro,
        clippy::indexing_slicing
    )
)]

extern crate alloc;

mod announcements;
mod catalogs;
#[cfg(any(test, feature = "check"))]
mod check;
pub mod command;
pub mod config;
pub mod content;
mod cx;
pub mod dht;
pub mod escape;
pub mod event;
#[cfg(any(test, feature = "fuzz"))]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing
)]
pub mod fuzz;
pub mod id;
pub mod io;
pub mod keys;
pub mod limits;
pub mod lru;
mod netgroup;
mod node;
mod outbox;
pub mod path;
mod peers;
mod pending;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
pub mod record;
mod relay;
pub mod rng;
pub mod session;
pub mod storage;
pub mod time;
pub mod timers;
pub mod token_bucket;
mod transfers;
mod unsaved;
pub mod view;
pub mod wire;
mod wish;

pub use node::{Node, Why};
