//! Nobody relays as deployed relays do: who asks for that is told so, and the session goes on.

mod common;

use bytes::Bytes;
use common::World;
use scp2p_proto::id::RelaySlotId;
use scp2p_proto::wire::{Answer, RelayRegister, RelayStream, Request};

#[test]
fn requests_to_a_relay_are_refused_politely() {
    let mut world = World::new();
    let asker = world.add_deployed();
    world.add(&[asker]);
    world.until("a session", |world| {
        let deployed = world.hosts[asker].deployed.as_ref();
        deployed.is_some_and(|peer| peer.sessions() > 0)
    });
    let (new, tunnel) = (None, true);
    let inner = Request::PexRequest { max_peers: 1 }.to_envelope(7);
    let asked = [
        Request::RelayRegister(RelayRegister { slot: new, tunnel }),
        Request::RelayRegister(RelayRegister {
            slot: Some(RelaySlotId(5)),
            tunnel: false,
        }),
        Request::RelayConnect(RelaySlotId(5)),
        Request::RelayStream(RelayStream::for_owner(RelaySlotId(5), inner)),
        Request::RelayStream(RelayStream::for_owner(RelaySlotId(5), Bytes::new())),
    ];
    world.ask(asker, &asked);
    world.ask(asker, &[Request::ListRelays { max_count: 16 }]);
    world.until("the answers", |world| {
        let deployed = world.hosts[asker].deployed.as_ref();
        deployed.is_some_and(|peer| peer.answers.len() > asked.len())
    });
    let deployed = world.deployed(asker);
    assert_eq!(deployed.sessions(), 1);
    let mut answers: Vec<_> = deployed.answers.values().collect();
    assert_eq!(answers.pop(), Some(&Ok(Answer::Relays(Vec::new()))));
    for answer in answers {
        let refusal = "the peer refused: unsupported message type".to_string();
        assert_eq!(*answer, Err(refusal));
    }
}
