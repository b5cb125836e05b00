//! The service behind `imgctl osimage` and `imgctl resolve`.

use std::sync::Arc;

use model::name::ImageName;
use model::wish::GenimageWish;
use proto::v1;
use proto::violation::OfField;
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::status::internal;
use crate::audit::Audit;
use crate::catalogue::{Catalogue, CatalogueError, Import, Written};
use crate::osimage::{Resolved, resolve_with};
use crate::plans;

/// Definitions over the wire.
#[derive(Debug, Clone)]
pub struct Osimages {
    /// The definitions.
    pub catalogue: Catalogue,
    /// Where changes are noted.
    pub audit: Arc<Audit>,
}

type Written_ = Result<Response<v1::WriteOsimagesResponse>, Status>;

fn written(result: Result<Written, CatalogueError>) -> Written_ {
    let response = match result {
        Ok(Written { osimages, warnings }) => v1::WriteOsimagesResponse {
            osimages: osimages.into_iter().map(Into::into).collect(),
            warnings,
            problems: Vec::new(),
        },
        Err(CatalogueError::Problems(problems)) => v1::WriteOsimagesResponse {
            problems: problems.into_iter().map(Into::into).collect(),
            ..v1::WriteOsimagesResponse::default()
        },
        Err(error) => return Err(error.into()),
    };
    Ok(Response::new(response))
}

fn names(wire: Vec<String>) -> Result<Vec<ImageName>, Status> {
    Ok(wire.iter().map(|name| name.parse().of_field("names")).collect::<Result<_, _>>()?)
}

#[tonic::async_trait]
impl v1::osimages_server::Osimages for Osimages {
    async fn list(&self, _: Request<v1::ListOsimagesRequest>) -> Result<Response<v1::ListOsimagesResponse>, Status> {
        let osimages = self.catalogue.list()?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListOsimagesResponse { osimages }))
    }

    async fn get(&self, request: Request<v1::GetOsimageRequest>) -> Result<Response<v1::Osimage>, Status> {
        let name: ImageName = request.into_inner().name.parse().of_field("name")?;
        Ok(Response::new(self.catalogue.get(&name)?.into()))
    }

    async fn create(&self, request: Request<v1::CreateOsimageRequest>) -> Written_ {
        let who = caller(&request)?;
        let v1::CreateOsimageRequest { name, changes, fill } = request.into_inner();
        let result = self.catalogue.create(name.parse().of_field("name")?, &changes, fill).await;
        self.audit.note(&who, "osimage create", &name);
        written(result)
    }

    async fn set(&self, request: Request<v1::SetOsimageRequest>) -> Written_ {
        let who = caller(&request)?;
        let v1::SetOsimageRequest { name, changes, expected_revision } = request.into_inner();
        let result = self.catalogue.set(&name.parse().of_field("name")?, &changes, expected_revision).await;
        self.audit.note(&who, "osimage set", &format!("{name} {}", changes.join(" ")));
        written(result)
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveOsimagesRequest>,
    ) -> Result<Response<v1::RemoveOsimagesResponse>, Status> {
        let who = caller(&request)?;
        let wire = request.into_inner().names;
        self.audit.note(&who, "osimage rm", &wire.join(" "));
        self.catalogue.remove(&names(wire)?).await?;
        Ok(Response::new(v1::RemoveOsimagesResponse {}))
    }

    async fn rename(&self, request: Request<v1::RenameOsimageRequest>) -> Written_ {
        let who = caller(&request)?;
        let v1::RenameOsimageRequest { from, to } = request.into_inner();
        self.audit.note(&who, "osimage rename", &format!("{from} {to}"));
        written(self.catalogue.rename(&from.parse().of_field("from")?, to.parse().of_field("to")?).await)
    }

    async fn copy(&self, request: Request<v1::CopyOsimageRequest>) -> Written_ {
        let who = caller(&request)?;
        let v1::CopyOsimageRequest { from, to } = request.into_inner();
        self.audit.note(&who, "osimage copy", &format!("{from} {to}"));
        written(self.catalogue.copy(&from.parse().of_field("from")?, to.parse().of_field("to")?).await)
    }

    async fn import(&self, request: Request<v1::ImportOsimagesRequest>) -> Written_ {
        let who = caller(&request)?;
        let v1::ImportOsimagesRequest { stanzas, source, replace, unsigned_as_xcat } = request.into_inner();
        self.audit.note(&who, "osimage import", &source);
        written(self.catalogue.import(&source, &stanzas, Import { replace, unsigned_as_xcat }).await)
    }

    async fn export(
        &self,
        request: Request<v1::ExportOsimagesRequest>,
    ) -> Result<Response<v1::ExportOsimagesResponse>, Status> {
        let stanzas = self.catalogue.export(&names(request.into_inner().names)?)?;
        Ok(Response::new(v1::ExportOsimagesResponse { stanzas }))
    }

    async fn resolve(&self, request: Request<v1::ResolveRequest>) -> Result<Response<v1::ResolveResponse>, Status> {
        let v1::ResolveRequest { name, set } = request.into_inner();
        let name: ImageName = name.parse().of_field("name")?;
        let osimage = self.catalogue.get(&name)?;
        let site = self.catalogue.site().clone();
        let wish = GenimageWish { set, ..GenimageWish::default() };
        let resolved = tokio::task::spawn_blocking(move || resolve_with(&osimage, &wish, &site)).await;
        let response = match resolved.map_err(|error| internal(&error))? {
            Ok(Resolved { plan, pack }) => v1::ResolveResponse {
                plan_json: plans::to_json(&plan).map_err(|error| internal(&error))?.into(),
                pack_json: serde_json::to_vec_pretty(&pack).map_err(|error| internal(&error))?.into(),
                problems: Vec::new(),
            },
            Err(problems) => v1::ResolveResponse {
                problems: problems.into_iter().map(Into::into).collect(),
                ..v1::ResolveResponse::default()
            },
        };
        Ok(Response::new(response))
    }
}
