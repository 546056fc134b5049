//! The corpus in `fuzz/corpus`, run through the bodies of the fuzz targets.

use std::fs;

use scp2p_sim::fuzz;

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
fn node_corpus() {
    replay("node", fuzz::node);
}

#[test]
fn world_corpus() {
    replay("world", fuzz::world);
}

/// Conversations that nobody thought of, from a few bytes to some thousand.
#[test]
fn any_bytes() {
    let mut rng = scp2p_proto::rng::Rng::new(&[1; 32], "fuzz");
    for number in 0..60_usize {
        let mut bytes = vec![0; number * 48];
        rng.fill(&mut bytes);
        fuzz::node(&bytes);
    }
}
