//! The staging folders below the install root that agents publish into.
//!
//! One folder per attempt, with a name that can't be guessed: under root_squash an agent's root is nobody, so
//! the folder must be writable by all, and only who was told its name can find it (DESIGN.md, Decisions).

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::id::AttemptId;

/// Below the install root.
pub(crate) const STAGING: &str = ".imgctl/staging";

/// Makes the folder of staging folders. Agents also know the install root by it. Blocking.
pub fn prepare(install_dir: &Path) -> io::Result<()> {
    let staging = install_dir.join(STAGING);
    fs::create_dir_all(&staging)?;
    for private in [install_dir.join(".imgctl"), staging] {
        fs::set_permissions(private, Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// Makes an attempt's folder; returns its path relative to the install root. Blocking.
pub fn create(install_dir: &Path) -> io::Result<PathBuf> {
    let mut secret = [0u8; 16];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    prepare(install_dir)?;
    let relative = Path::new(STAGING).join(hex::encode(secret));
    let folder = install_dir.join(&relative);
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
    Ok(relative)
}

/// Removes the folders that a coordinator left behind which was ended before it could: all but those that `known`
/// names, relative to the install root. Blocking.
pub fn sweep(install_dir: &Path, known: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(install_dir.join(STAGING))? {
        let relative = Path::new(STAGING).join(entry?.file_name());
        if !known.contains(&relative) {
            tracing::info!(folder = %relative.display(), "a staging folder that no build uses goes");
            remove(install_dir, &relative);
        }
    }
    Ok(())
}

/// Where an attempt's archive stands in its folder.
pub fn archive(install_dir: &Path, staging: &Path, attempt: AttemptId) -> PathBuf {
    install_dir.join(staging).join(attempt.archive_name())
}

/// Removes an attempt's folder with all that is in it. Blocking.
pub fn remove(install_dir: &Path, staging: &Path) {
    let folder = install_dir.join(staging);
    if !staging.starts_with(STAGING) || !folder.exists() {
        return;
    }
    let removed = rootfs::remove::remove_tree(&folder);
    // The end of an attempt and that of its build may both remove it.
    if let Err(error) = removed
        && folder.exists()
    {
        tracing::warn!(folder = %folder.display(), %error, "a staging folder can't be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_no_build_names_go_at_a_start() {
        let install = tempfile::tempdir().unwrap();
        let (kept, left) = (create(install.path()).unwrap(), create(install.path()).unwrap());
        for folder in [&kept, &left] {
            fs::write(install.path().join(folder).join("1.1.tar.zst"), "x").unwrap();
        }
        sweep(install.path(), &BTreeSet::from([kept.clone()])).unwrap();
        assert!(install.path().join(&kept).join("1.1.tar.zst").exists());
        assert!(!install.path().join(&left).exists());
    }
}
