//! The sans-IO core of SCP2P.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod catalogs;
pub mod command;
pub mod config;
pub mod content;
mod cx;
pub mod dht;
pub mod escape;
pub mod event;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod id;
pub mod io;
pub mod keys;
pub mod limits;
pub mod lru;
mod node;
pub mod path;
mod peers;
mod pending;
pub mod record;
pub mod rng;
pub mod session;
pub mod storage;
pub mod time;
pub mod timers;
pub mod token_bucket;
mod transfers;
pub mod view;
pub mod wire;
mod wish;

pub use node::{Node, Why};
