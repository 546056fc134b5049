//! Peers: whom we know, how to reach them, and who is reached (SPECIFICATION §3, §9).

mod ailing;
mod attempts;
mod book;
mod bootstrap;
#[cfg(any(test, feature = "check"))]
mod check;
mod clock;
mod dials;
mod exchange;
mod listening;
mod own;
mod parting;
mod punch;
mod reach;
mod relays;
mod rests;
mod silence;
mod view;
mod ways;
mod why;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use self::ailing::Ailing;
use self::book::{Book, Record};
use self::bootstrap::Bootstraps;
use self::clock::Clocks;
use self::dials::{Dials, Goal, Next, Way};
use self::own::OwnAddrs;
use self::punch::{First, Punches};
use self::reach::{DialBacks, Voices};
use crate::config::Config;
use crate::cx::{ConnectError, Cx, Outcome};
use crate::dht::Contact;
use crate::event::Event;
use crate::id::{LinkId, NodeKey};
use crate::io::{CloseCode, Transport};
use crate::keys::Keys;
use crate::limits::{BOOK_PEERS_MAX, CONTACT_ADDRS_MAX, LINKS_MAX, RESTING_ADDRS_MAX};
use crate::lru::Lru;
use crate::rng::Rng;
use crate::session::{HandshakeError, LinkFailure, ProfileMemory, Roster};
use crate::storage::{Saved, Table};
use crate::time::{Now, Time};
use crate::timers::Timers;
use crate::wire::{Answer, BootstrapAddr, DialedBack, PeerAddr, Profile, Request};
use crate::wish::{Conduct, Wish};

/// How often connections are looked after and peers exchanged, with few sessions and with enough.
const ROUND: Duration = Duration::from_secs(20);
const QUIET_ROUND: Duration = Duration::from_secs(60);
/// With enough sessions peers are exchanged only so often at least while nobody new is named.
const EXCHANGE_PAUSE_MAX: Duration = Duration::from_secs(480);
/// A session that was silent for so long, or up to so long if it has stood for long, is pinged: transports notice by
/// themselves when a peer's computer is gone, so this is for a program that hangs.
const PING_AFTER: Duration = Duration::from_secs(300);
const PING_AFTER_MAX: Duration = Duration::from_secs(1800);
/// A ping, a greeting or an exchange without an answer in this time failed.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// The first wait after a peer could not be reached; it doubles up to the other.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A peer of ours was told where we listen; it answers where it sees us.
    Greeted,
    /// A peer of ours was asked to dial us over these transports.
    DialedBack(DialedBack),
    /// The other end of a circuit was pinged, to agree on a moment.
    Sounded { since: Time, first: First },
    /// The other end of a circuit was told to dial us.
    Punched(First),
    /// Since when.
    Pinged(Time),
    /// Peers were asked for.
    Exchanged,
    /// Peers were offered.
    Offered,
    /// Whether the peer has a use for its session.
    Parting,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Round,
    Reach,
    /// Those who may see us elsewhere than before are greeted.
    Greet,
    /// A direct path to this peer, which a relay connects, is tried again.
    Punch(NodeKey),
    /// The other end of a circuit is dialled, and dials us.
    Meet(NodeKey),
    Bootstrap(usize),
}

/// The address book and all dialling.
pub(crate) struct Peers {
    rng: Rng,
    book: Book,
    bootstraps: Bootstraps,
    dials: Dials,
    own: OwnAddrs,
    ailing: Ailing,
    clocks: Clocks,
    voices: Voices,
    dial_backs: DialBacks,
    /// When addresses were dialled over QUIC last.
    quic_dialled: Lru<IpAddr, Time>,
    punches: Punches,
    profiles: ProfileMemory,
    /// Links that only find out whether a peer answers at an address.
    probes: BTreeMap<LinkId, (NodeKey, PeerAddr)>,
    /// Links that are to become tunnels of ours.
    tunnels: BTreeSet<LinkId>,
    back_off: Lru<NodeKey, BackOff>,
    /// The last round trips of connected peers.
    rtts: BTreeMap<NodeKey, Duration>,
    /// Connected peers that have a use for their sessions, and until when they are not asked again.
    unparted: BTreeMap<NodeKey, Time>,
    timers: Timers<Timer>,
    dials_failed: u64,
    /// When the host moved or awoke last: sessions that were not heard since may be dead.
    unsettled: Time,
    /// Connected peers that owed something and were silent, and when that was found out.
    doubted: BTreeMap<NodeKey, Time>,
    /// When peers were exchanged last, and how long it is not done again.
    exchanged: Time,
    exchange_pause: Duration,
}

