//! This node as a relay of deployed peers: who has a slot here, and who has its owner asked.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;

use super::super::CLOSING;
use super::super::passages::Passages;
use super::line::{Asker, Late, Line};
use crate::config::RelayLimits;
use crate::cx::Cx;
use crate::id::{LinkId, NodeKey, RelaySlotId};
use crate::io::CloseCode;
use crate::limits::{
    ASKER_BURST, ASKER_PER_SECOND, ASKER_STREAMS_MAX, ASKERS_MAX, RELAY_PAYLOAD_MAX,
    RELAYED_REQUEST_MAX, SLOT_LIFE_SECS, SLOT_QUEUES_MAX, SLOTS_MAX, SLOTS_OF_OWNER_MAX,
};
use crate::lru::Lru;
use crate::netgroup::{Netgroup, subscriber};
use crate::rng::Rng;
use crate::session::{Session, Ticket};
use crate::time::{Now, Time, UnixTime};
use crate::token_bucket::TokenBucket;
use crate::view::SlotView;
use crate::wire::{Answer, Envelope, RelayRegister, RelayRegistered, RelayStream, kind};

/// Why a relay that is for control alone refuses.
const NO_CONTENT: &str = "no content is relayed here";

pub(in crate::relay) struct Slots {
    rng: Rng,
    slots: BTreeMap<RelaySlotId, Slot>,
    /// How much more may be asked from an address.
    askers: Lru<IpAddr, TokenBucket>,
}

/// A name under which somebody is asked for.
struct Slot {
    owner: NodeKey,
    /// Where it was registered from.
    host: IpAddr,
    since: Time,
    /// It is kept for longer while it has a tunnel.
    until: UnixTime,
    tunnel: Option<Line>,
}

impl Slots {
    pub(in crate::relay) fn new(rng: Rng) -> Slots {
        Slots {
            rng,
            slots: BTreeMap::new(),
            askers: Lru::new(ASKERS_MAX),
        }
    }

    /// A peer wants a slot, or to keep one, or to be asked through one over this very session.
    pub(in crate::relay) fn on_register(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        register: RelayRegister,
    ) {
        let registered = self.register(cx, from, &ticket, register);
        let (id, registered) = match registered {
            Ok(registered) => (registered.slot, registered),
            Err(refusal) => return cx.refuse(ticket, refusal),
        };
        let link = ticket.link();
        cx.answer(ticket, Answer::RelayRegistered(registered));
        let Some(slot) = self.slots.get_mut(&id).filter(|_| register.tunnel) else {
            return;
        };
        cx.turn(link);
        if let Some(before) = slot.tunnel.replace(Line::new(link, cx.now.mono)) {
            end(cx, id, before);
        }
    }

