//! Bodies of the fuzz targets. Each takes any bytes and panics only on a defect; the corpus
//! in `fuzz/corpus` is replayed by the tests.

mod record;
mod session;
mod wire;

pub use record::record;
pub use session::session;
pub use wire::wire;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, fs};

    use super::*;

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
        replay("record", record);
    }

    #[test]
    fn session_corpus() {
        replay("session", session);
    }

    #[test]
    fn wire_corpus() {
        replay("wire", wire);
    }
}
