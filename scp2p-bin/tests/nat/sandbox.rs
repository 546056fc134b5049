//! Tests in a process of their own, in namespaces of its own, from which nothing reaches the machine's network.

use std::io::{Read, Write, stderr, stdin};
use std::panic::catch_unwind;
use std::process::{Command, ExitStatus, Stdio, exit};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};
use std::{env, fs};

use super::common::read_aside;

/// Tells a test that it runs in the sandbox.
const INSIDE: &str = "SCP2P_TEST_SANDBOX";
/// Whoever sets it knows that this machine lets nobody make namespaces, and that these tests show nothing here.
const SKIP: &str = "SCP2P_TEST_NO_NAMESPACES";
/// How the process in the sandbox exits after a test that passed: not as one that ran no test.
const PASSED: i32 = 64;
/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(100);
/// How long the sandbox may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Runs the body of the test of this full name in the sandbox, where it is root and makes namespaces and devices as it
/// likes. All its processes end with it. Where the system does not let this user make namespaces the test fails, or is
/// skipped and says so if [`SKIP`] is set.
pub fn run(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        assert_nothing_is_reachable();
        end_with_the_outer_process();
        body();
        exit(PASSED);
    }
    if let Some(why) = refusal() {
        assert!(
            env::var_os(SKIP).is_some(),
            "{test}: no namespaces here: {why}; allow this user to make them, or set {SKIP}=1 to have these tests skipped"
        );
        // The test harness holds back what a passing test prints, but not what it writes.
        writeln!(
            stderr(),
            "{test}: SKIPPED, it shows nothing: no namespaces here: {why}"
        )
        .expect("standard error");
        return;
    }
    // Also for what the processes inside leave when they are killed.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = isolated();
    command
        .arg(env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("TMPDIR", folder.path());
    let (status, printed) = finish(&mut command);
    let passed = status.code() == Some(PASSED);
    assert!(passed, "{test} in the sandbox: {status}\n{printed}");
    // With `--nocapture` it shows what was measured.
    print!("{printed}");
}

/// Runs what is added to it in the sandbox; killing it kills all inside.
fn isolated() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--pid"]);
    command.args(["--fork", "--kill-child"]);
    command
}

/// What the system says when this user may make no namespaces.
fn refusal() -> Option<String> {
    let tried = isolated().arg("true").output();
    let output = tried.expect("unshare of util-linux starts");
    let said = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| said.trim().to_owned())
}

/// A sandbox that is none would let tests send to the machine's network.
fn assert_nothing_is_reachable() {
    let routes = fs::read_to_string("/proc/thread-self/net/route").expect("a table");
    assert_eq!(routes.lines().nth(1), None, "below a head");
    // There is none on a system without IPv6.
    let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    let mut devices = routes.lines().map(|route| route.split_whitespace().last());
    assert!(devices.all(|device| device == Some("lo")), "{routes}");
}

/// However the outer process ends, its end of the pipe is closed.
fn end_with_the_outer_process() {
    spawn(|| {
        let _ = stdin().read(&mut [0]);
        exit(1);
    });
}

/// Runs a command to its end, or ends it in time; how it exited and what it printed.
fn finish(command: &mut Command) -> (ExitStatus, String) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("unshare starts");
    let pipes = [
        read_aside(child.stdout.take().expect("it is piped")),
        read_aside(child.stderr.take().expect("it is piped")),
    ];
    let started = Instant::now();
    let mut late = "";
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if started.elapsed() > LIMIT {
            late = "ended because it took too long\n";
            drop(child.stdin.take());
        }
        if started.elapsed() > LIMIT + END_LIMIT {
            child.kill().expect("it runs");
        }
        sleep(Duration::from_millis(5));
    };
    let printed = pipes.map(|pipe| pipe.join().expect("read"));
    let printed = String::from_utf8_lossy(&printed.concat()).into_owned();
    (status, late.to_owned() + &printed)
}

#[test]
fn what_fails_inside_fails_the_test_and_leaves_no_process() {
    const TEST: &str = "sandbox::what_fails_inside_fails_the_test_and_leaves_no_process";
    let ran = catch_unwind(|| {
        run(TEST, || {
            // It holds the pipes that are read to their end outside.
            let left = Command::new("sh").args(["-c", "sleep 1000 &"]).status();
            assert!(left.expect("a shell").success());
            panic!("as in a test that fails");
        });
    });
    let is_skipped = refusal().is_some() && env::var_os(SKIP).is_some();
    assert_eq!(ran.is_err(), !is_skipped);
}
