//! Processes in the worker's own namespace: ending what a package or a script left running in the image.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Kills everything whose root is the image (a daemon that a maintainer script started); says what it was. All
/// that `/proc` shows here are this attempt's own processes.
pub fn kill_inside(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let strangers = pids.filter(|pid| *pid != 1 && *pid != getpid().as_raw_nonzero().get());
    strangers.filter_map(|pid| kill_if_inside(pid, root)).collect()
}

fn kill_if_inside(pid: i32, root: &Path) -> Option<String> {
    let seen = fs::read_link(format!("/proc/{pid}/root")).ok()?;
    if !seen.starts_with(root) {
        return None;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    kill_process(Pid::from_raw(pid)?, Signal::KILL).ok()?;
    Some(name.trim().to_owned())
}
