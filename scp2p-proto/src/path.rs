//! Paths that a peer chose, checked before they come near a file system (SPECIFICATION §5.2).

mod collision;
mod fold;

pub use collision::{Collision, CollisionKind, CollisionSet};

use core::fmt;

use alloc::string::String;

use crate::escape::{hidden, is_control};
use crate::limits::{ITEM_PATH_MAX, PATH_COMPONENT_MAX, PATH_DEPTH_MAX};

/// What the driver appends to the name of a file that is being downloaded.
pub const PART_SUFFIX: &str = ".part";

/// A relative path that means the same below any folder of any system: components joined by
/// `/`, none of which escapes the folder, names a device or a stream, or shows as something else than it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(String);

impl RelPath {
    /// Check a path of unknown origin: at most 1024 bytes, 32 components, 250 bytes each.
    pub fn from_untrusted(path: &str) -> Result<RelPath, PathError> {
        check(path).map(|()| RelPath(path.into()))
    }

    /// The whole path, `/` separated.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its components from the outermost folder to the file; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// A text that is equal for two paths if some common file system takes them for the same: see
    /// [`CollisionSet`], which compares whole sets. Letter case, Unicode's normal forms, joiners
    /// and variation selectors make no difference.
    pub fn collision_key(&self) -> String {
        fold::fold(&self.0)
    }
}

/// Safe to print as it is: neither controls nor invisible characters can be in it, but for joiners that join.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a path is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// There is nothing.
    Empty,
    /// More than 1024 bytes.
    TooLong,
    /// More than 32 components.
    TooDeep,
    /// It starts with `/`.
    Absolute,
    /// It starts with a drive letter, as `C:`.
    Drive,
    /// It contains `\`, a separator on some systems.
    Backslash,
    /// Two separators in a row, or one at the end.
    EmptyComponent,
    /// A component is `.` or `..`.
    Dots,
    /// A component has more than 250 bytes.
    ComponentTooLong,
    /// It contains a control character.
    Control(char),
    /// It contains a character that is not seen but changes or hides what is, or a joiner where
    /// there is nothing to join.
    Invisible(char),
    /// It contains one of `: < > " | ? *`, which some systems do not take in names.
    Reserved(char),
    /// A component ends in a dot or a space, which some systems drop.
    TrailingDotOrSpace,
    /// A component is the name of a device on some systems, as `CON` or `nul.txt`.
    Device,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Empty => f.write_str("the path is empty"),
            PathError::TooLong => write!(f, "the path is longer than {ITEM_PATH_MAX} bytes"),
            PathError::TooDeep => {
                write!(f, "the path is nested deeper than {PATH_DEPTH_MAX} levels")
            }
            PathError::Absolute => f.write_str("the path is absolute"),
            PathError::Drive => f.write_str("the path starts with a drive letter"),
            PathError::Backslash => f.write_str("the path contains a backslash"),
            PathError::EmptyComponent => f.write_str("the path contains an empty name"),
            PathError::Dots => f.write_str("the path contains \".\" or \"..\""),
            PathError::ComponentTooLong => {
                write!(
                    f,
                    "a name in the path is longer than {PATH_COMPONENT_MAX} bytes"
                )
            }
            PathError::Control(c) => {
                write!(
                    f,
                    "the path contains the control character {}",
                    c.escape_unicode()
                )
            }
            PathError::Invisible(c) => {
                write!(
                    f,
                    "the path contains the invisible character {}",
                    c.escape_unicode()
                )
            }
            PathError::Reserved(c) => write!(f, "the path contains the reserved character {c}"),
            PathError::TrailingDotOrSpace => {
                f.write_str("a name in the path ends in a dot or a space")
            }
            PathError::Device => f.write_str("a name in the path is reserved for a device"),
        }
    }
}

impl core::error::Error for PathError {}

