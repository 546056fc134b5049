//! What tells a node to stop or to read its settings again.

use async_signal::{Signal, Signals};
use futures_lite::{AsyncReadExt, FutureExt, StreamExt};
use smol::Unblock;
use smol::channel::{self, Receiver, Sender};

use crate::failure::Failure;

/// What tells a node to stop.
pub struct Stops {
    signals: Signals,
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Stops {
    /// Signals, wishes, and on demand the end of standard input.
    ///
    /// # Errors
    /// The system does not let us have signals.
    pub fn new(on_stdin_eof: bool) -> Result<Stops, Failure> {
        let signals = Signals::new([Signal::Int, Signal::Term])
            .map_err(|error| Failure::System("signals", error))?;
        let (sender, receiver) = channel::bounded(1);
        if on_stdin_eof {
            let sender = sender.clone();
            smol::spawn(async move {
                let mut buffer = [0; 256];
                let mut stdin = Unblock::new(std::io::stdin());
                while stdin.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
                let _ = sender.send(()).await;
            })
            .detach();
        }
        Ok(Stops {
            signals,
            sender,
            receiver,
        })
    }

    /// By which a stop can be wished for.
    pub fn sender(&self) -> Sender<()> {
        self.sender.clone()
    }

    /// Resolves at the first signal or wish.
    pub async fn next(&mut self) {
        let wish = async {
            // The sender is held here too, so there is no error.
            let _ = self.receiver.recv().await;
        };
        let signal = async {
            next_signal(&mut self.signals).await;
        };
        wish.or(signal).await;
    }

    /// Resolves at the next signal.
    pub async fn signal(&mut self) -> Signal {
        next_signal(&mut self.signals).await
    }
}

/// What tells a node to read its settings again.
pub struct HangUps(Signals);

impl HangUps {
    /// From now on the signal does not end the process.
    ///
    /// # Errors
    /// The system does not let us have signals.
    pub fn new() -> Result<HangUps, Failure> {
        Signals::new([Signal::Hup])
            .map(HangUps)
            .map_err(|error| Failure::System("signals", error))
    }

    /// Resolves at the next signal.
    pub async fn next(&mut self) {
        next_signal(&mut self.0).await;
    }
}

async fn next_signal(signals: &mut Signals) -> Signal {
    loop {
        match signals.next().await {
            Some(Ok(signal)) => return signal,
            Some(Err(error)) => tracing::warn!(%error, "signals"),
            None => smol::future::pending().await,
        }
    }
}
