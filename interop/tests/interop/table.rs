//! `docs/interop.md` lists the tests, neither more nor fewer.

use std::collections::BTreeSet;
use std::process::Command;

const TABLE: &str = include_str!("../../../docs/interop.md");

/// The tests that a row of the table stands for: its name, by profiles and transports if it has some.
fn tests_of(row: &str) -> Option<Vec<String>> {
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let [_, _case, profiles, transports, result, name, _] = cells[..] else {
        return None;
    };
    let name = name.strip_prefix('`')?.strip_suffix('`')?;
    assert_eq!(result, "passes", "{row}");
    if profiles == "all at once" {
        return Some(vec![format!("{name}: test")]);
    }
    let mut tests = Vec::new();
    for profile in profiles.to_lowercase().split(", ") {
        for transport in transports.to_lowercase().split(", ") {
            tests.push(format!("{name}::{profile}_{transport}: test"));
        }
    }
    Some(tests)
}

#[test]
fn every_test_is_in_a_row_and_every_row_is_tested() {
    let this = std::env::current_exe().expect("a program");
    let listed = Command::new(this).arg("--list").output().expect("it runs");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let tests: BTreeSet<String> = listed
        .lines()
        .filter(|line| line.ends_with(": test") && !line.starts_with("table::"))
        .map(str::to_owned)
        .collect();
    let rows: BTreeSet<String> = TABLE.lines().filter_map(tests_of).flatten().collect();
    assert_eq!(rows, tests);
}
