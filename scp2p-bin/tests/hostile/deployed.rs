//! Peers of the deployed releases, which know nothing of channel binding.

use scp2p_proto::keys::Keys;
use scp2p_proto::wire::{Answer, Profile, Request};
use serde_json::Value;

use super::SOON;
use super::common::peer::{Peer, listen};
use super::common::{Node, Settings, stdout, until};

const PROFILES: [(Profile, &str); 3] = [(Profile::A, "A"), (Profile::B, "B"), (Profile::C, "C")];

fn demanding() -> Settings {
    Settings {
        args: vec!["--require-binding".to_owned()],
        ..Settings::default()
    }
}

/// What the node knows of a peer.
fn seen(node: &Node, keys: &Keys) -> Option<Value> {
    let key = keys.public().to_string();
    let peers = node.cli(&["peers"]);
    let peers = peers.as_array().expect("a list");
    peers.iter().find(|peer| peer["key"] == *key).cloned()
}

#[test]
fn who_dials_is_served_and_shown_as_unbound() {
    let node = Node::start(Settings::default());
    for (seed, (profile, name)) in (1..).zip(PROFILES) {
        let keys = Keys::from_seed([seed; 32]);
        let mut peer = Peer::dial_deployed(node.tcp(), &keys, profile).expect("a session");
        assert_eq!(peer.other.to_string(), node.key());
        let request = Request::PexRequest { max_peers: 8 };
        let answer = peer.ask(&request).expect("an answer");
        assert!(matches!(answer, Answer::Peers(_)), "{answer:?}");
        let shown = seen(&node, &keys).expect("it is listed");
        assert_eq!(shown["session"]["bound"], false, "{shown}");
        assert_eq!(shown["session"]["profile"], name, "{shown}");
        assert_eq!(shown["ours"], false, "{shown}");
        assert!(stdout(&node.try_cli(&["peers"])).contains("unbound"));
    }
}

#[test]
fn who_dials_is_refused_where_binding_is_demanded() {
    let node = Node::start(demanding());
    let events = node.events();
    for (seed, (profile, _)) in (1..).zip(PROFILES) {
        let keys = Keys::from_seed([seed; 32]);
        let told = |event: &Value| event["peer"] == *keys.public().to_string();
        // The stream of events may begin after the first attempt.
        until("the user is told", SOON, || {
            if let Ok(mut peer) = Peer::dial_deployed(node.tcp(), &keys, profile) {
                peer.closed();
            }
            events.of("unbound_refused").iter().any(told).then_some(())
        });
        assert!(seen(&node, &keys).is_none_or(|shown| shown["session"].is_null()));
    }
    assert!(events.of("peer_connected").is_empty());
    let ours = Keys::from_seed([9; 32]);
    let _peer = Peer::dial(node.tcp(), &ours).expect("a session");
    until("a bound session", SOON, || {
        (seen(&node, &ours)?["session"]["bound"] == true).then_some(())
    });
}

/// Listens as a deployed peer that closes on every hello it does not understand.
fn deployed(keys: &Keys, profile: Profile) -> String {
    let keys = keys.clone();
    let addr = listen(move |channel| {
        Peer::accept_deployed(channel, &keys, profile)?.serve(|request| {
            matches!(request, Request::PexOffer(_) | Request::Store(_)).then_some(Answer::Ack)
        })
    });
    format!("tcp://{addr}")
}

#[test]
fn who_is_dialled_is_reached_in_its_profile_and_shown_as_unbound() {
    for (seed, (profile, name)) in (1..).zip(PROFILES) {
        let keys = Keys::from_seed([seed; 32]);
        let node = Node::start(Settings::default().bootstrap(&[deployed(&keys, profile)]));
        let session = until("a session", SOON, || {
            let session = seen(&node, &keys)?["session"].clone();
            (!session.is_null()).then_some(session)
        });
        assert_eq!(session["bound"], false, "{session}");
        assert_eq!(session["profile"], name, "{session}");
        assert_eq!(session["inbound"], false, "{session}");
    }
}

#[test]
fn who_is_dialled_is_refused_where_binding_is_demanded() {
    let keys = Keys::from_seed([4; 32]);
    let node = Node::start(demanding().bootstrap(&[deployed(&keys, Profile::C)]));
    let events = node.events();
    until("the user is told", SOON, || {
        let told = events.of("unbound_refused");
        let told = told.first()?;
        assert_eq!(told["peer"], *keys.public().to_string());
        Some(())
    });
    assert_eq!(node.cli(&["status"])["connected"], 0);
}

/// A node like ours that comes without its binding is somebody else who took it out.
#[test]
fn who_was_bound_once_is_never_taken_unbound() {
    let mut node = Node::start(Settings::default());
    let keys = Keys::from_seed([5; 32]);
    let peer = Peer::dial(node.tcp(), &keys).expect("a session");
    until("a bound session", SOON, || {
        (seen(&node, &keys)?["ours"] == true).then_some(())
    });
    drop(peer);
    for _ in 0..2 {
        let events = node.events();
        until("the user is told", SOON, || {
            let mut peer = Peer::dial_deployed(node.tcp(), &keys, Profile::C).expect("hellos");
            peer.closed();
            let told = events.of("interception");
            let told = told.first()?;
            assert_eq!(told["claimed"], *keys.public().to_string());
            Some(())
        });
        assert!(events.of("peer_connected").is_empty());
        node.signal(rustix::process::Signal::TERM);
        node.wait();
        node.restart();
    }
}
