//! A talker and the policy that it acts by.

use core::fmt;
use std::time::Duration;

use bytes::Bytes;
use scp2p_proto::command::CommandError;
use scp2p_proto::id::{CircuitId, LinkId};
use scp2p_proto::io::{HostEvent, Input, Lane, Output};
use scp2p_proto::record::ShareLink;
use scp2p_proto::time::{Now, Time};
use scp2p_proto::wire::{Answer, AnswerError, CircuitFrame, Request};

use super::{Asked, Heard, Talker, Way};
use crate::villain::{Deeds, Knowledge, Villain};

/// What a villain does with what a talker can.
pub(crate) trait Policy: fmt::Debug {
    /// How long it is from one [`Policy::turn`] to the next, more or less.
    fn pace(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// It is its turn to act.
    fn turn(&mut self, talker: &mut Talker);

    /// How to speak with somebody who dialled.
    fn accepts(&mut self, _talker: &mut Talker, _link: LinkId) -> Way {
        Way::Ours
    }

    /// A raw link that it dialled is up.
    fn opened(&mut self, _talker: &mut Talker, _link: LinkId) {}

    /// Bytes came on a raw link.
    fn raw(&mut self, _talker: &mut Talker, _link: LinkId, _lane: Lane, _bytes: Bytes) {}

    /// A session is up.
    fn up(&mut self, _talker: &mut Talker, _link: LinkId) {}

    /// An honest node asks.
    fn request(&mut self, talker: &mut Talker, asked: Asked) {
        talker.answer_well(&asked);
    }

    /// An honest node answers.
    fn reply(
        &mut self,
        _talker: &mut Talker,
        _link: LinkId,
        _request: Request,
        _answer: Result<Answer, AnswerError>,
    ) {
    }

    /// Something of a circuit came over a session.
    fn circuit(
        &mut self,
        _talker: &mut Talker,
        _link: LinkId,
        _circuit: CircuitId,
        _frame: CircuitFrame,
    ) {
    }

    /// A link is gone.
    fn gone(&mut self, _talker: &mut Talker, _link: LinkId) {}

    /// See [`Villain::share`].
    fn share(&self, _talker: &Talker) -> Option<ShareLink> {
        None
    }
}

/// A villain.
#[derive(Debug)]
pub(crate) struct Actor<P> {
    talker: Talker,
    policy: P,
    next: Time,
}

impl<P: Policy> Actor<P> {
    pub fn new(policy: P, talker: Talker) -> Actor<P> {
        Actor {
            talker,
            policy,
            next: Time(0),
        }
    }

    fn route(&mut self) {
        let (policy, talker) = (&mut self.policy, &mut self.talker);
        while let Some(heard) = talker.heard.pop_front() {
            match heard {
                Heard::Accepted(link) => {
                    let way = policy.accepts(talker, link);
                    talker.accept(link, way);
                }
                Heard::Opened(link) => policy.opened(talker, link),
                Heard::Raw(link, lane, bytes) => policy.raw(talker, link, lane, bytes),
                Heard::Up(link) => policy.up(talker, link),
                Heard::Request(asked) => policy.request(talker, asked),
                Heard::Reply(link, request, answer) => policy.reply(talker, link, request, answer),
                Heard::Circuit(link, circuit, frame) => {
                    policy.circuit(talker, link, circuit, frame);
                }
                Heard::Gone(link) => policy.gone(talker, link),
            }
        }
    }
}

impl<P: Policy> Villain for Actor<P> {
    fn handle(&mut self, now: Now, input: Input) {
        self.talker.now = Now {
            mono: now.mono.max(self.talker.now.mono),
            unix: now.unix,
        };
        match input {
            Input::Link(link, event) => self.talker.on_link(link, event),
            Input::Host(HostEvent::Addresses(ips)) => {
                self.talker.own_ip = ips.first().copied().or(self.talker.own_ip);
            }
            // It takes no orders.
            Input::Command(op, _) => {
                let done = Output::Done(op, Err(CommandError::Stopping));
                self.talker.out.push_back(done);
            }
            Input::Tick
            | Input::Loaded(..)
            | Input::Written(..)
            | Input::Committed(..)
            | Input::Host(HostEvent::Resumed) => {}
        }
        self.route();
        if self.talker.now.mono >= self.next {
            self.talker.give_up();
            self.policy.turn(&mut self.talker);
            self.route();
            let pace = self.talker.rng.jitter(self.policy.pace());
            self.next = self.talker.now.mono + pace.max(Duration::from_millis(1));
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.talker.out.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        Some(self.next)
    }

    fn share(&self) -> Option<ShareLink> {
        self.policy.share(&self.talker)
    }

    fn learn(&mut self, knowledge: Knowledge) {
        self.talker.known = knowledge;
    }

    fn deeds(&self) -> &Deeds {
        &self.talker.deeds
    }
}
