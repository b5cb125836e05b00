//! What agents say of their attempts.
//!
//! Events are numbered per attempt. One that was taken already is acknowledged again and otherwise ignored; one
//! from an attempt that the agent holds no lease on is answered with an order to drop it.

use model::build::{AttemptRecord, Build, BuildEvent, Failure};
use model::id::AttemptId;
use model::name::AgentName;
use model::stage::{Stage, StageStatus};
use tokio::time::Instant;

use super::clip;
use super::desk::{Desk, end_attempt};
use super::{AgentEvent, SessionId, ToAgent, What};
use crate::clock::now_ms;
use crate::store::StoreError;

/// Lines of a log that are kept with a failure.
const LAST_LINES: usize = 20;

impl Desk {
    /// Takes one event of an agent; acknowledged when it is on disk.
    pub(super) async fn on_event(
        &mut self,
        agent: AgentName,
        session: SessionId,
        event: AgentEvent,
    ) -> Result<(), StoreError> {
        if !self.links.heard(&agent, session, Instant::now()) {
            return Ok(());
        }
        let (attempt, number) = (event.attempt, event.number);
        if event.what == What::Dropped {
            self.links.dropped(&agent, attempt);
            self.links.tell(&agent, ToAgent::Ack(attempt, number));
            return Ok(());
        }
        let Some(last) = self.last_event(&agent, attempt) else {
            let why = "the attempt is not this agent's any more".to_owned();
            self.links.tell(&agent, ToAgent::Drop(attempt, why));
            return Ok(());
        };
        if number > last + 1 {
            tracing::warn!(%agent, %attempt, number, last, "an event is missing; waiting for it to be sent again");
            return Ok(());
        }
        if number == last + 1 {
            if self.is_published(attempt) {
                let why = "the attempt has published and is over for its agent".to_owned();
                self.links.tell(&agent, ToAgent::Drop(attempt, why));
                return Ok(());
            }
            match event.what {
                What::Lost(ref why) => self.links.lost(&agent, why, Instant::now()),
                What::Published(_) | What::Failed(_) => self.links.is_well(&agent),
                What::StageStarted(_) | What::StageEnded(..) | What::Dropped => {}
            }
            self.take(event).await?;
        }
        self.links.tell(&agent, ToAgent::Ack(attempt, number));
        Ok(())
    }

    /// The last event taken of an attempt, if the agent holds its lease or has just published it.
    fn last_event(&self, agent: &AgentName, attempt: AttemptId) -> Option<u64> {
        let build = &self.active.get(&attempt.build)?.build;
        let (holder, held) = build.state.lease()?;
        let record = build.attempts.last()?;
        (holder == agent && held == attempt.attempt).then_some(record.last_event)
    }

    fn is_published(&self, attempt: AttemptId) -> bool {
        let record = self.active.get(&attempt.build).and_then(|active| active.build.attempts.last());
        record.is_some_and(|record| record.published.is_some())
    }

    async fn take(&mut self, event: AgentEvent) -> Result<(), StoreError> {
        let AgentEvent { attempt, number, what, .. } = event;
        let note = |record: &mut AttemptRecord| record.last_event = number;
        match what {
            What::StageStarted(stage) => {
                let started = BuildEvent::StageStarted { attempt: attempt.attempt, stage };
                self.update(attempt, Some(started), |record| {
                    note(record);
                    stage_started(record, stage);
                })
                .await
            }
            What::StageEnded(stage, status) => {
                self.update(attempt, None, |record| {
                    note(record);
                    stage_ended(record, stage, status);
                })
                .await
            }
            What::Published(archive) => {
                self.update(attempt, None, |record| {
                    note(record);
                    record.published = Some(clip::published(archive));
                })
                .await?;
                self.receive_in_turn(attempt);
                Ok(())
            }
            What::Failed(failure) => self.attempt_failed(attempt, number, failure).await,
            What::Lost(why) => self.lose(attempt, &why).await,
            What::Dropped => Ok(()),
        }
    }

    /// The attempt failed by its own fault. Its record and the build's state change in one write.
    async fn attempt_failed(
        &mut self,
        attempt: AttemptId,
        number: u64,
        mut failure: Failure,
    ) -> Result<(), StoreError> {
        if failure.last_lines.is_empty() {
            failure.last_lines = self.last_lines(attempt);
        }
        let failure = clip::failure(failure);
        let Some(active) = self.active.get(&attempt.build) else { return Ok(()) };
        let mut build = active.build.clone();
        let outcome = format!("failed in {}", failure.stage);
        // The lease was checked when the event came in.
        let event = BuildEvent::Failed { attempt: Some(attempt.attempt), failure };
        let Ok(state) = build.state.on(event) else { return Ok(()) };
        build.state = state;
        if let Some(record) = build.attempts.last_mut() {
            record.last_event = number;
        }
        end_attempt(&mut build, &outcome);
        self.save(build).await
    }

    /// Changes the record of the attempt that holds the lease, and the build's state if the event asks for it.
    async fn update(
        &mut self,
        attempt: AttemptId,
        event: Option<BuildEvent>,
        change: impl FnOnce(&mut AttemptRecord),
    ) -> Result<(), StoreError> {
        let Some(active) = self.active.get(&attempt.build) else { return Ok(()) };
        let mut build: Build = active.build.clone();
        if let Some(event) = event {
            match build.state.on(event) {
                Ok(state) => build.state = state,
                // Counted all the same: it is acknowledged, and the next one follows on it.
                Err(refusal) => tracing::warn!(%attempt, %refusal, "an agent's event doesn't fit"),
            }
        }
        if let Some(record) = build.attempts.last_mut() {
            change(record);
        }
        self.save(build).await
    }

    /// The end of an attempt's log, short enough to be kept in a record.
    pub(super) fn last_lines(&self, attempt: AttemptId) -> Vec<String> {
        self.parts.logs.tail(attempt, LAST_LINES).into_iter().map(|line| line.text).collect()
    }
}

fn stage_started(record: &mut AttemptRecord, stage: Stage) {
    for entry in record.stages.iter_mut().filter(|entry| entry.stage == stage) {
        entry.status = StageStatus::Running;
        entry.started_ms = now_ms();
    }
}

fn stage_ended(record: &mut AttemptRecord, stage: Stage, status: StageStatus) {
    for entry in record.stages.iter_mut().filter(|entry| entry.stage == stage) {
        entry.status = status;
        entry.ended_ms = now_ms();
        if entry.started_ms == 0 {
            entry.started_ms = entry.ended_ms;
        }
    }
}
