//! [`receive`]: what an agent published becomes a generation.
//!
//! The archive is unpacked by a process that can't leave a hidden folder; only when its digest and everything at its
//! top is as announced does the folder get a number. Until then nothing that anybody sees has changed, and a failure
//! leaves nothing behind. Whether the attempt may still publish is for the caller to know, as is the removal of the
//! staging folder.

mod child;
mod confine;
mod content;
mod error;
mod unpacker;
mod verdict;

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use model::build::Artefact;
use model::id::{AttemptId, Generation};
use rootfs::digest::Digest;
use rootfs::remove::remove_tree;
use rustix::fs::{Mode, OFlags};

use crate::generation::atomic::{failed, rename_new, sync_dir};
use crate::generation::layout::TREE;
use crate::generation::retain::INCOMING;
use crate::generation::{Adopted, Number, RootimgDir, Switched, adopt, settle};

pub use self::child::ChildError;
pub use self::error::ReceiveError;
pub use self::unpacker::run as unpack_here;
use self::verdict::{Outcome, Verdict, Why};

/// What to receive, and where to.
#[derive(Debug, Clone)]
pub struct ReceiveOrder {
    /// The archive in the staging folder.
    pub archive: PathBuf,
    /// What the agent says its digest is.
    pub digest: Digest,
    /// What the agent says its length is.
    pub bytes: u64,
    /// Where the generations lie.
    pub rootimgdir: PathBuf,
    /// The install root, which the rootimgdir must be inside.
    pub install_dir: PathBuf,
    /// Whose it is.
    pub attempt: AttemptId,
    /// The command that comes to [`unpack_here`], as it is given the folder and our process id as two further
    /// arguments: our own executable and `unpack`.
    pub unpacker: Vec<OsString>,
}

/// What was received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its number.
    pub generation: Generation,
    /// Its folder.
    pub path: PathBuf,
    /// Kernel, initrds and tree.
    pub artefacts: Vec<Artefact>,
    /// Length of the tree's files together.
    pub tree_bytes: u64,
    /// Entries of the tree.
    pub tree_entries: u64,
    /// What xCAT had left there, if this was the first time.
    pub adopted: Option<Adopted>,
    /// Whether it went live, which a built generation does only while none is packed.
    pub switched: Option<Switched>,
}

/// Receives one archive.
pub fn receive(order: &ReceiveOrder, cancel: &AtomicBool) -> Result<Received, ReceiveError> {
    let archive = open_archive(order)?;
    let dir = RootimgDir::open(&order.rootimgdir, &order.install_dir)?;
    let incoming = dir.generations().join(format!("{INCOMING}{}", order.attempt));
    clear(&incoming)?;
    let received = take_in(order, archive, &dir, &incoming, cancel);
    if received.is_err() {
        // The first error says more than one about the remains, which the next attempt or a sweep removes.
        if let Err(error) = clear(&incoming) {
            tracing::warn!(path = %incoming.display(), %error, "a half received generation is left");
        }
    }
    received
}

/// Opens what the agent wrote, which may be anything: it owns the staging folder.
fn open_archive(order: &ReceiveOrder) -> Result<File, ReceiveError> {
    let path = &order.archive;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Err(ReceiveError::Missing { path: path.clone() }),
        Err(rustix::io::Errno::LOOP) => return Err(ReceiveError::NotAFile { path: path.clone() }),
        Err(error) => return Err(failed("open archive", path)(error).into()),
    };
    let metadata = file.metadata().map_err(failed("examine archive", path))?;
    if !metadata.is_file() {
        return Err(ReceiveError::NotAFile { path: path.clone() });
    }
    if metadata.len() < order.bytes {
        return Err(ReceiveError::Truncated { path: path.clone(), expected: order.bytes, got: metadata.len() });
    }
    Ok(file)
}

fn clear(incoming: &Path) -> Result<(), ReceiveError> {
    match incoming.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => Ok(remove_tree(incoming)?),
    }
}

