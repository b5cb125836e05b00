//! The service that agents call: their session, plans, logs and archives.

use std::path::PathBuf;
use std::sync::Arc;

use model::agent::AgentFacts;
use model::id::AttemptId;
use model::name::AgentName;
use model::stage::Stage;
use proto::v1;
use proto::violation::OfField;
use proto::{CHUNK, SESSION_PROTOCOL};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::auth::{Fingerprint, caller, must_be_joined};
use super::status::internal;
use crate::clock::now_ms;
use crate::download::Trees;
use crate::logs::{LogLine, Logs};
use crate::plans::Plans;
use crate::scheduler::{Greeting, Lease, Scheduler};
use crate::session::{Session, hello_of};
use crate::staging;
use crate::store::Store;
use crate::upload;

/// Orders ahead of an agent that is slow to take them; beyond it the session is ended and starts anew.
const ORDERS: usize = 64;
/// Attempts that an agent may name in its hello, and slots that it may have.
const IN_HAND: usize = 1024;
/// Answers ahead of an agent that pushes logs.
const ACKS: usize = 16;

/// Sessions over the wire.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// Who owns the attempts.
    pub scheduler: Scheduler,
    /// Which certificate an agent has joined with.
    pub store: Store,
    /// Where logs go.
    pub logs: Arc<Logs>,
    /// Where plans are kept.
    pub plans: Plans,
    /// The install root, for archives.
    pub install_dir: PathBuf,
    /// Trees for `--onlyinitrd`.
    pub trees: Trees,
    /// How agents get at the install root.
    pub offer: v1::InstallOffer,
}

#[tonic::async_trait]
impl v1::sessions_server::Sessions for Sessions {
    type OpenStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;
    type FetchPlanStream = ReceiverStream<Result<v1::Chunk, Status>>;
    type FetchTreeStream = ReceiverStream<Result<v1::Chunk, Status>>;
    type PushLogStream = ReceiverStream<Result<v1::LogAck, Status>>;

