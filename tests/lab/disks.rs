//! Disks that build nodes start from, made once and kept outside the checkout.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a node boots from. Its root is never written to: each node has a layer of its own above it.
#[derive(Debug, Clone)]
pub struct Disk {
    /// As `uname -m` says.
    pub arch: String,
    folder: PathBuf,
}

impl Disk {
    /// Of the node's own distribution.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("kernel")
    }

    /// Finds the root's disk, and does nothing else.
    pub fn initrd(&self) -> PathBuf {
        self.folder.join("initrd")
    }

    /// An ext4 file system.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root.img")
    }
}

/// The disk for an architecture, which is made if nobody has made it yet: that needs a mirror of Debian's.
pub fn disk(arch: &str) -> Disk {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/node.sh");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(&script).arg(crate::el9::cache_folder()).arg(arch);
    let made = command.stderr(Stdio::inherit()).output().expect("unshare can be started");
    assert!(made.status.success(), "{} ended with {}", script.display(), made.status);
    let folder = String::from_utf8(made.stdout).expect("a path is text");
    Disk { arch: arch.to_owned(), folder: folder.trim().into() }
}
