//! Serving: fair among sessions, in the reader's pace, from whichever copy is right.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Publish};
use scp2p_proto::event::Event;
use scp2p_proto::id::ContentId;
use scp2p_proto::limits::{CHUNK_LEN, UPLOAD_HASHINGS_LINK_MAX, UPLOAD_HASHINGS_MAX};
use scp2p_proto::storage::{LocalPath, OutboardKind, Table, outboard_key};
use scp2p_proto::wire::{Answer, Request};

const GIB: u64 = 1 << 30;
const SIZE: usize = 2 * CHUNK_LEN as usize + 5;

fn bytes(salt: u8) -> Vec<u8> {
    (0..SIZE).map(|place| (place % 251) as u8 ^ salt).collect()
}

fn id(bytes: &[u8]) -> ContentId {
    ContentId(*blake3::hash(bytes).as_bytes())
}

/// Peers that ask, and a node that is connected to them.
fn scene(askers: usize) -> (World, usize, Vec<usize>) {
    let mut world = World::new();
    let askers: Vec<usize> = (0..askers).map(|_| world.add_deployed()).collect();
    let node = world.add(&askers);
    for asker in &askers {
        world.until("a session", |world| {
            let deployed = world.hosts[*asker].deployed.as_ref();
            deployed.is_some_and(|peer| peer.sessions() > 0)
        });
    }
    (world, node, askers)
}

fn publish(world: &mut World, node: usize, name: &str, folder: &str) {
    let publish = Publish::new(name, vec![LocalPath(folder.into())]);
    world
        .run(node, Command::Publish(publish))
        .expect("published");
}

fn answers(world: &mut World, asker: usize, count: usize) -> Vec<Result<Answer, String>> {
    world.until("the answers", |world| {
        let deployed = world.hosts[asker].deployed.as_ref();
        deployed.is_some_and(|peer| peer.answers.len() >= count)
    });
    let answers = std::mem::take(&mut world.deployed(asker).answers);
    answers.into_values().collect()
}

fn page(content: ContentId, level: u8, page: u32) -> Request {
    Request::GetSubtrees {
        content,
        level,
        page,
    }
}

#[test]
fn who_asks_for_many_pages_and_reads_slowly_gets_them_all() {
    let (mut world, node, askers) = scene(2);
    let disk = &mut world.hosts[node].disk;
    disk.put("/files/huge", []);
    disk.huge.insert("/files/huge".into(), GIB);
    publish(&mut world, node, "share", "/files");
    let content = id(b"/files/huge");
    world.deployed(askers[0]).reads = false;
    for request in [page(content, 0, 0), Request::GetChunkHashes(content)] {
        let asked = world.deployed(askers[0]).answers.len();
        world.ask(askers[0], &vec![request; 100]);
        world.pass(Duration::from_secs(10));
        let slow = world.deployed(askers[0]);
        assert_eq!(slow.sessions(), 1, "it did nothing wrong");
        assert!(slow.answers.len() < asked + 30, "the rest waits");
        world.ask(askers[1], &[page(content, 0, 0)]);
        let other = answers(&mut world, askers[1], 1);
        assert!(other[0].is_ok(), "nobody is held up by the other");
    }
    world.read(askers[0]);
    let got = answers(&mut world, askers[0], 200);
    assert!(got.iter().all(Result::is_ok));
}

#[test]
fn few_contents_are_hashed_at_a_time_and_one_peer_cannot_have_them_all_hashed() {
    let (mut world, node, askers) = scene(2);
    let disk = &mut world.hosts[node].disk;
    for salt in 0..30 {
        disk.put(&format!("/files/{salt}"), bytes(salt));
    }
    publish(&mut world, node, "share", "/files");
    let contents: Vec<ContentId> = (0..30).map(|salt| id(&bytes(salt))).collect();
    for content in &contents {
        let key = outboard_key(content, OutboardKind::Chunks, 0);
        world.hosts[node].disk.set_row(Table::Outboard, key, None);
    }
    world.hosts[node].hashing_most = 0;
    let lists: Vec<Request> = contents
        .iter()
        .copied()
        .map(Request::GetChunkHashes)
        .collect();
    world.ask(askers[0], &lists[..29]);
    world.pass(Duration::from_millis(5));
    world.ask(askers[1], &lists[29..]);
    let greedy = answers(&mut world, askers[0], 29);
    let given = greedy.iter().filter(|answer| answer.is_ok()).count();
    assert!(
        (UPLOAD_HASHINGS_LINK_MAX..=UPLOAD_HASHINGS_LINK_MAX + UPLOAD_HASHINGS_MAX)
            .contains(&given)
    );
    for refused in greedy.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(refused.contains("rate limit"), "{refused}");
    }
    let other = answers(&mut world, askers[1], 1);
    let Ok(Answer::ChunkHashes(list)) = &other[0] else {
        panic!("{other:?}")
    };
    assert_eq!(list.hashes.len(), 3 * 32);
    assert_eq!(world.hosts[node].hashing_most, UPLOAD_HASHINGS_MAX);
}

