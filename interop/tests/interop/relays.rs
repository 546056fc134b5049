//! Tunnels of the deployed releases, in which each of owner, relay and requester is one of theirs or of ours, and what
//! relays announce.

use std::net::SocketAddr;
use std::thread::{self, sleep};
use std::time::{Duration, SystemTime};

use scp2p_interop::gate::Gate;
use scp2p_interop::ours::{self, Node, Settings, text, until};
use scp2p_interop::played::peer::{Peer, random};
use scp2p_interop::theirs::{Published, Release, Setup};
use scp2p_proto::id::{ContentId, ManifestId, RelaySlotId, ShareKey};
use scp2p_proto::io::Transport;
use scp2p_proto::keys::Keys;
use scp2p_proto::record::{RendezvousHour, RendezvousSlot, ShareLink};
use scp2p_proto::time::UnixTime;
use scp2p_proto::wire::{Answer, PeerAddr, PublicShareSummary, RelayRegister, RelayRoute, Request};

use super::SOON;
use super::catalogs::{assert_downloads, synced};
use super::dht::{starting_from, synced_there, without_hints};
use super::files::{Files, arg};

fn some_files() -> Files {
    Files::new(&[("a file", 600_000), ("another", 7)])
}

/// Plays at a relay of ours and at a published one.
fn at_relays_of_both(release: Release, transport: Transport, play: impl Fn(&PeerAddr)) {
    let our_relay = relaying(ours::only(transport));
    let their_relay = release.start(Setup::listening(transport));
    play(&ours::addr(&our_relay, transport));
    play(&their_relay.addr(transport));
}

/// A node of ours that nobody can dial and that starts from this peer.
fn hidden(peer: &PeerAddr) -> Node {
    Node::start(
        Settings {
            tcp_only: true,
            quic_only: true,
            ..Settings::default()
        }
        .bootstrap(&[peer.to_string()]),
    )
}

/// A relay of ours, for content too.
fn relaying(mut settings: Settings) -> Node {
    settings.args.push("--relay-content".to_owned());
    Node::start(Settings {
        relay: true,
        ..settings
    })
}

/// Publishes these files as a share that peers may list.
fn publish_for_all(node: &Node, files: &Files) -> ShareLink {
    let root = files.root();
    let args = [
        "publish",
        arg(&root),
        "--share",
        "s",
        "--title",
        "Things",
        "--public",
    ];
    text(&node.cli(&args)["link"]).parse().expect("a link")
}

/// A published node that listens on nothing and has published through this relay.
fn hidden_publisher(
    release: Release,
    relay: &PeerAddr,
    files: &Files,
) -> (Box<dyn Published>, ShareLink) {
    let owner = release.start(Setup::default().seeds([relay.clone()]));
    owner.tunnel(relay).expect("a tunnel");
    let link = owner.publish("Things", &files.paths(), Some(&files.root()));
    owner.republish().expect("it is stored");
    (owner, link)
}

/// The addresses through a relay that providers of a content tell at the seeds of a published node.
fn relayed(theirs: &dyn Published, content: ContentId) -> Vec<PeerAddr> {
    let mut providers = theirs.providers(content);
    providers.retain(|provider| provider.relay_via.is_some());
    providers
}

/// The slot in an address through a relay.
fn slot(provider: &PeerAddr) -> RelaySlotId {
    let route = provider.relay_via.as_deref();
    route.expect("it is through a relay").slot
}

/// A published node follows a share of ours and asks through the relay that provider lists name. Where it downloads
/// from then is no other way: the relay does not have the files.
fn follows_through(
    theirs: &dyn Published,
    relay: &PeerAddr,
    link: &ShareLink,
    files: &Files,
) -> Vec<PeerAddr> {
    theirs.subscribe(link);
    synced_there(theirs, link, 1);
    let mut ways = Vec::new();
    for item in theirs.items(link.share()) {
        let way = until("a provider behind the relay", SOON, || {
            relayed(theirs, item.content).pop()
        });
        let route = way.relay_via.as_deref().expect("it is through a relay");
        assert_eq!((route.relay.ip, route.relay.port), (relay.ip, relay.port));
        ways.push(way);
    }
    assert_downloads(theirs, link.share(), files, "files/");
    ways
}

