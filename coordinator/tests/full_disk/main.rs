//! A full disk below the state folder: what is new is refused with a message, what runs goes on, nothing is torn, and
//! all goes on by itself when there is room.
//!
//! Each test runs once more as a process in a mount namespace of its own, with a small tmpfs: whatever becomes of it,
//! no mount is left.
#![expect(clippy::unwrap_used, reason = "a test, all of it")]

mod disk;
mod logs;
#[path = "../sample/mod.rs"]
mod sample;
mod store;

use std::path::Path;
use std::process::{Command, Stdio};

/// Where the process in the namespace finds the folder to mount its disk on.
const FOLDER: &str = "IMGCTL_FULL_DISK";

/// Runs the ignored test `name` of this program in a namespace of its own.
fn in_namespace(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// In the namespace: the disk. None for who runs all ignored tests.
fn in_here(act: impl FnOnce(&disk::Disk)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        act(&disk::Disk::mount(Path::new(&folder)));
    }
}
