//! What brings published nodes to a stop: we do not do it to them, and it does nothing to us.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use scp2p_interop::ours::{self, Node, Settings, text, until};
use scp2p_interop::played::peer::{Peer, now, random};
use scp2p_interop::silent::Silent;
use scp2p_interop::theirs::{Published, Release, Setup};
use scp2p_proto::id::{ManifestId, ShareId, ShareKey};
use scp2p_proto::io::Transport;
use scp2p_proto::keys::Keys;
use scp2p_proto::record::{ShareHead, ShareLink, head_key};
use scp2p_proto::wire::{Answer, Envelope, PeerAddr, Request, StoreRecord};

use super::SOON;
use super::catalogs::{assert_downloads, publish};
use super::dht::synced_there;
use super::files::Files;

/// Connections from this many addresses of loopback, on which nothing is said.
fn silent_connections(to: SocketAddr, transport: Transport) -> Vec<Silent> {
    let from = |host| Ipv4Addr::new(127, 0, 1, host).into();
    (1..=40)
        .map(|host| Silent::connect(from(host), to, transport))
        .collect()
}

rows!(a_silent_connection_holds_up_a_listener_of_theirs);
/// It waits for each that it accepted before it accepts another.
fn a_silent_connection_holds_up_a_listener_of_theirs(release: Release, transport: Transport) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let theirs = release.start(Setup::listening(transport));
    let at = theirs.addr(transport);
    let client = release.start(Setup::default());
    client.dial(&at).expect("a session");
    let to = SocketAddr::new(at.ip, at.port);
    let silent = Silent::connect(Ipv4Addr::LOCALHOST.into(), to, transport);
    thread::scope(|scope| {
        let (tell, told) = channel();
        scope.spawn(move || tell.send(client.dial(&at)));
        assert!(told.recv_timeout(PATIENCE).is_err(), "it is held up");
        silent.close();
        let dialled = told.recv_timeout(SOON).expect("it is let in");
        assert_eq!(dialled.expect("a session").with, theirs.key());
    });
}

rows!(silent_connections_to_us_hold_up_nobody);
/// A published listener waits for each that it accepted before it accepts another.
fn silent_connections_to_us_hold_up_nobody(release: Release, transport: Transport) {
    let node = Node::start(ours::only(transport));
    let files = Files::new(&[("a file", 600_000)]);
    let link = publish(&node, &files);
    let at = ours::addr(&node, transport);
    let silent = silent_connections(SocketAddr::new(at.ip, at.port), transport);
    let theirs = release.start(Setup::default().seeds([at]));
    theirs.subscribe(&link);
    synced_there(&*theirs, &link, 1);
    assert_downloads(&*theirs, link.share(), &files, "files/");
    drop(silent);
}

rows!(our_sessions_hold_up_no_listener_of_theirs over tcp);
fn our_sessions_hold_up_no_listener_of_theirs(release: Release, transport: Transport) {
    let theirs = release.start(Setup::listening(transport));
    let at = theirs.addr(transport);
    let nodes: Vec<Node> = (0..3)
        .map(|_| Node::start(ours::only(transport).bootstrap(&[at.to_string()])))
        .collect();
    for node in &nodes {
        until("a session", SOON, || ours::session(node, theirs.key()));
    }
    let another = release.start(Setup::default());
    for _ in 0..3 {
        let dialled = another.dial(&at).expect("a session");
        assert_eq!(dialled.with, theirs.key());
    }
}

/// A deployed peer that the test plays, with a session at this one.
fn played(to: &PeerAddr, release: Release) -> Peer {
    let at = SocketAddr::new(to.ip, to.port);
    let keys = Keys::from_seed(random());
    Peer::dial_deployed(at, &keys, release.profile()).expect("a session")
}

/// Has a peer keep a head that its share's owner did not sign, if it takes that.
fn spoil(hub: &PeerAddr, release: Release, share: ShareId) {
    let forged = ShareHead {
        share,
        latest_seq: 1000,
        latest_manifest: ManifestId([7; 32]),
        updated_at: now(),
        signature: [7; 64],
    };
    let garbage = StoreRecord {
        key: head_key(&share),
        value: forged.encode().into(),
        ttl_secs: 3600,
        signer: None,
    };
    // Whoever does not take it may say so.
    let _ = played(hub, release).ask(&Request::Store(garbage));
}

/// The revision that a node of ours has of a share it follows.
fn revision(node: &Node, share: ShareId) -> u64 {
    let followed = node.cli(&["subscriptions"]);
    let followed = followed.as_array().expect("a list");
    let mut found = followed
        .iter()
        .filter(|it| text(&it["id"]) == share.to_string());
    found.next().expect("it is followed")["seq"]
        .as_u64()
        .unwrap_or(0)
}

/// A published node with a share that is stored at a peer.
fn publisher(release: Release, hub: &PeerAddr, label: &str) -> (Box<dyn Published>, ShareLink) {
    let files = Files::new(&[(label, 1000)]);
    let node = release.start(Setup::listening(hub.transport).seeds([hub.clone()]));
    let link = node.publish(label, &files.paths(), None);
    node.republish().expect("it is stored");
    (node, link)
}

