//! [`retain`]: which generations are kept, and the removal of the others.
//!
//! Kept are the newest few, the live one, and any that the caller is at work on. A generation's tree may be shared by
//! later ones; it moves to one that stays before its folder goes. A folder is first renamed to `.pruned-N`, so that
//! nothing half removed ever counts as a generation, and removed by [`rootfs::remove::remove_tree`], which leaves alone
//! what has anything mounted in it.

use std::fs;
use std::path::{Path, PathBuf};

use rootfs::remove::{RemoveError, remove_tree};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::atomic::{FileError, failed, put_symlink, remove_if_there, rename_new, sync_dir};
use super::layout::{LayoutError, Number, RootimgDir, TREE, shared_tree};

/// How folders on their way out are named.
pub(crate) const PRUNED: &str = ".pruned-";
/// How folders are named while they are received.
pub(crate) const INCOMING: &str = ".incoming-";
/// How folders are named while they are packed.
pub(crate) const PACKING: &str = ".packing-";

/// Why old generations couldn't be sorted out.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What became of the old generations.
#[derive(Debug, Default)]
pub struct Retained {
    /// Those that are gone.
    pub removed: Vec<Number>,
    /// Folders that stand, and why; the next call tries again.
    pub refused: Vec<(PathBuf, RemoveError)>,
    /// Trees that moved to a generation that shared them: from, to.
    pub moved: Vec<(Number, Number)>,
}

/// Removes all generations but the newest `keep`, the live one and those `in_use`.
pub fn retain(dir: &RootimgDir, keep: usize, in_use: &[Number]) -> Result<Retained, RetainError> {
    let numbers = dir.numbers()?;
    let live = dir.live()?;
    let mut retained = Retained::default();
    let newest = &numbers[numbers.len().saturating_sub(keep)..];
    let (kept, old): (Vec<Number>, Vec<Number>) =
        numbers.iter().partition(|number| newest.contains(number) || Some(**number) == live || in_use.contains(number));
    remove_leftovers(dir, PRUNED, &mut retained)?;
    for number in old {
        if let Some(heir) = heir(dir, number, &kept, live) {
            hand_over(dir, number, heir, &kept)?;
            retained.moved.push((number, heir));
        }
        let aside = dir.generations().join(format!("{PRUNED}{number}"));
        if !rename_new(&dir.generation(number), &aside)? {
            continue;
        }
        match remove_tree(&aside) {
            Ok(()) => retained.removed.push(number),
            // Whole again under its number: somebody still uses it, or mounted something there.
            Err(error @ RemoveError::Mounted { .. }) => {
                rename_new(&aside, &dir.generation(number))?;
                retained.refused.push((dir.generation(number), error));
            }
            Err(error) => retained.refused.push((aside, error)),
        }
    }
    sync_dir(&dir.generations())?;
    Ok(retained)
}

/// Removes what a crash left half received, half packed or half removed. Only for when nobody is at work there.
pub fn sweep(dir: &RootimgDir) -> Result<Retained, RetainError> {
    let mut retained = Retained::default();
    for prefix in [INCOMING, PACKING, PRUNED] {
        remove_leftovers(dir, prefix, &mut retained)?;
    }
    Ok(retained)
}

fn remove_leftovers(dir: &RootimgDir, prefix: &str, retained: &mut Retained) -> Result<(), RetainError> {
    for name in dir.names()?.iter().filter(|name| name.starts_with(prefix)) {
        let path = dir.generations().join(name);
        if let Err(error) = remove_tree(&path) {
            retained.refused.push((path, error));
        }
    }
    Ok(())
}

/// Who gets the tree of `old`: the live one if it shares it, else the newest that does.
fn heir(dir: &RootimgDir, old: Number, kept: &[Number], live: Option<Number>) -> Option<Number> {
    let shares = |number: &&Number| dir.tree_owner(**number).is_ok_and(|owner| owner == old);
    kept.iter().filter(shares).max_by_key(|number| (Some(**number) == live, **number)).copied()
}

/// Moves the tree from `old` to `heir`, which never is without it, and points the others there.
///
/// One rename lies between the exchange and a good link in `old`: whoever had just followed the heir's old link then
/// finds no tree and must look again. Archives are not concerned.
fn hand_over(dir: &RootimgDir, old: Number, heir: Number, kept: &[Number]) -> Result<(), RetainError> {
    let (from, to) = (dir.generation(old).join(TREE), dir.generation(heir).join(TREE));
    let others: Vec<_> = kept
        .iter()
        .filter(|number| **number != heir && dir.tree_owner(**number).is_ok_and(|owner| owner == old))
        .collect();
    let forward = from.with_extension("moved");
    put_symlink(&shared_tree(heir), &forward)?;
    if renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE).is_err() {
        move_aside(&from, &to)?;
    }
    // What the exchange left in `old` is a link to itself.
    fs::rename(&forward, &from).map_err(failed("put link in place of", &from))?;
    for other in others {
        put_symlink(&shared_tree(heir), &dir.generation(*other).join(TREE))?;
    }
    Ok(())
}

