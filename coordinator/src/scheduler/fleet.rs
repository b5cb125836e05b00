//! The fleet as an administrator sees and changes it: how agents stand, drain, undrain, removal.

use std::collections::BTreeMap;

use model::agent::{AgentFacts, AgentRecord, AgentView, AgentWork, Condition, Drained, Effect, Survey};
use model::id::{AttemptId, BuildId};
use model::name::AgentName;
use tokio::time::Instant;

use super::desk::Desk;
use super::links::Link;
use super::{Refused, SessionId, clip};
use crate::chain::chain;
use crate::store::StoreError;

/// Records in one write.
const SEEN_AT_ONCE: usize = 64;

impl Desk {
    /// Every agent that has connected since the start or was known then.
    pub(super) fn agent_views(&self) -> Vec<AgentView> {
        let mut work = self.work();
        let view = |link: &Link| self.view(link, work.remove(&link.record.name).unwrap_or_default());
        self.links.iter().map(view).collect()
    }

    fn view(&self, link: &Link, mut work: Vec<AgentWork>) -> AgentView {
        work.extend(link.dropping.iter().map(|attempt| self.dropping(*attempt)));
        AgentView {
            record: AgentRecord { last_seen_ms: link.seen_ms, ..link.record.clone() },
            state: self.links.state(link, self.parts.config.lease(), Instant::now()),
            work,
            load_hundredths: link.load_hundredths,
        }
    }

    /// Notes when agents were last heard of, some of them at a time: all of a large fleet within a few ticks.
    pub(super) async fn note_seen(&mut self) -> Result<(), StoreError> {
        let seen = self.links.unnoted(SEEN_AT_ONCE);
        if !seen.is_empty() {
            let noted = self.parts.store.note_seen(&seen).await?;
            self.links.noted(&noted, &seen);
        }
        Ok(())
    }

    /// What each agent holds a lease on.
    fn work(&self) -> BTreeMap<AgentName, Vec<AgentWork>> {
        let mut work: BTreeMap<AgentName, Vec<AgentWork>> = BTreeMap::new();
        for active in self.active.values() {
            let build = &active.build;
            let Some((agent, attempt)) = build.state.lease() else { continue };
            work.entry(agent.clone()).or_default().push(AgentWork {
                attempt: AttemptId { build: build.id, attempt },
                osimage: build.osimage.clone(),
                doing: build.state.stage_word().unwrap_or("leased").to_owned(),
            });
        }
        work
    }

    fn dropping(&self, attempt: AttemptId) -> AgentWork {
        let of = |id: BuildId| match self.active.get(&id) {
            Some(active) => Some(active.build.osimage.clone()),
            None => self.parts.store.build(id).ok().flatten().map(|build| build.osimage),
        };
        let unknown = || "unknown".parse().expect("it is a name");
        AgentWork { attempt, osimage: of(attempt.build).unwrap_or_else(unknown), doing: "dropping".to_owned() }
    }

    /// What an agent's preflight found. It is written down too, as it is told of agents that are gone.
    pub(super) async fn surveyed(
        &mut self,
        agent: &AgentName,
        session: SessionId,
        survey: Survey,
    ) -> Result<(), StoreError> {
        let survey = Survey { conditions: clip::conditions(survey.conditions), ..survey };
        let Some(before) = self.links.survey(agent, session, &survey, Instant::now()) else { return Ok(()) };
        let Survey { install, conditions } = survey;
        for gone in matter(&before) {
            if !matter(&conditions).any(|condition| condition.name == gone.name) {
                tracing::info!(%agent, "{} is over", gone.name);
            }
        }
        warn_of(agent, &conditions);
        let found = move |facts| AgentFacts { install, conditions: conditions.clone(), ..facts };
        let change = |record: AgentRecord| AgentRecord { facts: record.facts.map(&found), ..record };
        match self.parts.store.change_agent(agent, change).await {
            // What an agent says of its node must not end the coordinator.
            Err(error @ StoreError::TooLarge { .. }) => {
                tracing::warn!(%agent, error = chain(&error), "not written down")
            }
            written => drop(written?),
        }
        Ok(())
    }

    /// Drains an agent, or gives it work again.
    pub(super) async fn drain(&mut self, agent: &AgentName, drained: Option<Drained>) -> Result<AgentView, Refused> {
        let drain = |record| AgentRecord { drained: drained.clone(), ..record };
        let record = self.parts.store.change_agent(agent, drain).await?;
        let record = record.ok_or_else(|| Refused::NoAgent(agent.clone()))?;
        match &record.drained {
            Some(Drained { by, reason, .. }) => tracing::info!(%agent, %by, reason, "drained: it gets no more work"),
            None => tracing::info!(%agent, "gets work again"),
        }
        self.links.note_drained(&record, Instant::now());
        let view = self.agent_views().into_iter().find(|view| view.record.name == *agent);
        view.ok_or_else(|| Refused::NoAgent(agent.clone()))
    }

    /// Cuts an agent off and forgets it. Gives what it had in hand, and how each build stands after it.
    pub(super) async fn remove(&mut self, agent: &AgentName) -> Result<Vec<AgentWork>, Refused> {
        self.parts.store.agent(agent)?.ok_or_else(|| Refused::NoAgent(agent.clone()))?;
        // From here on no call of it is answered. After a kill in between, the next start does the rest.
        self.parts.store.remove_agent(agent).await?;
        let held: Vec<AttemptId> = self.held_by(agent).into_iter().map(|(attempt, _, _)| attempt).collect();
        self.links.remove(agent);
        let mut work = Vec::with_capacity(held.len());
        for attempt in held {
            self.lose(attempt, &format!("agent {agent} was removed")).await?;
            if let Some(build) = self.parts.store.build(attempt.build)? {
                work.push(AgentWork { attempt, osimage: build.osimage, doing: build.state.word().to_owned() });
            }
        }
        tracing::info!(%agent, in_hand = work.len(), "removed");
        Ok(work)
    }
}

/// Those that keep an agent from something.
fn matter(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    conditions.iter().filter(|condition| condition.effect > Effect::Note)
}

/// In the coordinator's log.
pub(super) fn warn_of(agent: &AgentName, conditions: &[Condition]) {
    for condition in matter(conditions) {
        tracing::warn!(%agent, effect = condition.effect.as_str(), "{condition}");
    }
}