/// A peer that could not be reached.
#[derive(Debug, Clone, Copy)]
struct BackOff {
    until: Time,
    span: Duration,
    /// Whether it was tried over relays too; if not, these are not left alone.
    over_relays: bool,
}

impl Peers {
    pub(crate) fn new(config: &Config, keys: &Keys, rng: Rng, saved: &Saved, now: Now) -> Peers {
        let mut peers = Peers {
            rng,
            book: Book::default(),
            bootstraps: Bootstraps::default(),
            dials: Dials::default(),
            own: OwnAddrs::default(),
            ailing: Ailing::default(),
            clocks: Clocks::default(),
            voices: Voices::default(),
            dial_backs: DialBacks::default(),
            quic_dialled: Lru::new(RESTING_ADDRS_MAX),
            punches: Punches::new(now.mono),
            profiles: ProfileMemory::new(),
            probes: BTreeMap::new(),
            tunnels: BTreeSet::new(),
            back_off: Lru::new(BOOK_PEERS_MAX),
            rtts: BTreeMap::new(),
            unparted: BTreeMap::new(),
            timers: Timers::default(),
            dials_failed: 0,
            unsettled: now.mono,
            doubted: BTreeMap::new(),
            exchanged: now.mono,
            exchange_pause: Duration::ZERO,
        };
        for (table, key, value) in &saved.rows {
            match table {
                Table::Peers => peers.restore(key, value, keys),
                Table::Pins => peers.bootstraps.restore_pin(key, value),
                Table::Meta
                | Table::Shares
                | Table::Sources
                | Table::Subscriptions
                | Table::Downloads
                | Table::Have
                | Table::ValueIndex
                | Table::Values
                | Table::Manifests
                | Table::Outboard => {}
            }
        }
        for addr in &config.bootstrap {
            if let Some(number) = peers.bootstraps.add(addr.clone()) {
                peers.timers.set(Timer::Bootstrap(number), now.mono);
            }
        }
        let first = peers.rng.jitter(ROUND);
        peers.timers.set(Timer::Round, now.mono + first);
        peers.start_reach(now.mono);
        peers
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        self.show_own_addrs(cx);
        // What was reached lately is where the DHT begins after a restart.
        let contacts: Vec<NodeKey> = self
            .book
            .iter()
            .filter(|(_, record)| record.ours && record.dht)
            .map(|(key, _)| *key)
            .collect();
        for key in contacts {
            self.contact(cx, key);
        }
    }

    /// Hints of a link are bootstrap peers for this run.
    pub(crate) fn add_hints(&mut self, cx: &mut Cx<'_>, hints: Vec<BootstrapAddr>) {
        for hint in hints {
            if hint.key != Some(cx.keys.public()) {
                self.add_bootstrap(cx, hint);
            }
        }
    }

    /// Sees to a session with a peer; calls wait for it.
    pub(crate) fn connect(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let goal = Goal::Peer(peer);
        if cx.roster.is_callable(&peer) || self.dials.is_under_way(&goal) {
            return;
        }
        if let Err(error) = self.begin(cx, &goal, peer) {
            cx.unconnected(peer, error);
        }
    }

    /// Whether nobody more may be dialled for now.
    fn is_full(&self, cx: &Cx<'_>) -> bool {
        self.dials.is_full() || cx.roster.links() >= LINKS_MAX
    }

