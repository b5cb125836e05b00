//! [`remove_tree`]: the only way this project deletes a tree.
//!
//! Management nodes have been emptied by a build tree with `/install` or `/dev` still mounted in it. So: refuse up
//! front if anything is mounted at or below the tree; then descend by folder handles, never following a link, and
//! check device and mount at each folder, in case something is mounted meanwhile. Whatever stops it is left alone.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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
    let name = name_of_folder(path)?;
    refuse_mounts(path)?;
    let canonical = path.canonicalize().map_err(|source| at_root(path, "resolve", source))?;
    let above = canonical.parent().unwrap_or(Path::new("/"));
    let begin = || -> Result<(OwnedFd, Removal<'_>), Errno> {
        let above = rustix::fs::open(above, FOLDER, Mode::empty())?;
        // The tree's own device, which a btrfs subvolume does not share with the folder above; but that folder's
        // mount.
        let here = stat(above.as_fd(), name.as_bytes())?;
        let device = (here.stx_dev_major, here.stx_dev_minor);
        let mount = mount_id(above.as_fd())?;
        Ok((above, Removal { tree: path, device, mount }))
    };
    let (above, removal) = begin().map_err(|error| at_root(path, "examine", error.into()))?;
    removal.folder(above.as_fd(), name.as_bytes(), &TreePath::root())
}

/// Refuses a tree that [`remove_tree`] would refuse because something is mounted in it. To be asked before a tree is
/// renamed to be removed: afterwards the mounts would be named by names that nobody knows.
pub fn refuse_mounts(path: &Path) -> Result<(), RemoveError> {
    let canonical = path.canonicalize().map_err(|source| at_root(path, "resolve", source))?;
    let mounts = Mounts::read().map_err(|source| at_root(path, "look for mounts in", source))?;
    let points = mounts.at_or_below(&canonical);
    if points.is_empty() { Ok(()) } else { Err(RemoveError::Mounted { path: path.to_owned(), points }) }
}

/// The name of a folder that is not a link to one.
fn name_of_folder(path: &Path) -> Result<&OsStr, RemoveError> {
    let metadata = path.symlink_metadata().map_err(|source| at_root(path, "find", source))?;
    let not_a_tree = |because| RemoveError::NotATree { path: path.to_owned(), because };
    if metadata.is_symlink() {
        return Err(not_a_tree(" but a symbolic link"));
    }
    path.file_name().filter(|_| metadata.is_dir()).ok_or_else(|| not_a_tree(" with a name of its own"))
}

fn at_root(path: &Path, doing: &'static str, source: io::Error) -> RemoveError {
    RemoveError::Failed { path: path.to_owned(), doing, inside: TreePath::root(), source }
}

/// The id of the mount that an open folder is on; before Linux 5.8 only `/proc` tells it.
fn mount_id(folder: BorrowedFd<'_>) -> Result<u64, Errno> {
    match mount_of(&stat(folder, b".")?) {
        Some(id) => Ok(id),
        None => mount_id_from_proc(folder),
    }
}

fn mount_id_from_proc(folder: BorrowedFd<'_>) -> Result<u64, Errno> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", folder.as_raw_fd()));
    let info = info.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.and_then(|id| id.trim().parse().ok()).ok_or(Errno::NOSYS)
}

/// A removal in progress: the file system and mount it keeps to.
struct Removal<'a> {
    tree: &'a Path,
    device: (u32, u32),
    mount: u64,
}

impl Removal<'_> {
    /// Empties and removes the folder `name` in `above`. Recursion is as deep as the tree; so is the number of
    /// folders held open, which is what ends a hopelessly deep one.
    fn folder(&self, above: BorrowedFd<'_>, name: &[u8], inside: &TreePath) -> Result<(), RemoveError> {
        let folder = openat(above, name, FOLDER, Mode::empty()).map_err(|error| self.failed("open", inside, error))?;
        let examined = stat(folder.as_fd(), b".").and_then(|here| Ok((here, mount_id(folder.as_fd())?)));
        let (here, mount) = examined.map_err(|error| self.failed("examine", inside, error))?;
        if (here.stx_dev_major, here.stx_dev_minor) != self.device || mount != self.mount {
            return Err(RemoveError::OtherMount { path: self.tree.to_owned(), inside: inside.clone() });
        }
        let names = list(folder.as_fd()).map_err(|source| self.failed_io("list", inside, source))?;
        for name in names.iter().rev() {
            self.entry(folder.as_fd(), name, &inside.join(name))?;
        }
        drop(folder);
        unlinkat(above, name, AtFlags::REMOVEDIR).map_err(|error| self.failed("remove folder", inside, error))
    }

    fn entry(&self, folder: BorrowedFd<'_>, name: &[u8], inside: &TreePath) -> Result<(), RemoveError> {
        let here = stat(folder, name).map_err(|error| self.failed("examine", inside, error))?;
        if FileType::from_raw_mode(u32::from(here.stx_mode)) == FileType::Directory {
            return self.folder(folder, name, inside);
        }
        // The kernel itself refuses to unlink a file that something is mounted on.
        unlinkat(folder, name, AtFlags::empty()).map_err(|error| self.failed("remove", inside, error))
    }

    fn failed(&self, doing: &'static str, inside: &TreePath, error: Errno) -> RemoveError {
        self.failed_io(doing, inside, error.into())
    }

    fn failed_io(&self, doing: &'static str, inside: &TreePath, source: io::Error) -> RemoveError {
        RemoveError::Failed { path: self.tree.to_owned(), doing, inside: inside.clone(), source }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    fn mount(args: &[&str], point: &Path) {
        assert!(Command::new("mount").args(args).arg(point).status().unwrap().success());
    }

    /// What is mounted after the look at the mount table must still survive.
    #[test]
    fn a_mount_met_on_the_way_stops_the_removal() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, precious) = (dir.path().join("tree"), dir.path().join("precious"));
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "").unwrap();
        for kind in ["bind", "tmpfs"] {
            let point = tree.join("a/mnt");
            fs::create_dir_all(&point).unwrap();
            match kind {
                "bind" => mount(&["--bind", precious.to_str().unwrap()], &point),
                _ => mount(&["-t", "tmpfs", "none"], &point),
            }
            let above = rustix::fs::open(dir.path(), FOLDER, Mode::empty()).unwrap();
            let here = stat(above.as_fd(), b"tree").unwrap();
            let device = (here.stx_dev_major, here.stx_dev_minor);
            let removal = Removal { tree: &tree, device, mount: mount_id(above.as_fd()).unwrap() };
            let stopped = removal.folder(above.as_fd(), b"tree", &TreePath::root());
            assert!(Command::new("umount").arg(&point).status().unwrap().success());
            assert!(matches!(stopped, Err(RemoveError::OtherMount { .. })), "{kind}: {stopped:?}");
            assert!(precious.join("file").exists());
            remove_tree(&tree).unwrap();
        }
    }

    #[test]
    fn old_kernels_tell_the_mount_too() {
        let proc = rustix::fs::open("/proc", FOLDER, Mode::empty()).unwrap();
        let dir = rustix::fs::open("/", FOLDER, Mode::empty()).unwrap();
        for folder in [proc.as_fd(), dir.as_fd()] {
            assert_eq!(mount_id_from_proc(folder).unwrap(), mount_id(folder).unwrap());
        }
    }
}
