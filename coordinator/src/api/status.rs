//! The one map from our errors to gRPC. Client mistakes never look like faults of ours; what we don't know is
//! logged in full and leaves as "internal error" with an id to find it by.

use std::error::Error;

use tonic::Status;

use crate::catalogue::CatalogueError;
use crate::chain::chain;
use crate::logs::LogError;
use crate::scheduler::Refused;
use crate::store::StoreError;
use crate::submit::SubmitError;

pub(super) fn internal(error: &dyn Error) -> Status {
    let id = uuid::Uuid::new_v4();
    tracing::error!(%id, error = chain(error), "internal error");
    Status::internal(format!("internal error; the coordinator's log has it under {id}"))
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::aborted(error.to_string()),
            StoreError::TooLarge { .. } => Self::invalid_argument(error.to_string()),
            StoreError::Full(full) => Self::resource_exhausted(full.to_string()),
            StoreError::Closed => Self::unavailable("the coordinator is stopping, or its disk failed; see its log"),
            other => internal(&other),
        }
    }
}

impl From<CatalogueError> for Status {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::NotFound { .. } => Self::not_found(error.to_string()),
            CatalogueError::Exists(_) => Self::already_exists(error.to_string()),
            CatalogueError::Stale { .. } => Self::aborted(error.to_string()),
            CatalogueError::Problems(problems) => {
                let texts: Vec<String> = problems.iter().take(20).map(ToString::to_string).collect();
                Self::invalid_argument(texts.join("; "))
            }
            CatalogueError::Store(error) => error.into(),
        }
    }
}

impl From<Refused> for Status {
    fn from(error: Refused) -> Self {
        match error {
            Refused::NoBuild(_) => Self::not_found(error.to_string()),
            Refused::Ended(_) => Self::failed_precondition(error.to_string()),
            Refused::Working(..) | Refused::Switching(..) | Refused::NotLive(_) => {
                Self::failed_precondition(chain(&error))
            }
            Refused::NoAgent(_) => Self::not_found(error.to_string()),
            Refused::UnknownAgent(_) => Self::permission_denied(error.to_string()),
            Refused::Stopping => Self::unavailable(error.to_string()),
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<SubmitError> for Status {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Catalogue(error) => error.into(),
            SubmitError::Refused(error) => error.into(),
            SubmitError::Store(error) => error.into(),
            SubmitError::Nothing(text) => Self::not_found(text),
            SubmitError::Plan(_) => Self::resource_exhausted(chain(&error)),
        }
    }
}

impl From<LogError> for Status {
    fn from(error: LogError) -> Self {
        Self::resource_exhausted(chain(&error))
    }
}
