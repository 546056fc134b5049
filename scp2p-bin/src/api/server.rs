//! The control socket and who may talk to it.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use futures_lite::{AsyncWriteExt, FutureExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use scp2p_proto::command::CommandError;
use scp2p_runtime_smol::Handle;
use smol::Timer;
use smol::channel::Sender;
use smol::net::unix::{UnixListener, UnixStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::{Listening, Status, Text, convert, routes};

/// Connections at a time. Every one costs a descriptor, which the network needs too.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of an answer written at a time.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long connections may take to end after the node is done.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait when the system cannot accept a connection, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes a Unix socket's path may have, on every system we know.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// What is said to a connection too many, which must not cost a task.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Connection: close\r\n\r\n{\"error\":{\"code\":\"too_many\",\"message\":\"too many connections\"}}\n";

/// The node that the API is for.
#[derive(Debug)]
pub struct Node {
    /// To talk to it.
    pub handle: Handle,
    /// Where it listens.
    pub listening: Listening,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its control socket.
    pub control: PathBuf,
    /// Told when somebody wants it to stop.
    pub stop: Sender<()>,
}

impl Node {
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
            addresses: status.addresses.iter().map(ToString::to_string).collect(),
            reachability: convert::reachability(&status),
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

    /// Asks for the end; asked twice is asked once.
    pub fn stop(&self) {
        let _ = self.stop.try_send(());
    }
}

/// The control socket. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    connections: Arc<()>,
}

impl Server {
    /// Checks that a control socket can have this path, before anything is started.
    ///
    /// # Errors
    /// The path is too long.
    pub fn check_path(path: &Path) -> Result<(), ServerError> {
        match path.as_os_str().len() {
            0..=SOCKET_PATH_BYTES_MAX => Ok(()),
            bytes => Err(ServerError::PathTooLong {
                path: path.to_owned(),
                bytes,
            }),
        }
    }

    /// Makes the control socket. The caller holds the data directory's lock, so a socket that is
    /// there belongs to a node that is no more.
    ///
    /// # Errors
    /// Something else has the name, or the system refuses.
    pub fn bind(path: &Path) -> Result<Server, ServerError> {
        let failed = |error| ServerError::Io(path.to_owned(), error);
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.file_type().is_socket() => {
                fs::remove_file(path).map_err(failed)?
            }
            Ok(_) => return Err(ServerError::NotASocket(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Server {
            listener,
            path: path.to_owned(),
            connections: Arc::new(()),
        })
    }

    /// Accepts connections until dropped.
    pub async fn run(&self, node: &Arc<Node>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => self.admit(stream, node),
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until the answers under way are out, a second at most.
    pub async fn drain(self) {
        let ended = async {
            while Arc::strong_count(&self.connections) > 1 {
                Timer::after(Duration::from_millis(10)).await;
            }
        };
        let late = async {
            Timer::after(DRAIN_TIMEOUT).await;
        };
        ended.or(late).await;
    }

    fn admit(&self, stream: UnixStream, node: &Arc<Node>) {
        if !is_own_user(&stream) {
            tracing::warn!("control socket: refused a process of another user");
            return;
        }
        let held = self.connections.clone();
        // One reference is the server's own, one is held here.
        if Arc::strong_count(&held) > CONNECTIONS_MAX + 1 {
            tracing::debug!("control socket: more than {CONNECTIONS_MAX} connections");
            refuse(stream);
            return;
        }
        let node = node.clone();
        smol::spawn(async move {
            serve(stream, node).await;
            drop(held);
        })
        .detach();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "control socket");
        }
    }
}

async fn serve(stream: UnixStream, node: Arc<Node>) {
    let service = service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(routes::answer(&node, request).await) }
    });
    let served = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(FuturesIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "control connection");
    }
}

/// Says that there are too many; the socket's buffer takes it at once or not at all.
fn refuse(mut stream: UnixStream) {
    let _ = smol::future::block_on(smol::future::poll_once(stream.write_all(TOO_MANY)));
}

/// Whether the other end is a process of our user or of root. The modes of the socket and of its
/// directory say the same; this holds even where somebody loosened them.
#[cfg(target_os = "linux")]
fn is_own_user(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Elsewhere the modes of the socket and of its directory have to do.
#[cfg(not(target_os = "linux"))]
fn is_own_user(_stream: &UnixStream) -> bool {
    true
}

/// Why there is no control socket.
#[derive(Debug)]
pub enum ServerError {
    /// The system does not take so long a path.
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// A file that is not a socket has the name.
    NotASocket(PathBuf),
    /// The system refuses.
    Io(PathBuf, io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::PathTooLong { path, bytes } => write!(
                f,
                "{}: {bytes} bytes are too long for a socket's path, {SOCKET_PATH_BYTES_MAX} are allowed; \
                 choose a shorter --data-dir",
                path.display()
            ),
            ServerError::NotASocket(path) => {
                write!(
                    f,
                    "{}: not a socket, though the control socket's place; move it away",
                    path.display()
                )
            }
            ServerError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_stale_socket_is_replaced_but_nothing_else() {
        let temp = tempfile::tempdir().expect("temp");
        let path = temp.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "the stale socket stays behind");
        let server = Server::bind(&path).expect("replaced");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        drop(server);
        assert!(!path.exists());

        fs::write(&path, "precious").expect("written");
        assert!(matches!(
            Server::bind(&path),
            Err(ServerError::NotASocket(_))
        ));
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink(temp.path(), &path).expect("linked");
        assert!(matches!(
            Server::bind(&path),
            Err(ServerError::NotASocket(_))
        ));
    }

    #[test]
    fn a_path_too_long_is_found_before_anything_is_started() {
        assert!(Server::check_path(Path::new("/data/control.sock")).is_ok());
        let long = PathBuf::from("/".repeat(SOCKET_PATH_BYTES_MAX + 1));
        assert!(matches!(
            Server::check_path(&long),
            Err(ServerError::PathTooLong { bytes: 104, .. })
        ));
    }
}
