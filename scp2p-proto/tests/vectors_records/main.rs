//! Records as deployed peers produced, accepted and refused them (`vectors/`).

mod relays;

use std::collections::BTreeMap;
use std::fs;

use ed25519_dalek::SigningKey;
use scp2p_proto::id::{ContentId, DhtKey, ManifestId, NodeId, NodeKey, ShareId, ShareKey};
use scp2p_proto::record::{
    Item, Manifest, ManifestError, ParseLinkError, Providers, ShareHead, ShareLink, ValueError,
    ValueKind, Visibility, classify, head_key, manifest_key, providers_key,
};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::BootstrapAddr;
use serde_json::Value;

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Value = serde_json::from_str(&text).expect("vectors are JSON");
    file["cases"]
        .as_array()
        .expect("vectors have cases")
        .clone()
}

/// The case's name, for messages.
fn name(case: &Value) -> &str {
    case["name"]
        .as_str()
        .or(case["negative"].as_str())
        .unwrap_or("unnamed")
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

fn flag(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| panic!("not a flag: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value);
    assert!(
        digits.len().is_multiple_of(2),
        "hex has pairs of digits: {digits}"
    );
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits"))
        .collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value)
        .try_into()
        .expect("as many bytes as the field has")
}

fn optional_text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn signing_key(seed: &Value) -> SigningKey {
    SigningKey::from_bytes(&array(seed))
}

fn manifest_of(fields: &Value) -> Manifest {
    Manifest {
        version: number(&fields["version"]) as u8,
        key: ShareKey(array(&fields["share_pubkey"])),
        share: ShareId(array(&fields["share_id"])),
        seq: number(&fields["seq"]),
        created_at: UnixTime(number(&fields["created_at"])),
        expires_at: fields["expires_at"].as_u64().map(UnixTime),
        title: optional_text(&fields["title"]),
        description: optional_text(&fields["description"]),
        visibility: match text(&fields["visibility"]) {
            "private" => Visibility::Private,
            "public" => Visibility::Public,
            other => panic!("unknown visibility {other}"),
        },
        communities: list(&fields["communities"])
            .iter()
            .map(|id| ShareId(array(id)))
            .collect(),
        items: list(&fields["items"]).iter().map(item_of).collect(),
        recommended_shares: list(&fields["recommended_shares"])
            .iter()
            .map(|id| ShareId(array(id)))
            .collect(),
        signature: fields
            .get("signature")
            .filter(|value| !value.is_null())
            .map(array),
    }
}

fn item_of(fields: &Value) -> Item {
    Item {
        content: ContentId(array(&fields["content_id"])),
        size: number(&fields["size"]),
        name: text(&fields["name"]).to_owned(),
        path: optional_text(&fields["path"]),
        mime: optional_text(&fields["mime"]),
        tags: list(&fields["tags"])
            .iter()
            .map(|tag| text(tag).to_owned())
            .collect(),
        chunk_count: number(&fields["chunk_count"]) as u32,
        chunk_list_hash: array(&fields["chunk_list_hash"]),
    }
}

#[test]
fn ids_are_those_of_deployed_peers() {
    for case in cases("ids") {
        match text(&case["kind"]) {
            "key" => {
                let public = signing_key(&case["seed"]).verifying_key().to_bytes();
                assert_eq!(public, array::<32>(&case["public_key"]));
                assert_eq!(NodeKey(public).node_id(), NodeId(array(&case["node_id"])));
                assert_eq!(
                    ShareKey(public).share_id(),
                    ShareId(array(&case["share_id"]))
                );
            }
            "content_id" => {
                let id = blake3::hash(&bytes(&case["bytes"]));
                assert_eq!(*id.as_bytes(), array::<32>(&case["content_id"]));
            }
            // Distances belong to the routing table.
            "xor_distance" | "closer_to_target" => {}
            other => panic!("unknown kind {other}"),
        }
    }
}

#[test]
fn dht_keys_are_those_of_deployed_peers() {
    for case in cases("dht_keys") {
        let key = match text(&case["kind"]) {
            "share_head" => head_key(&ShareId(array(&case["share_id"]))),
            "manifest_loc" => manifest_key(&ManifestId(array(&case["manifest_id"]))),
            "content_provider" => providers_key(&ContentId(array(&case["content_id"]))),
            // Communities have no records here.
            "community_info" => continue,
            other => panic!("unknown kind {other}"),
        };
        assert_eq!(key, DhtKey(array(&case["key"])));
        assert_eq!(key.target(), NodeId(array(&case["routing_target"])));
    }
}

#[test]
fn content_hashes_are_those_of_deployed_peers() {
    for case in cases("content")
        .iter()
        .filter(|case| case.get("negative").is_none())
    {
        let content: Vec<u8> = (0..number(&case["size"]))
            .map(|at| (at % 251) as u8)
            .collect();
        assert_eq!(
            *blake3::hash(&content).as_bytes(),
            array::<32>(&case["content_id"])
        );

        let chunks: Vec<&[u8]> = content
            .chunks(scp2p_proto::limits::CHUNK_LEN as usize)
            .collect();
        assert_eq!(chunks.len() as u64, number(&case["chunk_count"]));
        assert_eq!(
            chunks.last().map_or(0, |last| last.len()) as u64,
            number(&case["last_chunk_len"])
        );

        let hashes: Vec<[u8; 32]> = chunks
            .iter()
            .map(|chunk| *blake3::hash(chunk).as_bytes())
            .collect();
        let expected: Vec<[u8; 32]> = list(&case["chunk_hashes"]).iter().map(array).collect();
        assert_eq!(hashes, expected);
        assert_eq!(
            *blake3::hash(&hashes.concat()).as_bytes(),
            array::<32>(&case["chunk_list_hash"])
        );
    }
}

#[test]
fn manifests_have_the_three_encodings_of_deployed_peers() {
    let mut seen = 0;
    for case in cases("manifest")
        .iter()
        .filter(|case| case.get("fields").is_some())
    {
        let manifest = manifest_of(&case["fields"]);
        let cbor = bytes(&case["cbor"]);
        assert_eq!(manifest.encode(), cbor, "transmitted: {}", name(case));
        assert_eq!(
            manifest.signed_bytes(),
            bytes(&case["signing_bytes"]),
            "signed: {}",
            name(case)
        );
        assert_eq!(
            manifest.id(),
            ManifestId(array(&case["manifest_id"])),
            "id: {}",
            name(case)
        );
        assert_eq!(
            Manifest::decode(&cbor),
            Ok(manifest.clone()),
            "{}",
            name(case)
        );
        assert_eq!(
            Manifest::decode(&manifest.encode_compact()),
            Ok(manifest.clone()),
            "{}",
            name(case)
        );
        if let Some(seed) = case.get("signer_seed") {
            let unsigned = Manifest {
                signature: None,
                ..manifest.clone()
            };
            assert_eq!(
                unsigned.sign(&signing_key(seed)),
                manifest,
                "signature: {}",
                name(case)
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn manifests_are_judged_as_deployed_peers_judge_them() {
    let refusals = BTreeMap::from([
        ("manifest missing signature", ManifestError::Unsigned),
        (
            "manifest has expired",
            ManifestError::Expired(UnixTime(1_700_086_400)),
        ),
        (
            "signature error: Verification equation was not satisfied",
            ManifestError::Signature,
        ),
        (
            "manifest share_id does not match share_pubkey",
            ManifestError::ShareIdMismatch,
        ),
        (
            "manifest expires_at must be after created_at",
            ManifestError::Lifetime,
        ),
    ]);
    let mut seen = 0;
    for case in cases("manifest")
        .iter()
        .filter(|case| case.get("cbor").is_some())
    {
        let manifest = Manifest::decode(&bytes(&case["cbor"]))
            .unwrap_or_else(|error| panic!("{}: {error}", name(case)));
        let expected = match flag(&case["verifies"]) {
            true => Ok(()),
            false => Err(refusals[text(&case["error"])]),
        };
        let now = UnixTime(number(&case["verify_now"]));
        assert_eq!(manifest.verify(now), expected, "{}", name(case));
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn manifests_in_unusual_encodings_are_read_as_deployed_peers_read_them() {
    let now = UnixTime(1_700_000_000);
    let mut seen = 0;
    for case in cases("manifest")
        .iter()
        .filter(|case| case.get("decode").is_some())
    {
        let cbor = bytes(&case["decode"]);
        let decoded = Manifest::decode(&cbor);
        assert_eq!(
            decoded.is_ok(),
            flag(&case["accepted"]),
            "{}: {decoded:?}",
            name(case)
        );
        if let Ok(manifest) = decoded {
            assert_eq!(
                manifest.id(),
                ManifestId(array(&case["manifest_id"])),
                "{}",
                name(case)
            );
            assert_eq!(
                manifest.verify(now).is_ok(),
                flag(&case["verifies"]),
                "{}",
                name(case)
            );
            if case.get("compact_len").is_some() {
                assert_eq!(manifest.encode_compact(), cbor, "{}", name(case));
                assert_eq!(
                    manifest.encode().len() as u64,
                    number(&case["canonical_len"])
                );
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 11);
}

#[test]
fn share_heads_are_those_of_deployed_peers() {
    for case in cases("share_head")
        .iter()
        .filter(|case| case.get("fields").is_some())
    {
        let fields = &case["fields"];
        let unsigned = ShareHead {
            share: ShareId(array(&fields["share_id"])),
            latest_seq: number(&fields["latest_seq"]),
            latest_manifest: ManifestId(array(&fields["latest_manifest_id"])),
            updated_at: UnixTime(number(&fields["updated_at"])),
            signature: [0; 64],
        };
        assert_eq!(unsigned.signed_bytes(), bytes(&case["signing_bytes"]));
        assert_eq!(head_key(&unsigned.share), DhtKey(array(&case["dht_key"])));

        let head = unsigned.sign(&signing_key(&case["signer_seed"]));
        assert_eq!(head.signature, array(&case["signature"]));
        assert_eq!(head.encode(), bytes(&case["cbor"]));
        assert_eq!(ShareHead::decode(&bytes(&case["cbor"])), Ok(head.clone()));
        assert!(head.verify(&ShareKey(array(&case["share_pubkey"]))));
    }
}

#[test]
fn broken_share_heads_do_not_verify() {
    let mut seen = 0;
    for case in cases("share_head")
        .iter()
        .filter(|case| case.get("negative").is_some())
    {
        let key = ShareKey(array(&case["share_pubkey"]));
        // A signature of another length cannot even be represented.
        let verifies = ShareHead::decode(&bytes(&case["cbor"])).is_ok_and(|head| head.verify(&key));
        assert!(!verifies, "{}", name(case));
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn a_share_head_signed_with_a_byte_string_is_read() {
    let cases = cases("share_head");
    let case = cases
        .iter()
        .find(|case| case.get("decode").is_some())
        .expect("one such case");
    let head = ShareHead::decode(&bytes(&case["decode"])).expect("accepted by deployed peers");
    let key = signing_key(&cases[0]["signer_seed"])
        .verifying_key()
        .to_bytes();
    assert!(head.verify(&ShareKey(key)));
}

#[test]
fn provider_lists_are_those_of_deployed_peers() {
    let mut seen = 0;
    for case in cases("records") {
        match text(&case["kind"]) {
            "providers" => {
                let cbor = bytes(&case["cbor"]);
                let providers = Providers::decode(&cbor)
                    .unwrap_or_else(|error| panic!("{}: {error}", name(&case)));
                let fields = &case["fields"];
                assert_eq!(providers.content, ContentId(array(&fields["content_id"])));
                assert_eq!(
                    providers.updated_at,
                    UnixTime(number(&fields["updated_at"]))
                );
                for (found, expected) in providers.providers.iter().zip(list(&fields["providers"]))
                {
                    assert_eq!(found.ip.to_string(), text(&expected["ip"]));
                    assert_eq!(u64::from(found.port), number(&expected["port"]));
                    assert_eq!(
                        found.relay_via.is_some(),
                        expected.get("relay_via").is_some()
                    );
                }
                assert_eq!(providers.providers.len(), list(&fields["providers"]).len());
                assert_eq!(providers.encode(), cbor, "{}", name(&case));
                assert_eq!(
                    providers_key(&providers.content),
                    DhtKey(array(&case["dht_key"]))
                );
                seen += 1;
            }
            // Communities and blocklists have no records here.
            "membership_token" | "negative" | "community_members" | "blocklist_rules" => {}
            other => panic!("unknown kind {other}"),
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn links_are_written_as_deployed_desktops_write_them() {
    let mut seen = 0;
    for case in cases("share_links")
        .iter()
        .filter(|case| case["kind"] == "encode")
    {
        let key = ShareKey(array(&case["share_pubkey"]));
        if key.share_id() != ShareId(array(&case["share_id"])) {
            assert_eq!(
                text(&case["link"]).parse::<ShareLink>(),
                Err(ParseLinkError::Mismatch)
            );
            continue;
        }
        let hints = list(&case["bootstrap"])
            .iter()
            .filter_map(|hint| text(hint).parse().ok());
        let link = ShareLink {
            key,
            bootstrap: hints.collect(),
        };
        assert_eq!(link.to_string(), text(&case["link"]), "{}", name(case));
        assert_eq!(text(&case["link"]).parse(), Ok(link), "{}", name(case));
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn links_are_read_as_deployed_desktops_read_them() {
    for case in cases("share_links")
        .iter()
        .filter(|case| case["kind"] == "decode")
    {
        let parsed = text(&case["link"]).parse::<ShareLink>();
        if !flag(&case["accepted"]) {
            let expected = match name(case) {
                "upper-case scheme" | "older share form refused" => ParseLinkError::Scheme,
                "illegal character" => ParseLinkError::Base64,
                "63 bytes" => ParseLinkError::Length(63),
                "65 bytes" | "trailing slash" => ParseLinkError::Length(65),
                "empty payload" => ParseLinkError::Length(0),
                other => panic!("unknown refusal {other}"),
            };
            assert_eq!(parsed, Err(expected), "{}", name(case));
            continue;
        }
        let key = ShareKey(array(&case["share_pubkey"]));
        // Deployed desktops do not compare id and key, we do.
        if key.share_id() != ShareId(array(&case["share_id"])) {
            assert_eq!(parsed, Err(ParseLinkError::Mismatch), "{}", name(case));
            continue;
        }
        let hints = list(&case["bootstrap"]).iter();
        let bootstrap: Vec<BootstrapAddr> = hints
            .map(|hint| text(hint).parse().expect("a hint deployed desktops write"))
            .collect();
        assert_eq!(parsed, Ok(ShareLink { key, bootstrap }), "{}", name(case));
    }
}

#[test]
fn values_of_0_3_are_classified_as_they_are_stored() {
    assert_eq!(check_store_verdicts("dht_store_v03"), 19);
}

#[test]
fn values_of_0_6_are_classified_as_they_are_stored() {
    assert_eq!(check_store_verdicts("dht_store_v06"), 19);
}

/// Compares with a node's verdicts and returns how many values of our kinds there were.
fn check_store_verdicts(file: &str) -> u32 {
    let mut ours = 0;
    for case in cases(file) {
        let Some(value) = case.get("value").map(bytes) else {
            // A value too long to print.
            let long = vec![0; number(&case["value_len"]) as usize];
            assert_eq!(
                classify(&DhtKey([0; 32]), &long),
                Err(ValueError::TooLong(long.len()))
            );
            continue;
        };
        let verdict = classify(&DhtKey(array(&case["key"])), &value);
        match text(&case["kind"]) {
            "share_head" | "providers" | "manifest" => {
                assert_eq!(
                    verdict.is_ok(),
                    flag(&case["accepted"]),
                    "{}: {verdict:?}",
                    name(&case)
                );
                match (text(&case["kind"]), verdict) {
                    ("share_head", Ok(ValueKind::Head(_)))
                    | ("providers", Ok(ValueKind::Providers(_)))
                    | ("manifest", Ok(ValueKind::Manifest(_)))
                    | (_, Err(ValueError::WrongKey)) => ours += 1,
                    (kind, other) => panic!("{kind} became {other:?}"),
                }
            }
            // Whether it is signed and in time is not asked yet.
            "relay" => {
                let is_one = matches!(verdict, Ok(ValueKind::Relay(_)));
                assert!(
                    is_one || verdict == Err(ValueError::WrongKey),
                    "{verdict:?}"
                );
                assert!(is_one || !flag(&case["accepted"]), "{}", name(&case));
                ours += 1;
            }
            "community_members" | "member_record" | "share_record" | "bootstrap_hint"
            | "members_page" | "key_rotation" | "key_revocation" => {
                assert_eq!(verdict, Err(ValueError::Unsupported), "{}", name(&case));
            }
            "unknown" => assert_eq!(verdict, Err(ValueError::Unrecognized), "{}", name(&case)),
            other => panic!("unknown kind {other}"),
        }
    }
    ours
}
