//! The network: hosts behind edges, and links between them made of datagrams.
//!
//! It has no heap and no clock: it is told the time, and hands back what it wants to be asked later and what nodes hear.

mod alive;
mod dial;
mod edge;
mod flow;
mod link;
mod path;
mod queue;
#[cfg(feature = "quic")]
mod real;
mod realm;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddrV4};

use scp2p_proto::id::LinkId;
use scp2p_proto::io::{Dial, Frame, Lane, LinkEvent, Transport};
use scp2p_proto::rng::Rng;
use scp2p_proto::time::Time;

use crate::id::HostId;
use crate::scenario;

pub use edge::Edge;

use link::{Link, Packet, Pipe, Side, State, What};
use path::Paths;
use queue::Queue;
use realm::{Realms, Stuck};

/// The network of a world.
#[derive(Debug)]
pub struct Network {
    realms: Realms,
    paths: Paths,
    hosts: BTreeMap<HostId, Host>,
    links: BTreeMap<Pipe, Link>,
    /// The ends that nodes know of.
    ends: BTreeMap<(HostId, LinkId), (Pipe, Side)>,
    effects: VecDeque<Effect>,
    pipes: u64,
    accepted: u64,
    /// Real QUIC, if links are made of it.
    #[cfg(feature = "quic")]
    real: Option<real::Real>,
}

/// What the network wants.
#[derive(Debug)]
pub enum Effect {
    /// [`Network::handle`] is to be called with this at this time.
    At(Time, Due),
    /// The host's program hears this of its link.
    Tell(HostId, LinkId, LinkEvent),
}

/// Something that the network asked for.
#[derive(Debug)]
pub struct Due(Doing);

/// How a host's program goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its system lives on: it resets TCP connections, and delivers what was sent on closed links.
    Reset,
    /// Its system goes as well, and says nothing until something listens again.
    Silent,
}

#[derive(Debug)]
enum Doing {
    Arrive(Box<Packet>),
    Again(Box<Packet>),
    Up(HostId),
    Down(HostId),
    Dial(Pipe, usize),
    Watch(Pipe),
    Linger(Pipe),
    #[cfg(feature = "quic")]
    Land(Box<real::Flight>),
    #[cfg(feature = "quic")]
    Wake(HostId),
}

#[derive(Debug)]
struct Host {
    listening: BTreeSet<(Transport, u16)>,
    /// Whether its system answers.
    powered: bool,
    paused: bool,
    clogged: Time,
    up: Queue,
    down: Queue,
    /// Ports that TCP links were dialled from. QUIC links are dialled from the port that is listened on.
    ports: BTreeSet<u16>,
    next_port: u16,
}

impl Network {
    /// A network without hosts.
    pub fn new(model: scenario::Network, rng: Rng) -> Network {
        Network {
            #[cfg(feature = "quic")]
            real: (model.links == scenario::Links::Quic).then(real::Real::new),
            realms: Realms::new(),
            paths: Paths::new(model, rng),
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            ends: BTreeMap::new(),
            effects: VecDeque::new(),
            pipes: 0,
            accepted: 0,
        }
    }

    /// Adds an edge. It does not exist before the one that it is behind, in whatever order they are added.
    pub fn add_edge(&mut self, edge: &scenario::Edge) {
        self.realms.add_edge(edge);
    }

    /// Adds a host behind an edge, or on the internet, that sends and receives at most so many
    /// bytes per second. An unknown edge counts as the internet.
    pub fn add_host(&mut self, host: HostId, edge: Option<&str>, up: u64, down: u64) {
        self.realms.place(host, edge);
        self.hosts.insert(
            host,
            Host {
                listening: BTreeSet::new(),
                powered: true,
                paused: false,
                clogged: Time::default(),
                up: Queue::new(up),
                down: Queue::new(down),
                ports: BTreeSet::new(),
                next_port: dial::FIRST_PORT,
            },
        );
    }

    /// Moves a host to another edge, or to the internet. It has a new address. QUIC links that it dialled go on from there
    /// if their other ends are within reach; the ends of others do not hear of each other any more.
    pub fn roam(&mut self, now: Time, host: HostId, edge: Option<&str>) {
        self.realms.place(host, edge);
        self.migrate(host);
        self.watch_all(now, host);
    }

