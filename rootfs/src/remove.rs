//! [`remove_tree`]: the only way this project deletes a tree.
//!
//! Management nodes have been emptied by a build tree with `/install` or `/dev` still mounted in it. So: refuse up
//! front if anything is mounted at or below the tree; then descend by folder handles, never following a link, and
//! check device and mount at each folder, in case something is mounted meanwhile. Whatever stops it is left alone.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, openat, unlinkat};
use rustix::io::Errno;
use thiserror::Error;

use crate::beneath::FOLDER;
use crate::mounts::Mounts;
use crate::path::TreePath;
use crate::walk::{list, mount_of, stat};

/// Why a tree, or the rest of it, still stands.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// The path itself is not a folder: a symbolic link, a file, or nothing a removal should be asked for.
    #[error("will not remove `{}`: it is not a folder{}", path.display(), .because)]
    NotATree {
        /// As the caller named it.
        path: PathBuf,
        /// More, if there is more to say.
        because: &'static str,
    },
    /// Something is mounted in the tree; nothing was removed.
    #[error("will not remove `{}`: mounted at or below it: {}", path.display(), list_paths(.points))]
    Mounted {
        /// The tree.
        path: PathBuf,
        /// The mount points.
        points: Vec<PathBuf>,
    },
    /// A folder turned out to be on another file system or mount; it and the folders above it stand.
    #[error("stopped removing `{}`: `{inside}` is on another mount", path.display())]
    OtherMount {
        /// The tree.
        path: PathBuf,
        /// The folder in it.
        inside: TreePath,
    },
    /// The system refused.
    #[error("cannot {doing} `{inside}` while removing `{}`", path.display())]
    Failed {
        /// The tree.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// On what.
        inside: TreePath,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Removes the folder `path` and all in it. A path that is not there is an error of kind `NotFound`.
pub fn remove_tree(path: &Path) -> Result<(), RemoveError> {
    // `link/` would be followed by the system: without the slash it is what it is, a link.
    let path = path.components().as_path();
    let failed = |doing, source| RemoveError::Failed {
        path: path.to_owned(),
        doing,
        inside: TreePath::root(),
        source,
    };
    let metadata = path
        .symlink_metadata()
        .map_err(|source| failed("find", source))?;
    if metadata.is_symlink() {
        return Err(RemoveError::NotATree {
            path: path.to_owned(),
            because: " but a symbolic link",
        });
    }
    let name = path.file_name().filter(|_| metadata.is_dir());
    let Some(name) = name else {
        return Err(RemoveError::NotATree {
            path: path.to_owned(),
            because: " with a name of its own",
        });
    };
    let canonical = path
        .canonicalize()
        .map_err(|source| failed("resolve", source))?;
    let points = Mounts::read()
        .map_err(|source| failed("look for mounts in", source))?
        .at_or_below(&canonical);
    if !points.is_empty() {
        return Err(RemoveError::Mounted {
            path: path.to_owned(),
            points,
        });
    }
    let above = canonical.parent().unwrap_or(Path::new("/"));
    let above = rustix::fs::open(above, FOLDER, Mode::empty())
        .map_err(|error| failed("open folder of", error.into()))?;
    let outside =
        stat(above.as_fd(), b".").map_err(|error| failed("examine folder of", error.into()))?;
    let here =
        stat(above.as_fd(), name.as_bytes()).map_err(|error| failed("examine", error.into()))?;
    // The tree's own device, which a btrfs subvolume does not share with the folder above; but that folder's mount.
    let device = (here.stx_dev_major, here.stx_dev_minor);
    let removal = Removal {
        tree: path,
        device,
        mount: mount_of(&outside),
    };
    removal.folder(above.as_fd(), name.as_bytes(), &TreePath::root())
}

/// A removal in progress: the file system and mount it keeps to.
struct Removal<'a> {
    tree: &'a Path,
    device: (u32, u32),
    mount: Option<u64>,
}

impl Removal<'_> {
    /// Empties and removes the folder `name` in `above`. Recursion is as deep as the tree; so is the number of
    /// folders held open, which is what ends a hopelessly deep one.
    fn folder(
        &self,
        above: BorrowedFd<'_>,
        name: &[u8],
        inside: &TreePath,
    ) -> Result<(), RemoveError> {
        let folder = openat(above, name, FOLDER, Mode::empty())
            .map_err(|error| self.failed("open", inside, error))?;
        let here =
            stat(folder.as_fd(), b".").map_err(|error| self.failed("examine", inside, error))?;
        let device = (here.stx_dev_major, here.stx_dev_minor);
        if device != self.device || mount_of(&here) != self.mount {
            return Err(RemoveError::OtherMount {
                path: self.tree.to_owned(),
                inside: inside.clone(),
            });
        }
        let names =
            list(folder.as_fd()).map_err(|source| self.failed_io("list", inside, source))?;
        for name in names.iter().rev() {
            self.entry(folder.as_fd(), name, &inside.join(name))?;
        }
        drop(folder);
        unlinkat(above, name, AtFlags::REMOVEDIR)
            .map_err(|error| self.failed("remove folder", inside, error))
    }

    fn entry(
        &self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        inside: &TreePath,
    ) -> Result<(), RemoveError> {
        let here = stat(folder, name).map_err(|error| self.failed("examine", inside, error))?;
        if FileType::from_raw_mode(u32::from(here.stx_mode)) == FileType::Directory {
            return self.folder(folder, name, inside);
        }
        // The kernel itself refuses to unlink a file that something is mounted on.
        unlinkat(folder, name, AtFlags::empty())
            .map_err(|error| self.failed("remove", inside, error))
    }

    fn failed(&self, doing: &'static str, inside: &TreePath, error: Errno) -> RemoveError {
        self.failed_io(doing, inside, error.into())
    }

    fn failed_io(&self, doing: &'static str, inside: &TreePath, source: io::Error) -> RemoveError {
        RemoveError::Failed {
            path: self.tree.to_owned(),
            doing,
            inside: inside.clone(),
            source,
        }
    }
}

fn list_paths(paths: &[PathBuf]) -> String {
    let mut text = String::new();
    for path in paths {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}`{}`", path.display()).expect("writing to a string does not fail");
    }
    text
}
