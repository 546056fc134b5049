//! Catalogs whose publisher wants to write where it may not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::common::peer::Publisher;
use super::common::{Node, Settings, stderr, text};
use super::follow;

/// Places that no file is written to, and a word of the reason that is told.
fn tricks() -> Vec<(String, &'static str)> {
    let fixed = [
        ("../escaped", "\"..\""),
        ("a/../../escaped", "\"..\""),
        ("a/..", "\"..\""),
        ("./dot", "\"..\""),
        ("/absolute", "absolute"),
        ("//server/share", "absolute"),
        ("C:/drive", "drive"),
        ("c:drive", "drive"),
        ("\\\\server\\share", "backslash"),
        ("..\\escaped", "backslash"),
        ("a\\b", "backslash"),
        ("CON", "device"),
        ("a/nul.txt", "device"),
        ("Lpt1.tar.gz", "device"),
        ("stream:hidden", "reserved"),
        ("what?", "reserved"),
        ("nul\0byte", "control"),
        ("bell\u{7}", "control"),
        ("line\nbreak", "control"),
        ("escape\u{1b}[2J", "control"),
        ("dot.", "ends in a dot"),
        ("space ", "ends in a dot"),
        ("folder./file", "ends in a dot"),
        ("", "empty"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("bidi\u{202e}gpj.exe", "invisible"),
        ("zero\u{200b}width", "invisible"),
    ];
    let long = [
        ("x".repeat(251), "longer than 250"),
        (format!("a/{}", "y/".repeat(600)), "longer than 1024"),
        ("d/".repeat(32) + "deep", "nested deeper"),
    ];
    let fixed = fixed.map(|(place, reason)| (place.to_owned(), reason));
    fixed.into_iter().chain(long).collect()
}

/// Places that collide with a harmless one that the catalog names before them.
const COLLISIONS: [&str; 6] = [
    "README.TXT",
    "readme.txt",
    "readme.txt/below",
    "folder",
    "FOLDER",
    "readme.txt.part",
];
/// Places that are fine by themselves.
const HARMLESS: [&str; 4] = [
    "readme.txt",
    "folder/file",
    "größer/日本 ❤.txt",
    "...three dots",
];

/// Everything below a folder, but for what is below `but`.
fn below(folder: &Path, but: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.path() == but {
                continue;
            }
            if entry.file_type().expect("a type").is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// A node that follows the publisher, and a folder to download to with a sibling beside it.
struct Victim {
    node: Node,
    out: PathBuf,
    outside: PathBuf,
}

impl Victim {
    fn new(publisher: &Publisher) -> Victim {
        let node = Node::start(Settings::default());
        follow(&node, &publisher.link.to_string());
        let (out, outside) = (node.folder("out"), node.folder("outside"));
        fs::write(outside.join("kept"), "as it was").expect("a file");
        Victim { node, out, outside }
    }

    /// Downloads everything; it must not succeed. What was printed.
    fn get(&self) -> (Value, String) {
        let around = self.out.parent().expect("a parent");
        let before = below(around, &self.out);
        let out = self.out.to_str().expect("UTF-8");
        let output = self.node.try_cli(&["get", "Gifts", "-o", out, "--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let data = self.node.data_dir();
        let is_own = |path: &PathBuf| path.starts_with(&data);
        let beside = |paths: Vec<PathBuf>| -> Vec<PathBuf> {
            paths.into_iter().filter(|path| !is_own(path)).collect()
        };
        assert_eq!(beside(below(around, &self.out)), beside(before));
        let kept = fs::read_to_string(self.outside.join("kept")).expect("there");
        assert_eq!(kept, "as it was");
        (answer, stderr(&output))
    }

    fn arrived(&self, place: &str) -> bool {
        fs::read_to_string(self.out.join(place)).is_ok_and(|found| found == content(place))
    }
}

fn content(place: &str) -> String {
    format!("this is {place:?}")
}

fn publisher(seed: u8, places: &[&str]) -> Publisher {
    let contents: Vec<String> = places.iter().map(|place| content(place)).collect();
    let files: Vec<(&str, &[u8])> = places
        .iter()
        .zip(&contents)
        .map(|(place, content)| (*place, content.as_bytes()))
        .collect();
    Publisher::start(seed, &files)
}

#[test]
fn no_place_leads_out_of_the_folder_and_the_rest_arrives() {
    let tricks = tricks();
    let tricky = tricks.iter().map(|(place, _)| place.as_str());
    let places: Vec<&str> = HARMLESS
        .into_iter()
        .chain(tricky)
        .chain(COLLISIONS)
        .collect();
    let victim = Victim::new(&publisher(21, &places));
    let events = victim.node.events();
    let (got, error) = victim.get();
    assert!(error.contains("items_refused"), "{error}");

    let refused = got["refused"].as_array().expect("a list");
    let reason = |place: &str| {
        let item = refused.iter().find(|item| item["path"] == place);
        text(&item.unwrap_or_else(|| panic!("{place:?}: {got}"))["reason"])
    };
    for (place, word) in &tricks {
        assert!(reason(place).contains(word), "{place:?}: {}", reason(place));
    }
    for place in COLLISIONS.iter().filter(|place| **place != "readme.txt") {
        assert!(reason(place).contains("collides"), "{place}");
    }
    assert_eq!(refused.len(), tricks.len() + COLLISIONS.len());

    for place in HARMLESS {
        assert!(victim.arrived(place), "{place}");
    }
    let files = below(&victim.out, Path::new(""));
    let files = files.iter().filter(|path| path.is_file()).count();
    assert_eq!(files, HARMLESS.len());
    drop(events);
}

#[test]
fn what_is_refused_is_told_to_people_without_what_their_terminal_obeys() {
    let places = ["fine", "escape\u{1b}[2J", "bidi\u{202e}gpj.exe"];
    let victim = Victim::new(&publisher(22, &places));
    let out = victim.out.to_str().expect("UTF-8");
    let output = victim.node.try_cli(&["get", "Gifts", "-o", out]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert_eq!(told.matches("not downloaded: ").count(), 2, "{told}");
    assert!(told.contains("2 items are not downloaded"), "{told}");
    assert!(!told.contains(['\u{1b}', '\u{202e}']), "{told:?}");
    assert!(victim.arrived("fine"));
}

#[test]
fn a_catalog_of_nothing_else_writes_nothing() {
    let victim = Victim::new(&publisher(23, &["../a", "/b", "NUL"]));
    let (_, error) = victim.get();
    assert!(error.contains("every item was refused"), "{error}");
    assert_eq!(fs::read_dir(&victim.out).expect("a folder").count(), 0);
}

/// Links that somebody planted below the folder are not followed, wherever on the way they lie.
#[test]
fn links_in_the_folder_lead_nowhere() {
    let places = [
        "way/in.txt",
        "way/deeper/in.txt",
        "kept",
        "half",
        "hard",
        "taken",
        "fine",
        "folder/fine",
    ];
    let victim = Victim::new(&publisher(24, &places));
    let (out, outside) = (&victim.out, &victim.outside);
    symlink(outside, out.join("way")).expect("a link");
    symlink(outside.join("kept"), out.join("kept")).expect("a link");
    symlink(outside.join("kept"), out.join("half.part")).expect("a link");
    fs::hard_link(outside.join("kept"), out.join("hard.part")).expect("a link");
    fs::write(out.join("taken"), "by another").expect("a file");
    let events = victim.node.events();
    let (_, error) = victim.get();
    assert!(error.contains("6 of 8 files failed"), "{error}");
    let failed = events.of("item_failed");
    for place in &places[..6] {
        let event = failed.iter().find(|event| event["path"] == *place);
        let event = event.unwrap_or_else(|| panic!("{place}: {failed:?}"));
        assert!(text(&event["reason"]).contains("in the way"), "{event}");
    }
    assert_eq!(failed.len(), 6);
    let taken = fs::read_to_string(out.join("taken")).expect("there");
    assert_eq!(taken, "by another");
    for place in &places[6..] {
        assert!(victim.arrived(place), "{place}");
    }
}
