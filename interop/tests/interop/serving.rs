//! Whole downloads as deployed peers make them and as they serve them: many dials, several sources, limits.

use std::fs;
use std::thread;
use std::time::Duration;

use scp2p_interop::gate::Gate;
use scp2p_interop::ours::{self, Counters, Node, Settings, text, until};
use scp2p_interop::theirs::{Published, Release, Setup};
use scp2p_proto::io::Transport;

use super::SOON;
use super::catalogs::{assert_downloads, publish, synced};
use super::files::{Files, arg};

/// A download for which nobody is to blame, as a node of ours tells of it in the end.
fn finished(node: &Node, limit: Duration) -> serde_json::Value {
    until("the end of the download", limit, || {
        let download = node.cli(&["downloads"])[0].clone();
        assert_ne!(download["state"], "failed", "{download}");
        (download["state"] == "finished").then_some(download)
    })
}

rows!(two_of_theirs_and_one_of_ours_serve_one_download);
fn two_of_theirs_and_one_of_ours_serve_one_download(release: Release, transport: Transport) {
    let files = Files::new(&[("big", 48 << 20)]);
    let ours = Node::start(ours::only(transport));
    let setup = || Setup::listening(transport).seeds([ours::addr(&ours, transport)]);

    let first = release.start(setup());
    let link = first.publish("Things", &files.paths(), None);
    first.republish().expect("it is stored");
    let second = release.start(setup());
    second.subscribe(&link);
    second.sync().expect("a sync");
    let copies = tempfile::tempdir().expect("a temporary folder");
    let item = &second.items(link.share())[0];
    let copy = copies.path().join("copy");
    second.download(item.content, &copy).expect("a download");
    files.assert_same("big", &copy);
    second.republish().expect("it is stored");
    ours.cli(&["subscribe", &link.to_string()]);
    synced(&ours, 1);
    ours.cli(&["get", "Things", "-o", arg(&ours.folder("out"))]);

    let node = Node::start(ours::only(transport).bootstrap(&ours.bootstrap()));
    node.cli(&["subscribe", &link.to_string()]);
    synced(&node, 1);
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", arg(&out)]);
    files.assert_all_in(&out);
    let download = finished(&node, SOON);
    let mut served: Vec<String> = download["peers"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|peer| peer["bytes"].as_u64() > Some(0))
        .map(|peer| text(&peer["key"]))
        .collect();
    served.sort();
    let mut all = [first.key(), second.key(), ours::key(&ours)].map(|key| key.to_string());
    all.sort();
    assert_eq!(served, all, "{download}");
}

rows!(a_source_of_theirs_that_vanishes_is_done_without_and_dialled_again);
/// Nothing tells that it is gone: no connection ends, and nothing arrives any more.
fn a_source_of_theirs_that_vanishes_is_done_without_and_dialled_again(
    release: Release,
    transport: Transport,
) {
    let files = Files::new(&[("big", 48 << 20)]);
    let mut vanishing = release.start(Setup::listening(transport));
    let gate = Gate::to(&vanishing.addr(transport));
    vanishing.tell_addr(gate.addr());
    let link = vanishing.publish("Things", &files.paths(), None);
    let staying = release.start(Setup::listening(transport).seeds([gate.addr()]));
    staying.subscribe(&link);
    staying.sync().expect("a sync");
    let copies = tempfile::tempdir().expect("a temporary folder");
    let item = &staying.items(link.share())[0];
    let copy = copies.path().join("copy");
    staying.download(item.content, &copy).expect("a download");

    let peers = [gate.addr(), staying.addr(transport)].map(|addr| addr.to_string());
    let node = Node::start(ours::only(transport).bootstrap(&peers));
    let events = node.events();
    node.cli(&["subscribe", &link.to_string()]);
    synced(&node, 1);
    let session =
        |theirs: &dyn Published| until("a session", SOON, || ours::session(&node, theirs.key()));
    session(&*vanishing);
    session(&*staying);
    gate.go_dark_after(4 << 20);
    let out = node.folder("out");
    node.cli(&["get", "Things", "-o", arg(&out), "--detach"]);
    finished(&node, SOON);
    assert!(gate.is_dark(), "it gave less than its share");
    files.assert_all_in(&out);
    let key = vanishing.key().to_string();
    until("the end of the session", SOON, || {
        let mut ended = events.of("peer_disconnected").into_iter();
        ended.find(|event| event["peer"] == *key)
    });
    gate.light();
    let again = session(&*vanishing);
    let profile = format!("{:?}", release.profile());
    assert_eq!(again["profile"], *profile);
}

