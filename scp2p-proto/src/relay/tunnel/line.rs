//! The tunnel of a slot: one request at a time goes to its owner, the others wait.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::id::{LinkId, NodeKey};
use crate::io::Frame;
use crate::limits::{SLOT_BURST, SLOT_PER_SECOND, SLOT_QUEUE_MAX};
use crate::session::Ticket;
use crate::time::Time;
use crate::token_bucket::TokenBucket;
use crate::view::{AskerView, TunnelView};
use crate::wire::{Envelope, RelayStreamKind};

/// How long a requester waits, by SPECIFICATION §9.7.
const ASKER_TIME: Duration = Duration::from_secs(30);
/// An owner that takes longer for one answer loses its tunnel: until it answers, nobody else can be served.
const OWNER_TIME: Duration = Duration::from_secs(120);

/// A session on which we ask the owner of a slot.
pub(super) struct Line {
    pub link: LinkId,
    waiting: VecDeque<(Asker, Message)>,
    asked: Option<Asked>,
    /// Those who wait keep to a rate until then.
    paced: Option<Time>,
    last_id: u32,
    bucket: TokenBucket,
    since: Time,
    /// When something went through last.
    used: Time,
    requests: u64,
    bytes: u64,
}

/// Who has something asked, and how it is answered.
pub(super) struct Asker {
    pub peer: NodeKey,
    pub ticket: Ticket,
    /// Where it is.
    pub host: IpAddr,
    pub stream_id: u32,
    pub kind: RelayStreamKind,
    /// What the reply within the reply must be numbered.
    pub req_id: u32,
    pub since: Time,
}

/// What the owner is asked, by type and payload.
pub(super) struct Message {
    kind: u16,
    payload: Bytes,
}

/// The request that the owner has not answered.
struct Asked {
    /// Our number for it, so that no other reply is taken for the one to it.
    req_id: u32,
    until: Time,
    /// None if nobody waits any more; the reply has to come all the same before anything else is asked.
    asker: Option<Asker>,
}

/// What has been waited for too long.
pub(super) enum Late {
    /// These askers wait no more.
    Askers(Vec<Asker>),
    /// The owner does not answer.
    Owner,
}

impl Line {
    pub(super) fn new(link: LinkId, now: Time) -> Line {
        Line {
            link,
            waiting: VecDeque::new(),
            asked: None,
            paced: None,
            last_id: 0,
            bucket: TokenBucket::new(SLOT_BURST, SLOT_PER_SECOND, now),
            since: now,
            used: now,
            requests: 0,
            bytes: 0,
        }
    }

    /// Whether one more may wait.
    pub(super) fn takes(&mut self, now: Time) -> bool {
        self.waiting.len() < SLOT_QUEUE_MAX && self.bucket.take(now, 1)
    }

    /// Somebody has the owner asked.
    pub(super) fn push(&mut self, asker: Asker, inner: &Envelope) {
        let message = Message {
            kind: inner.kind,
            // What waits must not hold all that was read with it.
            payload: Bytes::copy_from_slice(&inner.payload),
        };
        self.waiting.push_back((asker, message));
    }

    /// Who may ask the owner now, and what. `at` says when those at an address may; of those who have waited for as long
    /// the first goes first.
    pub(super) fn next(
        &mut self,
        now: Time,
        at: impl Fn(IpAddr) -> Time,
    ) -> Option<(Asker, Message)> {
        if self.asked.is_some() || self.paced.is_some_and(|until| until > now) {
            return None;
        }
        let times = self.waiting.iter().map(|(asker, _)| at(asker.host));
        let (place, time) = times.enumerate().min_by_key(|(_, at)| *at)?;
        self.paced = Some(time).filter(|time| *time > now);
        match self.paced {
            Some(_) => None,
            None => self.waiting.remove(place),
        }
    }

    /// Nobody asks before.
    pub(super) fn pause(&mut self, until: Time) {
        self.paced = self.paced.max(Some(until));
    }

