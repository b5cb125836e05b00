//! [`Beneath`]: folders of a tree by path, opened so that no symbolic link is ever followed.
//!
//! Each component is opened from the one above with `O_NOFOLLOW | O_DIRECTORY`, so a link put into the tree, by an
//! archive or by someone beside us, leads nowhere. This is what `openat2` with `RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS` promises, on kernels that lack it too; and because the chain of the last path is kept,
//! an ordered pass opens each folder once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::path::TreePath;

/// How every folder is opened here.
pub(crate) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How a file is opened for reading: never through a link, never waiting for a peer.
pub(crate) const CONTENT: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A tree held by its root, with the chain of folders to the last path asked for.
#[derive(Debug)]
pub(crate) struct Beneath {
    root: OwnedFd,
    chain: Vec<(Box<[u8]>, OwnedFd)>,
}

impl Beneath {
    /// Holds the tree at `root`, which may be reached through links: it is the caller's word.
    pub(crate) fn open(root: &Path) -> Result<Beneath, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Beneath { root: rustix::fs::open(root, flags, Mode::empty())?, chain: Vec::new() })
    }

    /// The root itself.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The folder `path` names. A component that is a link or no folder gives `NOTDIR`.
    pub(crate) fn folder(&mut self, path: &TreePath) -> Result<BorrowedFd<'_>, Errno> {
        let mut depth = 0;
        for component in path.components() {
            let known = self.chain.get(depth).is_some_and(|(name, _)| **name == *component);
            if !known {
                self.chain.truncate(depth);
                let above = self.chain.last().map_or(self.root.as_fd(), |(_, folder)| folder.as_fd());
                let folder = openat(above, component, FOLDER, Mode::empty())?;
                self.chain.push((component.into(), folder));
            }
            depth += 1;
        }
        Ok(match depth {
            0 => self.root.as_fd(),
            _ => self.chain[depth - 1].1.as_fd(),
        })
    }

    /// Forgets the folders it has open, after something else changed the tree.
    pub(crate) fn forget(&mut self) {
        self.chain.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_on_the_way_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        symlink("b", dir.path().join("a/link")).unwrap();
        let mut beneath = Beneath::open(dir.path()).unwrap();
        assert!(beneath.folder(&TreePath::parse("a/b").unwrap()).is_ok());
        assert_eq!(beneath.folder(&TreePath::parse("a/link").unwrap()).unwrap_err(), Errno::NOTDIR);
        assert!(beneath.folder(&TreePath::root()).is_ok());
    }
}