    async fn open(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::OpenStream>, Status> {
        let agent = agent(&request)?;
        let mut inbound = request.into_inner();
        let v1::Hello { protocol, facts, running, lost, instance: _ } = hello_of(inbound.message().await?)?;
        if protocol != SESSION_PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "the agent speaks session protocol {protocol}, the coordinator {SESSION_PROTOCOL}; bring both to one release"
            )));
        }
        let facts = AgentFacts::try_from(facts.unwrap_or_default())?;
        let facts = AgentFacts { slots: facts.slots.min(IN_HAND as u32), ..facts };
        let (outbox, orders) = mpsc::channel(ORDERS);
        let (running, lost) = (attempts(running)?, attempts(lost)?);
        let greeting = Greeting { agent: agent.clone(), facts, running, lost, outbox };
        let welcome = self.scheduler.greet(greeting).await?;
        let (sender, receiver) = mpsc::channel(ORDERS);
        let (scheduler, offer) = (self.scheduler.clone(), self.offer.clone());
        let session = Session { agent, welcome, offer, scheduler, orders, inbound, sender };
        // The session owns the connection from here; it ends when either side's stream does.
        tokio::spawn(session.run());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_plan(&self, request: Request<v1::AttemptRef>) -> Result<Response<Self::FetchPlanStream>, Status> {
        let agent = agent(&request)?;
        let attempt = AttemptId::try_from(request.into_inner())?;
        let lease = self.leased(&agent, attempt)?;
        let plan = self.plans.read(&lease.plan).map_err(|error| internal(&error))?;
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            for chunk in plan.chunks(CHUNK) {
                let chunk = v1::Chunk { data: chunk.to_vec().into() };
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_tree(&self, request: Request<v1::AttemptRef>) -> Result<Response<Self::FetchTreeStream>, Status> {
        let (agent, print) = (agent(&request)?, fingerprint(&request)?);
        let attempt = AttemptId::try_from(request.into_inner())?;
        let lease = self.leased(&agent, attempt)?;
        let plan = self.plans.read(&lease.plan).map_err(|error| internal(&error))?;
        let this = self.clone();
        let held = move || this.scheduler.lease(&agent, attempt).is_some() && this.still_joined(&agent, &print).is_ok();
        Ok(Response::new(ReceiverStream::new(self.trees.send(attempt, &plan, held).await?)))
    }

    async fn push_log(
        &self,
        request: Request<Streaming<v1::LogPush>>,
    ) -> Result<Response<Self::PushLogStream>, Status> {
        let (agent, print) = (agent(&request)?, fingerprint(&request)?);
        let mut inbound = request.into_inner();
        let (sender, receiver) = mpsc::channel(ACKS);
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(push) = inbound.next().await {
                let answer = match push {
                    Ok(push) => match this.still_joined(&agent, &print) {
                        Ok(()) => this.write_log(&agent, push).await,
                        Err(refusal) => Err(refusal),
                    },
                    Err(_) => return,
                };
                let failed = answer.is_err();
                if sender.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadMessage>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        let (agent, print) = (agent(&request)?, fingerprint(&request)?);
        let mut inbound = request.into_inner();
        let attempt = upload::header(inbound.message().await?)?;
        let lease = self.leased(&agent, attempt)?;
        let path = staging::archive(&self.install_dir, &lease.staging, attempt);
        let held = || self.scheduler.lease(&agent, attempt).is_some() && self.still_joined(&agent, &print).is_ok();
        let bytes = upload::write(&path, inbound, held).await?;
        Ok(Response::new(v1::UploadResponse { bytes }))
    }
}

impl Sessions {
    /// An agent may speak only of attempts leased to it.
    fn leased(&self, agent: &AgentName, attempt: AttemptId) -> Result<Lease, Status> {
        let refused = || Status::permission_denied(format!("attempt {attempt} is not leased to agent {agent}"));
        self.scheduler.lease(agent, attempt).ok_or_else(refused)
    }

    /// Whether the certificate that a stream was opened with is still the agent's.
    fn still_joined(&self, agent: &AgentName, print: &Fingerprint) -> Result<(), Status> {
        must_be_joined(&self.store, agent.as_str(), &print.0)
    }

    async fn write_log(&self, agent: &AgentName, push: v1::LogPush) -> Result<v1::LogAck, Status> {
        let v1::LogPush { attempt, first_line, lines } = push;
        let attempt = AttemptId::try_from(attempt.unwrap_or_default())?;
        if self.scheduler.lease(agent, attempt).is_none() {
            return Ok(v1::LogAck { attempt: Some(attempt.into()), next_line: 0, refused: true });
        }
        let lines: Vec<LogLine> = lines.into_iter().map(line).collect();
        let logs = self.logs.clone();
        // The first use after a start counts the whole file.
        let written = tokio::task::spawn_blocking(move || logs.attempt(attempt)?.append(first_line.max(1), &lines));
        let written = written.await;
        let next_line = written.map_err(|error| internal(&error))??;
        Ok(v1::LogAck { attempt: Some(attempt.into()), next_line, refused: false })
    }
}

fn line(wire: v1::LogLine) -> LogLine {
    let v1::LogLine { time_ms, stage, text } = wire;
    // Whatever isn't a stage's word is not shown: text can't come in by the other door.
    let stage = stage.parse::<Stage>().map_or_else(|_| "-".to_owned(), |stage| stage.to_string());
    // Agents escape what could drive a terminal; what an agent doesn't, is escaped here.
    let printable = |c: char| !c.is_control() || c == '\t';
    let text = if text.chars().all(printable) { text } else { text.escape_debug().to_string() };
    LogLine { time_ms: if time_ms > 0 { time_ms } else { now_ms() }, stage, text }
}

fn agent<T>(request: &Request<T>) -> Result<AgentName, Status> {
    Ok(AgentName::try_from(caller(request)?.name.to_string()).of_field("certificate")?)
}

fn fingerprint<T>(request: &Request<T>) -> Result<Fingerprint, Status> {
    let print = request.extensions().get::<Fingerprint>().cloned();
    print.ok_or_else(|| Status::unauthenticated("the caller's certificate is not known"))
}

fn attempts(wire: Vec<v1::AttemptRef>) -> Result<Vec<AttemptId>, Status> {
    if wire.len() > IN_HAND {
        return Err(Status::invalid_argument(format!("an agent has {IN_HAND} attempts in hand at most")));
    }
    Ok(wire.into_iter().map(AttemptId::try_from).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_the_wire_has_a_known_stage_and_printable_text() {
        let read = |stage: &str, text: &str| {
            let LogLine { stage, text, .. } = line(v1::LogLine { time_ms: 7, stage: stage.into(), text: text.into() });
            (stage, text)
        };
        assert_eq!(read("packages", "a\tb"), ("packages".to_owned(), "a\tb".to_owned()));
        for stage in ["", "Packages", "\u{1b}[2J", "a b", "packimage"] {
            assert_eq!(read(stage, "").0, "-", "{stage:?}");
        }
        assert_eq!(read("prepare", "\u{1b}[2J").1, "\\u{1b}[2J");
    }
}
