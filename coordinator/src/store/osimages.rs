//! Definitions, by name. Every write says which revision it was made on.

use model::name::ImageName;
use model::osimage::Osimage;

use super::{Guard, Op, Store, StoreError, put, record};

pub(super) const PREFIX: &[u8] = b"osimage/";

fn key(name: &ImageName) -> Vec<u8> {
    [PREFIX, name.as_str().as_bytes()].concat()
}

/// One change to a definition.
#[derive(Debug, Clone)]
pub struct OsimageWrite {
    /// The definition that it was made on; `None`: there was none.
    pub before: Option<Osimage>,
    /// The new one; `None`: removed.
    pub after: Option<Osimage>,
}

impl Store {
    /// The definition of this name.
    pub fn osimage(&self, name: &ImageName) -> Result<Option<Osimage>, StoreError> {
        self.get(&key(name))
    }

    /// All definitions, by name.
    pub fn osimages(&self) -> Result<Vec<Osimage>, StoreError> {
        self.scan(PREFIX)
    }

    /// Makes all of the changes, or none when one of the definitions was changed meanwhile. Refused when the disk is
    /// full, unless all of them are removed.
    pub async fn write_osimages(&self, writes: &[OsimageWrite]) -> Result<(), StoreError> {
        if writes.iter().any(|write| write.after.is_some()) {
            self.room_for_more().await?;
        }
        let (guards, ops) = self::writes(writes)?;
        self.commit(guards, ops).await.map_err(named)
    }
}

/// The changes as a commit: each stands only on what it was made on.
pub(super) fn writes(writes: &[OsimageWrite]) -> Result<(Vec<Guard>, Vec<Op>), StoreError> {
    let (mut guards, mut ops) = (Vec::new(), Vec::new());
    for write in writes {
        let Some(name) = write.after.as_ref().or(write.before.as_ref()).map(|osimage| &osimage.name) else {
            continue;
        };
        let key = key(name);
        let expected = write.before.as_ref().map(|before| record::encode(&key, before)).transpose()?;
        guards.push(Guard { key: key.clone(), expected });
        ops.push(match &write.after {
            Some(after) => put(key, after)?,
            None => Op::Delete { key },
        });
    }
    Ok((guards, ops))
}

/// A conflict in words that a user knows.
pub(super) fn named(error: StoreError) -> StoreError {
    match error {
        StoreError::Conflict { .. } => StoreError::Conflict { what: "the osimage definition".into() },
        other => other,
    }
}