    fn register(
        &mut self,
        cx: &Cx<'_>,
        from: NodeKey,
        ticket: &Ticket,
        register: RelayRegister,
    ) -> Result<RelayRegistered, &'static str> {
        let limits = relayed(cx)?;
        let session = session(cx, &from, ticket.link())?;
        if session.level.is_some() {
            return Err("circuits are for nodes like this one");
        }
        if register.tunnel && !session.inbound {
            return Err("a tunnel is a session that its owner opened");
        }
        self.forget_ended(cx.now);
        let until = UnixTime(cx.now.unix.0.saturating_add(SLOT_LIFE_SECS));
        let host = subscriber(session.remote.ip());
        let id = match register.slot {
            Some(id) => {
                let slot = self.slots.get_mut(&id).ok_or("relay slot not found")?;
                if slot.owner != from {
                    return Err("relay slot owner mismatch");
                }
                slot.until = until;
                id
            }
            None => {
                if limits.closing {
                    return Err(CLOSING);
                }
                if !limits.allows(&from) {
                    return Err("not on the relay's list");
                }
                if self.is_full(&from, host, limits) {
                    return Err("rate limit: relay slot limit reached");
                }
                let id = self.fresh_id();
                let slot = Slot {
                    owner: from,
                    host,
                    since: cx.now.mono,
                    until,
                    tunnel: None,
                };
                self.slots.insert(id, slot);
                id
            }
        };
        Ok(RelayRegistered {
            slot: id,
            expires_at: until,
        })
    }

    /// Whether there is no room for one more slot of this owner, who is at this address: other keys there do not help.
    fn is_full(&self, owner: &NodeKey, host: IpAddr, limits: &RelayLimits) -> bool {
        let count =
            |is: &dyn Fn(&Slot) -> bool| self.slots.values().filter(|slot| is(slot)).count();
        let network = Netgroup::of(host);
        // Each is a place, and a tunnel as those are that deployed relays announce.
        let most = limits.reservations_max.min(limits.circuits_max) as usize;
        self.slots.len() >= SLOTS_MAX.min(most)
            || count(&|slot| slot.owner == *owner) >= SLOTS_OF_OWNER_MAX
            || count(&|slot| slot.host == host) >= limits.reservations_per_ip_max as usize
            || count(&|slot| Netgroup::of(slot.host) == network)
                >= limits.reservations_per_network_max as usize
    }

    fn fresh_id(&mut self) -> RelaySlotId {
        loop {
            let id = RelaySlotId(self.rng.u64());
            if id.0 != 0 && !self.slots.contains_key(&id) {
                return id;
            }
        }
    }

    fn forget_ended(&mut self, now: Now) {
        self.slots.retain(|_, slot| slot.is_there(now));
    }

    /// A peer says that it is going to have the owner of a slot asked.
    pub(in crate::relay) fn on_connect(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Ticket,
        id: RelaySlotId,
    ) {
        self.forget_ended(cx.now);
        match relayed(cx) {
            Ok(_) if self.slots.contains_key(&id) => cx.answer(ticket, Answer::Ack),
            Ok(_) => cx.refuse(ticket, "relay slot not found"),
            Err(refusal) => cx.refuse(ticket, refusal),
        }
    }

    /// A peer has the owner of a slot asked.
    pub(in crate::relay) fn on_stream(
        &mut self,
        cx: &mut Cx<'_>,
        passages: &mut Passages,
        from: NodeKey,
        ticket: Ticket,
        stream: &RelayStream,
    ) {
        match self.admit(cx, &from, &ticket, stream) {
            Ok((line, host, inner)) => {
                let asker = Asker {
                    peer: from,
                    ticket,
                    host,
                    stream_id: stream.stream_id,
                    kind: stream.kind,
                    req_id: inner.req_id,
                    since: cx.now.mono,
                };
                line.push(asker, &inner);
                ask_next(cx, passages, line);
            }
            Err(refusal) => cx.refuse(ticket, refusal),
        }
    }

    /// The tunnel that takes a request, where it comes from, and the request.
    fn admit(
        &mut self,
        cx: &Cx<'_>,
        from: &NodeKey,
        ticket: &Ticket,
        stream: &RelayStream,
    ) -> Result<(&mut Line, IpAddr, Envelope), String> {
        let limits = relayed(cx)?;
        let host = subscriber(session(cx, from, ticket.link())?.remote.ip());
        if !self.may_ask(host, cx.now.mono) {
            return Err("rate limit: too many requests to relay".into());
        }
        let inner = inner(stream)?;
        if limits.closing {
            return Err(CLOSING.into());
        }
        if inner.kind == kind::GET_CHUNK && !limits.content {
            return Err(NO_CONTENT.into());
        }
        self.forget_ended(cx.now);
        let is_its = |link: &LinkId| *link == ticket.link();
        let (all, its) = (self.askers().count(), self.askers().filter(is_its).count());
        if all >= SLOT_QUEUES_MAX || its >= ASKER_STREAMS_MAX {
            return Err("rate limit: too many requests under way".into());
        }
        let slot = self
            .slots
            .get_mut(&stream.slot)
            .ok_or("relay slot not found")?;
        let Some(line) = &mut slot.tunnel else {
            return Err(format!("relay slot {} has no tunnel", stream.slot.0));
        };
        if !line.takes(cx.now.mono) {
            return Err(format!(
                "rate limit: too many requests for relay slot {}",
                stream.slot.0
            ));
        }
        Ok((line, host, inner))
    }

    fn may_ask(&mut self, host: IpAddr, now: Time) -> bool {
        if let Some(bucket) = self.askers.get(&host) {
            return bucket.take(now, 1);
        }
        let mut bucket = TokenBucket::new(ASKER_BURST, ASKER_PER_SECOND, now);
        let is_taken = bucket.take(now, 1);
        self.askers.insert(host, bucket);
        is_taken
    }

    /// The owner of a slot has answered on its tunnel.
    pub(in crate::relay) fn on_reply(
        &mut self,
        cx: &mut Cx<'_>,
        passages: &mut Passages,
        link: LinkId,
        reply: Envelope,
    ) {
        let mut slots = self.slots.iter_mut();
        let found = slots.find_map(|(id, slot)| {
            Some((*id, slot.tunnel.as_mut()?)).filter(|(_, line)| line.link == link)
        });
        let Some((id, line)) = found else {
            return;
        };
        if let Some(asker) = line.answered(&reply) {
            passed(cx, passages, line, asker.host, reply.payload.len());
            answer(cx, id, asker, reply);
        }
        ask_next(cx, passages, line);
    }

    /// The limits are others: what they would refuse ends, the newest first. What an owner is asked already it may answer.
    pub(in crate::relay) fn on_limits(&mut self, cx: &mut Cx<'_>) {
        let Ok(limits) = relayed(cx) else {
            return;
        };
        self.forget_ended(cx.now);
        let mut before: Vec<_> = mem::take(&mut self.slots).into_iter().collect();
        before.sort_by_key(|(_, slot)| slot.since);
        for (id, mut slot) in before {
            let is_kept =
                limits.allows(&slot.owner) && !self.is_full(&slot.owner, slot.host, limits);
            match &mut slot.tunnel {
                Some(line) if is_kept && !limits.content => {
                    for asker in line.withdraw(kind::GET_CHUNK) {
                        cx.refuse(asker.ticket, NO_CONTENT);
                    }
                }
                Some(_) | None => {}
            }
            if is_kept {
                self.slots.insert(id, slot);
            } else if let Some(line) = slot.tunnel {
                end(cx, id, line);
            }
        }
    }

    /// A session has ended: a tunnel, or that of somebody who waits.
    pub(in crate::relay) fn on_down(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        for (id, slot) in &mut self.slots {
            if let Some(line) = slot.tunnel.take_if(|line| line.link == link) {
                fail(cx, *id, line);
            }
            if let Some(line) = &mut slot.tunnel {
                line.forget(link);
            }
        }
    }

    pub(in crate::relay) fn on_time(&mut self, cx: &mut Cx<'_>, passages: &mut Passages) {
        for (id, slot) in &mut self.slots {
            let Some(line) = &mut slot.tunnel else {
                continue;
            };
            match line.late(cx.now.mono) {
                Late::Askers(askers) => {
                    for asker in askers {
                        let text = format!("relay tunnel response timed out for slot {}", id.0);
                        cx.refuse(asker.ticket, text);
                    }
                    ask_next(cx, passages, line);
                }
                Late::Owner => {
                    if let Some(line) = slot.tunnel.take() {
                        end(cx, *id, line);
                    }
                }
            }
        }
    }

    pub(in crate::relay) fn deadline(&self) -> Option<Time> {
        self.lines().filter_map(Line::deadline).min()
    }

    /// Those that are there, oldest first.
    pub(in crate::relay) fn views(&self, now: Now) -> Vec<SlotView> {
        let slots = self.slots.iter().filter(|(_, slot)| slot.is_there(now));
        let mut slots: Vec<_> = slots.collect();
        slots.sort_by_key(|(_, slot)| slot.since);
        let view = |(id, slot): (&RelaySlotId, &Slot)| SlotView {
            slot: *id,
            owner: slot.owner,
            ip: slot.host,
            age: now.mono.since(slot.since),
            tunnel: slot.tunnel.as_ref().map(|line| line.view(now.mono)),
        };
        slots.into_iter().map(view).collect()
    }

    /// Over which links those came who wait.
    fn askers(&self) -> impl Iterator<Item = LinkId> {
        let askers = self.lines().flat_map(Line::askers);
        askers.map(|asker| asker.ticket.link())
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.slots.values().filter_map(|slot| slot.tunnel.as_ref())
    }
}

