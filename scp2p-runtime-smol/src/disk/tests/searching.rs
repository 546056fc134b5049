use super::*;
use scp2p_proto::id::{ContentId, ManifestId, ShareId, ShareKey};
use scp2p_proto::record::{Item, Manifest, Visibility};
use scp2p_proto::storage::IndexOp;
use scp2p_proto::time::UnixTime;

use crate::disk::{SearchError, SearchPage, SearchQuery};

fn item(place: &str, tags: &[&str]) -> Item {
    Item {
        content: ContentId(*blake3::hash(place.as_bytes()).as_bytes()),
        size: place.len() as u64,
        name: place.rsplit('/').next().expect("name").to_owned(),
        path: place.contains('/').then(|| place.to_owned()),
        mime: Some("text/plain".to_owned()),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        chunk_count: 1,
        chunk_list_hash: [0; 32],
    }
}

fn manifest(number: u8, title: &str, description: &str, items: Vec<Item>) -> Manifest {
    let key = ShareKey([number; 32]);
    Manifest {
        version: 1,
        key,
        share: key.share_id(),
        seq: 1,
        created_at: UnixTime(1),
        expires_at: None,
        title: Some(title.to_owned()),
        description: Some(description.to_owned()),
        visibility: Visibility::Public,
        communities: Vec::new(),
        items,
        recommended_shares: Vec::new(),
        signature: None,
    }
}

/// Stores and indexes manifests; their shares.
fn index(rig: &Rig, manifests: &[Manifest]) -> Vec<(ShareId, ManifestId)> {
    let mut batch = Batch::default();
    for manifest in manifests {
        let key = Bytes::copy_from_slice(&manifest.id().0);
        batch
            .rows
            .push(RowOp::Put(Table::Manifests, key, manifest.encode().into()));
        batch
            .index
            .push(IndexOp::Set(manifest.share, manifest.id()));
    }
    assert_eq!(rig.commit(batch), Ok(()));
    manifests
        .iter()
        .map(|manifest| (manifest.share, manifest.id()))
        .collect()
}

fn page(rig: &Rig, query: SearchQuery) -> SearchPage {
    block_on(rig.disk.search(query)).expect("search")
}

fn query(text: &str) -> SearchQuery {
    SearchQuery {
        text: text.to_owned(),
        share: None,
        offset: 0,
        limit: 200,
    }
}

fn places(rig: &Rig, text: &str) -> Vec<String> {
    page(rig, query(text))
        .hits
        .into_iter()
        .map(|hit| hit.place)
        .collect()
}

#[test]
fn words_find_entries_and_the_best_place_comes_first() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    let items = vec![
        item("docs/holiday/plan.txt", &[]),
        item("Holiday.jpg", &[]),
        item("b.txt", &["holiday"]),
        item("Crème Brûlée.pdf", &[]),
        item("日本語ガイド.pdf", &[]),
        item("MyHolidays2024.mkv", &[]),
    ];
    index(&rig, &[manifest(1, "Kitchen", "about holiday", items)]);
    let all = places(&rig, "HOLIDAY");
    assert_eq!(all.len(), 6, "the description is found for every entry");
    assert_eq!(
        all[..4],
        [
            "Holiday.jpg",
            "MyHolidays2024.mkv",
            "docs/holiday/plan.txt",
            "b.txt"
        ]
    );
    assert_eq!(places(&rig, "creme brule"), ["Crème Brûlée.pdf"]);
    assert_eq!(places(&rig, "bru\u{302}le\u{301}e"), ["Crème Brûlée.pdf"]);
    assert_eq!(
        places(&rig, "kitchen plan holiday"),
        ["docs/holiday/plan.txt"]
    );
    assert_eq!(places(&rig, "myholidays"), ["MyHolidays2024.mkv"]);
    assert_eq!(places(&rig, "holidays2024"), ["MyHolidays2024.mkv"]);
    assert_eq!(places(&rig, "日本 ガイド"), ["日本語ガイド.pdf"]);
    assert_eq!(
        places(&rig, "hol plan"),
        [""; 0],
        "only the last word may be a beginning"
    );
    assert_eq!(places(&rig, "holiday absent"), [""; 0]);
    let hit = &page(&rig, query("plan")).hits[0];
    assert_eq!(
        (hit.size, hit.share_title.as_deref(), hit.mime.as_deref()),
        (21, Some("Kitchen"), Some("text/plain"))
    );
    assert_eq!(
        hit.content.0,
        *blake3::hash(b"docs/holiday/plan.txt").as_bytes()
    );
    assert_eq!(page(&rig, query("b txt")).hits[0].tags, ["holiday"]);
}

