//! [`Replacement`]: a new file made beside an old one and put in its place by one rename.
//!
//! Until `commit` the old file stands untouched; a replacement that is dropped leaves nothing. Readers, such as nodes
//! that boot meanwhile, see the whole old file or the whole new one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file under a temporary name in the folder of the one it will replace.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
    committed: bool,
}

impl Replacement {
    /// Opens the temporary file; only its owner may read it before it is complete.
    pub(crate) fn new(place: &Path) -> io::Result<Replacement> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            let mut temporary_name = OsString::from(".");
            temporary_name.push(name);
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            temporary_name.push(format!(".{}.{number}.tmp", std::process::id()));
            let temporary = place.with_file_name(temporary_name);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
                Ok(file) => {
                    return Ok(Replacement { file, temporary, place: place.to_owned(), committed: false });
                }
                // Left by a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the file its mode and its place, on disk when this returns.
    pub(crate) fn commit(mut self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.place)?;
        self.committed = true;
        let folder = match self.place.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing better can be done with a temporary file that will not go than to leave it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_stands_until_commit_and_a_dropped_one_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("rootimg.cpio.gz");
        fs::write(&place, "old").unwrap();
        let mut replacement = Replacement::new(&place).unwrap();
        replacement.write_all(b"half").unwrap();
        drop(replacement);
        assert_eq!(fs::read(&place).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        let mut replacement = Replacement::new(&place).unwrap();
        replacement.write_all(b"new").unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"old");
        replacement.commit(0o644).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"new");
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