    /// The addresses of the host's interfaces.
    pub fn addresses(&self, host: HostId) -> Vec<IpAddr> {
        self.realms
            .address(host)
            .map(IpAddr::V4)
            .into_iter()
            .collect()
    }

    /// A process of the host listens there.
    pub fn listen(&mut self, host: HostId, transport: Transport, port: u16) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.powered = true;
            host.listening.insert((transport, port));
        }
        #[cfg(feature = "quic")]
        if transport == Transport::Quic {
            self.open_endpoint(host, port);
        }
    }

    /// The host's process is gone. It hears nothing any more.
    pub fn stop(&mut self, now: Time, host: HostId, stop: Stop) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.listening.clear();
            host.powered = stop == Stop::Reset;
        }
        #[cfg(feature = "quic")]
        self.stop_endpoint(host, stop);
        self.watch_all(now, host);
        for pipe in self.pipes_of(host) {
            for side in Side::BOTH {
                self.stop_end(now, pipe, side, host, stop);
            }
        }
        self.effects
            .retain(|effect| !matches!(effect, Effect::Tell(of, ..) if *of == host));
    }

    /// The host sleeps, or wakes: meanwhile it sends nothing and what is sent to it is lost.
    /// Its links' time-outs go off within a second after it woke.
    pub fn pause(&mut self, now: Time, host: HostId, paused: bool) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.paused = paused;
        }
        self.watch_all(now, host);
        #[cfg(feature = "quic")]
        self.wake_endpoint(now, host);
    }

    /// Opens a link; answered by [`LinkEvent::Dialed`] or [`LinkEvent::Failed`].
    pub fn dial(&mut self, now: Time, host: HostId, link: LinkId, dial: &Dial) {
        #[cfg(feature = "quic")]
        if self.real.is_some() && dial.transport == Transport::Quic {
            return self.dial_real(now, host, link, dial);
        }
        self.begin(now, host, link, dial);
    }

    /// Sends a frame. One on a lane without room breaks the driver contract: the link is lost at both ends.
    /// Nothing happens if there is no such link or it is not up.
    pub fn send(&mut self, now: Time, host: HostId, link: LinkId, lane: Lane, frame: Frame) {
        #[cfg(feature = "quic")]
        if self.is_real(host, link) {
            return self.send_real(now, host, link, lane, frame);
        }
        if let Some((pipe, side)) = self.ends.get(&(host, link)).copied() {
            self.push(now, pipe, side, lane, frame);
        }
    }

    /// The host's program takes so many more bytes from a lane.
    pub fn grant(&mut self, now: Time, host: HostId, link: LinkId, lane: Lane, bytes: u32) {
        #[cfg(feature = "quic")]
        if self.is_real(host, link) {
            return self.grant_real(now, host, link, lane, bytes);
        }
        if let Some((pipe, side)) = self.ends.get(&(host, link)).copied()
            && let Some(link) = self.links.get_mut(&pipe)
        {
            let lane_in = &mut link.end_mut(side).inn[lane as usize];
            lane_in.granted = lane_in.granted.saturating_add(u64::from(bytes));
            self.deliver(now, pipe, side, lane);
        }
    }

    /// Closes a link after what was sent on it; none of the effects that follow is about it.
    pub fn close(&mut self, now: Time, host: HostId, link: LinkId) {
        #[cfg(feature = "quic")]
        if self.is_real(host, link) {
            self.close_real(now, host, link);
        }
        if let Some((pipe, side)) = self.ends.remove(&(host, link)) {
            self.close_end(now, pipe, side);
        }
        self.effects.retain(
            |effect| !matches!(effect, Effect::Tell(of, id, _) if (*of, *id) == (host, link)),
        );
    }

    /// Nothing passes between a host and these others, or all others if none is named. With
    /// `one_way` what the host itself sends still reaches them.
    pub fn partition(&mut self, now: Time, host: HostId, others: &[HostId], one_way: bool) {
        let all: Vec<HostId> = self.hosts.keys().copied().collect();
        let others = if others.is_empty() { &all } else { others };
        for other in others.iter().filter(|other| **other != host) {
            self.paths.block(*other, host);
            if !one_way {
                self.paths.block(host, *other);
            }
        }
        self.watch_all(now, host);
    }

    /// All partitions between this host and others are over.
    pub fn heal(&mut self, now: Time, host: HostId) {
        self.paths.unblock(host);
        self.watch_all(now, host);
    }

    /// Packets from and to a host are held up until then.
    pub fn clog(&mut self, now: Time, host: HostId, until: Time) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.clogged = host.clogged.max(until);
        }
        self.watch_all(now, host);
    }

    /// Works off something that it asked for.
    pub fn handle(&mut self, now: Time, due: Due) {
        match due.0 {
            Doing::Arrive(packet) => self.arrive(now, packet),
            Doing::Again(packet) => self.again(now, packet),
            Doing::Up(host) => self.line_up(now, host),
            Doing::Down(host) => self.line_down(now, host),
            Doing::Dial(pipe, attempt) => self.dial_again(now, pipe, attempt),
            Doing::Watch(pipe) => self.look_after(now, pipe),
            Doing::Linger(pipe) => self.linger_ends(pipe),
            #[cfg(feature = "quic")]
            Doing::Land(flight) => self.land(now, flight),
            #[cfg(feature = "quic")]
            Doing::Wake(host) => self.endpoint_due(now, host),
        }
    }

    /// What the network wants next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether one of these hosts can dial the other now without help, see [`Network::reaches`].
    pub fn direct_path_possible(&self, now: Time, a: HostId, b: HostId) -> bool {
        self.reaches(now, a, b) || self.reaches(now, b, a)
    }

    fn at(&mut self, time: Time, doing: Doing) {
        self.effects.push_back(Effect::At(time, Due(doing)));
    }

    /// Tells the node at this end.
    fn tell(&mut self, pipe: Pipe, side: Side, event: LinkEvent) {
        if let Some(link) = self.links.get(&pipe) {
            let end = link.end(side);
            self.effects
                .push_back(Effect::Tell(end.host, end.id, event));
        }
    }

    fn pipes_of(&self, host: HostId) -> Vec<Pipe> {
        let is_of = |link: &Link| Side::BOTH.iter().any(|side| link.end(*side).host == host);
        self.links
            .iter()
            .filter(|(_, link)| is_of(link))
            .map(|(pipe, _)| *pipe)
            .collect()
    }

    /// Nobody is at this end any more. Forgets the link if that makes it unknown to all.
    fn end_gone(&mut self, pipe: Pipe, side: Side, state: State) {
        let Some(link) = self.links.get_mut(&pipe) else {
            return;
        };
        let end = link.end_mut(side);
        self.ends.remove(&(end.host, end.id));
        end.state = state;
        end.inn = Default::default();
        if !link.is_alive() {
            self.forget(pipe);
        }
    }

    fn forget(&mut self, pipe: Pipe) {
        let Some(link) = self.links.remove(&pipe) else {
            return;
        };
        for (side, held) in Side::BOTH.into_iter().zip(&link.held) {
            for (edge, held) in held {
                self.realms.release(*edge, *held, link.end(side).sent);
            }
        }
        for side in Side::BOTH {
            if let Some(host) = self.hosts.get_mut(&link.end(side).host) {
                host.up.forget(pipe);
                host.down.forget(pipe);
            }
        }
        let dialer = link.end(Side::Dialer);
        if let Some(host) = self.hosts.get_mut(&dialer.host)
            && link.transport == Transport::Tcp
        {
            host.ports.remove(&dialer.local.port());
        }
    }

    /// The system of one end says that nobody there knows the link.
    fn reset(&mut self, now: Time, host: HostId, ends: [SocketAddrV4; 2], pipe: Pipe, side: Side) {
        let reset = Packet::new(pipe, side, What::Reset);
        let _: Result<(), Stuck> = self.launch(now, now, host, ends, reset);
    }

    fn answers(&self, host: HostId) -> bool {
        self.hosts
            .get(&host)
            .is_some_and(|host| host.powered && !host.paused)
    }

    /// An id for an accepted link.
    fn accepted_id(&mut self) -> LinkId {
        #[cfg(feature = "quic")]
        if let Some(real) = &self.real {
            return real.accepted_id();
        }
        self.accepted += 1;
        LinkId(1 << 63 | (self.accepted - 1))
    }

    fn is_paused(&self, host: HostId) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.paused)
    }

    /// Until when packets from and to a host are held up, or were.
    pub fn clogged(&self, host: HostId) -> Time {
        self.hosts
            .get(&host)
            .map_or(Time::default(), |host| host.clogged)
    }
}
