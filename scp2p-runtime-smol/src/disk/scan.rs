//! The files below what a user named.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use scp2p_proto::storage::{LocalPath, ScannedFile, StoreError};

use super::error::on_path_io;

/// Lists all plain files below files and folders, sorted by their place in the catalog.
///
/// Links that the user named are followed. Inside folders links, pipes, sockets and devices are
/// left out: what they lead to is not part of the folder. Hidden files are files like others.
pub(super) fn scan(roots: &[LocalPath], files_max: u32) -> Result<Vec<ScannedFile>, StoreError> {
    let mut found = Found {
        files: Vec::new(),
        max: files_max,
    };
    for root in roots {
        let failed = |error| on_path_io(root, &error);
        // Resolved, so that `.` and links have a name too.
        let path = fs::canonicalize(&root.0).map_err(failed)?;
        let meta = fs::metadata(&path).map_err(failed)?;
        let name = name_of(path.file_name().unwrap_or_default(), &path)?;
        if meta.is_dir() {
            found.folder(path, name)?;
        } else if meta.is_file() {
            found.add(&path, name, &meta)?;
        } else {
            return Err(StoreError::Unsuitable(root.clone()));
        }
    }
    found
        .files
        .sort_by(|a, b| (&a.rel, &a.path).cmp(&(&b.rel, &b.path)));
    found.files.dedup();
    Ok(found.files)
}

struct Found {
    files: Vec<ScannedFile>,
    max: u32,
}

impl Found {
    fn folder(&mut self, path: PathBuf, rel: String) -> Result<(), StoreError> {
        let mut folders = vec![(path, rel)];
        while let Some((folder, rel)) = folders.pop() {
            let failed = |error| on_path_io(&lossy(&folder), &error);
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Some(meta) = own_metadata(&entry)? else {
                    continue;
                };
                if !meta.is_dir() && !meta.is_file() {
                    continue;
                }
                let path = entry.path();
                let name = name_of(&entry.file_name(), &path)?;
                let rel = if rel.is_empty() {
                    name
                } else {
                    format!("{rel}/{name}")
                };
                if meta.is_dir() {
                    folders.push((path, rel));
                } else {
                    self.add(&path, rel, &meta)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, rel: String, meta: &Metadata) -> Result<(), StoreError> {
        if self.files.len() >= self.max as usize {
            return Err(StoreError::TooMany(self.max));
        }
        let path = path
            .to_str()
            .ok_or_else(|| StoreError::Unsuitable(lossy(path)))?;
        self.files.push(ScannedFile {
            path: LocalPath(path.to_owned()),
            rel,
            size: meta.len(),
        });
        Ok(())
    }
}

/// What an entry itself is, links not followed; none if it is gone already.
fn own_metadata(entry: &DirEntry) -> Result<Option<Metadata>, StoreError> {
    match entry.metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(on_path_io(&lossy(&entry.path()), &error)),
    }
}

fn name_of(name: &OsStr, path: &Path) -> Result<String, StoreError> {
    let name = name
        .to_str()
        .ok_or_else(|| StoreError::Unsuitable(lossy(path)))?;
    Ok(name.to_owned())
}

/// A path to tell the user; what is not UTF-8 in it is replaced.
fn lossy(path: &Path) -> LocalPath {
    LocalPath(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn local(path: &Path) -> LocalPath {
        LocalPath(path.to_str().expect("UTF-8").to_owned())
    }

    fn rels(roots: &[&Path], max: u32) -> Result<Vec<String>, StoreError> {
        let roots: Vec<LocalPath> = roots.iter().map(|root| local(root)).collect();
        Ok(scan(&roots, max)?
            .into_iter()
            .map(|file| file.rel)
            .collect())
    }

    #[test]
    fn folders_are_listed_in_order_without_what_is_no_plain_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("b/c")).expect("folders");
        for name in ["z", "b/c/deep.part", "b/.hidden", "a"] {
            fs::write(top.join(name), name).expect("file");
        }
        symlink(top.join("a"), top.join("link")).expect("link");
        symlink("/etc", top.join("b/etc")).expect("link");
        mknodat(
            CWD,
            top.join("pipe"),
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("pipe");
        let all = ["top/a", "top/b/.hidden", "top/b/c/deep.part", "top/z"];
        assert_eq!(rels(&[&top], 4), Ok(all.map(String::from).to_vec()));
        assert_eq!(rels(&[&top], 3), Err(StoreError::TooMany(3)));
        assert_eq!(
            rels(&[&top.join("link"), &top.join("z")], 9),
            Ok(vec!["a".into(), "z".into()])
        );
        assert_eq!(
            rels(&[&top.join("z"), &top.join("z")], 9),
            Ok(vec!["z".into()])
        );
        let pipe = top.join("pipe");
        assert_eq!(rels(&[&pipe], 9), Err(StoreError::Unsuitable(local(&pipe))));
        let gone = top.join("gone");
        assert_eq!(rels(&[&gone], 9), Err(StoreError::NotFound(local(&gone))));
    }

    #[test]
    fn a_name_that_is_not_text_is_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join(OsStr::from_bytes(b"\xff.txt")), "x").expect("file");
        assert!(matches!(
            rels(&[dir.path()], 9),
            Err(StoreError::Unsuitable(_))
        ));
    }
}
