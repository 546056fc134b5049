//! Nodes of ours that nobody can dial, and that deployed relays have asked.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::deployed::relay::Relaying;
use common::{World, ip};
use scp2p_proto::command::{Command, Publish, Reply};
use scp2p_proto::config::{Config, RelayLimits};
use scp2p_proto::id::{ContentId, LinkId, RelaySlotId};
use scp2p_proto::io::Host;
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::record::{Providers, ShareLink, providers_key};
use scp2p_proto::storage::LocalPath;
use scp2p_proto::view::Tunnel;
use scp2p_proto::wire::{Answer, Envelope, RelayStream, Request};

fn bytes() -> Vec<u8> {
    (0..CHUNK_LEN + 9)
        .map(|place| (place % 251) as u8)
        .collect()
}

fn content() -> ContentId {
    ContentId(*blake3::hash(&bytes()).as_bytes())
}

struct Scene {
    world: World,
    relay: usize,
    owner: usize,
    asker: usize,
    session: LinkId,
}

/// A deployed bootstrap peer that relays, and a node that nobody can dial.
fn scene(change: impl FnOnce(&mut Config)) -> Scene {
    let mut world = World::new();
    let (relay, asker) = (world.add_deployed(), world.add_deployed());
    world.deployed(relay).relaying = Some(Relaying::default());
    world.deployed(relay).values = Some(BTreeMap::new());
    let owner = world.add_with(&[relay], change);
    world.hosts[owner].walled = true;
    let session = world.session_from(asker, relay);
    Scene {
        world,
        relay,
        owner,
        asker,
        session,
    }
}

impl Scene {
    fn relaying(&mut self) -> &mut Relaying {
        let relay = self.world.deployed(self.relay);
        relay.relaying.as_mut().expect("a relay")
    }

    /// The slots that the node says it is reached through.
    fn slots(&self) -> Vec<RelaySlotId> {
        let addresses = self.world.node(self.owner).status().addresses;
        let routes = addresses.into_iter().filter_map(|addr| addr.relay_via);
        routes.map(|route| route.slot).collect()
    }

    fn until_tunnel(&mut self) -> RelaySlotId {
        let owner = self.owner;
        self.world.until("a tunnel", |world| {
            let addresses = world.node(owner).status().addresses;
            addresses.iter().any(|addr| addr.tunnel().is_some())
        });
        self.slots()[0]
    }

    fn publish(&mut self) -> ShareLink {
        let disk = &mut self.world.hosts[self.owner].disk;
        disk.put("/files/f", bytes());
        let publish = Publish::new("share", vec![LocalPath("/files".into())]);
        match self.world.run(self.owner, Command::Publish(publish)) {
            Ok(Reply::Published { link, .. }) => link,
            other => panic!("{other:?}"),
        }
    }

    /// What the node answers through the relay.
    fn asked(&mut self, slot: RelaySlotId, requests: &[Request]) -> Vec<Envelope> {
        // The talker numbers its requests one after another, and has the same numbers within.
        let first = self.world.deployed(self.asker).requests();
        let streams = requests.iter().zip(first..).map(|(request, number)| {
            let inner = request.to_envelope(number);
            Request::RelayStream(RelayStream::for_owner(slot, inner))
        });
        let streams: Vec<Request> = streams.collect();
        let answers = self.world.asked_on(self.asker, self.session, &streams);
        let inner = answers.into_iter().map(|answer| match answer {
            Ok(Answer::RelayStream(stream)) => stream.inner().expect("an envelope"),
            other => panic!("{other:?}"),
        });
        inner.collect()
    }
}

#[test]
fn a_deployed_requester_gets_chunks_of_a_node_that_nobody_can_dial() {
    let mut scene = scene(|_| {});
    let slot = scene.until_tunnel();
    scene.publish();
    let key = providers_key(&content());
    let (relay, owner) = (scene.relay, scene.owner);
    let relay_key = scene.world.key(relay);
    scene
        .world
        .until("a provider list that names the slot", |world| {
            let deployed = world.hosts[relay].deployed.as_ref();
            let values = deployed.and_then(|it| it.values.as_ref());
            let list = values.and_then(|values| values.get(&key));
            let list = list.and_then(|list| Providers::decode(&list.value).ok());
            list.is_some_and(|list| {
                list.providers.iter().any(|addr| {
                    addr.tunnel().is_some_and(|route| {
                        (route.slot, route.relay.key) == (slot, Some(relay_key))
                            // Deployed peers would take one of the same address and port for the relay.
                            && (addr.ip, addr.port) != (route.relay.ip, route.relay.port)
                    })
                })
            })
        });
    let chunk = |index| Request::GetChunk {
        content: content(),
        index,
    };
    let answers = scene.asked(
        slot,
        &[chunk(0), chunk(1), Request::PexRequest { max_peers: 1 }],
    );
    for (index, answer) in answers[..2].iter().enumerate() {
        let answer = Answer::decode(chunk(0).kind(), answer);
        let Ok(Answer::Chunk { data, .. }) = answer else {
            panic!("{answer:?}")
        };
        let expected = bytes();
        assert!(expected.chunks(CHUNK_LEN as usize).nth(index) == Some(&data[..]));
    }
    assert!(answers[2].is_error(), "only contents are for whoever asks");
    let views = scene.world.node(owner).peers();
    let tunnel = views.iter().filter_map(|view| view.session.as_ref());
    let tunnel = tunnel.clone().find(|it| it.tunnel == Some(Tunnel::Owner));
    assert!(tunnel.is_some_and(|it| it.via == Some(relay_key) && !it.bound));
    let main = views.iter().find(|view| view.key == relay_key);
    let main = main.and_then(|view| view.session.as_ref());
    assert!(
        main.is_some_and(|it| it.tunnel.is_none()),
        "the session goes on"
    );
}

