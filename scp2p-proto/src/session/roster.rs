//! Who is connected: what the components may look at.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::id::{LinkId, NodeKey};
use crate::io::Transport;
use crate::netgroup::Netgroup;
use crate::time::{Time, UnixTime};
use crate::view::Tunnel;
use crate::wire::{Capabilities, PeerAddr, Profile, Request};

/// The authenticated sessions.
#[derive(Default)]
pub(crate) struct Roster {
    sessions: BTreeMap<NodeKey, Vec<Session>>,
    /// Slots in whose tunnels we have a part, by names that are nobody's keys.
    tunnels: BTreeMap<NodeKey, Session>,
    /// Where we can be reached, for provider records and peer exchange, as Peers made it out.
    pub own_addrs: Vec<PeerAddr>,
    /// Links on which frames wait for room.
    held_up: BTreeSet<LinkId>,
}

/// What carries a session that is a circuit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carriage {
    pub relay: NodeKey,
    /// Whether the relay takes content too.
    pub content: bool,
}

/// An authenticated session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub link: LinkId,
    pub transport: Transport,
    /// The other end, which is the relay's if there is one.
    pub remote: SocketAddr,
    /// The relay that carries the session, if it is a circuit.
    pub via: Option<NodeKey>,
    /// Whether chunks may be asked for over it: not everything that carries circuits carries content.
    pub content: bool,
    /// The peer dialled.
    pub inbound: bool,
    pub profile: Profile,
    /// The extension level if the session is bound, that is, if the peer is a node like ours.
    pub level: Option<u8>,
    pub capabilities: Capabilities,
    /// What its clock showed in its hello.
    pub clock: UnixTime,
    pub since: Time,
    /// When bytes last arrived.
    pub heard: Time,
    /// When a request last went over it that is more than upkeep.
    pub used: Time,
    /// Neither end has a use for it, so that its end says nothing of the peer.
    pub parting: bool,
    /// What it is, if it is a tunnel of deployed peers.
    pub tunnel: Option<Tunnel>,
    pub received: u64,
    pub sent: u64,
}

impl Session {
    /// Whether the peer is a node of ours and no relay is in between.
    pub(crate) fn is_direct(&self) -> bool {
        self.level.is_some() && self.via.is_none()
    }

    pub(crate) fn netgroup(&self) -> Netgroup {
        Netgroup::of(self.remote.ip())
    }

    /// Whether requests of ours are answered on it: a deployed peer that dialled only asks.
    pub(crate) fn is_callable(&self) -> bool {
        match self.tunnel {
            None => self.level.is_some() || !self.inbound,
            Some(Tunnel::Relay | Tunnel::Owner) => false,
            Some(Tunnel::Requester) => true,
        }
    }
}

#[cfg(test)]
impl Session {
    /// One that we dialled.
    pub(crate) fn dialled(link: LinkId, level: Option<u8>, now: Time) -> Session {
        Session {
            link,
            transport: Transport::Quic,
            remote: SocketAddr::from(([127, 0, 0, 1], 7000)),
            via: None,
            content: true,
            inbound: false,
            profile: Profile::C,
            level,
            capabilities: Capabilities::node(),
            clock: UnixTime(0),
            since: now,
            heard: now,
            used: now,
            parting: false,
            tunnel: None,
            received: 0,
            sent: 0,
        }
    }
}

impl Roster {
    /// The session that carries our calls to this peer, or else one that it opened.
    pub(crate) fn session(&self, peer: &NodeKey) -> Option<&Session> {
        carrier(self.all(peer))
    }

    /// Whether calls to this peer can be sent now.
    pub(crate) fn is_callable(&self, peer: &NodeKey) -> bool {
        self.session(peer).is_some_and(Session::is_callable)
    }

    /// Whether the peer is connected and a node like ours.
    pub(crate) fn is_ours(&self, peer: &NodeKey) -> bool {
        self.session(peer)
            .is_some_and(|session| session.level.is_some())
    }

    /// The deployed peers that are connected and answer us.
    pub(crate) fn deployed(&self) -> impl Iterator<Item = NodeKey> {
        let is_deployed = |session: &Session| session.level.is_none() && session.is_callable();
        let deployed = self.iter().filter(move |(_, session)| is_deployed(session));
        deployed.map(|(key, _)| *key)
    }

    /// Slots by their names: those whose owners can be asked, and our own, by which others ask. They are no peers:
    /// nothing is theirs but what proves itself.
    pub(crate) fn tunnels(&self) -> impl Iterator<Item = (&NodeKey, &Session)> {
        self.tunnels.iter()
    }

    /// All who can be asked for contents.
    pub(crate) fn askable(&self) -> impl Iterator<Item = NodeKey> {
        let all = self.iter().chain(self.tunnels());
        let askable = all.filter(|(_, session)| session.is_callable());
        askable.map(|(key, _)| *key)
    }

    /// Whether this is no peer's key, but the name of a slot.
    pub(crate) fn is_name(&self, key: &NodeKey) -> bool {
        self.tunnels.contains_key(key)
    }

    /// Whether something may be asked of somebody, who may be known by name alone.
    pub(crate) fn allows(&self, peer: &NodeKey, request: &Request) -> bool {
        !self.is_name(peer) || request.may_be_relayed()
    }

