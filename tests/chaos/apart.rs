//! The run's own mount namespace: whatever it and its daemons mount ends with its processes, however they end.

use std::path::PathBuf;
use std::process::Command;

/// Set inside, to the run's folder.
const MARK: &str = "IMGCTL_CHAOS_FOLDER";

/// The run's folder, if this process is the one inside.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(MARK).map(PathBuf::from)
}

/// Runs one test of this executable again, inside, with its output shown as it comes.
pub(crate) fn run_inside(test: &str) {
    // On the outside nothing is ever in it, and nothing is mounted on it.
    let folder = tempfile::Builder::new().prefix("imgctl-chaos-").tempdir_in("/var/tmp").expect("a folder");
    let own = std::env::current_exe().expect("a test knows its own executable");
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(MARK, folder.path())
        .status()
        .expect("unshare can be started");
    assert!(status.success(), "the run inside ended with {status}");
}