    fn begin(&mut self, cx: &mut Cx<'_>, goal: &Goal, peer: NodeKey) -> Result<(), ConnectError> {
        if peer == cx.keys.public() {
            return Err(ConnectError::NoAddress);
        }
        if self.book.is_shunned(&peer, cx.now.unix) {
            return Err(ConnectError::Refused);
        }
        let is_unasked = matches!(goal, Goal::Unasked(_));
        let back_off = self.back_off.peek(&peer);
        let back_off = back_off.filter(|back_off| back_off.over_relays || is_unasked);
        if back_off.is_some_and(|back_off| back_off.until > cx.now.mono) {
            return Err(ConnectError::BackOff);
        }
        let Some(record) = self.book.peer(&peer) else {
            return Err(ConnectError::NoAddress);
        };
        let mut ways = self.ways(peer, record, cx.now.mono);
        ways.retain(|way| way.relay.is_none() || !is_unasked);
        if ways.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        ways.retain(|way| self.dials.rests_until(way, cx.now.mono).is_none());
        if ways.is_empty() {
            return Err(ConnectError::BackOff);
        }
        if self.is_full(cx) {
            return Err(ConnectError::Busy);
        }
        self.dials.begin(goal.clone(), ways, cx.now.mono);
        Ok(())
    }

    /// Sees to a session with whoever is at an address that somebody told.
    pub(crate) fn reach(&mut self, cx: &mut Cx<'_>, addr: PeerAddr, tag: crate::cx::Tag) {
        if let Some(route) = addr.tunnel().filter(|_| cx.config.deployed_relays) {
            let peer = addr.key.filter(|key| cx.roster.is_callable(key));
            let route = Box::new(route.clone());
            return match peer {
                Some(peer) => cx.outcome(tag, Outcome::Reached(Ok(peer))),
                None => cx.wish(Wish::Tunnel { route, tag }),
            };
        }
        if !self.is_place_to_try(cx, &addr) || addr.key == Some(cx.keys.public()) {
            return cx.outcome(tag, Outcome::Reached(Err(ConnectError::NoAddress)));
        }
        let connected = match addr.key {
            Some(key) => cx.roster.is_callable(&key).then_some(key),
            None => connected_at(cx.roster, &addr),
        };
        if let Some(key) = connected {
            return cx.outcome(tag, Outcome::Reached(Ok(key)));
        }
        let goal = match addr.key {
            Some(key) => {
                self.book.heard_of(key, addr.clone());
                Goal::Peer(key)
            }
            None => Goal::Addr(addr.clone()),
        };
        if !self.dials.is_under_way(&goal) {
            let begun = match addr.key {
                Some(key) => self.begin(cx, &goal, key),
                None if self.is_full(cx) => Err(ConnectError::Busy),
                None => {
                    let way = Way::to_addr(&addr, None, false, &self.profiles);
                    self.dials.begin(goal.clone(), [way].into(), cx.now.mono);
                    Ok(())
                }
            };
            if let Err(error) = begun {
                return cx.outcome(tag, Outcome::Reached(Err(error)));
            }
        }
        self.dials.wait(&goal, tag);
    }

    pub(crate) fn judge(&mut self, cx: &mut Cx<'_>, peer: NodeKey, conduct: Conduct) {
        self.book.judge(peer, conduct, cx.now.unix);
        let is_wrong = matches!(conduct, Conduct::Corrupt | Conduct::Offence);
        let tunnels = cx.roster.tunnels().filter(|(name, _)| **name == peer);
        let wrong: Vec<LinkId> = tunnels
            .map(|(_, it)| it.link)
            .filter(|_| is_wrong)
            .collect();
        for link in wrong {
            cx.close(link, CloseCode::Offence);
        }
        if self.book.is_shunned(&peer, cx.now.unix) {
            cx.wish(Wish::Unreachable(peer));
            self.save(cx, peer);
            for session in cx.roster.all(&peer).to_vec() {
                cx.close(session.link, CloseCode::Offence);
            }
        }
    }

