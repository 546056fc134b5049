//! Nodes as child processes.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, FutureExt};
use smol::{Timer, Unblock};

use super::DemoError;
use crate::api::{Client, Status};
use crate::settings;

/// How long a node may take to get ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a node may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that runs as a process of its own; dropping it kills it.
#[derive(Debug)]
pub struct ChildNode {
    /// What it is called in the story.
    pub name: &'static str,
    /// To talk to it.
    pub client: Client,
    /// How it was when it got ready.
    pub status: Status,
    child: Child,
}

impl ChildNode {
    /// Starts a node with data and log in this folder, on loopback ports that the system chooses.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start(
        name: &'static str,
        folder: &Path,
        bootstrap: &[String],
    ) -> Result<ChildNode, DemoError> {
        let spawn = |error| DemoError::Spawn(name, error);
        let data_dir = folder.join("data");
        fs::create_dir_all(folder).map_err(spawn)?;
        let mut command = Command::new(std::env::current_exe().map_err(spawn)?);
        command.args([
            "node",
            "--json",
            "--log-level",
            "warn",
            "--stop-on-stdin-eof",
        ]);
        command.args(["--bind-quic", "127.0.0.1:0", "--bind-tcp", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(&data_dir);
        for peer in bootstrap {
            command.args(["--bootstrap", peer]);
        }
        // The settings that the user made are for nodes of their own.
        for variable in settings::variables() {
            command.env_remove(variable);
        }
        // In a process group of its own it does not get the Ctrl-C meant for us; if we are killed
        // it sees the end of its standard input.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        command.stderr(File::create(log(folder)).map_err(spawn)?);
        let mut starting = Starting(Some(command.spawn().map_err(spawn)?));
        let status = starting
            .ready()
            .await
            .map_err(spawn)?
            .ok_or(DemoError::NotReady(name))?;
        let child = starting.0.take().ok_or(DemoError::NotReady(name))?;
        Ok(ChildNode {
            name,
            client: Client::new(&data_dir),
            status,
            child,
        })
    }

    /// Where others can start from.
    pub fn bootstrap(&self) -> Vec<String> {
        let listening = &self.status.listening;
        let quic = listening
            .quic
            .iter()
            .map(|address| format!("quic://{address}"));
        let tcp = listening
            .tcp
            .iter()
            .map(|address| format!("tcp://{address}"));
        quic.chain(tcp).collect()
    }

    /// Stops the node, by force if it takes too long.
    pub async fn stop(mut self) {
        // One that does not answer is killed below.
        let _ = self.client.stop().await;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            Timer::after(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The log of a node in its folder.
pub fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// A process that is not ready yet; dropping it kills it.
struct Starting(Option<Child>);

impl Starting {
    /// The line that the node prints when it is ready; none if it ends or takes too long.
    async fn ready(&mut self) -> io::Result<Option<Status>> {
        let Some(stdout) = self.0.as_mut().and_then(|child| child.stdout.take()) else {
            return Ok(None);
        };
        let read = async {
            let mut line = String::new();
            BufReader::new(Unblock::new(stdout))
                .read_line(&mut line)
                .await?;
            Ok(serde_json::from_str(&line).ok())
        };
        let late = async {
            Timer::after(READY_TIMEOUT).await;
            Ok(None)
        };
        read.or(late).await
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// Kills a process and takes its exit code, so that nothing of it stays.
fn end(child: &mut Child) {
    // Both fail only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}
