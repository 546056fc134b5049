//! Records and links from anybody.

use alloc::string::ToString;

use crate::escape::printable;
use crate::id::DhtKey;
use crate::limits::RELAY_ANNOUNCEMENT_LIFE_SECS_MAX;
use crate::path::RelPath;
use crate::record::{
    Manifest, Providers, RelayAnnouncement, RendezvousHour, ShareHead, ShareLink, ValueError,
    ValueKind, classify, head_key, manifest_key, providers_key,
};
use crate::time::UnixTime;
use crate::wire::PeerAddr;

/// The record target: the bytes as every kind of record, as a DHT value, as a link and as a path. What can be
/// read must mean the same after it was written and read again.
pub fn record(data: &[u8]) {
    if let Ok(manifest) = Manifest::decode(data) {
        check_manifest(&manifest);
    }
    if let Ok(head) = ShareHead::decode(data) {
        assert_eq!(ShareHead::decode(&head.encode()), Ok(head));
    }
    if let Ok(providers) = Providers::decode(data) {
        assert_eq!(Providers::decode(&providers.encode()), Ok(providers));
    }
    if let Ok(announcement) = RelayAnnouncement::decode(data) {
        check_announcement(&announcement);
    }
    check_value(data);
    check_text(str::from_utf8(data).unwrap_or_default());
}

/// Text as a link, and as a path that a catalog names.
fn check_text(text: &str) {
    if let Ok(link) = text.parse::<ShareLink>() {
        assert_eq!(link.to_string().parse(), Ok(link));
    }
    if let Ok(path) = RelPath::from_untrusted(text) {
        assert_eq!(RelPath::from_untrusted(path.as_str()), Ok(path.clone()));
        assert!(
            path.components()
                .all(|name| !name.is_empty() && name != "..")
        );
        assert_eq!(printable(text), text, "a path is printed as it is");
    }
    let shown = printable(text);
    assert!(!shown.contains(char::is_control));
    assert_eq!(printable(&shown), shown, "nothing is left to escape");
}

fn check_manifest(manifest: &Manifest) {
    for bytes in [manifest.encode(), manifest.encode_compact()] {
        assert_eq!(Manifest::decode(&bytes).as_ref(), Ok(manifest));
    }
    if manifest.verify(UnixTime(0)).is_ok() {
        assert_eq!(manifest.key.share_id(), manifest.share);
        assert!(manifest.signature.is_some(), "nobody signed it");
    }
}

/// An announcement is good for a while after it was made, if at all, and belongs where its relay stores it.
fn check_announcement(announcement: &RelayAnnouncement) {
    let again = RelayAnnouncement::decode(&announcement.encode());
    assert_eq!(again.as_ref(), Ok(announcement));
    let offer = &announcement.offer;
    if announcement.verify(offer.issued_at).is_ok() {
        let life = offer.expires_at.since(offer.issued_at);
        assert!((1..=RELAY_ANNOUNCEMENT_LIFE_SECS_MAX).contains(&life));
        assert!(announcement.verify(offer.expires_at).is_err());
        assert!(!offer.addrs.is_empty() && offer.addrs.iter().all(PeerAddr::is_dialable));
    }
    let places = announcement.places(RendezvousHour::of(offer.issued_at));
    assert!(places.iter().all(|key| announcement.belongs_at(key)));
    assert!(!announcement.belongs_at(&DhtKey([0; 32])));
}

/// A value is kept under one key, that of its content, or under none.
fn check_value(data: &[u8]) {
    let nowhere = DhtKey([0; 32]);
    let verdict = classify(&nowhere, data);
    assert!(verdict.is_err(), "a key that nothing hashes to");
    if verdict != Err(ValueError::WrongKey) {
        return;
    }
    let kept = place(data).and_then(|place| Some((place, classify(&place, data).ok()?)));
    let (place, kind) = kept.expect("a record is kept under its own key");
    let from_kind = match kind {
        ValueKind::Head(head) => head_key(&head.share),
        ValueKind::Providers(providers) => providers_key(&providers.content),
        ValueKind::Manifest(manifest) => manifest_key(&manifest.id()),
        ValueKind::Relay(announcement) => place_of(&announcement),
    };
    assert_eq!(place, from_kind);
}

fn place(data: &[u8]) -> Option<DhtKey> {
    let head = ShareHead::decode(data).map(|head| head_key(&head.share));
    let providers = || Providers::decode(data).map(|list| providers_key(&list.content));
    let manifest = || Manifest::decode(data).map(|manifest| manifest_key(&manifest.id()));
    let relay = || RelayAnnouncement::decode(data).map(|it| place_of(&it));
    let first = head.or_else(|_| providers()).or_else(|_| manifest());
    first.or_else(|_| relay()).ok()
}

/// The first of the relay's places when it was announced.
fn place_of(announcement: &RelayAnnouncement) -> DhtKey {
    let [first, _] = announcement.places(RendezvousHour::of(announcement.offer.issued_at));
    first
}
