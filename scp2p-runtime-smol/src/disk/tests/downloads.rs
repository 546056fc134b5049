use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use scp2p_proto::content::{Bitmap, chunk_count, subtree_of};
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::storage::{OutboardKind, Proof, Resumed, outboard_key};

const CHUNK: usize = CHUNK_LEN as usize;

/// One chunk of `data` with the proof that a download of it has.
fn piece(part: &PartRef, data: &[u8], index: usize) -> PieceWrite {
    let start = index * CHUNK;
    let chunk = &data[start..data.len().min(start + CHUNK)];
    let proof = match data.len() {
        0..=CHUNK => Proof::Hash(*blake3::hash(chunk).as_bytes()),
        _ => Proof::Subtree(subtree_of(chunk, start as u64).expect("chunk")),
    };
    let data_len = data.len() as u64;
    PieceWrite {
        part: part.clone(),
        size: data_len,
        offset: start as u64,
        data: Bytes::copy_from_slice(chunk),
        proof,
    }
}

fn finish(part: &PartRef) -> Batch {
    Batch {
        finish: vec![part.clone()],
        ..Batch::default()
    }
}

fn resume_with(
    rig: &Rig,
    part: &PartRef,
    data: &[u8],
    verified: Bitmap,
) -> Result<Resumed, StoreError> {
    let load = Load::Resume {
        part: part.clone(),
        content: ContentId(*blake3::hash(data).as_bytes()),
        size: data.len() as u64,
        kind: OutboardKind::Subtrees,
        verified,
    };
    rig.load(load).map(|loaded| {
        let Loaded::Resume(found) = loaded else {
            panic!("not a resume: {loaded:?}")
        };
        found
    })
}

fn resume(rig: &Rig, part: &PartRef, data: &[u8]) -> Result<Resumed, StoreError> {
    resume_with(rig, part, data, none_verified(data))
}

fn none_verified(data: &[u8]) -> Bitmap {
    Bitmap::new(chunk_count(data.len() as u64).expect("small"))
}

/// Stores the hash pages of `data`.
fn store_pages(rig: &Rig, data: &[u8]) {
    let content = ContentId(*blake3::hash(data).as_bytes());
    let starts = (0..).step_by(CHUNK);
    let subtrees: Vec<u8> = data
        .chunks(CHUNK)
        .zip(starts)
        .flat_map(|(chunk, start)| subtree_of(chunk, start).expect("chunk"))
        .collect();
    let row = RowOp::Put(
        Table::Outboard,
        outboard_key(&content, OutboardKind::Subtrees, 0),
        subtrees.into(),
    );
    assert_eq!(
        rig.commit(Batch {
            rows: vec![row],
            ..Batch::default()
        }),
        Ok(())
    );
}

/// A data directory and a folder to download to.
fn places() -> (TempDir, PathBuf, Rig) {
    let dir = temp();
    let root = dir.path().join("downloads");
    fs::create_dir(&root).expect("folder");
    let rig = Rig::open(&dir.path().join("data"));
    (dir, root, rig)
}

#[test]
fn pieces_of_files_in_one_folder_are_written_side_by_side() {
    const CHUNKS: usize = 16;
    let (_dir, root, rig) = places();
    let data = bytes((CHUNKS - 1) * CHUNK + 200_003);
    let parts = ["film", "song"].map(|name| part(&root, name));
    for part in &parts {
        assert_eq!(resume(&rig, part, &data), Ok(Resumed::Fresh));
        assert_eq!(rig.write(piece(part, &data, 0)), Ok(()));
    }
    for index in (1..CHUNKS).rev() {
        for part in &parts {
            let id = WriteId(rig.id());
            rig.disk.write(id, piece(part, &data, index));
        }
        let sync = Batch {
            urgent: true,
            sync: parts.to_vec(),
            ..Batch::default()
        };
        rig.disk.commit(CommitId(rig.id()), sync);
    }
    for _ in 0..(CHUNKS - 1) * 3 {
        let event = rig.next();
        assert!(
            matches!(
                event,
                DiskEvent::Written(_, Ok(())) | DiskEvent::Committed(_, Ok(()))
            ),
            "{event:?}"
        );
    }
    for part in &parts {
        assert_eq!(rig.commit(finish(part)), Ok(()));
        assert!(fs::read(root.join(part.rel.as_str())).expect("file") == data);
    }
}

