//! Tunnels of deployed peers, whose relays read what they relay (SPECIFICATION §9.7).

mod line;
mod slots;

pub(super) use self::slots::Slots;
