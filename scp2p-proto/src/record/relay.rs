//! Relay announcements: who relays, how much, and where (SPECIFICATION §5.5).

use core::fmt;

use alloc::boxed::Box;
use alloc::vec::Vec;
use ed25519_dalek::{Signer, SigningKey};

use super::verify_strict;
use super::{RendezvousHour, RendezvousSlot, rendezvous_key};
use crate::id::{DhtKey, NodeKey};
use crate::limits::{
    CAPABILITY_BYTES_MAX, CLOCK_SKEW_SECS, RELAY_ADDRS_MAX, RELAY_ANNOUNCEMENT_LIFE_SECS_MAX,
};
use crate::time::UnixTime;
use crate::wire::cbor::{Field, Reader, Writer};
use crate::wire::{Capabilities, DecodeError, PeerAddr, Profile};

/// A relay's word that it relays, signed by its node key.
///
/// Deployed peers rebuild the capability map with the keys of their own release before they verify, so they take
/// only an announcement that was signed for their profile (B and C have the same keys). Here the map is kept as it
/// came, so that all of them verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAnnouncement {
    /// The relay.
    pub relay: NodeKey,
    /// What it says of itself.
    pub offer: RelayOffer,
    /// Ed25519 signature by the relay's key over all the others.
    pub signature: [u8; 64],
    /// The capability map as it was signed, which may hold more than we know.
    signed_capabilities: Box<[u8]>,
    /// Keys in that map.
    capability_keys: u32,
}

/// What a relay says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayOffer {
    /// Where it is reached, at most [`RELAY_ADDRS_MAX`] addresses.
    pub addrs: Vec<PeerAddr>,
    /// What it does, which must include relaying; profile A has only the first five.
    pub capabilities: Capabilities,
    /// How much it relays.
    pub capacity: RelayCapacity,
    /// When this was signed.
    pub issued_at: UnixTime,
    /// The first second in which it is no longer valid, at most six hours later.
    pub expires_at: UnixTime,
}

/// How much a relay says that it relays. Nobody holds it to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayCapacity {
    /// Tunnels at a time.
    pub max_tunnels: u16,
    /// Roughly how fast it is.
    pub bandwidth: BandwidthClass,
    /// Bytes after which it ends a tunnel, `None` if it does not.
    pub max_bytes_per_tunnel: Option<u64>,
}

/// How fast a relay says that it is. No numbers are agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BandwidthClass {
    /// Slow.
    Low,
    /// What relays announce that were not configured.
    Medium,
    /// Fast.
    High,
}

/// Why a relay announcement is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayAnnouncementError {
    /// Its maker does not say that it relays.
    NotRelaying,
    /// It ends no later than it was made, or more than six hours later.
    Lifetime,
    /// It has no address.
    NoAddress,
    /// One of its addresses cannot be dialled, is behind a relay itself, or is that of another key.
    Address,
    /// It was made at this time, further from now than clocks differ.
    FromFuture(UnixTime),
    /// It was valid until this time only.
    Expired(UnixTime),
    /// Its signature does not verify under its key.
    Signature,
}

impl fmt::Display for RelayAnnouncementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayAnnouncementError::NotRelaying => {
                f.write_str("the announcement is of a node that does not relay")
            }
            RelayAnnouncementError::Lifetime => {
                f.write_str("the announcement is valid for no time or for more than six hours")
            }
            RelayAnnouncementError::NoAddress => f.write_str("the announcement has no address"),
            RelayAnnouncementError::Address => {
                f.write_str("the announcement has an address that does not lead to the relay")
            }
            RelayAnnouncementError::FromFuture(at) => {
                write!(
                    f,
                    "the announcement says that it was made at unix time {}, which is yet to come",
                    at.0
                )
            }
            RelayAnnouncementError::Expired(at) => {
                write!(f, "the announcement expired at unix time {}", at.0)
            }
            RelayAnnouncementError::Signature => {
                f.write_str("the announcement's signature does not verify")
            }
        }
    }
}

impl core::error::Error for RelayAnnouncementError {}

