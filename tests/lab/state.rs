//! What a run of the lab leaves for the next: its folder, and which stages are done.

use std::fs;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
}

impl State {
    /// Opens it, or makes it; a folder that holds other things is not taken for one, as suites clear theirs.
    pub(crate) fn open(folder: &Path) -> Self {
        let holds_others =
            !folder.join("done").is_dir() && fs::read_dir(folder).is_ok_and(|mut all| all.next().is_some());
        assert!(!holds_others, "{} is no state folder of the lab: name an empty one", folder.display());
        fs::create_dir_all(folder.join("done"))
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves nothing of an earlier run.
    pub(crate) fn begin_anew(&self) {
        rootfs::remove::remove_tree(&self.folder).unwrap_or_else(|error| panic!("{error}"));
        Self::open(&self.folder);
    }

    /// How many seconds a stage took, if it is done.
    pub(crate) fn took(&self, stage: &str) -> Option<f64> {
        fs::read_to_string(self.folder.join("done").join(stage)).ok()?.trim().parse().ok()
    }

    pub(crate) fn done(&self, stage: &str, took: f64) {
        fs::write(self.folder.join("done").join(stage), format!("{took:.1}\n"))
            .expect("the state folder can be written");
    }
}