#[test]
fn any_text_is_a_query() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    index(&rig, &[manifest(1, "t", "d", vec![item("a.txt", &[])])]);
    for text in [
        "", "  ", "\"", "a AND (", "name:a", "*", "[a TO", "\u{0}", "+-!", "\\",
    ] {
        let _ = page(&rig, query(text));
    }
    let long = "word ".repeat(100_000);
    assert_eq!(page(&rig, query(&long)).total, 0);
    for limit in [0, 201] {
        let refused = block_on(rig.disk.search(SearchQuery {
            limit,
            ..query("a")
        }));
        assert_eq!(refused, Err(SearchError::Limit(limit)));
    }
    let far = page(
        &rig,
        SearchQuery {
            offset: u32::MAX,
            ..query("a")
        },
    );
    assert_eq!((far.total, far.hits.len()), (1, 0));
}

#[test]
fn pages_and_shares() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    let items = |count: usize| {
        (0..count)
            .map(|at| item(&format!("file {at}.txt"), &[]))
            .collect()
    };
    let shares = index(
        &rig,
        &[
            manifest(1, "one", "", items(30)),
            manifest(2, "two", "", items(5)),
        ],
    );
    let mut seen = Vec::new();
    for offset in [0, 10, 20, 30, 40] {
        let page = page(
            &rig,
            SearchQuery {
                offset,
                limit: 10,
                ..query("file")
            },
        );
        assert_eq!(page.total, 35);
        seen.extend(page.hits.into_iter().map(|hit| (hit.share, hit.place)));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 35);
    let only = page(
        &rig,
        SearchQuery {
            share: Some(shares[1].0),
            ..query("fil")
        },
    );
    assert_eq!(
        (
            only.total,
            only.hits.iter().all(|hit| hit.share == shares[1].0)
        ),
        (5, true)
    );
    assert_eq!(
        rig.commit(Batch {
            index: vec![IndexOp::Retain(vec![shares[1].0])],
            ..Batch::default()
        }),
        Ok(())
    );
    assert_eq!(page(&rig, query("file")).total, 5);
}

#[test]
fn a_new_manifest_replaces_the_old_entries() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    index(&rig, &[manifest(1, "t", "", vec![item("old.txt", &[])])]);
    let new = manifest(1, "t", "", vec![item("new.txt", &[])]);
    index(&rig, std::slice::from_ref(&new));
    index(&rig, &[new]);
    assert_eq!(places(&rig, "txt"), ["new.txt"]);
    let unknown = IndexOp::Set(ShareId([9; 32]), ManifestId([9; 32]));
    assert_eq!(
        rig.commit(Batch {
            index: vec![unknown],
            ..Batch::default()
        }),
        Ok(())
    );
    assert_eq!(places(&rig, "txt"), ["new.txt"]);
}

#[test]
fn the_index_is_kept_and_a_damaged_one_made_anew() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    let shares = index(&rig, &[manifest(1, "t", "", vec![item("kept.txt", &[])])]);
    drop(rig);
    let rig = Rig::open(dir.path());
    assert_eq!(places(&rig, "kept"), ["kept.txt"]);
    drop(rig);
    let index = dir.path().join("index");
    let segments = std::fs::read_dir(&index)
        .expect("index")
        .filter_map(|entry| Some(entry.ok()?.path()));
    let segments: Vec<PathBuf> = segments
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind != "json" && kind != "lock")
        })
        .collect();
    assert!(!segments.is_empty());
    for damage in [segments, vec![index.join("meta.json")], vec![]] {
        if damage.is_empty() {
            std::fs::remove_dir_all(&index).expect("remove");
        }
        for path in damage {
            let mut data = std::fs::read(&path).expect("file");
            data.iter_mut().step_by(3).for_each(|byte| *byte ^= 0x55);
            std::fs::write(&path, data).expect("damage");
        }
        let rig = Rig::open(dir.path());
        assert_eq!(places(&rig, "kept"), [""; 0]);
        let set = IndexOp::Set(shares[0].0, shares[0].1);
        assert_eq!(
            rig.commit(Batch {
                index: vec![set],
                ..Batch::default()
            }),
            Ok(())
        );
        assert_eq!(places(&rig, "kept"), ["kept.txt"]);
    }
}