rows!(a_spoiled_head_stops_no_other_sync_of_ours over tcp);
/// A published subscriber gives up at the first.
fn a_spoiled_head_stops_no_other_sync_of_ours(release: Release, transport: Transport) {
    let hub = release.start(Setup::listening(transport));
    let at = hub.addr(transport);
    let (spoiled, first) = publisher(release, &at, "first");
    let (_other, second) = publisher(release, &at, "second");
    spoil(&at, release, first.share());
    let witness = release.start(Setup::default().seeds([at.clone()]));
    witness.subscribe(&first);
    assert!(witness.sync().is_err(), "the hub kept it");
    let node = Node::start(Settings::default().bootstrap(&[at.to_string()]));
    for link in [&first, &second] {
        node.cli(&["subscribe", &link.to_string()]);
    }
    until("the other share", SOON, || {
        node.cli(&["sync"]);
        (revision(&node, second.share()) == 1).then_some(())
    });
    spoiled.republish().expect("it is stored");
    until("the share whose head was spoiled", SOON, || {
        node.cli(&["sync"]);
        (revision(&node, first.share()) == 1).then_some(())
    });
}

rows!(a_hub_of_ours_keeps_no_spoiled_head_for_others over tcp);
fn a_hub_of_ours_keeps_no_spoiled_head_for_others(release: Release, transport: Transport) {
    let hub = Node::start(ours::only(transport));
    let at = ours::addr(&hub, transport);
    let (_one, first) = publisher(release, &at, "first");
    let (_other, second) = publisher(release, &at, "second");
    spoil(&at, release, first.share());
    let theirs = release.start(Setup::default().seeds([at]));
    for link in [&first, &second] {
        theirs.subscribe(link);
    }
    for link in [&first, &second] {
        synced_there(&*theirs, link, 1);
    }
}

/// Whether a session goes on after a question for none of the events of a community, which since 0.4 is a message of its
/// own and before is none.
fn goes_on_after_no_events(to: &PeerAddr, release: Release, community: ShareKey) -> bool {
    let mut asking = played(to, release);
    let mut payload = b"\xa2\x6ccommunity_id\x58\x20".to_vec();
    payload.extend(community.share_id().0);
    payload.extend(b"\x65limit\x00");
    let question = Envelope {
        kind: LIST_COMMUNITY_EVENTS,
        req_id: 1,
        flags: 0,
        payload: payload.into(),
    };
    let frame = question.into_frame();
    let sent = asking.send(&[&frame.head[..], &frame.body].concat());
    sent.expect("it is there");
    let peers = Request::PexRequest { max_peers: 8 };
    // The first answer is that to what was sent before.
    let _ = asking.ask(&peers);
    asking.ask(&peers).is_ok()
}

/// The type of the message that asks for events of a community.
const LIST_COMMUNITY_EVENTS: u16 = 416;

rows!(a_question_for_no_events_stops_theirs_and_not_ours over tcp);
/// As often as one address may have sessions at a published listener since 0.4, which takes those that crashed for open.
fn a_question_for_no_events_stops_theirs_and_not_ours(release: Release, transport: Transport) {
    const SESSIONS_OF_ADDRESS: usize = 8;
    let is_stopped = release != Release::V0_3;
    let community = ShareKey(Keys::from_seed(random()).public().0);
    let hub = Node::start(ours::only(transport));
    let their_hub = release.start(Setup::listening(transport));
    let (ours, theirs) = (ours::addr(&hub, transport), their_hub.addr(transport));
    for (at, is_stopped) in [(&ours, false), (&theirs, is_stopped)] {
        let member = release.start(Setup::default().seeds([at.clone()]));
        member.join(community);
        // Whoever has no communities may refuse it.
        let _ = member.republish();
        for _ in 0..SESSIONS_OF_ADDRESS {
            let goes_on = goes_on_after_no_events(at, release, community);
            assert_eq!(goes_on, !is_stopped);
        }
        let client = release.start(Setup::default());
        assert_eq!(client.public_shares(at).is_err(), is_stopped);
    }
}

rows!(limits_of_zero_stop_nothing_of_ours over tcp);
fn limits_of_zero_stop_nothing_of_ours(release: Release, transport: Transport) {
    let node = Node::start(ours::only(transport));
    let theirs = release.start(Setup::listening(transport));
    let none = [
        (Request::PexRequest { max_peers: 0 }, Answer::Peers(vec![])),
        (
            Request::ListPublicShares { max_entries: 0 },
            Answer::PublicShares(vec![]),
        ),
        (Request::ListRelays { max_count: 0 }, Answer::Relays(vec![])),
    ];
    for at in [ours::addr(&node, transport), theirs.addr(transport)] {
        let mut asking = played(&at, release);
        for (request, nothing) in &none {
            assert_eq!(asking.ask(request).expect("an answer"), *nothing);
        }
        let answer = asking.ask(&Request::PexRequest { max_peers: 8 });
        assert!(answer.is_ok(), "the session goes on");
        let client = release.start(Setup::default());
        client.dial(&at).expect("a session");
    }
}
