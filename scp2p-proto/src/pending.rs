//! The one table of what is outstanding: calls, loads, writes and commits. Every entry ends exactly once.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::cx::Tag;
use crate::id::{CommitId, LoadId, NodeKey, WriteId};
use crate::limits::WAITING_CALLS_MAX;
use crate::time::Time;
use crate::timers::Timers;
use crate::wire::Request;

/// A call, from its wish to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub u64);

/// A call that is not answered yet.
pub(crate) struct Call {
    pub peer: NodeKey,
    pub request: Request,
    pub tag: Tag,
}

/// What is outstanding.
#[derive(Default)]
pub(crate) struct Pending {
    next: u64,
    calls: BTreeMap<CallId, Call>,
    deadlines: Timers<CallId>,
    /// Calls that wait for a session, in order.
    waiting: BTreeMap<NodeKey, VecDeque<CallId>>,
    loads: BTreeMap<LoadId, Tag>,
    writes: BTreeMap<WriteId, Tag>,
    commits: BTreeMap<CommitId, Vec<Tag>>,
}

impl Pending {
    pub(crate) fn add_call(&mut self, call: Call, until: Time) -> CallId {
        let id = CallId(self.fresh());
        self.deadlines.set(id, until);
        self.calls.insert(id, call);
        id
    }

    pub(crate) fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id)
    }

    /// Ends a call; `None` if it has ended.
    pub(crate) fn end_call(&mut self, id: CallId) -> Option<Call> {
        self.deadlines.cancel(&id);
        let call = self.calls.remove(&id)?;
        if let Some(queue) = self.waiting.get_mut(&call.peer) {
            queue.retain(|waiting| *waiting != id);
            if queue.is_empty() {
                self.waiting.remove(&call.peer);
            }
        }
        Some(call)
    }

    /// Lets a call wait for a session; false if too many do.
    pub(crate) fn wait(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.get(&id) else {
            return false;
        };
        let queue = self.waiting.entry(call.peer).or_default();
        if queue.len() >= WAITING_CALLS_MAX {
            return false;
        }
        queue.push_back(id);
        true
    }

    /// The calls that waited for a session with this peer.
    pub(crate) fn waiting(&mut self, peer: &NodeKey) -> VecDeque<CallId> {
        self.waiting.remove(peer).unwrap_or_default()
    }

    /// A call whose deadline has passed.
    pub(crate) fn pop_overdue(&mut self, now: Time) -> Option<CallId> {
        self.deadlines.pop_due(now)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadlines.next().map(|(at, _)| at)
    }

    pub(crate) fn add_load(&mut self, tag: Tag) -> LoadId {
        let id = LoadId(self.fresh());
        self.loads.insert(id, tag);
        id
    }

    pub(crate) fn end_load(&mut self, id: LoadId) -> Option<Tag> {
        self.loads.remove(&id)
    }

    pub(crate) fn add_write(&mut self, tag: Tag) -> WriteId {
        let id = WriteId(self.fresh());
        self.writes.insert(id, tag);
        id
    }

    pub(crate) fn end_write(&mut self, id: WriteId) -> Option<Tag> {
        self.writes.remove(&id)
    }

    pub(crate) fn add_commit(&mut self, after: Vec<Tag>) -> CommitId {
        let id = CommitId(self.fresh());
        self.commits.insert(id, after);
        id
    }

    pub(crate) fn end_commit(&mut self, id: CommitId) -> Option<Vec<Tag>> {
        self.commits.remove(&id)
    }

    /// Whether the driver owes us nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.writes.is_empty() && self.commits.is_empty()
    }

    /// What the outcomes outstanding were asked for.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Tag> {
        let calls = self.calls.values().map(|call| &call.tag);
        let disk = self.loads.values().chain(self.writes.values());
        calls.chain(disk).chain(self.commits.values().flatten())
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(any(test, feature = "check"))]
impl Pending {
    pub(crate) fn check(&self, now: Time, broken: &mut crate::check::Broken) {
        let due = self.deadline();
        broken.not_overdue("calls", due, now);
        let timed = self.calls.keys().all(|id| self.deadlines.at(id).is_some());
        broken.unless(timed && self.deadlines.len() == self.calls.len(), || {
            "each call has a deadline, and no other has one".into()
        });
        for (peer, queue) in &self.waiting {
            broken.at_most("calls waiting for a peer", queue.len(), WAITING_CALLS_MAX);
            let theirs = queue
                .iter()
                .all(|id| self.calls.get(id).is_some_and(|call| call.peer == *peer));
            broken.unless(theirs && !queue.is_empty(), || {
                alloc::format!("something waits for {peer} that is no call to it")
            });
        }
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.calls.iter().map(|(id, call)| (*id, call))
    }

    pub(crate) fn is_waiting(&self, id: CallId) -> bool {
        let queue = self
            .calls
            .get(&id)
            .and_then(|call| self.waiting.get(&call.peer));
        queue.is_some_and(|queue| queue.contains(&id))
    }

    /// Batches without an answer, oldest first.
    pub(crate) fn commits(&self) -> impl Iterator<Item = CommitId> {
        self.commits.keys().copied()
    }
}
