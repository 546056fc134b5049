//! Circuits through relays: as a relay, and as one of the ends (SPECIFICATION §11); and the tunnels of deployed peers
//! (SPECIFICATION §9.7).

mod carrier;
mod ends;
mod pipes;
mod places;
mod tunnel;

use alloc::boxed::Box;
use core::time::Duration;

use self::carrier::Carrier;
use self::ends::Ends;
use self::pipes::{At, Pipes};
use self::places::Places;
use self::tunnel::{Asking, Own, Slots};
use crate::cx::{self, Cx, Outcome};
use crate::id::{CircuitId, LinkId, NodeKey, RelaySlotId};
use crate::outbox::ForCircuit;
use crate::rng::Rng;
use crate::session::{Roster, Ticket};
use crate::time::Time;
use crate::wire::{CircuitFrame, Envelope, PeerAddr, RelayRegister, RelayRoute, RelayStream};

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A relay is asked to connect us, as this link.
    Connect(LinkId),
    /// Somebody is told of a circuit, by the number under which who asked for it waits.
    Incoming(u64),
    /// A relay is asked for a place.
    Reserve,
    /// The relay of a slot is being connected.
    Relay(Box<RelayRoute>),
    /// A relay has the owner of a slot asked, for this link.
    Stream(LinkId),
}

/// How long a relay waits for the other end to take a circuit.
const INCOMING_TIME: Duration = Duration::from_secs(4);
/// How long a circuit may take, with the session to the relay.
const CONNECT_TIME: Duration = Duration::from_secs(8);

/// All that has to do with relays.
pub(crate) struct Relay {
    pipes: Pipes,
    carrier: Carrier,
    ends: Ends,
    places: Places,
    slots: Slots,
    asking: Asking,
    own: Own,
}

impl Relay {
    pub(crate) fn new(places: Rng, slots: Rng, own: Rng) -> Relay {
        Relay {
            pipes: Pipes::default(),
            carrier: Carrier::default(),
            ends: Ends::default(),
            places: Places::new(places),
            slots: Slots::new(slots),
            asking: Asking::default(),
            own: Own::new(own),
        }
    }

    /// A peer asks for a place.
    pub(crate) fn on_reserve(&mut self, cx: &mut Cx<'_>, from: NodeKey, ticket: Ticket) {
        self.carrier.on_reserve(cx, from, ticket);
    }

    /// A peer asks for a circuit to somebody who has a place here.
    pub(crate) fn on_connect(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        target: NodeKey,
    ) {
        self.carrier
            .on_connect(cx, &self.pipes, from, ticket, target);
    }

    /// A relay has somebody who asks for us.
    pub(crate) fn on_incoming(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        circuit: CircuitId,
    ) {
        if self.places.has(&from) {
            self.ends
                .on_incoming(cx, &mut self.pipes, from, ticket, circuit);
        } else {
            cx.refuse(ticket, "no reservation");
        }
    }

    /// A deployed peer wants a slot.
    pub(crate) fn on_register(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        register: RelayRegister,
    ) {
        self.slots.on_register(cx, from, ticket, register);
    }

    /// A peer says that it will have the owner of a slot asked.
    pub(crate) fn on_slot_connect(&mut self, cx: &mut Cx<'_>, ticket: Ticket, slot: RelaySlotId) {
        self.slots.on_connect(cx, ticket, slot);
    }

    /// A peer has the owner of a slot asked.
    pub(crate) fn on_stream(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        stream: &RelayStream,
    ) {
        self.slots.on_stream(cx, from, ticket, stream);
    }

    /// Sees to it that the owner of a slot can be asked. The outcome is [`Outcome::Reached`].
    pub(crate) fn reach(&mut self, cx: &mut Cx<'_>, route: RelayRoute, tag: cx::Tag) {
        self.asking.reach(cx, route, tag);
    }

    /// A session for a tunnel of ours is up with the relay at this address.
    pub(crate) fn on_tunnel_up(&mut self, cx: &mut Cx<'_>, link: LinkId, relay: PeerAddr) {
        self.own.on_opened(cx, link, relay);
    }

