use super::*;
use scp2p_proto::content::verify_root_page;
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::storage::{FileRef, HashedFile, OutboardKind, outboard_key};

fn hash(rig: &Rig, paths: &[PathBuf]) -> Vec<Result<HashedFile, StoreError>> {
    match rig.load(Load::Hash(paths.iter().map(|path| local(path)).collect())) {
        Ok(Loaded::Hash(files)) => files,
        other => panic!("not hashes: {other:?}"),
    }
}

#[test]
fn hashes_are_those_of_blake3_and_pages_prove_them() {
    let dir = temp();
    let rig = Rig::open(&dir.path().join("data"));
    let chunk = CHUNK_LEN as usize;
    let sizes = [
        0,
        1,
        1024,
        1025,
        chunk - 1,
        chunk,
        chunk + 1,
        2 * chunk,
        3 << 20,
        (8 << 20) + 1,
        (16 << 20) + chunk,
    ];
    let paths: Vec<PathBuf> = sizes
        .iter()
        .map(|size| file(dir.path(), &size.to_string(), &bytes(*size)))
        .collect();
    let hashed = hash(&rig, &paths);
    assert_eq!(hashed.len(), sizes.len());
    for (size, hashed) in sizes.into_iter().zip(hashed) {
        let (data, hashed) = (bytes(size), hashed.expect("hashed"));
        let alone: Vec<u8> = data
            .chunks(chunk)
            .flat_map(|chunk| *blake3::hash(chunk).as_bytes())
            .collect();
        assert_eq!(hashed.content.0, *blake3::hash(&data).as_bytes(), "{size}");
        assert_eq!(hashed.chunk_count as usize, size.div_ceil(chunk));
        assert_eq!(hashed.chunk_list_hash, *blake3::hash(&alone).as_bytes());
        assert_eq!(hashed.file.size, size as u64);
        let page = |kind| rig.row(Table::Outboard, &outboard_key(&hashed.content, kind, 0));
        if size <= chunk {
            assert_eq!(
                (page(OutboardKind::Chunks), page(OutboardKind::Subtrees)),
                (None, None)
            );
        } else {
            assert_eq!(page(OutboardKind::Chunks), Some(alone.into()));
            let subtrees = page(OutboardKind::Subtrees).expect("page");
            assert_eq!(
                verify_root_page(&hashed.content, size as u64, &subtrees),
                Ok(())
            );
        }
    }
}

#[test]
fn hashes_agree_with_deployed_peers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/content.json");
    let text = std::fs::read_to_string(path).expect("vectors");
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("vectors");
    let cases = vectors["cases"].as_array().expect("cases");
    assert!(cases.len() > 5);
    let dir = temp();
    let rig = Rig::open(&dir.path().join("data"));
    for case in cases.iter().filter(|case| case["content_id"].is_string()) {
        let size = case["size"].as_u64().expect("size");
        let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let hashed = hash(&rig, &[file(dir.path(), "case", &data)])
            .remove(0)
            .expect("hashed");
        assert_eq!(
            Some(&*hashed.content.to_string()),
            case["content_id"].as_str()
        );
        assert_eq!(
            Some(u64::from(hashed.chunk_count)),
            case["chunk_count"].as_u64()
        );
        let list = ContentId(hashed.chunk_list_hash).to_string();
        assert_eq!(Some(&*list), case["chunk_list_hash"].as_str());
    }
}

#[test]
fn more_than_one_page_is_stored_and_proven() {
    let dir = temp();
    let rig = Rig::open(&dir.path().join("data"));
    let path = dir.path().join("sparse");
    let size = (1u64 << 30) + 1;
    std::fs::File::create(&path)
        .and_then(|file| file.set_len(size))
        .expect("sparse file");
    let hashed = hash(&rig, &[path]).remove(0).expect("hashed");
    assert_eq!(hashed.chunk_count, 4097);
    let mut level1 = Vec::new();
    for (page, len) in [(0, 4096 * 32), (1, 32)] {
        let page = |kind| {
            rig.row(Table::Outboard, &outboard_key(&hashed.content, kind, page))
                .expect("page")
        };
        assert_eq!(page(OutboardKind::Chunks).len(), len);
        let subtrees = page(OutboardKind::Subtrees);
        assert_eq!(subtrees.len(), len);
        level1.extend(scp2p_proto::content::page_subtree(&subtrees).expect("whole values"));
    }
    assert_eq!(verify_root_page(&hashed.content, size, &level1), Ok(()));
}

#[test]
fn each_file_has_its_own_result() {
    let dir = temp();
    let rig = Rig::open(&dir.path().join("data"));
    let paths: Vec<PathBuf> = (0..500)
        .map(|at| file(dir.path(), &at.to_string(), &bytes(at)))
        .collect();
    std::fs::remove_file(&paths[7]).expect("remove");
    let folder = dir.path().join("8");
    std::fs::remove_file(&folder)
        .and_then(|()| std::fs::create_dir(&folder))
        .expect("folder");
    for (at, result) in hash(&rig, &paths).into_iter().enumerate() {
        match at {
            7 => assert_eq!(result, Err(StoreError::NotFound(local(&paths[7])))),
            8 => assert_eq!(result, Err(StoreError::Unsuitable(local(&paths[8])))),
            _ => assert_eq!(
                result.expect("hashed").content.0,
                *blake3::hash(&bytes(at)).as_bytes()
            ),
        }
    }
    assert_eq!(hash(&rig, &[]), []);
}

#[test]
fn pieces_come_from_unchanged_files_only() {
    let dir = temp();
    let rig = Rig::open(&dir.path().join("data"));
    let data = bytes(600_000);
    let path = file(dir.path(), "served", &data);
    let served = hash(&rig, std::slice::from_ref(&path))
        .remove(0)
        .expect("hashed")
        .file;
    let piece = |served: &FileRef, offset, len| {
        rig.load(Load::Piece {
            file: served.clone(),
            offset,
            len,
        })
    };
    assert_eq!(
        piece(&served, 262_144, 262_144),
        Ok(Loaded::Piece(data[262_144..524_288].to_vec().into()))
    );
    assert_eq!(
        piece(&served, 599_999, 1),
        Ok(Loaded::Piece(data[599_999..].to_vec().into()))
    );
    let changed = Err(StoreError::Changed(local(&path)));
    assert_eq!(piece(&served, 599_999, 2), changed);
    let touched = FileRef {
        mtime_ns: served.mtime_ns + 1,
        ..served.clone()
    };
    assert_eq!(piece(&touched, 0, 1), changed);
    std::fs::write(&path, &data[1..]).expect("shorter");
    assert_eq!(piece(&served, 0, 1), changed);
    std::fs::remove_file(&path).expect("remove");
    assert_eq!(
        piece(&served, 0, 1),
        Err(StoreError::NotFound(local(&path)))
    );
}
