//! What an rpm repository on disk holds: every directory with `repodata` is one (XCAT.md 6.3).

use std::fs;
use std::path::{Path, PathBuf};

/// A medium has its `repodata` one to three levels down.
const MAX_DEPTH: usize = 4;
/// Directories looked into for `repodata`; `Packages` directories are not among them.
const MAX_DIRECTORIES: usize = 5_000;

/// Every directory at or below this one that has an index.
pub(super) fn repodata_below(top: &Path) -> Vec<PathBuf> {
    let (mut found, mut open, mut looked) = (Vec::new(), vec![(top.to_owned(), 0)], 0);
    while let Some((directory, depth)) = open.pop() {
        looked += 1;
        if has_repodata(&directory) {
            found.push(directory.clone());
        }
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        if depth == MAX_DEPTH || looked > MAX_DIRECTORIES {
            continue;
        }
        let below = entries.filter_map(Result::ok).filter(|entry| {
            // Links lead to what is found by itself (SLES media), or away.
            let skipped = ["Packages", "repodata"].iter().any(|name| entry.file_name() == *name);
            !skipped && entry.file_type().is_ok_and(|kind| kind.is_dir())
        });
        open.extend(below.map(|entry| (entry.path(), depth + 1)));
    }
    found.sort();
    found
}

/// Whether a directory has an index of rpms.
pub(super) fn has_repodata(directory: &Path) -> bool {
    directory.join("repodata/repomd.xml").is_file()
}

/// xCAT's own words for a directory without an index.
pub(super) fn no_repodata(path: &Path) -> String {
    let path = path.display();
    format!("The repository for {path} should be created before running the genimge. Try to run [createrepo {path}].")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_repodata_counts_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/BaseOS", "a/x/y/z", "a/x/y/z/too/deep", "b", "c/Packages/hidden"] {
            let repodata = dir.path().join(path).join("repodata");
            fs::create_dir_all(&repodata).unwrap();
            fs::write(repodata.join("repomd.xml"), "").unwrap();
        }
        symlink("b", dir.path().join("link")).unwrap();
        fs::create_dir_all(dir.path().join("empty/repodata")).unwrap();
        let found: Vec<_> =
            repodata_below(dir.path()).iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_owned()).collect();
        assert_eq!(found, ["a/BaseOS", "a/x/y/z", "b"].map(PathBuf::from));
    }
}
