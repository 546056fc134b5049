//! Everything that can make a command fail, and the exit code for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{fmt, io};

use scp2p_runtime_smol::StartError;

use crate::api::{ApiError, ClientError, ErrorBody, ServerError};
use crate::demo::DemoError;
use crate::dirs::DataDirError;
use crate::output;
use crate::relay::InstallError;
use crate::resolve::ResolveError;
use crate::settings::SettingError;
use crate::sim::SimError;

/// Exit code: something failed.
const FAILED: u8 = 1;
/// Exit code: the command line or the environment is wrong.
pub const USAGE: u8 = 2;
/// Exit code: no node is running.
const NO_NODE: u8 = 3;
/// Exit code: nothing of this name, or several.
const NOT_FOUND: u8 = 4;
/// Exit code: another node has the data directory.
const DIR_BUSY: u8 = 5;
/// Exit code: a port is taken.
const PORT_TAKEN: u8 = 6;
/// Exit code after SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// An option or environment variable is wrong.
    Setting(SettingError),
    /// Options or arguments that do not go together.
    Usage(Misuse),
    /// The node does not answer, or refuses.
    Client(ClientError),
    /// A name means nothing or several things.
    Resolve(ResolveError),
    /// The data directory cannot be used.
    DataDir(DataDirError),
    /// The node did not start.
    Start(Box<StartError>),
    /// There is no control socket.
    Server(ServerError),
    /// No service was made or removed.
    Install(InstallError),
    /// Health and counters cannot be served at this address.
    Metrics(SocketAddr, io::Error),
    /// A file cannot be used.
    File(PathBuf, io::Error),
    /// The system refuses something else.
    System(&'static str, io::Error),
    /// A download cannot go on by itself.
    Download {
        /// Its number.
        id: u64,
        /// Why.
        reason: String,
    },
    /// So many items of a download were refused; the others are not concerned.
    ItemsRefused(usize),
    /// A download was cancelled while it was waited for.
    Cancelled(u64),
    /// The node did not stop in time.
    StillRunning,
    /// The demonstration failed.
    Demo(DemoError),
    /// The simulation was not run, or saw what must not be.
    Sim(SimError),
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Options or arguments that do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misuse {
    /// No command is named.
    NoCommand,
    /// No path is named to publish.
    NoPath,
    /// Both visibilities.
    PublicAndPrivate,
    /// No word is named to search for.
    NoQuery,
    /// A search result limit out of range.
    Limit(u32),
    /// A data directory for a service that has its own.
    DataDirOfService,
    /// Settings of a relay before a command that starts none.
    SettingsOfRunning(&'static str),
    /// A path that is not UTF-8, which catalogs are.
    NotUtf8(PathBuf),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Setting(_) | Failure::Usage(_) => USAGE,
            Failure::Client(ClientError::NoNode { .. }) => NO_NODE,
            Failure::Client(ClientError::Refused(error)) => match error.code.as_str() {
                "unknown_share" | "unknown_download" | "unknown_content" | "no_such_item" => {
                    NOT_FOUND
                }
                "bad_link" => USAGE,
                _ => FAILED,
            },
            Failure::Sim(error) if error.is_misuse() => USAGE,
            Failure::Resolve(_) => NOT_FOUND,
            Failure::Start(error) => match **error {
                StartError::DataDirBusy { .. } => DIR_BUSY,
                StartError::PortTaken { .. } => PORT_TAKEN,
                StartError::Bind { .. }
                | StartError::BadKeyFile { .. }
                | StartError::Store(_)
                | StartError::Io { .. }
                | StartError::System { .. } => FAILED,
            },
            Failure::Metrics(_, error) if error.kind() == io::ErrorKind::AddrInUse => PORT_TAKEN,
            Failure::Interrupted => INTERRUPTED,
            Failure::Client(
                ClientError::Connect { .. }
                | ClientError::Broken { .. }
                | ClientError::Silent { .. }
                | ClientError::Json(_)
                | ClientError::LongLine,
            )
            | Failure::DataDir(_)
            | Failure::Server(_)
            | Failure::Install(_)
            | Failure::Metrics(..)
            | Failure::File(..)
            | Failure::System(..)
            | Failure::Download { .. }
            | Failure::ItemsRefused(_)
            | Failure::Cancelled(_)
            | Failure::StillRunning
            | Failure::Sim(_)
            | Failure::Demo(_) => FAILED,
        }
    }

    /// Tells the user on standard error, as JSON if that is wanted.
    pub fn report(&self, json: bool) {
        if json {
            let error = ApiError {
                code: self.code().to_owned(),
                message: self.to_string(),
            };
            eprintln!(
                "{}",
                serde_json::to_string(&ErrorBody { error }).unwrap_or_default()
            );
        } else {
            let message = self.to_string();
            let lines: Vec<String> = message.lines().map(output::shown).collect();
            eprintln!("scp2p: {}", lines.join("\n"));
        }
    }

    fn code(&self) -> &str {
        match self {
            Failure::Setting(_) | Failure::Usage(_) => "usage",
            Failure::Client(ClientError::NoNode { .. }) => "no_node",
            Failure::Client(ClientError::Refused(error)) => &error.code,
            Failure::Client(
                ClientError::Connect { .. }
                | ClientError::Broken { .. }
                | ClientError::Silent { .. },
            ) => "connection",
            Failure::Client(ClientError::Json(_) | ClientError::LongLine) => "protocol",
            Failure::Resolve(ResolveError::Unknown(_) | ResolveError::NotListed(_)) => {
                "unknown_name"
            }
            Failure::Resolve(ResolveError::Ambiguous { .. }) => "ambiguous_name",
            Failure::DataDir(_) => "data_dir",
            Failure::Start(error) => match **error {
                StartError::DataDirBusy { .. } => "data_dir_busy",
                StartError::PortTaken { .. } => "port_taken",
                StartError::Bind { .. } => "bind",
                StartError::BadKeyFile { .. } => "bad_key_file",
                StartError::Store(_) => "store",
                StartError::Io { .. } | StartError::System { .. } => "system",
            },
            Failure::Server(_) => "control_socket",
            Failure::Install(_) => "install",
            Failure::Metrics(..) => "metrics",
            Failure::File(..) | Failure::System(..) => "system",
            Failure::Download { .. } => "download_failed",
            Failure::ItemsRefused(_) => "items_refused",
            Failure::Cancelled(_) => "download_cancelled",
            Failure::StillRunning => "still_running",
            Failure::Demo(_) => "demo",
            Failure::Sim(error) if error.is_misuse() => "usage",
            Failure::Sim(_) => "simulation",
            Failure::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Setting(error) => error.fmt(f),
            Failure::Usage(misuse) => misuse.fmt(f),
            Failure::Client(error) => error.fmt(f),
            Failure::Resolve(error) => error.fmt(f),
            Failure::DataDir(error) => error.fmt(f),
            Failure::Start(error) => error.fmt(f),
            Failure::Server(error) => error.fmt(f),
            Failure::Install(error) => error.fmt(f),
            Failure::Metrics(address, error) => {
                write!(
                    f,
                    "{address}: metrics cannot be served there: {error}; choose another port with --metrics"
                )
            }
            Failure::File(path, error) => write!(f, "{}: {error}", path.display()),
            Failure::System(what, error) => write!(f, "{what}: {error}"),
            Failure::Download { id, reason } => {
                write!(
                    f,
                    "download {id} cannot go on: {reason}; give it up with: scp2p cancel {id}"
                )
            }
            Failure::ItemsRefused(count) => write!(
                f,
                "{} not downloaded; the catalog names what cannot safely be a file here",
                output::count(*count as u64, "item is", "items are")
            ),
            Failure::Cancelled(id) => write!(f, "download {id} was cancelled"),
            Failure::StillRunning => {
                f.write_str("the node was told to stop but is still running; see its log")
            }
            Failure::Demo(error) => error.fmt(f),
            Failure::Sim(error) => error.fmt(f),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::NoCommand => f.write_str("name a command; see: scp2p --help"),
            Misuse::NoPath => f.write_str(
                "name the files or folders to publish: scp2p publish PATH... --share NAME",
            ),
            Misuse::PublicAndPrivate => f.write_str("a share is either --public or --private"),
            Misuse::NoQuery => f.write_str("name the words to search for: scp2p search WORD..."),
            Misuse::Limit(limit) => write!(f, "--limit: {limit} is not from 1 to 200"),
            Misuse::DataDirOfService => {
                f.write_str("--data-dir: the service keeps its data in /var/lib/scp2p-relay")
            }
            Misuse::SettingsOfRunning(command) => write!(
                f,
                "`scp2p relay {command}` starts no relay and takes no settings of one"
            ),
            Misuse::NotUtf8(path) => {
                write!(
                    f,
                    "{}: the path is not UTF-8, which names in a catalog must be",
                    path.display()
                )
            }
        }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Failure::Setting(error)
    }
}

impl From<Misuse> for Failure {
    fn from(misuse: Misuse) -> Self {
        Failure::Usage(misuse)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Client(error)
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        Failure::Resolve(error)
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        Failure::DataDir(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Failure::Start(Box::new(error))
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Failure::Server(error)
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        Failure::Demo(error)
    }
}

impl From<SimError> for Failure {
    fn from(error: SimError) -> Self {
        Failure::Sim(error)
    }
}
