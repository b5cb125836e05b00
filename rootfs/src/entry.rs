//! [`Entry`]: one thing in a tree, with all that an archive has to say about it except its content.
//!
//! A walk makes them; archives, manifests and comparisons take them.

use rustix::fs::{FileType, Statx, StatxTimestamp};
use serde::{Deserialize, Serialize};

use crate::path::TreePath;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link and where it points, which may be anywhere or nowhere.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device.
    Char(DeviceNumber),
    /// A block device.
    Block(DeviceNumber),
}

/// What a device node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

/// A moment as file systems keep it: seconds since 1970 (negative before) and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Stamp(pub i64, pub u32);

/// One extended attribute: a capability, an ACL, a label, or whatever a user set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The full name, such as `security.capability`.
    pub name: Vec<u8>,
    /// The value, binary more often than not.
    pub value: Vec<u8>,
}

/// Which file this is on the machine: equal for hard links to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    dev: (u32, u32),
    ino: u64,
}

/// Who may do what with an entry: everything about it that `chown`, `chmod` and `touch` change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky; no type bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Stamp,
}

/// One entry of a live tree.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Owner, permissions and time.
    pub attributes: Attributes,
    /// Length of a regular file, zero for all else.
    pub size: u64,
    /// How many names the file has on its file system; not all need to be in the tree.
    pub nlink: u32,
    /// Tells hard links.
    pub id: FileId,
    /// When the inode was last changed: the one stamp that can not be set back.
    pub ctime: Stamp,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Whether something is mounted here: its attributes are then those of the mounted root, and the walk did
    /// not go below.
    pub mount_point: bool,
    /// Whether fewer blocks are taken than the size needs, so holes are worth looking for.
    pub sparse: bool,
}

impl Entry {
    /// Whether other names of the same file may follow or have been.
    pub fn is_linked(&self) -> bool {
        self.nlink > 1 && self.kind != Kind::Dir
    }
}

/// The attributes in a `statx` result.
pub(crate) fn attributes_of(stat: &Statx) -> Attributes {
    Attributes {
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: stamp_of(&stat.stx_mtime),
    }
}

/// A kernel time stamp as ours.
pub(crate) fn stamp_of(time: &StatxTimestamp) -> Stamp {
    Stamp(time.tv_sec, time.tv_nsec)
}

/// The identity in a `statx` result.
pub(crate) fn id_of(stat: &Statx) -> FileId {
    FileId { dev: (stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino }
}

/// The kind in a `statx` result; `target` is asked for symbolic links only. `None` for sockets, which exist
/// only as long as someone listens.
pub(crate) fn kind_of<E>(stat: &Statx, target: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Option<Kind>, E> {
    let device = DeviceNumber { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor };
    Ok(Some(match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink(target()?),
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::Char(device),
        FileType::BlockDevice => Kind::Block(device),
        FileType::Socket | FileType::Unknown => return Ok(None),
    }))
}
