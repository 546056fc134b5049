//! Bytes that are sent one by one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Frame, Lane};

use super::talker::Talker;

/// Frames that wait for one lane, at most.
const FRAMES_MAX: usize = 64;

/// What is sent a byte at a time, by link and lane.
#[derive(Debug, Default)]
pub(super) struct Drip {
    waiting: BTreeMap<(LinkId, Lane), VecDeque<Bytes>>,
}

impl Drip {
    /// Adds bytes to what drips; nothing if too much waits already.
    pub fn push(&mut self, link: LinkId, lane: Lane, frame: Frame) {
        let waiting = self.waiting.entry((link, lane)).or_default();
        if waiting.len() < FRAMES_MAX {
            let pieces = [frame.head, frame.body].into_iter();
            waiting.extend(pieces.filter(|piece| !piece.is_empty()));
        }
    }

    /// Whether something drips on this lane.
    pub fn is_busy(&self, link: LinkId, lane: Lane) -> bool {
        self.waiting.contains_key(&(link, lane))
    }

    /// Sends a byte on each lane.
    pub fn fall(&mut self, talker: &mut Talker) {
        self.waiting.retain(|(link, lane), waiting| {
            let Some(piece) = waiting.front_mut() else {
                return false;
            };
            let byte = piece.split_to(1);
            if piece.is_empty() {
                waiting.pop_front();
            }
            talker.send(*link, *lane, byte);
            talker.deed("bytes dripped");
            !waiting.is_empty()
        });
    }

    /// A link is gone.
    pub fn forget(&mut self, gone: LinkId) {
        self.waiting.retain(|(link, _), _| *link != gone);
    }
}
