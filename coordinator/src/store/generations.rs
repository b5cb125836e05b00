//! Generations, by rootimgdir and number.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use model::build::Build;
use model::generation::GenerationRecord;
use model::id::Generation;

use super::builds::put_build;
use super::{Op, Store, StoreError, put};

pub(super) const PREFIX: &[u8] = b"generation/";

fn prefix(rootimgdir: &Path) -> Vec<u8> {
    // A path holds no NUL, so that one directory's generations are never below another's.
    [PREFIX, rootimgdir.as_os_str().as_bytes(), b"\0"].concat()
}

pub(super) fn key(rootimgdir: &Path, number: Generation) -> Vec<u8> {
    [prefix(rootimgdir), number.get().to_be_bytes().to_vec()].concat()
}

impl Store {
    /// The generations of a rootimgdir, oldest first.
    pub fn generations(&self, rootimgdir: &Path) -> Result<Vec<GenerationRecord>, StoreError> {
        self.scan(&prefix(rootimgdir))
    }

    /// One of them.
    pub fn generation(&self, rootimgdir: &Path, number: Generation) -> Result<Option<GenerationRecord>, StoreError> {
        self.get(&key(rootimgdir, number))
    }

    /// Writes generations and the build that made them in one commit; forgets those that were pruned.
    pub async fn save_generations(
        &self,
        build: &Build,
        kept: &[GenerationRecord],
        pruned: &[Generation],
    ) -> Result<(), StoreError> {
        let mut ops = vec![put_build(build)?];
        for record in kept {
            ops.push(put(key(&record.rootimgdir, record.number), record)?);
        }
        ops.extend(pruned.iter().map(|number| Op::Delete { key: key(&build.rootimgdir, *number) }));
        self.commit(Vec::new(), ops).await
    }
}
