//! The providers of one content as a storing node keeps them: merged, bounded, each with its own end.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{ContentId, NodeKey};
use crate::limits::{PROVIDER_ADDRS_MAX, PROVIDER_LIFE_SECS, PROVIDERS_MAX};
use crate::record::Providers;
use crate::time::UnixTime;
use crate::wire::cbor::{Field, Reader, Writer};
use crate::wire::{DecodeError, PeerAddr};

/// The providers kept under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProviderList {
    content: ContentId,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    addr: PeerAddr,
    expires: UnixTime,
    /// The provider stored it itself; others cannot displace it.
    own_word: bool,
}

impl ProviderList {
    pub(super) fn new(content: ContentId) -> ProviderList {
        ProviderList {
            content,
            entries: Vec::new(),
        }
    }

    /// Merges what `from` stored. Only a provider itself prolongs its entry: deployed peers keep
    /// storing lists that they once saw, long after the providers left.
    pub(super) fn merge(&mut self, stored: Vec<PeerAddr>, from: &NodeKey, now: UnixTime) {
        self.entries.retain(|entry| entry.expires > now);
        for addr in stored {
            let own_word = addr.key == Some(*from);
            let entry = Entry {
                addr,
                expires: now.plus(PROVIDER_LIFE_SECS),
                own_word,
            };
            let known = self.entries.iter().any(|known| known.addr == entry.addr);
            if own_word {
                self.entries.retain(|known| known.addr != entry.addr);
                if self.makes_room(&entry) {
                    self.insert(entry);
                }
            } else if !known {
                self.insert(entry);
            }
        }
    }

    /// The record as others get it; `None` if everybody's time is over.
    pub(super) fn record(&self, now: UnixTime) -> Option<Providers> {
        let live = self.entries.iter().filter(|entry| entry.expires > now);
        let providers: Vec<PeerAddr> = live.map(|entry| entry.addr.clone()).collect();
        (!providers.is_empty()).then_some(Providers {
            content: self.content,
            providers,
            updated_at: now,
        })
    }

    /// When the last entry ends.
    pub(super) fn expires(&self) -> UnixTime {
        self.entries
            .iter()
            .map(|entry| entry.expires)
            .max()
            .unwrap_or_default()
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.map(2);
        w.uint(0u8).bytes(&self.content.0);
        w.uint(1u8).list(&self.entries, |w, entry| {
            w.map(3);
            w.uint(0u8);
            entry.addr.write(w);
            w.uint(1u8).uint(entry.expires.0);
            w.uint(2u8).bool(entry.own_word);
        });
        w.finish().into()
    }

    pub(super) fn decode(row: &[u8]) -> Result<ProviderList, DecodeError> {
        let (mut content, mut entries) = (Field::new("content"), Field::new("entries"));
        Reader::new(row).int_map(|key, r| match key {
            0 => content.first(r, Reader::octets),
            1 => entries.first(r, |r, _| r.list_cut(PROVIDERS_MAX, read_entry)),
            _ => r.skip(),
        })?;
        Ok(ProviderList {
            content: ContentId(content.required()?),
            entries: entries.required()?,
        })
    }

    /// One provider speaks for [`PROVIDER_ADDRS_MAX`] addresses, so that it cannot push out all others: what
    /// it said before gives way, and of what it says at once the rest is left out.
    fn makes_room(&mut self, entry: &Entry) -> bool {
        let of_it = |known: &&Entry| known.own_word && known.addr.key == entry.addr.key;
        if self.entries.iter().filter(of_it).count() < PROVIDER_ADDRS_MAX {
            return true;
        }
        let earlier = |known: &Entry| of_it(&known) && known.expires < entry.expires;
        let Some(place) = self.entries.iter().position(earlier) else {
            return false;
        };
        self.entries.remove(place);
        true
    }