impl Slot {
    /// Whether it is kept.
    fn is_there(&self, now: Now) -> bool {
        self.tunnel.is_some() || self.until > now.unix
    }
}

/// What this node gives as a relay of deployed peers, or why it is none.
fn relayed<'a>(cx: &Cx<'a>) -> Result<&'a RelayLimits, &'static str> {
    let limits = cx.config.relay.as_ref();
    limits
        .filter(|_| cx.config.deployed_relays)
        .ok_or("not a relay")
}

/// The session over which a peer asks; it must be one without a relay in between.
fn session<'a>(cx: &Cx<'a>, peer: &NodeKey, link: LinkId) -> Result<&'a Session, &'static str> {
    let mut sessions = cx.roster.all(peer).iter();
    let session = sessions.find(|session| session.link == link && session.via.is_none());
    session.ok_or("over a relay")
}

/// The request within a request, if it may be relayed.
fn inner(stream: &RelayStream) -> Result<Envelope, &'static str> {
    if stream.payload.len() > RELAYED_REQUEST_MAX {
        return Err("what is to be relayed is too long");
    }
    match stream.inner() {
        Ok(inner) if inner.flags == 0 => Ok(inner),
        Ok(_) => Err("what is to be relayed is no request"),
        Err(_) => Err("what is to be relayed cannot be read"),
    }
}

