use super::*;
use crate::disk::OpenError;

fn rows(urgent: bool, rows: Vec<RowOp>) -> Batch {
    Batch {
        urgent,
        rows,
        ..Batch::default()
    }
}

#[test]
fn a_load_sees_all_commits_before_it() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    for round in 0..200 {
        let (value, urgent) = (round.to_string(), round % 7 == 0);
        rig.disk.commit(
            CommitId(round),
            rows(urgent, vec![put(Table::Values, "k", &value)]),
        );
        rig.disk.load(
            LoadId(round),
            Load::Row(Table::Values, Bytes::from_static(b"k")),
        );
        let (mut loaded, mut committed) = (None, None);
        while loaded.is_none() || committed.is_none() {
            match rig.next() {
                DiskEvent::Loaded(_, result) => loaded = Some(result),
                DiskEvent::Committed(_, result) => committed = Some(result),
                DiskEvent::Written(..) => panic!("nothing is written"),
            }
        }
        assert_eq!(committed, Some(Ok(())));
        assert_eq!(loaded, Some(Ok(Loaded::Row(Some(value.into())))));
    }
    let delete = RowOp::Delete(Table::Values, Bytes::from_static(b"k"));
    let batch = vec![
        put(Table::Values, "k", "x"),
        delete,
        put(Table::Peers, "p", "y"),
    ];
    assert_eq!(rig.commit(rows(false, batch)), Ok(()));
    assert_eq!(rig.row(Table::Values, b"k"), None);
    assert_eq!(rig.row(Table::Peers, b"p"), Some(Bytes::from_static(b"y")));
}

#[test]
fn urgent_batches_survive_a_kill_and_take_softer_ones_with_them() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    assert_eq!(
        rig.commit(rows(false, vec![put(Table::Peers, "b", "soft")])),
        Ok(())
    );
    assert!(
        Rig::open(killed_copy(dir.path()).path())
            .saved
            .rows
            .is_empty()
    );
    let urgent = vec![
        put(Table::Shares, "s", "1"),
        put(Table::Peers, "a", "2"),
        put(Table::Values, "v", "3"),
    ];
    assert_eq!(rig.commit(rows(true, urgent)), Ok(()));
    let copy = killed_copy(dir.path());
    let again = Rig::open(copy.path());
    let expected = [
        (Table::Peers, "a", "2"),
        (Table::Peers, "b", "soft"),
        (Table::Shares, "s", "1"),
    ];
    assert_eq!(
        again.saved.rows,
        expected.map(|(table, key, value)| (table, key.into(), value.into()))
    );
    assert_eq!(
        again.row(Table::Values, b"v"),
        Some(Bytes::from_static(b"3"))
    );
}

#[test]
fn soft_batches_are_durable_after_a_while_and_when_the_disk_is_closed() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    assert_eq!(
        rig.commit(rows(false, vec![put(Table::Have, "1", "a")])),
        Ok(())
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while Rig::open(killed_copy(dir.path()).path())
        .saved
        .rows
        .is_empty()
    {
        assert!(std::time::Instant::now() < deadline, "never flushed");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(
        rig.commit(rows(false, vec![put(Table::Have, "2", "b")])),
        Ok(())
    );
    drop(rig);
    assert_eq!(Rig::open(dir.path()).saved.rows.len(), 2);
}

#[test]
fn a_directory_has_one_disk() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    let busy = Disk::open(dir.path()).map(drop);
    assert!(matches!(busy, Err(OpenError::Busy { path }) if path == dir.path()));
    drop(rig);
    Rig::open(dir.path());
}

#[test]
fn a_file_that_is_no_store_is_told() {
    let dir = temp();
    file(dir.path(), "store.redb", &bytes(100_000));
    let opened = Disk::open(dir.path()).map(drop);
    assert!(
        matches!(
            opened,
            Err(OpenError::Damaged { .. } | OpenError::Io { .. })
        ),
        "{opened:?}"
    );
}

#[test]
fn a_failed_batch_leaves_no_trace() {
    let dir = temp();
    let rig = Rig::open(dir.path());
    assert_eq!(
        rig.commit(rows(false, vec![put(Table::Values, "k", "old")])),
        Ok(())
    );
    let batch = Batch {
        sync: vec![part(dir.path(), "missing")],
        rows: vec![put(Table::Values, "k", "new"), put(Table::Have, "h", "new")],
        ..Batch::default()
    };
    assert!(matches!(rig.commit(batch), Err(StoreError::NotFound(_))));
    assert_eq!(
        rig.row(Table::Values, b"k"),
        Some(Bytes::from_static(b"old"))
    );
    assert_eq!(rig.row(Table::Have, b"h"), None);
    drop(rig);
    assert_eq!(Rig::open(dir.path()).saved.rows, []);
}
