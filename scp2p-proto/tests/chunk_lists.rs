//! Downloads from deployed peers: a chunk list is believed only once the whole content was hashed.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::id::{ContentId, DownloadId, ShareId};
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::DownloadState;

const FILE: &str = "/files/f";
const GOT: &str = "/got/files/f";
const SIZE: usize = 3 * CHUNK_LEN as usize + 5;

fn truth() -> Vec<u8> {
    (0..SIZE).map(|place| (place % 251) as u8).collect()
}

/// The truth but for one byte of its second chunk.
fn lie() -> Vec<u8> {
    let mut bytes = truth();
    bytes[CHUNK_LEN as usize + 9] ^= 1;
    bytes
}

fn content() -> ContentId {
    ContentId(*blake3::hash(&truth()).as_bytes())
}

struct Scene {
    world: World,
    publisher: usize,
    subscriber: usize,
    deployed: Vec<usize>,
    share: ShareId,
}

/// Deployed peers, and a subscriber of a catalog whose publisher is gone. The catalog means the
/// chunk list of `listed`.
fn scene(listed: &[u8], serves: &[&[u8]]) -> Scene {
    let mut world = World::new();
    let deployed: Vec<usize> = serves
        .iter()
        .map(|bytes| {
            let number = world.add_deployed();
            let peer = world.deployed(number);
            peer.contents.insert(content(), bytes.to_vec());
            number
        })
        .collect();
    let publisher = world.add(&[]);
    let disk = &mut world.hosts[publisher].disk;
    disk.put(FILE, truth());
    disk.lie = Some((FILE.into(), listed.to_vec()));
    let publish = Publish::new("share", vec![LocalPath("/files".into())]);
    let Ok(Reply::Published { link, share, .. }) = world.run(publisher, Command::Publish(publish))
    else {
        panic!("not published")
    };
    let bootstrap: Vec<usize> = deployed.iter().copied().chain([publisher]).collect();
    let subscriber = world.add(&bootstrap);
    world
        .run(subscriber, Command::Subscribe(link))
        .expect("subscribed");
    world.until("the catalog", |world| {
        world.node(subscriber).subscriptions()[0].seq == 1
    });
    world.kill(publisher);
    Scene {
        world,
        publisher,
        subscriber,
        deployed,
        share,
    }
}

impl Scene {
    fn get(&mut self) -> DownloadId {
        let get = Get {
            what: GetWhat::Share {
                share: self.share,
                path: None,
            },
            root: LocalPath("/got".into()),
        };
        match self.world.run(self.subscriber, Command::Get(get)) {
            Ok(Reply::Started { download, .. }) => download,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self) -> DownloadState {
        self.world.node(self.subscriber).downloads()[0].state
    }

    fn got(&self) -> Option<&[u8]> {
        self.world.hosts[self.subscriber].disk.file(GOT)
    }

    fn finish(&mut self) {
        let subscriber = self.subscriber;
        self.world.until("the download", |world| {
            world.node(subscriber).downloads()[0].state == DownloadState::Finished
        });
        assert_eq!(self.got(), Some(&truth()[..]));
    }

    fn score(&self, number: usize) -> i32 {
        let key = self.world.key(number);
        let peers = self.world.node(self.subscriber).peers();
        let peer = peers.iter().find(|peer| peer.key == key);
        peer.expect("in the book").score
    }
}

#[test]
fn an_honest_deployed_peer_is_enough() {
    let mut scene = scene(&truth(), &[&truth()]);
    scene.get();
    scene.finish();
    assert!(scene.score(scene.deployed[0]) > 0);
}

#[test]
fn a_false_list_with_matching_chunks_never_makes_a_file() {
    let mut scene = scene(&lie(), &[&lie()]);
    scene.get();
    for _ in 0..60 {
        scene.world.pass(Duration::from_secs(5));
        assert_eq!(scene.got(), None);
        assert_eq!(scene.state(), DownloadState::Running);
        assert_eq!(scene.world.node(scene.subscriber).status().sources, 0);
    }
    let liar = scene.deployed[0];
    assert!(scene.score(liar) < 0, "its list was found out");
    let liar = scene.world.deployed(liar);
    assert_eq!((liar.lists, liar.chunks), (1, 4), "it is asked once");
}

#[test]
fn after_a_false_list_an_honest_deployed_peer_completes_the_file() {
    let mut scene = scene(&lie(), &[&lie(), &truth()]);
    scene.get();
    scene.finish();
    assert!(scene.score(scene.deployed[1]) >= 0, "it did nothing wrong");
    assert!(scene.score(scene.deployed[0]) <= 0);
}

#[test]
fn a_liar_that_falls_silent_does_not_hold_up_an_honest_peer() {
    for honest in 0..2 {
        let serves = [&lie()[..], &lie()[..]];
        let mut scene = scene(&[], &serves);
        let (honest, liar) = (scene.deployed[honest], scene.deployed[1 - honest]);
        let peer = scene.world.deployed(honest);
        peer.contents.insert(content(), truth());
        scene.world.deployed(liar).gives_chunks = false;
        scene.get();
        scene.finish();
        assert!(scene.score(honest) >= 0);
    }
}

#[test]
fn after_a_false_list_a_node_of_ours_completes_the_file() {
    let mut scene = scene(&lie(), &[&lie()]);
    scene.get();
    let liar = scene.deployed[0];
    scene.world.until("the lie", |world| {
        world.hosts[liar].deployed.as_ref().expect("there").chunks == 4
    });
    scene.world.start(scene.publisher);
    scene.finish();
    assert!(scene.score(scene.publisher) > 0);
}

#[test]
fn a_node_of_ours_is_not_measured_by_a_false_list() {
    let mut scene = scene(&lie(), &[&lie()]);
    let liar = scene.deployed[0];
    scene.world.deployed(liar).gives_chunks = false;
    scene.get();
    scene.world.until("the list", |world| {
        world.hosts[liar].deployed.as_ref().expect("there").lists == 1
    });
    scene.world.start(scene.publisher);
    scene.finish();
    assert!(scene.score(scene.publisher) > 0);
}

#[test]
fn a_lost_finish_of_a_lie_is_found_out_after_a_restart() {
    let mut scene = scene(&lie(), &[&lie()]);
    scene.get();
    let liar = scene.deployed[0];
    scene.world.until("most of it", |world| {
        world.hosts[liar].deployed.as_ref().expect("there").chunks == 4
    });
    scene.world.kill(scene.subscriber);
    scene.world.start(scene.subscriber);
    scene.world.pass(Duration::from_secs(120));
    assert_eq!(scene.got(), None);
    scene.world.start(scene.publisher);
    scene.finish();
}
