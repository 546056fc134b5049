//! The DHT: contacts, lookups, and the values we keep (SPECIFICATION §6).

#[cfg(any(test, feature = "check"))]
mod check;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::ledger::Ledger;
use super::rendezvous::Rendezvous;
use super::search::{Ask, Search, Then};
use super::storing::Storing;
use super::values::{Meta, Values};
use super::{Contact, Freshness, Inserted, Place, RoutingTable};
use crate::cx::{CallError, ConnectError, Cx, Outcome};
use crate::id::{ContentId, DhtKey, NodeId, NodeKey};
use crate::keys::Keys;
use crate::limits::{DHT_BUCKET_LEN, HUBS_MAX, PEX_SAMPLE_MAX, SEARCHES_MAX, SEARCHES_WAITING_MAX};
use crate::record::{Providers, ShareHead, classify, providers_key};
use crate::rng::Rng;
use crate::session::Ticket;
use crate::storage::{Load, Loaded, Saved, Table};
use crate::time::{Now, Time};
use crate::timers::Timers;
use crate::view::{Stats, Status};
use crate::wire::{Answer, FoundValue, PeerAddr, Request, StoreRecord};
use crate::wish::{Found, Want, Wish};

/// A query without an answer in this time failed; deployed clients wait no longer either.
const QUERY_TIME: Duration = Duration::from_secs(3);
/// How soon after the first contact the nodes around us are looked for.
const JOIN_AFTER: Duration = Duration::from_secs(1);
const REFRESH_EVERY: Duration = Duration::from_secs(600);
const FRESHNESS: Freshness = Freshness {
    bucket: Duration::from_secs(1800),
    contact: STALE_CONTACT,
};
/// A contact of a full bucket that was not seen for so long is asked whether it is there before others are turned away.
const STALE_CONTACT: Duration = Duration::from_secs(7200);
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);
const REPUBLISH_EVERY: Duration = Duration::from_secs(60);
/// Values that nobody stored for so long are stored by us, a few at a time.
const REPUBLISH_AGE_SECS: u64 = 3600;
const REPUBLISH_MOST: usize = 8;
/// Lookups that begin with so many contacts need none that may have left.
const SOUND_SEEDS_MIN: usize = 8;
/// Contacts that may have left are asked whether they are there, so many when buckets are refreshed.
const DOUBTED_MAX: usize = 8;
/// How long our word for being a provider stands, in seconds.
const PROVIDE_TTL_SECS: u64 = 86_400;

/// What an outcome was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tag {
    /// A lookup's query.
    Query(u64),
    /// The value that we keep under a lookup's key.
    Local(u64),
    /// A ping of the contact that would have to make room.
    Evict(Contact),
    /// A ping of a contact that may have left.
    Doubted,
    /// A value sent to be stored.
    Sent(u64),
    /// The value that somebody asked for, or that is to be merged.
    Kept(u64),
    /// A value of others to be stored again.
    Again(DhtKey, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Join,
    Refresh,
    Expire,
    Republish,
    /// A lookup's queries are slow.
    Slow(u64),
}

/// Our part of the DHT.
pub(crate) struct Dht {
    own: NodeId,
    own_key: NodeKey,
    pub(super) rng: Rng,
    table: RoutingTable,
    hubs: BTreeSet<NodeKey>,
    searches: BTreeMap<u64, Search>,
    waiting: VecDeque<Wanted>,
    sendings: BTreeMap<u64, Sending>,
    next: u64,
    timers: Timers<Timer>,
    ledger: Ledger,
    pub(super) values: Values,
    pub(super) storing: Storing,
    pub(super) rendezvous: Rendezvous,
}

/// A lookup that waits for its turn.
struct Wanted {
    key: DhtKey,
    target: NodeId,
    then: Then,
    since: Time,
}

/// A value on its way to the nodes that shall keep it.
struct Sending {
    open: u32,
    taken: u32,
    tag: Option<crate::cx::Tag>,
}

