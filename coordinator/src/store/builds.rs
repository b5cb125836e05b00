//! Builds, by number, and the counter that numbers them.

use model::build::Build;
use model::id::BuildId;

use super::osimages::{self, OsimageWrite};
use super::{Op, Store, StoreError, put, record};

pub(super) const PREFIX: &[u8] = b"build/";
pub(super) const COUNTER: &[u8] = b"counter/build";
pub(super) const REQUEST: &[u8] = b"request/";

fn key(id: BuildId) -> Vec<u8> {
    [PREFIX, &id.get().to_be_bytes()].concat()
}

/// The write of a build's record, to be joined with others in one commit.
pub fn put_build(build: &Build) -> Result<Op, StoreError> {
    put(key(build.id), build)
}

/// Whether the store takes a build's record as it is.
pub fn fits(build: &Build) -> bool {
    record::encode(&key(build.id), build).is_ok()
}

impl Store {
    /// The build of this number.
    pub fn build(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        self.get(&key(id))
    }

    /// The newest builds that `fits` takes, newest first; no more are read than are needed to find `limit`. Blocking.
    pub fn newest_builds(&self, limit: usize, fits: impl Fn(&Build) -> bool) -> Result<Vec<Build>, StoreError> {
        let last = self.next_build_id()?.get() - 1;
        let builds = (1..=last).rev().filter_map(BuildId::new).filter_map(|id| self.build(id).transpose());
        builds.filter(|build| build.as_ref().map_or(true, &fits)).take(limit).collect()
    }

    /// Every build that has not ended, oldest first: what a start goes on with.
    pub fn active_builds(&self) -> Result<Vec<Build>, StoreError> {
        let builds: Vec<Build> = self.scan(PREFIX)?;
        Ok(builds.into_iter().filter(|build| !build.state.is_final()).collect())
    }

    /// The number that the next build gets.
    pub fn next_build_id(&self) -> Result<BuildId, StoreError> {
        let last: Option<BuildId> = self.get(COUNTER)?;
        Ok(last.map_or(BuildId::FIRST, BuildId::next))
    }

    /// The builds that an earlier submission of this request queued.
    pub fn builds_of_request(&self, request: &str) -> Result<Option<Vec<BuildId>>, StoreError> {
        self.get(&[REQUEST, request.as_bytes()].concat())
    }

    /// Writes new builds with the counter, the definitions that change with them and, if the caller gave one, the
    /// request that they answer. Refused when the disk is full, or a definition was changed meanwhile.
    pub async fn add_builds(
        &self,
        builds: &[Build],
        definitions: &[OsimageWrite],
        request: &str,
    ) -> Result<(), StoreError> {
        self.room_for_more().await?;
        let (guards, mut ops) = osimages::writes(definitions)?;
        ops.extend(builds.iter().map(put_build).collect::<Result<Vec<_>, _>>()?);
        if let Some(last) = builds.last() {
            ops.push(put(COUNTER.to_vec(), &last.id)?);
        }
        if !request.is_empty() {
            let ids: Vec<BuildId> = builds.iter().map(|build| build.id).collect();
            ops.push(put([REQUEST, request.as_bytes()].concat(), &ids)?);
        }
        self.commit(guards, ops).await.map_err(osimages::named)
    }

    /// Writes a build as it stands.
    pub async fn save_build(&self, build: &Build) -> Result<(), StoreError> {
        self.save_builds(std::slice::from_ref(build)).await
    }

    /// Writes builds as they stand, all of them or none.
    pub async fn save_builds(&self, builds: &[Build]) -> Result<(), StoreError> {
        self.commit(Vec::new(), builds.iter().map(put_build).collect::<Result<_, _>>()?).await
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::samples;

    fn build(id: BuildId, osimage: &str) -> Build {
        Build { osimage: osimage.parse().unwrap(), ..samples::build(id.get()) }
    }

    #[tokio::test]
    async fn the_newest_that_fit_are_found_and_no_more_are_read_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _failed) = Store::open(&dir.path().join("db")).unwrap();
        let id = |number| BuildId::new(number).unwrap();
        assert!(store.newest_builds(5, |_| true).unwrap().is_empty());
        let builds: Vec<Build> =
            (1..=9).map(|number| build(id(number), if number % 3 == 0 { "a" } else { "b" })).collect();
        store.add_builds(&builds, &[], "").await.unwrap();
        let looked = std::cell::Cell::new(0);
        let of_a = |build: &Build| {
            looked.set(looked.get() + 1);
            build.osimage.as_str() == "a"
        };
        let found: Vec<u64> = store.newest_builds(2, of_a).unwrap().iter().map(|build| build.id.get()).collect();
        assert_eq!((found, looked.get()), (vec![9, 6], 4));
        assert_eq!(store.newest_builds(99, of_a).unwrap().len(), 3);
    }
}
