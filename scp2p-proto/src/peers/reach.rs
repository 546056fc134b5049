//! Whether others can dial this node: it has peers try (SPECIFICATION §9.6).
//!
//! A router lets in what comes from where something was sent to, so only who was not sent anything over a transport
//! can tell of it. QUIC is asked of peers that are connected over TCP, for TCP links come from other ports than listeners.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::dials::{Goal, Way};
use super::{ANSWER_TIME, Peers, Tag, Timer};
use crate::config::Config;
use crate::cx::{CallError, Cx};
use crate::id::{LinkId, NodeKey};
use crate::io::{Dial, Host, Transport};
use crate::limits::{
    DIAL_BACK_PAUSES_MAX, DIAL_BACKS_MAX, DIAL_TIME_MAX, PROBES_MAX, REACH_VOICES_MAX,
};
use crate::lru::Lru;
use crate::netgroup::Netgroup;
use crate::session::{Session, Ticket};
use crate::time::Time;
use crate::view::{AttemptView, Reach, Reachability};
use crate::wire::{Answer, DialedBack, Listening, PeerAddr, Request};
use crate::wish::Wish;

/// How soon after something changed the first peer is asked.
const FIRST: Duration = Duration::from_secs(2);
/// How soon another is asked while too few have spoken; ever later, up to the other.
const SOON: Duration = Duration::from_secs(5);
/// How often one is asked afterwards.
const LATER: Duration = Duration::from_secs(1800);
/// How long a voice counts if others have spoken since.
const VOICE_LIFE: Duration = Duration::from_secs(4 * LATER.as_secs());
/// How long routers remember what was sent to an address, and some more.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// So many voices are enough.
const VOICES_ENOUGH: usize = 3;
/// Whoever sees the asker at this address is not asked to dial it again sooner.
const PAUSE: Duration = Duration::from_secs(2);

/// What peers said of us.
#[derive(Default)]
pub(super) struct Voices {
    quic: Vec<Voice>,
    tcp: Vec<Voice>,
    /// Who was asked and has not answered.
    asked: BTreeSet<NodeKey>,
    /// How long until the next is asked.
    pause: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Voice {
    of: NodeKey,
    from: IpAddr,
    reached: bool,
    at: Time,
}

impl Voice {
    fn network(&self) -> Netgroup {
        Netgroup::of(self.from)
    }
}

/// Peers that are dialled because they asked for it.
pub(super) struct DialBacks {
    under_way: BTreeMap<u64, DialBack>,
    next: u64,
    pauses: Lru<IpAddr, Time>,
}

struct DialBack {
    ticket: Ticket,
    open: Vec<(LinkId, Transport)>,
    reached: DialedBack,
}

impl Default for DialBacks {
    fn default() -> DialBacks {
        DialBacks {
            under_way: BTreeMap::new(),
            next: 0,
            pauses: Lru::new(DIAL_BACK_PAUSES_MAX),
        }
    }
}

impl Voices {
    /// What the voices of most networks say, each of which counts once.
    fn verdict(voices: &[Voice]) -> Reach {
        let networks: BTreeSet<Netgroup> = voices.iter().map(Voice::network).collect();
        let says = |network: &Netgroup| {
            let mut of = voices
                .iter()
                .rev()
                .filter(|voice| voice.network() == *network);
            of.next().is_some_and(|voice| voice.reached)
        };
        let yes = networks.iter().filter(|network| says(network)).count();
        match (yes, networks.len() - yes) {
            (0, 0) => Reach::Unknown,
            (yes, no) if yes > no => Reach::Reached,
            _ => Reach::NotReached,
        }
    }

    fn of(&self, transport: Transport) -> &Vec<Voice> {
        match transport {
            Transport::Quic => &self.quic,
            Transport::Tcp => &self.tcp,
        }
    }

    fn hear(&mut self, transport: Transport, voice: Voice) {
        let voices = match transport {
            Transport::Quic => &mut self.quic,
            Transport::Tcp => &mut self.tcp,
        };
        let is_old = |other: &Voice| voice.at.since(other.at) > VOICE_LIFE;
        voices.retain(|other| other.of != voice.of && !is_old(other));
        voices.push(voice);
        if voices.len() > REACH_VOICES_MAX {
            voices.remove(0);
        }
    }
}

impl Peers {
    /// Whether others can dial us, by transport, and how many said so.
    pub(crate) fn reachability(&self, config: &Config) -> Reachability {
        let reach = |transport, port: Option<u16>| match port {
            Some(_) => Voices::verdict(self.voices.of(transport)),
            None => Reach::NotReached,
        };
        Reachability {
            quic: reach(Transport::Quic, config.quic_port),
            tcp: reach(Transport::Tcp, config.tcp_port),
            voices: (self.voices.quic.len() + self.voices.tcp.len()) as u32,
            relays: self.own.relays(),
        }
    }

