//! [`retain`]: which generations are kept, and the removal of the others.
//!
//! Kept are the newest few, the live one, and any that the caller is at work on. A generation's tree may be shared by
//! later ones; it moves to one that stays before its folder goes. A folder is first renamed to `.pruned-N`, so that
//! nothing half removed ever counts as a generation, and removed by [`rootfs::remove::remove_tree`], which leaves alone
//! what has anything mounted in it.

use std::fs;
use std::path::{Path, PathBuf};

use rootfs::remove::{RemoveError, refuse_mounts, remove_tree};
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
        // Before anything of it is moved, so that it stays as it is and the mounts are named as they are.
        if let Err(error) = refuse_mounts(&dir.generation(number)) {
            retained.refused.push((dir.generation(number), error));
            continue;
        }
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
            // Mounted this very moment; whole again under its number.
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
mod tests;
