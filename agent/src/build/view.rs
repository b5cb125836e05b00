//! How the site's scripts see the tree: at `<rootimgdir>/rootimg`, where it would stand on the MN, and the only part
//! of the install root that they can write to, whether the install root is the MN's or this node's own.
//!
//! Called by [`super::postinstall`]. All of it is mounts of the worker's own namespace, but for one empty folder
//! ([`MountPoint`]) on a node that has nothing to mount on.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::MountFlags;

use super::context::Context;
use super::failure::StageError;
use crate::sys::mount::{Mounts, make_read_only};

/// For the empty folders that hide or hold something.
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// The tree in view. It is to be gone from there before this is dropped.
#[derive(Debug)]
pub struct View {
    /// Where the tree is seen.
    pub target: PathBuf,
    _point: Option<MountPoint>,
}

/// Shows the tree, over a folder that hides what stands there from earlier builds.
pub fn show(context: &Context<'_>, mounts: &mut Mounts) -> Result<View, StageError> {
    let rootimgdir = &context.plan.rootimgdir;
    let first: PathBuf = rootimgdir.components().take(2).collect();
    let point = MountPoint::hold(&first).map_err(StageError::file("make", &first))?;
    let covered = match &point {
        // Nothing of the path is on this node: an empty folder is all it needs.
        Some(_) => {
            mounts.special("tmpfs", &first, PLAIN, Some(c"mode=755"))?;
            first
        }
        None => cover(context, mounts)?,
    };
    let target = rootimgdir.join("rootimg");
    fs::create_dir_all(&target).map_err(StageError::file("make", &target))?;
    mounts.bind_one(&context.root, &target)?;
    // What a script writes beside the tree would be lost without a word: now it is told.
    make_read_only(&covered)?;
    Ok(View { target, _point: point })
}

/// Makes a place for the tree in what the node has of the path; returns the folder that is still to be closed.
fn cover(context: &Context<'_>, mounts: &mut Mounts) -> Result<PathBuf, StageError> {
    let (rootimgdir, install) = (&context.plan.rootimgdir, &context.plan.install_dir);
    let standing = rootimgdir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    if context.order.install.is_none() {
        // The MN's is read-only already; this one is the node's own.
        let own = if install.is_dir() && rootimgdir.starts_with(install) { install } else { standing };
        mounts.close(own, &context.order.scratch)?;
    }
    if standing == rootimgdir.as_path() {
        mounts.special("tmpfs", rootimgdir, PLAIN, Some(c"mode=755"))?;
    } else {
        mirror(standing, mounts)?;
    }
    Ok(standing.to_owned())
}

/// Makes `folder`, which can't be written to, one in which new folders can be made, with all that it shows.
fn mirror(folder: &Path, mounts: &mut Mounts) -> Result<(), StageError> {
    // By its descriptor it is still seen when it is covered.
    let opened = File::open(folder).map_err(StageError::file("open", folder))?;
    let below = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    mounts.special("tmpfs", folder, PLAIN, Some(c"mode=755"))?;
    for entry in fs::read_dir(&below).map_err(StageError::file("read", folder))?.flatten() {
        let (from, to) = (entry.path(), folder.join(entry.file_name()));
        let show = |mounts: &mut Mounts| {
            match entry.file_type()? {
                kind if kind.is_symlink() => std::os::unix::fs::symlink(fs::read_link(&from)?, &to).map(|()| false),
                kind if kind.is_dir() => fs::create_dir(&to).map(|()| true),
                _ => fs::write(&to, "").map(|()| true),
            }
            .and_then(|bind| if bind { mounts.bind(&from, &to).map_err(io::Error::other) } else { Ok(()) })
        };
        show(mounts).map_err(StageError::file("show", &to))?;
    }
    Ok(())
}

/// A folder of the node, empty and only there to be mounted on: made if nothing has its name, and removed again.
///
/// Removing a folder takes down what any namespace has mounted on it. So whoever uses one holds a shared lock on the
/// folder above, and only who can get the lock alone removes it. Nobody can enter it by its mode, which says
/// that it is ours: so one that a killed worker left goes with the next.
#[derive(Debug)]
struct MountPoint {
    path: PathBuf,
    above: Option<File>,
}

impl MountPoint {
    /// `None` if the node has something else of that name.
    fn hold(path: &Path) -> io::Result<Option<Self>> {
        let above = File::open(path.parent().unwrap_or(path))?;
        // Where there are no locks (a root over NFS), the folder stays.
        let above = flock(&above, FlockOperation::LockShared).ok().map(|()| above);
        match DirBuilder::new().mode(0o0).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(is_ours(path).then(|| Self { path: path.to_owned(), above })),
        }
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        let alone = |above: &File| flock(above, FlockOperation::NonBlockingLockExclusive).is_ok();
        if self.above.as_ref().is_some_and(alone) && is_ours(&self.path) {
            // One that is not empty is somebody's by now.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn is_ours(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir() && found.mode() & 0o7777 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_use_a_mount_point_removes_it() {
        let node = tempfile::tempdir().unwrap();
        let path = node.path().join("install");
        let (one, other) = (MountPoint::hold(&path).unwrap(), MountPoint::hold(&path).unwrap());
        assert!(one.is_some() && other.is_some());
        drop(one);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_of_the_node_stays() {
        let node = tempfile::tempdir().unwrap();
        let path = node.path().join("install");
        fs::create_dir(&path).unwrap();
        assert!(MountPoint::hold(&path).unwrap().is_none());
        assert!(path.exists());
        fs::remove_dir(&path).unwrap();
        let point = MountPoint::hold(&path).unwrap();
        fs::write(path.join("put here meanwhile"), "").unwrap();
        drop(point);
        assert!(path.join("put here meanwhile").exists());
    }
}
