//! Namespaces of its own for a run: what it mounts, the network that it makes and every process that it starts end with
//! it, however it ends.

use std::ffi::OsString;
use std::process::{Command, ExitStatus};

/// Set inside.
const MARK: &str = "IMGCTL_LAB_APART";

/// Whether this process is the one inside.
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this executable again with these arguments, inside, with its output shown as it comes.
pub fn run_inside(args: &[OsString]) -> ExitStatus {
    let own = std::env::current_exe().expect("a program knows its own executable");
    // unshare and all that is below it is killed when this thread ends.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(own)
        .args(args)
        .env(MARK, "1")
        .status()
        .expect("setpriv and unshare can be started")
}
