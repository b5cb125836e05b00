//! Mounts of the worker's own namespace, and the kernel's table of them.
//!
//! Everything mounted here ends with the namespace. [`Mounts`] takes it down earlier where a later stage must not
//! see it, and [`unmount_below`] takes down what the site's scripts left behind.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

/// A mount could not be made or taken down.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused.
    #[error("cannot {doing} `{path}`", path = path.display())]
    Refused {
        /// `mount proc on`, …
        doing: &'static str,
        /// The mount point.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The mount table could not be read.
    #[error("cannot read the mount table")]
    Table(#[source] io::Error),
}

fn refused(doing: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> MountError {
    let path = path.to_owned();
    move |errno| MountError::Refused { doing, path, source: errno.into() }
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where it is mounted.
    pub path: PathBuf,
    /// `ext4`, `nfs4`, …
    pub kind: String,
    /// The device or server.
    pub source: String,
    /// Whether it can't be written to.
    pub read_only: bool,
    /// The file system's own options, joined by commas.
    pub options: String,
}

impl MountPoint {
    /// Whether it has this option, as in `vers=4.1`.
    pub fn has_option(&self, option: &str) -> bool {
        self.options.split(',').any(|known| known == option)
    }
}

/// Every mount that this process sees, in the order in which they were made.
pub fn table() -> Result<Vec<MountPoint>, MountError> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo").map_err(MountError::Table)?))
}

/// Reads the kernel's table; lines that make no sense are passed over.
pub fn parse(mountinfo: &[u8]) -> Vec<MountPoint> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountPoint> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let options = fields.get(5)?;
    Some(MountPoint {
        path: unescape(fields.get(4)?),
        kind: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
        source: unescape(fields.get(dash + 2)?).to_string_lossy().into_owned(),
        read_only: options.split(|byte| *byte == b',').any(|option| option == b"ro"),
        options: String::from_utf8_lossy(fields.get(dash + 3)?).into_owned(),
    })
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match digits {
            Some(digits) => {
                bytes.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// The mount that `path` lies on: the deepest, and of those the last one made.
pub fn holding<'a>(table: &'a [MountPoint], path: &Path) -> Option<&'a MountPoint> {
    table.iter().filter(|mount| path.starts_with(&mount.path)).max_by_key(|mount| mount.path.components().count())
}

/// Mounts that are taken down again, newest first, when this goes.
#[derive(Debug, Default)]
pub struct Mounts {
    points: Vec<PathBuf>,
}

impl Mounts {
    /// A file system without a device: `proc`, `sysfs`, `tmpfs`, `devpts`.
    pub fn special(
        &mut self,
        kind: &str,
        path: &Path,
        flags: MountFlags,
        data: Option<&CStr>,
    ) -> Result<(), MountError> {
        mount(kind, path, kind, flags, data).map_err(refused("mount a file system on", path))?;
        self.points.push(path.to_owned());
        Ok(())
    }

    /// Shows `source` at `path` as well, with what is mounted below it.
    pub fn bind(&mut self, source: &Path, path: &Path) -> Result<(), MountError> {
        mount_bind_recursive(source, path).map_err(refused("bind to", path))?;
        self.points.push(path.to_owned());
        Ok(())
    }

    /// Shows one file or one file system at `path`, without what is mounted below it.
    pub fn bind_one(&mut self, source: &Path, path: &Path) -> Result<(), MountError> {
        mount_bind(source, path).map_err(refused("bind to", path))?;
        self.points.push(path.to_owned());
        Ok(())
    }

    /// Shows `source` at `path` so that nothing can be written there.
    pub fn bind_read_only(&mut self, source: &Path, path: &Path) -> Result<(), MountError> {
        self.bind(source, path)?;
        close_below(path, None)
    }

    /// Lets nothing be written to a folder any more, with all below it, except to `open`.
    pub fn close(&mut self, folder: &Path, open: &Path) -> Result<(), MountError> {
        let (folder, open) = (real(folder)?, real(open)?);
        if open.starts_with(&folder) {
            // As a mount of its own, it can keep what the rest loses.
            self.bind(&open, &open)?;
        }
        self.bind(&folder, &folder)?;
        close_below(&folder, Some(&open))
    }

    /// Leaves them standing until the namespace ends.
    pub fn keep(&mut self) {
        self.points.clear();
    }

    /// Takes all of it down.
    pub fn release(&mut self) -> Result<(), MountError> {
        while let Some(path) = self.points.pop() {
            unmount(&path, UnmountFlags::DETACH).map_err(refused("unmount", &path))?;
        }
        Ok(())
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::debug!(%error, "a mount stays until its namespace ends");
        }
    }
}

