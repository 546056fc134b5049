//! What a node says it does, and the hello profiles (SPECIFICATION §3.3).

use super::cbor::{DecodeError, Field, Reader, Writer};

/// What a node says it does. Advisory: nobody refuses a request because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Capabilities {
    /// It answers DHT requests.
    pub dht: bool,
    /// It keeps DHT values of others.
    pub store: bool,
    /// It relays.
    pub relay: bool,
    /// It serves content.
    pub content_seed: bool,
    /// It is a phone or the like.
    pub mobile_light: bool,
    /// It answers paged community requests.
    pub community_paged_browse: bool,
    /// It answers community searches.
    pub community_search: bool,
    /// It answers requests for community events.
    pub community_delta_sync: bool,
}

/// The keys, in the order they are written; the first five are all that profile A has.
const KEYS: [&str; 8] = [
    "dht",
    "store",
    "relay",
    "content_seed",
    "mobile_light",
    "community_paged_browse",
    "community_search",
    "community_delta_sync",
];

impl Capabilities {
    /// What a node of ours announces.
    pub const fn node() -> Capabilities {
        Capabilities {
            dht: true,
            store: true,
            content_seed: true,
            ..Capabilities::none()
        }
    }

    /// Nothing.
    pub const fn none() -> Capabilities {
        Capabilities {
            dht: false,
            store: false,
            relay: false,
            content_seed: false,
            mobile_light: false,
            community_paged_browse: false,
            community_search: false,
            community_delta_sync: false,
        }
    }

    /// Writes the map of the first `keys` capabilities, at most eight.
    pub(crate) fn write(&self, w: &mut Writer, keys: usize) {
        let pairs = || KEYS.iter().zip(self.flags()).take(keys);
        w.map(pairs().count());
        for (key, flag) in pairs() {
            w.text(key).bool(flag);
        }
    }

    /// Reads the map and counts its keys, unknown ones too. The first five must be there.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<(Capabilities, u32), DecodeError> {
        let mut fields = KEYS.map(Field::new);
        let mut keys = 0_u32;
        r.text_map(|key, r| {
            keys = keys.saturating_add(1);
            match fields.iter_mut().zip(KEYS).find(|(_, name)| *name == key) {
                Some((field, _)) => field.once(r, Reader::bool),
                None => r.skip(),
            }
        })?;
        let [
            dht,
            store,
            relay,
            content_seed,
            mobile_light,
            paged,
            search,
            delta,
        ] = fields;
        let capabilities = Capabilities {
            dht: dht.required()?,
            store: store.required()?,
            relay: relay.required()?,
            content_seed: content_seed.required()?,
            mobile_light: mobile_light.required()?,
            community_paged_browse: paged.optional().unwrap_or(false),
            community_search: search.optional().unwrap_or(false),
            community_delta_sync: delta.optional().unwrap_or(false),
        };
        Ok((capabilities, keys))
    }

    fn flags(&self) -> [bool; 8] {
        [
            self.dht,
            self.store,
            self.relay,
            self.content_seed,
            self.mobile_light,
            self.community_paged_browse,
            self.community_search,
            self.community_delta_sync,
        ]
    }
}

/// The deployed hello profiles, which do not understand each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Releases 0.3.0 to 0.3.2: version 1, five capabilities.
    A,
    /// Release 0.4.0: version 1, eight capabilities.
    B,
    /// Since release 0.5.0: version 2, eight capabilities. Ours speak this to each other.
    C,
}

impl Profile {
    /// The protocol version its hellos carry.
    pub fn version(self) -> u16 {
        match self {
            Profile::A | Profile::B => 1,
            Profile::C => 2,
        }
    }

    /// How many keys its capability map has.
    pub fn capability_keys(self) -> usize {
        match self {
            Profile::A => 5,
            Profile::B | Profile::C => 8,
        }
    }

    /// The profile of a hello with this version and number of capability keys.
    pub fn from_parts(version: u16, capability_keys: usize) -> Option<Profile> {
        match (version, capability_keys) {
            (1, 5) => Some(Profile::A),
            (1, 8) => Some(Profile::B),
            (2, 8) => Some(Profile::C),
            _ => None,
        }
    }
}
