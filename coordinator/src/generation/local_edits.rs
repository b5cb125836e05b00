//! [`local_edits`]: what an administrator changed in a generation's tree since it was received.

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
