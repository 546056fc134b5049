//! Rows, faults and the search index.

use scp2p_proto::id::{ShareId, ShareKey};
use scp2p_proto::record::{Item, Manifest, Visibility};
use scp2p_proto::storage::{IndexOp, Load, Loaded, StoreError, WriteError};
use scp2p_proto::time::UnixTime;

use super::*;
use crate::scenario::Span;

#[test]
fn rows_are_seen_at_once_and_saved_if_resident() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let long = Bytes::from(vec![1; 1 << 17]);
    let mut batch = rows(vec![
        put_row(Table::Peers, 2, 9),
        put_row(Table::Meta, 1, 8),
    ]);
    let key = Bytes::from_static(b"page");
    batch
        .rows
        .push(RowOp::Put(Table::Outboard, key.clone(), long.clone()));
    disk.commit(batch, &mut chunks).expect("committed");
    let row = disk.load(Load::Row(Table::Outboard, key), &mut chunks);
    assert_eq!(row, Ok(Loaded::Row(Some(long))));
    let saved: Vec<Table> = disk.saved().rows.iter().map(|(table, ..)| *table).collect();
    assert_eq!(saved, [Table::Meta, Table::Peers]);
}

#[test]
fn a_failed_batch_has_changed_nothing() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let bytes = content(CHUNK + 1, 5);
    for rel in ["a", "b", "c"] {
        write_all(&mut disk, &mut chunks, &part(rel), &bytes);
    }
    disk.put("/dl/c", [], &mut chunks);
    disk.commit(rows(vec![put_row(Table::Meta, 1, 1)]), &mut chunks)
        .expect("committed");
    let before = (all_rows(&disk), all_files(&disk), disk.last());
    let batch = Batch {
        discard: vec![part("a")],
        sync: vec![part("b")],
        finish: vec![part("b"), part("c")],
        rows: vec![put_row(Table::Meta, 1, 2)],
        ..Batch::default()
    };
    let obstructed = StoreError::Obstructed(part("c").rel);
    assert_eq!(disk.commit(batch.clone(), &mut chunks), Err(obstructed));
    assert_eq!((all_rows(&disk), all_files(&disk), disk.last()), before);
    disk.remove("/dl/c");
    disk.commit(batch, &mut chunks)
        .expect("nothing is in the way");
    assert_eq!(disk.paths().collect::<Vec<_>>(), ["/dl/b", "/dl/c"]);
    let gone = Batch {
        sync: vec![part("b")],
        ..Batch::default()
    };
    let missing = StoreError::NotFound(LocalPath("/dl/b".into()));
    assert_eq!(disk.commit(gone, &mut chunks), Err(missing));
}

#[test]
fn a_full_disk_takes_no_more_until_it_is_free() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let bytes = content(3 * CHUNK, 5);
    let mut write =
        |disk: &mut Disk, index| disk.write(piece(&part("x"), &bytes, index), &mut chunks);
    disk.full_after(1);
    assert_eq!(write(&mut disk, 0), Ok(()));
    assert_eq!(
        write(&mut disk, 1),
        Err(WriteError::Store(StoreError::Full))
    );
    let row = || rows(vec![put_row(Table::Meta, 1, 1)]);
    let mut none = Chunks::default();
    assert_eq!(disk.commit(row(), &mut none), Err(StoreError::Full));
    assert_eq!(disk.row(Table::Meta, &[1]), None);
    // What takes no room is done.
    assert!(disk.commit(discard(&part("x")), &mut none).is_ok());
    disk.free();
    assert_eq!(write(&mut disk, 1), Ok(()));
    assert!(disk.commit(row(), &mut none).is_ok());
}

#[test]
fn faults_come_as_often_as_they_are_set() {
    let model = scenario::Disk {
        latency: [Span::micros(5), Span::micros(7)],
        read_error_ppm: 500_000,
        write_error_ppm: 500_000,
    };
    let (mut disk, mut chunks) = (Disk::new(model, rng(1)), Chunks::default());
    disk.put("/f", [Bytes::from_static(b"x")], &mut chunks);
    let bytes = content(100, 5);
    let mut failed = [0; 4];
    let mut spans = Vec::new();
    for round in 0..200 {
        let row = Load::Row(Table::Meta, Bytes::new());
        failed[0] += u32::from(disk.load(row, &mut chunks).is_err());
        let hash = Load::Hash(vec![LocalPath("/f".into())]);
        let Ok(Loaded::Hash(hashed)) = disk.load(hash, &mut chunks) else {
            panic!("each file has a result of its own");
        };
        failed[1] += u32::from(hashed[0].is_err());
        failed[2] += u32::from(
            disk.write(piece(&part("x"), &bytes, 0), &mut chunks)
                .is_err(),
        );
        let number = round as u8;
        let done = disk.commit(rows(vec![put_row(Table::Meta, 1, number)]), &mut chunks);
        let there = disk
            .row(Table::Meta, &[1])
            .is_some_and(|row| row[0] == number);
        assert_eq!(there, done.is_ok());
        failed[3] += u32::from(done.is_err());
        spans.push(disk.latency().as_micros());
    }
    assert!(
        failed.iter().all(|failed| (70..130).contains(failed)),
        "{failed:?}"
    );
    spans.sort_unstable();
    spans.dedup();
    assert_eq!(spans, [5, 6, 7]);
}

fn manifest(name: &str) -> Manifest {
    let item = Item {
        content: id(name.as_bytes()),
        size: 1,
        name: name.into(),
        path: Some(format!("folder/{name}")),
        mime: None,
        tags: vec!["Tagged".into()],
        chunk_count: 1,
        chunk_list_hash: [0; 32],
    };
    Manifest {
        version: 1,
        key: ShareKey([1; 32]),
        share: ShareId([1; 32]),
        seq: 1,
        created_at: UnixTime(1),
        expires_at: None,
        title: None,
        description: None,
        visibility: Visibility::Private,
        communities: Vec::new(),
        items: vec![item],
        recommended_shares: Vec::new(),
        signature: None,
    }
}

#[test]
fn the_index_follows_the_rows() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let mut set = |disk: &mut Disk, share: u8, name: &str, stored: bool| {
        let manifest = manifest(name);
        let key = Bytes::copy_from_slice(&manifest.id().0);
        let row = RowOp::Put(Table::Manifests, key, manifest.encode().into());
        let batch = Batch {
            rows: stored.then_some(row).into_iter().collect(),
            index: vec![IndexOp::Set(ShareId([share; 32]), manifest.id())],
            ..Batch::default()
        };
        let commit = disk.commit(batch, &mut chunks).expect("committed");
        disk.durable(commit);
    };
    set(&mut disk, 1, "Holiday.jpg", true);
    set(&mut disk, 2, "Other.jpg", true);
    set(&mut disk, 2, "Missing.jpg", false);
    let holiday = [(ShareId([1; 32]), "folder/Holiday.jpg".to_owned())];
    assert_eq!(disk.search("holiday"), holiday);
    for (word, found) in [("tagged", 2), ("FOLDER", 2), (".jpg", 2), ("missing", 0)] {
        assert_eq!(disk.search(word).len(), found, "{word}");
    }
    let retain = Batch {
        index: vec![IndexOp::Retain(vec![ShareId([1; 32])])],
        ..Batch::default()
    };
    disk.commit(retain, &mut Chunks::default())
        .expect("committed");
    assert_eq!(disk.search("jpg"), holiday);
}
