//! The service behind `imgctl generations`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::generation::GenerationRecord;
use model::id::Generation;
use model::name::ImageName;
use proto::v1;
use proto::violation::OfField;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::generation_diff::{on_wire as diff_on_wire, pair};
use super::status::internal;
use crate::audit::Audit;
use crate::catalogue::Catalogue;
use crate::chain::chain;
use crate::generation::diff::diff;
use crate::generation::{Number, RootimgDir};
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::submit::edits_of;

/// Generations over the wire.
#[derive(Debug, Clone)]
pub struct Generations {
    /// Definitions, for their rootimgdirs.
    pub catalogue: Catalogue,
    /// Records.
    pub store: Store,
    /// The install root.
    pub install_dir: PathBuf,
    /// Who knows which build works where.
    pub scheduler: Scheduler,
    /// Where changes are noted.
    pub audit: Arc<Audit>,
    /// For comparisons under way: each holds two manifests in memory.
    pub comparing: Arc<Semaphore>,
}

/// Comparisons at once.
pub const COMPARISONS: usize = 2;

#[tonic::async_trait]
impl v1::generations_server::Generations for Generations {
    async fn list(
        &self,
        request: Request<v1::ListGenerationsRequest>,
    ) -> Result<Response<v1::ListGenerationsResponse>, Status> {
        let name: ImageName = request.into_inner().osimage.parse().of_field("osimage")?;
        let records = self.records(&name)?;
        let live = self.live(&records).await?;
        let generations = records.into_iter().rev().map(|record| on_wire(record, live)).collect();
        Ok(Response::new(v1::ListGenerationsResponse { generations }))
    }

    async fn get(&self, request: Request<v1::GetGenerationRequest>) -> Result<Response<v1::Generation>, Status> {
        let v1::GetGenerationRequest { osimage, number } = request.into_inner();
        let name: ImageName = osimage.parse().of_field("osimage")?;
        let records = self.records(&name)?;
        let live = self.live(&records).await?;
        let newest = records.last().map(|record| record.number);
        let wanted = Generation::new(number).or(live).or(newest);
        let record = records.into_iter().find(|record| Some(record.number) == wanted);
        let missing = || match wanted {
            Some(number) => Status::not_found(format!("`{name}` has no generation {number}")),
            None => Status::not_found(format!("`{name}` has no generation yet; `imgctl build {name}` makes one")),
        };
        let record = record.ok_or_else(missing)?;
        let (dir, install_dir, number) = (record.rootimgdir.clone(), self.install_dir.clone(), record.number);
        // Looking for edits stats the whole tree.
        let edits = tokio::task::spawn_blocking(move || edits_of(&dir, &install_dir, number)).await;
        let edits = edits.map_err(|error| internal(&error))?.unwrap_or_default();
        let mut wire = on_wire(record, live);
        wire.edits = edits.into_iter().map(|(path, change)| v1::TreeEdit { path, change }).collect();
        Ok(Response::new(wire))
    }

    async fn diff(&self, request: Request<v1::DiffGenerationsRequest>) -> Result<Response<v1::GenerationDiff>, Status> {
        let v1::DiffGenerationsRequest { osimage, from, to, max_files } = request.into_inner();
        let name: ImageName = osimage.parse().of_field("osimage")?;
        let records = self.records(&name)?;
        let (before, after) = pair(&name, records, Generation::new(from), Generation::new(to))?;
        let permit = self.comparing.clone().acquire_owned().await.map_err(|error| internal(&error))?;
        let install_dir = self.install_dir.clone();
        let (old, new) = (before.clone(), after.clone());
        let compared = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also when the caller has gone.
            let _permit = permit;
            let dir = RootimgDir::open(&new.rootimgdir, &install_dir)?;
            diff(&dir, old.number.into(), new.number.into())
        });
        let compared = compared.await.map_err(|error| internal(&error))?;
        let found = compared.map_err(|error| Status::failed_precondition(chain(&error)))?;
        Ok(Response::new(diff_on_wire(found, &before, &after, max_files)))
    }

    async fn activate(
        &self,
        request: Request<v1::ActivateGenerationRequest>,
    ) -> Result<Response<v1::ActivateGenerationResponse>, Status> {
        let who = caller(&request)?;
        let v1::ActivateGenerationRequest { osimage, number } = request.into_inner();
        let name: ImageName = osimage.parse().of_field("osimage")?;
        let osimage = self.catalogue.get(&name)?;
        let dir = osimage.rootimgdir(&self.install_dir);
        let dir = dir.ok_or_else(|| Status::failed_precondition(format!("`{name}` has no rootimgdir yet")))?;
        self.audit.note(&who, "generations activate", &format!("{name} {number}"));
        let to = Generation::new(number).map_or(Number::XCAT, Number::from);
        let switched = self.scheduler.activate(dir, to).await?;
        let wire = |number: Number| number.ours().map_or(0, Generation::get);
        let (from, made, removed) = (switched.from.map(wire), switched.made, switched.removed);
        Ok(Response::new(v1::ActivateGenerationResponse { from, made, removed }))
    }
}

impl Generations {
    fn records(&self, name: &ImageName) -> Result<Vec<GenerationRecord>, Status> {
        let osimage = self.catalogue.get(name)?;
        let dir = osimage.rootimgdir(&self.install_dir);
        let dir = dir.ok_or_else(|| Status::failed_precondition(format!("`{name}` has no rootimgdir yet")))?;
        Ok(self.store.generations(&dir)?)
    }

    async fn live(&self, records: &[GenerationRecord]) -> Result<Option<Generation>, Status> {
        let Some(dir) = records.last().map(|record| record.rootimgdir.clone()) else { return Ok(None) };
        let install_dir = self.install_dir.clone();
        let live = tokio::task::spawn_blocking(move || live(&dir, &install_dir)).await;
        live.map_err(|error| internal(&error))
    }
}

/// What nodes get, as the link says and not as the records would have it: an admin may have switched it by hand.
/// Blocking.
fn live(rootimgdir: &Path, install_dir: &Path) -> Option<Generation> {
    if !rootimgdir.exists() {
        // Looking must not make it.
        return None;
    }
    let live = RootimgDir::open(rootimgdir, install_dir).and_then(|dir| dir.live());
    let live = live.inspect_err(|error| tracing::warn!(%error, "which generation is live can't be told"));
    live.ok().flatten().and_then(Number::ours)
}

fn on_wire(record: GenerationRecord, live: Option<Generation>) -> v1::Generation {
    let is_live = Some(record.number) == live;
    let mut wire: v1::Generation = record.into();
    wire.live = is_live;
    wire
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn live_is_what_the_link_says() {
        let install = tempfile::tempdir().unwrap();
        let dir = install.path().join("r");
        assert_eq!(live(&dir, install.path()), None);
        assert!(!dir.exists());
        fs::create_dir_all(dir.join(".generations/7")).unwrap();
        assert_eq!(live(&dir, install.path()), None);
        for (target, expected) in [(".generations/7", Generation::new(7)), (".generations/0", None), ("/tmp", None)] {
            symlink(target, dir.join("current")).unwrap();
            assert_eq!(live(&dir, install.path()), expected, "{target}");
            fs::remove_file(dir.join("current")).unwrap();
        }
    }
}
