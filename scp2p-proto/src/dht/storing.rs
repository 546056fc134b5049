//! The values we keep for others: STORE and FIND_VALUE (SPECIFICATION §6).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Dht;
use super::component::{Tag, drop_rows, found_answer};
use super::provider_list::ProviderList;
use super::values::{Kind, Meta};
use crate::cx::Cx;
use crate::id::{ContentId, DhtKey, NodeKey, ShareKey};
use crate::limits::{VALUE_MAX, VALUE_REQUESTS_MAX};
use crate::record::{Providers, RelayAnnouncement, ShareHead, ValueKind, classify, providers_key};
use crate::session::Session;
use crate::session::Ticket;
use crate::storage::{Load, Loaded, StoreError, Table};
use crate::time::UnixTime;
use crate::wire::{Answer, PeerAddr, Profile, StoreRecord};
use crate::wish::Wish;

/// Bounds of how long a value is kept, in seconds.
const TTL_MIN: u64 = 60;
const TTL_MAX: u64 = 604_800;

/// Requests that wait for a value, and what we serve ourselves.
#[derive(Default)]
pub(super) struct Storing {
    /// The contents that we serve, by the keys of their provider lists.
    pub offered: BTreeMap<DhtKey, ContentId>,
    waiting: BTreeMap<u64, Waiting>,
    /// Provider lists being merged; further stores to one wait in order.
    merging: BTreeMap<DhtKey, VecDeque<Merge>>,
    next: u64,
}

enum Waiting {
    Find {
        ticket: Ticket,
        key: DhtKey,
        peers: Vec<PeerAddr>,
    },
    Merge(DhtKey),
}

struct Merge {
    ticket: Option<Ticket>,
    from: NodeKey,
    stored: Providers,
}

impl Dht {
    /// We serve these contents, so their providers can be told on demand.
    pub(crate) fn offered(&mut self, contents: &[ContentId]) {
        self.storing.offered.extend(
            contents
                .iter()
                .map(|content| (providers_key(content), *content)),
        );
    }

    /// We no longer serve these contents.
    pub(crate) fn withdrawn(&mut self, contents: &[ContentId]) {
        for content in contents {
            self.storing.offered.remove(&providers_key(content));
        }
    }

    pub(crate) fn on_find_value(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        key: DhtKey,
    ) {
        let peers = self.closest_addrs(&key.target());
        if let Some(record) = self.announcement(cx, &from, &key) {
            return cx.answer(ticket, found_answer(Some(record), peers));
        }
        if self.values.live(&key, cx.now.unix).is_none() || self.storing.is_full() {
            let record = self.own_providers(cx, &key, None);
            return cx.answer(ticket, found_answer(record, peers));
        }
        let id = self.storing.fresh(Waiting::Find { ticket, key, peers });
        cx.load(Load::Row(Table::Values, row_key(&key)), Tag::Kept(id));
    }

    pub(crate) fn on_store(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeKey,
        ticket: Ticket,
        record: StoreRecord,
    ) {
        if record.value.len() > VALUE_MAX {
            return cx.refuse(ticket, "dht value exceeds 64KiB");
        }
        let kind = match classify(&record.key, &record.value) {
            Ok(kind) => kind,
            Err(error) => return cx.refuse(ticket, error.to_string()),
        };
        match kind {
            ValueKind::Head(head) => match self.check_head(&head, record.signer) {
                Err(()) => cx.refuse(ticket, "the head's signature is not that of its share"),
                Ok(signer) => {
                    self.keep_head(
                        cx,
                        record.key,
                        &head,
                        &record.value,
                        signer,
                        record.ttl_secs,
                    );
                    cx.answer(ticket, Answer::Ack);
                }
            },
            ValueKind::Manifest(manifest) => {
                if let Err(error) = manifest.verify(cx.now.unix) {
                    return cx.refuse(ticket, error.to_string());
                }
                let kind = Kind::Manifest {
                    signer: manifest.key,
                };
                self.insert(cx, record.key, kind, record.value, record.ttl_secs);
                cx.answer(ticket, Answer::Ack);
            }
            ValueKind::Providers(stored) => {
                if self.storing.is_full() {
                    return cx.refuse(ticket, "rate limit: too many stores at a time");
                }
                self.merge(
                    cx,
                    record.key,
                    Merge {
                        ticket: Some(ticket),
                        from,
                        stored,
                    },
                );
            }
            ValueKind::Relay(announcement) => {
                if let Err(error) = announcement.verify(cx.now.unix) {
                    return cx.refuse(ticket, error.to_string());
                }
                self.keep_relay(cx, &from, record.key, *announcement);
                cx.answer(ticket, Answer::Ack);
            }
        }
    }

    /// Keeps a relay's announcement, which was verified.
    fn keep_relay(
        &mut self,
        cx: &mut Cx<'_>,
        from: &NodeKey,
        key: DhtKey,
        announcement: RelayAnnouncement,
    ) {
        let Some(network) = cx.roster.session(from).map(Session::netgroup) else {
            return;
        };
        let heard = announcement.clone();
        if self
            .rendezvous
            .insert(key, announcement, network, cx.now.unix)
        {
            cx.wish(Wish::Announced(heard.into(), network));
        }
    }

