//! The folders and processes of a demonstration.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::nodes::{self, ChildNode};
use super::{DemoError, say, shown};
use crate::output;

/// Lines of a log that are shown.
const LOG_LINES: usize = 20;

/// Everything that must be gone in the end.
#[derive(Debug)]
pub struct Stage {
    /// Declared before the folder, so that nodes end before it is removed even in a panic.
    nodes: Vec<ChildNode>,
    names: Vec<&'static str>,
    dir: TempDir,
}

impl Stage {
    /// An empty folder and no nodes.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new() -> Result<Stage, DemoError> {
        let dir = tempfile::Builder::new().prefix("scp2p-demo-").tempdir();
        let dir = dir.map_err(|error| DemoError::File(std::env::temp_dir(), error))?;
        Ok(Stage {
            nodes: Vec::new(),
            names: Vec::new(),
            dir,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a node of this name that knows these peers.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start(
        &mut self,
        name: &'static str,
        bootstrap: &[String],
    ) -> Result<(), DemoError> {
        self.names.push(name);
        let node = ChildNode::start(name, &self.folder(name), bootstrap).await?;
        self.nodes.push(node);
        Ok(())
    }

    /// A node that was started.
    ///
    /// # Panics
    /// It was not started.
    pub fn node(&self, name: &str) -> &ChildNode {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .expect("the story starts a node before it speaks of it")
    }

    /// Prints the ends of all logs that say something.
    pub fn print_logs(&self) {
        for name in &self.names {
            let log = fs::read(nodes::log(&self.folder(name))).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            if !lines.is_empty() {
                say(&format!("Log of the {name}:"));
            }
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                say(&format!("  {}", output::shown(line)));
            }
        }
    }

    /// Stops the nodes and removes the folder, unless it is to be kept: then tells where it is.
    pub async fn clear(mut self, keep: bool) -> Option<PathBuf> {
        let stops: Vec<_> = self
            .nodes
            .drain(..)
            .map(|node| smol::spawn(node.stop()))
            .collect();
        for stop in stops {
            stop.await;
        }
        if keep {
            return Some(self.dir.keep());
        }
        let dir = self.dir.path().to_owned();
        if let Err(error) = self.dir.close() {
            say(&format!("{}: not removed: {error}", shown(&dir)));
        }
        None
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name.replace(' ', "-"))
    }
}
