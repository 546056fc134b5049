//! This node as the owner of a slot: a tunnel at a deployed bootstrap peer, through which deployed clients ask us while
//! nobody can dial us.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::cx::Cx;
use crate::id::{LinkId, NodeKey};
use crate::io::CloseCode;
use crate::limits::{RELAYS_REFUSING_MAX, SLOT_LIFE_SECS, SLOTS_OF_OWNER_MAX};
use crate::lru::Lru;
use crate::rng::Rng;
use crate::time::Time;
use crate::wire::{Answer, Envelope, PeerAddr, RelayRegister, RelayRoute, Request};
use crate::wish::Wish;

/// When a tunnel is looked for first: relays of ours, which cannot read, come before.
const FIRST: Duration = Duration::from_secs(10);
/// How often it is looked for again, as deployed owners do. A link is there by then, or is not to be had.
const AGAIN: Duration = Duration::from_secs(30);
/// How long a relay has to answer.
const REGISTER_TIME: Duration = Duration::from_secs(10);
/// How long a relay that gave no tunnel is not asked again.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// The number of the only request that we send on a tunnel.
const REQ_ID: u32 = 1;

pub(in crate::relay) struct Own {
    rng: Rng,
    /// Whether others can dial us, if that is known.
    is_direct: Option<bool>,
    tunnel: Option<OwnTunnel>,
    /// When slots were asked for lately: a relay gives so many to one owner and no more.
    taken: VecDeque<Time>,
    refusing: Lru<NodeKey, Time>,
    next: Option<Time>,
}

/// The session on which a relay is to ask us.
struct OwnTunnel {
    link: LinkId,
    relay: PeerAddr,
    /// Until when the relay has to give a slot; none if it did.
    until: Option<Time>,
}

impl Own {
    pub(in crate::relay) fn new(rng: Rng) -> Own {
        Own {
            rng,
            is_direct: None,
            tunnel: None,
            taken: VecDeque::new(),
            refusing: Lru::new(RELAYS_REFUSING_MAX),
            next: None,
        }
    }

    /// Whether others can dial us.
    pub(in crate::relay) fn on_reachable(&mut self, cx: &mut Cx<'_>, is_direct: bool) {
        self.is_direct = Some(is_direct);
        if is_direct {
            self.next = None;
            self.end(cx);
        } else {
            self.look_soon(cx);
        }
    }

    /// A session is up.
    pub(in crate::relay) fn on_up(&mut self, cx: &Cx<'_>, peer: &NodeKey) {
        if self.is_direct != Some(true) && cx.roster.is_callable(peer) && !cx.roster.is_ours(peer) {
            self.look_soon(cx);
        }
    }

    fn look_soon(&mut self, cx: &Cx<'_>) {
        if cx.config.deployed_relays && self.tunnel.is_none() {
            let pause = self.rng.jitter(FIRST);
            self.next.get_or_insert(cx.now.mono + pause);
        }
    }

    /// A session for a tunnel is up, on which the relay knows nothing of us yet. It is always a new slot that is asked
    /// for: the end of an old session, which the relay may not know of, would end the tunnel of the same slot.
    pub(in crate::relay) fn on_opened(&mut self, cx: &mut Cx<'_>, link: LinkId, relay: PeerAddr) {
        if self.tunnel.is_some() || self.is_direct == Some(true) {
            return cx.close(link, CloseCode::Done);
        }
        self.taken.push_back(cx.now.mono);
        let register = RelayRegister {
            slot: None,
            tunnel: true,
        };
        cx.tunnel(link, Request::RelayRegister(register).to_frame(REQ_ID));
        self.tunnel = Some(OwnTunnel {
            link,
            relay,
            until: Some(cx.now.mono + REGISTER_TIME),
        });
    }

