//! Whether the clock is right.

/// Networks that must agree before a clock is likely to be wrong.
const NETWORKS_ENOUGH: u32 = 2;

/// A reason to think that this node's clock is wrong, so that handshakes are refused (SPECIFICATION §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockDoubt {
    /// By about how many seconds this node's clock is ahead of those of peers, or behind if negative. None if peers only
    /// closed when they had read a hello, which they do for other reasons too, and nobody showed a time.
    pub off_secs: Option<i64>,
    /// How many peers say so; of those that said nothing, the networks they are in.
    pub peers: u32,
    /// In how many networks they are.
    pub networks: u32,
}

impl ClockDoubt {
    /// Whether peers of several networks agree; else it may be a peer's clock that is wrong.
    pub fn is_likely(&self) -> bool {
        self.off_secs.is_some() && self.networks >= NETWORKS_ENOUGH
    }
}