    /// The frame that goes to the owner.
    pub(super) fn ask(&mut self, asker: Asker, message: Message, now: Time) -> Frame {
        self.last_id = self.last_id.wrapping_add(1);
        self.requests = self.requests.saturating_add(1);
        self.asked = Some(Asked {
            req_id: self.last_id,
            until: now + OWNER_TIME,
            asker: Some(asker),
        });
        let request = Envelope {
            kind: message.kind,
            req_id: self.last_id,
            flags: 0,
            payload: message.payload,
        };
        request.into_frame()
    }

    /// So many bytes went through.
    pub(super) fn passed(&mut self, bytes: u64, now: Time) {
        self.used = now;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The owner has answered; who waits for it. What answers nothing that was asked is for nobody.
    pub(super) fn answered(&mut self, reply: &Envelope) -> Option<Asker> {
        let asked = self.asked.take_if(|asked| asked.req_id == reply.req_id)?;
        asked.asker
    }

    /// Requests of a type that wait are not to go out; who asked them.
    pub(super) fn withdraw(&mut self, kind: u16) -> impl Iterator<Item = Asker> {
        let waiting = mem::take(&mut self.waiting).into_iter();
        let (gone, kept) = waiting.partition::<VecDeque<_>, _>(|(_, message)| message.kind == kind);
        self.waiting = kept;
        gone.into_iter().map(|(asker, _)| asker)
    }

    /// Those who came over this link have gone.
    pub(super) fn forget(&mut self, link: LinkId) {
        let is_its = |asker: &Asker| asker.ticket.link() == link;
        self.waiting.retain(|(asker, _)| !is_its(asker));
        if let Some(asked) = &mut self.asked {
            asked.asker.take_if(|asker| is_its(asker));
        }
    }

    /// What is late now.
    pub(super) fn late(&mut self, now: Time) -> Late {
        if self.asked.as_ref().is_some_and(|asked| asked.until <= now) {
            return Late::Owner;
        }
        let is_late = |asker: &Asker| asker.until() <= now;
        let mut late = Vec::new();
        if let Some(asked) = &mut self.asked {
            late.extend(asked.asker.take_if(|asker| is_late(asker)));
        }
        while let Some((asker, _)) = self.waiting.pop_front_if(|(asker, _)| is_late(asker)) {
            late.push(asker);
        }
        Late::Askers(late)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let asked = self.asked.as_ref().map(|asked| asked.until);
        let is_idle = self.asked.is_none() && !self.waiting.is_empty();
        let next = self.paced.filter(|_| is_idle);
        let askers = self.askers().map(Asker::until);
        askers.chain(asked).chain(next).min()
    }

    /// All who wait.
    pub(super) fn askers(&self) -> impl Iterator<Item = &Asker> {
        let asked = self.asked.iter().filter_map(|asked| asked.asker.as_ref());
        asked.chain(self.waiting.iter().map(|(asker, _)| asker))
    }

    /// All who wait, when the tunnel is no more.
    pub(super) fn into_askers(self) -> impl Iterator<Item = Asker> {
        let asked = self.asked.and_then(|asked| asked.asker);
        asked
            .into_iter()
            .chain(self.waiting.into_iter().map(|(asker, _)| asker))
    }

    pub(super) fn view(&self, now: Time) -> TunnelView {
        let asking = self.askers().map(|asker| AskerView {
            peer: asker.peer,
            age: now.since(asker.since),
        });
        TunnelView {
            age: now.since(self.since),
            idle: now.since(self.used),
            requests: self.requests,
            bytes: self.bytes,
            asking: asking.collect(),
        }
    }
}

impl Asker {
    /// How long it waits.
    fn until(&self) -> Time {
        self.since + ASKER_TIME
    }
}

#[cfg(any(test, feature = "check"))]
impl Line {
    pub(super) fn check(&self, broken: &mut crate::check::Broken) {
        broken.at_most(
            "requests that wait for a slot's owner",
            self.waiting.len(),
            SLOT_QUEUE_MAX,
        );
        let is_held = self.asked.is_some() || self.paced.is_some();
        broken.unless(is_held || self.waiting.is_empty(), || {
            "requests wait for an owner who is asked nothing".into()
        });
    }
}
