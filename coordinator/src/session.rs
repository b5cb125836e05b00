//! One agent's session: what comes from it goes to the desk, what the desk orders goes to it.

use model::build::{Failure, PublishedArchive};
use model::id::AttemptId;
use model::name::AgentName;
use model::stage::Stage;
use proto::v1;
use proto::v1::agent_message::Message as FromAgent;
use proto::v1::coordinator_message::Message as FromCoordinator;
use proto::violation::{FieldViolation, OfField};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::clock::now_ms;
use crate::scheduler::{AgentEvent, Beat, Refused, Scheduler, ToAgent, Welcome, What};

/// An agent is to be heard of this many times in a lease.
const BEATS_IN_A_LEASE: u32 = 10;

/// One session with the two ends of its stream.
#[derive(Debug)]
pub struct Session {
    /// Whose.
    pub agent: AgentName,
    /// What it was welcomed with.
    pub welcome: Welcome,
    /// How it gets at the install root.
    pub offer: v1::InstallOffer,
    /// Who owns the attempts.
    pub scheduler: Scheduler,
    /// Orders for the agent.
    pub orders: mpsc::Receiver<ToAgent>,
    /// What it says.
    pub inbound: Streaming<v1::AgentMessage>,
    /// The way to it.
    pub sender: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
}

/// The first message of a session.
pub fn hello_of(first: Option<v1::AgentMessage>) -> Result<v1::Hello, Status> {
    match first.and_then(|first| first.message) {
        Some(FromAgent::Hello(hello)) => Ok(hello),
        _ => Err(Status::invalid_argument("a session begins with hello")),
    }
}

impl Session {
    /// Speaks with the agent until either side ends it.
    pub async fn run(mut self) {
        let ended = self.speak().await;
        tracing::info!(agent = %self.agent, session = self.welcome.session, reason = %ended, "session over");
        // Fails only when the desk has stopped.
        let _ = self.scheduler.closed(self.agent, self.welcome.session).await;
    }

    async fn speak(&mut self) -> String {
        if self.say(welcome(&self.welcome, &self.offer)).await.is_err() {
            return "the agent is gone".into();
        }
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => if self.say(on_wire(order)).await.is_err() { return "the agent is gone".into() },
                    None => return "a newer session took its place, its lease ran out, or the agent was removed".into(),
                },
                message = self.inbound.message() => match message {
                    Ok(Some(message)) => if let Err(status) = self.hear(message).await {
                        let text = status.message().to_owned();
                        let _ = self.sender.send(Err(status)).await;
                        return text;
                    },
                    Ok(None) => return "the agent ended it".into(),
                    Err(status) => return status.message().to_owned(),
                },
            }
        }
    }

    async fn say(&self, message: FromCoordinator) -> Result<(), ()> {
        self.sender.send(Ok(v1::CoordinatorMessage { message: Some(message) })).await.map_err(|_| ())
    }

    async fn hear(&self, message: v1::AgentMessage) -> Result<(), Status> {
        let (agent, session) = (self.agent.clone(), self.welcome.session);
        match message.message {
            Some(FromAgent::Heartbeat(beat)) => {
                let v1::Heartbeat { scratch_free_bytes, load_hundredths } = beat;
                Ok(self.scheduler.heartbeat(agent, session, Beat { scratch_free_bytes, load_hundredths }).await?)
            }
            Some(FromAgent::Event(event)) => {
                Ok(self.scheduler.event(agent, session, event_of(event)?).await.map_err(|error: Refused| error)?)
            }
            Some(FromAgent::Survey(survey)) => Ok(self.scheduler.surveyed(agent, session, survey.try_into()?).await?),
            Some(FromAgent::Leaving(v1::Leaving {})) => Ok(self.scheduler.leaving(agent, session).await?),
            Some(FromAgent::Hello(_)) => Err(Status::invalid_argument("hello is said once")),
            // A message of a later release: it can be left out, or the protocol's number would have changed.
            None => Ok(()),
        }
    }
}

fn welcome(welcome: &Welcome, offer: &v1::InstallOffer) -> FromCoordinator {
    let ack = |(attempt, number): &(AttemptId, u64)| v1::EventAck { attempt: Some((*attempt).into()), number: *number };
    FromCoordinator::Welcome(v1::Welcome {
        lease_ms: u32::try_from(welcome.lease.as_millis()).unwrap_or(u32::MAX),
        heartbeat_ms: u32::try_from((welcome.lease / BEATS_IN_A_LEASE).as_millis()).unwrap_or(u32::MAX),
        resume: welcome.resume.iter().map(ack).collect(),
        time_ms: now_ms(),
        install: Some(offer.clone()),
    })
}

fn on_wire(order: ToAgent) -> FromCoordinator {
    match order {
        ToAgent::Assign { attempt, plan, staging, osimage, silence } => {
            let limit = |(stage, seconds): (Stage, u32)| v1::StageSilence { stage: stage.to_string(), seconds };
            let silence = silence.into_iter().map(limit).collect();
            let (attempt, plan_digest, time_ms) = (Some(attempt.into()), plan, now_ms());
            FromCoordinator::Assign(v1::Assign { attempt, plan_digest, staging, osimage, silence, time_ms })
        }
        ToAgent::Ack(attempt, number) => FromCoordinator::Ack(v1::EventAck { attempt: Some(attempt.into()), number }),
        ToAgent::Drop(attempt, reason) => FromCoordinator::Drop(v1::Drop { attempt: Some(attempt.into()), reason }),
    }
}

fn event_of(wire: v1::Event) -> Result<AgentEvent, FieldViolation> {
    use v1::event::Event as Wire;
    let v1::Event { attempt, number, time_ms, event } = wire;
    let attempt = AttemptId::try_from(attempt.of_field("attempt")?).map_err(|error| error.scope("attempt"))?;
    let what = match event.of_field("event")? {
        Wire::StageStarted(started) => What::StageStarted(started.stage.parse().of_field("stage_started.stage")?),
        Wire::StageEnded(v1::StageEnded { stage, status }) => What::StageEnded(
            stage.parse().of_field("stage_ended.stage")?,
            status.parse().of_field("stage_ended.status")?,
        ),
        Wire::Published(v1::Published { digest, bytes, kernel_version, packages, log_lines: _, initrds, warnings }) => {
            let initrds = initrds.into_iter().map(Into::into).collect();
            What::Published(PublishedArchive { digest, bytes, kernel_version, packages, initrds, warnings })
        }
        Wire::Failed(failure) => What::Failed(Failure::from(failure)),
        Wire::Lost(lost) => What::Lost(lost.reason),
        Wire::Dropped(v1::Dropped {}) => What::Dropped,
    };
    Ok(AgentEvent { attempt, number, time_ms, what })
}
