//! Sessions that are tunnels of deployed peers (SPECIFICATION §9.7).

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use super::super::calls::Calls;
use super::super::roster::{Carriage, Session};
use super::link::{Link, State, Up};
use super::{SessionEvent, Sessions, Step};
use crate::id::{LinkId, NodeKey};
use crate::io::{CloseCode, Frame, Lane};
use crate::limits::FRAME_MAX;
use crate::outbox::Outbox;
use crate::time::Now;
use crate::view::Tunnel;
use crate::wire::{Capabilities, PeerAddr, Profile};

impl Sessions {
    /// The peer's session is its tunnel from now on: we ask and it answers. It must wait for nothing else, as whatever
    /// we sent would be taken for a request.
    pub(crate) fn turn(
        &mut self,
        id: LinkId,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let Some(State::Up(up)) = self.links.get(&id).map(|link| &link.state) else {
            return;
        };
        if up.tickets > 0 {
            return self.close(id, CloseCode::Offence, heard, out);
        }
        if let Some(session) = self.roster.by_link(&up.key, id) {
            session.tunnel = Some(Tunnel::Relay);
        }
    }

    /// A session for a tunnel of ours is up.
    pub(super) fn tunnel_up(
        &mut self,
        step: &mut Step<'_>,
        name: NodeKey,
        with: (NodeKey, Session),
    ) {
        let (relay, session) = with;
        let at = PeerAddr {
            ip: session.remote.ip(),
            port: session.remote.port(),
            transport: session.transport,
            key: Some(relay),
            relay_via: None,
        };
        let session = Session {
            via: Some(relay),
            content: true,
            tunnel: Some(Tunnel::Owner),
            ..session
        };
        self.roster.add_tunnel(name, session);
        step.heard.push_back(SessionEvent::TunnelUp {
            link: step.id,
            relay: at,
        });
    }

    /// The owner of a slot can be asked on a link, by a name; what is asked there goes over the session with a relay.
    pub(crate) fn open_tunnel(
        &mut self,
        now: Now,
        id: LinkId,
        name: NodeKey,
        relay: (NodeKey, &PeerAddr),
    ) {
        let (relay, at) = relay;
        let up = Up {
            key: name,
            calls: Calls::new(),
            tickets: 0,
        };
        let mut link = Link::new(false, State::Up(up));
        link.via = Some(Carriage {
            relay,
            content: true,
        });
        link.control.set_limit(FRAME_MAX);
        link.grants.authenticated();
        self.links.insert(id, link);
        let session = Session {
            link: id,
            transport: at.transport,
            remote: SocketAddr::new(at.ip, at.port),
            via: Some(relay),
            content: true,
            inbound: false,
            profile: Profile::C,
            level: None,
            capabilities: Capabilities::default(),
            clock: now.unix,
            since: now.mono,
            heard: now.mono,
            used: now.mono,
            parting: false,
            tunnel: Some(Tunnel::Requester),
            received: 0,
            sent: 0,
        };
        self.roster.add_tunnel(name, session);
    }

    /// Sends something on a session that is a tunnel.
    pub(crate) fn send_tunnel(
        &mut self,
        id: LinkId,
        frame: Frame,
        heard: &mut VecDeque<SessionEvent>,
        out: &mut Outbox,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match link.push(Lane::Control, frame) {
            Ok(()) => self.pump(id, out),
            Err(_) => self.close(id, CloseCode::Busy, heard, out),
        }
    }
}
