//! The machine's processes, as `/proc` shows them.

use std::fs;
use std::path::Path;

/// Every descendant of a process, children before grandchildren.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = pids().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let above = found[at];
        found.extend(all.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Processes that work below a folder or were told of it, in words.
pub(crate) fn at_work_in(folder: &Path) -> Vec<String> {
    let prefix = format!("{}/", folder.display());
    let told = |pid: &u32| {
        let root = fs::read_link(format!("/proc/{pid}/root")).unwrap_or_default();
        root.starts_with(folder) || words(*pid).contains(&prefix)
    };
    pids().into_iter().filter(told).map(|pid| format!("{pid} {}", words(pid))).collect()
}

/// Mount points below a folder that any process sees.
pub(crate) fn mounts_below(folder: &Path) -> Vec<String> {
    let prefix = format!("{}/", folder.display());
    let mut found: Vec<String> = pids()
        .into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok())
        .flat_map(|table| table.lines().filter_map(|line| Some(line.split(' ').nth(4)?.to_owned())).collect::<Vec<_>>())
        .filter(|point| point.starts_with(&prefix))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The number of open descriptors, and the most memory that it ever had in KiB.
pub(crate) fn holds(pid: u32) -> (usize, u64) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    (open, most.trim().trim_end_matches(" kB").parse().unwrap_or(0))
}

/// A process's command line.
pub(crate) fn words(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
