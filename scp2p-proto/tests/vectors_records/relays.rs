//! Relay announcements, and where they lie in the DHT.

use std::collections::BTreeMap;

use scp2p_proto::id::{DhtKey, NodeKey};
use scp2p_proto::io::Transport;
use scp2p_proto::record::{
    BandwidthClass, RelayAnnouncement, RelayAnnouncementError, RelayCapacity, RelayOffer,
    RendezvousHour, RendezvousSlot, rendezvous_key,
};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Capabilities, PeerAddr, Profile};
use serde_json::Value;

use crate::{array, bytes, cases, flag, list, name, number, signing_key, text};

/// The files, with a profile that their release speaks and one that it does not.
const FILES: [(&str, Profile, Profile); 2] = [
    ("relay_announcement", Profile::A, Profile::C),
    ("relay_announcement_v06", Profile::C, Profile::A),
];

/// When the clocks of deployed peers were stopped.
const NOW: UnixTime = UnixTime(1_700_000_000);

fn of_kind(file: &str, kind: &str) -> Vec<Value> {
    let cases = cases(file).into_iter();
    cases.filter(|case| case["kind"] == kind).collect()
}

fn offer_of(fields: &Value) -> RelayOffer {
    let capability = |name: &str| fields["capabilities"][name] == true;
    let capacity = &fields["capacity"];
    RelayOffer {
        addrs: list(&fields["relay_addrs"]).iter().map(addr_of).collect(),
        capabilities: Capabilities {
            dht: capability("dht"),
            store: capability("store"),
            relay: capability("relay"),
            content_seed: capability("content_seed"),
            mobile_light: capability("mobile_light"),
            community_paged_browse: capability("community_paged_browse"),
            community_search: capability("community_search"),
            community_delta_sync: capability("community_delta_sync"),
        },
        capacity: RelayCapacity {
            max_tunnels: number(&capacity["max_tunnels"]) as u16,
            bandwidth: match text(&capacity["bandwidth_class"]) {
                "Low" => BandwidthClass::Low,
                "Medium" => BandwidthClass::Medium,
                "High" => BandwidthClass::High,
                other => panic!("unknown class {other}"),
            },
            max_bytes_per_tunnel: capacity["max_bytes_per_tunnel"].as_u64(),
        },
        issued_at: UnixTime(number(&fields["issued_at"])),
        expires_at: UnixTime(number(&fields["expires_at"])),
    }
}

fn addr_of(fields: &Value) -> PeerAddr {
    PeerAddr {
        ip: text(&fields["ip"]).parse().expect("an address"),
        port: number(&fields["port"]) as u16,
        transport: match text(&fields["transport"]) {
            "quic" => Transport::Quic,
            "tcp" => Transport::Tcp,
            other => panic!("unknown transport {other}"),
        },
        key: fields["pubkey_hint"]
            .is_string()
            .then(|| NodeKey(array(&fields["pubkey_hint"]))),
        relay_via: None,
    }
}

