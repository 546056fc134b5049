//! The command by itself: what it says and how it exits where no other node is needed.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use common::{Node, Settings, finish, run, scp2p, stderr, stdout, text, until};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn help_and_version_are_asked_for_and_go_to_standard_output() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["node", "publish", "subscribe", "search", "get", "demo"] {
        assert!(stdout(&help).contains(command), "{}", stdout(&help));
    }
    assert!(
        stdout(&help).contains("no node is running"),
        "exit codes are told"
    );
    let version = run(&["--version"]);
    assert_eq!(
        stdout(&version),
        concat!("scp2p ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for args in [["get", "--help"], ["help", "get"]] {
        assert!(stdout(&run(&args)).contains("--detach"));
    }
}

#[test]
fn a_wrong_command_line_is_named_and_exits_with_2() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "scp2p --help"),
        (&["frobnicate"], "frobnicate"),
        (&["get", "--detatch", "x"], "--detatch"),
        (&["publish", "--share", "x"], "PATH"),
        (
            &["publish", "/", "--share", "x", "--public", "--private"],
            "--private",
        ),
        (&["search", "x", "--limit", "201"], "201"),
        (&["node", "--bind-quic", "localhost:1"], "localhost:1"),
        (&["node", "--bootstrap", "udp://a:1"], "udp://a:1"),
        (&["node", "--log-level", "loud"], "loud"),
    ];
    for (args, named) in cases {
        let output = run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(named),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = finish(scp2p().arg("node").env("SCP2P_BIND_TCP", "7001"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("SCP2P_BIND_TCP") && stderr(&output).contains("7001"));
}

#[test]
fn without_a_node_every_command_says_how_to_start_one() {
    let temp = tempfile::tempdir().expect("temp");
    let dir = temp.path().to_str().expect("UTF-8");
    let commands: [&[&str]; 21] = [
        &["status"],
        &["id"],
        &["peers"],
        &["publish", dir, "--share", "x"],
        &["shares"],
        &["unpublish", "x"],
        &["link", "x"],
        &["subscribe", "scp2p://s/x"],
        &["unsubscribe", "x"],
        &["subscriptions"],
        &["public"],
        &["sync"],
        &["browse", "x"],
        &["search", "x"],
        &["get", "x"],
        &["downloads"],
        &["pause", "1"],
        &["resume", "1"],
        &["cancel", "1"],
        &["events"],
        &["stop"],
    ];
    for command in commands {
        let output = run(&[command, &["--data-dir", dir]].concat());
        assert_eq!(
            output.status.code(),
            Some(3),
            "{command:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("scp2p node"),
            "{command:?}: {}",
            stderr(&output)
        );

        let output = run(&[command, &["--data-dir", dir, "--json"]].concat());
        assert_eq!(output.status.code(), Some(3), "{command:?}");
        let error: Value = serde_json::from_str(&stderr(&output)).expect("JSON");
        assert_eq!(error["error"]["code"], "no_node", "{command:?}");
    }
}

#[test]
fn a_node_is_ready_when_it_says_so_and_keeps_others_out() {
    let node = Node::start(Settings::default());
    let status = node.cli(&["status"]);
    assert_eq!(status["key"], node.ready["key"]);
    assert_eq!(node.cli(&["id"])["key"], node.ready["key"]);
    let control = text(&node.ready["control"]);
    assert_eq!(fs::metadata(&control).expect("there").mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(node.data_dir()).expect("there").mode() & 0o777,
        0o700
    );
    assert!(stdout(&node.try_cli(&["status"])).contains(&node.key()));
    for list in ["peers", "shares", "subscriptions", "public", "downloads"] {
        assert_eq!(node.cli(&[list]), Value::Array(Vec::new()), "{list}");
    }
}

#[test]
fn a_second_node_on_the_directory_is_refused_and_leaves_the_first_alone() {
    let node = Node::start(Settings::default());
    let output = node.try_cli(&[
        "node",
        "--bind-quic",
        "127.0.0.1:0",
        "--bind-tcp",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(node.data_dir().to_str().expect("UTF-8")),
        "{}",
        stderr(&output)
    );
    assert_eq!(node.cli(&["status"])["key"], node.ready["key"]);
}

#[test]
fn a_taken_port_is_named_and_exits_with_6() {
    let temp = tempfile::tempdir().expect("temp");
    let dir = temp.path().join("data");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let tcp_address = tcp.local_addr().expect("bound").to_string();
    let udp_address = udp.local_addr().expect("bound").to_string();
    for (option, taken, other) in [
        ("--bind-tcp", tcp_address, "--bind-quic"),
        ("--bind-quic", udp_address, "--bind-tcp"),
    ] {
        let output = finish(
            scp2p()
                .args(["node", option, &taken, other, "", "--data-dir"])
                .arg(&dir),
        );
        assert_eq!(
            output.status.code(),
            Some(6),
            "{option}: {}",
            stderr(&output)
        );
        assert!(stderr(&output).contains(&taken), "{}", stderr(&output));
    }
}

#[test]
fn an_unusable_directory_is_named() {
    let temp = tempfile::tempdir().expect("temp");
    let file = temp.path().join("file");
    fs::write(&file, "x").expect("written");
    let open = temp.path().join("open");
    fs::create_dir(&open).expect("made");
    fs::write(open.join("something"), "x").expect("written");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("opened");
    let long = temp.path().join("x".repeat(120));
    for dir in [file.clone(), file.join("below"), open, long] {
        let output = finish(
            scp2p()
                .args([
                    "node",
                    "--bind-quic",
                    "127.0.0.1:0",
                    "--bind-tcp",
                    "127.0.0.1:0",
                    "--data-dir",
                ])
                .arg(&dir),
        );
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(
            stderr(&output).contains(dir.to_str().expect("UTF-8")),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(fs::read(&file).expect("there"), b"x");
}

#[test]
fn every_way_to_stop_a_node_is_clean() {
    for way in ["SIGTERM", "SIGINT", "stop", "stdin"] {
        let mut node = Node::start(Settings::default());
        let control = text(&node.ready["control"]);
        match way {
            "SIGTERM" => node.signal(Signal::TERM),
            "SIGINT" => node.signal(Signal::INT),
            "stop" => {
                node.cli(&["stop"]);
                assert!(
                    !fs::exists(&control).expect("readable"),
                    "stop returns when the node is gone"
                );
            }
            _ => node.close_stdin(),
        }
        assert_eq!(node.wait().code(), Some(0), "{way}");
        assert!(!fs::exists(&control).expect("readable"), "{way}");
        let key = node.key();
        node.restart();
        assert_eq!(node.key(), key, "{way}");
    }
}

#[test]
fn a_socket_left_by_a_crash_is_in_nobodys_way() {
    let mut node = Node::start(Settings::default());
    let key = node.key();
    node.kill();
    let control = text(&node.ready["control"]);
    assert!(
        fs::exists(&control).expect("readable"),
        "the crash left the socket"
    );
    let output = node.try_cli(&["status"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    node.restart();
    assert_eq!(text(&node.cli(&["status"])["key"]), key);
}

#[test]
fn what_is_not_there_exits_with_4() {
    let node = Node::start(Settings::default());
    let unknown = "ab".repeat(32);
    for args in [
        ["link", "nothing"],
        ["browse", "abcd"],
        ["get", "nothing/here"],
        ["unsubscribe", &unknown],
        ["unpublish", &unknown],
        ["pause", "4711"],
        ["resume", "4711"],
        ["cancel", "4711"],
        ["get", "1"],
    ] {
        let output = node.try_cli(&args);
        assert_eq!(
            output.status.code(),
            Some(4),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let output = node.try_cli(&["subscribe", "https://example.org"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = node.try_cli(&["publish", "/no such path", "--share", "x"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("/no such path"));
}

/// Sends raw bytes to the control socket and reads the answer to its end.
#[test]
fn what_cannot_be_published_is_told_before_anything_is_hashed() {
    let node = Node::start(Settings::default());
    let many = node.folder("many");
    for file in 0..3001 {
        fs::write(many.join(file.to_string()), "").expect("written");
    }
    let (many, none) = (many.display().to_string(), many.join("none"));
    let none = none.display().to_string();
    let empty = node.folder("empty").display().to_string();
    let cases = [
        (&many, "too_many_items", "3000"),
        (&none, "system", none.as_str()),
        (&empty, "nothing_to_publish", "no file"),
    ];
    for (path, code, named) in cases {
        let output = node.try_cli(&["publish", path, "--share", "x", "--json"]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        let failure: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        assert_eq!(failure["error"]["code"], code);
        assert!(text(&failure["error"]["message"]).contains(named));
    }
    assert_eq!(node.cli(&["shares"]), serde_json::json!([]));
}

#[test]
fn a_part_of_a_share_is_browsed_by_its_path() {
    let node = Node::start(Settings::default());
    let folder = node.folder("a");
    fs::create_dir(folder.join("b")).expect("made");
    for name in ["one", "b/two"] {
        fs::write(folder.join(name), name).expect("written");
    }
    node.cli(&["publish", &folder.display().to_string(), "--share", "x/y"]);
    let paths = |args: &[&str]| {
        let catalog = node.cli(args);
        let items = catalog["items"].as_array().expect("items").iter();
        items.map(|item| text(&item["path"])).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["browse", "x/y"]), ["a/b/two", "a/one"]);
    assert_eq!(paths(&["browse", "x/y/a/b"]), ["a/b/two"]);
    assert_eq!(paths(&["browse", "x/y", "--path", "a/one"]), ["a/one"]);
    let output = node.try_cli(&["browse", "x/y/none"]);
    assert_eq!(output.status.code(), Some(4));
}

fn raw(control: &str, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(control).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("set");
    // The node may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_api_refuses_what_it_does_not_know_and_says_why() {
    let node = Node::start(Settings::default());
    let control = text(&node.ready["control"]);
    let post = |route: &str, body: &str| {
        format!(
            "POST /v1/{route} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let too_long = format!("\"{}\"", "x".repeat(1024 * 1024));
    for (request, status, code) in [
        (get("/"), "404", "no_route"),
        (get("/v1/publish"), "405", "method"),
        (post("status", ""), "405", "method"),
        (get("/v1/status?x=1"), "400", "bad_request"),
        (get("/v1/catalog"), "400", "bad_request"),
        (get("/v1/catalog?share=xyz"), "400", "bad_request"),
        (get("/v1/search?q=x&limit=0"), "400", "bad_request"),
        (post("publish", "{"), "400", "bad_request"),
        (post("publish", &too_long), "413", "too_large"),
        (post("get", r#"{"folder":"/tmp"}"#), "400", "bad_request"),
        (
            post("publish", r#"{"name":"x","paths":["relative"]}"#),
            "400",
            "bad_request",
        ),
        (
            post("publish", r#"{"name":"x","paths":["/tmp"],"surprise":1}"#),
            "400",
            "bad_request",
        ),
        (
            post("subscribe", r#"{"link":"scp2p://s/AAAA"}"#),
            "400",
            "bad_link",
        ),
        (
            post("cancel", r#"{"download":4711}"#),
            "404",
            "unknown_download",
        ),
    ] {
        let answer = raw(&control, request.as_bytes());
        let start = &request[..request.len().min(60)];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{start}: {answer}"
        );
        assert!(
            answer.contains(&format!("\"code\":\"{code}\"")),
            "{start}: {answer}"
        );
    }
    assert!(raw(&control, b"\x16\x03\x01 not HTTP\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert_eq!(node.cli(&["status"])["key"], node.ready["key"]);
}

#[test]
fn silent_connections_do_not_keep_others_out_for_good() {
    let node = Node::start(Settings::default());
    let control = text(&node.ready["control"]);
    let silent: Vec<_> = (0..200)
        .map(|_| UnixStream::connect(&control).expect("it listens"))
        .collect();
    until(
        "an answer beside silent connections",
        Duration::from_secs(60),
        || node.try_cli(&["status"]).status.success().then_some(()),
    );
    drop(silent);
}

#[test]
fn a_node_that_does_not_answer_is_not_waited_for_without_end() {
    let node = Node::start(Settings::default());
    node.signal(Signal::STOP);
    let output = node.try_cli(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("does not answer"), "{output:?}");
    node.signal(Signal::CONT);
    assert_eq!(node.cli(&["status"])["key"], node.ready["key"]);
}

#[test]
fn the_event_stream_ends_with_the_node() {
    let mut node = Node::start(Settings::default());
    let mut stream = UnixStream::connect(text(&node.ready["control"])).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("set");
    stream
        .write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut start = [0; 12];
    stream
        .read_exact(&mut start)
        .expect("the answer begins before anything happens");
    assert_eq!(&start, b"HTTP/1.1 200");
    node.signal(Signal::TERM);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("it ends");
    assert!(
        rest.ends_with("\r\n0\r\n\r\n"),
        "not cut off but ended: {rest}"
    );
    assert_eq!(node.wait().code(), Some(0));
}

#[test]
fn a_node_takes_the_open_files_that_it_may_have() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "ulimit -Sn 256; exec \"$0\" \"$@\""])
        .arg(scp2p().get_program())
        .args(["node", "--stop-on-stdin-eof", "--bind-quic", "127.0.0.1:0"])
        .args(["--bind-tcp", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut node = shell.spawn().expect("a shell");
    let mut ready = String::new();
    BufReader::new(node.stdout.take().expect("piped"))
        .read_line(&mut ready)
        .expect("a line");
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.id())).expect("limits");
    drop(node.stdin.take());
    node.wait().expect("a process");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("a limit of files");
    let mut numbers = line.split_whitespace();
    let soft = numbers.next().and_then(|soft| soft.parse::<u64>().ok());
    assert!(soft.is_some_and(|soft| soft > 256), "{ready}: {line}");
}
