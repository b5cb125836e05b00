//! The folder by which an agent knows that what it sees is this coordinator's install root, and tries whether it can
//! write there.
//!
//! Everybody may write to it, since root of a node is nobody under root_squash; so its name is a secret, as those of
//! staging folders are, and a new one is made at each start.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Below the install root.
const PROOF: &str = ".imgctl/proof";

/// Makes the folder in place of an earlier run's; returns its path relative to the install root. Blocking.
pub fn renew(install_dir: &Path) -> io::Result<PathBuf> {
    let proof = install_dir.join(PROOF);
    if proof.exists() {
        rootfs::remove::remove_tree(&proof).map_err(io::Error::other)?;
    }
    DirBuilder::new().recursive(true).mode(0o711).create(&proof)?;
    fs::set_permissions(&proof, Permissions::from_mode(0o711))?;
    let mut secret = [0u8; 16];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let relative = Path::new(PROOF).join(hex::encode(secret));
    fs::create_dir(install_dir.join(&relative))?;
    fs::set_permissions(install_dir.join(&relative), Permissions::from_mode(0o777))?;
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_is_there_and_only_who_knows_its_name_finds_it() {
        let install = tempfile::tempdir().unwrap();
        let earlier = renew(install.path()).unwrap();
        fs::write(install.path().join(&earlier).join("left"), "x").unwrap();
        let newest = renew(install.path()).unwrap();
        assert!(newest.is_relative() && newest != earlier && !install.path().join(&earlier).exists());
        let mode = |path: &Path| install.path().join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&newest), mode(Path::new(PROOF))), (0o777, 0o711));
    }
}