/// Has the owner of a slot asked what is next, if its time has come.
fn ask_next(cx: &mut Cx<'_>, passages: &mut Passages, line: &mut Line) {
    let (Ok(limits), now) = (relayed(cx), cx.now.mono) else {
        return;
    };
    while let Some((asker, message)) = line.next(now, |ip| passages.tunnel_at(ip, limits, now)) {
        let host = asker.host;
        match passages.admit_tunnelled(host, limits, now) {
            Ok(()) => {
                let frame = line.ask(asker, message, now);
                passed(cx, passages, line, host, frame.len());
                cx.tunnel(line.link, frame);
            }
            Err(refusal) => cx.refuse(asker.ticket, refusal),
        }
    }
}

/// So many bytes passed a tunnel for somebody at an address.
fn passed(cx: &Cx<'_>, passages: &mut Passages, line: &mut Line, host: IpAddr, bytes: usize) {
    line.passed(bytes as u64, cx.now.mono);
    if let Ok(limits) = relayed(cx) {
        line.pause(passages.tunnelled(host, bytes as u64, limits, cx.now.mono));
    }
}

fn answer(cx: &mut Cx<'_>, slot: RelaySlotId, asker: Asker, reply: Envelope) {
    let inner = Envelope {
        req_id: asker.req_id,
        ..reply
    };
    let payload = inner.encode();
    if payload.len() > RELAY_PAYLOAD_MAX {
        let text = format!("relay tunnel response too long for slot {}", slot.0);
        return cx.refuse(asker.ticket, text);
    }
    let stream = RelayStream {
        slot,
        stream_id: asker.stream_id,
        kind: asker.kind,
        payload,
    };
    cx.answer(asker.ticket, Answer::RelayStream(stream));
}

/// A tunnel ends for a reason of ours.
fn end(cx: &mut Cx<'_>, id: RelaySlotId, line: Line) {
    cx.close(line.link, CloseCode::Done);
    fail(cx, id, line);
}

/// Nobody will answer who waits for the owner of a slot.
fn fail(cx: &mut Cx<'_>, id: RelaySlotId, line: Line) {
    for asker in line.into_askers() {
        let text = format!("relay bridge dropped response for slot {}", id.0);
        cx.refuse(asker.ticket, text);
    }
}

#[cfg(any(test, feature = "check"))]
impl Slots {
    pub(in crate::relay) fn check(
        &self,
        roster: &crate::session::Roster,
        broken: &mut crate::check::Broken,
    ) {
        use crate::view::Tunnel;
        use alloc::collections::BTreeSet;
        broken.at_most("slots of deployed peers", self.slots.len(), SLOTS_MAX);
        self.askers
            .check("addresses that had something relayed", broken);
        broken.at_most(
            "requests for owners of slots",
            self.askers().count(),
            SLOT_QUEUES_MAX,
        );
        let mut links = BTreeSet::new();
        for line in self.lines() {
            line.check(broken);
            broken.unless(links.insert(line.link), || {
                format!("{:?} is the tunnel of two slots", line.link)
            });
        }
        let turned = roster.every().map(|(_, session)| session);
        let turned = turned.filter(|session| session.tunnel == Some(Tunnel::Relay));
        let turned: BTreeSet<LinkId> = turned.map(|session| session.link).collect();
        broken.unless(turned == links, || {
            "the tunnels of slots are not the sessions that are tunnels".into()
        });
    }

    /// The links on which requests wait for the owners of slots.
    pub(in crate::relay) fn tickets(&self) -> impl Iterator<Item = LinkId> {
        self.askers()
    }
}
