//! The node that the API is for.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use scp2p_proto::command::CommandError;
use scp2p_proto::config::RelayLimits;
use scp2p_runtime_smol::Handle;
use smol::channel::Sender;

use super::{Listening, Relay, Status, Stopping, Text, convert};

/// A running node and what only the daemon knows of it.
#[derive(Debug)]
pub struct Node {
    /// To talk to it.
    pub handle: Handle,
    /// When it was started.
    pub started: Instant,
    /// How long circuits may go on after it is told to stop.
    pub drain: Duration,
    listening: Listening,
    data_dir: PathBuf,
    control: PathBuf,
    relay: Mutex<Option<RelayLimits>>,
    stop: Sender<()>,
}

impl Node {
    /// A node that listens there, with its data directory and control socket, which relays within these limits and is stopped
    /// by a message.
    pub fn new(
        handle: Handle,
        listening: Listening,
        data_dir: PathBuf,
        control: PathBuf,
        relay: Option<RelayLimits>,
        drain: Duration,
        stop: Sender<()>,
    ) -> Node {
        Node {
            handle,
            started: Instant::now(),
            drain,
            listening,
            data_dir,
            control,
            relay: Mutex::new(relay),
            stop,
        }
    }

    /// The node at a glance.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn status(&self) -> Result<Status, CommandError> {
        let status = self.handle.status().await?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            data_dir: self.data_dir.display().to_string(),
            control: self.control.display().to_string(),
            key: Text(status.key),
            id: Text(status.id),
            listening: self.listening.clone(),
            tunnels: convert::tunnels(&status.addresses),
            addresses: status.addresses.iter().map(ToString::to_string).collect(),
            reachability: convert::reachability(&status),
            clock: status.clock.map(Into::into),
            connected: status.connected,
            relayed: status.relayed,
            known: status.known,
            contacts: status.contacts,
            values: status.values,
            shares: status.shares,
            subscriptions: status.subscriptions,
            downloads: status.downloads,
            paused: status.paused,
            sources: status.sources,
            downloaded: status.downloaded,
            uploaded: status.uploaded,
        })
    }

    /// What it does as a relay.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn relay(&self) -> Result<Relay, CommandError> {
        let view = self.handle.relay().await?;
        Ok(Relay::new(view, self.limits().as_ref()))
    }

    /// The limits within which it relays now, none if it relays for nobody.
    pub fn limits(&self) -> Option<RelayLimits> {
        let limits = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
        limits.clone()
    }

    /// Relays within these limits from now on.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn set_relay(&self, limits: RelayLimits) -> Result<(), CommandError> {
        self.handle.set_relay(limits.clone()).await?;
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = Some(limits);
        Ok(())
    }

    /// Asks for the end; asked twice is asked once. How long circuits may take is the answer.
    pub fn stop(&self) -> Stopping {
        let _ = self.stop.try_send(());
        let drain = self.limits().map_or(Duration::ZERO, |_| self.drain);
        Stopping {
            drain_secs: drain.as_secs(),
        }
    }
}
