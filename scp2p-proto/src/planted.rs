//! Small deliberate bugs, one at a time, by which tests of a simulation show that it would find real ones.
//! Without the feature `planted` there is no way to have one.

use crate::config::Config;

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A subscription is looked up once and never again.
    LookupOnce,
    /// A revision takes the sequence number of the last one.
    NumberTwice,
    /// A publishing is answered, and its revision announced, before it is durable.
    AnsweredEarly,
    /// A newer revision of a subscribed share counts before it is durable.
    BelievedEarly,
    /// An older head than the one held is fetched like a newer one.
    OlderHead,
    /// Providers of a share that were reached count as being reached for ever.
    ReachesLeak,
    /// Whoever asks for a manifest that is not there gets no answer.
    RequestUnanswered,
    /// The timer of the round in which connections are looked after is not set again.
    RoundForgotten,
    /// Of two sessions with one peer neither is closed.
    DuplicateKept,
    /// Calls over a session that is lost are not ended.
    LostCallsKept,
    /// Who answers too late is thought of as if it had sent wrong bytes.
    SlowIsCorrupt,
    /// The last chunk of a file counts as had with the one before it.
    LastChunkAssumed,
    /// A chunk is checked by the hash of what was sent.
    HashFromSender,
    /// A chunk whose request failed is not asked for again.
    FailedChunkDropped,
    /// A piece that the disk could not write counts as written.
    FailedWriteCounts,
    /// Progress is saved of pieces that are not durable.
    HaveMapUnsynced,
    /// What goes over a circuit after the handshake is not sealed.
    CircuitUnsealed,
}

#[cfg(feature = "planted")]
impl Bug {
    /// All of them.
    pub const ALL: [Bug; 17] = [
        Bug::LookupOnce,
        Bug::NumberTwice,
        Bug::AnsweredEarly,
        Bug::BelievedEarly,
        Bug::OlderHead,
        Bug::ReachesLeak,
        Bug::RequestUnanswered,
        Bug::RoundForgotten,
        Bug::DuplicateKept,
        Bug::LostCallsKept,
        Bug::SlowIsCorrupt,
        Bug::LastChunkAssumed,
        Bug::HashFromSender,
        Bug::FailedChunkDropped,
        Bug::FailedWriteCounts,
        Bug::HaveMapUnsynced,
        Bug::CircuitUnsealed,
    ];
}

/// Whether a node has this bug.
#[cfg(feature = "planted")]
pub(crate) fn has(config: &Config, bug: Bug) -> bool {
    config.planted == Some(bug)
}

/// No node has any.
#[cfg(not(feature = "planted"))]
pub(crate) const fn has(_: &Config, _: Bug) -> bool {
    false
}
