//! Whether a generation that is to be packed still holds the kernel and initrds that its build made.
//!
//! A generation that is sealed is packed as the next one, which takes these over: a broken one would go live under a
//! record of its own that calls it good. In one that is only built, an administrator may have put another initrd.

use std::path::PathBuf;

use model::build::Artefact;

use crate::generation::intact::{Look, wrong};
use crate::generation::layout::BOOT;
use crate::generation::{LayoutError, Number, RootimgDir};

/// Why a generation is not packed.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// Nodes could not boot it.
    #[error("generation {number} is not what its build made: `{}`: {what}", path.display())]
    Wrong {
        /// Which generation.
        number: Number,
        /// What of it.
        path: PathBuf,
        /// In which way.
        what: String,
    },
    /// There is no such generation.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Refuses a generation that lacks what nodes boot besides the archive or, if it is sealed, has it otherwise.
pub(super) fn verify(dir: &RootimgDir, number: Number, recorded: &[Artefact]) -> Result<(), RecordedError> {
    let folder = dir.existing(number)?;
    let sealed = dir.is_packed(number);
    for artefact in recorded.iter().filter(|artefact| BOOT.contains(&artefact.name.as_str())) {
        let path = folder.join(&artefact.name);
        if !sealed && path.exists() {
            continue;
        }
        if let Some(what) = wrong(&path, artefact, Look::Digest) {
            return Err(RecordedError::Wrong { number, path, what });
        }
    }
    Ok(())
}