impl RelayAnnouncement {
    /// An announcement for peers of this profile, signed. It is as good as what is offered: see
    /// [`RelayAnnouncement::verify`].
    pub fn sign(key: &SigningKey, profile: Profile, offer: RelayOffer) -> RelayAnnouncement {
        let mut w = Writer::new();
        offer.capabilities.write(&mut w, profile.capability_keys());
        let mut announcement = RelayAnnouncement {
            relay: NodeKey(key.verifying_key().to_bytes()),
            offer,
            signature: [0; 64],
            signed_capabilities: w.finish().into(),
            capability_keys: profile.capability_keys() as u32,
        };
        announcement.signature = key.sign(&announcement.signed_bytes()).to_bytes();
        announcement
    }

    /// Reads an announcement. Bytes after it are ignored; nothing is verified.
    ///
    /// # Errors
    /// If the bytes are no announcement, or it has more than [`RELAY_ADDRS_MAX`] addresses.
    pub fn decode(bytes: &[u8]) -> Result<RelayAnnouncement, DecodeError> {
        RelayAnnouncement::read(&mut Reader::new(bytes))
    }

    /// The announcement as it is sent and stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(1024);
        self.write(&mut w);
        w.finish()
    }

    /// What the signature is made over.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let offer = &self.offer;
        let mut w = Writer::with_capacity(1024);
        w.array(6).octets(&self.relay.0);
        w.list(&offer.addrs, |w, addr| addr.write(w));
        w.raw(&self.signed_capabilities);
        offer.capacity.write(&mut w);
        w.uint(offer.issued_at.0).uint(offer.expires_at.0);
        w.finish()
    }

    /// Whether the announcement is good at `now`: made by its relay, which says that it relays, at addresses that
    /// lead somewhere, and neither over nor from the future.
    pub fn verify(&self, now: UnixTime) -> Result<(), RelayAnnouncementError> {
        let offer = &self.offer;
        if !offer.capabilities.relay {
            return Err(RelayAnnouncementError::NotRelaying);
        }
        let life = offer.expires_at.since(offer.issued_at);
        if !(1..=RELAY_ANNOUNCEMENT_LIFE_SECS_MAX).contains(&life) {
            return Err(RelayAnnouncementError::Lifetime);
        }
        if offer.addrs.is_empty() {
            return Err(RelayAnnouncementError::NoAddress);
        }
        if !offer.addrs.iter().all(|addr| self.is_own(addr)) {
            return Err(RelayAnnouncementError::Address);
        }
        if offer.issued_at.since(now) > CLOCK_SKEW_SECS {
            return Err(RelayAnnouncementError::FromFuture(offer.issued_at));
        }
        if offer.expires_at <= now {
            return Err(RelayAnnouncementError::Expired(offer.expires_at));
        }
        if !verify_strict(&self.relay.0, &self.signed_bytes(), &self.signature) {
            return Err(RelayAnnouncementError::Signature);
        }
        Ok(())
    }

    /// Whether deployed peers of this profile can verify it, by the number of its capability keys.
    pub fn suits(&self, profile: Profile) -> bool {
        self.capability_keys as usize == profile.capability_keys()
    }

    /// Where the relay stores it in this hour: under two keys, which may be the same.
    pub fn places(&self, hour: RendezvousHour) -> [DhtKey; 2] {
        RendezvousSlot::of(&self.relay, hour).map(|slot| rendezvous_key(hour, slot))
    }

    /// Whether it may lie under this key: it is one of its places in the hour in which it was made, the one before
    /// or the one after.
    pub fn belongs_at(&self, key: &DhtKey) -> bool {
        let hours = RendezvousHour::of(self.offer.issued_at).around();
        hours.iter().any(|hour| self.places(*hour).contains(key))
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        let offer = &self.offer;
        w.map(7);
        w.text("relay_pubkey").octets(&self.relay.0);
        w.text("relay_addrs")
            .list(&offer.addrs, |w, addr| addr.write(w));
        w.text("capabilities").raw(&self.signed_capabilities);
        offer.capacity.write(w.text("capacity"));
        w.text("issued_at").uint(offer.issued_at.0);
        w.text("expires_at").uint(offer.expires_at.0);
        w.text("signature").bytes(&self.signature);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<RelayAnnouncement, DecodeError> {
        let (mut relay, mut addrs) = (Field::new("relay_pubkey"), Field::new("relay_addrs"));
        let (mut capabilities, mut capacity) = (Field::new("capabilities"), Field::new("capacity"));
        let (mut issued_at, mut expires_at) = (Field::new("issued_at"), Field::new("expires_at"));
        let mut signature = Field::new("signature");
        r.text_map(|name, r| match name {
            "relay_pubkey" => relay.once(r, Reader::octets),
            // All addresses are signed, so a list cannot be cut.
            "relay_addrs" => addrs.once(r, |r, name| r.list(name, RELAY_ADDRS_MAX, PeerAddr::read)),
            "capabilities" => capabilities.once(r, |r, _| r.with_source(Capabilities::read)),
            "capacity" => capacity.once(r, |r, _| RelayCapacity::read(r)),
            "issued_at" => issued_at.once(r, Reader::time),
            "expires_at" => expires_at.once(r, Reader::time),
            "signature" => signature.once(r, Reader::loose_exact),
            _ => r.skip(),
        })?;
        let ((capabilities, capability_keys), signed_capabilities) = capabilities.required()?;
        if signed_capabilities.len() > CAPABILITY_BYTES_MAX {
            return Err(DecodeError::Length("capabilities"));
        }
        Ok(RelayAnnouncement {
            relay: NodeKey(relay.required()?),
            offer: RelayOffer {
                addrs: addrs.required()?,
                capabilities,
                capacity: capacity.required()?,
                issued_at: issued_at.required()?,
                expires_at: expires_at.required()?,
            },
            signature: signature.required()?,
            signed_capabilities: signed_capabilities.into(),
            capability_keys,
        })
    }

    /// Whether an address can be dialled and the relay be found there.
    fn is_own(&self, addr: &PeerAddr) -> bool {
        addr.is_dialable() && addr.key.is_none_or(|key| key == self.relay)
    }
}

