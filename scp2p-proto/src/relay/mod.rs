//! Circuits through relays: as a relay, and as one of the ends; which relays there are (SPECIFICATION §11); and the tunnels of
//! deployed peers (SPECIFICATION §9.7).

mod announce;
mod carrier;
mod ends;
mod finder;
mod passages;
mod pipes;
mod places;
mod tunnel;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use self::announce::Announcer;
use self::carrier::Carrier;
use self::ends::Ends;
use self::finder::Finder;
use self::passages::PassageId;
use self::pipes::{At, Pipes};
use self::places::Places;
use self::tunnel::{Asking, Own, Slots};
use crate::cx::{self, CallError, Cx, Outcome};
use crate::id::{CircuitId, LinkId, NodeKey, RelaySlotId};
use crate::limits::RELAY_ANNOUNCEMENTS_MAX;
use crate::netgroup::{Netgroup, subscriber};
use crate::outbox::ForCircuit;
use crate::record::RelayAnnouncement;
use crate::rng::Rng;
use crate::session::{Roster, Ticket};
use crate::time::{Now, Time};
use crate::view::RelayView;
use crate::wire::{
    Answer, CircuitFrame, Envelope, NewCircuit, PeerAddr, Profile, RelayRegister, RelayRoute,
    RelayStream,
};

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A relay is asked to connect us, as this link.
    Connect(LinkId),
    /// Somebody is told of a circuit that another waits for.
    Incoming(PassageId),
    /// A relay is asked for a place.
    Reserve,
    /// A relay where we have a place is pinged.
    Watched,
    /// A peer is asked which relays it knows.
    Listed,
    /// A rendezvous key is looked up.
    Looked,
    /// An announcement of ours is stored.
    Announced,
    /// The relay of a slot is being connected.
    Relay(Box<RelayRoute>),
    /// A relay has the owner of a slot asked, for this link.
    Stream(LinkId),
}

/// How long a relay waits for the other end to take a circuit.
const INCOMING_TIME: Duration = Duration::from_secs(4);
/// How long a circuit may take, with the session to the relay.
const CONNECT_TIME: Duration = Duration::from_secs(8);
/// Why a relay that is about to stop refuses.
const CLOSING: &str = "the relay is about to stop";

/// All that has to do with relays.
pub(crate) struct Relay {
    pipes: Pipes,
    carrier: Carrier,
    ends: Ends,
    places: Places,
    announcer: Announcer,
    finder: Finder,
    slots: Slots,
    asking: Asking,
    own: Own,
}

