//! Which formats of database the node's rpm can write.
//!
//! Neither its version nor its own words say so for sure: an rpm that doesn't know a format takes another one, or a
//! dummy, and ends well. So it makes an empty database of each, once, when the agent starts.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::plan::RpmDatabase;

use crate::pkg::rpm;
use crate::sys::exec::Cmd;

/// All that it can write; none where there is no rpm.
pub(super) fn writable() -> Vec<RpmDatabase> {
    let tried = |database: &RpmDatabase| {
        can_write(*database).unwrap_or_else(|error| {
            tracing::warn!("cannot try whether rpm writes {}: {error}", database.backend());
            false
        })
    };
    RpmDatabase::ALL.into_iter().filter(tried).collect()
}

fn can_write(database: RpmDatabase) -> io::Result<bool> {
    let folder = Folder::new()?;
    let cmd = Cmd::new("rpm").arg("--dbpath").arg(&folder.path);
    let cmd = cmd.args(["--define", &format!("_db_backend {}", database.backend()), "--initdb"]);
    Ok(super::answer(&cmd).is_some() && folder.path.join(rpm::database_file(database)).is_file())
}

/// A folder that holds a few files and goes with this.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let path = Path::new("/tmp").join(format!("imgctl-rpmdb-{}", hex::encode(bytes)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is small and in /tmp, and the next start makes another.
        let _ = rootfs::remove::remove_tree(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rpm_says_it_can_write_it_has_written() {
        let found = writable();
        // Debian's rpm, and every one from 4.16 on, writes SQLite; Berkeley DB is read at best.
        assert_eq!(found, [RpmDatabase::Sqlite]);
    }

    #[test]
    fn nothing_is_left_of_the_folder() {
        let folder = Folder::new().unwrap();
        let path = folder.path.clone();
        std::fs::write(path.join("Packages"), "").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
