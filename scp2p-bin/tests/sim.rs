//! `scp2p sim`: what it prints, what it writes, and how it exits.

mod common;

use std::fs;
use std::path::Path;

use common::{finish, run, scp2p, stderr, stdout};
use serde_json::Value;

/// Two nodes for a minute, of which one follows the other.
const SMALL: &str = r#"
seed = 5
length = "1m"
heal = "30s"
hosts = [{ name = "a" }, { name = "<b>", bootstrap = ["a"] }]
events = [
    { at = "5s", host = "a", do = "publish", share = "s", files = 1, bytes = 1000 },
    { at = "10s", host = "b", do = "subscribe", to = "a", share = "s" },
]
"#;

fn in_folder(folder: &Path, args: &[&str]) -> std::process::Output {
    finish(scp2p().arg("sim").args(args).current_dir(folder))
}

#[test]
fn a_scenario_is_reported_in_lines_of_json_and_on_a_page() {
    let folder = tempfile::tempdir().expect("temp");
    let path = folder.path().join("small.toml");
    fs::write(&path, SMALL.replace("<b>", "b")).expect("written");
    let args = [
        "--scenario",
        "small.toml",
        "--json",
        "--page",
        "page.html",
        "--check-determinism",
    ];
    let output = in_folder(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let summary = lines.last().expect("there is a summary");
    assert_eq!(summary["line"], "summary");
    assert_eq!(summary["seed"], 5);
    assert_eq!(summary["violations"], 0);
    let end = lines.iter().rfind(|line| line["line"] == "sample");
    let end = end.expect("the run was measured");
    assert_eq!(
        (&end["at"], &end["current"]),
        (&"1m".into(), &1.into()),
        "{end}"
    );
    let page = fs::read_to_string(folder.path().join("page.html")).expect("the page is there");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let digest = summary["digest"].as_str().expect("the digest is text");
    assert!(page.contains(digest));
}

#[test]
fn each_step_is_traced_and_the_same_each_time() {
    let folder = tempfile::tempdir().expect("temp");
    fs::write(folder.path().join("small.toml"), SMALL.replace("<b>", "b")).expect("written");
    let traced = |name: &str| {
        let args = ["--scenario", "small.toml", "--json", "--trace", name];
        let output = in_folder(folder.path(), &args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let trace = fs::read_to_string(folder.path().join(name)).expect("the trace is there");
        let summary = stdout(&output).lines().last().map(serde_json::from_str);
        let summary: Value = summary.expect("there is a summary").expect("it is JSON");
        assert_eq!(summary["steps"], trace.lines().count());
        trace
    };
    let (one, other) = (traced("one"), traced("other"));
    assert_eq!(one, other);
    assert!(
        one.lines()
            .any(|line| line.contains(" b ") && line.contains("-> Commit("))
    );
}

#[test]
fn several_seeds_are_reported_in_their_order() {
    let folder = tempfile::tempdir().expect("temp");
    fs::write(folder.path().join("small.toml"), SMALL.replace("<b>", "b")).expect("written");
    let args = ["--scenario", "small.toml", "--seeds", "3..6", "--jobs", "2"];
    let output = in_folder(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let starts: Vec<&str> = text.lines().map(|line| &line[..9]).collect();
    assert_eq!(
        starts,
        ["seed 3 ok", "seed 4 ok", "seed 5 ok", "3 runs wi"],
        "{text}"
    );
}

#[test]
fn what_cannot_be_run_exits_with_2_and_says_where_it_is_wrong() {
    let folder = tempfile::tempdir().expect("temp");
    fs::write(folder.path().join("small.toml"), SMALL).expect("written");
    let output = in_folder(folder.path(), &["--scenario", "small.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("small.toml: line 5, host \"<b>\": \"<b>\" is no name"),
        "{}",
        stderr(&output)
    );
    for (args, named) in [
        (["sim", "--seeds", "5..5"], "0..200"),
        (["sim", "--villains", "101%"], "100%"),
        (["sim", "--profile", "slow"], "mobile"),
        (["sim", "--nodes", "0"], "--nodes"),
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(named),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let output = in_folder(folder.path(), &["--scenario", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nowhere.toml"));
}
