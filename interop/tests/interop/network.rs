//! Tests in a network of their own, in which there is loopback and nothing else.

use std::env;
use std::io::{Write, stderr};
use std::process::{Command, Output};

/// Tells a test that it runs in its own network.
const INSIDE: &str = "SCP2P_INTEROP_ALONE";

/// Runs the body of the test of this full name, again, in a network of its own. Where the system does not let this user
/// make one the test is skipped, and says so.
pub fn run_alone(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let tried = alone(&mut Command::new("true"));
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr);
        // The test harness holds back what a passing test prints, but not what it writes.
        return writeln!(stderr(), "{test}: SKIPPED, no network of its own: {why}")
            .expect("standard error");
    }
    let this = env::current_exe().expect("a program");
    let mut again = Command::new(this);
    let ran = alone(again.args(["--exact", test]).env(INSIDE, "1"));
    let said = String::from_utf8_lossy(&ran.stdout);
    let passed = ran.status.success() && said.contains(" 1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

/// Runs a command in a network of its own.
fn alone(command: &mut Command) -> Output {
    let variables = command.get_envs();
    let variables = variables.filter_map(|(name, value)| Some((name, value?)));
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c"])
        .args(["ip link set lo up && exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(variables)
        .output()
        .expect("unshare, of util-linux, starts")
}