/// A node of ours that this client cannot dial and that starts from this peer, and how the client is started.
fn walled(peer: &PeerAddr) -> (Node, Setup) {
    let client = Setup::default().seeds([peer.clone()]);
    match peer.transport {
        Transport::Tcp => (hidden(peer), client),
        // Who dials over QUIC has a port there.
        Transport::Quic => {
            let node = Node::start(ours::only(Transport::Quic).bootstrap(&[peer.to_string()]));
            let port = ours::addr(&node, Transport::Quic);
            (node, client.walled_off(&port))
        }
    }
}

rows!(they_fetch_from_us_behind_their_relay);
fn they_fetch_from_us_behind_their_relay(release: Release, transport: Transport) {
    let relay = release.start(Setup::listening(transport));
    assert_they_fetch_from_us_behind(&relay.addr(transport), release);
}

/// A published client that cannot dial our node lists its shares and downloads through this published relay.
pub fn assert_they_fetch_from_us_behind(relay: &PeerAddr, release: Release) {
    let files = some_files();
    let (node, client) = walled(relay);
    let link = publish_for_all(&node, &files);
    let client = release.start(client);
    let ways = follows_through(&*client, relay, &without_hints(&link), &files);
    let listed = client.public_shares(&ways[0]);
    assert_eq!(listed.as_deref(), Ok(&["Things".to_owned()][..]));
}

rows!(both_fetch_from_them_behind_our_relay);
fn both_fetch_from_them_behind_our_relay(release: Release, transport: Transport) {
    let relay = relaying(ours::only(transport));
    let at = ours::addr(&relay, transport);
    let files = some_files();
    let (_owner, link) = hidden_publisher(release, &at, &files);
    both_fetch(release, &at, &link, &files);
}

rows!(both_fetch_from_them_behind_their_relay);
fn both_fetch_from_them_behind_their_relay(release: Release, transport: Transport) {
    let relay = release.start(Setup::listening(transport));
    let at = relay.addr(transport);
    let files = some_files();
    let (_owner, link) = hidden_publisher(release, &at, &files);
    both_fetch(release, &at, &link, &files);
}

/// A node of ours and a published one that know only the relay get all that its client provides.
fn both_fetch(release: Release, relay: &PeerAddr, link: &ShareLink, files: &Files) {
    we_fetch(relay, link, files);
    let client = release.start(Setup::default().seeds([relay.clone()]));
    client.subscribe(link);
    synced_there(&*client, link, 1);
    assert_downloads(&*client, link.share(), files, "");
}

fn we_fetch(relay: &PeerAddr, link: &ShareLink, files: &Files) {
    let node = starting_from(std::slice::from_ref(relay));
    node.cli(&["subscribe", &link.to_string()]);
    synced(&node, 1);
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", arg(&out)]);
    files.assert_all_in(&out);
}

rows!(a_silent_owner_holds_up_no_download_of_ours over tcp);
/// A published relay answers nothing else on a session while it waits for an owner.
fn a_silent_owner_holds_up_no_download_of_ours(release: Release, transport: Transport) {
    at_relays_of_both(release, transport, |relay| {
        let files = some_files();
        let gate = Gate::to(relay);
        let (owner, link) = hidden_publisher(release, &gate.addr(), &files);
        let other = release.start(Setup::listening(transport).seeds([relay.clone()]));
        other.subscribe(&link);
        synced_there(&*other, &link, 1);
        let copies = tempfile::tempdir().expect("a temporary folder");
        let items = other.items(link.share());
        for item in &items {
            let copy = copies.path().join(&item.path);
            other.download(item.content, &copy).expect("a download");
        }
        other.republish().expect("it is stored");
        let providers = other.providers(items[0].content);
        assert_eq!(providers.len(), 2, "{providers:?}");
        gate.go_dark_after(0);
        we_fetch(relay, &link, &files);
        assert_eq!(owner.slots().len(), 1, "it knows of nothing");
        gate.cut();
    });
}

/// Shares of one with this title.
fn listed(title: &str) -> Answer {
    let key = ShareKey([7; 32]);
    Answer::PublicShares(vec![PublicShareSummary {
        share: key.share_id(),
        key,
        latest_seq: 1,
        latest_manifest: ManifestId([7; 32]),
        title: Some(title.to_owned()),
        description: None,
    }])
}

