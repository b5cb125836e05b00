//! [`local_edits`]: what an administrator changed in a generation's tree since it was received; [`carry_edits`]: what
//! of it a tree has that was made from that one.

use rootfs::edits::{Edit, edits};
use rootfs::manifest::{Manifest, ManifestError};

use super::layout::{LayoutError, MANIFEST, Number, RootimgDir, TREE};

/// Why edits can't be told.
#[derive(Debug, thiserror::Error)]
pub enum EditsError {
    /// The rootimgdir is not as it should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The manifest or the tree can't be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The edits in the tree of generation `number`, by path; `None` if there is no manifest to compare with, as for the
/// tree that xCAT left.
pub fn local_edits(dir: &RootimgDir, number: Number) -> Result<Option<Vec<Edit>>, EditsError> {
    let owner = dir.tree_owner(number)?;
    let manifest = dir.generation(number).join(MANIFEST);
    if manifest.symlink_metadata().is_err() {
        return Ok(None);
    }
    let manifest = Manifest::read(&manifest)?;
    Ok(Some(edits(&manifest, &dir.generation(owner).join(TREE))?))
}

/// The edits of a tree that another was made from.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// How many are in the new tree.
    pub kept: usize,
    /// Those that are not: they were made after the tree had gone out.
    pub missed: Vec<Edit>,
}

/// Makes the edits in the tree of `from` known as edits of `to` too, whose tree was made from that one (`genimage
/// --onlyinitrd`): a rebuild would lose them just the same.
pub fn carry_edits(dir: &RootimgDir, from: Number, to: Number) -> Result<Carried, EditsError> {
    let edits = local_edits(dir, from)?.unwrap_or_default();
    if edits.is_empty() {
        return Ok(Carried::default());
    }
    let before = Manifest::read(&dir.generation(from).join(MANIFEST))?;
    let path = dir.generation(to).join(MANIFEST);
    let mut manifest = Manifest::read(&path)?;
    manifest.put_back(&before, edits.iter().map(|edit| &edit.path));
    manifest.write(&path)?;
    let arrived = local_edits(dir, to)?.unwrap_or_default();
    let (kept, missed): (Vec<_>, Vec<_>) =
        edits.into_iter().partition(|edit| arrived.iter().any(|there| there.path == edit.path));
    Ok(Carried { kept: kept.len(), missed })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// A generation with a tree, received a moment ago.
    fn generation(dir: &RootimgDir, number: u32, fill: impl Fn(&Path)) -> Number {
        let number = Number::from(model::id::Generation::new(number).unwrap());
        let tree = dir.generation(number).join(TREE);
        fs::create_dir_all(&tree).unwrap();
        fill(&tree);
        Manifest::of_tree(&tree).unwrap().write(&dir.generation(number).join(MANIFEST)).unwrap();
        number
    }

    #[test]
    fn edits_are_edits_of_the_tree_that_was_made_from_theirs() {
        let install = tempfile::tempdir().unwrap();
        let dir = RootimgDir::open(&install.path().join("r"), install.path()).unwrap();
        let built = |tree: &Path| {
            for name in ["kept", "changed", "gone", "mode", "same-size"] {
                fs::write(tree.join(name), "as built").unwrap();
            }
        };
        let edit = |tree: &Path| {
            fs::write(tree.join("changed"), "by hand").unwrap();
            // As long as before, and with its time.
            let path = tree.join("same-size");
            let time = path.metadata().unwrap().modified().unwrap();
            fs::write(&path, "by hand.").unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            fs::remove_file(tree.join("gone")).unwrap();
            fs::set_permissions(tree.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(tree.join("new"), "").unwrap();
        };
        let from = generation(&dir, 1, built);
        edit(&dir.generation(from).join(TREE));
        let to = generation(&dir, 2, |tree| {
            built(tree);
            edit(tree);
            fs::write(tree.join("driver.ko"), "from a driver disk").unwrap();
        });
        let told = |number| -> Vec<String> {
            local_edits(&dir, number).unwrap().unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(told(to), [""; 0]);
        // After the tree had gone out.
        fs::write(dir.generation(from).join(TREE).join("kept"), "too late").unwrap();
        let carried = carry_edits(&dir, from, to).unwrap();
        let missed: Vec<String> = carried.missed.iter().map(ToString::to_string).collect();
        assert_eq!((carried.kept, missed), (5, vec!["kept changed: content".to_owned()]));
        let expected = [
            "changed changed: content",
            "gone removed",
            "mode changed: mode",
            "new added",
            "same-size changed: content",
        ];
        assert_eq!(told(to), expected);
        // Where nobody edited anything, nothing changes.
        let (third, fourth) = (generation(&dir, 3, built), generation(&dir, 4, built));
        assert_eq!((carry_edits(&dir, third, fourth).unwrap(), told(fourth).len()), (Carried::default(), 0));
    }
}
