//! Paths below a folder, resolved without following a single link.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use scp2p_proto::path::RelPath;
use scp2p_proto::storage::{LocalPath, StoreError};

use super::error::on_path_io;

/// How often folders are made anew when somebody removes them meanwhile.
const ATTEMPTS: u32 = 4;

/// A folder that the user chose; links on the way to it are the user's own.
pub(super) struct Root {
    fd: OwnedFd,
    resolver: Resolver,
}

/// How a path is kept below its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolver {
    /// By the system, in one step.
    System,
    /// Component by component, where the system cannot.
    Components,
}

impl Root {
    /// Opens the folder.
    pub(super) fn open(path: &LocalPath) -> Result<Root, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path.0.as_str(), flags, Mode::empty())
            .map_err(|error| super::error::on_path(path, error))?;
        Ok(Root {
            fd,
            resolver: Resolver::of_system(),
        })
    }

    /// Opens the folder and makes it where it is missing.
    pub(super) fn open_or_create(path: &LocalPath) -> Result<Root, StoreError> {
        match Root::open(path) {
            Err(StoreError::NotFound(_)) => {
                fs::create_dir_all(&path.0).map_err(|error| on_path_io(path, &error))?;
                Root::open(path)
            }
            other => other,
        }
    }

    /// Opens a file or folder below. A link anywhere on the way is an error.
    pub(super) fn open_at(&self, rel: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = if flags.contains(OFlags::CREATE) {
            FILE_MODE
        } else {
            Mode::empty()
        };
        match self.resolver {
            Resolver::System => openat2(&self.fd, rel, flags, mode, BENEATH),
            Resolver::Components => {
                let (parents, name) = split(rel);
                let parent = self.walk(parents, |_, _| Ok(()))?;
                openat(&parent, name, flags, mode)
            }
        }
    }

    /// Opens a file below, for which folders on the way are made where they are missing.
    pub(super) fn create_at(&self, rel: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        for _ in 1..ATTEMPTS {
            match self.open_at(rel, flags | OFlags::CREATE) {
                Err(Errno::NOENT) => self.make_parents(rel)?,
                other => return other,
            }
        }
        self.open_at(rel, flags | OFlags::CREATE)
    }

    /// Opens the folder that `rel` lies in.
    pub(super) fn parent(&self, rel: &str) -> Result<OwnedFd, Errno> {
        match split(rel).0 {
            "" => self.walk("", |_, _| Ok(())),
            parents => self.open_at(parents, OFlags::RDONLY | OFlags::DIRECTORY),
        }
    }

    /// Makes the folders that `rel` lies in.
    pub(super) fn make_parents(&self, rel: &str) -> Result<(), Errno> {
        let make = |folder: &OwnedFd, name: &str| match mkdirat(folder, name, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        };
        self.walk(split(rel).0, make).map(drop)
    }

    /// Goes down folder by folder; `before` is called with each folder and the name to enter next.
    fn walk(
        &self,
        folders: &str,
        before: impl Fn(&OwnedFd, &str) -> Result<(), Errno>,
    ) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = openat(&self.fd, ".", flags, Mode::empty())?;
        for name in folders.split('/').filter(|name| !name.is_empty()) {
            before(&folder, name)?;
            folder = openat(&folder, name, flags, Mode::empty())?;
        }
        Ok(folder)
    }
}

impl Resolver {
    fn of_system() -> Resolver {
        static RESOLVER: OnceLock<Resolver> = OnceLock::new();
        *RESOLVER.get_or_init(|| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat2(CWD, ".", flags, Mode::empty(), BENEATH) {
                // Old kernels do not know the call, some containers forbid it.
                Err(Errno::NOSYS | Errno::PERM) => Resolver::Components,
                Ok(_) | Err(_) => Resolver::System,
            }
        })
    }
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

/// The folders and the name of a relative path.
pub(super) fn split(rel: &str) -> (&str, &str) {
    rel.rsplit_once('/').unwrap_or(("", rel))
}

/// The places below `rel`'s root that lie on the way to it, innermost first.
pub(super) fn ancestors(rel: &RelPath) -> impl Iterator<Item = &str> {
    let mut rest = rel.as_str();
    std::iter::from_fn(move || {
        rest = rest.rsplit_once('/')?.0;
        Some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// Both resolvers keep below the root and make folders alike.
    #[test]
    fn no_link_is_followed() {
        let outside = tempfile::tempdir().expect("temporary directory");
        for resolver in [Resolver::System, Resolver::Components] {
            let dir = tempfile::tempdir().expect("temporary directory");
            let root = root_with(dir.path(), resolver);
            symlink(outside.path(), dir.path().join("link")).expect("link");
            fs::write(dir.path().join("plain"), "x").expect("file");
            symlink("plain", dir.path().join("alias")).expect("link");
            let write = OFlags::WRONLY | OFlags::NONBLOCK;
            for rel in ["link/x", "link", "alias", "link/deep/x", "plain/x"] {
                let error = root.create_at(rel, write).expect_err(rel);
                assert!(
                    matches!(error, Errno::LOOP | Errno::NOTDIR),
                    "{resolver:?} {rel}: {error}"
                );
            }
            root.create_at("a/b/c", write).expect("folders are made");
            assert!(dir.path().join("a/b/c").is_file());
            assert_eq!(
                root.open_at("a/x/c", OFlags::RDONLY).map(drop),
                Err(Errno::NOENT)
            );
            root.parent("a/b/c").expect("parent");
            root.parent("c").expect("parent");
            assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 0);
        }
    }

    fn root_with(path: &Path, resolver: Resolver) -> Root {
        let path = LocalPath(path.to_str().expect("UTF-8").to_owned());
        Root {
            resolver,
            ..Root::open(&path).expect("root")
        }
    }
}
