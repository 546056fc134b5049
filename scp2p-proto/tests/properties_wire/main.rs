//! What holds of all messages and all bytes, not only of those that deployed peers happened to make.

mod any;
mod bytes_in;
mod frames;
mod relays;
mod round_trips;
