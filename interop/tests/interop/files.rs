//! Files that are published and what arrives of them.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder of files; it goes away with this.
pub struct Files {
    dir: TempDir,
    names: Vec<String>,
}

impl Files {
    /// With files of these names and sizes. Their bytes differ by name and place.
    pub fn new(files: &[(&str, usize)]) -> Files {
        let mut made = Files {
            dir: tempfile::tempdir().expect("a temporary folder"),
            names: Vec::new(),
        };
        for (name, size) in files {
            made.add(name, *size);
        }
        made
    }

    /// One more.
    pub fn add(&mut self, name: &str, size: usize) {
        let mut bytes = vec![0; size];
        let mut reader = blake3::Hasher::new().update(name.as_bytes()).finalize_xof();
        reader.fill(&mut bytes);
        let place = self.root().join(name);
        fs::create_dir_all(place.parent().expect("it has a folder")).expect("a folder");
        fs::write(place, bytes).expect("a file");
        self.names.push(name.to_owned());
    }

    /// The folder.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// Their paths below the folder.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Their paths on this machine.
    pub fn paths(&self) -> Vec<PathBuf> {
        let root = self.root();
        self.names.iter().map(|name| root.join(name)).collect()
    }

    /// All of them are below this folder, byte for byte.
    pub fn assert_all_in(&self, folder: &Path) {
        for name in &self.names {
            self.assert_same(name, &folder.join(name));
        }
    }

    /// One of them is there, byte for byte.
    pub fn assert_same(&self, name: &str, there: &Path) {
        let (here, there) = (fs::read(self.root().join(name)), fs::read(there));
        let (here, there) = (here.expect("the original"), there.expect(name));
        assert_eq!(here.len(), there.len(), "{name}");
        assert!(here == there, "{name} is another file");
    }
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