impl Dht {
    pub(crate) fn new(keys: &Keys, mut rng: Rng, saved: &Saved, now: Now) -> Dht {
        let own = keys.public().node_id();
        let mut values = Values::new(own);
        for (table, key, row) in &saved.rows {
            if *table == Table::ValueIndex
                && let (Some(key), Ok(meta)) = (DhtKey::from_slice(key), Meta::decode(row))
            {
                values.insert(key, meta, now.unix);
            }
        }
        let mut timers = Timers::new();
        for (timer, every) in [
            (Timer::Refresh, REFRESH_EVERY),
            (Timer::Expire, EXPIRE_EVERY),
            (Timer::Republish, REPUBLISH_EVERY),
        ] {
            timers.set(timer, now.mono + rng.jitter(every));
        }
        Dht {
            own,
            own_key: keys.public(),
            rng,
            table: RoutingTable::new(own),
            hubs: BTreeSet::new(),
            searches: BTreeMap::new(),
            waiting: VecDeque::new(),
            sendings: BTreeMap::new(),
            next: 0,
            timers,
            ledger: Ledger::default(),
            values,
            storing: Storing::default(),
            rendezvous: Rendezvous::default(),
        }
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        self.expire(cx);
    }

    /// A peer says that it listens there. It is to be reached if that would make it a contact.
    pub(crate) fn candidate(&mut self, cx: &mut Cx<'_>, contact: Contact) {
        if self.has_place(cx, &contact) {
            cx.wish(Wish::Probe(contact.addrs));
        }
    }

    /// A peer was reached at its addresses.
    pub(crate) fn add_contact(&mut self, cx: &mut Cx<'_>, contact: Contact) {
        if !self.has_place(cx, &contact) {
            return;
        }
        let was_empty = self.table.is_empty();
        if self.table.insert(contact, cx.now.mono) == Inserted::Added && was_empty {
            self.timers
                .set(Timer::Join, cx.now.mono + self.rng.jitter(JOIN_AFTER));
        }
    }

    /// A contact is no longer reached at its addresses.
    pub(crate) fn unlist(&mut self, peer: &NodeKey) {
        self.table.remove(peer);
    }

    /// Whether the table has a place for a contact. Where it is unsure, whoever may have left is asked first.
    fn has_place(&mut self, cx: &mut Cx<'_>, contact: &Contact) -> bool {
        match self.table.place_for(contact, cx.now.mono, STALE_CONTACT) {
            Place::Free => true,
            Place::None => false,
            Place::Unsure { stalest } => {
                let evict = Tag::Evict(contact.clone());
                cx.call(stalest, Request::Ping, QUERY_TIME, evict);
                false
            }
        }
    }

    /// A deployed bootstrap peer: no routing table leads to it, so it is asked always.
    pub(crate) fn add_hub(&mut self, _cx: &mut Cx<'_>, peer: NodeKey) {
        if self.hubs.len() < HUBS_MAX {
            self.hubs.insert(peer);
        }
    }

    /// The peer has a session: it is there, whatever was doubted before.
    pub(crate) fn on_up(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        self.table.seen(&peer, cx.now.mono);
    }

    /// The peer's last session ended.
    pub(crate) fn on_down(&mut self, _cx: &mut Cx<'_>, peer: NodeKey) {
        self.table.doubt(&peer);
    }

    /// Whether the peer is in the routing table.
    pub(crate) fn knows(&self, peer: &NodeKey) -> bool {
        self.table.contains(peer)
    }

    /// Whether the peer's session is kept although it is idle.
    pub(crate) fn needs(&self, peer: &NodeKey) -> bool {
        self.hubs.contains(peer)
    }

    pub(crate) fn drop_contact(&mut self, _cx: &mut Cx<'_>, peer: NodeKey) {
        self.table.failed(&peer);
    }

    /// Finds what lies under a key; ends with [`Outcome::Found`].
    pub(crate) fn lookup(&mut self, cx: &mut Cx<'_>, key: DhtKey, want: Want, tag: crate::cx::Tag) {
        self.search(cx, key, key.target(), Then::Tell(want, tag));
    }

    /// Keeps a value here and at the nodes closest to its key; ends with [`Outcome::Stored`].
    pub(crate) fn store(
        &mut self,
        cx: &mut Cx<'_>,
        key: DhtKey,
        value: Bytes,
        ttl_secs: u64,
        tag: crate::cx::Tag,
    ) {
        self.keep(cx, key, &value, ttl_secs);
        let then = Then::Store {
            value,
            ttl_secs,
            tag: Some(tag),
        };
        self.search(cx, key, key.target(), then);
    }

