//! What is mounted where, from `/proc/self/mountinfo`.
//!
//! `st_dev` does not tell a bind mount of the same file system, and `STATX_MNT_ID` needs Linux 5.8, while agents
//! run on 4.18: so walks and removals also ask here.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The mount points of this process's namespace.
#[derive(Debug)]
pub(crate) struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// Reads the table as it is now.
    pub(crate) fn read() -> io::Result<Mounts> {
        Ok(Mounts::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    fn parse(table: &[u8]) -> Mounts {
        let field = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescape_octal);
        Mounts(table.split(|byte| *byte == b'\n').filter_map(field).collect())
    }

    /// The mount points strictly below `root`, which must be canonical.
    pub(crate) fn below(&self, root: &Path) -> Vec<PathBuf> {
        self.0.iter().filter(|point| point.starts_with(root) && *point != root).cloned().collect()
    }

    /// The mount points at or below `root`, which must be canonical.
    pub(crate) fn at_or_below(&self, root: &Path) -> Vec<PathBuf> {
        self.0.iter().filter(|point| point.starts_with(root)).cloned().collect()
    }
}

/// The kernel writes blank, tab, newline and backslash as `\ooo`.
fn unescape_octal(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        30 21 0:5 / /srv/two\\040words rw - tmpfs t rw\n\
        31 21 0:6 / /srv/two\\040words/in\\134side rw shared:4 - tmpfs t rw\n\
        32 21 0:7 / /srv/twofold rw - tmpfs t rw\n";

    #[test]
    fn points_below_a_folder_are_found_by_component() {
        let mounts = Mounts::parse(TABLE);
        assert_eq!(mounts.below(Path::new("/srv/two words")), [Path::new("/srv/two words/in\\side")]);
        assert_eq!(mounts.at_or_below(Path::new("/srv/two words")).len(), 2);
        assert_eq!(mounts.below(Path::new("/srv/two")), Vec::<PathBuf>::new());
        assert_eq!(mounts.below(Path::new("/")).len(), 3);
    }

    #[test]
    fn the_live_table_has_a_root() {
        assert!(!Mounts::read().unwrap().at_or_below(Path::new("/")).is_empty());
    }
}
