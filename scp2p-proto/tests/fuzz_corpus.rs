//! The corpus in `fuzz/corpus`, run through the bodies of the fuzz targets.

use std::fs;

use scp2p_proto::fuzz;

/// Runs a target over its corpus.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for file in fs::read_dir(folder).expect("the corpus is part of the repository") {
        let path = file.expect("the folder can be read").path();
        run(&fs::read(path).expect("the file can be read"));
        files += 1;
    }
    assert!(files > 0, "the corpus of {target} is empty");
}

#[test]
fn record_corpus() {
    replay("record", fuzz::record);
}

#[test]
fn session_corpus() {
    replay("session", fuzz::session);
}

#[test]
fn wire_corpus() {
    replay("wire", fuzz::wire);
}