impl RelayCapacity {
    fn write(&self, w: &mut Writer) {
        w.map(3);
        w.text("max_tunnels").uint(self.max_tunnels);
        w.text("bandwidth_class").text(self.bandwidth.name());
        w.text("max_bytes_per_tunnel")
            .uint_or_null(self.max_bytes_per_tunnel);
    }

    fn read(r: &mut Reader<'_>) -> Result<RelayCapacity, DecodeError> {
        let (mut max_tunnels, mut bandwidth) =
            (Field::new("max_tunnels"), Field::new("bandwidth_class"));
        let mut max_bytes = Field::new("max_bytes_per_tunnel");
        r.text_map(|name, r| match name {
            "max_tunnels" => max_tunnels.once(r, Reader::u16),
            "bandwidth_class" => bandwidth.once(r, BandwidthClass::read),
            "max_bytes_per_tunnel" => max_bytes.once(r, Reader::u64),
            _ => r.skip(),
        })?;
        Ok(RelayCapacity {
            max_tunnels: max_tunnels.required()?,
            bandwidth: bandwidth.required()?,
            max_bytes_per_tunnel: max_bytes.optional(),
        })
    }
}

impl BandwidthClass {
    /// Longest word read where one of three stands.
    const WORD_MAX: usize = 16;

    fn name(self) -> &'static str {
        match self {
            BandwidthClass::Low => "Low",
            BandwidthClass::Medium => "Medium",
            BandwidthClass::High => "High",
        }
    }

    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<BandwidthClass, DecodeError> {
        match r.text(name, BandwidthClass::WORD_MAX)?.as_ref() {
            "Low" => Ok(BandwidthClass::Low),
            "Medium" => Ok(BandwidthClass::Medium),
            "High" => Ok(BandwidthClass::High),
            _ => Err(DecodeError::Value(name)),
        }
    }
}