#[test]
fn announcements_are_those_of_deployed_peers() {
    let mut seen = 0;
    for (file, profile, other) in FILES {
        for case in of_kind(file, "announcement") {
            let (fields, cbor) = (&case["fields"], bytes(&case["cbor"]));
            let key = signing_key(&case["signer_seed"]);
            let signed = RelayAnnouncement::sign(&key, profile, offer_of(fields));
            assert_eq!(signed.relay, NodeKey(array(&fields["relay_pubkey"])));
            assert_eq!(signed.signed_bytes(), bytes(&case["signing_bytes"]));
            assert_eq!(signed.signature, array(&fields["signature"]));
            assert_eq!(signed.encode(), cbor);
            assert_eq!(RelayAnnouncement::decode(&cbor), Ok(signed.clone()));
            assert_eq!(signed.verify(NOW).is_ok(), flag(&case["verifies"]));
            assert!(signed.suits(profile) && !signed.suits(other));
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

/// B and C have the same capability keys, so one announcement is for both.
#[test]
fn announcements_for_b_and_c_are_the_same() {
    for case in of_kind("relay_announcement_v06", "announcement") {
        let key = signing_key(&case["signer_seed"]);
        let signed = RelayAnnouncement::sign(&key, Profile::B, offer_of(&case["fields"]));
        assert_eq!(signed.encode(), bytes(&case["cbor"]));
        assert!(signed.suits(Profile::B) && signed.suits(Profile::C));
    }
}

#[test]
fn announcements_lie_where_those_of_deployed_peers_do() {
    let mut seen = 0;
    for (file, _, _) in FILES {
        for case in of_kind(file, "announcement") {
            let announcement = RelayAnnouncement::decode(&bytes(&case["cbor"])).expect("one");
            let hour = RendezvousHour::of(announcement.offer.issued_at);
            assert_eq!(hour, RendezvousHour(number(&case["bucket"])));
            let slots = RendezvousSlot::of(&announcement.relay, hour);
            let places = announcement.places(hour);
            for ((place, slot), expected) in places.iter().zip(slots).zip(list(&case["rendezvous"]))
            {
                assert_eq!(u64::from(slot.number()), number(&expected["index"]));
                assert_eq!(*place, DhtKey(array(&expected["key"])));
                assert!(announcement.belongs_at(place));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 12);
}

#[test]
fn rendezvous_keys_are_those_of_deployed_peers() {
    let mut seen = 0;
    for (file, _, _) in FILES {
        for case in of_kind(file, "rendezvous_key") {
            let hour = RendezvousHour(number(&case["bucket"]));
            let slot = RendezvousSlot::all()
                .find(|slot| u64::from(slot.number()) == number(&case["slot"]));
            let key = rendezvous_key(hour, slot.expect("one of the slots"));
            assert_eq!(key, DhtKey(array(&case["key"])));
            seen += 1;
        }
        for case in of_kind(file, "rendezvous_index") {
            let relay = NodeKey(array(&case["relay_pubkey"]));
            let slots = RendezvousSlot::of(&relay, RendezvousHour(number(&case["bucket"])));
            let slot = slots[number(&case["which"]) as usize];
            assert_eq!(u64::from(slot.number()), number(&case["index"]));
            seen += 1;
        }
    }
    assert_eq!(seen, 30);
}

#[test]
fn broken_announcements_are_refused_for_the_reason_that_deployed_peers_have() {
    let refusals = BTreeMap::from([
        (
            "signature error: Verification equation was not satisfied",
            RelayAnnouncementError::Signature,
        ),
        (
            "relay announcement must have capabilities.relay = true",
            RelayAnnouncementError::NotRelaying,
        ),
        (
            "relay announcement TTL exceeds maximum (21600 secs)",
            RelayAnnouncementError::Lifetime,
        ),
        (
            "expires_at must be after issued_at",
            RelayAnnouncementError::Lifetime,
        ),
        (
            "relay announcement must include at least one address",
            RelayAnnouncementError::NoAddress,
        ),
        (
            "relay addresses must be direct (no relay_via chains)",
            RelayAnnouncementError::Address,
        ),
    ]);
    let (mut refused, mut unreadable) = (0, 0);
    for (file, _, _) in FILES {
        for case in of_kind(file, "negative") {
            match RelayAnnouncement::decode(&bytes(&case["cbor"])) {
                Ok(announcement) => {
                    let expected = Err(refusals[text(&case["error"])]);
                    assert_eq!(announcement.verify(NOW), expected, "{}", name(&case));
                    refused += 1;
                }
                // A signature of another length cannot even be represented.
                Err(_) => {
                    assert!(
                        text(&case["error"]).contains("signature"),
                        "{}",
                        name(&case)
                    );
                    unreadable += 1;
                }
            }
        }
    }
    assert_eq!((refused, unreadable), (14, 4));
}

/// What one release signed, another cannot verify. Here the capabilities are verified as they came.
#[test]
fn announcements_of_all_releases_verify_and_say_whom_they_suit() {
    let mut seen = 0;
    for case in cases("relay_announcement_cross") {
        let announcement = RelayAnnouncement::decode(&bytes(&case["cbor"])).expect("one");
        assert_eq!(announcement.verify(NOW), Ok(()));
        let profile = |release: &Value| match text(release) {
            "0.3.2" => Profile::A,
            "0.6.0" => Profile::C,
            other => panic!("unknown release {other}"),
        };
        assert!(announcement.suits(profile(&case["made_by"])));
        let checked_by = profile(&case["checked_by"]);
        assert_eq!(announcement.suits(checked_by), flag(&case["accepted"]));
        seen += 1;
    }
    assert_eq!(seen, 6);
}

/// Storing nodes that are deployed do not look at the time; all else they judge as we do.
#[test]
fn announcements_are_stored_where_they_belong() {
    let (mut stored, mut expired) = (0, 0);
    for file in ["dht_store_v03", "dht_store_v06"] {
        for case in of_kind(file, "relay") {
            let announcement = RelayAnnouncement::decode(&bytes(&case["value"])).expect("one");
            let belongs = announcement.belongs_at(&DhtKey(array(&case["key"])));
            let issued_at = announcement.offer.issued_at;
            let verdict = belongs && announcement.verify(issued_at).is_ok();
            assert_eq!(verdict, flag(&case["accepted"]), "{}", name(&case));
            stored += u32::from(verdict);
            expired += u32::from(matches!(
                announcement.verify(NOW),
                Err(RelayAnnouncementError::Expired(_))
            ));
        }
    }
    assert_eq!((stored, expired), (10, 2));
}
