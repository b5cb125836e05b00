//! [`Overlay`]: what is put into an archive beside the tree's own entries, without touching the tree.
//!
//! Synclist files, image info and the xattr list go in this way. An overlay replaces the tree's entry of its name
//! and no exlist removes it. Its name is as seen from inside the image, and folders on the way may be links there
//! (`/lib` to `usr/lib`): it lands where a program in the image would find it, never outside the tree.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use rustix::fs::{FileType, readlinkat};
use rustix::io::Errno;
use thiserror::Error;

use crate::beneath::Beneath;
use crate::entry::{Attributes, Stamp};
use crate::path::{PathError, TreePath};
use crate::walk::stat;

/// As many links as the kernel follows for one name.
const LINK_LIMIT: usize = 40;

/// One entry to put into the archive.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// Where, seen from inside the image.
    pub path: TreePath,
    /// What.
    pub content: OverlayContent,
    /// Owner, permissions and time it gets.
    pub attributes: Attributes,
}

/// What an overlay is.
#[derive(Debug, Clone)]
pub enum OverlayContent {
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A file with the content of this one, which is outside the tree.
    File(PathBuf),
    /// A symbolic link that points here.
    Symlink(Vec<u8>),
    /// A folder. Over a folder of the tree it only sets the attributes.
    Dir,
}

/// Why an overlay has no place in the tree.
#[derive(Debug, Error)]
pub enum OverlayError {
    /// Its name can not be one.
    #[error("overlay has no place in the image")]
    Name(#[from] PathError),
    /// It is the root, or its folder is a file.
    #[error("overlay `{path}` has no place in the image: `{at}` is not a folder")]
    NotAFolder {
        /// The overlay.
        path: TreePath,
        /// What is in its way.
        at: TreePath,
    },
    /// Links lead in a circle.
    #[error("overlay `{path}` has no place in the image: too many symbolic links on the way")]
    TooManyLinks {
        /// The overlay.
        path: TreePath,
    },
    /// It is a file where the tree has a folder.
    #[error("overlay `{path}` would replace a folder of the tree")]
    ReplacesFolder {
        /// The overlay.
        path: TreePath,
    },
    /// Two overlays are for one place.
    #[error("two overlays are for `{path}`")]
    Twice {
        /// The place.
        path: TreePath,
    },
    /// The tree can not be read.
    #[error("cannot look for the place of overlay `{path}` in the tree")]
    Lookup {
        /// The overlay.
        path: TreePath,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl Overlay {
    /// A file of `root`, mode 0644, with these bytes and time.
    pub fn file(path: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>, mtime: Stamp) -> Result<Overlay, PathError> {
        let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime };
        let path = TreePath::in_image(path)?;
        Ok(Overlay { path, content: OverlayContent::Bytes(bytes.into()), attributes })
    }
}

/// Overlays at their places, with the folders they need.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// By place.
    pub(super) overlays: BTreeMap<TreePath, Overlay>,
    /// Folders on the way to one: kept whatever the exlist says, made up if the tree does not have them.
    pub(super) folders: std::collections::BTreeSet<TreePath>,
}

impl Placed {
    /// Finds the place of each overlay in the tree.
    pub(super) fn new(tree: &mut Beneath, overlays: &[Overlay]) -> Result<Placed, OverlayError> {
        let mut placed = Placed::default();
        for overlay in overlays {
            let place = resolve(tree, &overlay.path)?;
            placed.insert(Overlay { path: place, ..overlay.clone() })?;
        }
        for folder in &placed.folders {
            if placed.overlays.get(folder).is_some_and(|over| !matches!(over.content, OverlayContent::Dir)) {
                return Err(OverlayError::NotAFolder { path: folder.clone(), at: folder.clone() });
            }
        }
        Ok(placed)
    }

