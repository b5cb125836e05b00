//! [`adopt`]: what xCAT left in a rootimgdir becomes generation 0.
//!
//! Its real `rootimg/`, `kernel`, initrds and archives change place with links to them, each in one step, so nodes
//! that boot meanwhile see no difference. Whatever else lies there is left alone. A crash half way is carried on by
//! the next call.

use std::fs;
use std::path::{Path, PathBuf};

use super::atomic::{FileError, Swap, failed, put_symlink, remove_if_there, swap_for_link, sync_dir};
use super::layout::{CURRENT, GENERATIONS, LayoutError, Number, RootimgDir, served};
use super::links::{TopEntry, through_current, top_entry};

/// Why what lies there can't become generation 0.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Something real came where our links were.
    #[error(
        "`{}` is no link to generation {live} though that is live; \
         something else, perhaps xCAT, wrote it: move it away or remove it", path.display()
    )]
    Overwritten {
        /// Which name.
        path: PathBuf,
        /// What is live.
        live: Number,
    },
    /// Generation 0 has one already.
    #[error("`{}` can't become part of generation 0, which has one already; move it away or remove it", path.display())]
    Twice {
        /// Which name.
        path: PathBuf,
    },
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What became generation 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The names that moved.
    pub names: Vec<String>,
    /// Those that were away for a moment, because the file system knows no exchange.
    pub not_atomic: Vec<String>,
}

/// Takes over what is there. `None` if nothing had to be, which is so for every rootimgdir that only we wrote.
pub fn adopt(dir: &RootimgDir) -> Result<Option<Adopted>, AdoptError> {
    let mut names = Vec::new();
    for name in served() {
        if top_entry(dir, name)? == TopEntry::Foreign {
            names.push(name);
        }
    }
    let Some(first) = names.first() else { return Ok(None) };
    if let Some(live) = dir.live()?.filter(|live| *live != Number::XCAT) {
        return Err(AdoptError::Overwritten { path: dir.path().join(first), live });
    }
    let folder = prepare(dir, &names)?;
    let mut adopted = Adopted { names: Vec::new(), not_atomic: Vec::new() };
    for name in names {
        if take_over(dir, &folder, name)? == Swap::Renamed {
            adopted.not_atomic.push(name.to_owned());
        }
        adopted.names.push(name.to_owned());
    }
    sync_dir(&folder)?;
    sync_dir(dir.path())?;
    Ok(Some(adopted))
}

/// Makes the folder and points `current` to it, so that links are good from the moment they stand.
fn prepare(dir: &RootimgDir, names: &[&str]) -> Result<PathBuf, AdoptError> {
    let folder = dir.generation(Number::XCAT);
    fs::create_dir_all(&folder).map_err(failed("create folder", &folder))?;
    for name in names {
        let taken = folder.join(name);
        // A link through `current` is what a crash before the exchange leaves.
        if fs::read_link(&taken).is_ok_and(|target| target == through_current(name)) {
            remove_if_there(&taken)?;
        } else if taken.symlink_metadata().is_ok() {
            return Err(AdoptError::Twice { path: dir.path().join(name) });
        }
    }
    let target = Path::new(GENERATIONS).join(Number::XCAT.to_string());
    put_symlink(&target, &dir.path().join(CURRENT))?;
    Ok(folder)
}

fn take_over(dir: &RootimgDir, folder: &Path, name: &str) -> Result<Swap, AdoptError> {
    let (at, to) = (dir.path().join(name), folder.join(name));
    // A link of the site's own, often to a tree on another disk. A relative one would lead elsewhere from below.
    if let Ok(target) = fs::read_link(&at) {
        let target = if target.is_absolute() { target } else { Path::new("../..").join(target) };
        put_symlink(&target, &to)?;
        put_symlink(&through_current(name), &at)?;
        return Ok(Swap::Exchanged);
    }
    Ok(swap_for_link(&at, &to, &through_current(name))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn xcat_site() -> (tempfile::TempDir, RootimgDir) {
        let site = tempfile::tempdir().unwrap();
        let top = site.path().join("r");
        fs::create_dir_all(top.join("rootimg/etc")).unwrap();
        for name in ["kernel", "initrd-stateless.gz", "rootimg.cpio.gz", "rootimg.gz", "rootimg/etc/hosts", "notes"] {
            fs::write(top.join(name), name).unwrap();
        }
        let dir = RootimgDir::open(&top, site.path()).unwrap();
        (site, dir)
    }

    #[test]
    fn what_xcat_left_is_generation_0_and_reads_as_before() {
        let (_site, dir) = xcat_site();
        let adopted = adopt(&dir).unwrap().unwrap();
        assert_eq!(adopted.names, ["kernel", "initrd-stateless.gz", "rootimg", "rootimg.cpio.gz", "rootimg.gz"]);
        assert_eq!(adopted.not_atomic, [""; 0]);
        for name in ["kernel", "initrd-stateless.gz", "rootimg.cpio.gz", "rootimg.gz", "rootimg/etc/hosts", "notes"] {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), name);
        }
        assert!(dir.generation(Number::XCAT).join("rootimg").symlink_metadata().unwrap().is_dir());
        assert_eq!(dir.live().unwrap(), Some(Number::XCAT));
        assert_eq!(adopt(&dir).unwrap(), None);
    }

    #[test]
    fn a_crash_half_way_is_carried_on() {
        let (_site, dir) = xcat_site();
        let folder = dir.generation(Number::XCAT);
        fs::create_dir(&folder).unwrap();
        symlink(".generations/0", dir.path().join("current")).unwrap();
        fs::rename(dir.path().join("kernel"), folder.join("kernel")).unwrap();
        symlink("current/kernel", dir.path().join("kernel")).unwrap();
        symlink("current/rootimg", folder.join("rootimg")).unwrap();
        adopt(&dir).unwrap().unwrap();
        for name in ["kernel", "rootimg/etc/hosts", "rootimg.cpio.gz"] {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), name);
        }
    }

    #[test]
    fn a_tree_that_a_site_linked_from_elsewhere_stays_reachable() {
        let (site, dir) = xcat_site();
        fs::rename(dir.path().join("rootimg"), site.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", dir.path().join("rootimg")).unwrap();
        adopt(&dir).unwrap().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("rootimg/etc/hosts")).unwrap(), "rootimg/etc/hosts");
        assert_eq!(dir.tree_owner(Number::XCAT).unwrap(), Number::XCAT);
    }

    #[test]
    fn what_xcat_writes_over_our_links_is_refused_and_left() {
        let (_site, dir) = xcat_site();
        adopt(&dir).unwrap();
        let archive = dir.path().join("rootimg.cpio.gz");
        fs::remove_file(&archive).unwrap();
        fs::write(&archive, "new").unwrap();
        assert!(matches!(adopt(&dir), Err(AdoptError::Twice { .. })));
        fs::create_dir(dir.generations().join("3")).unwrap();
        put_symlink(Path::new(".generations/3"), &dir.path().join("current")).unwrap();
        assert!(matches!(adopt(&dir), Err(AdoptError::Overwritten { .. })));
        assert_eq!(fs::read_to_string(&archive).unwrap(), "new");
    }
}
