//! [`ReceiveError`]: why there is no new generation. Nothing that anybody sees has changed then.

use std::path::PathBuf;

use rootfs::digest::Digest;
use rootfs::remove::RemoveError;

use super::child::ChildError;
use crate::generation::atomic::FileError;
use crate::generation::{AdoptError, LayoutError, LinkError};

/// Why an archive was not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The agent announced it, but it is not there.
    #[error("archive `{}` is not there; does the agent's mount lead to this install root?", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("archive `{}` is no regular file and is not opened", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// Not all of it came.
    #[error("archive `{}` was cut short: {got} of {expected} bytes are there; run the build again", path.display())]
    Truncated {
        /// Which.
        path: PathBuf,
        /// The length announced.
        expected: u64,
        /// The length found.
        got: u64,
    },
    /// These are not the bytes that the agent wrote.
    #[error(
        "archive `{}` has digest {got}, but {expected} was announced; it was damaged on the way: \
         check the network and the disks of the install root, and run the build again", path.display()
    )]
    DigestMismatch {
        /// Which.
        path: PathBuf,
        /// As announced.
        expected: Digest,
        /// As read.
        got: Digest,
    },
    /// No room on the install root.
    #[error(
        "no space left for a generation in `{}`: the packed archive alone has {archive} bytes, {free} bytes are free; \
         make room or keep fewer generations", path.display()
    )]
    DiskFull {
        /// The rootimgdir.
        path: PathBuf,
        /// A lower bound of what is needed.
        archive: u64,
        /// What is free.
        free: u64,
    },
    /// A member would have left its folder or replaced something: no agent of ours makes that.
    #[error("archive `{}` is refused: {message}; look into the agent that made it", path.display())]
    Escape {
        /// Which.
        path: PathBuf,
        /// What the unpacker refused.
        message: String,
    },
    /// Damaged as it was made, or something else altogether.
    #[error("archive `{}` can't be unpacked: {message}; the agent may be of another version", path.display())]
    NotAnArchive {
        /// Which.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// The right archive, but the system did not take it.
    #[error("cannot unpack archive `{}`: {message}", path.display())]
    Unpack {
        /// Which.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// What it holds is not what a build leaves.
    #[error("the archive {problem}; the agent may be of another version")]
    Content {
        /// Which name, and what is wrong with it.
        problem: String,
    },
    /// The child process failed or was cancelled.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What xCAT left can't be taken over.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The links can't be made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What an earlier try left can't be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ReceiveError {
    /// Whether somebody, or the kernel for want of memory, killed the process: nothing is wrong with the archive.
    pub fn was_killed(&self) -> bool {
        matches!(self, Self::Child(ChildError::Killed(_)))
    }

    /// Whether the bytes got lost or damaged between agent and here, so that publishing again may help.
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Truncated { .. } | Self::DigestMismatch { .. })
    }
}