/// How many files a node of ours has open.
fn open_files(node: &Node) -> usize {
    let pid = node.cli(&["status"])["pid"].to_string();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    open.count()
}

rows!(they_fetch_two_hundred_files_and_leave_nothing_open);
/// They dial anew for each request.
fn they_fetch_two_hundred_files_and_leave_nothing_open(release: Release, transport: Transport) {
    let names: Vec<String> = (0..200).map(|number| format!("file {number}")).collect();
    let sized: Vec<(&str, usize)> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (name.as_str(), 3000 * number))
        .collect();
    let files = Files::new(&sized);
    let (counters, args) = Counters::of_next();
    let mut settings = ours::only(transport);
    settings.args.extend(args);
    let node = Node::start(settings);
    let link = publish(&node, &files);
    let theirs = release.start(Setup::default().seeds([ours::addr(&node, transport)]));
    theirs.subscribe(&link);
    theirs.sync().expect("a sync");
    until("the end of what the sync took", SOON, || {
        ours::session(&node, theirs.key()).is_none().then_some(())
    });
    let before = open_files(&node);
    let sessions = || counters.get("scp2p_sessions_total{by=\"peers\"}");
    let sessions_before = sessions();
    assert_downloads(&*theirs, link.share(), &files, "files/");
    assert_eq!(counters.get("scp2p_requests_total{result=\"refused\"}"), 0);
    assert!(sessions() >= sessions_before + 400, "{}", sessions());
    until("the end of all sessions", SOON, || {
        ours::session(&node, theirs.key()).is_none().then_some(())
    });
    until("the end of all that was open", SOON, || {
        (open_files(&node) <= before).then_some(())
    });
}

/// So many bytes need two windows of a seeder's budget of 600 chunks in a minute.
const TWO_WINDOWS: usize = 300 << 20;

/// They refuse more than 600 chunks in a minute, which is neither their fault nor the end.
#[test]
fn we_keep_to_the_budget_of_a_single_seeder_of_theirs() {
    let transports = [Transport::Quic, Transport::Tcp];
    let sources = Release::ALL
        .into_iter()
        .flat_map(|release| transports.map(|transport| (release, transport)));
    let files = Files::new(&[("big", TWO_WINDOWS)]);
    let download = |release: Release, transport| {
        let theirs = release.start(Setup::listening(transport));
        let link = theirs.publish("Things", &files.paths(), None);
        let peer = theirs.addr(transport).to_string();
        let node = Node::start(Settings::default().bootstrap(&[peer]));
        let events = node.events();
        node.cli(&["subscribe", &link.to_string()]);
        synced(&node, 1);
        let out = node.folder("out");
        node.cli(&["get", "Things", "-o", arg(&out), "--detach"]);
        finished(&node, Duration::from_secs(400));
        files.assert_all_in(&out);
        let score = ours::seen(&node, theirs.key()).expect("it is known")["score"].as_i64();
        assert!(score >= Some(0), "{score:?}");
        assert!(events.of("item_failed").is_empty());
        assert!(events.of("peer_disconnected").is_empty());
    };
    thread::scope(|scope| {
        for (release, transport) in sources {
            scope.spawn(move || download(release, transport));
        }
    });
}