    /// What [`Peers::reachability`] is drawn from.
    pub(super) fn attempts_to_dial(&self, now: Time) -> impl Iterator<Item = AttemptView> {
        let of = move |(transport, voice): (Transport, &Voice)| AttemptView {
            peer: voice.of,
            from: voice.from,
            transport,
            reached: voice.reached,
            ago: now.since(voice.at),
        };
        let quic = self.voices.quic.iter().map(|it| (Transport::Quic, it));
        let tcp = self.voices.tcp.iter().map(|it| (Transport::Tcp, it));
        quic.chain(tcp).map(of)
    }

    /// The host, or what is between it and others, is elsewhere, so all that was said is of another place.
    pub(super) fn forget_reach(&mut self, cx: &Cx<'_>) {
        self.voices = Voices::default();
        self.timers.set(Timer::Reach, cx.now.mono + FIRST);
    }

    pub(super) fn start_reach(&mut self, now: Time) {
        self.timers.set(Timer::Reach, now + FIRST);
    }

    /// Asks one more peer, and sees to one that can tell of QUIC if there is none.
    pub(super) fn ask_reach(&mut self, cx: &mut Cx<'_>) {
        let reach = self.reachability(cx.config);
        let is_enough = |transport| self.voices.of(transport).len() >= VOICES_ENOUGH;
        let wants_quic = cx.config.quic_port.is_some() && !is_enough(Transport::Quic);
        let wants_tcp = cx.config.tcp_port.is_some() && !is_enough(Transport::Tcp);
        let longer = (self.voices.pause * 2).clamp(SOON, LATER);
        self.voices.pause = if wants_quic || wants_tcp {
            longer
        } else {
            LATER
        };
        let pause = self.rng.jitter(self.voices.pause);
        self.timers.set(Timer::Reach, cx.now.mono + pause);
        if let Some((peer, ports)) = self.choose_voice(cx, wants_quic) {
            return self.ask_to_dial(cx, peer, ports);
        }
        // What is reached over TCP is reached; a connection of its own only for QUIC is for those who are not.
        if wants_quic && reach.tcp != Reach::Reached {
            self.connect_over_tcp(cx);
        }
        // Where nothing listens nobody is reached, and there may never be anybody to say so.
        if cx.config.tcp_port.is_none()
            && let Some(is_direct) = reach.is_direct()
        {
            cx.wish(Wish::Reachable(is_direct));
        }
    }

    /// Somebody who has not spoken, of a network that has not, and what it can tell of: over TCP, if that is what is
    /// needed. If there is nobody else, who spoke longest ago.
    fn choose_voice(&mut self, cx: &Cx<'_>, wants_quic: bool) -> Option<(NodeKey, Listening)> {
        let spoke_at = |peer: &NodeKey| {
            let mut voices = self.voices.tcp.iter();
            voices.find(|voice| voice.of == *peer).map(|voice| voice.at)
        };
        let mut others: Vec<_> = cx
            .roster
            .iter()
            .filter(|(peer, session)| {
                session.is_direct()
                    && !self.voices.asked.contains(*peer)
                    && spoke_at(peer).is_none_or(|at| cx.now.mono.since(at) >= LATER)
            })
            .filter_map(|(peer, session)| {
                let ports = self.can_tell_of(cx, peer, session)?;
                let network = session.netgroup();
                let spoke = self
                    .voices
                    .tcp
                    .iter()
                    .any(|voice| voice.network() == network);
                let is_right = wants_quic == (session.transport == Transport::Tcp);
                Some(((*peer, ports), (spoke_at(peer), !is_right, spoke)))
            })
            .collect();
        self.rng.shuffle(&mut others);
        let best = others.into_iter().min_by_key(|(_, rank)| *rank);
        best.map(|(voice, _)| voice)
    }

    /// The ports of ours that a peer can dial and tell something by that; none if it can of none.
    fn can_tell_of(&self, cx: &Cx<'_>, peer: &NodeKey, session: &Session) -> Option<Listening> {
        let over_tcp = session.transport == Transport::Tcp && !session.inbound;
        // Routers let its packets in if ours went there.
        let is_fresh = self.is_new_to_quic(session.remote.ip(), cx.now.mono);
        let over_tcp = over_tcp && is_fresh && !self.bootstraps.is_peer(peer);
        let ports = Listening {
            quic_port: self.own.quic_port(cx.config).filter(|_| over_tcp),
            tcp_port: cx.config.outer_port(Transport::Tcp),
        };
        (ports != Listening::default()).then_some(ports)
    }