    fn insert(&mut self, overlay: Overlay) -> Result<(), OverlayError> {
        let place = overlay.path.clone();
        let mut above = place.parent();
        while let Some(folder) = above.filter(|folder| !folder.is_root()) {
            above = folder.parent();
            self.folders.insert(folder);
        }
        match self.overlays.insert(place.clone(), overlay) {
            None => Ok(()),
            Some(_) => Err(OverlayError::Twice { path: place }),
        }
    }
}

/// Follows links on the way to `path`, but not at its end, as if the tree's root were `/`. What is not in the tree
/// is taken literally.
pub(super) fn resolve(tree: &mut Beneath, path: &TreePath) -> Result<TreePath, OverlayError> {
    let Some((parent, last)) = path.split() else {
        return Err(OverlayError::NotAFolder { path: path.clone(), at: path.clone() });
    };
    let ahead = parent.components().map(<[u8]>::to_vec).collect();
    let mut way = Way { path, here: TreePath::root(), ahead, links: 0 };
    while let Some(component) = way.ahead.pop_front() {
        match &component[..] {
            b"" | b"." => {}
            // Above the root is the root.
            b".." => way.here = way.here.parent().unwrap_or_default(),
            name => way.step(tree, name)?,
        }
    }
    Ok(way.here.join(last))
}

/// How far a search for a place has come.
struct Way<'a> {
    path: &'a TreePath,
    here: TreePath,
    ahead: VecDeque<Vec<u8>>,
    links: usize,
}

impl Way<'_> {
    fn step(&mut self, tree: &mut Beneath, name: &[u8]) -> Result<(), OverlayError> {
        let next = self.here.join(name);
        let found = tree.folder(&self.here).and_then(|folder| Ok((folder, stat(folder, name)?)));
        let (folder, kind) = match found {
            Ok((folder, found)) => (folder, FileType::from_raw_mode(u32::from(found.stx_mode))),
            Err(Errno::NOENT) => {
                self.here = next;
                return Ok(());
            }
            Err(error) => return Err(self.lookup(error)),
        };
        match kind {
            FileType::Directory => self.here = next,
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new()).map_err(|error| self.lookup(error))?;
                self.follow(target.as_bytes())?;
            }
            _ => {
                return Err(OverlayError::NotAFolder { path: self.path.clone(), at: next });
            }
        }
        Ok(())
    }

    fn follow(&mut self, target: &[u8]) -> Result<(), OverlayError> {
        self.links += 1;
        if self.links > LINK_LIMIT {
            return Err(OverlayError::TooManyLinks { path: self.path.clone() });
        }
        if target.first() == Some(&b'/') {
            self.here = TreePath::root();
        }
        for component in target.rsplit(|byte| *byte == b'/') {
            self.ahead.push_front(component.to_vec());
        }
        Ok(())
    }

    fn lookup(&self, error: Errno) -> OverlayError {
        OverlayError::Lookup { path: self.path.clone(), source: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn places_are_found_through_links_and_never_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/lib/deep")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/usr/lib", root.join("abs")).unwrap();
        symlink("../../../../usr", root.join("usr/lib/out")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("not/there", root.join("dangling")).unwrap();
        symlink("not/there/../../lib", root.join("astray")).unwrap();
        fs::write(root.join("file"), b"").unwrap();
        let mut tree = Beneath::open(root).unwrap();
        for (name, place) in [
            ("/lib/x", "usr/lib/x"),
            ("/abs/deep/x", "usr/lib/deep/x"),
            ("/lib/out/x", "usr/x"),
            ("/lib", "lib"),
            ("/new/dir/x", "new/dir/x"),
            ("/dangling/x", "not/there/x"),
            ("/astray/x", "usr/lib/x"),
        ] {
            let found = resolve(&mut tree, &TreePath::in_image(name).unwrap()).unwrap();
            assert_eq!(found, TreePath::parse(place).unwrap(), "{name}");
        }
        let mut refusal = |name: &str| resolve(&mut tree, &TreePath::in_image(name).unwrap()).unwrap_err();
        assert!(matches!(refusal("/loop/x"), OverlayError::TooManyLinks { .. }));
        assert!(matches!(refusal("/file/x"), OverlayError::NotAFolder { .. }));
        assert!(matches!(refusal("/"), OverlayError::NotAFolder { .. }));
    }
}
