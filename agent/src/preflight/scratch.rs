//! The scratch folder as a condition of its node.

use std::path::Path;

use model::agent::Condition;

use super::conditions::{SCRATCH_FOLDER, SCRATCH_OPTION, SCRATCH_REFUSES, SCRATCH_SPACE};
use crate::build::failure::chain;
use crate::sys::probe::{ProbeError, probe};

/// What is wrong with the folder, if anything. Blocking; writes to it.
pub fn condition(scratch: &Path, min_free: u64) -> Option<Condition> {
    let error = probe(scratch, min_free).err()?;
    let kind = match error {
        ProbeError::Space { .. } => SCRATCH_SPACE,
        ProbeError::Refuses { .. } => SCRATCH_REFUSES,
        ProbeError::Option { .. } => SCRATCH_OPTION,
        ProbeError::Folder { .. } => SCRATCH_FOLDER,
    };
    Some(kind.found(chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_lacks_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(condition(folder.path(), 0), None);
        assert_eq!(condition(folder.path(), u64::MAX).unwrap().name, "scratch-space");
        assert_eq!(condition(&folder.path().join("nothing"), 0).unwrap().name, "scratch-folder");
        // It refuses device nodes, or files altogether.
        assert!(condition(Path::new("/proc"), 0).unwrap().name.starts_with("scratch-"));
    }
}
