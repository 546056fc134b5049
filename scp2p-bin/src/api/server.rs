//! The control socket and who may talk to it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use smol::Timer;
use smol::net::unix::{UnixListener, UnixStream};

use super::http::{ACCEPT_PAUSE, Connections};
use super::{Node, routes};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// Bytes a Unix socket's path may have, on every system we know.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// The control socket. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    connections: Connections,
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
            // Events are told as long as somebody listens.
            connections: Connections::new(CONNECTIONS_MAX, None),
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
        self.connections.drain().await;
    }

    fn admit(&self, stream: UnixStream, node: &Arc<Node>) {
        if !is_own_user(&stream) {
            tracing::warn!("control socket: refused a process of another user");
            return;
        }
        let node = node.clone();
        self.connections.admit(stream, move |request| {
            let node = node.clone();
            async move { routes::answer(&node, request).await }
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "control socket");
        }
    }
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