    /// One of the relays that announced themselves under this key.
    fn announcement(&mut self, cx: &Cx<'_>, from: &NodeKey, key: &DhtKey) -> Option<StoreRecord> {
        let session = cx.roster.session(from);
        let profile = session.map_or(Profile::C, |session| session.profile);
        let now = cx.now.unix;
        let one = self.rendezvous.pick(key, profile, now, &mut self.rng)?;
        Some(StoreRecord {
            key: *key,
            value: one.encode().into(),
            ttl_secs: one.offer.expires_at.since(now).max(1),
            signer: None,
        })
    }

    /// Keeps a value of our own.
    pub(super) fn keep(&mut self, cx: &mut Cx<'_>, key: DhtKey, value: &Bytes, ttl_secs: u64) {
        match classify(&key, value) {
            Ok(ValueKind::Head(head)) => {
                let signer = self.check_head(&head, None).ok().flatten();
                self.keep_head(cx, key, &head, value, signer, ttl_secs);
            }
            Ok(ValueKind::Manifest(manifest)) => {
                self.insert(
                    cx,
                    key,
                    Kind::Manifest {
                        signer: manifest.key,
                    },
                    value.clone(),
                    ttl_secs,
                );
            }
            Ok(ValueKind::Providers(stored)) => {
                let from = cx.keys.public();
                self.merge(
                    cx,
                    key,
                    Merge {
                        ticket: None,
                        from,
                        stored,
                    },
                );
            }
            Ok(ValueKind::Relay(announcement)) => {
                let from = cx.keys.public();
                self.keep_relay(cx, &from, key, *announcement);
            }
            Err(_) => {}
        }
    }

    /// A value was read for somebody.
    pub(super) fn kept(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<Loaded, StoreError>) {
        let row = match result {
            Ok(Loaded::Row(row)) => Some(row),
            Ok(_) | Err(_) => None,
        };
        match self.storing.waiting.remove(&id) {
            Some(Waiting::Find { ticket, key, peers }) => {
                let stored = self.record(cx, &key, row.flatten());
                let record = self.own_providers(cx, &key, stored);
                cx.answer(ticket, found_answer(record, peers));
            }
            Some(Waiting::Merge(key)) => match row {
                Some(row) => self.merged(cx, key, row),
                None => self.refuse_merges(cx, key),
            },
            None => {}
        }
    }

    /// The record as others get it.
    fn record(&self, cx: &Cx<'_>, key: &DhtKey, row: Option<Bytes>) -> Option<StoreRecord> {
        let now = cx.now.unix;
        let meta = self.values.live(key, now)?;
        let ttl_secs = meta.expires.since(now).max(1);
        let signer = self.values.signer_of(key);
        let value = self.values.read(key, &row?, now)?;
        Some(StoreRecord {
            key: *key,
            value,
            ttl_secs,
            signer,
        })
    }

    /// Adds ourselves to the providers of what we serve.
    fn own_providers(
        &self,
        cx: &Cx<'_>,
        key: &DhtKey,
        stored: Option<StoreRecord>,
    ) -> Option<StoreRecord> {
        let Some(content) = self
            .storing
            .offered
            .get(key)
            .filter(|_| !cx.roster.own_addrs.is_empty())
        else {
            return stored;
        };
        let mut providers = cx.roster.own_addrs.clone();
        let known = stored
            .as_ref()
            .and_then(|record| Providers::decode(&record.value).ok());
        for addr in known.map(|known| known.providers).unwrap_or_default() {
            if !providers.contains(&addr) {
                providers.push(addr);
            }
        }
        let list = Providers {
            content: *content,
            providers,
            updated_at: cx.now.unix,
        };
        let ttl_secs = stored.map_or(TTL_MIN, |record| record.ttl_secs);
        Some(StoreRecord {
            key: *key,
            value: list.encode().into(),
            ttl_secs,
            signer: None,
        })
    }

    /// Verifies a head if its share's key is known, from before or from the store itself.
    fn check_head(
        &mut self,
        head: &ShareHead,
        given: Option<ShareKey>,
    ) -> Result<Option<ShareKey>, ()> {
        let given = given.filter(|key| key.share_id() == head.share);
        let Some(key) = self.values.signer(&head.share).or(given) else {
            return Ok(None);
        };
        if !head.verify(&key) {
            return Err(());
        }
        self.values.learn(key);
        Ok(Some(key))
    }

    fn keep_head(
        &mut self,
        cx: &mut Cx<'_>,
        key: DhtKey,
        head: &ShareHead,
        value: &Bytes,
        signer: Option<ShareKey>,
        ttl_secs: u64,
    ) {
        if self
            .values
            .accepts_head(&key, head, signer.is_some(), cx.now.unix)
        {
            let kind = Kind::Head {
                share: head.share,
                seq: head.latest_seq,
                updated_at: head.updated_at,
                signer,
            };
            self.insert(cx, key, kind, value.clone(), ttl_secs);
        }
    }