    /// The relay has answered.
    pub(in crate::relay) fn on_reply(&mut self, cx: &mut Cx<'_>, link: LinkId, reply: &Envelope) {
        let tunnel = self.tunnel.as_mut().filter(|tunnel| tunnel.link == link);
        let Some(tunnel) = tunnel.filter(|it| it.until.is_some()) else {
            return;
        };
        let kind = Request::RelayRegister(RelayRegister::default()).kind();
        match Answer::decode(kind, reply) {
            Ok(Answer::RelayRegistered(registered)) if registered.slot.0 != 0 => {
                tunnel.until = None;
                self.next = None;
                let relay = tunnel.relay.clone();
                let slot = registered.slot;
                cx.wish(Wish::TunnelRoute(Some(Box::new(RelayRoute {
                    relay,
                    slot,
                }))));
            }
            Ok(_) | Err(_) => self.refused(cx),
        }
    }

    /// The relay gives no tunnel.
    fn refused(&mut self, cx: &mut Cx<'_>) {
        let key = self.tunnel.as_ref().and_then(|tunnel| tunnel.relay.key);
        if let Some(key) = key {
            self.refusing.insert(key, cx.now.mono + REFUSED_FOR);
        }
        self.end(cx);
        self.look_soon(cx);
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        if let Some(tunnel) = self.tunnel.take() {
            cx.close(tunnel.link, CloseCode::Done);
            cx.wish(Wish::TunnelRoute(None));
        }
    }

    /// A session has ended.
    pub(in crate::relay) fn on_down(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        if self.tunnel.take_if(|tunnel| tunnel.link == link).is_some() {
            cx.wish(Wish::TunnelRoute(None));
            self.look_soon(cx);
        }
    }

    /// `has_place`: relays of ours connect others to us.
    pub(in crate::relay) fn on_time(&mut self, cx: &mut Cx<'_>, has_place: bool) {
        let now = cx.now.mono;
        let until = self.tunnel.as_ref().and_then(|tunnel| tunnel.until);
        if until.is_some_and(|until| until <= now) {
            self.refused(cx);
        }
        if self.next.is_none_or(|at| at > now) {
            return;
        }
        self.next = None;
        // Who comes up later is taken note of.
        if self.tunnel.is_some() || cx.roster.deployed().next().is_none() {
            return;
        }
        let is_lost = |at: &mut Time| now.since(*at) >= Duration::from_secs(SLOT_LIFE_SECS);
        while self.taken.pop_front_if(is_lost).is_some() {}
        let is_full = self.taken.len() >= SLOTS_OF_OWNER_MAX;
        if !has_place && !is_full && self.is_hidden(cx) {
            let but = self.refusing.iter().filter(|(_, until)| **until > now);
            let but: Vec<NodeKey> = but.map(|(key, _)| *key).collect();
            cx.wish(Wish::DialTunnel { but });
        }
        self.next = Some(now + self.rng.jitter(AGAIN));
    }

    /// Whether nobody can dial us. Deployed peers cannot tell, so among them alone it is taken for granted.
    fn is_hidden(&self, cx: &Cx<'_>) -> bool {
        let ours = |(_, session): (_, &crate::session::Session)| session.level.is_some();
        self.is_direct == Some(false) || (self.is_direct.is_none() && !cx.roster.iter().any(ours))
    }

    pub(in crate::relay) fn deadline(&self) -> Option<Time> {
        let until = self.tunnel.as_ref().and_then(|tunnel| tunnel.until);
        [until, self.next].into_iter().flatten().min()
    }
}

#[cfg(any(test, feature = "check"))]
impl Own {
    pub(in crate::relay) fn check(
        &self,
        roster: &crate::session::Roster,
        broken: &mut crate::check::Broken,
    ) {
        use crate::view::Tunnel;
        self.refusing.check("relays that gave no tunnel", broken);
        broken.at_most("slots asked for", self.taken.len(), SLOTS_OF_OWNER_MAX + 1);
        let tunnels = roster.tunnels().map(|(_, session)| session);
        let own = tunnels.filter(|session| session.tunnel == Some(Tunnel::Owner));
        let own: Vec<LinkId> = own.map(|session| session.link).collect();
        let known: Vec<LinkId> = self.tunnel.iter().map(|tunnel| tunnel.link).collect();
        broken.unless(own == known, || {
            "our tunnel is not the session that is one".into()
        });
    }
}
