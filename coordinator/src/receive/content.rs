//! What stands at the top of a received archive: exactly what a build leaves, nothing more.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rootfs::digest::{Digest, HashingReader};

use super::ReceiveError;
use crate::generation::atomic::{FileError, failed};
use crate::generation::layout::{BOOT, BUILD, MANIFEST, TREE};

/// Refuses what is missing, what is not known, and what is of another kind, naming all of it.
pub(super) fn check(incoming: &Path) -> Result<(), ReceiveError> {
    let mut wanted: BTreeSet<&str> = BOOT.into_iter().chain([TREE, BUILD, MANIFEST]).collect();
    let mut problems = Vec::new();
    let list = || fs::read_dir(incoming)?.collect::<io::Result<Vec<_>>>();
    for entry in list().map_err(failed("list", incoming))? {
        let name = entry.file_name();
        let kind = entry.file_type().map_err(failed("examine", &entry.path()))?;
        let known = name.to_str().is_some_and(|name| wanted.remove(name));
        if !known {
            problems.push(format!("holds `{}`, which no build leaves", name.display()));
        } else if (name == TREE && !kind.is_dir()) || (name != TREE && !kind.is_file()) {
            problems.push(format!("holds `{}` as something else than it should be", name.display()));
        }
    }
    problems.sort();
    problems.extend(wanted.into_iter().map(|name| format!("lacks `{name}`")));
    if problems.is_empty() {
        return Ok(());
    }
    Err(ReceiveError::Content { problem: problems.join(" and ") })
}

/// Makes kernel and initrds readable for boot servers, whatever the agent's umask was; gives length and digest of each.
pub(super) fn settle_boot_files(incoming: &Path) -> Result<Vec<(&'static str, u64, Digest)>, ReceiveError> {
    let mut files = Vec::with_capacity(BOOT.len());
    for name in BOOT.into_iter().chain([BUILD]) {
        let path = incoming.join(name);
        make_servable(&path)?;
        let (digest, bytes) = digest(&path)?;
        if bytes == 0 {
            return Err(ReceiveError::Content { problem: format!("holds an empty `{name}`") });
        }
        if name != BUILD {
            files.push((name, bytes, digest));
        }
    }
    Ok(files)
}

fn make_servable(path: &Path) -> Result<(), FileError> {
    let metadata = path.symlink_metadata().map_err(failed("examine", path))?;
    // A name of a file in the tree: that file's mode is the image's, not ours to change.
    if metadata.nlink() > 1 {
        let own = path.with_extension("own");
        fs::copy(path, &own).map_err(failed("copy", path))?;
        fs::rename(&own, path).map_err(failed("replace", path))?;
    }
    chown(path, Some(0), Some(0)).map_err(failed("set the owner of", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o644)).map_err(failed("set the mode of", path))
}

fn digest(path: &Path) -> Result<(Digest, u64), FileError> {
    File::open(path).and_then(|file| HashingReader::new(file).finish()).map_err(failed("read", path))
}
