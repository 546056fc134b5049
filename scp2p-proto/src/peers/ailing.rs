//! Circuits that ended otherwise than their ends wanted, or that do not carry what they are wanted for. Whether the
//! relay, its network or the other end is to blame nobody can tell, so that way to that peer is tried last for a while,
//! and nobody is judged.

use core::time::Duration;

use crate::id::NodeKey;
use crate::limits::AILING_CIRCUITS_MAX;
use crate::lru::Lru;
use crate::time::Time;

/// How long another relay is tried first.
const SPAN: Duration = Duration::from_secs(600);

/// Relays and the peers to whom circuits over them ended or were of no use.
pub(super) struct Ailing(Lru<(NodeKey, NodeKey), Time>);

impl Default for Ailing {
    fn default() -> Ailing {
        Ailing(Lru::new(AILING_CIRCUITS_MAX))
    }
}

impl Ailing {
    pub(super) fn note(&mut self, relay: NodeKey, peer: NodeKey, now: Time) {
        self.0.insert((relay, peer), now + SPAN);
    }

    /// Whether a circuit over a relay to a peer ended, or was of no use, not long ago.
    pub(super) fn contains(&self, relay: NodeKey, peer: NodeKey, now: Time) -> bool {
        let until = self.0.peek(&(relay, peer));
        until.is_some_and(|until| *until > now)
    }

    #[cfg(any(test, feature = "check"))]
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        self.0.check("circuits that ended", broken);
    }
}
