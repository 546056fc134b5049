//! What is published, and whether it arrived.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::DemoError;

/// Bytes of the large file of the folder that is made: enough chunks for several nodes to give.
const LARGE_BYTES: u64 = 16 * 1024 * 1024;
/// Small files of the folder that is made.
const NOTES: u32 = 40;
/// Bytes compared at a time.
const BUFFER: usize = 256 * 1024;

/// Makes a folder with what folders have: nested paths, names in several scripts, an empty file,
/// a large one, many small ones.
///
/// # Errors
/// A file cannot be written.
pub fn sample(folder: &Path) -> Result<(), DemoError> {
    let write = |rel: &str, bytes: &[u8]| {
        let path = folder.join(rel);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|error| DemoError::File(path.clone(), error))
    };
    write(
        "read me first.txt",
        b"Everything in this folder was made by scp2p demo.\n",
    )?;
    write("empty", b"")?;
    write(
        "travel/summer lake/Gr\u{fc}\u{df}e aus dem S\u{fc}den.txt",
        "Schönes Wetter!\n".as_bytes(),
    )?;
    write("travel/日本/京都の旅.txt", "また来ます。\n".as_bytes())?;
    write(
        "deep/down/in/the/folder/treasure map.txt",
        b"X marks the spot.\n",
    )?;
    for number in 1..=NOTES {
        let text = format!("Note {number}.\n").repeat(number as usize);
        write(&format!("notes/note {number:02}.txt"), text.as_bytes())?;
    }
    let large = folder.join("lecture recording.bin");
    noise(&large, LARGE_BYTES).map_err(|error| DemoError::File(large, error))
}

/// Writes bytes that do not repeat, so that no mix-up of chunks goes unseen.
fn noise(path: &Path, len: u64) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..len / 8 {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    file.flush()
}

/// The plain files at and below a path, by the places that they have in a catalog.
///
/// # Errors
/// Something cannot be read, or has no name that a catalog can have.
pub fn originals(path: &Path) -> Result<BTreeMap<String, PathBuf>, DemoError> {
    let mut found = BTreeMap::new();
    let unsuitable = || DemoError::NotPublishable(path.to_owned());
    let mut rest = vec![(
        path.file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(unsuitable)?
            .to_owned(),
        path.to_owned(),
    )];
    while let Some((place, path)) = rest.pop() {
        let failed = |error| DemoError::File(path.clone(), error);
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        if metadata.is_file() {
            found.insert(place, path);
        } else if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let name = name
                    .to_str()
                    .ok_or_else(|| DemoError::NotPublishable(entry.path()))?;
                rest.push((format!("{place}/{name}"), entry.path()));
            }
        }
    }
    if found.is_empty() {
        Err(unsuitable())
    } else {
        Ok(found)
    }
}

/// Compares what is in a folder with the originals, byte for byte.
///
/// # Errors
/// The first difference.
pub fn verify(folder: &Path, originals: &BTreeMap<String, PathBuf>) -> Result<u64, DemoError> {
    let mut bytes = 0;
    for (place, original) in originals {
        let copy = folder.join(place);
        bytes += same(original, &copy)
            .map_err(|error| DemoError::File(copy.clone(), error))?
            .ok_or(DemoError::Differs(copy))?;
    }
    let mut rest = vec![folder.to_owned()];
    while let Some(dir) = rest.pop() {
        let failed = |error| DemoError::File(dir.clone(), error);
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                rest.push(path);
            } else if !path
                .strip_prefix(folder)
                .is_ok_and(|rel| rel.to_str().is_some_and(|rel| originals.contains_key(rel)))
            {
                return Err(DemoError::Surplus(path));
            }
        }
    }
    Ok(bytes)
}

/// How many bytes two files have, if they are the same.
fn same(one: &Path, two: &Path) -> io::Result<Option<u64>> {
    let (one, two) = (File::open(one)?, File::open(two)?);
    let (mut left, mut right) = (Vec::with_capacity(BUFFER), Vec::with_capacity(BUFFER));
    let mut bytes = 0;
    loop {
        left.clear();
        right.clear();
        (&one).take(BUFFER as u64).read_to_end(&mut left)?;
        (&two).take(BUFFER as u64).read_to_end(&mut right)?;
        if left != right {
            return Ok(None);
        }
        if left.is_empty() {
            return Ok(Some(bytes));
        }
        bytes += left.len() as u64;
    }
}

/// A word of a file's name that a search can be made for, and the file's place.
pub fn word(originals: &BTreeMap<String, PathBuf>) -> Option<(&str, &str)> {
    originals
        .keys()
        .flat_map(|place| {
            let name = place.rsplit('/').next().unwrap_or(place);
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            stem.split(|c: char| !c.is_alphanumeric())
                .map(move |word| (word, place.as_str()))
        })
        .filter(|(word, _)| word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .max_by_key(|(word, _)| word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_right_only_if_every_byte_is() {
        let temp = tempfile::tempdir().expect("temp");
        let (from, to) = (temp.path().join("from/sample"), temp.path().join("to"));
        sample(&from).expect("made");
        let originals = originals(&from).expect("listed");
        assert!(originals.contains_key("sample/travel/日本/京都の旅.txt"));
        let (word, place) = word(&originals).expect("a word");
        assert!(place.contains(word));
        for (place, original) in &originals {
            let copy = to.join(place);
            fs::create_dir_all(copy.parent().expect("below")).expect("made");
            fs::copy(original, copy).expect("copied");
        }
        assert!(verify(&to, &originals).expect("the same") > LARGE_BYTES);

        let surplus = to.join("sample/surplus");
        fs::write(&surplus, "").expect("written");
        assert!(
            matches!(verify(&to, &originals), Err(DemoError::Surplus(path)) if path == surplus)
        );
        fs::remove_file(surplus).expect("removed");

        let large = to.join("sample/lecture recording.bin");
        let mut bytes = fs::read(&large).expect("read");
        *bytes.last_mut().expect("not empty") ^= 1;
        fs::write(&large, bytes).expect("written");
        assert!(matches!(verify(&to, &originals), Err(DemoError::Differs(path)) if path == large));
        fs::remove_file(&large).expect("removed");
        assert!(matches!(verify(&to, &originals), Err(DemoError::File(path, _)) if path == large));
    }
}
