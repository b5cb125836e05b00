//! [`Walk`]: one ordered pass over a tree, on one file system, across no mount.
//!
//! Entries come a folder before its content, siblings sorted by bytes: two walks of one tree are alike, so what is
//! made from them is reproducible. Folders are held open from the root to the current one, so paths may be longer
//! than `PATH_MAX`; the depth is limited by the number of files a process may open.
//!
//! A folder that something is mounted on is given as an empty folder, because an image needs its `/proc`; a file
//! that something is mounted on, and a socket, are left out. Each of these leaves a [`Note`].

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, Statx, StatxFlags, openat, readlinkat, statx};
use rustix::io::Errno;
use thiserror::Error;

use crate::beneath::{CONTENT, FOLDER};
use crate::entry::{self, Entry, Kind};
use crate::mounts::Mounts;
use crate::path::TreePath;
use crate::xattr;

/// Why a walk can not go on.
#[derive(Debug, Error)]
pub enum WalkError {
    /// The root is not there, or no folder.
    #[error("cannot walk tree `{}`", path.display())]
    Root {
        /// The root as the caller named it.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// One entry could not be read.
    #[error("cannot {doing} `{path}` in the tree")]
    Entry {
        /// What was tried.
        doing: &'static str,
        /// On which entry.
        path: TreePath,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Something in the tree that the walk did not give as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub path: TreePath,
    /// Why.
    pub reason: NoteReason,
}

/// Why a walk left something out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteReason {
    /// A socket: it means nothing without its listener.
    Socket,
    /// A folder that another file system is mounted on, given as an empty folder.
    MountedFolder,
    /// A file that another file is mounted on.
    MountedFile,
}

/// A pass over a tree; an iterator over its entries, beginning with the root itself.
#[derive(Debug)]
pub struct Walk {
    levels: Vec<Level>,
    root: Option<Entry>,
    border: Border,
    notes: Vec<Note>,
}

/// An open folder and the names in it that are still to come, last first.
#[derive(Debug)]
struct Level {
    folder: OwnedFd,
    path: TreePath,
    names: Vec<Box<[u8]>>,
}

/// What tells that an entry lies on another mount.
#[derive(Debug)]
struct Border {
    device: (u32, u32),
    mount: Option<u64>,
    points: HashSet<TreePath>,
}

impl Walk {
    /// Starts at the folder `root`.
    pub fn new(root: &Path) -> Result<Walk, WalkError> {
        Walk::start(root).map_err(|source| WalkError::Root { path: root.to_owned(), source })
    }

    fn start(root: &Path) -> std::io::Result<Walk> {
        let canonical = root.canonicalize()?;
        let folder = rustix::fs::open(&canonical, FOLDER, Mode::empty())?;
        let stat = stat(folder.as_fd(), b".")?;
        let below = Mounts::read()?.below(&canonical);
        let point = |path: &PathBuf| {
            use std::os::unix::ffi::OsStrExt;
            let inside = path.strip_prefix(&canonical).ok()?;
            TreePath::parse(inside.as_os_str().as_bytes()).ok()
        };
        let border = Border {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            mount: mount_of(&stat),
            points: below.iter().filter_map(point).collect(),
        };
        let xattrs = xattr::read(folder.as_fd(), b".")?;
        let root = describe(TreePath::root(), Kind::Dir, &stat, xattrs);
        let names = list(folder.as_fd())?;
        let level = Level { folder, path: TreePath::root(), names };
        Ok(Walk { levels: vec![level], root: Some(root), border, notes: Vec::new() })
    }

    /// Opens the content of `entry`, which must be the regular file given last.
    pub fn open(&self, entry: &Entry) -> Result<File, WalkError> {
        let level = self.levels.last().expect("a walk that gave a file is in its folder");
        let (_, name) = entry.path.split().expect("a file is never the root");
        openat(&level.folder, name, CONTENT, Mode::empty())
            .map(File::from)
            .map_err(|source| failed("open", &entry.path, source.into()))
    }

