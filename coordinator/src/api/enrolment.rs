//! The service that lets agents in: a token and a signing request for a certificate.

use std::sync::Arc;

use model::agent::AgentRecord;
use model::name::{AgentName, UserName};
use model::role::{Caller, Role};
use proto::tls::peer;
use proto::v1;
use proto::violation::OfField;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tonic::{Request, Response, Status};

use super::status::internal;
use crate::audit::Audit;
use crate::clock::now_ms;
use crate::pki::{AGENT_LIFE, Authority, PkiError};
use crate::store::tokens::TokenRecord;
use crate::store::{Store, StoreError};

/// The longest signing request that is looked at, in bytes; the caller is nobody yet.
const LONGEST_REQUEST: usize = 16 << 10;

/// Enrolment over the wire.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Tokens and agents.
    pub store: Store,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// Where it is noted.
    pub audit: Arc<Audit>,
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for Enrolment {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let v1::JoinRequest { token, agent, signing_request_pem } = request.into_inner();
        let name: AgentName = agent.parse().of_field("agent")?;
        if signing_request_pem.len() > LONGEST_REQUEST {
            return Err(Status::invalid_argument("the signing request is too long"));
        }
        let record = self.usable(&token, &name)?;
        let signed = self.authority.sign(&signing_request_pem, name.as_str(), Role::Agent, AGENT_LIFE);
        let certificate_pem = signed.map_err(|error| match error {
            PkiError::Request(_) => Status::invalid_argument(error.to_string()),
            other => internal(&other),
        })?;
        let agent = admitted(name, &certificate_pem)?;
        if let Err(error) = self.store.redeem(&token, &record, &agent).await {
            return Err(match error {
                // Somebody was faster: with this token, or under this name.
                StoreError::Conflict { .. } => {
                    self.usable(&token, &agent.name).err().unwrap_or_else(|| joined_already(&agent.name))
                }
                other => other.into(),
            });
        }
        let who = Caller { name: UserName::try_from(agent.name.to_string()).of_field("agent")?, role: Role::Agent };
        self.audit.note(&who, "joined with a token of", record.made_by.as_str());
        tracing::info!(agent = %agent.name, "joined");
        Ok(Response::new(v1::JoinResponse { certificate_pem, ca_pem: self.authority.ca_pem().to_owned() }))
    }
}

const USED: &str = "the join token has been used already; `imgctl agents token` makes a new one";

impl Enrolment {
    fn usable(&self, token: &str, name: &AgentName) -> Result<TokenRecord, Status> {
        let refused = |text: String| Status::permission_denied(text);
        let record = self.store.token(token)?;
        let record = record.ok_or_else(|| {
            refused("the join token is not known here; `imgctl agents token` on the management node makes one".into())
        })?;
        if record.used_by.is_some() {
            return Err(refused(USED.into()));
        }
        if record.expires_ms < now_ms() {
            return Err(refused("the join token has run out; `imgctl agents token` makes a new one".into()));
        }
        match &record.agent {
            Some(only) if only != name => Err(refused(format!("the join token is for agent {only}, not for {name}"))),
            // With it, whoever finds any token could take the place of every agent.
            None if self.store.agent(name)?.is_some() => Err(joined_already(name)),
            _ => Ok(record),
        }
    }
}

fn joined_already(name: &AgentName) -> Status {
    Status::already_exists(format!(
        "agent {name} has joined already; `imgctl agents token --agent {name}` lets it join again"
    ))
}

fn admitted(name: AgentName, certificate_pem: &str) -> Result<AgentRecord, Status> {
    let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes());
    let der = der.map_err(|_| Status::internal("the certificate just made can't be read"))?;
    let peer = peer::read(&der).map_err(|error| internal(&error))?;
    Ok(AgentRecord {
        name,
        joined_ms: now_ms(),
        certificate_sha256: peer.fingerprint,
        certificate_expires_ms: peer.expires_ms,
        facts: None,
        last_seen_ms: 0,
        drained: None,
    })
}