    /// What is waited for.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &cx::Tag> {
        self.asking.tags()
    }

    /// Something that answers came on a session that is a tunnel.
    pub(crate) fn on_tunnel(&mut self, cx: &mut Cx<'_>, link: LinkId, reply: Envelope) {
        self.own.on_reply(cx, link, &reply);
        self.slots.on_reply(cx, link, reply);
    }

    /// Opens a circuit to a peer as this link.
    pub(crate) fn connect(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        relay: NodeKey,
        target: NodeKey,
    ) {
        self.ends.connect(cx, link, relay, target);
    }

    /// Something of a circuit came over a session.
    pub(crate) fn on_frame(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        circuit: CircuitId,
        frame: CircuitFrame,
    ) {
        self.pipes.on_frame(cx, At { link, circuit }, frame);
    }

    /// A link that is a circuit is asked something.
    pub(crate) fn on_ask(&mut self, cx: &mut Cx<'_>, link: LinkId, ask: ForCircuit) {
        match ask {
            ForCircuit::Send(frame) if link.is_tunnel() => self.asking.send(cx, link, frame),
            // The answer to one request at a time is what is under way.
            ForCircuit::Grant(_) if link.is_tunnel() => {}
            ForCircuit::Close if link.is_tunnel() => self.asking.close(cx.now.mono, link),
            ForCircuit::Send(frame) => self.pipes.send(cx, link, frame.head),
            ForCircuit::Grant(bytes) => self.pipes.grant(cx, link, bytes),
            ForCircuit::Close => {
                if !self.pipes.close(cx, link) {
                    self.ends.give_up(link);
                }
            }
        }
    }

    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        let (from, answer, receipt) = match outcome {
            Outcome::Answer {
                from,
                answer,
                receipt,
            } => (from, answer, receipt),
            Outcome::Reached(relay) => {
                if let Tag::Relay(route) = tag {
                    self.asking.on_reached(cx, &route, relay);
                }
                return;
            }
            Outcome::Loaded(_)
            | Outcome::Written(_)
            | Outcome::Committed(_)
            | Outcome::Found(_)
            | Outcome::Stored(_) => return,
        };
        match tag {
            Tag::Stream(link) => self.asking.on_answer(cx, link, answer),
            Tag::Relay(_) => {}
            Tag::Connect(link) => {
                self.ends
                    .on_connected(cx, &mut self.pipes, link, from, receipt.link, answer);
            }
            Tag::Incoming(number) => {
                self.carrier
                    .on_taken(cx, &mut self.pipes, number, receipt.link, answer);
            }
            Tag::Reserve => self.places.on_reserved(cx, from, answer),
        }
    }

    /// One more frame of a circuit may go out on a session.
    pub(crate) fn pump(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        self.pipes.pump(cx, link);
    }

    /// A session that was held up takes more.
    pub(crate) fn on_room(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        self.pipes.on_room(cx, link);
    }

    /// A session is up.
    pub(crate) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.places.on_up(cx, peer);
        self.own.on_up(cx, &peer);
    }

    /// A session has ended.
    pub(crate) fn on_down(&mut self, cx: &mut Cx<'_>, link: LinkId, peer: NodeKey, last: bool) {
        self.pipes.session_down(cx, link);
        self.carrier.on_down(link);
        self.slots.on_down(cx, link);
        self.own.on_down(cx, link);
        if last {
            self.places.on_down(cx, peer);
        }
    }

    /// Whether the session with a peer is kept although nothing is asked over it.
    pub(crate) fn needs(&self, peer: &NodeKey, roster: &Roster) -> bool {
        let links = roster.all(peer).iter().map(|session| session.link);
        self.carrier.has_place(peer)
            || self.places.has(peer)
            || self.pipes.is_on(links)
            || self.asking.is_asking(peer)
    }

    /// Whether others can dial us without a relay.
    pub(crate) fn on_reachable(&mut self, cx: &mut Cx<'_>, is_direct: bool) {
        self.places.on_reachable(cx, is_direct);
        self.own.on_reachable(cx, is_direct);
    }

    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {
        self.places.on_time(cx);
        self.carrier.on_time(cx, &mut self.pipes);
        self.slots.on_time(cx);
        self.asking.on_time(cx);
        self.own.on_time(cx, self.places.is_any_held());
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let parts = [
            self.places.deadline(),
            self.carrier.deadline(),
            self.slots.deadline(),
            self.asking.deadline(),
            self.own.deadline(),
        ];
        parts.into_iter().flatten().min()
    }
}

#[cfg(any(test, feature = "check"))]
impl Relay {
    pub(crate) fn check(&self, roster: &Roster, broken: &mut crate::check::Broken) {
        self.pipes.check(broken);
        self.carrier.check(broken);
        self.slots.check(roster, broken);
        self.asking.check(roster, broken);
        self.own.check(roster, broken);
    }

    /// The links on which requests wait for an answer.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.carrier.tickets().chain(self.slots.tickets())
    }
}
