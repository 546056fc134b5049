//! Downloads through tunnels of deployed peers, which relays read and nobody need believe.

mod common;

use std::time::Duration;

use common::deployed::relay::Relaying;
use common::{World, ip};
use scp2p_proto::command::{Command, Get, GetWhat, Publish, Reply};
use scp2p_proto::config::{Config, RelayLimits};
use scp2p_proto::id::{ContentId, LinkId, RelaySlotId, ShareId};
use scp2p_proto::io::Transport;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::record::{Providers, providers_key};
use scp2p_proto::storage::LocalPath;
use scp2p_proto::time::UnixTime;
use scp2p_proto::view::{DownloadState, Tunnel};
use scp2p_proto::wire::{Answer, PeerAddr, RelayRegister, RelayRoute, Request, StoreRecord};

const SIZE: usize = 6 * CHUNK_LEN as usize + 5;

fn truth() -> Vec<u8> {
    (0..SIZE).map(|place| (place % 251) as u8).collect()
}

fn content() -> ContentId {
    ContentId(*blake3::hash(&truth()).as_bytes())
}

fn addr(world: &World, number: usize) -> PeerAddr {
    PeerAddr {
        ip: ip(number),
        port: 7000,
        transport: Transport::Quic,
        key: Some(world.key(number)),
        relay_via: None,
    }
}

/// A subscriber whose publisher is gone, and a deployed owner of the content that nobody can dial, behind a relay. A
/// deployed peer has a provider list that names it.
struct Scene {
    world: World,
    hub: usize,
    relay: usize,
    owner: usize,
    tunnel: LinkId,
    subscriber: usize,
    share: ShareId,
}

fn register(world: &mut World, owner: usize, tunnel: LinkId) -> RelaySlotId {
    let register = Request::RelayRegister(RelayRegister {
        slot: None,
        tunnel: true,
    });
    match &world.asked_on(owner, tunnel, &[register])[0] {
        Ok(Answer::RelayRegistered(registered)) => registered.slot,
        other => panic!("{other:?}"),
    }
}

fn scene(relay_is_ours: bool, key_is_told: bool, change: impl FnOnce(&mut Config)) -> Scene {
    let mut world = World::new();
    let (hub, owner) = (world.add_deployed(), world.add_deployed());
    world.hosts[owner].walled = true;
    world.deployed(owner).contents.insert(content(), truth());
    let relay = if relay_is_ours {
        world.add_with(&[], |config| {
            config.relay = Some(RelayLimits {
                content: true,
                ..RelayLimits::default()
            });
            config.capabilities.relay = true;
        })
    } else {
        let relay = world.add_deployed();
        world.deployed(relay).relaying = Some(Relaying::default());
        relay
    };
    let tunnel = world.session_from(owner, relay);
    let slot = register(&mut world, owner, tunnel);
    let publisher = world.add(&[]);
    world.hosts[publisher].disk.put("/files/f", truth());
    let publish = Publish::new("share", vec![LocalPath("/files".into())]);
    let Ok(Reply::Published { link, share, .. }) = world.run(publisher, Command::Publish(publish))
    else {
        panic!("not published")
    };
    let subscriber = world.add_with(&[hub, publisher], change);
    world
        .run(subscriber, Command::Subscribe(link))
        .expect("subscribed");
    world.until("the catalog", |world| {
        world.node(subscriber).subscriptions()[0].seq == 1
    });
    world.kill(publisher);
    let mut scene = Scene {
        world,
        hub,
        relay,
        owner,
        tunnel,
        subscriber,
        share,
    };
    scene.name_provider(slot, key_is_told);
    scene
}

impl Scene {
    /// The hub has the owner in its provider list.
    fn name_provider(&mut self, slot: RelaySlotId, key_is_told: bool) {
        let mut relay = addr(&self.world, self.relay);
        relay.key = relay.key.filter(|_| key_is_told);
        let provider = PeerAddr {
            relay_via: Some(Box::new(RelayRoute { relay, slot })),
            ..addr(&self.world, self.owner)
        };
        let providers = Providers {
            content: content(),
            providers: vec![provider],
            updated_at: UnixTime(1),
        };
        let record = StoreRecord {
            key: providers_key(&content()),
            value: providers.encode().into(),
            ttl_secs: 3600,
            signer: None,
        };
        let values = &mut self.world.deployed(self.hub).values;
        let values = values.get_or_insert_default();
        values.insert(record.key, record);
    }

    fn get(&mut self) {
        let get = Get {
            what: GetWhat::Share {
                share: self.share,
                path: None,
            },
            root: LocalPath("/got".into()),
        };
        let started = self.world.run(self.subscriber, Command::Get(get));
        started.expect("started");
    }

    fn is_finished(&self) -> bool {
        let downloads = self.world.node(self.subscriber).downloads();
        downloads[0].state == DownloadState::Finished
    }