#[test]
fn a_chunk_comes_from_another_copy_when_one_was_changed() {
    let (mut world, node, askers) = scene(1);
    for folder in ["/one", "/two"] {
        world.hosts[node].disk.put(&format!("{folder}/f"), bytes(0));
        publish(&mut world, node, &folder[1..], folder);
    }
    let content = id(&bytes(0));
    for changed in ["/one/f", "/two/f"] {
        world.hosts[node].disk.put(changed, bytes(9));
        world.ask(askers[0], &[Request::GetChunk { content, index: 1 }]);
        let got = answers(&mut world, askers[0], 1);
        if changed == "/one/f" {
            assert!(
                matches!(&got[0], Ok(Answer::Chunk { index: 1, .. })),
                "{got:?}"
            );
        } else {
            let error = got[0].as_ref().expect_err("no copy is left");
            assert!(error.contains("chunk not found"), "{error}");
        }
        world.until("the user is told", |world| {
            world.saw(
                node,
                |event| matches!(event, Event::FileChanged { path } if path.0 == changed),
            )
        });
    }
}

#[test]
fn hashes_are_worked_out_from_another_copy_when_one_was_changed() {
    let (mut world, node, askers) = scene(1);
    for folder in ["/one", "/two"] {
        world.hosts[node].disk.put(&format!("{folder}/f"), bytes(0));
        publish(&mut world, node, &folder[1..], folder);
    }
    let content = id(&bytes(0));
    world.hosts[node].disk.put("/one/f", bytes(9));
    let key = outboard_key(&content, OutboardKind::Chunks, 0);
    world.hosts[node].disk.set_row(Table::Outboard, key, None);
    world.ask(askers[0], &[Request::GetChunkHashes(content)]);
    let got = answers(&mut world, askers[0], 1);
    assert!(
        matches!(&got[0], Ok(Answer::ChunkHashes(list)) if list.hashes.len() == 96),
        "{got:?}"
    );
}

#[test]
fn a_row_of_a_wrong_length_is_made_anew() {
    let (mut world, node, askers) = scene(1);
    world.hosts[node].disk.put("/files/f", bytes(0));
    publish(&mut world, node, "share", "/files");
    let content = id(&bytes(0));
    for kind in [OutboardKind::Subtrees, OutboardKind::Chunks] {
        let key = outboard_key(&content, kind, 0);
        let short = Some(vec![0; 64].into());
        world.hosts[node].disk.set_row(Table::Outboard, key, short);
        let request = match kind {
            OutboardKind::Subtrees => page(content, 0, 0),
            OutboardKind::Chunks | OutboardKind::Claimed => Request::GetChunkHashes(content),
        };
        world.ask(askers[0], &[request]);
        let got = answers(&mut world, askers[0], 1);
        let hashes = match &got[0] {
            Ok(Answer::Subtrees(page)) => &page.hashes,
            Ok(Answer::ChunkHashes(list)) => &list.hashes,
            other => panic!("{other:?}"),
        };
        assert_eq!(hashes.len(), 96);
    }
}

#[test]
fn level_1_of_a_large_content_is_worked_out_once() {
    let (mut world, node, askers) = scene(1);
    let disk = &mut world.hosts[node].disk;
    disk.put("/files/huge", []);
    disk.huge.insert("/files/huge".into(), 3 * GIB);
    publish(&mut world, node, "share", "/files");
    let content = id(b"/files/huge");
    world.ask(askers[0], &[page(content, 1, 0)]);
    let first = answers(&mut world, askers[0], 1);
    assert!(matches!(&first[0], Ok(Answer::Subtrees(page)) if page.hashes.len() == 96));
    let before = world.hosts[node].disk.row_loads;
    world.ask(askers[0], &vec![page(content, 1, 0); 20]);
    for again in answers(&mut world, askers[0], 20) {
        assert_eq!(again, first[0]);
    }
    assert!(world.hosts[node].disk.row_loads < before + 3);
}
