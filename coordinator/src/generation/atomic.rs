//! Changes of one name in one step: symbolic links replaced, entries exchanged, folders synced.
//!
//! Everything that readers of a rootimgdir can see is changed by these, so that they find the old or the new, never
//! nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Something that the file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`", path.display())]
pub struct FileError {
    /// What was tried.
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// Puts `doing` and `path` to an error.
pub(crate) fn failed<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> FileError {
    move |source| FileError { doing, path: path.to_owned(), source: source.into() }
}

/// Makes `at` a symbolic link to `target`, replacing a link that is there by one rename.
pub(crate) fn put_symlink(target: &Path, at: &Path) -> Result<(), FileError> {
    let aside = aside(at);
    remove_if_there(&aside)?;
    symlink(target, &aside).map_err(failed("make link", &aside))?;
    std::fs::rename(&aside, at).map_err(failed("put link in place of", at))
}

/// Removes a file or link; nothing there is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// How [`swap_for_link`] did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// In one step.
    Exchanged,
    /// In two renames, because the file system knows no exchange.
    Renamed,
}

/// Moves the entry `at` to `to` and leaves a link to `target` in its place.
pub(crate) fn swap_for_link(at: &Path, to: &Path, target: &Path) -> Result<Swap, FileError> {
    put_symlink(target, to)?;
    match renameat_with(CWD, at, CWD, to, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Swap::Exchanged),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            remove_if_there(to)?;
            std::fs::rename(at, to).map_err(failed("move away", at))?;
            put_symlink(target, at)?;
            Ok(Swap::Renamed)
        }
        Err(error) => {
            remove_if_there(to)?;
            Err(failed("move away", at)(error))
        }
    }
}

/// Renames `from` to `to` unless there is something; says whether it was done.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<bool, FileError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if to.symlink_metadata().is_ok() {
                return Ok(false);
            }
            std::fs::rename(from, to).map_err(failed("rename to", to))?;
            Ok(true)
        }
        Err(error) => Err(failed("rename to", to)(error)),
    }
}

/// Makes the names in a folder survive a crash.
pub(crate) fn sync_dir(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}

/// The hidden name beside `at` under which its replacement is made; a crash leaves at most this one.
fn aside(at: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(at.file_name().unwrap_or_default());
    name.push(".new");
    at.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_link_is_made_and_replaced_and_a_left_over_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("current");
        for target in ["a", "b"] {
            fs::write(dir.path().join(".current.new"), "left over").unwrap();
            put_symlink(Path::new(target), &at).unwrap();
            assert_eq!(fs::read_link(&at).unwrap(), Path::new(target));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_changes_place_with_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (at, to) = (dir.path().join("tree"), dir.path().join("moved"));
        fs::create_dir(&at).unwrap();
        fs::write(at.join("f"), "x").unwrap();
        assert_eq!(swap_for_link(&at, &to, Path::new("moved")).unwrap(), Swap::Exchanged);
        assert_eq!(fs::read_to_string(at.join("f")).unwrap(), "x");
        assert!(at.is_symlink() && !to.is_symlink());
    }

    #[test]
    fn what_is_there_is_not_renamed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        assert!(!rename_new(&from, &to).unwrap());
        fs::remove_dir(&to).unwrap();
        assert!(rename_new(&from, &to).unwrap());
    }
}