#[test]
fn pieces_become_a_file() {
    let (_dir, root, rig) = places();
    let (part, data) = (part(&root, "a/b/film.mkv"), bytes(3 * CHUNK + 5));
    assert_eq!(resume(&rig, &part, &data), Ok(Resumed::Fresh));
    for index in [3, 0, 2, 1] {
        assert_eq!(rig.write(piece(&part, &data, index)), Ok(()));
    }
    assert!(root.join("a/b/film.mkv.part").is_file() && !root.join("a/b/film.mkv").exists());
    assert_eq!(
        rig.commit(Batch {
            sync: vec![part.clone()],
            ..Batch::default()
        }),
        Ok(())
    );
    assert_eq!(rig.commit(finish(&part)), Ok(()));
    assert_eq!(fs::read(root.join("a/b/film.mkv")).expect("file"), data);
    assert!(!root.join("a/b/film.mkv.part").exists());
    assert_eq!(
        rig.commit(finish(&part)),
        Ok(()),
        "finishing twice is no error"
    );
    let Ok(Resumed::Complete(file)) = resume(&rig, &part, &data) else {
        panic!("not complete")
    };
    let load = Load::Piece {
        file,
        offset: CHUNK as u64,
        len: CHUNK_LEN,
    };
    assert_eq!(
        rig.load(load),
        Ok(Loaded::Piece(data[CHUNK..2 * CHUNK].to_vec().into()))
    );
}

#[test]
fn wrong_bytes_are_not_written() {
    let (_dir, root, rig) = places();
    let (part, data) = (part(&root, "x"), bytes(CHUNK + 1));
    let right = piece(&part, &data, 1);
    let flipped = PieceWrite {
        data: Bytes::from(vec![!right.data[0]]),
        ..right.clone()
    };
    let moved = PieceWrite {
        offset: 0,
        ..right.clone()
    };
    let unaligned = PieceWrite {
        offset: 1,
        ..right.clone()
    };
    let empty = PieceWrite {
        data: Bytes::new(),
        ..right.clone()
    };
    let other_kind = PieceWrite {
        proof: Proof::Hash([0; 32]),
        ..right.clone()
    };
    for wrong in [flipped, moved, unaligned, empty, other_kind] {
        assert_eq!(rig.write(wrong), Err(WriteError::WrongBytes));
    }
    let beyond = PieceWrite {
        size: CHUNK as u64,
        ..right.clone()
    };
    assert!(matches!(rig.write(beyond), Err(WriteError::Store(_))));
    assert!(fs::read_dir(&root).expect("folder").next().is_none());
    assert_eq!(rig.write(right), Ok(()));
}

#[test]
fn empty_files_and_their_folders_are_made_when_finished() {
    let (_dir, root, rig) = places();
    let empty = part(&root, "deep/folder/empty");
    assert_eq!(resume(&rig, &empty, &[]), Ok(Resumed::Fresh));
    assert_eq!(rig.commit(finish(&empty)), Ok(()));
    assert_eq!(
        fs::read(root.join("deep/folder/empty")).expect("file"),
        [0; 0]
    );
    assert!(matches!(resume(&rig, &empty, &[]), Ok(Resumed::Complete(file)) if file.size == 0));
    assert_eq!(rig.commit(finish(&empty)), Ok(()));
    let lost = part(&root, "lost");
    assert_eq!(resume(&rig, &lost, b"x"), Ok(Resumed::Fresh));
    assert!(matches!(
        rig.commit(finish(&lost)),
        Err(StoreError::NotFound(_))
    ));
}

#[test]
fn many_files_are_finished_at_once() {
    let (_dir, root, rig) = places();
    let parts: Vec<PartRef> = (0..40)
        .map(|at| part(&root, &format!("{}/{at}", at % 3)))
        .collect();
    for (at, part) in parts.iter().enumerate() {
        assert_eq!(rig.write(piece(part, &bytes(at + 1), 0)), Ok(()));
    }
    let batch = Batch {
        finish: parts.clone(),
        rows: vec![put(Table::Have, "k", "v")],
        ..Batch::default()
    };
    assert_eq!(rig.commit(batch), Ok(()));
    for (at, part) in parts.iter().enumerate() {
        assert_eq!(
            fs::read(root.join(part.rel.as_str())).expect("file"),
            bytes(at + 1)
        );
    }
}

