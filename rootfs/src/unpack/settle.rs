//! Owner, mode, xattrs and times of what was unpacked.
//!
//! Order matters on each entry: owner before mode (a change of owner clears setuid), then xattrs (it clears
//! capabilities too), then times. Folders get theirs at the end: a default ACL set earlier would be inherited by
//! what is unpacked below, and each new name would change the time.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown, futimens, utimensat,
};
use rustix::io::Errno;

use super::{RefusedXattrs, UnpackError, Unpacked, Unpacker, failed, split};
use crate::entry::{self, Attributes, Xattr};
use crate::manifest::Node;
use crate::path::TreePath;
use crate::walk::stat;
use crate::xattr;

impl Unpacker {
    pub(super) fn settle_file(
        &mut self,
        file: &File,
        path: &TreePath,
        attributes: Attributes,
        xattrs: Vec<Xattr>,
    ) -> Result<Vec<Xattr>, UnpackError> {
        let (uid, gid) = owner(attributes);
        fchown(file, uid, gid).map_err(|error| failed("set the owner of", path, error))?;
        fchmod(file, mode(attributes)).map_err(|error| failed("set the mode of", path, error))?;
        let kept = self.set_xattrs(path, xattrs)?;
        futimens(file, &times(attributes)).map_err(|error| failed("set the time of", path, error))?;
        Ok(kept)
    }

    /// For what must not be opened: opening a device may do something.
    pub(super) fn settle_by_name(
        &mut self,
        path: &TreePath,
        node: &Node,
        attributes: Attributes,
        xattrs: Vec<Xattr>,
    ) -> Result<Vec<Xattr>, UnpackError> {
        let (parent, name) = split(path);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let folder = self.tree.folder(&parent).map_err(|error| failed("open folder of", path, error))?;
        let (uid, gid) = owner(attributes);
        chownat(folder, name, uid, gid, nofollow).map_err(|error| failed("set the owner of", path, error))?;
        if !matches!(node, Node::Symlink { .. }) {
            let set = chmodat(folder, name, mode(attributes), AtFlags::empty());
            set.map_err(|error| failed("set the mode of", path, error))?;
        }
        let kept = self.set_xattrs(path, xattrs)?;
        let folder = self.tree.folder(&parent).map_err(|error| failed("open folder of", path, error))?;
        let set = utimensat(folder, name, &times(attributes), nofollow);
        set.map_err(|error| failed("set the time of", path, error))?;
        Ok(kept)
    }

    /// Sets what the file system takes and gives that back.
    fn set_xattrs(&mut self, path: &TreePath, xattrs: Vec<Xattr>) -> Result<Vec<Xattr>, UnpackError> {
        let (parent, name) = split(path);
        let mut kept = Vec::with_capacity(xattrs.len());
        for xattr in xattrs {
            let folder = self.tree.folder(&parent).map_err(|error| failed("open folder of", path, error))?;
            match xattr::write(folder, name, &xattr) {
                Ok(()) => kept.push(xattr),
                Err(Errno::OPNOTSUPP | Errno::PERM) if self.options.refused_xattrs == RefusedXattrs::Note => {
                    self.done.refused_xattrs.push((path.clone(), xattr.name));
                }
                Err(error) => return Err(failed("set an extended attribute of", path, error)),
            }
        }
        Ok(kept)
    }

    /// Gives folders their attributes, the deepest first, and takes the time of completion from the file system.
    pub(super) fn finish(mut self) -> Result<Unpacked, UnpackError> {
        for at in std::mem::take(&mut self.folders).into_iter().rev() {
            let entry = &mut self.done.manifest.entries[at];
            let path = entry.path.clone();
            let xattrs = std::mem::take(&mut entry.xattrs);
            let attributes = Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime };
            let kept = self.settle_by_name(&path, &Node::Dir, attributes, xattrs)?;
            self.done.manifest.entries[at].xattrs = kept;
        }
        self.done.manifest.arrange();
        self.done.manifest.complete = self.completion_time()?;
        Ok(self.done)
    }

    /// The file system's own time, which may be a server's: a change of the root's inode shows it.
    fn completion_time(&self) -> Result<entry::Stamp, UnpackError> {
        let root = self.tree.root();
        let show = || -> Result<entry::Stamp, Errno> {
            let before = stat(root, b".")?;
            fchmod(root, Mode::from_raw_mode(u32::from(before.stx_mode) & 0o7777))?;
            Ok(entry::stamp_of(&stat(root.as_fd(), b".")?.stx_ctime))
        };
        show().map_err(|error| failed("take the time from", &TreePath::root(), error))
    }
}

fn owner(attributes: Attributes) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))
}

fn mode(attributes: Attributes) -> Mode {
    Mode::from_raw_mode(attributes.mode)
}

fn times(attributes: Attributes) -> Timestamps {
    let time = Timespec { tv_sec: attributes.mtime.0, tv_nsec: attributes.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}
