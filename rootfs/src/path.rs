//! [`TreePath`]: the name of something in a tree, as bytes, unable to point outside.
//!
//! Every module speaks of entries by it, so that `..`, absolute names and empty components are dealt with once,
//! here, and names that are not UTF-8 need no care anywhere.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::escape::{Blanks, escape, unescape};

/// A path below the root of a tree; empty for the root itself.
///
/// The order is that of a walk: a folder, then all that is in it, then its next sibling by bytes.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

/// A name that can not be a path inside a tree.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// It begins with a slash.
    #[error("name `{0}` is absolute")]
    Absolute(String),
    /// It has a `..` component.
    #[error("name `{0}` has a `..` component")]
    Parent(String),
    /// It has a NUL byte, which no file name can hold.
    #[error("name `{0}` has a NUL byte")]
    Nul(String),
}

impl TreePath {
    /// The root of the tree.
    pub fn root() -> TreePath {
        TreePath(Vec::new())
    }

    /// Takes a relative name; `.` components and doubled or trailing slashes are dropped.
    pub fn parse(name: impl AsRef<[u8]>) -> Result<TreePath, PathError> {
        let name = name.as_ref();
        if name.first() == Some(&b'/') {
            return Err(PathError::Absolute(escape(name, Blanks::Keep)));
        }
        TreePath::collect(name)
    }

    /// Takes a name as seen from inside the image: `/etc/passwd` and `etc/passwd` are the same.
    pub fn in_image(name: impl AsRef<[u8]>) -> Result<TreePath, PathError> {
        TreePath::collect(name.as_ref())
    }

    fn collect(name: &[u8]) -> Result<TreePath, PathError> {
        let mut path = TreePath(Vec::with_capacity(name.len()));
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathError::Parent(escape(name, Blanks::Keep))),
                _ if component.contains(&0) => {
                    return Err(PathError::Nul(escape(name, Blanks::Keep)));
                }
                _ => path.push(component),
            }
        }
        Ok(path)
    }

    fn push(&mut self, component: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(component);
    }

    /// The path of `name` in this folder; `name` is one component as a directory listing gives it.
    pub(crate) fn join(&self, name: &[u8]) -> TreePath {
        let mut path = TreePath(Vec::with_capacity(self.0.len() + 1 + name.len()));
        path.0.extend_from_slice(&self.0);
        path.push(name);
        path
    }

    /// The bytes, without a leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a relative [`Path`], for joining to the place where the tree stands.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether this is the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// The folder it stands in and its name there; `None` for the root.
    pub fn split(&self) -> Option<(TreePath, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (TreePath(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (TreePath::root(), &self.0),
        })
    }

    /// The folder it stands in; `None` for the root.
    pub fn parent(&self) -> Option<TreePath> {
        self.split().map(|(parent, _)| parent)
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash sorts before everything, as NUL does not occur: that makes the order component by component.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&if self.is_root() { ".".to_owned() } else { escape(&self.0, Blanks::Keep) })
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TreePath::parse(unescape(&text).map_err(de::Error::custom)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_outside_are_refused() {
        assert!(matches!(TreePath::parse("/etc"), Err(PathError::Absolute(_))));
        assert!(matches!(TreePath::parse("a/../../b"), Err(PathError::Parent(_))));
        assert!(matches!(TreePath::in_image("/.."), Err(PathError::Parent(_))));
        assert!(matches!(TreePath::parse(b"a\0b"), Err(PathError::Nul(_))));
    }

    #[test]
    fn dots_and_slashes_are_tidied() {
        for name in ["./a//b/", "a/./b", "a/b"] {
            assert_eq!(TreePath::parse(name).unwrap().as_bytes(), b"a/b");
        }
        assert!(TreePath::parse("./").unwrap().is_root());
        assert_eq!(TreePath::in_image("/etc/passwd").unwrap().as_bytes(), b"etc/passwd");
        assert_eq!(TreePath::parse("...").unwrap().as_bytes(), b"...");
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        let sorted = ["", "a", "a/b", "a/b/c", "a!", "a-b", "b"].map(|name| TreePath::parse(name).unwrap());
        assert!(sorted.is_sorted());
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_path_knows_its_folder() {
        let path = TreePath::parse("usr/lib/os-release").unwrap();
        let (parent, name) = path.split().unwrap();
        assert_eq!((parent.as_bytes(), name), (&b"usr/lib"[..], &b"os-release"[..]));
        assert_eq!(TreePath::parse("usr").unwrap().parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
    }
}
