//! What must hold of all parts together.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Node, Phase};
use crate::check::{Broken, counted};
use crate::cx::Tag;

impl Node {
    /// The structural invariants that do not hold, each as a sentence: none, unless the node has a
    /// bug. To be called when all outputs were taken; it takes time in proportion to what the node holds.
    pub fn check(&self) -> Vec<String> {
        let mut broken = Broken::default();
        let acts = &self.acts;
        let idle = acts.queue.is_empty() && acts.after.is_empty() && acts.loose.is_empty();
        broken.unless(
            idle && acts.batch.is_empty() && self.heard.is_empty(),
            || "something was put off to the next input".into(),
        );
        if self.phase != Phase::Running {
            return broken.into_sentences();
        }
        let (now, roster) = (self.now, self.sessions.roster());
        let tags: Vec<&Tag> = self.open_tags().collect();
        self.pending.check(now.mono, &mut broken);
        self.unsaved.check(self.pending.commits(), &mut broken);
        self.sessions.check(now.mono, &mut broken);
        self.peers
            .check(self.keys.public(), roster, now, &mut broken);
        self.dht.check(&tags, now, &mut broken);
        self.catalogs.check(&tags, roster, now, &mut broken);
        self.transfers
            .check(&tags, &self.config, roster, now, &mut broken);
        self.relay.check(&tags, roster, &mut broken);
        self.check_links(&mut broken);
        broken.into_sentences()
    }

    fn check_links(&self, broken: &mut Broken) {
        let carried = self.sessions.carried();
        for (id, call) in self.pending.calls() {
            let peer = call.peer;
            let is_waiting = self.pending.is_waiting(id);
            broken.unless(is_waiting != carried.contains(&id), || {
                format!("the call {id:?} to {peer} must either wait for a session or be on one")
            });
            broken.unless(!is_waiting || self.peers.is_dialling(&peer), || {
                format!("the call {id:?} waits for {peer}, who is not being dialled")
            });
        }
        broken.unless(self.sessions.dialled() == self.peers.dialled(), || {
            "the links being opened are not those that somebody wants".into()
        });
        let held = self.dht.tickets().chain(self.catalogs.tickets());
        let held = held.chain(self.peers.tickets()).chain(self.relay.tickets());
        let held = counted(held.chain(self.transfers.tickets()));
        for (link, tickets) in self.sessions.tickets() {
            let held = held.get(&link).copied().unwrap_or(0);
            broken.equal(
                "requests without an answer, and those that somebody will answer",
                tickets.into(),
                held,
            );
        }
    }
}
