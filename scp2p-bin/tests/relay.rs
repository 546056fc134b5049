//! `scp2p relay`: started, asked, told anew, stopped and installed as operators do it.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::peer::Peer;
use common::{Node, Settings, finish, run, scp2p, stderr, stdout, text, until};
use rustix::process::Signal;
use scp2p_proto::id::{ContentId, RelaySlotId};
use scp2p_proto::keys::Keys;
use scp2p_proto::wire::{Answer, Profile, RelayRegister, RelayStream, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// A relay with a settings file.
struct Relay {
    node: Node,
    file: PathBuf,
    dir: TempDir,
}

impl Relay {
    fn start(settings: &str, args: &[&str]) -> Relay {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("relay.toml");
        fs::write(&file, settings).expect("written");
        let config = file.to_str().expect("UTF-8");
        let args = [&["--config", config], args].concat();
        let node = Node::start(Settings {
            args: args.into_iter().map(str::to_owned).collect(),
            relay: true,
            log: Some(dir.path().join("log")),
            ..Settings::default()
        });
        Relay { node, file, dir }
    }

    fn look(&self) -> Value {
        self.node.cli(&["relay", "circuits"])
    }

    fn reload(&self, settings: &str) {
        fs::write(&self.file, settings).expect("written");
        self.node.signal(Signal::HUP);
    }

    /// Waits until its log has a line with these words.
    fn wait_for_log(&self, words: &[&str]) {
        let log = self.dir.path().join("log");
        until(&words.join(", "), SOON, || {
            let text = fs::read_to_string(&log).expect("a log");
            let has_all = |line: &str| words.iter().all(|word| line.contains(word));
            text.lines().any(has_all).then_some(())
        });
    }

    /// Waits until a limit has this value.
    fn wait_for_limit(&self, name: &str, value: Value) {
        until(name, SOON, || {
            (self.look()["limits"][name] == value).then_some(())
        });
    }
}

/// A node that nobody can dial, which starts from there.
fn behind(peers: &[String]) -> Node {
    let settings = Settings {
        tcp_only: true,
        quic_only: true,
        ..Settings::default()
    };
    Node::start(settings.bootstrap(peers))
}

/// A port of loopback that was free just now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

/// What a server answers to a request for a path, asked by this name.
fn http(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_relay_starts_from_its_file_and_prints_what_others_start_from() {
    let relay = Relay::start(
        "max_tunnels = 7\nmax_places = 9\nrelay_content = true\n",
        &["--max-places", "8"],
    );
    let limits = &relay.look()["limits"];
    assert_eq!(limits["max_tunnels"], 7);
    assert_eq!(limits["max_places"], 8);
    assert_eq!(limits["relay_content"], true);
    let pinned = relay.node.ready["bootstrap"].as_array().expect("a list");
    let key = relay.node.key();
    let pinned: Vec<String> = pinned.iter().map(text).collect();
    let tcp = format!("tcp://{}@{key}", relay.node.tcp());
    assert!(pinned.contains(&tcp), "{pinned:?}");
    for peer in pinned {
        let other = Node::start(Settings::default().bootstrap(&[peer]));
        until("a session with the relay", SOON, || {
            let peers = other.cli(&["peers"]);
            let is_relay = |peer: &Value| peer["key"] == key && !peer["session"].is_null();
            let mut peers = peers.as_array().expect("a list").iter();
            peers.any(is_relay).then_some(())
        });
    }
    let wrong = format!("tcp://{}@{}", relay.node.tcp(), "00".repeat(32));
    let other = behind(&[wrong]);
    let events = other.events();
    until("the pin to be missed", SOON, || {
        let known = other.cli(&["status"])["connected"] == 0;
        (known && !events.of("pin_mismatch").is_empty()).then_some(())
    });
}

#[test]
fn what_a_user_announces_comes_first_with_its_name() {
    let args = ["--announce", "tcp://localhost:4001"];
    let relay = Relay::start("", &args);
    let pinned = format!("tcp://localhost:4001@{}", relay.node.key());
    assert_eq!(relay.node.ready["bootstrap"], json!([pinned]));
    let first = text(&relay.node.ready["addresses"][0]);
    assert!(first.contains(":4001@"), "{first}");

    let output = run(&["relay", "--announce", "tcp://0.0.0.0:7001"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("0.0.0.0:7001"), "{output:?}");
    let dir = tempfile::tempdir().expect("a folder");
    let name = "quic://no-such-host.invalid:7000";
    let output = finish(
        scp2p()
            .args(["relay", "--announce", name, "--data-dir"])
            .arg(dir.path().join("data")),
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(name), "{output:?}");
}

#[test]
fn people_get_a_line_with_version_key_and_addresses() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut relay = scp2p();
    relay.args(["relay", "--bind-tcp", "127.0.0.1:0", "--bind-quic", ""]);
    relay.args(["--stop-on-stdin-eof", "--data-dir"]);
    relay.arg(dir.path().join("data"));
    relay.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = relay.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    drop(child.stdin.take());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("a pipe");
    assert_eq!(rest, "");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert!(line.starts_with(concat!("scp2p ", env!("CARGO_PKG_VERSION"))));
    let (_, pinned) = line.trim_end().split_once("--bootstrap ").expect("a pin");
    let (_, key) = pinned.split_once('@').expect("a key");
    assert!(line.contains(&format!("key {key};")), "{line}");
    let warned = stderr(&output);
    assert!(warned.contains("no peer to start from"), "{warned}");
}

#[test]
fn health_and_counters_are_served_on_loopback_alone() {
    let address = free_address();
    let metrics = address.to_string();
    let relay = Relay::start("max_tunnels = 11\n", &["--metrics", &metrics]);
    let healthy = http(address, "/healthz", &metrics);
    assert!(healthy.starts_with("HTTP/1.1 200 "), "{healthy}");
    assert!(healthy.ends_with("\r\n\r\nok\n"), "{healthy}");
    let counters = http(address, "/metrics", "localhost:9100");
    let (_, page) = counters.split_once("\r\n\r\n").expect("a page");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once(' ').expect("a value");
        assert!(name.starts_with("scp2p_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let plain = name.split('{').next().expect("a name");
        assert!(page.contains(&format!("# TYPE {plain} ")), "{line}");
    }
    for line in [
        "scp2p_relay_circuits 0",
        "scp2p_relay_circuits_max 11",
        "scp2p_relay_bytes_total 0",
        "scp2p_relay_tunnel_bytes_total 0",
        concat!(
            "scp2p_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(http(address, "/metrics", "evil.example").starts_with("HTTP/1.1 403 "));
    assert!(http(address, "/", &metrics).starts_with("HTTP/1.1 404 "));

    relay.node.signal(Signal::TERM);
    until("the end of metrics", SOON, || {
        TcpStream::connect(address).is_err().then_some(())
    });
    let output = run(&["relay", "--metrics", "0.0.0.0:9100"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("loopback"), "{output:?}");
}

#[test]
fn a_signal_has_limits_read_again_and_a_broken_file_changes_nothing() {
    let mut relay = Relay::start("max_tunnels = 7\n", &["--max-places", "8"]);
    relay.wait_for_limit("max_tunnels", json!(7));
    let key = "ab".repeat(32);
    relay.reload(&format!(
        "max_tunnels = 5\nmax_places = 3\nmax_rate = \"1MiB\"\nallow = [\"{key}\"]\ndrain_secs = 2\n"
    ));
    relay.wait_for_limit("max_tunnels", json!(5));
    let limits = relay.look()["limits"].clone();
    assert_eq!(limits["max_places"], 8, "options beat the file");
    assert_eq!(limits["max_rate"], 1 << 20);
    assert_eq!(limits["allow"], json!([key]));

    relay.wait_for_log(&["drain_secs stays the default", "\"2\""]);

    relay.reload("max_tunnels = 4\nmax_tunels_per_ip = 1\n");
    relay.wait_for_log(&["ERROR", "relay.toml, line 2", "max_tunels_per_ip"]);
    assert_eq!(relay.look()["limits"], limits);
    relay.reload("max_tunnels = 6\n");
    relay.wait_for_limit("max_tunnels", json!(6));
    assert_eq!(relay.look()["limits"]["max_rate"], Value::Null);
    relay.node.signal(Signal::TERM);
    assert_eq!(relay.node.wait().code(), Some(0));
}

#[test]
fn places_and_circuits_are_listed_and_a_relay_that_stops_waits_for_them() {
    let mut relay = Relay::start("drain_secs = 1\n", &[]);
    let peers = relay.node.bootstrap();
    let (publisher, follower) = (behind(&peers), behind(&peers));
    let file = publisher.folder("files").join("file");
    fs::write(&file, "published").expect("written");
    until("places", SOON, || {
        (relay.look()["places"].as_array().expect("a list").len() == 2).then_some(())
    });
    let path = file.to_str().expect("UTF-8");
    let link = text(&publisher.cli(&["publish", path, "--share", "x"])["link"]);
    follower.cli(&["subscribe", &link]);
    let circuit = until("a circuit", SOON, || {
        relay.look()["circuits"]
            .as_array()
            .expect("a list")
            .first()
            .cloned()
    });
    let keys = [publisher.key(), follower.key()];
    assert!(keys.contains(&text(&circuit["opener"])), "{circuit}");
    assert!(keys.contains(&text(&circuit["target"])), "{circuit}");
    let list = stdout(&relay.node.try_cli(&["relay", "circuits"]));
    for named in [
        "opened by",
        "place of",
        "127.0.0.1",
        &keys[0][..12],
        &keys[1][..12],
    ] {
        assert!(list.contains(named), "{named}: {list}");
    }
    let wrong = relay
        .node
        .try_cli(&["relay", "--max-tunnels", "5", "circuits"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");

    let stopped = relay.node.try_cli(&["stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert_eq!(relay.node.wait().code(), Some(0));
}

/// A deployed peer's slot at the relay, with its tunnel.
fn slot(relay: &Relay, keys: &Keys) -> (Peer, RelaySlotId) {
    let mut owner = Peer::dial_deployed(relay.node.tcp(), keys, Profile::C).expect("a session");
    let register = RelayRegister {
        slot: None,
        tunnel: true,
    };
    match owner.ask(&Request::RelayRegister(register)) {
        Ok(Answer::RelayRegistered(registered)) => (owner, registered.slot),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tunnels_are_listed_and_a_relay_that_stops_waits_for_what_is_asked_through_them() {
    let mut relay = Relay::start("drain_secs = 60\n", &[]);
    let (owner_keys, asker_keys) = (Keys::from_seed([41; 32]), Keys::from_seed([42; 32]));
    let (mut owner, slot) = slot(&relay, &owner_keys);
    let (release, held) = channel();
    thread::spawn(move || {
        let _ = owner.serve(|_| {
            // Nobody is asked before.
            let _ = held.recv();
            None
        });
    });
    let tcp = relay.node.tcp();
    let (asker_key, owner_key) = (asker_keys.public(), owner_keys.public());
    let asked = |slot| {
        let inner = Request::GetChunkHashes(ContentId([1; 32])).to_envelope(1);
        Request::RelayStream(RelayStream::for_owner(slot, inner))
    };
    let asker = thread::spawn(move || {
        let mut asker = Peer::dial_deployed(tcp, &asker_keys, Profile::C)?;
        asker.ask(&asked(slot))
    });
    let listed = until("a request", SOON, || {
        let slot = relay.look()["slots"][0].clone();
        let asking = slot["tunnel"]["asking"].as_array()?.len();
        (asking == 1).then_some(slot)
    });
    assert_eq!(listed["owner"], owner_key.to_string(), "{listed}");
    assert_eq!(listed["ip"], "127.0.0.1", "{listed}");
    let tunnel = &listed["tunnel"];
    assert_eq!(tunnel["asking"][0]["peer"], asker_key.to_string());
    assert_eq!(tunnel["requests"], 1, "{listed}");
    assert!(tunnel["bytes"].as_u64() > Some(0), "{listed}");
    let list = stdout(&relay.node.try_cli(&["relay", "circuits"]));
    let keys = [owner_key, asker_key].map(|key| key.to_string()[..12].to_owned());
    for named in [
        "tunnels   1 of deployed peers, readable here, 1 request under way",
        "slot of",
        "asked by",
        &keys[0],
        &keys[1],
    ] {
        assert!(list.contains(named), "{named}: {list}");
    }
    let mut late = Peer::dial_deployed(tcp, &Keys::from_seed([43; 32]), Profile::C).expect("up");
    let other = RelaySlotId(slot.0 ^ 1);
    relay.node.signal(Signal::TERM);
    until("a refusal", SOON, || {
        let refused = late.ask(&asked(other)).expect_err("nothing is served");
        refused.to_string().contains("about to stop").then_some(())
    });
    release.send(()).expect("it waits");
    let answer = asker.join().expect("it does not panic");
    assert!(matches!(answer, Ok(Answer::RelayStream(_))), "{answer:?}");
    assert_eq!(relay.node.wait().code(), Some(0));
}

#[test]
fn a_reload_ends_what_the_new_list_does_not_allow() {
    let relay = Relay::start("", &[]);
    let (mut owner, _) = slot(&relay, &Keys::from_seed([41; 32]));
    let client = behind(&relay.node.bootstrap());
    let counts = || {
        let look = relay.look();
        ["slots", "places"].map(|list| look[list].as_array().expect("a list").len())
    };
    until("a place", SOON, || (counts() == [1, 1]).then_some(()));
    relay.reload(&format!("allow = [\"{}\"]\n", client.key()));
    until("the end of the slot", SOON, || {
        (counts() == [0, 1]).then_some(())
    });
    owner.closed();
    relay.reload(&format!("allow = [\"{}\"]\n", "ab".repeat(32)));
    until("the end of the place", SOON, || {
        (counts() == [0, 0]).then_some(())
    });
    until("the client to know", SOON, || {
        let reach = client.cli(&["status"])["reachability"]["state"].clone();
        (reach != "relayed").then_some(())
    });
}

#[test]
fn the_limit_given_is_the_limit_enforced() {
    let relay = Relay::start("", &["--max-places", "1"]);
    let peers = relay.node.bootstrap();
    let _clients = [behind(&peers), behind(&peers)];
    let look = until("a refusal", SOON, || {
        let look = relay.look();
        let places = look["places"].as_array().expect("a list").len();
        (places == 1 && look["refused"] != 0).then_some(look)
    });
    assert_eq!(look["limits"]["max_places"], 1);
    let list = stdout(&relay.node.try_cli(&["relay", "circuits"]));
    assert!(list.contains("places    1 of 1\n"), "{list}");
}

#[test]
fn a_node_that_relays_for_nobody_says_so() {
    let node = Node::start(Settings::default());
    assert_eq!(node.cli(&["relay", "circuits"])["limits"], Value::Null);
    let list = stdout(&node.try_cli(&["relay", "circuits"]));
    assert!(list.contains("relays for nobody"), "{list}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_service_is_installed_with_the_settings_given_and_nothing_is_overwritten() {
    let root = tempfile::tempdir().expect("a folder");
    let below = |place: &str| root.path().join(place);
    let install = |command: &str, args: &[&str]| {
        let mut tool = scp2p();
        tool.args(["relay", command]).args(args);
        finish(
            tool.env("SCP2P_MAX_PLACES", "40")
                .arg("--root")
                .arg(root.path()),
        )
    };
    let given = [
        "--max-tunnels",
        "5",
        "-b",
        "a.example:7001",
        "-b",
        "b.example:7001",
    ];
    let planned = install("install", &[&given[..], &["--dry-run"]].concat());
    assert!(planned.status.success(), "{planned:?}");
    assert!(
        stdout(&planned).contains("\nmax_tunnels = \"5\"\n"),
        "{planned:?}"
    );
    assert!(!below("etc").exists());

    let output = install("install", &given);
    assert!(output.status.success(), "{output:?}");
    let unit = fs::read_to_string(below("etc/systemd/system/scp2p-relay.service")).expect("a unit");
    let program = scp2p().get_program().to_str().expect("UTF-8").to_owned();
    for line in [
        &*format!(
            "ExecStart={program} relay --config /etc/scp2p/relay.toml --data-dir ${{STATE_DIRECTORY}}"
        ),
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}\n{unit}");
    }
    let config = below("etc/scp2p/relay.toml");
    starts_with_limits(&config);

    fs::write(&config, "# mine\n").expect("written");
    let again = install("install", &given);
    assert!(again.status.success(), "{again:?}");
    assert!(stdout(&again).contains("is not in it"), "{again:?}");
    assert_eq!(fs::read_to_string(&config).expect("kept"), "# mine\n");

    let place = below("etc/systemd/system/scp2p-relay.service");
    fs::write(&place, "[Unit]\n").expect("written");
    let other = install("install", &given);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert_eq!(fs::read_to_string(&place).expect("kept"), "[Unit]\n");

    let wrong = install("install", &["--max-tunnels", "many"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");

    let gone = finish(
        scp2p()
            .args(["relay", "uninstall", "--root"])
            .arg(root.path()),
    );
    assert!(gone.status.success(), "{gone:?}");
    assert!(!place.exists());
    assert!(config.exists());
    assert!(stdout(&gone).contains("etc/scp2p/relay.toml"), "{gone:?}");
}

/// Whether a relay starts with the file that was installed, and has its limits.
fn starts_with_limits(config: &Path) {
    let relay = Relay::start(&fs::read_to_string(config).expect("a file"), &[]);
    let limits = &relay.look()["limits"];
    assert_eq!(limits["max_tunnels"], 5);
    assert_eq!(limits["max_places"], 40);
}