    fn finish(&mut self) {
        let subscriber = self.subscriber;
        self.world.until("the download", |world| {
            world.node(subscriber).downloads()[0].state == DownloadState::Finished
        });
        let got = self.world.hosts[subscriber].disk.file("/got/files/f");
        assert!(got == Some(&truth()[..]));
    }

    /// The download names who gave as somebody behind a relay that reads.
    fn is_marked(&self) {
        let downloads = self.world.node(self.subscriber).downloads();
        let gave = downloads[0].peers.iter().filter(|peer| peer.bytes > 0);
        let marks: Vec<bool> = gave.map(|peer| peer.tunnel).collect();
        assert_eq!(marks, [true], "{downloads:?}");
    }

    fn relaying(&mut self) -> &mut Relaying {
        let relay = self.world.deployed(self.relay);
        relay.relaying.as_mut().expect("a relay")
    }
}

#[test]
fn a_node_downloads_from_a_deployed_owner_behind_a_relay_of_either_kind() {
    for (relay_is_ours, key_is_told) in [(false, true), (false, false), (true, true)] {
        let mut scene = scene(relay_is_ours, key_is_told, |_| {});
        scene.get();
        let (subscriber, relay) = (scene.subscriber, scene.world.key(scene.relay));
        scene.world.until("a tunnel", |world| {
            let peers = world.node(subscriber).peers();
            let sessions = peers.iter().filter_map(|peer| peer.session.as_ref());
            let mut tunnels = sessions.filter(|it| it.tunnel == Some(Tunnel::Requester));
            tunnels.any(|it| it.via == Some(relay) && !it.bound)
        });
        scene.finish();
        let owner = scene.world.key(scene.owner);
        let peers = scene.world.node(subscriber).peers();
        let is_known = peers.iter().any(|peer| peer.key == owner);
        assert!(!is_known, "nobody proved to be the owner");
        scene.is_marked();
        scene.world.kill(subscriber);
        scene.world.start(subscriber);
        scene.is_marked();
        if !relay_is_ours {
            let relaying = scene.relaying();
            assert_eq!(relaying.waited, 1, "one request at a time");
            assert!(relaying.relayed >= 7);
        }
    }
}

#[test]
fn a_setting_refuses_to_ask_through_relays_that_read() {
    let mut scene = scene(false, true, |config| config.deployed_relays = false);
    scene.get();
    scene.world.pass(Duration::from_secs(60));
    assert!(!scene.is_finished() && scene.relaying().relayed == 0);
}

/// Wrong bytes out of a tunnel are not written, and are held against nobody who proved a key.
#[test]
fn what_a_relay_or_an_owner_makes_up_is_not_believed() {
    let mut scene = scene(false, true, |_| {});
    let mut lie = truth();
    lie[9] ^= 1;
    let owner = scene.world.deployed(scene.owner);
    owner.contents.insert(content(), lie);
    scene.get();
    scene.world.pass(Duration::from_secs(60));
    assert!(!scene.is_finished() && scene.world.deployed(scene.owner).lists > 0);
    let views = scene.world.node(scene.subscriber).peers();
    let relay = scene.world.key(scene.relay);
    let relay = views.iter().find(|view| view.key == relay);
    let relay = relay.expect("the relay");
    assert!(relay.score >= 0 && relay.session.is_some());
}

/// An error of the owner comes within a success, and it is not asked for the file again at once.
#[test]
fn an_owner_without_the_content_is_asked_now_and_then() {
    let mut scene = scene(false, true, |_| {});
    scene.world.deployed(scene.owner).contents.clear();
    scene.get();
    scene.world.pass(Duration::from_secs(10));
    let asked = scene.world.deployed(scene.owner).answered;
    assert!((1..4).contains(&asked), "{asked}");
}

/// The end of an owner ends the tunnel; a new slot is found in the provider list.
#[test]
fn an_owner_that_dies_and_comes_back_with_another_slot_is_asked_again() {
    let mut scene = scene(false, true, |_| {});
    let (owner, relay) = (scene.owner, scene.relay);
    scene.get();
    scene.world.until("some chunks", |world| {
        let owner = world.hosts[owner].deployed.as_ref();
        owner.is_some_and(|it| it.chunks >= 2)
    });
    scene.world.hang_up(owner, scene.tunnel);
    scene.world.pass(Duration::from_secs(20));
    assert!(!scene.is_finished());
    let tunnel = scene.world.session_from(owner, relay);
    let slot = register(&mut scene.world, owner, tunnel);
    scene.name_provider(slot, true);
    scene.finish();
}

#[test]
fn a_relay_that_refuses_is_left_alone_for_a_while() {
    let mut scene = scene(false, true, |_| {});
    scene.relaying().refuses = Some("relay slot not found".into());
    scene.get();
    scene.world.pass(Duration::from_secs(300));
    let refused = scene.relaying().refused;
    assert!((1..=6).contains(&refused), "{refused}");
}
