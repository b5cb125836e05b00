//! Whether a folder can hold a root image: space, device nodes, owners, capabilities, programs.
//!
//! NFS, for one, can't (it refuses file capabilities), and what a package manager says then is a riddle. So each
//! ability is tried on the spot before anything is installed.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, StatVfsMountFlags, XattrFlags, makedev, mknodat, setxattr, statvfs};

/// `cap_net_raw+ep`, as the kernel stores it: version 2 with the effective flag, then two 32-bit pairs.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What to do about each [`ProbeError`]; conditions of preflight say the same.
pub const SPACE_HINT: &str =
    "clear the scratch disk, set `scratch` in agent.toml to a larger one, or lower `min_scratch_free`";
/// As above.
pub const REFUSES_HINT: &str = "set `scratch` in agent.toml to a folder on a local disk (ext4, xfs) or tmpfs; NFS and user-mapped mounts \
     can't keep owners and capabilities, and in a container the agent needs CAP_MKNOD and CAP_SETFCAP";
/// As above.
pub const OPTION_HINT: &str =
    "mount the scratch disk without `noexec`, `nodev` and `nosuid`, or set `scratch` in agent.toml";
/// As above.
pub const FOLDER_HINT: &str = "make the folder writable for root or set `scratch` in agent.toml";

/// Why a folder can't hold a root image.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Not enough room.
    #[error("scratch folder `{path}` has {} free and {} are wanted", human(*free), human(*wanted), path = path.display())]
    Space {
        /// The folder.
        path: PathBuf,
        /// Bytes there.
        free: u64,
        /// Bytes that the configuration asks for.
        wanted: u64,
    },
    /// The file system lacks an ability.
    #[error("scratch folder `{path}` cannot hold a root image: its file system refuses {what}", path = path.display())]
    Refuses {
        /// The folder.
        path: PathBuf,
        /// `device nodes`, …
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A mount option is in the way.
    #[error("scratch folder `{path}` is mounted with `{option}`", path = path.display())]
    Option {
        /// The folder.
        path: PathBuf,
        /// `noexec`, …
        option: &'static str,
    },
    /// The folder itself is the trouble.
    #[error("cannot work in scratch folder `{path}`", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl ProbeError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Space { .. } => SPACE_HINT,
            Self::Refuses { .. } => REFUSES_HINT,
            Self::Option { .. } => OPTION_HINT,
            Self::Folder { .. } => FOLDER_HINT,
        }
    }
}

/// Bytes free and in all where `path` lies.
pub fn space(path: &Path) -> io::Result<(u64, u64)> {
    let seen = statvfs(path)?;
    Ok((seen.f_bavail.saturating_mul(seen.f_frsize), seen.f_blocks.saturating_mul(seen.f_frsize)))
}

/// A number of bytes for people, in the units that `imgctl` shows.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut step = 0;
    let mut unit = 1_u64;
    while step + 1 < UNITS.len() && bytes / unit >= 1000 {
        (step, unit) = (step + 1, unit * 1000);
    }
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    if step == 0 { format!("{bytes} bytes") } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[step]) }
}

/// Tries everything that an installation needs in `folder`, and leaves no trace.
pub fn probe(folder: &Path, wanted: u64) -> Result<(), ProbeError> {
    let trouble = |source| ProbeError::Folder { path: folder.to_owned(), source };
    let (free, _) = space(folder).map_err(trouble)?;
    if free < wanted {
        return Err(ProbeError::Space { path: folder.to_owned(), free, wanted });
    }
    let seen = statvfs(folder).map_err(|errno| trouble(errno.into()))?.f_flag;
    for (flag, option) in [
        (StatVfsMountFlags::NOEXEC, "noexec"),
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOSUID, "nosuid"),
        (StatVfsMountFlags::RDONLY, "ro"),
    ] {
        if seen.contains(flag) {
            return Err(ProbeError::Option { path: folder.to_owned(), option });
        }
    }
    let (node, file) = (folder.join(".probe-node"), folder.join(".probe-file"));
    let outcome = abilities(folder, &node, &file);
    for path in [node, file] {
        // It may never have been made.
        let _ = fs::remove_file(path);
    }
    outcome
}

fn abilities(folder: &Path, node: &Path, file: &Path) -> Result<(), ProbeError> {
    let refuses = |what| {
        let path = folder.to_owned();
        move |source| ProbeError::Refuses { path, what, source }
    };
    fs::write(file, "").map_err(|source| ProbeError::Folder { path: folder.to_owned(), source })?;
    mknodat(CWD, node, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3))
        .map_err(|errno| refuses("device nodes")(errno.into()))?;
    chown(file, Some(1), Some(1)).map_err(refuses("other owners"))?;
    setxattr(file, "security.capability", &CAPABILITY, XattrFlags::empty())
        .map_err(|errno| refuses("file capabilities")(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1536, "1.5 kB"),
            (20 << 30, "21.4 GB"),
            (7_000_000_000_000_000, "7000.0 TB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn a_full_disk_is_told_apart_from_a_bad_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = probe(folder.path(), u64::MAX).unwrap_err();
        assert!(matches!(error, ProbeError::Space { .. }), "{error}");
        let error = probe(Path::new("/proc"), 0).unwrap_err();
        assert!(matches!(error, ProbeError::Option { .. } | ProbeError::Folder { .. }), "{error}");
    }
}
