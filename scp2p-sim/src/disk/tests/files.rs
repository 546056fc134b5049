//! Files that are served, hashed, listed and downloaded.

use proptest::prelude::*;
use scp2p_proto::content::{Bitmap, OutboardBuilder};
use scp2p_proto::storage::{
    FileRef, Load, Loaded, OutboardKind, Resumed, StoreError, WriteError, outboard_key,
};

use super::*;

fn hash(disk: &mut Disk, chunks: &mut Chunks, path: &str) -> Result<FileRef, StoreError> {
    match disk.load(Load::Hash(vec![LocalPath(path.into())]), chunks) {
        Ok(Loaded::Hash(mut files)) => files.remove(0).map(|hashed| hashed.file),
        other => panic!("{other:?}"),
    }
}

fn read(disk: &mut Disk, file: &FileRef, offset: u64, len: u32) -> Result<Bytes, StoreError> {
    let file = file.clone();
    let loaded = disk.load(Load::Piece { file, offset, len }, &mut Chunks::default())?;
    let Loaded::Piece(bytes) = loaded else {
        panic!("{loaded:?}");
    };
    Ok(bytes)
}

fn scan(disk: &mut Disk, roots: &[&str], files_max: u32) -> Result<Vec<String>, StoreError> {
    let roots = roots.iter().map(|root| LocalPath((*root).into())).collect();
    let loaded = disk.load(Load::Scan { roots, files_max }, &mut Chunks::default())?;
    let Loaded::Scan(files) = loaded else {
        panic!("{loaded:?}");
    };
    Ok(files.into_iter().map(|file| file.rel).collect())
}

fn resume(
    disk: &mut Disk,
    chunks: &mut Chunks,
    bytes: &[u8],
    kind: OutboardKind,
    verified: &[u32],
) -> Resumed {
    let size = bytes.len() as u64;
    let mut bitmap = Bitmap::new(bytes.len().div_ceil(CHUNK) as u32);
    for index in verified {
        bitmap.set(*index);
    }
    let load = Load::Resume {
        part: part("x"),
        content: id(bytes),
        size,
        kind,
        verified: bitmap,
    };
    match disk.load(load, chunks) {
        Ok(Loaded::Resume(found)) => found,
        other => panic!("{other:?}"),
    }
}

fn of(count: u32, right: &[u32]) -> Resumed {
    let mut bitmap = Bitmap::new(count);
    for index in right {
        bitmap.set(*index);
    }
    Resumed::Partial(bitmap)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // A file has the bytes that were put and edited, the hashes that they have, and pages that say so.
    #[test]
    fn files_hash_to_what_they_are(
        len in 0..4 * CHUNK, cut in 1..3 * CHUNK, edit in 0..4 * CHUNK, offset: u64, take: u32,
    ) {
        let (mut disk, mut chunks) = (disk(), Chunks::default());
        let mut bytes = content(len, 3);
        disk.put("/f", bytes.chunks(cut).map(Bytes::copy_from_slice), &mut chunks);
        let before = hash(&mut disk, &mut chunks, "/f").expect("there");
        let edit = edit.min(len);
        bytes.resize(len.max(edit + 6), 0);
        bytes[edit..edit + 6].copy_from_slice(b"edited");
        prop_assert!(disk.edit("/f", edit as u64, b"edited", &mut chunks));
        prop_assert_eq!(disk.file("/f").expect("there").concat(), &bytes[..]);
        prop_assert!(disk.is_finished_right("/f", &id(&bytes), &mut chunks));
        let file = hash(&mut disk, &mut chunks, "/f").expect("there");
        prop_assert_eq!(read(&mut disk, &before, 0, 0), Err(StoreError::Changed(before.path.clone())));

        let mut builder = OutboardBuilder::new();
        let pieces: Vec<&[u8]> = bytes.chunks(CHUNK).collect();
        for (index, chunk) in pieces.iter().enumerate() {
            builder.push(subtree_of(chunk, (index * CHUNK) as u64).expect("a chunk"));
        }
        let alone: Vec<u8> = pieces.iter().flat_map(|chunk| *blake3::hash(chunk).as_bytes()).collect();
        let page = |kind| disk.row(Table::Outboard, &outboard_key(&id(&bytes), kind, 0)).map(|row| row.to_vec());
        let expected = (pieces.len() > 1).then(|| (builder.finish().expect("chunks").last_page, alone));
        prop_assert_eq!(page(OutboardKind::Subtrees).zip(page(OutboardKind::Chunks)), expected);

        let offset = offset % file.size;
        let len = take % CHUNK_LEN.min((file.size - offset) as u32) + 1;
        let len = len.min((file.size - offset) as u32);
        let found = read(&mut disk, &file, offset, len);
        prop_assert_eq!(found.as_deref(), Ok(&bytes[offset as usize..][..len as usize]));
    }

    // The pool finds the same pieces right as their proofs do.
    #[test]
    fn a_piece_is_right_or_not(known: bool, index in 0u8..3, at in 0u8..3, wrong: bool, alone: bool) {
        let mut chunks = Chunks::default();
        let mut write = piece(&part("x"), &content(3 * CHUNK, 9), usize::from(index));
        if known {
            chunks.intern(&write.data);
            chunks.right(&write);
        }
        write.offset = u64::from(at) * u64::from(CHUNK_LEN);
        if alone {
            write.proof = Proof::Hash(blake3::hash(&write.data).into());
        }
        if wrong {
            write.data = Bytes::from_static(b"wrong");
        }
        prop_assert_eq!(chunks.right(&write).is_some(), write.is_right());
    }
}