    /// A session is up; an error refuses it.
    pub(crate) fn on_up(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        peer: NodeKey,
    ) -> Result<(), CloseCode> {
        let Some(session) = cx
            .roster
            .all(&peer)
            .iter()
            .find(|session| session.link == link)
            .cloned()
        else {
            return Ok(());
        };
        let won = self.dials.up(link);
        let ours = session.level.is_some();
        if self.book.is_shunned(&peer, cx.now.unix) {
            self.refused(cx, won);
            return Err(CloseCode::Offence);
        }
        if !ours && self.book.peer(&peer).is_some_and(|record| record.ours) {
            // A node like ours never comes without its binding: somebody took it out.
            cx.event(Event::Interception {
                claimed: peer,
                remote: session.remote,
            });
            self.refused(cx, won);
            return Err(CloseCode::Handshake);
        }
        if cx.roster.all(&peer).len() == 1 {
            let (transport, remote) = (session.transport, session.remote);
            cx.event(Event::PeerConnected {
                peer,
                transport,
                remote,
                bound: ours,
                via: session.via,
            });
        }
        if session.via.is_none() {
            self.hear_clock(cx, peer, session.remote.ip(), session.clock);
        }
        self.back_off.remove(&peer);
        let record = self.book.entry(peer);
        let is_new_to_us = record.ours != ours && ours;
        let capabilities = (session.capabilities.dht, session.capabilities.relay);
        let is_changed = record.last_seen.is_some() && (record.dht, record.relay) != capabilities;
        record.ours |= ours;
        (record.dht, record.relay) = capabilities;
        record.last_seen = Some(cx.now.unix);
        if is_new_to_us || is_changed {
            // It must not be taken for a deployed peer after a restart, nor be missed as a relay.
            self.save(cx, peer);
        }
        // Who was met half way is not to be reached there by others.
        let is_punched = won
            .as_ref()
            .is_some_and(|won| won.goal == Goal::Direct(peer));
        if session.inbound && session.via.is_none() {
            self.dialled_by(cx, peer, &session);
        }
        if !session.inbound && session.via.is_none() && !is_punched {
            self.reached(
                cx,
                peer,
                &session.remote,
                session.transport,
                session.profile,
            );
        }
        if let Some(won) = won {
            self.won(cx, won, peer);
        }
        if cx.roster.is_callable(&peer) {
            self.moot(cx, &Goal::Peer(peer), peer);
        }
        if session.via.is_none() && session.is_callable() {
            self.moot(cx, &Goal::Unasked(peer), peer);
        }
        if self.bootstraps.is_peer(&peer) && !ours && !session.inbound {
            cx.wish(Wish::Hub(peer));
        }
        if session.via.is_some() && !session.inbound {
            self.punch_new(cx, peer);
        }
        if session.via.is_none() {
            self.punched(&peer);
        }
        if session.via.is_some() {
            // Where the relay sees us is its affair, and where we listen is of no use to who came by it.
        } else if ours {
            self.greet(cx, peer, ANSWER_TIME);
        } else if !session.inbound && !cx.roster.own_addrs.is_empty() {
            // The only way to become known to a deployed peer.
            let own = cx.roster.own_addrs.clone();
            cx.call(peer, Request::PexOffer(own), ANSWER_TIME, Tag::Offered);
        }
        Ok(())
    }

    /// The peer's last session ended.
    pub(crate) fn on_down(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.rtts.remove(&peer);
        self.punch_no_more(&peer);
        self.unparted.remove(&peer);
        self.doubted.remove(&peer);
        cx.event(Event::PeerDisconnected { peer });
        self.round_soon(cx);
        for number in self.bootstraps.down(&peer) {
            let soon = self.rng.jitter(BACK_OFF_MIN);
            self.timers
                .set(Timer::Bootstrap(number), cx.now.mono + soon);
        }
    }