impl Relay {
    /// `rng` gives each part its own stream.
    pub(crate) fn new(rng: impl Fn(&'static str) -> Rng) -> Relay {
        Relay {
            pipes: Pipes::default(),
            carrier: Carrier::default(),
            ends: Ends::default(),
            places: Places::new(rng("relay")),
            announcer: Announcer::new(rng("relay announcer")),
            finder: Finder::new(rng("relay finder")),
            slots: Slots::new(rng("slots")),
            asking: Asking::default(),
            own: Own::new(rng("tunnel")),
        }
    }

    /// A peer asks for a place.
    pub(crate) fn on_reserve(&mut self, cx: &mut Cx<'_>, from: NodeKey, ticket: Ticket) {
        self.carrier.on_reserve(cx, &mut self.pipes, from, ticket);
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
            .on_connect(cx, &mut self.pipes, from, ticket, target);
    }

    /// A relay has somebody who asks for us.
    pub(crate) fn on_incoming(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        new: NewCircuit,
    ) {
        if self.places.has(&from) {
            self.ends
                .on_incoming(cx, &mut self.pipes, from, ticket, new);
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
        self.slots
            .on_stream(cx, &mut self.pipes.passages, from, ticket, stream);
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
        self.slots
            .on_reply(cx, &mut self.pipes.passages, link, reply);
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
        if link.is_tunnel() {
            return self.asking.on_ask(cx, link, ask);
        }
        match ask {
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
        match outcome {
            Outcome::Answer {
                from,
                answer,
                receipt,
            } => self.on_answer(cx, tag, from, answer, receipt.link),
            Outcome::Found(found) => {
                let is_lacking = self.places.is_lacking();
                self.finder.on_found(cx, found, is_lacking);
            }
            Outcome::Stored(taken) => self.announcer.on_stored(cx, taken),
            Outcome::Reached(relay) => {
                if let Tag::Relay(route) = tag {
                    self.asking.on_reached(cx, &route, relay);
                }
            }
            Outcome::Loaded(_) | Outcome::Written(_) | Outcome::Committed(_) => {}
        }
    }

    fn on_answer(
        &mut self,
        cx: &mut Cx<'_>,
        tag: Tag,
        from: NodeKey,
        answer: Result<Answer, CallError>,
        over: LinkId,
    ) {
        match tag {
            Tag::Stream(link) => self.asking.on_answer(cx, link, answer),
            Tag::Relay(_) => {}
            Tag::Connect(link) => {
                self.ends
                    .on_connected(cx, &mut self.pipes, link, from, over, answer);
            }
            Tag::Incoming(passage) => {
                self.carrier
                    .on_taken(cx, &mut self.pipes, passage, over, answer);
            }
            Tag::Reserve => self.places.on_reserved(cx, from, answer),
            Tag::Watched => self.places.on_watched(cx, from, answer),
            Tag::Listed => self.finder.on_listed(cx, from, answer),
            Tag::Looked | Tag::Announced => {}
        }
    }

    /// A peer asks which relays there are.
    pub(crate) fn on_list_relays(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        max_count: u16,
    ) {
        let mut sessions = cx.roster.all(&from).iter();
        let session = sessions.find(|session| session.link == ticket.link());
        let profile = session.map_or(Profile::C, |session| session.profile);
        let now = cx.now.unix;
        let most = usize::from(max_count).min(RELAY_ANNOUNCEMENTS_MAX);
        let own = self.announcer.own(now).filter(|it| it.suits(profile));
        let mut list: Vec<RelayAnnouncement> = own.take(most).cloned().collect();
        let others = most.saturating_sub(list.len());
        list.extend(self.finder.sample(profile, now, others));
        cx.answer(ticket, Answer::Relays(list));
    }

    /// A relay announced itself here.
    pub(crate) fn on_announced(
        &mut self,
        cx: &mut Cx<'_>,
        announcement: RelayAnnouncement,
        network: Netgroup,
    ) {
        self.finder.heard(cx, announcement, network);
    }

    /// The relays that are known do not suffice.
    pub(crate) fn find_relays(&mut self, cx: &mut Cx<'_>) {
        self.finder.find(cx);
    }

    /// Connected relays, in the order in which to ask them for places.
    pub(crate) fn on_ranked(&mut self, cx: &mut Cx<'_>, relays: Vec<NodeKey>) {
        self.places.on_ranked(cx, relays);
    }

    /// The user prefers this relay.
    pub(crate) fn on_named(&mut self, cx: &mut Cx<'_>, relay: NodeKey) {
        self.places.on_named(cx, relay);
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
        self.announcer.on_up(cx);
        self.own.on_up(cx, &peer);
    }

    /// A session has ended.
    pub(crate) fn on_down(&mut self, cx: &mut Cx<'_>, link: LinkId, peer: NodeKey, last: bool) {
        self.pipes.session_down(cx, link);
        self.carrier.on_down(cx, link, peer);
        self.slots.on_down(cx, link);
        self.own.on_down(cx, link);
        if last {
            if self.places.has(&peer) {
                self.finder.on_lost(cx.now.mono);
            }
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

    /// The limits of what is relayed here are others.
    pub(crate) fn on_limits(&mut self, cx: &mut Cx<'_>) {
        self.carrier.on_limits(cx, &mut self.pipes);
        self.slots.on_limits(cx);
    }

    /// Whether others can dial us without a relay.
    pub(crate) fn on_reachable(&mut self, cx: &mut Cx<'_>, is_direct: bool) {
        self.places.on_reachable(cx, is_direct);
        self.announcer.on_reachable(is_direct);
        self.own.on_reachable(cx, is_direct);
    }

    /// A connected peer is at another address.
    pub(crate) fn on_peer_moved(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        peer: NodeKey,
        ip: IpAddr,
    ) {
        self.carrier.on_moved(cx, link, peer, subscriber(ip));
    }

    /// Our addresses are others.
    pub(crate) fn on_moved(&mut self, cx: &mut Cx<'_>) {
        self.announcer.on_moved(cx);
    }

    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {
        self.places.on_time(cx);
        self.announcer.on_time(cx);
        self.carrier.on_time(cx, &mut self.pipes);
        self.pipes.on_time(cx);
        self.slots.on_time(cx, &mut self.pipes.passages);
        self.asking.on_time(cx);
        self.own.on_time(cx, self.places.is_any_held());
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let parts = [
            self.places.deadline(),
            self.announcer.deadline(),
            self.carrier.deadline(),
            self.pipes.deadline(),
            self.slots.deadline(),
            self.asking.deadline(),
            self.own.deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    /// What this node relays.
    pub(crate) fn view(&self, now: Now) -> RelayView {
        RelayView {
            places: self.carrier.views(now.mono),
            circuits: self.pipes.passages.views(now.mono),
            slots: self.slots.views(now),
            totals: self.pipes.passages.totals(),
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Relay {
    /// `tags` is what all components wait for.
    pub(crate) fn check(
        &self,
        tags: &[&crate::cx::Tag],
        roster: &Roster,
        broken: &mut crate::check::Broken,
    ) {
        let open = |tag: Tag| {
            let tag = crate::cx::Tag::Relay(tag);
            tags.iter().filter(|open| ***open == tag).count()
        };
        self.finder.check(open(Tag::Looked), broken);
        self.announcer.check(open(Tag::Announced), broken);
        self.places.check(open(Tag::Watched), broken);
        self.pipes.check(broken);
        self.carrier.check(&self.pipes, broken);
        self.slots.check(roster, broken);
        self.asking.check(roster, broken);
        self.own.check(roster, broken);
    }

    /// The links on which requests wait for an answer.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.carrier.tickets().chain(self.slots.tickets())
    }
}