#[test]
fn a_file_of_many_downloaders_is_held_once() {
    let mut chunks = Chunks::default();
    let bytes = content(3 * CHUNK, 1);
    let mut disks: Vec<Disk> = (0..4).map(|_| disk()).collect();
    for disk in &mut disks {
        write_all(disk, &mut chunks, &part("x"), &bytes);
    }
    disks[0].put("/own", [Bytes::from(bytes)], &mut chunks);
    let first = |disk: &Disk, path| disk.file(path).expect("there")[0].as_ptr();
    assert_eq!(first(&disks[0], "/own"), first(&disks[3], "/dl/x.part"));
    assert_eq!(chunks.len(), 3);
    disks.iter_mut().for_each(Disk::wipe);
    chunks.sweep();
    assert!(chunks.is_empty());
}

#[test]
fn folders_are_listed_in_order() {
    let mut disk = disk();
    for path in ["/s/top/z", "/s/top/b/c.part", "/s/top/a", "/s/topless"] {
        disk.put(path, [], &mut Chunks::default());
    }
    let all = ["top/a", "top/b/c.part", "top/z"].map(String::from);
    assert_eq!(scan(&mut disk, &["/s/top/"], 3), Ok(all.to_vec()));
    assert_eq!(scan(&mut disk, &["/s/top"], 2), Err(StoreError::TooMany(2)));
    let twice = scan(&mut disk, &["/s/top/a", "/s/top/a"], 9);
    assert_eq!(twice, Ok(vec!["a".into()]));
    let gone = LocalPath("/s/gone".into());
    assert_eq!(
        scan(&mut disk, &["/s/gone"], 9),
        Err(StoreError::NotFound(gone))
    );
    let folder = hash(&mut disk, &mut Chunks::default(), "/s/top");
    assert!(matches!(folder, Err(StoreError::Unsuitable(_))));
}

#[test]
fn a_download_is_resumed_with_what_is_right() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let bytes = content(4 * CHUNK - 9, 5);
    disk.put("/source", [Bytes::from(bytes.clone())], &mut chunks);
    hash(&mut disk, &mut chunks, "/source").expect("there");
    let kinds = [OutboardKind::Subtrees, OutboardKind::Chunks];
    for kind in kinds {
        assert_eq!(
            resume(&mut disk, &mut chunks, &bytes, kind, &[0]),
            Resumed::Fresh
        );
    }
    for index in [0, 2, 3] {
        disk.write(piece(&part("x"), &bytes, index), &mut chunks)
            .expect("right");
    }
    disk.edit("/dl/x.part", 5, b"damage", &mut chunks);
    for kind in kinds {
        assert_eq!(
            resume(&mut disk, &mut chunks, &bytes, kind, &[]),
            of(4, &[2, 3])
        );
        // What is said to be verified is not read again.
        assert_eq!(
            resume(&mut disk, &mut chunks, &bytes, kind, &[0]),
            of(4, &[0, 2, 3])
        );
    }
    let claimed = OutboardKind::Claimed;
    assert_eq!(
        resume(&mut disk, &mut chunks, &bytes, claimed, &[]),
        Resumed::Fresh
    );
    let page = outboard_key(&id(&bytes), claimed, 0);
    let hashes = [
        [0; 32],
        [0; 32],
        blake3::hash(&bytes[2 * CHUNK..3 * CHUNK]).into(),
    ];
    let row = RowOp::Put(Table::Outboard, page, hashes.as_flattened().to_vec().into());
    disk.commit(rows(vec![row]), &mut chunks)
        .expect("committed");
    assert_eq!(
        resume(&mut disk, &mut chunks, &bytes, claimed, &[]),
        of(4, &[2])
    );
}

