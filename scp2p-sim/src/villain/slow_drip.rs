//! A byte a second, on as many links as it may hold.

use scp2p_proto::id::{LinkId, NodeId};
use scp2p_proto::io::{Frame, Lane};
use scp2p_proto::wire::Request;

use super::drip::Drip;
use super::talker::{Asked, Policy, Talker, Way};

/// Links on which it never ends its hello.
const LINKS_MAX: usize = 16;
/// Frames that it lets an honest node wait for.
const REQUESTS: u64 = 3;

/// Takes its time.
#[derive(Debug, Default)]
pub(super) struct SlowDrip {
    drip: Drip,
    turns: u64,
}

impl Policy for SlowDrip {
    fn turn(&mut self, talker: &mut Talker) {
        self.turns += 1;
        talker.keep_sessions(Way::Ours);
        if talker.len() < LINKS_MAX + talker.known.targets.len()
            && let Some(target) = talker.target()
        {
            talker.dial(&target, Way::Raw);
        }
        if self.turns.is_multiple_of(60)
            && let Some(link) = talker.session()
        {
            // It asks and reads nothing, and asks a byte at a time.
            talker.read(link, false);
            for _ in 0..REQUESTS {
                let request = Request::FindNode(NodeId(talker.random()));
                self.drip.push(link, Lane::Control, request.to_frame(1));
            }
            talker.deed("dripping requests");
        }
        self.drip.fall(talker);
    }

    fn accepts(&mut self, talker: &mut Talker, _link: LinkId) -> Way {
        // Who dials waits for an answer in vain, every other time.
        if talker.rng.chance(1, 2) {
            talker.deed("callers left waiting");
            Way::Raw
        } else {
            Way::Ours
        }
    }

    fn opened(&mut self, talker: &mut Talker, link: LinkId) {
        let keys = talker.keys.clone();
        let hello = Frame {
            head: talker.deployed_hello(&keys, None),
            body: Default::default(),
        };
        // Some say nothing at all.
        if talker.rng.chance(3, 4) {
            self.drip.push(link, Lane::Control, hello);
            talker.deed("dripping hellos");
        }
    }

    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        if !self.drip.is_busy(asked.link, Lane::Control) {
            talker.answer_well(&asked);
        }
    }

    fn gone(&mut self, talker: &mut Talker, link: LinkId) {
        self.drip.forget(link);
        talker.deed("links lost");
    }
}