    /// Every connected peer once, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeKey, &Session)> {
        let sessions = self.sessions.iter();
        sessions.filter_map(|(key, sessions)| Some((key, carrier(sessions)?)))
    }

    /// Whether an address is one of our own, but for the key; those at relays have others too.
    pub(crate) fn is_own_addr(&self, addr: &PeerAddr) -> bool {
        let place = |addr: &PeerAddr| (addr.ip, addr.port, addr.transport);
        let is_same = |own: &PeerAddr| own.relay_via.is_none() && place(own) == place(addr);
        addr.relay_via.is_none() && self.own_addrs.iter().any(is_same)
    }

    /// The session with a peer of ours on this link, unless a relay carries it.
    pub(crate) fn direct(&self, peer: &NodeKey, link: LinkId) -> Option<&Session> {
        let mut sessions = self.all(peer).iter();
        sessions.find(|session| session.link == link && session.is_direct())
    }

    /// Whether chunks may be asked for over the session on this link.
    pub(crate) fn takes_content(&self, peer: &NodeKey, link: LinkId) -> bool {
        let mut sessions = self.all(peer).iter();
        sessions.any(|session| session.link == link && session.content)
    }

    /// Whether a peer can be asked, but not for chunks.
    pub(crate) fn lacks_content(&self, peer: &NodeKey) -> bool {
        self.session(peer)
            .is_some_and(|session| session.is_callable() && !session.content)
    }

    /// With whom the session on this link is.
    pub(crate) fn peer_on(&self, link: LinkId) -> Option<NodeKey> {
        let mut sessions = self.sessions.iter();
        let on = |(_, sessions): &(&NodeKey, &Vec<Session>)| {
            sessions.iter().any(|session| session.link == link)
        };
        sessions.find(on).map(|(key, _)| *key)
    }

    /// Whether a session is up on this link.
    pub(crate) fn is_up(&self, link: LinkId) -> bool {
        let sessions = self.sessions.values().flatten();
        let mut sessions = sessions.chain(self.tunnels.values());
        sessions.any(|session| session.link == link)
    }

    /// Whether frames wait for room on this link, so that nothing should be loaded for it.
    pub(crate) fn is_held_up(&self, link: LinkId) -> bool {
        self.held_up.contains(&link)
    }

    /// How many peers are connected.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many of them through relays.
    pub(crate) fn relayed(&self) -> usize {
        let is_relayed = |(_, session): &(&NodeKey, &Session)| session.via.is_some();
        self.iter().filter(is_relayed).count()
    }

    /// How many sessions there are.
    pub(crate) fn links(&self) -> usize {
        self.sessions.values().map(Vec::len).sum()
    }

    /// All sessions with a peer, oldest first.
    pub(crate) fn all(&self, peer: &NodeKey) -> &[Session] {
        match (self.sessions.get(peer), self.tunnels.get(peer)) {
            (Some(sessions), _) => sessions,
            (None, Some(tunnel)) => core::slice::from_ref(tunnel),
            (None, None) => &[],
        }
    }

    pub(super) fn add_tunnel(&mut self, name: NodeKey, session: Session) {
        self.tunnels.insert(name, session);
    }

    pub(crate) fn add(&mut self, peer: NodeKey, session: Session) {
        self.sessions.entry(peer).or_default().push(session);
    }

    /// Notes whether frames wait on a link.
    pub(super) fn hold_up(&mut self, link: LinkId, waiting: bool) {
        if waiting {
            self.held_up.insert(link);
        } else {
            self.held_up.remove(&link);
        }
    }

    /// Notes a request on a session, in either direction.
    pub(super) fn used(&mut self, peer: &NodeKey, link: LinkId, request: &Request, now: Time) {
        if !request.is_upkeep()
            && let Some(session) = self.by_link(peer, link)
        {
            session.used = now;
        }
    }

    /// Removes a session; true if it was the peer's last.
    pub(super) fn remove(&mut self, peer: &NodeKey, link: LinkId) -> bool {
        let Some(sessions) = self.sessions.get_mut(peer) else {
            return self.tunnels.remove(peer).is_some();
        };
        sessions.retain(|session| session.link != link);
        if sessions.is_empty() {
            self.sessions.remove(peer);
            return true;
        }
        false
    }

    pub(super) fn by_link(&mut self, peer: &NodeKey, link: LinkId) -> Option<&mut Session> {
        let sessions = self.sessions.get_mut(peer).into_iter().flatten();
        let mut sessions = sessions.chain(self.tunnels.get_mut(peer));
        sessions.find(|session| session.link == link)
    }
}

/// Of the sessions with a peer, that which carries our calls, a direct one before a circuit, or else the oldest.
fn carrier(sessions: &[Session]) -> Option<&Session> {
    let mut callable = sessions.iter().filter(|session| session.is_callable());
    let first = callable.clone().next().or(sessions.first());
    callable.find(|session| session.via.is_none()).or(first)
}

#[cfg(any(test, feature = "check"))]
impl Roster {
    /// Every session, with its peer.
    pub(crate) fn every(&self) -> impl Iterator<Item = (&NodeKey, &Session)> {
        let sessions = self.sessions.iter();
        let sessions =
            sessions.flat_map(|(key, sessions)| sessions.iter().map(move |session| (key, session)));
        sessions.chain(self.tunnels())
    }

    /// Links on which frames wait.
    pub(super) fn held_up(&self) -> &BTreeSet<LinkId> {
        &self.held_up
    }
}