    /// Adds our addresses to a provider list; ends with [`Outcome::Stored`].
    pub(crate) fn provide(&mut self, cx: &mut Cx<'_>, content: ContentId, tag: crate::cx::Tag) {
        if cx.roster.own_addrs.is_empty() {
            return cx.outcome(tag, Outcome::Stored(0));
        }
        let key = providers_key(&content);
        self.storing.offered.insert(key, content);
        self.search(cx, key, key.target(), Then::Provide(tag));
    }

    pub(crate) fn on_find_node(
        &mut self,
        cx: &mut Cx<'_>,
        _from: NodeKey,
        ticket: Ticket,
        target: NodeId,
    ) {
        cx.answer(ticket, Answer::Peers(self.closest_addrs(&target)));
    }

    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, tag: Tag, outcome: Outcome) {
        match (tag, outcome) {
            (Tag::Query(id), Outcome::Answer { from, answer, .. }) => {
                self.queried(cx, id, from, answer)
            }
            (Tag::Sent(id), Outcome::Answer { answer, .. }) => {
                if let Some(sending) = self.sendings.get_mut(&id) {
                    sending.open = sending.open.saturating_sub(1);
                    sending.taken += u32::from(answer.is_ok());
                }
                self.ledger.acknowledged(answer.is_ok());
                self.end_sending(cx, id);
            }
            (Tag::Evict(newcomer), Outcome::Answer { from, answer, .. }) => match answer {
                Ok(_) => {
                    self.table.seen(&from, cx.now.mono);
                }
                Err(error) if is_gone(&error) => {
                    self.table.remove(&from);
                    self.candidate(cx, newcomer);
                }
                Err(_) => {}
            },
            (Tag::Doubted, Outcome::Answer { from, answer, .. }) => {
                self.is_there(cx, &from, &answer);
            }
            (Tag::Local(id), Outcome::Loaded(Ok(Loaded::Row(row)))) => {
                if let Some(search) = self.searches.get_mut(&id)
                    && let Some(value) =
                        row.and_then(|row| self.values.read(&search.key, &row, cx.now.unix))
                    && let Ok(kind) = classify(&search.key, &value)
                {
                    search.take(kind, cx.now.unix);
                }
                self.go_on(cx, id);
            }
            (Tag::Local(id), _) => self.go_on(cx, id),
            (Tag::Kept(id), Outcome::Loaded(result)) => self.kept(cx, id, result),
            (Tag::Again(key, ttl_secs), Outcome::Loaded(Ok(Loaded::Row(Some(row))))) => {
                if let Some(value) = self.values.read(&key, &row, cx.now.unix) {
                    let then = Then::Store {
                        value,
                        ttl_secs,
                        tag: None,
                    };
                    self.search(cx, key, key.target(), then);
                }
            }
            (
                Tag::Query(_)
                | Tag::Sent(_)
                | Tag::Evict(_)
                | Tag::Doubted
                | Tag::Kept(_)
                | Tag::Again(..),
                _,
            ) => {}
        }
        self.begin_waiting(cx);
    }

    pub(crate) fn on_time(&mut self, cx: &mut Cx<'_>) {
        while let Some(timer) = self.timers.pop_due(cx.now.mono) {
            match timer {
                Timer::Join => self.search(cx, DhtKey([0; 32]), self.own, Then::Refresh),
                Timer::Refresh => self.refresh(cx),
                Timer::Expire => {
                    self.again(cx, Timer::Expire, EXPIRE_EVERY);
                    self.expire(cx);
                }
                Timer::Republish => self.republish(cx),
                Timer::Slow(id) => self.go_on(cx, id),
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.next().map(|(at, _)| at)
    }

    pub(crate) fn fill_status(&self, status: &mut Status) {
        status.contacts = self.table.len() as u32;
        status.values = (self.values.len() + self.rendezvous.len()) as u32;
    }

    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        self.ledger.fill_stats(stats);
    }

    /// Whom we owe the end of a lookup or store, and for what.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &crate::cx::Tag> {
        let running = self.searches.values().map(|search| &search.then);
        let searches = running.chain(self.waiting.iter().map(|wanted| &wanted.then));
        let sendings = self.sendings.values();
        searches
            .filter_map(Then::tag)
            .chain(sendings.filter_map(|sending| sending.tag.as_ref()))
    }

    pub(super) fn closest_addrs(&self, target: &NodeId) -> Vec<PeerAddr> {
        let closest = self.table.closest_sound(target, DHT_BUCKET_LEN);
        closest
            .into_iter()
            .flat_map(|contact| contact.addrs.iter().cloned())
            .collect()
    }

    fn again(&mut self, cx: &Cx<'_>, timer: Timer, every: Duration) {
        self.timers.set(timer, cx.now.mono + self.rng.jitter(every));
    }

    fn refresh(&mut self, cx: &mut Cx<'_>) {
        self.again(cx, Timer::Refresh, REFRESH_EVERY);
        for contact in self.table.doubted(DOUBTED_MAX) {
            cx.call(contact, Request::Ping, QUERY_TIME, Tag::Doubted);
        }
        for (peer, session) in cx.roster.iter() {
            self.table.heard(peer, session.heard);
        }
        let target = self.table.to_refresh(cx.now.mono, FRESHNESS, &mut self.rng);
        if let Some(target) = target {
            self.search(cx, DhtKey([0; 32]), target, Then::Refresh);
        }
    }

    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.rendezvous.expire(cx.now.unix);
        for key in self.values.expire(cx.now.unix) {
            drop_rows(cx, &key);
        }
    }

    fn republish(&mut self, cx: &mut Cx<'_>) {
        self.again(cx, Timer::Republish, REPUBLISH_EVERY);
        if self.table.is_empty() {
            return;
        }
        let now = cx.now.unix;
        let since = crate::time::UnixTime(now.0.saturating_sub(REPUBLISH_AGE_SECS));
        for (key, meta) in self.values.take_stale(since, now, REPUBLISH_MOST) {
            let ttl_secs = meta.expires.since(now);
            cx.load(
                Load::Row(Table::Values, Bytes::copy_from_slice(&key.0)),
                Tag::Again(key, ttl_secs),
            );
        }
    }

    fn search(&mut self, cx: &mut Cx<'_>, key: DhtKey, target: NodeId, then: Then) {
        let is_here = || {
            let is_announced = self.rendezvous.at(&key, cx.now.unix).next().is_some();
            is_announced || self.values.live(&key, cx.now.unix).is_some()
        };
        let is_vain = match then {
            Then::Tell(..) => !is_here(),
            Then::Store { .. } | Then::Provide(_) | Then::Refresh => true,
        };
        if is_vain && self.table.is_empty() && self.live_hubs(cx).is_empty() {
            return give_up(cx, then);
        }
        self.ledger.begun(then.kind());
        if self.waiting.len() >= SEARCHES_WAITING_MAX {
            self.ledger.given_up(then.kind());
            return give_up(cx, then);
        }
        self.waiting.push_back(Wanted {
            key,
            target,
            then,
            since: cx.now.mono,
        });
        self.begin_waiting(cx);
    }

    /// Many lookups may end at once when nobody is left to ask, so this is a loop and
    /// the end of one does not begin the next by itself.
    fn begin_waiting(&mut self, cx: &mut Cx<'_>) {
        while self.searches.len() < SEARCHES_MAX
            && let Some(wanted) = self.waiting.pop_front()
        {
            self.begin(cx, wanted);
        }
    }

    fn live_hubs(&self, cx: &Cx<'_>) -> Vec<NodeKey> {
        self.hubs
            .iter()
            .filter(|hub| cx.roster.is_callable(hub))
            .copied()
            .collect()
    }

    fn begin(&mut self, cx: &mut Cx<'_>, wanted: Wanted) {
        let Wanted {
            key,
            target,
            then,
            since,
        } = wanted;
        let mut closest = self.table.closest_sound(&target, DHT_BUCKET_LEN);
        if closest.len() < SOUND_SEEDS_MIN {
            closest = self.table.closest(&target, DHT_BUCKET_LEN);
        }
        let seeds = closest.into_iter().cloned().collect();
        let wants_value = matches!(then, Then::Tell(..) | Then::Provide(_));
        let hubs = if wants_value {
            self.live_hubs(cx)
        } else {
            Vec::new()
        };
        self.next += 1;
        let id = self.next;
        let mut search = Search::new(self.own, key, target, seeds, hubs, then, since);
        for announcement in self.rendezvous.at(&key, cx.now.unix) {
            search.take_relay(announcement.clone(), cx.now.unix);
        }
        self.searches.insert(id, search);
        if wants_value && self.values.live(&key, cx.now.unix).is_some() {
            let key = Bytes::copy_from_slice(&key.0);
            cx.load(Load::Row(Table::Values, key), Tag::Local(id));
        } else {
            self.go_on(cx, id);
        }
    }

    /// Asks whoever is next, or ends the lookup.
    fn go_on(&mut self, cx: &mut Cx<'_>, id: u64) {
        loop {
            let Some(search) = self.searches.get_mut(&id) else {
                return;
            };
            let request = search.request();
            match search.next(cx.now.mono) {
                Ask::Contact(contact) => {
                    cx.wish(Wish::Heard(contact.addrs));
                    cx.call(contact.key, request, QUERY_TIME, Tag::Query(id));
                }
                Ask::Hub(hub) => cx.call(hub, request, QUERY_TIME, Tag::Query(id)),
                Ask::Wait(Some(until)) => return self.timers.set(Timer::Slow(id), until),
                Ask::Wait(None) => return,
                Ask::Done => return self.end(cx, id),
            }
        }
    }

    fn queried(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        from: NodeKey,
        answer: Result<Answer, CallError>,
    ) {
        self.is_there(cx, &from, &answer);
        let own = self.own_key;
        let Some(search) = self.searches.get_mut(&id) else {
            return;
        };
        match answer {
            Ok(Answer::Found(found)) => {
                if let Some(record) = found.record.filter(|record| record.key == search.key)
                    && search.is_news(&record.value)
                    && let Ok(value) = classify(&record.key, &record.value)
                {
                    search.take(value, cx.now.unix);
                }
                search.on_reply(&from, &own, found.peers);
            }
            Ok(Answer::Peers(peers)) => search.on_reply(&from, &own, peers),
            Err(CallError::Lost) => search.on_lost(&from),
            Ok(_) | Err(_) => search.on_failure(&from),
        }
        self.go_on(cx, id);
    }

    /// What an answer, or that there was none, tells of a contact.
    fn is_there(&mut self, cx: &Cx<'_>, contact: &NodeKey, answer: &Result<Answer, CallError>) {
        match answer {
            Ok(_) => {
                self.table.seen(contact, cx.now.mono);
            }
            Err(error) if is_gone(error) => {
                self.table.failed(contact);
            }
            Err(_) => {}
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(search) = self.searches.remove(&id) else {
            return;
        };
        self.timers.cancel(&Timer::Slow(id));
        self.ledger.ended(&search, cx.now.mono);
        let (key, closest) = (search.key, search.closest());
        match &search.then {
            Then::Tell(want, tag) => {
                let (want, tag) = (*want, tag.clone());
                cx.outcome(tag, Outcome::Found(search.found(want)));
            }
            Then::Refresh => {}
            Then::Store {
                value,
                ttl_secs,
                tag,
            } => {
                // The manifest may have told the key after the head was given to us.
                let head = ShareHead::decode(value).ok();
                let signer = head.and_then(|head| self.values.signer(&head.share));
                let record = StoreRecord {
                    key,
                    value: value.clone(),
                    ttl_secs: *ttl_secs,
                    signer,
                };
                let mut to: Vec<(NodeKey, StoreRecord)> = closest
                    .into_iter()
                    .map(|contact| (contact.key, record.clone()))
                    .collect();
                // Deployed peers replace what they have by whatever comes, an older head too:
                // only who knows a value to be current stores it there.
                if tag.is_some() {
                    let hubs = self.live_hubs(cx).into_iter();
                    to.extend(hubs.map(|hub| (hub, record.clone())));
                }
                self.send(cx, to, tag.clone());
            }
            Then::Provide(tag) => {
                let to = self.provider_stores(cx, &search, closest);
                self.send(cx, to, Some(tag.clone()));
            }
        }
    }

    /// Nodes of ours merge what they get, so they get our addresses only. Deployed ones
    /// replace their list, so they get what was found as well.
    fn provider_stores(
        &mut self,
        cx: &mut Cx<'_>,
        search: &Search,
        closest: Vec<Contact>,
    ) -> Vec<(NodeKey, StoreRecord)> {
        let key = search.key;
        let Some(content) = self.storing.offered.get(&key).copied() else {
            return Vec::new();
        };
        let own = cx.roster.own_addrs.clone();
        if own.is_empty() {
            return Vec::new();
        }
        let record = |providers: Vec<PeerAddr>| {
            let list = Providers {
                content,
                providers,
                updated_at: cx.now.unix,
            };
            StoreRecord {
                key,
                value: list.encode().into(),
                ttl_secs: PROVIDE_TTL_SECS,
                signer: None,
            }
        };
        let mine = record(own.clone());
        let mut merged = own.clone();
        merged.extend(
            search
                .provider_addrs()
                .into_iter()
                .filter(|addr| !own.contains(addr)),
        );
        merged.truncate(PEX_SAMPLE_MAX);
        let merged = record(merged);
        let mut to: Vec<(NodeKey, StoreRecord)> = closest
            .into_iter()
            .map(|contact| (contact.key, mine.clone()))
            .collect();
        to.extend(
            self.live_hubs(cx)
                .into_iter()
                .map(|hub| (hub, merged.clone())),
        );
        to
    }

    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        to: Vec<(NodeKey, StoreRecord)>,
        tag: Option<crate::cx::Tag>,
    ) {
        self.next += 1;
        let id = self.next;
        self.sendings.insert(
            id,
            Sending {
                open: to.len() as u32,
                taken: 0,
                tag,
            },
        );
        for (peer, record) in to {
            self.ledger.sent();
            cx.call(peer, Request::Store(record), QUERY_TIME, Tag::Sent(id));
        }
        self.end_sending(cx, id);
    }

    fn end_sending(&mut self, cx: &mut Cx<'_>, id: u64) {
        if self
            .sendings
            .get(&id)
            .is_some_and(|sending| sending.open > 0)
        {
            return;
        }
        if let Some(Sending {
            taken,
            tag: Some(tag),
            ..
        }) = self.sendings.remove(&id)
        {
            cx.outcome(tag, Outcome::Stored(taken));
        }
    }
}

