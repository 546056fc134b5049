//! The sans-IO core of SCP2P.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command;
pub mod config;
pub mod content;
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
pub mod path;
pub mod record;
pub mod rng;
pub mod session;
pub mod storage;
pub mod time;
pub mod timers;
pub mod token_bucket;
pub mod view;
pub mod wire;
