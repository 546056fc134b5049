//! Request ids of one session, in both directions (SPECIFICATION §4.1).

use core::fmt;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::id::LinkId;
use crate::io::Frame;
use crate::limits::CALLS_MAX;
use crate::wire::Answer;

/// The outgoing calls of one session, each with whoever waits for its reply.
///
/// A call ends once: by its reply, or by the session's end. A call that was given up keeps
/// its id until the reply comes, because deployed peers answer strictly one after another
/// and therefore late rather than never, and a late reply must neither be taken for that
/// of a newer call nor be held against the peer.
#[derive(Debug)]
pub struct Calls<W> {
    /// `None` where nobody waits any more.
    outstanding: BTreeMap<u32, Option<W>>,
    last_id: u32,
}

/// A reply that no outstanding call asked for, or a second reply to the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnexpectedReply {
    /// The id that the reply carried.
    pub req_id: u32,
}

impl fmt::Display for UnexpectedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reply {} answers no outstanding request", self.req_id)
    }
}

impl core::error::Error for UnexpectedReply {}

impl<W> Default for Calls<W> {
    fn default() -> Calls<W> {
        Calls {
            outstanding: BTreeMap::new(),
            last_id: 0,
        }
    }
}

impl<W> Calls<W> {
    /// No calls yet.
    pub fn new() -> Calls<W> {
        Calls::default()
    }

    /// Takes an id for a call: never 0, never one that is outstanding. Gives the waiter
    /// back when [`CALLS_MAX`] calls are outstanding, given-up ones included.
    pub fn insert(&mut self, waiter: W) -> Result<u32, W> {
        if self.outstanding.len() >= CALLS_MAX {
            return Err(waiter);
        }
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.outstanding.contains_key(&self.last_id) {
                self.outstanding.insert(self.last_id, Some(waiter));
                return Ok(self.last_id);
            }
        }
    }

    /// A reply came. `None` if nobody waits for it any more.
    pub fn resolve(&mut self, req_id: u32) -> Result<Option<W>, UnexpectedReply> {
        self.outstanding
            .remove(&req_id)
            .ok_or(UnexpectedReply { req_id })
    }

    /// Gives a call up, for instance when it took too long. `None` if it is not waited for.
    pub fn give_up(&mut self, req_id: u32) -> Option<W> {
        self.outstanding.get_mut(&req_id)?.take()
    }

    /// Ends every call, because the session did; in the order of their ids.
    pub fn drain(&mut self) -> Vec<(u32, W)> {
        let calls = core::mem::take(&mut self.outstanding);
        calls
            .into_iter()
            .filter_map(|(req_id, waiter)| Some((req_id, waiter?)))
            .collect()
    }

    /// Calls without a reply, given-up ones included; at most [`CALLS_MAX`].
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Who waits for a reply.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = &W> {
        self.outstanding.values().flatten()
    }

    /// Whether every call got its reply.
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }
}

/// The duty to answer one request of a peer. It can only be turned into the one reply.
#[derive(Debug)]
#[must_use = "every request is answered exactly once"]
pub struct Ticket {
    pub(crate) link: LinkId,
    pub(crate) req_id: u32,
    pub(crate) kind: u16,
}

impl Ticket {
    /// Over which link to answer.
    pub fn link(&self) -> LinkId {
        self.link
    }

    /// The request's message type.
    pub fn kind(&self) -> u16 {
        self.kind
    }

    /// The frame of the reply.
    pub fn answer(self, answer: &Answer) -> Frame {
        answer.to_frame(self.kind, self.req_id)
    }

    /// The frame of a refusal with this text.
    pub fn refuse(self, text: &str) -> Frame {
        Answer::error_frame(self.kind, self.req_id, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert,
        Resolve(u32),
        GiveUp(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Insert),
            2 => (0_u32..40).prop_map(Step::Resolve),
            1 => (0_u32..40).prop_map(Step::GiveUp),
        ]
    }

    proptest! {
        /// Every waiter leaves exactly once, whatever replies come.
        #[test]
        fn each_waiter_leaves_once(steps in prop::collection::vec(step(), 0..120)) {
            let mut calls = Calls::new();
            let mut inserted = 0_u32;
            let mut left = vec![];
            for step in steps {
                match step {
                    Step::Insert => {
                        prop_assert!(calls.insert(inserted).is_ok());
                        inserted += 1;
                    }
                    Step::Resolve(req_id) => left.extend(calls.resolve(req_id).ok().flatten()),
                    Step::GiveUp(req_id) => left.extend(calls.give_up(req_id)),
                }
            }
            left.extend(calls.drain().into_iter().map(|(_, waiter)| waiter));
            left.sort_unstable();
            prop_assert_eq!(left, (0..inserted).collect::<Vec<_>>());
            prop_assert!(calls.is_empty());
        }
    }

    #[test]
    fn a_reply_counts_once() {
        let mut calls = Calls::new();
        let req_id = calls.insert('a').expect("there is room");
        assert_eq!(calls.resolve(req_id), Ok(Some('a')));
        assert_eq!(calls.resolve(req_id), Err(UnexpectedReply { req_id }));
        assert_eq!(calls.resolve(0), Err(UnexpectedReply { req_id: 0 }));
    }

    #[test]
    fn a_late_reply_is_no_offence_and_reaches_nobody() {
        let mut calls = Calls::new();
        let req_id = calls.insert('a').expect("there is room");
        assert_eq!(calls.give_up(req_id), Some('a'));
        assert_eq!(calls.give_up(req_id), None);
        assert_eq!(calls.resolve(req_id), Ok(None));
        assert_eq!(calls.resolve(req_id), Err(UnexpectedReply { req_id }));
    }

    #[test]
    fn ids_wrap_past_zero_and_past_what_is_outstanding() {
        let mut calls = Calls::new();
        assert_eq!(calls.insert('a'), Ok(1));
        calls.last_id = u32::MAX - 1;
        assert_eq!(calls.insert('b'), Ok(u32::MAX));
        assert_eq!(calls.insert('c'), Ok(2));
        assert_eq!(calls.drain(), [(1, 'a'), (2, 'c'), (u32::MAX, 'b')]);
    }

    #[test]
    fn bounded_and_given_up_calls_count() {
        let mut calls = Calls::new();
        for _ in 0..CALLS_MAX {
            assert!(calls.insert('a').is_ok());
        }
        assert_eq!(calls.insert('b'), Err('b'));
        assert_eq!(calls.give_up(1), Some('a'));
        assert_eq!(calls.insert('b'), Err('b'));
        assert_eq!(calls.resolve(1), Ok(None));
        assert_eq!(calls.insert('b'), Ok(CALLS_MAX as u32 + 1));
    }
}
