//! Owners of slots that we ask. What a tunnel leads to is a link like any other, on which our requests become those of
//! RELAY_STREAM to the relay; but there is no handshake with its other end. So whoever answers has no key here, only a
//! name, made of the relay's key and the slot, which nobody takes for the key of a peer.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::cx::{self, CallError, ConnectError, Cx, Outcome};
use crate::id::{LinkId, NodeKey, RelaySlotId};
use crate::io::{Frame, Lane, LinkError, LinkEvent};
use crate::limits::{SLOTS_ASKED_MAX, SLOTS_RESTING_MAX, TUNNEL_ROOM};
use crate::lru::Lru;
use crate::outbox::ForCircuit;
use crate::relay::Tag;
use crate::time::Time;
use crate::wire::{Answer, Envelope, RelayRoute, RelayStream, Request, unframed};

/// How long a relay has for an answer, by SPECIFICATION §9.7.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// A tunnel over which nothing was asked for so long is forgotten.
const IDLE_TIME: Duration = Duration::from_secs(120);
/// An owner that could not be asked is left alone for so long.
const REST_TIME: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(in crate::relay) struct Asking {
    ways: BTreeMap<LinkId, Way>,
    /// Relays being connected, with those who wait for that.
    reaching: BTreeMap<RelayRoute, Vec<cx::Tag>>,
    resting: Resting,
    last_link: u64,
}

/// A slot that is asked.
struct Way {
    name: NodeKey,
    relay: NodeKey,
    slot: RelaySlotId,
    waiting: VecDeque<Envelope>,
    /// Type and number of the request that the relay has. It gets the next one with the answer, as its queue is for all.
    asked: Option<(u16, u32)>,
    used: Time,
}

/// Until when slots are left alone.
struct Resting(Lru<NodeKey, Time>);

impl Default for Resting {
    fn default() -> Resting {
        Resting(Lru::new(SLOTS_RESTING_MAX))
    }
}

impl Asking {
    /// Sees to it that the owner of a slot can be asked. The outcome is [`Outcome::Reached`], with a name for it.
    pub(in crate::relay) fn reach(&mut self, cx: &mut Cx<'_>, route: RelayRoute, tag: cx::Tag) {
        if let Some(waiting) = self.reaching.get_mut(&route) {
            return waiting.push(tag);
        }
        if self.ways.len() + self.reaching.len() >= SLOTS_ASKED_MAX {
            return cx.outcome(tag, Outcome::Reached(Err(ConnectError::Busy)));
        }
        cx.reach(route.relay.clone(), Tag::Relay(Box::new(route.clone())));
        self.reaching.insert(route, [tag].into());
    }

    /// The relay is connected, or cannot be.
    pub(in crate::relay) fn on_reached(
        &mut self,
        cx: &mut Cx<'_>,
        route: &RelayRoute,
        relay: Result<NodeKey, ConnectError>,
    ) {
        let reached = relay.and_then(|relay| self.open(cx, relay, route));
        for tag in self.reaching.remove(route).unwrap_or_default() {
            cx.outcome(tag, Outcome::Reached(reached));
        }
    }

    fn open(
        &mut self,
        cx: &mut Cx<'_>,
        relay: NodeKey,
        route: &RelayRoute,
    ) -> Result<NodeKey, ConnectError> {
        let slot = route.slot;
        let name = NodeKey::of_slot(&relay, slot);
        if self.ways.values().any(|way| way.name == name) {
            return Ok(name);
        }
        if self
            .resting
            .0
            .peek(&name)
            .is_some_and(|until| *until > cx.now.mono)
        {
            return Err(ConnectError::BackOff);
        }
        self.last_link += 1;
        let link = LinkId::tunnel(self.last_link);
        let way = Way {
            name,
            relay,
            slot,
            waiting: VecDeque::new(),
            asked: None,
            used: cx.now.mono,
        };
        self.ways.insert(link, way);
        cx.open_tunnel(link, name, relay, route.relay.clone());
        cx.link(link, LinkEvent::Room(Lane::Control, TUNNEL_ROOM));
        Ok(name)
    }

    /// A link that is a tunnel is asked something.
    pub(in crate::relay) fn on_ask(&mut self, cx: &mut Cx<'_>, link: LinkId, ask: ForCircuit) {
        match ask {
            ForCircuit::Send(frame) => self.send(cx, link, frame),
            // The answer to one request at a time is what is under way.
            ForCircuit::Grant(_) => {}
            ForCircuit::Close => self.close(cx.now.mono, link),
        }
    }

