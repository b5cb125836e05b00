//! The service behind `imgctl generations`.

use std::path::PathBuf;

use model::generation::{GenerationRecord, GenerationState};
use model::id::Generation;
use model::name::ImageName;
use proto::v1;
use proto::violation::OfField;
use tonic::{Request, Response, Status};

use super::status::internal;
use crate::catalogue::Catalogue;
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
}

#[tonic::async_trait]
impl v1::generations_server::Generations for Generations {
    async fn list(
        &self,
        request: Request<v1::ListGenerationsRequest>,
    ) -> Result<Response<v1::ListGenerationsResponse>, Status> {
        let name: ImageName = request.into_inner().osimage.parse().of_field("osimage")?;
        let records = self.records(&name)?;
        let live = live(&records);
        let generations = records.into_iter().rev().map(|record| on_wire(record, live)).collect();
        Ok(Response::new(v1::ListGenerationsResponse { generations }))
    }

    async fn get(&self, request: Request<v1::GetGenerationRequest>) -> Result<Response<v1::Generation>, Status> {
        let v1::GetGenerationRequest { osimage, number } = request.into_inner();
        let name: ImageName = osimage.parse().of_field("osimage")?;
        let records = self.records(&name)?;
        let live = live(&records);
        let wanted = Generation::new(number).or(live);
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
}

impl Generations {
    fn records(&self, name: &ImageName) -> Result<Vec<GenerationRecord>, Status> {
        let osimage = self.catalogue.get(name)?;
        let dir = osimage.rootimgdir(&self.install_dir);
        let dir = dir.ok_or_else(|| Status::failed_precondition(format!("`{name}` has no rootimgdir yet")))?;
        Ok(self.store.generations(&dir)?)
    }
}

/// The newest packed generation, or the newest built one while none is packed (DESIGN.md, Decisions).
fn live(records: &[GenerationRecord]) -> Option<Generation> {
    let packed = records.iter().rev().find(|record| record.state == GenerationState::Packed);
    packed.or(records.last()).map(|record| record.number)
}

fn on_wire(record: GenerationRecord, live: Option<Generation>) -> v1::Generation {
    let is_live = Some(record.number) == live;
    let mut wire: v1::Generation = record.into();
    wire.live = is_live;
    wire
}