    /// A link that we dialled came to nothing.
    pub(crate) fn on_link_failed(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        remote: Option<SocketAddr>,
        failure: LinkFailure,
    ) {
        if self.probes.remove(&link).is_some() {
            return self.dialed_back(cx, link, false);
        }
        if self.tunnels.remove(&link) {
            return;
        }
        let Some((goal, is_tried_again)) = self.dials.failed(link, &failure) else {
            return;
        };
        self.dials_failed += 1;
        if let (
            LinkFailure::Handshake(HandshakeError::WrongKey { expected, found }),
            Goal::Bootstrap(number),
        ) = (&failure, goal)
            && let Some(address) = self.bootstraps.pinned_address(number)
        {
            cx.event(Event::PinMismatch {
                address,
                expected: *expected,
                found: *found,
            });
        }
        if let Some(remote) = remote {
            self.refused_link(cx, link, remote, &failure);
            if failure == LinkFailure::Closed && !is_tried_again && !link.is_circuit() {
                self.closed_on_hello(remote.ip(), cx.now.mono);
            }
        }
        self.drive(cx);
    }

    /// A link dialled as a probe found this peer.
    pub(crate) fn on_probed(&mut self, cx: &mut Cx<'_>, link: LinkId, peer: NodeKey) {
        if let Some((_, addr)) = self.probes.remove(&link) {
            let remote = SocketAddr::new(addr.ip, addr.port);
            self.reached(cx, peer, &remote, addr.transport, Profile::C);
            self.dialed_back(cx, link, true);
        }
    }

    /// A link that was dialled to us came to nothing.
    pub(crate) fn on_refused(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        remote: SocketAddr,
        failure: LinkFailure,
    ) {
        self.refused_link(cx, link, remote, &failure);
    }