    /// Asks a peer whether it can dial us, and where it sees us now: a router may have got another address.
    fn ask_to_dial(&mut self, cx: &mut Cx<'_>, peer: NodeKey, ports: Listening) {
        self.voices.asked.insert(peer);
        self.greet(cx, peer, ANSWER_TIME);
        let time = DIAL_TIME_MAX + ANSWER_TIME;
        let tag = Tag::DialedBack(DialedBack {
            quic: ports.quic_port.is_some(),
            tcp: ports.tcp_port.is_some(),
        });
        cx.call(peer, Request::DialBack(ports), time, tag);
    }

    pub(super) fn on_dialed_back(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeKey,
        asked: DialedBack,
        answer: Result<Answer, CallError>,
    ) {
        self.voices.asked.remove(&peer);
        let Ok(Answer::DialedBack(reached)) = answer else {
            return;
        };
        let Some(session) = cx.roster.session(&peer) else {
            return;
        };
        let from = session.remote.ip();
        let before = self.reachability(cx.config);
        for (transport, was_asked, reached) in [
            (Transport::Quic, asked.quic, reached.quic),
            (Transport::Tcp, asked.tcp, reached.tcp),
        ] {
            if was_asked {
                let voice = Voice {
                    of: peer,
                    from,
                    reached,
                    at: cx.now.mono,
                };
                self.voices.hear(transport, voice);
            }
        }
        // Something is other than when they told of QUIC.
        if before.tcp == Reach::Reached && self.reachability(cx.config).tcp == Reach::NotReached {
            self.voices.quic.retain(|voice| voice.at == cx.now.mono);
        }
        self.tell_reach(cx, before);
    }

    /// A peer dialled us, which tells as much as one that was asked to.
    pub(super) fn dialled_by(&mut self, cx: &mut Cx<'_>, peer: NodeKey, session: &Session) {
        let ip = session.remote.ip();
        let is_telling = match session.transport {
            Transport::Quic => self.is_new_to_quic(ip, cx.now.mono),
            Transport::Tcp => true,
        };
        let network = session.netgroup();
        let voices = self.voices.of(session.transport);
        let mut of_network = voices.iter().rev().filter(|it| it.network() == network);
        let is_known = of_network.next().is_some_and(|voice| voice.reached);
        // Those who were asked are not forgotten for those who come by themselves.
        let is_full = voices.len() >= REACH_VOICES_MAX;
        if !is_telling || is_known || is_full || self.own.is_near(cx.config, cx.roster, ip) {
            return;
        }
        let before = self.reachability(cx.config);
        let voice = Voice {
            of: peer,
            from: ip,
            reached: true,
            at: cx.now.mono,
        };
        self.voices.hear(session.transport, voice);
        self.tell_reach(cx, before);
    }

    /// Tells what others found out, if it was something else before.
    fn tell_reach(&self, cx: &mut Cx<'_>, before: Reachability) {
        let now = self.reachability(cx.config);
        if (before.quic, before.tcp) == (now.quic, now.tcp) {
            return;
        }
        self.greet_anew(cx, before);
        cx.event(crate::event::Event::Reachability(now));
        if let Some(is_direct) = now.is_direct() {
            cx.wish(Wish::Reachable(is_direct));
        }
    }

    /// Something is dialled.
    pub(super) fn note_dial(&mut self, dial: &Dial, now: Time) {
        if let (Transport::Quic, Host::Ip(ip)) = (dial.transport, &dial.host) {
            self.quic_dialled.insert(ip.to_canonical(), now);
        }
    }

    /// Whether nothing was sent to an address over QUIC for so long that no router remembers it.
    fn is_new_to_quic(&self, ip: IpAddr, now: Time) -> bool {
        let last = self.quic_dialled.peek(&ip.to_canonical());
        last.is_none_or(|last| now.since(*last) > FORGOTTEN)
    }

    /// Somebody that was not met lately is connected over TCP alone, to be asked about QUIC.
    fn connect_over_tcp(&mut self, cx: &mut Cx<'_>) {
        let mut from = NodeKey([0; 32]);
        self.rng.fill(&mut from.0);
        let others = self.book.from(from);
        let mut others = others.filter(|(key, record)| {
            record.ours && cx.roster.session(key).is_none() && **key != cx.keys.public()
        });
        let addr = others.find_map(|(_, record)| {
            let tcp = |addr: &&PeerAddr| addr.transport == Transport::Tcp;
            let mut reached = record.reached_since(crate::time::UnixTime(0));
            let addr = reached.find(tcp)?;
            self.is_new_to_quic(addr.ip, cx.now.mono)
                .then(|| addr.clone())
        });
        if let Some(addr) = addr
            && !self.is_full(cx)
        {
            let goal = Goal::Addr(PeerAddr {
                key: None,
                ..addr.clone()
            });
            let way = Way {
                is_vouched: true,
                ..Way::to_addr(&addr, addr.key, true, &self.profiles)
            };
            self.dials.begin(goal, [way].into(), cx.now.mono);
        }
    }