#[test]
fn the_final_name_is_complete_or_occupied() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let bytes = content(2 * CHUNK, 5);
    write_all(&mut disk, &mut chunks, &part("x"), &bytes);
    assert_eq!(disk.parts().collect::<Vec<_>>(), ["/dl/x.part"]);
    disk.commit(finish(&part("x")), &mut chunks)
        .expect("complete");
    // Again: it has happened.
    disk.commit(finish(&part("x")), &mut chunks).expect("moved");
    assert_eq!(disk.paths().collect::<Vec<_>>(), ["/dl/x"]);
    let kind = OutboardKind::Subtrees;
    let found = resume(&mut disk, &mut chunks, &bytes, kind, &[]);
    let Resumed::Complete(file) = found else {
        panic!("{found:?}");
    };
    assert_eq!(read(&mut disk, &file, 1, 2).as_deref(), Ok(&bytes[1..3]));
    disk.edit("/dl/x", 9, b"!", &mut chunks);
    let mut any_time = file.clone();
    any_time.mtime_ns = FileRef::MTIME_UNKNOWN;
    assert_eq!(read(&mut disk, &any_time, 9, 1).as_deref(), Ok(&b"!"[..]));
    assert_eq!(
        resume(&mut disk, &mut chunks, &bytes, kind, &[0]),
        Resumed::Occupied
    );
    // All was verified and the part is gone: nothing is read again.
    let found = resume(&mut disk, &mut chunks, &bytes, kind, &[0, 1]);
    assert!(matches!(found, Resumed::Complete(_)));
    let found = resume(
        &mut disk,
        &mut chunks,
        &bytes,
        OutboardKind::Claimed,
        &[0, 1],
    );
    assert_eq!(found, Resumed::Occupied);
    disk.put("/dl/x", [Bytes::from_static(b"other")], &mut chunks);
    assert_eq!(
        resume(&mut disk, &mut chunks, &bytes, kind, &[]),
        Resumed::Occupied
    );
    write_all(&mut disk, &mut chunks, &part("x"), &bytes);
    let refused = disk.commit(finish(&part("x")), &mut chunks);
    assert_eq!(refused, Err(StoreError::Obstructed(part("x").rel)));
}

#[test]
fn downloads_stay_within_their_folder() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let bytes = content(9, 5);
    disk.put("/dl/a", [], &mut chunks);
    disk.put("/dl/b.part/c", [], &mut chunks);
    for rel in ["a/x", "b"] {
        let refused = disk.write(piece(&part(rel), &bytes, 0), &mut chunks);
        let obstructed = StoreError::Obstructed(part(rel).rel);
        assert_eq!(refused, Err(WriteError::Store(obstructed)));
    }
    let mut beside = piece(&part("x"), &bytes, 0);
    beside.size = 8;
    assert!(disk.write(beside, &mut chunks).is_err());
    let mut wrong = piece(&part("x"), &bytes, 0);
    wrong.data = Bytes::from_static(b"otherwise");
    assert_eq!(disk.write(wrong, &mut chunks), Err(WriteError::WrongBytes));
    assert_eq!(disk.file("/dl/x.part"), None);
}

#[test]
fn a_finished_file_is_cut_and_an_empty_one_made() {
    let (mut disk, mut chunks) = (disk(), Chunks::default());
    let (long, short) = (content(3 * CHUNK, 5), content(CHUNK + 7, 5));
    write_all(&mut disk, &mut chunks, &part("x"), &long);
    write_all(&mut disk, &mut chunks, &part("x"), &short);
    disk.commit(finish(&part("x")), &mut chunks)
        .expect("complete");
    assert!(disk.is_finished_right("/dl/x", &id(&short), &mut chunks));
    disk.write(piece(&part("y"), &long, 0), &mut chunks)
        .expect("right");
    let cut = disk.commit(finish(&part("y")), &mut chunks);
    assert_eq!(cut, Err(StoreError::Changed(LocalPath("/dl/y".into()))));
    let load = Load::Resume {
        part: part("z"),
        content: id(b""),
        size: 0,
        kind: OutboardKind::Subtrees,
        verified: Bitmap::new(0),
    };
    let fresh = Ok(Loaded::Resume(Resumed::Fresh));
    assert_eq!(disk.load(load.clone(), &mut chunks), fresh);
    disk.commit(finish(&part("z")), &mut chunks).expect("empty");
    let found = disk.load(load, &mut chunks);
    assert!(matches!(found, Ok(Loaded::Resume(Resumed::Complete(_)))));
}