fn take_in(
    order: &ReceiveOrder,
    archive: File,
    dir: &RootimgDir,
    incoming: &Path,
    cancel: &AtomicBool,
) -> Result<Received, ReceiveError> {
    check_room(order, dir)?;
    fs::DirBuilder::new().mode(0o700).create(incoming).map_err(failed("create folder", incoming))?;
    let verdict = child::unpack(&order.unpacker, archive, incoming, cancel)?;
    let (tree_bytes, tree_entries) = accept(order, dir, verdict)?;
    content::check(incoming)?;
    let boot = content::settle_boot_files(incoming)?;
    fs::set_permissions(incoming, Permissions::from_mode(0o755)).map_err(failed("set the mode of", incoming))?;
    sync(incoming)?;
    let adopted = adopt(dir)?;
    let generation = number(dir, incoming)?;
    let path = dir.generation(generation.into());
    let switched = match settle(dir) {
        Ok(switched) => switched,
        Err(error) => {
            withdraw(dir, generation, incoming);
            return Err(error.into());
        }
    };
    let mut artefacts: Vec<_> =
        boot.into_iter().map(|(name, bytes, digest)| artefact(&path, name, bytes, Some(digest.to_string()))).collect();
    artefacts.push(artefact(&path, TREE, tree_bytes, None));
    Ok(Received { generation, path, artefacts, tree_bytes, tree_entries, adopted, switched })
}

/// An archive that is larger than what is free can't be unpacked: said before an hour is spent on it.
fn check_room(order: &ReceiveOrder, dir: &RootimgDir) -> Result<(), ReceiveError> {
    let free = free(dir.path());
    if free < order.bytes {
        return Err(disk_full(order, dir, free));
    }
    Ok(())
}

fn free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn disk_full(order: &ReceiveOrder, dir: &RootimgDir, free: u64) -> ReceiveError {
    ReceiveError::DiskFull { path: dir.path().to_owned(), archive: order.bytes, free }
}

/// Compares what was read with what was announced; the tree's length and number of entries if all is well.
fn accept(order: &ReceiveOrder, dir: &RootimgDir, verdict: Verdict) -> Result<(u64, u64), ReceiveError> {
    let path = || order.archive.clone();
    let Verdict { digest, read, outcome } = verdict;
    // A full disk says nothing about the archive; everything else is only worth saying of the right bytes.
    if let Outcome::Refused { why: Why::DiskFull, .. } = outcome {
        return Err(disk_full(order, dir, free(dir.path())));
    }
    if let Some(digest) = digest {
        if read < order.bytes {
            return Err(ReceiveError::Truncated { path: path(), expected: order.bytes, got: read });
        }
        if digest != order.digest || read != order.bytes {
            return Err(ReceiveError::DigestMismatch { path: path(), expected: order.digest, got: digest });
        }
    }
    match outcome {
        Outcome::Unpacked { tree_bytes, tree_entries } => Ok((tree_bytes, tree_entries)),
        Outcome::Refused { why: Why::Escape, message } => Err(ReceiveError::Escape { path: path(), message }),
        Outcome::Refused { why: Why::Truncated | Why::NotAnArchive, message } => {
            Err(ReceiveError::NotAnArchive { path: path(), message })
        }
        Outcome::Refused { message, .. } => Err(ReceiveError::Unpack { path: path(), message }),
    }
}

/// Gives the folder the next free number.
fn number(dir: &RootimgDir, incoming: &Path) -> Result<Generation, ReceiveError> {
    let mut generation = dir.next_number()?;
    while !rename_new(incoming, &dir.generation(generation.into()))? {
        generation = generation.next();
    }
    sync_dir(&dir.generations())?;
    Ok(generation)
}

/// Takes the number back, so that the folder is cleared like any other failure, unless it is live after all.
fn withdraw(dir: &RootimgDir, generation: Generation, incoming: &Path) {
    let number = Number::from(generation);
    if matches!(dir.live(), Ok(live) if live != Some(number))
        && let Err(error) = rename_new(&dir.generation(number), incoming)
    {
        tracing::warn!(%generation, %error, "a generation that did not get its links is left");
    }
}

/// All of it to disk before it gets a name.
fn sync(incoming: &Path) -> Result<(), ReceiveError> {
    let folder = File::open(incoming).map_err(failed("open", incoming))?;
    Ok(rustix::fs::syncfs(&folder).map_err(failed("sync", incoming))?)
}

fn artefact(folder: &Path, name: &str, bytes: u64, digest: Option<String>) -> Artefact {
    Artefact { name: name.to_owned(), path: folder.join(name), bytes, digest }
}

#[cfg(test)]
mod tests;
