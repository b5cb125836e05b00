//! Build plans: files named by their digest, since they are too large for the store.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::plan::BuildPlan;
use sha2::{Digest as _, Sha256};

/// The folder of plans.
#[derive(Debug, Clone)]
pub struct Plans {
    dir: PathBuf,
}

impl Plans {
    /// Opens the folder, making it if there is none.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Keeps a plan; returns its digest in hexadecimal. The same plan is kept once. On a full disk nothing is left.
    pub fn keep(&self, plan: &BuildPlan) -> io::Result<String> {
        let bytes = to_json(plan)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let path = self.dir.join(&digest);
        if !path.exists() {
            let aside = self.dir.join(format!(".{digest}.{}", uuid::Uuid::new_v4()));
            let written = File::create_new(&aside).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            });
            if let Err(error) = written.and_then(|()| fs::rename(&aside, &path)) {
                // Not there if it couldn't even be made.
                let _ = fs::remove_file(&aside);
                return Err(error);
            }
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(digest)
    }

    /// The plan's file as it is sent.
    pub fn read(&self, digest: &str) -> io::Result<Vec<u8>> {
        fs::read(self.dir.join(digest))
    }
}

/// The document as agents get it and `imgctl resolve --json` prints it.
pub fn to_json(plan: &BuildPlan) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(plan)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_whatever_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Plans::open(dir.path()).unwrap();
        assert_eq!(dir.path().metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    }
}