    /// A peer wants to know whether it can be dialled where it is seen. It gets no more than one dial for each port, at no
    /// other address, and a link that is hung up as soon as its key is known.
    pub(crate) fn on_dial_back(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        ports: Listening,
    ) {
        let mut sessions = cx.roster.all(&from).iter();
        let session = sessions.find(|session| session.link == ticket.link());
        let Some(session) = session.filter(|session| session.is_direct()) else {
            return cx.refuse(ticket, "over a relay");
        };
        let ip = session.remote.ip();
        let until = self.dial_backs.pauses.peek(&ip);
        let is_resting = until.is_some_and(|until| *until > cx.now.mono);
        let is_full = self.dial_backs.under_way.len() >= DIAL_BACKS_MAX
            || self.probes.len().saturating_add(2) > PROBES_MAX;
        if is_resting || is_full {
            return cx.refuse(ticket, "rate limit: dialled there lately");
        }
        self.dial_backs.pauses.insert(ip, cx.now.mono + PAUSE);
        let ports = [
            (Transport::Quic, ports.quic_port),
            (Transport::Tcp, ports.tcp_port),
        ];
        let mut open = Vec::new();
        for (transport, port) in ports {
            if let Some(port) = port.filter(|port| *port != 0) {
                let addr = PeerAddr {
                    ip,
                    port,
                    transport,
                    key: Some(from),
                    relay_via: None,
                };
                open.push((self.dial_probe(cx, from, addr), transport));
            }
        }
        if open.is_empty() {
            return cx.answer(ticket, Answer::DialedBack(DialedBack::default()));
        }
        self.dial_backs.next += 1;
        let dial_back = DialBack {
            ticket,
            open,
            reached: DialedBack::default(),
        };
        self.dial_backs
            .under_way
            .insert(self.dial_backs.next, dial_back);
    }

    /// A probe came to its end; if it was asked for and the last, who asked is told.
    pub(super) fn dialed_back(&mut self, cx: &mut Cx<'_>, link: LinkId, is_reached: bool) {
        let of_link =
            |(_, it): &(&u64, &mut DialBack)| it.open.iter().any(|(open, _)| *open == link);
        let mut under_way = self.dial_backs.under_way.iter_mut();
        let Some((number, dial_back)) = under_way.find(of_link) else {
            return;
        };
        let number = *number;
        for (_, transport) in dial_back.open.iter().filter(|(open, _)| *open == link) {
            match transport {
                Transport::Quic => dial_back.reached.quic = is_reached,
                Transport::Tcp => dial_back.reached.tcp = is_reached,
            }
        }
        dial_back.open.retain(|(open, _)| *open != link);
        if dial_back.open.is_empty()
            && let Some(ended) = self.dial_backs.under_way.remove(&number)
        {
            cx.answer(ended.ticket, Answer::DialedBack(ended.reached));
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Peers {
    /// The links on which requests to be dialled wait for an answer.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        let under_way = self.dial_backs.under_way.values();
        under_way.map(|it| it.ticket.link())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(of: u8, network: u8, reached: bool) -> Voice {
        Voice {
            of: NodeKey([of; 32]),
            from: IpAddr::from([network, 0, 0, 1]),
            reached,
            at: Time(0),
        }
    }

    /// However many say so: those of one network are one voice, and the last of them counts.
    #[test]
    fn most_networks_decide() {
        let liars = (0..5).map(|n| voice(n, 1, true));
        let mut voices: Vec<Voice> = liars.collect();
        assert_eq!(
            Voices::verdict(&voices),
            Reach::Reached,
            "nobody else spoke"
        );
        voices.push(voice(6, 2, false));
        assert_eq!(Voices::verdict(&voices), Reach::NotReached, "in doubt");
        voices.push(voice(7, 3, true));
        assert_eq!(Voices::verdict(&voices), Reach::Reached);
        voices.push(voice(8, 1, false));
        assert_eq!(Voices::verdict(&voices), Reach::NotReached);
        assert_eq!(Voices::verdict(&[]), Reach::Unknown);
    }
}
