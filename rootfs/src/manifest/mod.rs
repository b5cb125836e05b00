//! [`Manifest`]: what a tree holds, with digests, to find later what was changed in it.
//!
//! On disk it is JSON with one entry a line, so that 200,000 entries are written and read as a stream and `grep` and
//! `diff` are of use. Names are escaped as [`crate::escape`] says; xattr values are hexadecimal, modes octal.

mod compare;
mod text;

pub use compare::differences;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de};
use thiserror::Error;

use crate::digest::{Digest, Hasher};
use crate::entry::{Attributes, DeviceNumber, Entry, Kind, Stamp, Xattr};
use crate::path::TreePath;
use crate::replace::Replacement;
use crate::walk::{Walk, WalkError};

/// The version of the format that this code writes and reads.
const VERSION: u32 = 1;

/// A time that no file has.
const NEVER: Stamp = Stamp(i64::MIN, 0);

/// All entries of a tree, in the order of a walk, without the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The tree file system's own time when the tree was complete. A file whose inode changed later may have been
    /// edited, even if its size and times say otherwise.
    pub complete: Stamp,
    /// The processor that the tree was built on, where that is of another architecture than the tree's programs.
    pub emulated_on: Option<String>,
    /// One for each name.
    pub entries: Vec<ManifestEntry>,
}

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Where.
    pub path: TreePath,
    /// What, with its content.
    #[serde(flatten)]
    pub node: Node,
    /// Permission bits with setuid, setgid and sticky.
    #[serde(serialize_with = "text::octal", deserialize_with = "text::from_octal")]
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Number of the hard-linked file that this is a name of; numbers mean nothing beyond one manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<u32>,
    /// Capabilities, ACLs and all other extended attributes.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "text::hexed",
        deserialize_with = "text::from_hexed"
    )]
    pub xattrs: Vec<Xattr>,
}

/// What an entry is and holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Node {
    /// A regular file.
    File {
        /// Its length, holes included.
        size: u64,
        /// Of its content.
        digest: Digest,
    },
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        #[serde(serialize_with = "text::escaped", deserialize_with = "text::from_escaped")]
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    Char(DeviceNumber),
    /// A block device.
    Block(DeviceNumber),
}

/// Why a manifest is not to be had.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file can not be read or written.
    #[error("cannot {doing} manifest `{}`", path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is no manifest, or was cut short.
    #[error("manifest `{}` is damaged at line {line}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// The tree can not be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A file in the tree can not be read.
    #[error("cannot read `{path}` for the manifest")]
    Content {
        /// The file.
        path: TreePath,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    complete: Stamp,
    count: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emulated_on: Option<String>,
}

impl Manifest {
    /// Reads a whole live tree, every file's content included.
    pub fn of_tree(root: &Path) -> Result<Manifest, ManifestError> {
        let mut walk = Walk::new(root)?;
        let mut links = HashMap::new();
        let mut manifest = Manifest::default();
        while let Some(entry) = walk.next().transpose()? {
            manifest.complete = manifest.complete.max(entry.ctime);
            if entry.path.is_root() {
                continue;
            }
            let next = links.len() as u32;
            let link = entry.is_linked().then(|| *links.entry(entry.id).or_insert(next));
            let node = node_of(&walk, &entry)?;
            let Attributes { mode, uid, gid, mtime } = entry.attributes;
            let Entry { path, xattrs, .. } = entry;
            manifest.entries.push(ManifestEntry { path, node, mode, uid, gid, mtime, link, xattrs });
        }
        manifest.arrange();
        Ok(manifest)
    }

    /// Sorts, and numbers hard links from 0 in that order, so that equal trees have equal manifests. A file whose
    /// other names are elsewhere has no link here.
    pub(crate) fn arrange(&mut self) {
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut names: HashMap<u32, u32> = HashMap::new();
        for link in self.entries.iter().filter_map(|entry| entry.link) {
            *names.entry(link).or_default() += 1;
        }
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for entry in &mut self.entries {
            let linked = entry.link.filter(|link| names[link] > 1);
            let next = numbers.len() as u32;
            entry.link = linked.map(|link| *numbers.entry(link).or_insert(next));
        }
    }

