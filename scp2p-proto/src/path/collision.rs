//! Which paths of a set cannot lie beside each other on disk.

use core::fmt;
use core::ops::Bound;

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::{PART_SUFFIX, RelPath};

/// Paths that can all be written below one folder, on any common file system.
#[derive(Debug, Clone, Default)]
pub struct CollisionSet {
    paths: BTreeMap<String, RelPath>,
}

/// Two paths that cannot both be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// What is wrong between them.
    pub kind: CollisionKind,
    /// The path that was in the set before.
    pub with: RelPath,
}

/// Why two paths cannot both be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollisionKind {
    /// Some file system takes one for the other.
    Same,
    /// One is a file where the other needs a folder.
    FileAndFolder,
    /// One is, or lies below, the name under which the other is downloaded: `X` and `X.part`.
    Part,
}

impl CollisionSet {
    /// An empty set.
    pub fn new() -> CollisionSet {
        CollisionSet::default()
    }

    /// Add a path, unless it collides with one of the set. Takes time logarithmic in
    /// the size of the set, which the caller bounds.
    pub fn insert(&mut self, path: RelPath) -> Result<(), Collision> {
        let key = path.collision_key();
        if let Some((kind, with)) = self.find(&key) {
            return Err(Collision {
                kind,
                with: with.clone(),
            });
        }
        self.paths.insert(key, path);
        Ok(())
    }

    fn find(&self, key: &str) -> Option<(CollisionKind, &RelPath)> {
        if let Some(with) = self.paths.get(key) {
            return Some((CollisionKind::Same, with));
        }
        let with = self
            .below(key)
            .or_else(|| folders(key).find_map(|folder| self.paths.get(folder)));
        if let Some(with) = with {
            return Some((CollisionKind::FileAndFolder, with));
        }
        let mut part = String::from(key);
        part.push_str(PART_SUFFIX);
        let with = self
            .paths
            .get(&part)
            .or_else(|| self.below(&part))
            .or_else(|| {
                let whole = |name: &str| {
                    name.strip_suffix(PART_SUFFIX)
                        .and_then(|name| self.paths.get(name))
                };
                whole(key).or_else(|| folders(key).find_map(whole))
            });
        with.map(|with| (CollisionKind::Part, with))
    }

    /// A path of the set that lies in the folder of this key.
    fn below(&self, folder: &str) -> Option<&RelPath> {
        let mut prefix = String::from(folder);
        prefix.push('/');
        let (key, path) = self
            .paths
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .next()?;
        key.starts_with(&prefix).then_some(path)
    }
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = &self.with;
        match self.kind {
            CollisionKind::Same => write!(f, "the path is the same as {with} on some systems"),
            CollisionKind::FileAndFolder => {
                write!(f, "a file would be where a folder must be, beside {with}")
            }
            CollisionKind::Part => write!(
                f,
                "the path or {with} is the other's name while it is downloaded"
            ),
        }
    }
}

impl core::error::Error for Collision {}

/// Keys of the folders that a path lies in.
fn folders(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').map(|(at, _)| &key[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn rel(path: &str) -> RelPath {
        RelPath::from_untrusted(path).expect(path)
    }

    fn outcome(first: &str, second: &str) -> Option<CollisionKind> {
        let mut set = CollisionSet::new();
        set.insert(rel(first))
            .expect("the first path collides with nothing");
        let collision = set.insert(rel(second)).err()?;
        assert_eq!(collision.with, rel(first));
        Some(collision.kind)
    }

    #[test]
    fn what_a_file_system_mixes_up_collides() {
        use CollisionKind::{FileAndFolder, Part, Same};
        for (first, second, kind) in [
            ("a/b", "a/b", Same),
            ("Readme", "README", Same),
            ("caf\u{e9}/x", "cafe\u{301}/X", Same),
            ("👨\u{200d}👩", "👨👩", Same),
            ("ﬁle", "file", Same),
            ("a", "a/b", FileAndFolder),
            ("A", "a/b/c", FileAndFolder),
            ("film", "film.part", Part),
            ("film", "Film.PART/x", Part),
        ] {
            assert_eq!(outcome(first, second), Some(kind), "{first} then {second}");
            assert_eq!(outcome(second, first), Some(kind), "{second} then {first}");
        }
    }

    #[test]
    fn what_lies_beside_each_other_does_not() {
        for (first, second) in [
            ("a/b", "a/c"),
            ("a", "a.b"),
            ("a", "a b/c"),
            ("Dir/x", "dir/y"),
            ("film.part", "film.part2"),
            ("x/film", "film.part"),
            ("a!", "a/b"),
            ("a", "℀"),
        ] {
            assert_eq!(outcome(first, second), None, "{first} then {second}");
            assert_eq!(outcome(second, first), None, "{second} then {first}");
        }
    }

    proptest! {
        // Whether a set of paths is free of collisions does not depend on the order in which it is added.
        #[test]
        fn order_does_not_matter(mut paths in vec("[aA](/[aA]|\\.part){0,3}", 0..5), seed in any::<u64>()) {
            let free = |paths: &[String]| {
                let mut set = CollisionSet::new();
                paths.iter().all(|path| set.insert(rel(path)).is_ok())
            };
            let before = free(&paths);
            let turn = (seed as usize) % paths.len().max(1);
            paths.rotate_left(turn);
            prop_assert_eq!(free(&paths), before);
            paths.reverse();
            prop_assert_eq!(free(&paths), before);
        }

        // No path of a set is the same as, in the way of, or the partial name of another.
        #[test]
        fn what_is_in_a_set_fits_together(paths in vec("[aAb](/[aAb]|\\.part){0,3}", 0..12)) {
            let mut set = CollisionSet::new();
            let kept: Vec<String> =
                paths.iter().filter(|path| set.insert(rel(path)).is_ok()).map(|path| path.to_lowercase()).collect();
            for (at, one) in kept.iter().enumerate() {
                for (_, other) in kept.iter().enumerate().filter(|(other, _)| *other != at) {
                    for name in [one.clone(), alloc::format!("{one}.part")] {
                        let below = alloc::format!("{name}/");
                        prop_assert!(*other != name && !other.starts_with(&below), "{one} and {other}");
                    }
                }
            }
        }
    }
}
