//! Reading of the files that a definition names: regular ones only, and only up to a size.
//!
//! Definitions may name any path of the management node; a fifo must not hang the coordinator, nor a device or a
//! huge file fill its memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Lists are typed by people; the longest that are generated (kits) have a few thousand lines.
pub(super) const MAX_LIST: u64 = 1 << 20;
/// Scripts travel in the plan; self-extracting ones of some size exist.
pub(super) const MAX_SCRIPT: u64 = 4 << 20;
/// An OpenPGP key with many signatures.
pub(super) const MAX_KEY: u64 = 256 << 10;

/// Opens a regular file without waiting for a writer.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is not a regular file"))
}

/// The bytes of a regular file that is not larger than `limit`.
pub(super) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= limit) {
        return Ok(bytes);
    }
    Err(io::Error::other(format!("it is larger than {} KiB", limit >> 10)))
}

/// An error of the file system in few words, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_some_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("ok"), "12345678").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(read_regular(&path("ok"), 8).unwrap(), b"12345678");
        let refused = |name: &str, limit| reason(&read_regular(&path(name), limit).unwrap_err());
        assert_eq!(refused("ok", 7), "it is larger than 0 KiB");
        assert_eq!(refused("fifo", 8), "it is not a regular file");
        assert_eq!(refused(".", 8), "it is not a regular file");
        assert_eq!(refused("gone", 8), "there is no such file");
        assert!(read_regular(Path::new("/dev/zero"), 8).is_err());
    }
}
