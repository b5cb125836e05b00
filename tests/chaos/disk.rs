//! Small disks of memory that can be full.
//!
//! A disk is made full by making it smaller, to what is on it: no ballast has to be written, nor kept in memory.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use rustix::mount::{MountFlags, mount, mount_remount};

/// A tmpfs.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    bytes: u64,
}

impl Disk {
    /// A new one at `path`, with room for so many MiB. It goes with the mount namespace.
    pub(crate) fn mount(path: &Path, mebibytes: u64) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        let bytes = mebibytes << 20;
        let options = CString::new(format!("mode=755,size={bytes}")).expect("no zero is in it");
        mount("imgctl-chaos", path, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("a tmpfs");
        Self { path: path.to_owned(), bytes }
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        // Somebody may write between the look and the change: then the kernel refuses, and the look is repeated.
        for _ in 0..100 {
            if self.resize(self.used().max(4096)) {
                return;
            }
        }
    }

    /// Has all its room again.
    pub(crate) fn free(&self) {
        assert!(self.resize(self.bytes), "a disk can be made larger");
    }

    /// Bytes on it.
    pub(crate) fn used(&self) -> u64 {
        let seen = statvfs(&self.path).expect("it is mounted");
        (seen.f_blocks - seen.f_bfree) * seen.f_frsize
    }

    fn resize(&self, bytes: u64) -> bool {
        let options = CString::new(format!("size={bytes}")).expect("no zero is in it");
        mount_remount(&self.path, MountFlags::empty(), options.as_c_str()).is_ok()
    }
}