    /// What was left out so far; complete when the walk has ended.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn step(&mut self) -> Result<Option<Entry>, WalkError> {
        if let Some(root) = self.root.take() {
            return Ok(Some(root));
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            if let Some(entry) = self.visit(path, &name)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Looks at one name of the current folder; `None` if it is left out.
    fn visit(&mut self, path: TreePath, name: &[u8]) -> Result<Option<Entry>, WalkError> {
        let folder = self.levels.last().expect("a name came from this level").folder.as_fd();
        let stat = stat(folder, name).map_err(|source| failed("examine", &path, source.into()))?;
        let target = || readlinkat(folder, name, Vec::new()).map(|target| target.into_bytes());
        let kind = entry::kind_of(&stat, target).map_err(|source| failed("read link", &path, source.into()))?;
        let Some(kind) = kind else {
            self.note(path, NoteReason::Socket);
            return Ok(None);
        };
        let mounted = self.border.crossed_by(&path, &kind, &stat);
        if mounted && kind != Kind::Dir {
            self.note(path, NoteReason::MountedFile);
            return Ok(None);
        }
        let xattrs = xattr::read(folder, name).map_err(|source| failed("read attributes of", &path, source))?;
        let mut entry = describe(path, kind, &stat, xattrs);
        entry.mount_point = mounted;
        if mounted {
            self.note(entry.path.clone(), NoteReason::MountedFolder);
        } else if entry.kind == Kind::Dir {
            self.descend(&entry, name)?;
        }
        Ok(Some(entry))
    }

    fn descend(&mut self, entry: &Entry, name: &[u8]) -> Result<(), WalkError> {
        let above = self.levels.last().expect("a folder was found in this level").folder.as_fd();
        let enter = || -> std::io::Result<Level> {
            let folder = openat(above, name, FOLDER, Mode::empty())?;
            let names = list(folder.as_fd())?;
            Ok(Level { folder, path: entry.path.clone(), names })
        };
        let level = enter().map_err(|source| failed("list folder", &entry.path, source))?;
        self.levels.push(level);
        Ok(())
    }

    fn note(&mut self, path: TreePath, reason: NoteReason) {
        self.notes.push(Note { path, reason });
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl Border {
    /// A file's device is not asked: on overlayfs it differs from its folder's.
    fn crossed_by(&self, path: &TreePath, kind: &Kind, stat: &Statx) -> bool {
        let other_device = *kind == Kind::Dir && (stat.stx_dev_major, stat.stx_dev_minor) != self.device;
        let other_mount = self.mount.zip(mount_of(stat)).is_some_and(|(here, there)| here != there);
        other_device || other_mount || self.points.contains(path)
    }
}

/// `statx` of a name, never following a link or setting off an automount.
pub(crate) fn stat(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(folder, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

/// The id of the mount, where the kernel tells it (5.8 and later).
pub(crate) fn mount_of(stat: &Statx) -> Option<u64> {
    StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID).then_some(stat.stx_mnt_id)
}

/// The names in a folder, sorted so that `pop` gives them by bytes.
pub(crate) fn list(folder: BorrowedFd<'_>) -> std::io::Result<Vec<Box<[u8]>>> {
    let mut names: Vec<Box<[u8]>> = Vec::new();
    for item in Dir::read_from(folder)? {
        let item = item?;
        let name = item.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(Box::from(name));
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn describe(path: TreePath, kind: Kind, stat: &Statx, xattrs: Vec<entry::Xattr>) -> Entry {
    let size = if kind == Kind::File { stat.stx_size } else { 0 };
    Entry {
        path,
        attributes: entry::attributes_of(stat),
        size,
        nlink: stat.stx_nlink,
        id: entry::id_of(stat),
        ctime: entry::stamp_of(&stat.stx_ctime),
        xattrs,
        mount_point: false,
        sparse: stat.stx_blocks.saturating_mul(512) < size,
        kind,
    }
}

fn failed(doing: &'static str, path: &TreePath, source: std::io::Error) -> WalkError {
    WalkError::Entry { doing, path: path.clone(), source }
}