fn check(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > ITEM_PATH_MAX {
        return Err(PathError::TooLong);
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return Err(PathError::Drive);
    }
    path.chars().try_for_each(check_char)?;
    if let Some((_, c)) = path.split('/').flat_map(hidden).next() {
        return Err(PathError::Invisible(c));
    }
    if path.split('/').count() > PATH_DEPTH_MAX {
        return Err(PathError::TooDeep);
    }
    path.split('/').try_for_each(check_component)
}

fn check_char(c: char) -> Result<(), PathError> {
    match c {
        '\\' => Err(PathError::Backslash),
        ':' | '<' | '>' | '"' | '|' | '?' | '*' => Err(PathError::Reserved(c)),
        _ if is_control(c) => Err(PathError::Control(c)),
        _ => Ok(()),
    }
}

fn check_component(name: &str) -> Result<(), PathError> {
    match name {
        "" => Err(PathError::EmptyComponent),
        "." | ".." => Err(PathError::Dots),
        _ if name.len() > PATH_COMPONENT_MAX => Err(PathError::ComponentTooLong),
        _ if name.ends_with(['.', ' ']) => Err(PathError::TrailingDotOrSpace),
        _ if is_device(name) => Err(PathError::Device),
        _ => Ok(()),
    }
}

/// Windows opens a device whatever the extension, and ignores spaces before it.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let is = |device: &str| stem.eq_ignore_ascii_case(device);
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
        .into_iter()
        .any(is)
    {
        return true;
    }
    let Some((letters, number)) = stem.split_at_checked(3) else {
        return false;
    };
    let mut number = number.chars();
    (letters.eq_ignore_ascii_case("COM") || letters.eq_ignore_ascii_case("LPT"))
        && matches!(number.next(), Some('0'..='9' | '¹' | '²' | '³'))
        && number.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::printable;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn refused(path: &str) -> PathError {
        RelPath::from_untrusted(path).expect_err(path)
    }

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        for path in [
            "a",
            "folder/file.txt",
            " leading space",
            "-rf",
            "~user",
            ".hidden",
            "...three",
            "COM10",
            "console.log",
            "nullable",
            "lpt/com/x",
            "Übung/日本語 ❤\u{fe0f}.mkv",
            "x.part",
        ] {
            let rel = RelPath::from_untrusted(path).expect(path);
            assert_eq!((rel.as_str(), rel.to_string()), (path, path.to_string()));
        }
        let rel = RelPath::from_untrusted("a/b/c.d").expect("plain path");
        assert_eq!(rel.components().collect::<Vec<_>>(), ["a", "b", "c.d"]);
        assert_eq!(rel.file_name(), "c.d");
    }

    #[test]
    fn ways_out_of_the_folder_are_refused() {
        assert_eq!(refused(""), PathError::Empty);
        assert_eq!(refused("/etc/passwd"), PathError::Absolute);
        assert_eq!(refused("//server/share"), PathError::Absolute);
        assert_eq!(refused("\\\\server\\share"), PathError::Backslash);
        assert_eq!(refused("a\\..\\b"), PathError::Backslash);
        assert_eq!(refused("C:/x"), PathError::Drive);
        assert_eq!(refused("c:x"), PathError::Drive);
        for dots in ["..", ".", "../x", "a/../../x", "a/./b", "a/.."] {
            assert_eq!(refused(dots), PathError::Dots);
        }
        for empty in ["a//b", "a/"] {
            assert_eq!(refused(empty), PathError::EmptyComponent);
        }
    }

    #[test]
    fn names_that_mean_something_else_somewhere_are_refused() {
        for device in [
            "CON",
            "con",
            "Nul.txt",
            "a/aux.tar.gz",
            "PRN .txt",
            "com1",
            "LPT9.x",
            "COM0",
            "com¹",
            "Lpt³.txt",
            "conin$",
            "CONOUT$",
        ] {
            assert_eq!(refused(device), PathError::Device, "{device}");
        }
        for trailing in ["a.", "a ", "a /b", "b./c", "... "] {
            assert_eq!(refused(trailing), PathError::TrailingDotOrSpace);
        }
        for c in [':', '<', '>', '"', '|', '?', '*'] {
            assert_eq!(refused(&format!("file{c}x")), PathError::Reserved(c));
        }
    }

    #[test]
    fn characters_that_deceive_are_refused() {
        for c in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}'] {
            assert_eq!(refused(&format!("a{c}b")), PathError::Control(c));
        }
        for c in [
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{200e}',
            '\u{feff}',
            '\u{2028}',
            '\u{ad}',
            '\u{e0041}',
        ] {
            assert_eq!(refused(&format!("a{c}b")), PathError::Invisible(c));
            assert_eq!(refused(&format!("字{c}字")), PathError::Invisible(c));
        }
    }

    #[test]
    fn joiners_are_taken_where_they_join() {
        for path in [
            "👨\u{200d}👩\u{200d}👧.jpg",
            "❤\u{fe0f}\u{200d}🔥/می\u{200c}خواهم.txt",
            "DVD\u{200c}ها",
            "ক\u{9cd}\u{200d}ষ",
        ] {
            assert!(RelPath::from_untrusted(path).is_ok(), "{path}");
        }
        for joiner in ['\u{200c}', '\u{200d}'] {
            for path in [
                format!("字{joiner}"),
                format!("字{joiner}/字"),
                format!("字/{joiner}字"),
                format!("{joiner}字"),
                format!("字{joiner}{joiner}字"),
                format!("invoice{joiner}.pdf"),
                format!("{joiner}"),
            ] {
                assert_eq!(refused(&path), PathError::Invisible(joiner), "{path:?}");
            }
        }
    }

    #[test]
    fn the_bounds_are_exact() {
        let name = "x".repeat(PATH_COMPONENT_MAX);
        assert!(RelPath::from_untrusted(&name).is_ok());
        assert_eq!(refused(&format!("{name}x")), PathError::ComponentTooLong);
        let deep = "a/".repeat(PATH_DEPTH_MAX - 1) + "b";
        assert!(RelPath::from_untrusted(&deep).is_ok());
        assert_eq!(refused(&format!("a/{deep}")), PathError::TooDeep);
        let long = format!(
            "{name}/{name}/{name}/{name}/{}",
            "y".repeat(ITEM_PATH_MAX - 4 * (PATH_COMPONENT_MAX + 1))
        );
        assert!(RelPath::from_untrusted(&long).is_ok());
        assert_eq!(refused(&format!("{long}y")), PathError::TooLong);
    }

    proptest! {
        // Whatever is taken consists of plain names: nothing in it leads elsewhere.
        #[test]
        fn what_is_taken_stays_below_its_folder(path in "[a-z./\\\\: \\x00-\\x1f~CONcon1]{0,24}") {
            if let Ok(rel) = RelPath::from_untrusted(&path) {
                let joined = rel.components().collect::<Vec<_>>().join("/");
                prop_assert_eq!(&joined, &path);
                for name in rel.components() {
                    prop_assert!(!name.is_empty() && name != "." && name != "..");
                    prop_assert!(!name.contains(['/', '\\', ':', '\0']));
                }
            }
        }

        // What a taken path shows is all that is in it, but for what joins two characters.
        #[test]
        fn what_is_taken_hides_nothing(path in "[a字👨\u{200b}-\u{200f}\u{202e}\u{2066}/]{1,8}") {
            if let Ok(rel) = RelPath::from_untrusted(&path) {
                prop_assert_eq!(&*printable(rel.as_str()), &path);
            }
        }

        // No text whatsoever makes the check fail in another way than by its error.
        #[test]
        fn any_text_is_judged(path in any::<String>()) {
            if let Err(error) = RelPath::from_untrusted(&path) {
                prop_assert_eq!(hidden(&error.to_string()).next(), None);
            }
        }
    }
}