#[test]
fn what_is_on_disk_is_checked_chunk_by_chunk() {
    let (_dir, root, rig) = places();
    let (part, data) = (part(&root, "big"), bytes(6 * CHUNK + 9));
    store_pages(&rig, &data);
    for index in [0, 2, 5, 6] {
        assert_eq!(rig.write(piece(&part, &data, index)), Ok(()));
    }
    let path = root.join("big.part");
    let mut held = fs::read(&path).expect("part");
    held[5 * CHUNK] ^= 1;
    fs::write(&path, &held).expect("damage");
    let found = |found| match found {
        Ok(Resumed::Partial(bits)) => (0..7)
            .filter(|index| bits.contains(*index))
            .collect::<Vec<u32>>(),
        other => panic!("not partial: {other:?}"),
    };
    assert_eq!(found(resume(&rig, &part, &data)), [0, 2, 6]);
    let mut verified = none_verified(&data);
    verified.set(1);
    verified.set(6);
    assert_eq!(
        found(resume_with(&rig, &part, &data, verified.clone())),
        [0, 1, 2, 6]
    );
    fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(3 * CHUNK as u64))
        .expect("cut");
    assert_eq!(found(resume_with(&rig, &part, &data, verified)), [0, 1, 2]);
    fs::remove_file(&path).expect("remove");
    assert_eq!(resume(&rig, &part, &data), Ok(Resumed::Fresh));
}

#[test]
fn a_part_that_is_too_long_is_cut_and_one_that_is_too_short_is_not_finished() {
    let (_dir, root, rig) = places();
    let (part, data) = (part(&root, "x"), bytes(100));
    file(&root, "x.part", &bytes(500));
    assert_eq!(rig.write(piece(&part, &data, 0)), Ok(()));
    assert_eq!(rig.commit(finish(&part)), Ok(()));
    assert_eq!(fs::read(root.join("x")).expect("file"), data);
    let part = super::part(&root, "y");
    assert_eq!(resume(&rig, &part, &data), Ok(Resumed::Fresh));
    file(&root, "y.part", b"short");
    assert!(matches!(
        rig.commit(finish(&part)),
        Err(StoreError::Changed(_))
    ));
}

#[test]
fn a_final_name_that_is_taken_is_never_overwritten() {
    let (dir, root, rig) = places();
    let data = bytes(1000);
    let outside = file(dir.path(), "outside", b"secret");
    file(&root, "same size", &vec![7; 1000]);
    file(&root, "other size", b"mine");
    symlink(&outside, root.join("link")).expect("link");
    symlink(dir.path().join("nowhere"), root.join("dangling")).expect("link");
    fs::create_dir(root.join("folder")).expect("folder");
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("pipe");
    for name in [
        "same size",
        "other size",
        "link",
        "dangling",
        "folder",
        "pipe",
    ] {
        let part = part(&root, name);
        let before = fs::symlink_metadata(root.join(name)).expect("there").ino();
        assert_eq!(resume(&rig, &part, &data), Ok(Resumed::Occupied), "{name}");
        assert_eq!(rig.write(piece(&part, &data, 0)), Ok(()));
        assert_eq!(
            rig.commit(finish(&part)),
            Err(StoreError::Obstructed(part.rel.clone())),
            "{name}"
        );
        assert_eq!(
            fs::symlink_metadata(root.join(name)).expect("there").ino(),
            before
        );
    }
    assert_eq!(fs::read(outside).expect("file"), b"secret");
    assert!(!dir.path().join("nowhere").exists());
    file(&root, "right", &data);
    assert!(matches!(
        resume(&rig, &part(&root, "right"), &data),
        Ok(Resumed::Complete(_))
    ));
}