/// The flag belongs to each mount by itself, so what is mounted below needs it as well.
fn close_below(path: &Path, open: Option<&Path>) -> Result<(), MountError> {
    // The kernel's table knows no symbolic links.
    let path = real(path)?;
    let closed =
        |mount: &&MountPoint| mount.path.starts_with(&path) && open.is_none_or(|open| !mount.path.starts_with(open));
    table()?.iter().filter(closed).try_for_each(|point| make_read_only(&point.path))
}

fn real(path: &Path) -> Result<PathBuf, MountError> {
    path.canonicalize().map_err(|source| MountError::Refused { doing: "look at", path: path.to_owned(), source })
}

/// Lets nothing more be written through the mount at `path`.
pub fn make_read_only(path: &Path) -> Result<(), MountError> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | kept_flags(path)?;
    mount_remount(path, flags, c"").map_err(refused("make read-only", path))
}

/// `nosuid` and such: a remount that leaves them out would take them away, which the kernel may refuse.
fn kept_flags(path: &Path) -> Result<MountFlags, MountError> {
    use rustix::fs::StatVfsMountFlags as Seen;
    let seen = rustix::fs::statvfs(path).map_err(refused("look at", path))?.f_flag;
    let pairs =
        [(Seen::NOSUID, MountFlags::NOSUID), (Seen::NODEV, MountFlags::NODEV), (Seen::NOEXEC, MountFlags::NOEXEC)];
    let kept = pairs.into_iter().filter(|(flag, _)| seen.contains(*flag));
    Ok(kept.fold(MountFlags::empty(), |flags, (_, flag)| flags | flag))
}

/// Makes sure that nothing mounted here is seen outside, nor the other way round.
pub fn make_private() -> Result<(), MountError> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(refused("make private", Path::new("/")))
}

/// Mounts this process namespace's own `/proc` over the one that came along.
pub fn own_proc() -> Result<(), MountError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(refused("mount proc on", Path::new("/proc")))
}

/// Takes down everything mounted below `path` (not on `path` itself); says what it found.
pub fn unmount_below(path: &Path) -> Result<Vec<PathBuf>, MountError> {
    let below = |mount: &MountPoint| mount.path != path && mount.path.starts_with(path);
    let mut found: Vec<PathBuf> = table()?.into_iter().filter(below).map(|mount| mount.path).collect();
    found.reverse();
    for point in &found {
        unmount(point, UnmountFlags::DETACH).map_err(refused("unmount", point))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw\n\
        27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
        40 27 0:44 / /install ro,nosuid master:1 shared:2 - nfs4 mn:/install rw,vers=4.1\n\
        41 40 0:45 / /install/with\\040blank rw - tmpfs tmpfs rw\n\
        garbage\n";

    #[test]
    fn the_kernels_table_is_read_with_blanks_and_optional_fields() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 4);
        let install = &table[2];
        assert_eq!((install.kind.as_str(), install.source.as_str(), install.read_only), ("nfs4", "mn:/install", true));
        assert_eq!(table[3].path, Path::new("/install/with blank"));
    }

    #[test]
    fn the_deepest_mount_holds_a_path() {
        let table = parse(TABLE);
        for (path, mount) in
            [("/install/netboot", "/install"), ("/installed", "/"), ("/install/with blank/x", "/install/with blank")]
        {
            assert_eq!(holding(&table, Path::new(path)).unwrap().path, Path::new(mount), "{path}");
        }
    }
}