rows!(what_an_owner_sends_unasked_reaches_nobody_over_our_relay over tcp);
/// A published relay takes it for the answer to what is asked next, and so one answer after the other for that to another
/// question.
fn what_an_owner_sends_unasked_reaches_nobody_over_our_relay(
    release: Release,
    transport: Transport,
) {
    let our_relay = relaying(ours::only(transport));
    let their_relay = release.start(Setup::listening(transport));
    let asks = |relay: &PeerAddr| {
        let at = SocketAddr::new(relay.ip, relay.port);
        let keys = Keys::from_seed(random());
        let mut owner = Peer::dial_deployed(at, &keys, release.profile()).expect("a session");
        let register = Request::RelayRegister(RelayRegister {
            slot: None,
            tunnel: true,
        });
        let Ok(Answer::RelayRegistered(registered)) = owner.ask(&register) else {
            panic!("no tunnel")
        };
        let kind = Request::ListPublicShares { max_entries: 1 }.kind();
        for req_id in 0..8 {
            let unasked = listed("unasked").to_frame(kind, req_id);
            let unasked = [&unasked.head[..], &unasked.body].concat();
            owner.send(&unasked).expect("a tunnel");
        }
        // It ends as the relay does.
        thread::spawn(move || owner.serve(|_| Some(listed("asked"))));
        let way = PeerAddr {
            key: None,
            relay_via: Some(Box::new(RelayRoute {
                relay: relay.clone(),
                slot: registered.slot,
            })),
            ..relay.clone()
        };
        release.start(Setup::default()).public_shares(&way)
    };
    let right = Ok(vec!["asked".to_owned()]);
    assert_eq!(asks(&ours::addr(&our_relay, transport)), right);
    assert_ne!(asks(&their_relay.addr(transport)), right);
    let (relay, files) = (ours::addr(&our_relay, transport), some_files());
    let (_owner, link) = hidden_publisher(release, &relay, &files);
    we_fetch(&relay, &link, &files);
}

rows!(we_take_a_new_slot_after_a_lost_tunnel over tcp);
/// The old slot is worth nothing then, and the relay returns what it is sent for it.
fn we_take_a_new_slot_after_a_lost_tunnel(release: Release, transport: Transport) {
    let relay = release.start(Setup::listening(transport));
    let gate = Gate::to(&relay.addr(transport));
    let files = some_files();
    let node = hidden(&gate.addr());
    let link = publish_for_all(&node, &files);
    let seeds = [relay.addr(transport)];
    let client = release.start(Setup::default().seeds(seeds.clone()));
    let before = follows_through(&*client, &gate.addr(), &link, &files);

    gate.cut();
    until("another slot", SOON, || {
        let now = relayed(&*client, client.items(link.share())[0].content);
        now.iter()
            .any(|way| slot(way) != slot(&before[0]))
            .then_some(())
    });
    let another = release.start(Setup::default().seeds(seeds));
    follows_through(&*another, &gate.addr(), &link, &files);
}

rows!(we_find_the_new_slot_of_an_owner_that_lost_its_tunnel over tcp);
/// The old slot stays in the provider lists.
fn we_find_the_new_slot_of_an_owner_that_lost_its_tunnel(release: Release, transport: Transport) {
    at_relays_of_both(release, transport, |relay| {
        let files = some_files();
        let gate = Gate::to(relay);
        let (owner, link) = hidden_publisher(release, &gate.addr(), &files);
        let before = owner.slots();
        gate.cut();
        until("the end of the tunnel", SOON, || {
            owner.slots().is_empty().then_some(())
        });
        let now = owner.tunnel(&gate.addr()).expect("a tunnel");
        assert!(!before.contains(&now));
        owner.republish().expect("it is stored");
        we_fetch(relay, &link, &files);
    });
}

rows!(a_slot_registered_again_has_its_newer_tunnel_at_our_relay_and_none_at_theirs over tcp);
fn a_slot_registered_again_has_its_newer_tunnel_at_our_relay_and_none_at_theirs(
    release: Release,
    transport: Transport,
) {
    let our_relay = relaying(ours::only(transport));
    let their_relay = release.start(Setup::listening(transport));
    let owner = release.start(Setup::default());
    let ours = ours::addr(&our_relay, transport);
    for (relay, is_kept) in [(ours, true), (their_relay.addr(transport), false)] {
        let older = owner.register(&relay, None).expect("a slot");
        let newer = owner.register(&relay, Some(older.slot)).expect("the same");
        assert_eq!(older.slot, newer.slot);
        until("the end of the older tunnel", SOON, || {
            (!older.is_open()).then_some(())
        });
        if is_kept {
            owner.dial(&relay).expect("it is there");
            assert!(newer.is_open());
        } else {
            until("the end of the newer tunnel", SOON, || {
                (!newer.is_open()).then_some(())
            });
        }
    }
}