    /// Says of some paths what `before` says of them, though the tree is another there: comparing finds them changed,
    /// by their content alone, as times and inodes of a tree that was made from another tell nothing.
    pub fn put_back<'a>(&mut self, before: &Manifest, paths: impl Iterator<Item = &'a TreePath>) {
        let paths: HashSet<&TreePath> = paths.collect();
        self.entries.retain(|entry| !paths.contains(&entry.path));
        let old = before.entries.iter().filter(|entry| paths.contains(&entry.path)).cloned();
        self.entries.extend(old.map(|entry| ManifestEntry { link: None, mtime: NEVER, ..entry }));
        self.arrange();
    }

    /// Writes the manifest to `path`, replacing what was there by one rename.
    pub fn write(&self, path: &Path) -> Result<(), ManifestError> {
        let write = || {
            let mut out = BufWriter::with_capacity(256 * 1024, Replacement::new(path)?);
            self.write_to(&mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.commit(0o644)
        };
        write().map_err(|source| ManifestError::File { doing: "write", path: path.to_owned(), source })
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let (count, emulated_on) = (self.entries.len(), self.emulated_on.clone());
        let head = Head { version: VERSION, complete: self.complete, count, emulated_on };
        out.write_all(b"{\"head\":")?;
        serde_json::to_writer(&mut *out, &head)?;
        out.write_all(b",\"entries\":[")?;
        for (number, entry) in self.entries.iter().enumerate() {
            out.write_all(if number == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut *out, entry)?;
        }
        out.write_all(b"\n]}\n")
    }

    /// Reads a manifest from `path`.
    pub fn read(path: &Path) -> Result<Manifest, ManifestError> {
        let failed = |source| ManifestError::File { doing: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let damaged = |line, source| ManifestError::Damaged { path: path.to_owned(), line, source };
        let mut lines = BufReader::with_capacity(256 * 1024, file).lines();
        let first = lines.next().transpose().map_err(failed)?.unwrap_or_default();
        let head = read_head(&first).map_err(|source| damaged(1, source))?;
        let mut manifest = Manifest { complete: head.complete, emulated_on: head.emulated_on, entries: Vec::new() };
        for number in 0..head.count {
            let line = lines.next().transpose().map_err(failed)?.unwrap_or_default();
            let json = line.strip_suffix(',').unwrap_or(&line);
            let entry = serde_json::from_str(json).map_err(|source| damaged(number + 2, source))?;
            manifest.entries.push(entry);
        }
        Ok(manifest)
    }
}

fn read_head(line: &str) -> Result<Head, serde_json::Error> {
    let json = line.strip_prefix("{\"head\":").and_then(|rest| rest.strip_suffix(",\"entries\":["));
    let head: Head = serde_json::from_str(json.unwrap_or_default())?;
    if head.version != VERSION {
        return Err(de::Error::custom(format_args!("version {} is not {VERSION}", head.version)));
    }
    Ok(head)
}

fn node_of(walk: &Walk, entry: &Entry) -> Result<Node, ManifestError> {
    Ok(match &entry.kind {
        Kind::File => {
            let content = |source| ManifestError::Content { path: entry.path.clone(), source };
            let (size, digest) = digest_of(walk.open(entry)?).map_err(content)?;
            Node::File { size, digest }
        }
        Kind::Dir => Node::Dir,
        Kind::Symlink(target) => Node::Symlink { target: target.clone() },
        Kind::Fifo => Node::Fifo,
        Kind::Char(device) => Node::Char(*device),
        Kind::Block(device) => Node::Block(*device),
    })
}

/// Length and digest of what is left in a file.
pub(crate) fn digest_of(mut file: File) -> io::Result<(u64, Digest)> {
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            return Ok((size, hasher.finish()));
        }
        hasher.update(&buffer[..got]);
        size += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &[u8], node: Node) -> ManifestEntry {
        let path = TreePath::parse(path).unwrap();
        let xattrs = vec![Xattr { name: b"security.capability".to_vec(), value: vec![1, 10, 0, 255] }];
        ManifestEntry { path, node, mode: 0o4755, uid: 0, gid: 7, mtime: Stamp(-3, 5), link: Some(1), xattrs }
    }

    fn sample() -> Manifest {
        let entries = vec![
            entry(b"dir", Node::Dir),
            entry(b"dir/new\nline \xe9", Node::File { size: 3, digest: Digest::of(b"abc") }),
            entry(b"link", Node::Symlink { target: b"\xff/..".to_vec() }),
            entry(b"null", Node::Char(DeviceNumber { major: 1, minor: 3 })),
        ];
        Manifest { complete: Stamp(1_700_000_000, 42), emulated_on: Some("x86_64".into()), entries }
    }

    #[test]
    fn a_manifest_reads_back_as_written_and_is_plain_json() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        for manifest in [sample(), Manifest::default()] {
            manifest.write(&path).unwrap();
            assert_eq!(Manifest::read(&path).unwrap(), manifest);
            let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(json["entries"].as_array().unwrap().len(), manifest.entries.len());
        }
    }

    #[test]
    fn a_cut_or_foreign_manifest_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        sample().write(&path).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let cut = whole.lines().take(3).collect::<Vec<_>>().join("\n");
        for (text, line) in [(cut, 4), (whole.replace("\"version\":1", "\"version\":9"), 1), (String::new(), 1)] {
            std::fs::write(&path, text).unwrap();
            let error = Manifest::read(&path).unwrap_err();
            assert!(matches!(error, ManifestError::Damaged { line: at, .. } if at == line), "{error}");
        }
    }
}
