//! Tunnels of deployed peers, whose relays read what they relay (SPECIFICATION §9.7).

mod asking;
mod line;
mod own;
mod slots;

pub(super) use self::asking::Asking;
pub(super) use self::own::Own;
pub(super) use self::slots::Slots;