    /// A full list gives up the entry that ends first among those on others' word; one on a
    /// provider's own word may take the place of any that ends before it.
    fn insert(&mut self, entry: Entry) {
        if self.entries.len() >= PROVIDERS_MAX {
            let least = self
                .entries
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| (entry.own_word, entry.expires));
            match least.map(|(place, least)| (place, least.own_word)) {
                Some((place, own_word)) if entry.own_word || !own_word => {
                    self.entries.swap_remove(place);
                }
                Some(_) | None => return,
            }
        }
        self.entries.push(entry);
    }
}

fn read_entry(r: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let (mut addr, mut expires, mut own_word) = (
        Field::new("addr"),
        Field::new("expires"),
        Field::new("own_word"),
    );
    r.int_map(|key, r| match key {
        0 => addr.first(r, |r, _| PeerAddr::read(r)),
        1 => expires.first(r, Reader::time),
        2 => own_word.first(r, Reader::bool),
        _ => r.skip(),
    })?;
    Ok(Entry {
        addr: addr.required()?,
        expires: expires.required()?,
        own_word: own_word.required()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Transport;
    use core::net::{IpAddr, Ipv4Addr};

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn addr(port: u16, key: u8) -> PeerAddr {
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        PeerAddr {
            ip,
            port,
            transport: Transport::Tcp,
            key: Some(NodeKey([key; 32])),
            relay_via: None,
        }
    }

    fn ports(list: &ProviderList, now: UnixTime) -> Vec<u16> {
        list.record(now)
            .map(|record| record.providers.iter().map(|addr| addr.port).collect())
            .unwrap_or_default()
    }

    #[test]
    fn only_the_provider_itself_prolongs_its_entry() {
        let mut list = ProviderList::new(ContentId([1; 32]));
        list.merge([addr(1, 1), addr(2, 2)].into(), &NodeKey([1; 32]), NOW);
        let later = NOW.plus(PROVIDER_LIFE_SECS / 2);
        list.merge([addr(1, 1), addr(2, 2)].into(), &NodeKey([1; 32]), later);
        assert_eq!(ports(&list, NOW.plus(PROVIDER_LIFE_SECS + 1)), [1]);
        assert_eq!(list.expires(), later.plus(PROVIDER_LIFE_SECS));
    }

    #[test]
    fn a_flood_displaces_nobody_who_speaks_for_himself() {
        let mut list = ProviderList::new(ContentId([1; 32]));
        list.merge([addr(1, 1)].into(), &NodeKey([1; 32]), NOW);
        let flood = (0..10 * PROVIDERS_MAX as u16)
            .map(|port| addr(port + 10, 9))
            .collect();
        list.merge(flood, &NodeKey([8; 32]), NOW.plus(10));
        assert!(ports(&list, NOW.plus(11)).contains(&1));
        assert_eq!(ports(&list, NOW.plus(11)).len(), PROVIDERS_MAX);
        list.merge([addr(2, 2)].into(), &NodeKey([2; 32]), NOW.plus(20));
        assert!(ports(&list, NOW.plus(21)).contains(&2));
    }

    #[test]
    fn one_provider_cannot_push_out_the_others_by_naming_many_addresses() {
        let mut list = ProviderList::new(ContentId([1; 32]));
        for key in 1..=50 {
            list.merge([addr(key.into(), key)].into(), &NodeKey([key; 32]), NOW);
        }
        for round in 1..=3 {
            let flood = (1000 * round..1000 * round + 500).map(|port| addr(port, 99));
            let now = NOW.plus(round.into());
            list.merge(flood.collect(), &NodeKey([99; 32]), now);
            let mut expected: Vec<u16> = (1..=50).collect();
            expected.extend(1000 * round..1000 * round + PROVIDER_ADDRS_MAX as u16);
            assert_eq!(ports(&list, now), expected);
        }
    }

    #[test]
    fn a_list_survives_its_row() {
        let mut list = ProviderList::new(ContentId([1; 32]));
        list.merge([addr(1, 1), addr(2, 2)].into(), &NodeKey([1; 32]), NOW);
        assert_eq!(ProviderList::decode(&list.encode()), Ok(list));
    }
}