/// For file systems that know no exchange: the heir is without a tree for a moment.
fn move_aside(from: &Path, to: &Path) -> Result<(), FileError> {
    let link = fs::read_link(to).map_err(failed("read link", to))?;
    remove_if_there(to)?;
    fs::rename(from, to).map_err(|error| {
        // The link is put back so that the generation is whole; if that fails too, the first error says more.
        let _ = put_symlink(&link, to);
        failed("move tree", from)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::super::links::switch;
    use super::*;
    use std::os::unix::fs::symlink;

    fn site(generations: u32) -> (tempfile::TempDir, RootimgDir) {
        let site = tempfile::tempdir().unwrap();
        let dir = RootimgDir::open(&site.path().join("r"), site.path()).unwrap();
        for number in 0..generations {
            let folder = dir.generations().join(number.to_string());
            fs::create_dir_all(folder.join("rootimg/etc")).unwrap();
            fs::write(folder.join("rootimg/etc/which"), number.to_string()).unwrap();
            fs::write(folder.join("rootimg.cpio.gz"), number.to_string()).unwrap();
        }
        (site, dir)
    }

    fn left(dir: &RootimgDir) -> Vec<String> {
        dir.numbers().unwrap().iter().map(ToString::to_string).collect()
    }

    fn at(dir: &RootimgDir, at: usize) -> Number {
        dir.numbers().unwrap()[at]
    }

    #[test]
    fn the_newest_the_live_and_those_in_use_stay() {
        let (_site, dir) = site(8);
        switch(&dir, at(&dir, 1)).unwrap();
        let retained = retain(&dir, 3, &[at(&dir, 3)]).unwrap();
        assert_eq!(left(&dir), ["1", "3", "5", "6", "7"]);
        assert_eq!(retained.removed.len(), 3);
        assert!(retained.refused.is_empty());
        assert_eq!(dir.next_number().unwrap().get(), 8);
    }

    #[test]
    fn a_shared_tree_moves_to_one_that_stays() {
        let (_site, dir) = site(6);
        for number in ["3", "4", "5"] {
            let folder = dir.generations().join(number);
            remove_tree(&folder.join("rootimg")).unwrap();
            symlink("../1/rootimg", folder.join("rootimg")).unwrap();
        }
        switch(&dir, at(&dir, 4)).unwrap();
        let retained = retain(&dir, 3, &[]).unwrap();
        assert_eq!(left(&dir), ["3", "4", "5"]);
        assert_eq!(retained.moved.len(), 1);
        for number in ["3", "4", "5"] {
            let which = fs::read_to_string(dir.generations().join(number).join("rootimg/etc/which")).unwrap();
            assert_eq!(which, "1", "{number}");
        }
        assert_eq!(dir.tree_owner(at(&dir, 0)).unwrap(), at(&dir, 1));
        assert!(dir.generations().join("4/rootimg").symlink_metadata().unwrap().is_dir());
        assert_eq!(fs::read_to_string(dir.path().join("rootimg/etc/which")).unwrap(), "1");
    }

    #[test]
    fn what_a_crash_left_is_swept_and_generations_are_not() {
        let (_site, dir) = site(2);
        for name in [".incoming-7.1", ".packing-3", ".pruned-1"] {
            fs::create_dir_all(dir.generations().join(name).join("rootimg/x")).unwrap();
        }
        sweep(&dir).unwrap();
        assert_eq!(fs::read_dir(dir.generations()).unwrap().count(), 2);
    }

    #[test]
    fn a_tree_with_something_mounted_in_it_stays_whole_and_is_reported() {
        let (site, dir) = site(5);
        let precious = site.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("data"), "x").unwrap();
        let point = dir.generations().join("1/rootimg/mnt");
        fs::create_dir(&point).unwrap();
        rustix::mount::mount_bind(&precious, &point).expect("this test needs root");
        let retained = retain(&dir, 3, &[]);
        rustix::mount::unmount(&point, rustix::mount::UnmountFlags::empty()).unwrap();
        let retained = retained.unwrap();
        assert_eq!(left(&dir), ["1", "2", "3", "4"]);
        assert!(matches!(retained.refused[..], [(_, RemoveError::Mounted { .. })]));
        assert_eq!(fs::read_to_string(precious.join("data")).unwrap(), "x");
        assert_eq!(fs::read_to_string(dir.generations().join("1/rootimg/etc/which")).unwrap(), "1");
    }
}
