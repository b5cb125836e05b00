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

/// Makes the folder, and clears an earlier run's away; returns its path relative to the install root. Blocking.
pub fn renew(install_dir: &Path) -> io::Result<PathBuf> {
    let proof = install_dir.join(PROOF);
    DirBuilder::new().recursive(true).mode(0o711).create(&proof)?;
    fs::set_permissions(&proof, Permissions::from_mode(0o711))?;
    let mut secret = [0u8; 16];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let name = hex::encode(secret);
    fs::create_dir(proof.join(&name))?;
    // Without the sticky bit: with it a client whose root is squashed makes a file and is refused to open it
    // (`fs.protected_regular`, proc_sys_fs(5)).
    fs::set_permissions(proof.join(&name), Permissions::from_mode(0o777))?;
    clear_all_but(&proof, &name);
    Ok(Path::new(PROOF).join(name))
}

/// As far as it goes: agents write there at this moment, and what one of them left must not keep the coordinator from
/// starting. Trials are plain files, so one level is all that is looked at.
fn clear_all_but(proof: &Path, newest: &str) {
    for earlier in fs::read_dir(proof).into_iter().flatten().flatten().filter(|entry| entry.file_name() != newest) {
        for left in fs::read_dir(earlier.path()).into_iter().flatten().flatten() {
            // The folder tells below.
            let _ = fs::remove_file(left.path());
        }
        if let Err(error) = fs::remove_dir(earlier.path()) {
            tracing::warn!(folder = %earlier.path().display(), %error, "what agents wrote for an earlier run stays");
        }
    }
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
        // What can't be cleared away keeps nobody from starting.
        fs::create_dir_all(install.path().join(&newest).join("deep/er")).unwrap();
        let newest = renew(install.path()).unwrap();
        let mode = |path: &Path| install.path().join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&newest), mode(Path::new(PROOF))), (0o777, 0o711));
    }
}