    fn insert(&mut self, cx: &mut Cx<'_>, key: DhtKey, kind: Kind, value: Bytes, ttl_secs: u64) {
        let now = cx.now.unix;
        let mut expires = now.plus(ttl_secs.clamp(TTL_MIN, TTL_MAX));
        // Nobody ends a value early by storing it again for a shorter time.
        if let Some(kept) = self.values.live(&key, now)
            && kept.kind == kind
        {
            expires = expires.max(kept.expires);
        }
        self.put(
            cx,
            key,
            Meta {
                kind,
                expires,
                refreshed: now,
                len: value.len() as u32,
            },
            value,
        );
    }

    fn put(&mut self, cx: &mut Cx<'_>, key: DhtKey, meta: Meta, value: Bytes) {
        let row = meta.encode();
        cx.put(Table::ValueIndex, row_key(&key), row);
        cx.put(Table::Values, row_key(&key), value);
        for gone in self.values.insert(key, meta, cx.now.unix) {
            drop_rows(cx, &gone);
        }
    }

    fn merge(&mut self, cx: &mut Cx<'_>, key: DhtKey, merge: Merge) {
        let queue = self.storing.merging.entry(key).or_default();
        queue.push_back(merge);
        if queue.len() == 1 {
            let id = self.storing.fresh(Waiting::Merge(key));
            cx.load(Load::Row(Table::Values, row_key(&key)), Tag::Kept(id));
        }
    }

    /// The list cannot be read now; it is not to be lost for that.
    fn refuse_merges(&mut self, cx: &mut Cx<'_>, key: DhtKey) {
        let merges = self.storing.merging.remove(&key).unwrap_or_default();
        for ticket in merges.into_iter().filter_map(|merge| merge.ticket) {
            cx.refuse(ticket, "the value cannot be read");
        }
    }

    /// The list is here: all that waits for it goes in.
    fn merged(&mut self, cx: &mut Cx<'_>, key: DhtKey, row: Option<Bytes>) {
        let now: UnixTime = cx.now.unix;
        let mut list = row
            .filter(|_| self.values.live(&key, now).is_some())
            .and_then(|row| ProviderList::decode(&row).ok());
        for merge in self.storing.merging.remove(&key).unwrap_or_default() {
            let list = list.get_or_insert_with(|| ProviderList::new(merge.stored.content));
            list.merge(merge.stored.providers, &merge.from, now);
            if let Some(ticket) = merge.ticket {
                cx.answer(ticket, Answer::Ack);
            }
        }
        if let Some(list) = list.filter(|list| list.expires() > now) {
            let value = list.encode();
            let meta = Meta {
                kind: Kind::Providers,
                expires: list.expires(),
                refreshed: now,
                len: value.len() as u32,
            };
            self.put(cx, key, meta, value);
        }
    }
}

impl Storing {
    fn is_full(&self) -> bool {
        let merges: usize = self.merging.values().map(VecDeque::len).sum();
        self.waiting.len().saturating_add(merges) >= VALUE_REQUESTS_MAX
    }

    fn fresh(&mut self, waiting: Waiting) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, waiting);
        self.next
    }
}

fn row_key(key: &DhtKey) -> Bytes {
    Bytes::copy_from_slice(&key.0)
}

#[cfg(any(test, feature = "check"))]
impl Storing {
    /// `kept` are the values being read.
    pub(super) fn check(
        &self,
        kept: &alloc::collections::BTreeSet<u64>,
        broken: &mut crate::check::Broken,
    ) {
        let waiting = self.waiting.len();
        let merges = self.merging.values().map(VecDeque::len).sum::<usize>();
        // A store waits for its list and in its line.
        broken.at_most(
            "requests for values",
            waiting + merges,
            VALUE_REQUESTS_MAX + 1,
        );
        broken.unless(self.waiting.keys().eq(kept), || {
            "the values that are waited for are not those being read".into()
        });
        let lists = self.waiting.values().filter_map(|waiting| match waiting {
            Waiting::Merge(key) => Some(*key),
            Waiting::Find { .. } => None,
        });
        let mut lists: Vec<DhtKey> = lists.collect();
        lists.sort();
        broken.unless(lists.iter().eq(self.merging.keys()), || {
            "the provider lists that stores wait for are not those being read".into()
        });
    }

    /// Requests to be answered, by session.
    pub(super) fn tickets(&self) -> impl Iterator<Item = crate::id::LinkId> {
        let found = self.waiting.values().filter_map(|waiting| match waiting {
            Waiting::Find { ticket, .. } => Some(ticket.link()),
            Waiting::Merge(_) => None,
        });
        let merges = self.merging.values().flatten();
        found.chain(merges.filter_map(|merge| Some(merge.ticket.as_ref()?.link())))
    }
}