/// Whoever has the link connects the relay, where the provider lists are.
#[test]
fn a_link_leads_to_the_relay_and_to_no_port_that_nobody_listens_on() {
    let mut scene = scene(|_| {});
    scene.until_tunnel();
    let link = scene.publish();
    let at_relay = Host::Ip(ip(scene.relay));
    let hints = link.bootstrap.iter().filter(|hint| hint.host == at_relay);
    let addresses = scene.world.node(scene.owner).status().addresses;
    let mut routes = addresses.iter().filter_map(|addr| addr.tunnel());
    let relay = routes.next().expect("a tunnel").relay.clone();
    let key = Some(scene.world.key(scene.relay));
    assert_eq!(relay.key, key);
    assert!(hints.clone().all(|hint| hint.port == relay.port));
    assert!(hints.clone().any(|hint| hint.key == key));
}

/// The relay of this test fails when an owner sends anything by itself.
#[test]
fn nothing_is_sent_on_a_tunnel_unasked_and_it_is_never_registered_again() {
    let mut scene = scene(|_| {});
    let slot = scene.until_tunnel();
    scene.publish();
    scene.world.pass(Duration::from_secs(7200));
    assert_eq!(scene.slots(), [slot]);
    let relaying = scene.relaying();
    assert_eq!((relaying.slots.len(), relaying.renewed), (1, 0));
    let chunk = Request::GetChunk {
        content: content(),
        index: 0,
    };
    assert!(!scene.asked(slot, &[chunk])[0].is_error());
}

#[test]
fn after_a_lost_tunnel_there_is_a_new_slot_but_no_more_than_relays_give() {
    let mut scene = scene(|_| {});
    let mut before = scene.until_tunnel();
    let relay = scene.relay;
    for _ in 0..3 {
        let slot = scene.relaying().slots.get(&before);
        let link = slot.and_then(|slot| slot.tunnel).expect("a tunnel");
        scene.world.hang_up(relay, link);
        scene.world.pass(Duration::from_secs(1));
        assert_eq!(scene.slots(), []);
        let after = scene.until_tunnel();
        assert_ne!(before, after);
        before = after;
    }
    let slot = scene.relaying().slots.get(&before);
    let link = slot.and_then(|slot| slot.tunnel).expect("a tunnel");
    scene.world.hang_up(relay, link);
    scene.world.pass(Duration::from_secs(300));
    assert_eq!((scene.slots(), scene.relaying().slots.len()), (vec![], 4));
    scene.world.pass(Duration::from_secs(400));
    assert_eq!(scene.slots().len(), 1);
    assert_eq!(scene.relaying().renewed, 0);
}

#[test]
fn a_relay_that_refuses_is_asked_rarely() {
    let mut scene = scene(|_| {});
    scene.relaying().refuses = Some("relay slot limit reached".into());
    scene.world.pass(Duration::from_secs(1200));
    let refused = scene.relaying().refused;
    assert!((2..=4).contains(&refused), "{refused}");
    assert_eq!(scene.slots(), []);
}

#[test]
fn a_setting_and_bound_sessions_refuse_tunnels() {
    let refuse = |config: &mut Config| config.deployed_relays = false;
    let bind = |config: &mut Config| config.require_binding = true;
    for change in [refuse as fn(&mut Config), bind] {
        let mut scene = scene(change);
        scene.world.pass(Duration::from_secs(300));
        assert_eq!((scene.slots(), scene.relaying().slots.len()), (vec![], 0));
    }
}

/// Relays of ours cannot read, so they come first; and who is reached needs none.
#[test]
fn a_node_with_a_place_or_a_way_in_has_no_tunnel() {
    for walled in [true, false] {
        let mut world = World::new();
        let deployed = world.add_deployed();
        world.deployed(deployed).relaying = Some(Relaying::default());
        let relay = world.add_with(&[], |config| {
            config.relay = Some(RelayLimits::default());
            config.capabilities.relay = true;
        });
        let others = [world.add(&[relay]), world.add(&[relay])];
        let owner = world.add(&[deployed, relay, others[0], others[1]]);
        world.hosts[owner].walled = walled;
        world.pass(Duration::from_secs(300));
        let addresses = world.node(owner).status().addresses;
        assert_eq!(
            addresses.iter().any(|addr| addr.circuit().is_some()),
            walled
        );
        let relaying = world.deployed(deployed).relaying.take();
        assert_eq!(relaying.expect("a relay").slots.len(), 0);
    }
}
