//! Agents come, agents fall silent, builds are given out.

use std::path::PathBuf;

use model::agent::AgentRecord;
use model::build::{AttemptRecord, Build, BuildEvent, Failure};
use model::id::{Attempt, AttemptId, BuildId};
use model::name::AgentName;
use model::stage::StageRecord;
use tokio::time::Instant;

use super::clip;
use super::desk::Desk;
use super::fleet::warn_of;
use super::{Greeting, Refused, ToAgent, Welcome};
use crate::clock::now_ms;
use crate::queue;
use crate::staging;
use crate::store::StoreError;

/// Leases in one write; each goes out when its own is on disk.
const LEASES: usize = 64;

impl Desk {
    /// Takes an agent's session on and settles what becomes of each attempt that either side believes it has.
    pub(super) async fn greet(&mut self, greeting: Greeting) -> Result<Welcome, Refused> {
        let Greeting { agent, facts, running, lost, outbox } = greeting;
        let facts = clip::facts(facts);
        let heard = |record| AgentRecord { facts: Some(facts.clone()), last_seen_ms: now_ms(), ..record };
        let record = self.parts.store.change_agent(&agent, heard).await?;
        let record = record.ok_or_else(|| Refused::UnknownAgent(agent.clone()))?;
        let held = self.held_by(&agent);
        let goes_on = |attempt: &AttemptId| held.iter().any(|(held, _, _)| held == attempt);
        let dropping = running.iter().copied().filter(|attempt| !goes_on(attempt)).collect();
        let session = self.links.open(record, outbox, dropping, Instant::now());
        tracing::info!(%agent, session, running = running.len(), lost = lost.len(), "connected");
        warn_of(&agent, &facts.conditions);
        let mut resume = Vec::new();
        for (attempt, last_event, begun) in held {
            if running.contains(&attempt) {
                resume.push((attempt, last_event));
            } else if begun || lost.contains(&attempt) {
                self.lose(attempt, "the agent restarted and its attempt went down with it").await?;
            } else {
                // It never got the order: the session broke before it could.
                self.assign(&agent, attempt);
            }
        }
        Ok(Welcome { session, lease: self.parts.config.lease(), resume })
    }

    /// The attempts leased to an agent: how far each has come, and whether it has begun.
    pub(super) fn held_by(&self, agent: &AgentName) -> Vec<(AttemptId, u64, bool)> {
        let attempts = self.in_hand(agent).filter_map(|build| {
            let record = build.attempts.last()?;
            let id = AttemptId { build: build.id, attempt: record.attempt };
            // What was published needs its agent no more.
            record.published.is_none().then_some((id, record.last_event, record.last_event > 0))
        });
        attempts.collect()
    }

    /// Gives builds to agents, a number of them in one write.
    pub(super) async fn lease(&mut self, starts: Vec<(BuildId, AgentName)>) -> Result<(), StoreError> {
        if !starts.is_empty() {
            self.no_staging = None;
        }
        for some in starts.chunks(LEASES) {
            let (install_dir, count) = (self.parts.config.install_dir.clone(), some.len());
            let made = move || (0..count).map(|_| staging::create(&install_dir)).collect::<Vec<_>>();
            let folders = tokio::task::spawn_blocking(made).await;
            let folders = folders.unwrap_or_else(|error| vec![Err(std::io::Error::other(error))]);
            let mut leased = Vec::with_capacity(count);
            for ((id, agent), folder) in some.iter().zip(folders) {
                match folder {
                    Ok(folder) => leased.extend(self.leased(*id, agent, folder)),
                    Err(error) => self.no_staging = Some(self.no_staging_folder(&error)),
                }
            }
            let given: Vec<_> = leased.iter().filter_map(given).collect();
            self.save_all(leased).await?;
            for (agent, attempt) in given {
                tracing::info!(%attempt, %agent, "leased");
                self.assign(&agent, attempt);
            }
            if self.no_staging.is_some() {
                // They stay queued, and it is tried again twice a second.
                break;
            }
        }
        Ok(())
    }

    fn no_staging_folder(&self, error: &std::io::Error) -> String {
        format!("no staging folder can be made below {}: {error}", self.parts.config.install_dir.display())
    }

    /// A queued build as it is when `agent` has it.
    fn leased(&self, id: BuildId, agent: &AgentName, staging: PathBuf) -> Option<Build> {
        let mut build = self.active.get(&id)?.build.clone();
        let attempt = build.attempts.last().map_or(Attempt::FIRST, |last| last.attempt.next());
        let record = self.links.record(agent)?;
        let emulated_on = queue::emulates(&build, record).map(str::to_owned);
        // A queued build can always be leased.
        build.state = build.state.on(BuildEvent::Leased { agent: agent.clone(), attempt }).ok()?;
        build.attempts.push(AttemptRecord {
            attempt,
            agent: agent.clone(),
            started_ms: now_ms(),
            ended_ms: 0,
            stages: StageRecord::pending(),
            outcome: None,
            last_event: 0,
            staging,
            published: None,
            emulated_on,
        });
        Some(build)
    }

    fn assign(&mut self, agent: &AgentName, attempt: AttemptId) {
        let Some(build) = self.active.get(&attempt.build).map(|active| &active.build) else { return };
        let staging = build.attempts.last().map(|record| record.staging.to_string_lossy().into_owned());
        let message = ToAgent::Assign {
            attempt,
            plan: build.plan.clone().unwrap_or_default(),
            staging: staging.unwrap_or_default(),
            osimage: build.osimage.to_string(),
            silence: self.parts.config.silence_seconds.limits(),
        };
        self.links.tell(agent, message);
    }

    /// Takes their attempts from agents that have been silent for a lease and the time to come back.
    pub(super) async fn expire_once(&mut self, now: Instant) -> Result<(), StoreError> {
        for agent in self.links.silent(self.parts.config.patience(), now) {
            self.links.cut(&agent);
            for (attempt, _, _) in self.held_by(&agent) {
                let why = format!("agent {agent} was silent for longer than its lease");
                self.lose(attempt, &why).await?;
            }
        }
        Ok(())
    }

    /// An attempt is gone by no fault of the build: it is queued again while tries are left.
    pub(super) async fn lose(&mut self, attempt: AttemptId, why: &str) -> Result<(), StoreError> {
        let again = attempt.attempt.get() < self.parts.config.max_attempts;
        let stage = self.active.get(&attempt.build).and_then(|active| active.build.state.stage_word());
        let failure = Failure {
            stage: stage.unwrap_or("dispatch").to_owned(),
            cause: format!("attempt {} of {} was lost: {why}", attempt.attempt, self.parts.config.max_attempts),
            hint: Some("look at the agent's own log on its node, then `imgctl builds retry`".to_owned()),
            last_lines: self.last_lines(attempt),
        };
        tracing::warn!(%attempt, why, again, "attempt lost");
        let event = BuildEvent::Lost { attempt: attempt.attempt, failure: clip::failure(failure), again };
        if self.apply(attempt.build, event, &format!("lost: {why}")).await?.is_ok() {
            self.end_log(attempt);
            self.forget_staging(attempt);
        }
        Ok(())
    }
}

/// Who has a build, and as which attempt.
fn given(build: &Build) -> Option<(AgentName, AttemptId)> {
    build.state.lease().map(|(agent, attempt)| (agent.clone(), AttemptId { build: build.id, attempt }))
}
