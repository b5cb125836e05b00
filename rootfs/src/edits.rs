//! [`edits`]: what was changed by hand in a tree since its manifest was made.
//!
//! A rebuild starts from a fresh tree, so it names first what it would lose. Only what matters counts: a file that was
//! touched, or replaced by an equal one, is no edit, and neither is the time of a folder in which something changed.
//! Content is read only where size, time or inode say that it may have changed.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use crate::entry::{Entry, Kind};
use crate::manifest::{Manifest, ManifestEntry, ManifestError, Node, digest_of};
use crate::path::TreePath;
use crate::walk::Walk;

/// One difference between a manifest and the live tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub path: TreePath,
    /// What was done.
    pub kind: EditKind,
}

/// What was done to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditKind {
    /// It is not in the manifest.
    Added,
    /// It is not in the tree.
    Removed,
    /// It is in both; at least one aspect differs.
    Changed(Vec<Aspect>),
}

/// In what an entry differs from the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// It was a file and is a folder, or the like.
    Kind,
    /// Other bytes.
    Content,
    /// A symbolic link that points elsewhere.
    Target,
    /// Another device.
    Device,
    /// Other permissions.
    Mode,
    /// Another owner or group.
    Owner,
    /// Other capabilities, ACL or extended attributes.
    Xattrs,
}

impl Edit {
    /// What was done, in a few words: `added`, `removed` or `changed: content, mode`.
    pub fn change(&self) -> String {
        match &self.kind {
            EditKind::Added => "added".to_owned(),
            EditKind::Removed => "removed".to_owned(),
            EditKind::Changed(aspects) => {
                let names: Vec<_> = aspects.iter().map(Aspect::to_string).collect();
                format!("changed: {}", names.join(", "))
            }
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.change())
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aspect::Kind => "kind",
            Aspect::Content => "content",
            Aspect::Target => "target",
            Aspect::Device => "device",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Xattrs => "xattrs",
        })
    }
}

/// Compares the tree at `root` with its manifest; sorted by path.
pub fn edits(manifest: &Manifest, root: &Path) -> Result<Vec<Edit>, ManifestError> {
    let mut before: HashMap<&TreePath, &ManifestEntry> =
        manifest.entries.iter().map(|entry| (&entry.path, entry)).collect();
    let mut edits = Vec::new();
    let mut walk = Walk::new(root)?;
    while let Some(entry) = walk.next().transpose()? {
        if entry.path.is_root() {
            continue;
        }
        let kind = match before.remove(&entry.path) {
            None => EditKind::Added,
            // Attributes are those of what is mounted there.
            Some(_) if entry.mount_point => continue,
            Some(old) => match compare(manifest, old, &walk, &entry)? {
                aspects if aspects.is_empty() => continue,
                aspects => EditKind::Changed(aspects),
            },
        };
        edits.push(Edit { path: entry.path, kind });
    }
    edits.extend(before.into_keys().map(|path| Edit { path: path.clone(), kind: EditKind::Removed }));
    edits.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(edits)
}

fn compare(manifest: &Manifest, old: &ManifestEntry, walk: &Walk, new: &Entry) -> Result<Vec<Aspect>, ManifestError> {
    let mut aspects = Vec::new();
    match (&old.node, &new.kind) {
        (Node::File { .. }, Kind::File) => {
            if content_differs(manifest, old, walk, new)? {
                aspects.push(Aspect::Content);
            }
        }
        (Node::Symlink { target }, Kind::Symlink(now)) if target != now => aspects.push(Aspect::Target),
        (Node::Char(device), Kind::Char(now)) | (Node::Block(device), Kind::Block(now)) if device != now => {
            aspects.push(Aspect::Device);
        }
        (Node::Dir, Kind::Dir)
        | (Node::Symlink { .. }, Kind::Symlink(_))
        | (Node::Fifo, Kind::Fifo)
        | (Node::Char(_), Kind::Char(_))
        | (Node::Block(_), Kind::Block(_)) => {}
        _ => aspects.push(Aspect::Kind),
    }
    if old.mode != new.attributes.mode {
        aspects.push(Aspect::Mode);
    }
    if (old.uid, old.gid) != (new.attributes.uid, new.attributes.gid) {
        aspects.push(Aspect::Owner);
    }
    if old.xattrs != new.xattrs {
        aspects.push(Aspect::Xattrs);
    }
    Ok(aspects)
}

/// An edit that restores size and time still changes the inode, and that time can not be set back.
fn content_differs(manifest: &Manifest, old: &ManifestEntry, walk: &Walk, new: &Entry) -> Result<bool, ManifestError> {
    let Node::File { size, digest } = &old.node else {
        return Ok(true);
    };
    if *size != new.size {
        return Ok(true);
    }
    if old.mtime == new.attributes.mtime && new.ctime < manifest.complete {
        return Ok(false);
    }
    let read = digest_of(walk.open(new)?);
    let (_, now) = read.map_err(|source| ManifestError::Content { path: new.path.clone(), source })?;
    Ok(now != *digest)
}