    /// Tells of a peer that was refused for the safety of the session, or for its clock or ours.
    fn refused_link(
        &mut self,
        cx: &mut Cx<'_>,
        link: LinkId,
        remote: SocketAddr,
        failure: &LinkFailure,
    ) {
        match *failure {
            LinkFailure::Handshake(HandshakeError::Intercepted { claimed }) => {
                cx.event(Event::Interception { claimed, remote });
            }
            // Whoever comes through a relay may be in any network.
            LinkFailure::Handshake(HandshakeError::ClockSkew {
                peer: Some(peer),
                theirs,
                ..
            }) if !link.is_circuit() => self.hear_clock(cx, peer, remote.ip(), theirs),
            LinkFailure::Unbound(peer) => cx.event(Event::UnboundRefused { peer, remote }),
            LinkFailure::Handshake(_)
            | LinkFailure::Dial(_)
            | LinkFailure::Closed
            | LinkFailure::TimedOut => {}
        }
    }

    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        let Outcome::Answer { from, answer, .. } = outcome else {
            return;
        };
        if let Tag::Punched(first) = tag {
            return self.on_punched(cx, from, first, answer);
        }
        if let Tag::DialedBack(asked) = tag {
            return self.on_dialed_back(cx, from, asked, answer);
        }
        let Ok(answer) = answer else {
            if tag == Tag::Parting {
                self.may_not_part(cx, from);
            }
            return;
        };
        match (tag, answer) {
            (Tag::Greeted, Answer::Observed(observed)) => {
                let Some(session) = cx.roster.session(&from) else {
                    return;
                };
                let is_quic = !session.inbound && session.transport == Transport::Quic;
                let port = is_quic.then_some(observed.port);
                let voter = (from, session.remote.ip());
                self.own.vote(voter, observed.ip, port, cx.now.mono);
                // One more vote for the address that has most changes nothing.
                let first = cx.roster.own_addrs.first();
                if first.is_none_or(|first| first.ip != observed.ip) {
                    self.show_own_addrs(cx);
                }
            }
            (Tag::Pinged(since), Answer::Ack) => {
                self.rtts.insert(from, cx.now.mono.since(since));
            }
            (Tag::Sounded { since, first }, Answer::Ack) => {
                self.on_sounded(cx, from, cx.now.mono.since(since), first);
            }
            (Tag::Exchanged, Answer::Peers(peers)) => self.on_exchanged(cx, peers),
            (Tag::Parting, Answer::Ack) => self.may_part(cx, from),
            (
                Tag::Greeted
                | Tag::DialedBack(_)
                | Tag::Sounded { .. }
                | Tag::Punched(_)
                | Tag::Pinged(_)
                | Tag::Exchanged
                | Tag::Offered
                | Tag::Parting,
                _,
            ) => {}
        }
    }

    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {
        while let Some(timer) = self.timers.pop_due(cx.now.mono) {
            match timer {
                Timer::Round => self.round(cx),
                Timer::Reach => self.ask_reach(cx),
                Timer::Greet => self.greet_all(cx, ANSWER_TIME),
                Timer::Punch(peer) => self.punch(cx, peer),
                Timer::Meet(peer) => self.dial_through(cx, peer),
                Timer::Bootstrap(number) => self.dial_bootstrap(cx, number),
            }
        }
        self.drive(cx);
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let timer = self.timers.next().map(|(at, _)| at);
        [timer, self.dials.deadline()].into_iter().flatten().min()
    }

    /// Dials what is due and reports what has no way left.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        while let Some(next) = self.dials.next(cx.now.mono) {
            match next {
                Next::Dial(link, dial, plan) => {
                    self.note_dial(&dial, cx.now.mono);
                    cx.dial(link, dial, plan);
                }
                Next::Circuit {
                    link,
                    relay,
                    target,
                    plan,
                } => {
                    if let Some(key) = relay.key {
                        self.book.heard_of(key, relay);
                        cx.dial_circuit(link, key, target, plan);
                    }
                }
                Next::Ended(ended) => self.gave_up(cx, ended),
            }
        }
    }

    fn reached(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeKey,
        remote: &SocketAddr,
        transport: Transport,
        profile: Profile,
    ) {
        let addr = PeerAddr {
            ip: remote.ip(),
            port: remote.port(),
            transport,
            key: Some(peer),
            relay_via: None,
        };
        self.profiles.worked(peer, *remote, profile);
        self.book.reached(peer, addr, cx.now.unix);
        self.book.entry(peer).profile = Some(profile);
        self.save(cx, peer);
        self.contact(cx, peer);
    }

    /// Only a peer that was reached at its address gets into the routing table. Deployed peers have
    /// nothing in theirs; those that matter are hubs.
    fn contact(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let Some(record) = self.book.peer(&peer) else {
            return;
        };
        if !record.ours || !record.dht {
            return;
        }
        let addrs: Vec<PeerAddr> = record
            .reached_since(crate::time::UnixTime(0))
            .take(CONTACT_ADDRS_MAX)
            .cloned()
            .collect();
        if !addrs.is_empty() {
            cx.wish(Wish::Contact(Contact {
                key: peer,
                id: peer.node_id(),
                addrs,
            }));
        }
    }

    fn show_own_addrs(&mut self, cx: &mut Cx<'_>) {
        if self.own.has_moved(cx.config, cx.roster, cx.now.mono) {
            self.forget_reach(cx);
        }
        let addrs = self.own.addrs(cx.config, cx.keys.public(), cx.roster);
        if addrs != cx.roster.own_addrs {
            cx.own_addrs(addrs);
        }
    }

    fn save(&self, cx: &mut Cx<'_>, peer: NodeKey) {
        if let Some(record) = self.book.peer(&peer) {
            cx.put(Table::Peers, peer.0.to_vec(), record.encode());
        }
    }

    fn restore(&mut self, key: &[u8], row: &bytes::Bytes, keys: &Keys) {
        let (Some(key), Ok(record)) = (NodeKey::from_slice(key), Record::decode(row)) else {
            return;
        };
        if key == keys.public() {
            return;
        }
        if let (Some(profile), Some(known)) = (record.profile, record.addrs.first()) {
            self.profiles.worked(
                key,
                SocketAddr::new(known.addr.ip, known.addr.port),
                profile,
            );
        }
        self.book.insert(key, record);
    }
}

/// Who was dialled at this address and is still connected.
fn connected_at(roster: &Roster, addr: &PeerAddr) -> Option<NodeKey> {
    let remote = SocketAddr::new(addr.ip, addr.port);
    roster
        .iter()
        .find(|(_, session)| {
            let is_there = session.remote == remote && session.transport == addr.transport;
            !session.inbound && session.via.is_none() && is_there
        })
        .map(|(key, _)| *key)
}
