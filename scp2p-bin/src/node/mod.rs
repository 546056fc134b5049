//! `scp2p node` and `scp2p relay`: the daemon.

mod announce;
mod log;
mod reload;
mod signals;

use std::env;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scp2p_proto::command::CommandError;
use scp2p_proto::config::{Announcing, RelayLimits};
use scp2p_proto::wire::BootstrapAddr;
use scp2p_runtime_smol::{Options, Runtime};
use smol::Timer;

use self::log::Log;
use self::reload::Reload;
use self::signals::{HangUps, Stops};
use crate::api::{Listening, Node, Ready, Server, Status};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::settings::{Flags, Role, Settings};
use crate::{dirs, output};

/// Links of both transports, half-open ones, clients, and files in work, with some to spare.
const OPEN_FILES_MAX: u64 = 8192;
/// How long a relay that gets ready waits for the addresses of its host: longer than asking the system takes.
const ADDRESSES_TIME_MAX: Duration = Duration::from_secs(1);
/// How often it looks for them.
const ADDRESSES_POLL: Duration = Duration::from_millis(20);
/// How often a relay that is to stop looks whether anything is under way.
const DRAIN_POLL: Duration = Duration::from_millis(100);

/// How a node is run.
#[derive(Debug)]
pub struct Run {
    /// By which command.
    pub role: Role,
    /// The settings on the command line.
    pub flags: Flags,
    /// Print JSON.
    pub json: bool,
    /// Stop when standard input ends.
    pub stop_on_stdin_eof: bool,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// It did not start.
pub async fn run(run: Run) -> Result<(), Failure> {
    let settings = Settings::resolve(run.role, &run.flags, |name| env::var_os(name))?;
    let mut stops = Stops::new(run.stop_on_stdin_eof)?;
    let mut hang_ups = match run.role {
        // In a terminal that is closed a node ends.
        Role::Node => None,
        Role::Relay => Some(HangUps::new()?),
    };
    let control = dirs::control_socket(&settings.data_dir);
    Server::check_path(&control)?;
    dirs::prepare(&settings.data_dir)?;
    let log = Log::start(settings.log, settings.log_format);
    allow_open_files();
    let announced = announce::resolve(&settings.announce).await?;
    let metrics = settings.metrics.map(Metrics::bind).transpose()?;

    let is_first = settings.bootstrap.is_empty();
    // A relay that is for some alone is of no use to those who would find it.
    let is_for_all = |limits: &RelayLimits| limits.allowed.is_none();
    let is_announced = run.role == Role::Relay && settings.relay.as_ref().is_some_and(is_for_all);
    let announcing = is_announced.then_some(Announcing {
        bandwidth: settings.bandwidth,
        interval: settings.announce_interval,
    });
    let mut options = Options::new(&settings.data_dir);
    options.bind_quic = settings.bind_quic;
    options.bind_tcp = settings.bind_tcp;
    options.bootstrap = settings.bootstrap;
    options.config.require_binding = settings.require_binding;
    options.config.deployed_relays = !settings.no_readable_relays;
    options.config.announced = announced;
    options.config.relays = settings.use_relay;
    options.config.announcing = announcing;
    options.config.capabilities.relay = settings.relay.is_some();
    options.config.relay.clone_from(&settings.relay);
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
    let node = Arc::new(Node::new(
        runtime.handle(),
        Listening::from(runtime.listening()),
        settings.data_dir,
        control,
        settings.relay,
        settings.drain,
        stops.sender(),
    ));
    ready(&node, &run, &settings.announce, is_first).await?;

    let mut reload = Reload::new(run.role, run.flags, settings.given, log);
    let reloads = async {
        match &mut hang_ups {
            Some(hang_ups) => loop {
                hang_ups.next().await;
                reload.reload(&node).await;
            },
            None => pending().await,
        }
    };
    let serving = serve(&server, metrics.as_ref(), &node);
    serving.or(reloads).or(stops.next()).await;
    stop(runtime, server, metrics, &node, &mut stops).await;
    Ok(())
}

/// Answers on the control socket, and where metrics are served, without end.
async fn serve(server: &Server, metrics: Option<&Metrics>, node: &Arc<Node>) {
    let metrics = async {
        match metrics {
            Some(metrics) => metrics.run(node).await,
            None => pending().await,
        }
    };
    server.run(node).or(metrics).await;
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
async fn ready(
    node: &Node,
    run: &Run,
    announce: &[BootstrapAddr],
    is_first: bool,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::System("node", error);
    let status = match run.role {
        Role::Node => node.status().await,
        Role::Relay => status_with_addresses(node).await,
    };
    let status = status.map_err(|error| failed(std::io::Error::other(error)))?;
    if is_first && status.known == 0 {
        tracing::warn!(
            "no peer to start from: this node meets others only when they come by themselves; name one with --bootstrap"
        );
    }
    let ready = Ready::new(status, announce);
    let line = if run.json {
        let json = serde_json::to_string(&ready).map_err(|error| failed(error.into()))?;
        format!("{json}\n")
    } else {
        match run.role {
            Role::Node => output::ready(&ready.status),
            Role::Relay => output::relay_ready(&ready),
        }
    };
    output::print(&line)
        .map(drop)
        .map_err(|error| Failure::System("standard output", error))
}

/// The node at a glance when it knows where it is reached, which it is told soon after its start if it listens at all addresses.
async fn status_with_addresses(node: &Node) -> Result<Status, CommandError> {
    let until = Instant::now() + ADDRESSES_TIME_MAX;
    loop {
        let status = node.status().await?;
        if !status.addresses.is_empty() || Instant::now() >= until {
            return Ok(status);
        }
        Timer::after(ADDRESSES_POLL).await;
    }
}

/// Stops cleanly, or at once when told a second time. A relay first lets the circuits end that pass, and the requests in tunnels, for a
/// while.
async fn stop(
    runtime: Runtime,
    server: Server,
    metrics: Option<Metrics>,
    node: &Arc<Node>,
    stops: &mut Stops,
) {
    tracing::info!("stopping");
    let handle = runtime.handle();
    let clean = async {
        drain(node).or(serve(&server, metrics.as_ref(), node)).await;
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

/// Relays nothing new and waits until nothing passes any more, or for as long as was set.
async fn drain(node: &Node) {
    let Some(limits) = node.limits() else {
        return;
    };
    let nothing_new = RelayLimits {
        closing: true,
        ..limits
    };
    if node.set_relay(nothing_new).await.is_err() {
        return;
    }
    let until = Instant::now() + node.drain;
    let mut is_told = false;
    while let Ok(relay) = node.handle.relay().await {
        let left = relay.under_way();
        if left == 0 {
            return;
        }
        if Instant::now() >= until {
            tracing::warn!(left, "circuits and requests in tunnels are cut off");
            return;
        }
        if !is_told {
            is_told = true;
            tracing::info!(left, "waiting for circuits and requests in tunnels to end");
        }
        Timer::after(DRAIN_POLL).await;
    }
}