/// Removes a value's rows.
pub(super) fn drop_rows(cx: &mut Cx<'_>, key: &DhtKey) {
    cx.delete(Table::ValueIndex, Bytes::copy_from_slice(&key.0));
    cx.delete(Table::Values, Bytes::copy_from_slice(&key.0));
}

/// The answer with what is found and the nodes closer to the key.
pub(super) fn found_answer(record: Option<StoreRecord>, peers: Vec<PeerAddr>) -> Answer {
    Answer::Found(FoundValue { record, peers })
}

/// Whether the peer is to blame that a call has no answer, not we or the moment.
fn is_gone(error: &CallError) -> bool {
    match error {
        CallError::Connect(ConnectError::Busy) => false,
        CallError::Connect(
            ConnectError::NoAddress
            | ConnectError::Unreachable
            | ConnectError::BackOff
            | ConnectError::Refused,
        )
        | CallError::TimedOut => true,
        CallError::Lost | CallError::Busy | CallError::Refused { .. } | CallError::Malformed => {
            false
        }
    }
}

fn give_up(cx: &mut Cx<'_>, then: Then) {
    match then {
        Then::Tell(_, tag) => cx.outcome(tag, Outcome::Found(Found::Nothing { asked: 0 })),
        Then::Store { tag: Some(tag), .. } | Then::Provide(tag) => {
            cx.outcome(tag, Outcome::Stored(0))
        }
        Then::Store { tag: None, .. } | Then::Refresh => {}
    }
}