rows!(an_owner_has_four_slots over tcp);
/// Releases before 0.4 give as many as anybody wants.
fn an_owner_has_four_slots(release: Release, transport: Transport) {
    let our_relay = relaying(ours::only(transport));
    let their_relay = release.start(Setup::listening(transport));
    let owner = release.start(Setup::default());
    let ours = ours::addr(&our_relay, transport);
    let is_bounded = release != Release::V0_3;
    for (relay, is_bounded) in [(ours, true), (their_relay.addr(transport), is_bounded)] {
        let slot = || owner.register(&relay, None);
        let _four: Vec<_> = (0..4).map(|_| slot().expect("a slot")).collect();
        match slot() {
            Ok(_) => assert!(!is_bounded),
            Err(error) => assert!(is_bounded && error.contains("slot limit"), "{error}"),
        }
    }
}

/// A relay of ours that starts from this peer and has two places in this hour and the next: what it announces to peers of
/// profile A has the second.
fn relay_of_two_places(hub: &PeerAddr) -> Node {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
    let hour = RendezvousHour::of(UnixTime(now.as_secs()));
    let hours = [hour, RendezvousHour(hour.0 + 1)];
    loop {
        let relay = relaying(ours::only(hub.transport).bootstrap(&[hub.to_string()]));
        let places = hours.map(|hour| RendezvousSlot::of(&ours::key(&relay), hour));
        if places.iter().all(|[first, second]| first != second) {
            return relay;
        }
    }
}

rows!(they_find_our_relay over tcp);
/// By asking it, and at the bootstrap peer that both know.
fn they_find_our_relay(release: Release, transport: Transport) {
    let hub = release.start(Setup::listening(transport));
    let seeds = [hub.addr(transport)];
    let relay = relay_of_two_places(&seeds[0]);
    let at = ours::addr(&relay, transport);
    let asking = release.start(Setup::default());
    until("its announcement", SOON, || {
        asking
            .relays_of(&at)
            .contains(&ours::key(&relay))
            .then_some(())
    });
    let looking = release.start(Setup::default().seeds(seeds));
    found(&*looking, &at);
    let slot = looking.tunnel(&at).expect("a tunnel");
    assert_eq!(looking.slots(), [slot]);
}

/// Waits until a published node finds the announcement of a relay at this address.
fn found(theirs: &dyn Published, at: &PeerAddr) {
    until("a relay", SOON, || {
        let found = theirs.finds_relay(at).then_some(());
        if found.is_none() {
            // A look takes 16 of the 600 requests that a deployed peer answers in a minute.
            sleep(Duration::from_secs(3));
        }
        found
    });
}

rows!(we_pass_on_what_their_relay_announces over tcp);
fn we_pass_on_what_their_relay_announces(release: Release, transport: Transport) {
    let hub = Node::start(ours::only(transport));
    let seeds = [ours::addr(&hub, transport)];
    let relay = release.start(Setup::listening(transport).seeds(seeds.clone()));
    assert!(relay.announce() > 0);
    let asking = release.start(Setup::default());
    assert_eq!(asking.relays_of(&seeds[0]), [relay.key()]);
    let looking = release.start(Setup::default().seeds(seeds));
    found(&*looking, &relay.addr(transport));
}

rows!(we_find_their_relay over tcp);
/// At the bootstrap peer that both know. Whether it relays for nodes of ours is learnt by dialling it.
fn we_find_their_relay(release: Release, transport: Transport) {
    let hub = release.start(Setup::listening(transport));
    let seeds = [hub.addr(transport)];
    let relay = release.start(Setup::listening(transport).seeds(seeds.clone()));
    assert!(relay.announce() > 0);
    let node = hidden(&seeds[0]);
    until("the relay", SOON, || ours::seen(&node, relay.key()));
}