    /// Something is to be asked.
    fn send(&mut self, cx: &mut Cx<'_>, link: LinkId, frame: Frame) {
        let Some(way) = self.ways.get_mut(&link) else {
            return;
        };
        if let Ok(request) = Envelope::decode(&unframed(frame)) {
            way.waiting.push_back(request);
            way.ask_next(cx, link);
        }
    }

    /// A tunnel was closed, because nothing or nothing good came out of it.
    fn close(&mut self, now: Time, link: LinkId) {
        if let Some(way) = self.ways.remove(&link) {
            self.resting.0.insert(way.name, now + REST_TIME);
        }
    }

    /// The relay has answered.
    pub(in crate::relay) fn on_answer(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        answer: Result<Answer, CallError>,
    ) {
        let Some(way) = self.ways.get_mut(&link) else {
            return;
        };
        let Some((kind, req_id)) = way.asked.take() else {
            return;
        };
        match answer {
            Ok(Answer::RelayStream(stream)) if stream.slot == way.slot => {
                // The reply is that to the one request under way, whatever its number; errors among them are the owner's.
                match stream.inner() {
                    Ok(reply) if reply.is_response() => {
                        deliver(cx, link, Envelope { req_id, ..reply }.into_frame());
                    }
                    Ok(_) | Err(_) => return self.end(cx, link),
                }
            }
            Err(CallError::Refused { rate_limited: true }) => {
                deliver(
                    cx,
                    link,
                    Answer::error_frame(kind, req_id, "rate limit: of the relay"),
                );
            }
            Ok(_) | Err(_) => return self.end(cx, link),
        }
        way.ask_next(cx, link);
    }

    /// A tunnel is of no use.
    fn end(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        self.close(cx.now.mono, link);
        cx.link(link, LinkEvent::Closed(LinkError::Lost));
    }

    pub(in crate::relay) fn on_time(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let idle = |way: &mut Way| way.idle_at().is_some_and(|at| at <= now);
        for (link, _) in self.ways.extract_if(.., |_, way| idle(way)) {
            cx.link(link, LinkEvent::Closed(LinkError::Closed));
        }
    }

    pub(in crate::relay) fn deadline(&self) -> Option<Time> {
        self.ways.values().filter_map(Way::idle_at).min()
    }

    /// What is waited for.
    pub(in crate::relay) fn tags(&self) -> impl Iterator<Item = &cx::Tag> {
        self.reaching.values().flatten()
    }

    /// Whether a relay has something of ours to relay.
    pub(in crate::relay) fn is_asking(&self, relay: &NodeKey) -> bool {
        self.ways.values().any(|way| way.relay == *relay)
    }
}

impl Way {
    fn ask_next(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        if self.asked.is_some() {
            return;
        }
        let Some(request) = self.waiting.pop_front() else {
            return;
        };
        self.asked = Some((request.kind, request.req_id));
        self.used = cx.now.mono;
        let inner = request.encode();
        let room = (inner.len() as u32).saturating_add(4);
        let stream = Request::RelayStream(RelayStream::for_owner(self.slot, inner));
        cx.call(self.relay, stream, ANSWER_TIME, Tag::Stream(link));
        cx.link(link, LinkEvent::Room(Lane::Control, room));
    }

    fn idle_at(&self) -> Option<Time> {
        self.asked.is_none().then_some(self.used + IDLE_TIME)
    }
}

fn deliver(cx: &mut Cx<'_>, link: LinkId, frame: Frame) {
    for bytes in [frame.head, frame.body] {
        cx.link(link, LinkEvent::Bytes(Lane::Control, bytes));
    }
}

#[cfg(any(test, feature = "check"))]
impl Asking {
    pub(in crate::relay) fn check(
        &self,
        roster: &crate::session::Roster,
        broken: &mut crate::check::Broken,
    ) {
        use alloc::collections::BTreeSet;
        let asked = self.ways.len() + self.reaching.len();
        broken.at_most("slots that are asked", asked, SLOTS_ASKED_MAX);
        self.resting.0.check("slots that are left alone", broken);
        let shown = roster.tunnels().map(|(_, session)| session);
        let shown = shown.filter(|session| session.is_callable());
        let shown: BTreeSet<LinkId> = shown.map(|session| session.link).collect();
        let known: BTreeSet<LinkId> = self.ways.keys().copied().collect();
        broken.unless(shown == known, || {
            "tunnels are not those that are shown".into()
        });
        broken.unless(
            self.ways
                .values()
                .all(|way| way.asked.is_some() || way.waiting.is_empty()),
            || "a request waits for a relay that is asked nothing".into(),
        );
    }
}
