//! The coordinator's gRPC services: who may call what ([`auth`]), and one file per service.
//!
//! A handler makes four moves: who, what, do, answer. The wire ends there.

pub mod agents;
pub mod auth;
pub mod builds;
pub mod enrolment;
mod generation_diff;
pub mod generations;
pub mod osimages;
pub mod sessions;
mod status;

use std::sync::Arc;

use proto::MAX_MESSAGE;
use proto::v1;
use proto::v1::agents_server::AgentsServer;
use proto::v1::builds_server::BuildsServer;
use proto::v1::enrolment_server::EnrolmentServer;
use proto::v1::generations_server::GenerationsServer;
use proto::v1::osimages_server::OsimagesServer;
use proto::v1::sessions_server::SessionsServer;
use tokio::sync::Semaphore;
use tonic::service::Routes;

use crate::audit::Audit;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::download::Trees;
use crate::logs::Logs;
use crate::pki::Authority;
use crate::plans::Plans;
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::submit::Submitter;

/// What the services are made of.
#[derive(Debug, Clone)]
pub struct Services {
    /// Settings.
    pub config: Arc<Config>,
    /// How agents get at the install root.
    pub offer: v1::InstallOffer,
    /// The CA, for enrolment.
    pub authority: Arc<Authority>,
    /// Records.
    pub store: Store,
    /// Logs of attempts.
    pub logs: Arc<Logs>,
    /// Build plans.
    pub plans: Plans,
    /// Definitions.
    pub catalogue: Catalogue,
    /// Builds.
    pub scheduler: Scheduler,
    /// The audit log.
    pub audit: Arc<Audit>,
}

impl Services {
    /// All services as routes, without the check of who calls.
    pub fn routes(self) -> Routes {
        let submitter = Arc::new(Submitter {
            catalogue: self.catalogue.clone(),
            store: self.store.clone(),
            plans: self.plans.clone(),
            scheduler: self.scheduler.clone(),
        });
        let osimages = osimages::Osimages { catalogue: self.catalogue.clone(), audit: self.audit.clone() };
        let builds = builds::Builds {
            submitter,
            store: self.store.clone(),
            scheduler: self.scheduler.clone(),
            logs: self.logs.clone(),
            audit: self.audit.clone(),
        };
        let generations = generations::Generations {
            catalogue: self.catalogue.clone(),
            store: self.store.clone(),
            install_dir: self.config.install_dir.clone(),
            scheduler: self.scheduler.clone(),
            audit: self.audit.clone(),
            comparing: Arc::new(Semaphore::new(generations::COMPARISONS)),
        };
        let enrolment = enrolment::Enrolment {
            store: self.store.clone(),
            authority: self.authority.clone(),
            audit: self.audit.clone(),
        };
        let agents = agents::Agents {
            scheduler: self.scheduler.clone(),
            store: self.store.clone(),
            authority: self.authority,
            audit: self.audit,
        };
        let sessions = sessions::Sessions {
            trees: Trees::new(self.config.install_dir.clone(), self.store.clone()),
            store: self.store.clone(),
            scheduler: self.scheduler,
            logs: self.logs,
            plans: self.plans,
            install_dir: self.config.install_dir.clone(),
            offer: self.offer,
        };
        let mut routes = Routes::builder();
        routes
            .add_service(OsimagesServer::new(osimages).max_decoding_message_size(MAX_MESSAGE))
            .add_service(BuildsServer::new(builds).max_decoding_message_size(MAX_MESSAGE))
            .add_service(GenerationsServer::new(generations))
            .add_service(AgentsServer::new(agents))
            .add_service(EnrolmentServer::new(enrolment))
            .add_service(SessionsServer::new(sessions).max_decoding_message_size(MAX_MESSAGE));
        routes.routes()
    }
}
