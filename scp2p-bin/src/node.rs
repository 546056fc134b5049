//! `scp2p node`: the daemon.

use std::env;
use std::io::IsTerminal;
use std::sync::Arc;

use async_signal::{Signal, Signals};
use futures_lite::{AsyncReadExt, FutureExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scp2p_proto::config::RelayLimits;
use scp2p_runtime_smol::{Options, Runtime};
use smol::Unblock;
use smol::channel::{self, Receiver};
use tracing_subscriber::EnvFilter;

use crate::api::{Listening, Node, Server};
use crate::cli::NodeArgs;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::{dirs, output};

/// Links of both transports, half-open ones, clients, and files in work, with some to spare.
const OPEN_FILES_MAX: u64 = 8192;

/// Runs a node until it is told to stop.
///
/// # Errors
/// It did not start.
pub async fn run(args: &NodeArgs) -> Result<(), Failure> {
    let settings = Settings::resolve(args, |name| env::var_os(name))?;
    let mut stops = Stops::new(args.stop_on_stdin_eof)?;
    let control = dirs::control_socket(&settings.data_dir);
    Server::check_path(&control)?;
    dirs::prepare(&settings.data_dir)?;
    log_to_stderr(settings.log);
    allow_open_files();

    let mut options = Options::new(&settings.data_dir);
    options.bind_quic = settings.bind_quic;
    options.bind_tcp = settings.bind_tcp;
    options.bootstrap = settings.bootstrap;
    options.config.require_binding = settings.require_binding;
    options.config.deployed_relays = settings.deployed_relays;
    if settings.relay {
        options.config.relay = Some(RelayLimits::default());
        options.config.capabilities.relay = true;
    }
    let started = async { Some(Runtime::start(options).await) };
    let stopped = async {
        stops.next().await;
        None
    };
    let Some(runtime) = started.or(stopped).await else {
        return Ok(());
    };
    let runtime = runtime?;

    // The runtime holds the directory's lock from here on, so a control socket left is stale.
    let server = Server::bind(&control)?;
    let node = Arc::new(Node {
        handle: runtime.handle(),
        listening: Listening::from(runtime.listening()),
        data_dir: settings.data_dir,
        control,
        stop: stops.sender.clone(),
    });
    ready(&node, args.json).await?;
    server.run(&node).or(stops.next()).await;
    stop(runtime, server, &mut stops).await;
    Ok(())
}

/// Takes as many open files as the system lets us have without asking, where links and clients may need
/// more than processes usually begin with.
fn allow_open_files() {
    let limits = getrlimit(Resource::Nofile);
    let allowed = limits.maximum.unwrap_or(u64::MAX).min(OPEN_FILES_MAX);
    let raised = Rlimit {
        current: Some(allowed),
        ..limits
    };
    if limits.current.is_some_and(|current| current < allowed)
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Prints the one line that tells programs and people that the node can be used.
async fn ready(node: &Node, json: bool) -> Result<(), Failure> {
    let status = node
        .status()
        .await
        .map_err(|error| Failure::System("node", std::io::Error::other(error)))?;
    let line = if json {
        let json = serde_json::to_string(&status)
            .map_err(|error| Failure::System("node", error.into()))?;
        format!("{json}\n")
    } else {
        output::ready(&status)
    };
    output::print(&line)
        .map(drop)
        .map_err(|error| Failure::System("standard output", error))
}

/// Stops cleanly, or at once when told a second time.
async fn stop(runtime: Runtime, server: Server, stops: &mut Stops) {
    tracing::info!("stopping");
    let handle = runtime.handle();
    let clean = async {
        // An error says that the node is stopping already.
        let _ = handle.shutdown().await;
        runtime.stopped().await;
        server.drain().await;
        None
    };
    let again = async { Some(stops.signal().await) };
    if let Some(signal) = clean.or(again).await {
        tracing::warn!("stopped at once");
        std::process::exit(128 + signal as i32);
    }
}

/// What tells a node to stop.
struct Stops {
    signals: Signals,
    sender: channel::Sender<()>,
    receiver: Receiver<()>,
}

impl Stops {
    fn new(on_stdin_eof: bool) -> Result<Stops, Failure> {
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

    /// Resolves at the first signal or wish.
    async fn next(&mut self) {
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
    async fn signal(&mut self) -> Signal {
        next_signal(&mut self.signals).await
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

fn log_to_stderr(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
