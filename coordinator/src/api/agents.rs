//! The service behind `imgctl agents`.

use std::sync::Arc;

use model::agent::{AgentView, Drained};
use model::name::AgentName;
use proto::v1;
use proto::violation::OfField;
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::status::internal;
use crate::audit::Audit;
use crate::clock::now_ms;
use crate::pki::Authority;
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::store::tokens::TokenRecord;

/// How long a token can be used if nothing else is asked for, in seconds.
const TOKEN_LIFE: u32 = 3600;
/// The longest that can be asked for, in seconds: a week.
const LONGEST_TOKEN_LIFE: u32 = 7 * 86400;

/// Characters of a reason; the record that it goes into is bounded.
const LONGEST_REASON: usize = 200;

/// The fleet over the wire.
#[derive(Debug, Clone)]
pub struct Agents {
    /// Who knows how each agent stands.
    pub scheduler: Scheduler,
    /// Where tokens are kept.
    pub store: Store,
    /// For the CA's fingerprint.
    pub authority: Arc<Authority>,
    /// Where changes are noted.
    pub audit: Arc<Audit>,
}

#[tonic::async_trait]
impl v1::agents_server::Agents for Agents {
    async fn list(&self, _: Request<v1::ListAgentsRequest>) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let agents = self.views().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListAgentsResponse { agents }))
    }

    async fn get(&self, request: Request<v1::GetAgentRequest>) -> Result<Response<v1::Agent>, Status> {
        let name: AgentName = request.into_inner().name.parse().of_field("name")?;
        let found = self.views().await?.into_iter().find(|view| view.record.name == name);
        let missing = || Status::not_found(format!("there is no agent `{name}`; `imgctl agents list` shows them"));
        Ok(Response::new(found.ok_or_else(missing)?.into()))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let who = caller(&request)?;
        let v1::CreateTokenRequest { agent, valid_seconds } = request.into_inner();
        let agent: Option<AgentName> = (!agent.is_empty()).then(|| agent.parse()).transpose().of_field("agent")?;
        let life = if valid_seconds == 0 { TOKEN_LIFE } else { valid_seconds };
        if life > LONGEST_TOKEN_LIFE {
            return Err(Status::invalid_argument("a token can be valid for a week at most"));
        }
        let mut secret = [0u8; 20];
        getrandom::fill(&mut secret).map_err(|error| internal(&error))?;
        let token = hex::encode(secret);
        let expires_ms = now_ms() + i64::from(life) * 1000;
        self.audit.note(&who, "agents token", agent.as_ref().map_or("(any)", AgentName::as_str));
        let record = TokenRecord { agent, expires_ms, made_by: who.name, used_by: None };
        self.store.add_token(&token, &record).await?;
        let ca_fingerprint = self.authority.fingerprint();
        Ok(Response::new(v1::CreateTokenResponse { token, expires_ms, ca_fingerprint }))
    }

    async fn drain(&self, request: Request<v1::DrainAgentRequest>) -> Result<Response<v1::Agent>, Status> {
        let who = caller(&request)?;
        let v1::DrainAgentRequest { name, reason } = request.into_inner();
        let agent: AgentName = name.parse().of_field("name")?;
        if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
            return Err(Status::invalid_argument("a reason is one line of at most 200 characters"));
        }
        self.audit.note(&who, "agents drain", agent.as_str());
        let drained = Drained { by: who.name, since_ms: now_ms(), reason };
        Ok(Response::new(self.scheduler.drain(agent, Some(drained)).await?.into()))
    }

    async fn undrain(&self, request: Request<v1::UndrainAgentRequest>) -> Result<Response<v1::Agent>, Status> {
        let who = caller(&request)?;
        let agent: AgentName = request.into_inner().name.parse().of_field("name")?;
        self.audit.note(&who, "agents undrain", agent.as_str());
        Ok(Response::new(self.scheduler.drain(agent, None).await?.into()))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveAgentRequest>,
    ) -> Result<Response<v1::RemoveAgentResponse>, Status> {
        let who = caller(&request)?;
        let agent: AgentName = request.into_inner().name.parse().of_field("name")?;
        self.audit.note(&who, "agents rm", agent.as_str());
        let work = self.scheduler.remove(agent).await?;
        Ok(Response::new(v1::RemoveAgentResponse { work: work.into_iter().map(Into::into).collect() }))
    }
}

impl Agents {
    async fn views(&self) -> Result<Vec<AgentView>, Status> {
        let mut views = self.scheduler.agents().await?;
        // Those that joined and never connected are known to the store alone.
        for record in self.store.agents()? {
            if !views.iter().any(|view| view.record.name == record.name) {
                let state = model::agent::AgentState::Offline;
                views.push(AgentView { record, state, work: Vec::new(), load_hundredths: 0 });
            }
        }
        views.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(views)
    }
}
