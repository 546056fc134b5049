//! Circuits through relays: as a relay, and as one of the ends; and which relays there are (SPECIFICATION §11).

mod announce;
mod carrier;
mod ends;
mod finder;
mod passages;
mod pipes;
mod places;

use alloc::vec::Vec;
use core::time::Duration;

use self::announce::Announcer;
use self::carrier::Carrier;
use self::ends::Ends;
use self::finder::Finder;
use self::passages::PassageId;
use self::pipes::{At, Pipes};
use self::places::Places;
use crate::cx::{CallError, Cx, Outcome};
use crate::id::{CircuitId, LinkId, NodeKey};
use crate::limits::RELAY_ANNOUNCEMENTS_MAX;
use crate::outbox::ForCircuit;
use crate::record::RelayAnnouncement;
use crate::rng::Rng;
use crate::session::{Roster, Ticket};
use crate::time::Time;
use crate::view::RelayView;
use crate::wire::{Answer, CircuitFrame, NewCircuit, Profile};

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A relay is asked to connect us, as this link.
    Connect(LinkId),
    /// Somebody is told of a circuit that another waits for.
    Incoming(PassageId),
    /// A relay is asked for a place.
    Reserve,
    /// A peer is asked which relays it knows.
    Listed,
    /// A rendezvous key is looked up.
    Looked,
    /// An announcement of ours is stored.
    Announced,
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
    announcer: Announcer,
    finder: Finder,
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
            Outcome::Loaded(_)
            | Outcome::Written(_)
            | Outcome::Committed(_)
            | Outcome::Reached(_) => {}
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
            Tag::Connect(link) => {
                self.ends
                    .on_connected(cx, &mut self.pipes, link, from, over, answer);
            }
            Tag::Incoming(passage) => {
                self.carrier
                    .on_taken(cx, &mut self.pipes, passage, over, answer);
            }
            Tag::Reserve => self.places.on_reserved(cx, from, answer),
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
        network: [u8; 2],
    ) {
        self.finder.heard(cx, announcement, network);
    }

    /// The relays that are known do not suffice.
    pub(crate) fn find_relays(&mut self, cx: &mut Cx<'_>) {
        self.finder.find(cx);
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
    }

    /// A session has ended.
    pub(crate) fn on_down(&mut self, cx: &mut Cx<'_>, link: LinkId, peer: NodeKey, last: bool) {
        self.pipes.session_down(cx, link);
        self.carrier.on_down(link);
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
        self.carrier.has_place(peer) || self.places.has(peer) || self.pipes.is_on(links)
    }

    /// Whether others can dial us without a relay.
    pub(crate) fn on_reachable(&mut self, cx: &mut Cx<'_>, is_direct: bool) {
        self.places.on_reachable(cx, is_direct);
        self.announcer.on_reachable(is_direct);
    }

    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {
        self.places.on_time(cx);
        self.announcer.on_time(cx);
        self.carrier.on_time(cx, &mut self.pipes);
        self.pipes.on_time(cx);
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let parts = [
            self.places.deadline(),
            self.announcer.deadline(),
            self.carrier.deadline(),
            self.pipes.deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    /// What this node relays.
    pub(crate) fn view(&self, now: Time) -> RelayView {
        RelayView {
            places: self.carrier.views(now),
            circuits: self.pipes.passages.views(now),
            totals: self.pipes.passages.totals(),
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Relay {
    /// `tags` is what all components wait for.
    pub(crate) fn check(&self, tags: &[&crate::cx::Tag], broken: &mut crate::check::Broken) {
        let open = |tag: Tag| {
            let tag = crate::cx::Tag::Relay(tag);
            tags.iter().filter(|open| ***open == tag).count()
        };
        self.finder.check(open(Tag::Looked), broken);
        self.announcer.check(open(Tag::Announced), broken);
        self.places.check(broken);
        self.pipes.check(broken);
        self.carrier.check(&self.pipes, broken);
    }

    /// The links on which requests wait for an answer.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.carrier.tickets()
    }
}
