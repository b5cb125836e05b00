//! Room on the disk of the state folder: who may still take how much of it when it gets full.
//!
//! The order in which things are refused: text of logs first, then whatever would make new work, never the change of
//! state of a build that runs (`store::reserve`). What is refused is said, and goes on by itself when there is room.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// With less than this free, in bytes, logs take no more text: agents keep it and send it again.
pub const FOR_LOGS: u64 = 32 << 20;
/// With less than this free, in bytes, nothing new is taken on: no build, plan, definition or token.
pub const FOR_NEW: u64 = 16 << 20;

/// There is no room for what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of the coordinator's state `{}` is full; make room there and repeat: builds under way go on meanwhile",
    .0.display()
)]
pub struct Full(pub PathBuf);

/// Bytes that are free where `path` lies.
pub fn free_at(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |found| free(&found))
}

/// Bytes that are free where an open file lies.
pub fn free_beside(file: impl AsFd) -> u64 {
    rustix::fs::fstatvfs(file).map_or(u64::MAX, |found| free(&found))
}

/// Refuses with less than `wanted` bytes free where `path` lies.
pub fn require(path: &Path, wanted: u64) -> Result<(), Full> {
    if free_at(path) < wanted { Err(Full(path.to_owned())) } else { Ok(()) }
}

/// What the kernel can't tell, or doesn't limit, is no reason to refuse. The coordinator is root: what is kept for root
/// counts as free.
fn free(found: &rustix::fs::StatVfs) -> u64 {
    if found.f_blocks == 0 { u64::MAX } else { found.f_bfree.saturating_mul(found.f_frsize) }
}
