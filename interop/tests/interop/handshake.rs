//! Who shakes hands with whom, in which profile, and who does not.

use std::net::SocketAddr;

use scp2p_interop::gate::Gate;
use scp2p_interop::ours::{self, Node, until};
use scp2p_interop::played::peer::{deployed_hello_at, now, random};
use scp2p_interop::played::tls::Channel;
use scp2p_interop::theirs::{Release, Setup};
use scp2p_proto::id::NodeKey;
use scp2p_proto::io::Transport;
use scp2p_proto::keys::Keys;
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{PeerAddr, Profile};
use serde_json::Value;

use super::SOON;

/// A key that nobody here has.
const NOBODY: NodeKey = NodeKey([7; 32]);

/// A node of ours that starts from this peer over one transport.
fn starting_from(peer: &PeerAddr) -> Node {
    Node::start(ours::only(peer.transport).bootstrap(&[peer.to_string()]))
}

/// Waits until a node of ours has a session with a peer.
fn session(node: &Node, peer: NodeKey) -> Value {
    until("a session", SOON, || ours::session(node, peer))
}

/// A session is shown as what it is: one with a deployed peer of this release.
fn assert_shown(session: &Value, release: Release, transport: Transport, inbound: bool) {
    let profile = format!("{:?}", release.profile());
    let shown = [
        ("profile", profile.as_str().into()),
        ("transport", transport.to_string().into()),
        ("inbound", inbound.into()),
        ("bound", false.into()),
        ("via", Value::Null),
        ("tunnel", Value::Null),
    ];
    for (field, value) in shown {
        assert_eq!(session[field], value, "{field}: {session}");
    }
}

rows!(they_dial_us);
fn they_dial_us(release: Release, transport: Transport) {
    let node = Node::start(ours::only(transport));
    let theirs = release.start(Setup::default());
    let unhinted = PeerAddr {
        key: None,
        ..ours::addr(&node, transport)
    };
    for addr in [ours::addr(&node, transport), unhinted] {
        let dialled = theirs.dial(&addr).expect("a session");
        assert_eq!(dialled.with, ours::key(&node));
        assert_shown(&session(&node, theirs.key()), release, transport, true);
        drop(dialled);
        until("its end", SOON, || {
            let session = ours::session(&node, theirs.key());
            session.is_none().then_some(())
        });
    }
}

rows!(we_dial_them);
fn we_dial_them(release: Release, transport: Transport) {
    let theirs = release.start(Setup::listening(transport));
    let unhinted = PeerAddr {
        key: None,
        ..theirs.addr(transport)
    };
    for addr in [theirs.addr(transport), unhinted] {
        let node = starting_from(&addr);
        let session = session(&node, theirs.key());
        assert_shown(&session, release, transport, false);
    }
}

rows!(they_insist_on_another_key);
fn they_insist_on_another_key(release: Release, transport: Transport) {
    let node = Node::start(ours::only(transport));
    let theirs = release.start(Setup::default());
    let wrong = PeerAddr {
        key: Some(NOBODY),
        ..ours::addr(&node, transport)
    };
    let refused = theirs.dial(&wrong).err().expect("it is somebody else");
    assert!(refused.contains("pubkey mismatch"), "{refused}");
    let right = theirs.dial(&ours::addr(&node, transport));
    assert_eq!(right.expect("a session").with, ours::key(&node));
}

rows!(we_insist_on_another_key);
fn we_insist_on_another_key(release: Release, transport: Transport) {
    let theirs = release.start(Setup::listening(transport));
    let wrong = PeerAddr {
        key: Some(NOBODY),
        ..theirs.addr(transport)
    };
    let node = starting_from(&wrong);
    // The stream of events may begin after the first try.
    let events = node.events();
    let told = until("the user is told", SOON, || {
        events.of("pin_mismatch").into_iter().next()
    });
    assert_eq!(told["expected"], *NOBODY.to_string());
    assert_eq!(told["found"], *theirs.key().to_string());
    assert_eq!(node.cli(&["status"])["connected"], 0);
}

/// How many dials find the profile of a peer that was never met, which is tried in the order C, A, B. One of 0.4 takes
/// the ClientHello of profile C for that of another version and shows its own in the answer.
fn dials_at_first(release: Release) -> usize {
    match release.profile() {
        Profile::C => 1,
        Profile::A | Profile::B => 2,
    }
}

rows!(the_profile_of_a_peer_is_found_and_kept_over_restarts);
fn the_profile_of_a_peer_is_found_and_kept_over_restarts(release: Release, transport: Transport) {
    let theirs = release.start(Setup::listening(transport));
    let gate = Gate::to(&theirs.addr(transport));
    let mut node = starting_from(&gate.addr());
    assert_shown(&session(&node, theirs.key()), release, transport, false);
    let first = gate.dials();
    assert_eq!(first, dials_at_first(release));
    node.signal(rustix::process::Signal::TERM);
    node.wait();
    node.restart();
    assert_shown(&session(&node, theirs.key()), release, transport, false);
    assert_eq!(gate.dials(), first + 1);
}

rows!(a_lost_peer_is_dialled_again_in_its_profile over tcp);
fn a_lost_peer_is_dialled_again_in_its_profile(release: Release, transport: Transport) {
    let theirs = release.start(Setup::listening(transport));
    let gate = Gate::to(&theirs.addr(transport));
    let node = starting_from(&gate.addr());
    let events = node.events();
    session(&node, theirs.key());
    let first = gate.dials();
    gate.cut();
    until("the end of the session", SOON, || {
        (!events.of("peer_disconnected").is_empty()).then_some(())
    });
    assert_shown(&session(&node, theirs.key()), release, transport, false);
    assert_eq!(gate.dials(), first + 1);
}

/// How far clocks of deployed peers may differ, in seconds.
const SKEW: u64 = 300;

/// Whether somebody answers a hello of a deployed client whose clock shows this.
fn answers(to: &PeerAddr, profile: Profile, clock: UnixTime) -> bool {
    let keys = Keys::from_seed(random());
    let hello = deployed_hello_at(&keys, profile, random(), None, clock);
    let mut channel = Channel::dial(SocketAddr::new(to.ip, to.port)).expect("a channel");
    channel.send(&hello).expect("it is sent");
    // A refusal is the end of the connection.
    channel.receive().is_ok_and(|bytes| !bytes.is_empty())
}

rows!(a_wrong_clock_is_refused_by_both over tcp);
fn a_wrong_clock_is_refused_by_both(release: Release, transport: Transport) {
    let node = Node::start(ours::only(transport));
    let theirs = release.start(Setup::listening(transport));
    for peer in [ours::addr(&node, transport), theirs.addr(transport)] {
        for (off, is_answered) in [(SKEW - 60, true), (SKEW + 60, false)] {
            let (late, early) = (UnixTime(now().0 - off), UnixTime(now().0 + off));
            for clock in [late, early] {
                assert_eq!(answers(&peer, release.profile(), clock), is_answered);
            }
        }
    }
}