#[test]
fn nothing_is_written_through_links_pipes_or_second_names() {
    let (dir, root, rig) = places();
    let data = bytes(10);
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("folder");
    let victim = file(&outside, "victim", b"untouched");
    symlink(&outside, root.join("folder")).expect("link");
    symlink(&victim, root.join("link.part")).expect("link");
    symlink(outside.join("new"), root.join("dangling.part")).expect("link");
    fs::hard_link(&victim, root.join("hard.part")).expect("hard link");
    mknodat(CWD, root.join("pipe.part"), FileType::Fifo, Mode::RWXU, 0).expect("pipe");
    fs::create_dir(root.join("dir.part")).expect("folder");
    file(&root, "plain", b"a file");
    for name in [
        "folder/x",
        "folder/deep/x",
        "link",
        "dangling",
        "hard",
        "pipe",
        "dir",
        "plain/x",
    ] {
        let part = part(&root, name);
        let obstructed = StoreError::Obstructed(part.rel.clone());
        let written = rig.write(piece(&part, &data, 0));
        assert_eq!(
            written,
            Err(WriteError::Store(obstructed.clone())),
            "{name}"
        );
        let synced = rig.commit(Batch {
            sync: vec![part.clone()],
            ..Batch::default()
        });
        assert_eq!(synced, Err(obstructed.clone()), "{name}");
        assert_eq!(rig.commit(finish(&part)), Err(obstructed.clone()), "{name}");
        assert_eq!(resume(&rig, &part, &data), Err(obstructed), "{name}");
        assert_eq!(
            rig.commit(Batch {
                discard: vec![part],
                ..Batch::default()
            }),
            Ok(())
        );
    }
    assert_eq!(fs::read(&victim).expect("file"), b"untouched");
    assert_eq!(fs::read_dir(&outside).expect("folder").count(), 1);
}

#[test]
fn discarding_removes_the_part_and_folders_that_hold_nothing() {
    let (_dir, root, rig) = places();
    let (gone, kept) = (part(&root, "a/b/gone"), part(&root, "a/kept"));
    for part in [&gone, &kept] {
        assert_eq!(rig.write(piece(part, b"x", 0)), Ok(()));
    }
    let discard = |part: &PartRef| Batch {
        discard: vec![part.clone()],
        ..Batch::default()
    };
    assert_eq!(rig.commit(discard(&gone)), Ok(()));
    assert!(!root.join("a/b").exists() && root.join("a/kept.part").exists());
    assert_eq!(rig.commit(discard(&gone)), Ok(()));
    assert_eq!(rig.commit(discard(&kept)), Ok(()));
    assert_eq!(fs::read_dir(&root).expect("folder").count(), 0);
}

#[test]
fn a_piece_after_a_discard_stays_and_one_before_goes() {
    let (_dir, root, rig) = places();
    let part = part(&root, "x");
    for round in 0..50 {
        rig.disk.write(WriteId(round), piece(&part, b"first", 0));
        rig.disk.commit(
            CommitId(round),
            Batch {
                discard: vec![part.clone()],
                ..Batch::default()
            },
        );
        rig.disk
            .write(WriteId(round + 1000), piece(&part, b"2nd", 0));
        for _ in 0..3 {
            match rig.next() {
                DiskEvent::Written(_, result) => assert_eq!(result, Ok(())),
                DiskEvent::Committed(_, result) => assert_eq!(result, Ok(())),
                DiskEvent::Loaded(..) => panic!("nothing is loaded"),
            }
        }
        assert_eq!(fs::read(root.join("x.part")).expect("part"), b"2nd");
    }
}

#[test]
fn what_is_discarded_last_is_gone() {
    let (_dir, root, rig) = places();
    let part = part(&root, "x");
    let discard = || Batch {
        discard: vec![part.clone()],
        ..Batch::default()
    };
    for round in 0..50 {
        rig.disk.commit(CommitId(2 * round), discard());
        rig.disk.write(WriteId(round), piece(&part, b"between", 0));
        rig.disk.commit(CommitId(2 * round + 1), discard());
        for _ in 0..3 {
            rig.next();
        }
        assert_eq!(fs::read_dir(&root).expect("folder").count(), 0);
    }
}

#[test]
fn a_full_have_map_spares_hashing_what_was_moved() {
    let (_dir, root, rig) = places();
    let (part, data) = (part(&root, "x"), bytes(2 * CHUNK));
    let mut all = none_verified(&data);
    assert!(all.set(0) && all.set(1));
    // Another content of the size: it shows whether it was hashed.
    file(&root, "x", &vec![1; data.len()]);
    assert!(matches!(
        resume_with(&rig, &part, &data, all.clone()),
        Ok(Resumed::Complete(_))
    ));
    assert_eq!(resume(&rig, &part, &data), Ok(Resumed::Occupied));
    file(&root, "x.part", &data);
    assert_eq!(resume_with(&rig, &part, &data, all), Ok(Resumed::Occupied));
}
