//! Dispatch: what can start now, why the rest waits, and how agents stand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use model::agent::AgentView;
use model::build::{Build, BuildState, Failure, Part};
use model::id::BuildId;
use model::name::AgentName;
use tokio::time::{Duration, Instant};

use super::Explanation;
use super::desk::Desk;
use super::links::Link;
use crate::queue::{self, Candidate, Start};
use crate::store::StoreError;

impl Desk {
    /// Starts whatever can start now, and notes why the rest waits.
    pub(super) async fn start_once(&mut self, now: Instant) -> Result<(), StoreError> {
        let waiting: Vec<&Build> =
            self.active.values().filter(|a| a.build.state == BuildState::Queued).map(|a| &a.build).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let mut candidates = self.candidates(now);
        for start in queue::assign(&waiting, &mut candidates, &self.busy()) {
            match start {
                Start::On(id, agent) => self.lease(id, agent).await?,
                Start::Pack(id) => self.pack_newest(id).await?,
            }
        }
        self.note_waiting(now).await
    }

    pub(super) async fn note_waiting(&mut self, now: Instant) -> Result<(), StoreError> {
        let candidates = self.candidates(now);
        let limit = Duration::from_secs(self.parts.config.max_wait_seconds.into());
        let mut hopeless = Vec::new();
        let holders = self.holders();
        for (id, active) in &mut self.active {
            if active.build.state != BuildState::Queued {
                continue;
            }
            let holder = holders.get(&active.build.rootimgdir).copied().filter(|holder| holder != id);
            let reason = queue::waiting_for(&active.build, &candidates, holder);
            let no_agent = active.build.part != Part::Packimage && holder.is_none();
            let unfit = candidates.iter().all(|agent| queue::never_fits(&active.build, agent));
            if no_agent && unfit && now.duration_since(active.queued_at) > limit {
                hopeless.push((*id, reason.clone()));
            }
            if active.waiting_for != reason {
                active.waiting_for = reason;
                active.publish();
            }
        }
        for (id, reason) in hopeless {
            let hint = Some("`imgctl agents list` shows what there is; `imgctl explain` what each lacks".to_owned());
            let cause = format!("no agent can ever run it: it waited for {reason}");
            let failure = Failure { stage: "dispatch".into(), cause, hint, last_lines: Vec::new() };
            self.fail(id, failure).await?;
        }
        Ok(())
    }

    /// Agents as places to build.
    pub(super) fn candidates(&self, now: Instant) -> Vec<Candidate> {
        let lease = self.parts.config.lease();
        let candidate = |link: &Link| Candidate {
            name: link.record.name.clone(),
            facts: link.facts().cloned(),
            connected: link.outbox.is_some() && !link.leaving && now.duration_since(link.heard) <= lease,
            in_hand: self.in_hand(&link.record.name).count() + link.dropping.len(),
        };
        self.links.iter().map(candidate).collect()
    }

    /// The builds that an agent holds a lease on.
    pub(super) fn in_hand<'a>(&'a self, agent: &'a AgentName) -> impl Iterator<Item = &'a Build> {
        let held = move |build: &&Build| build.state.lease().is_some_and(|(holder, _)| holder == agent);
        self.active.values().map(|active| &active.build).filter(held)
    }

    pub(super) fn busy(&self) -> BTreeSet<PathBuf> {
        self.holders().into_keys().collect()
    }

    /// The rootimgdirs that are worked on, and by which build.
    pub(super) fn holders(&self) -> BTreeMap<PathBuf, BuildId> {
        let working = self.active.values().filter(|active| active.build.state != BuildState::Queued);
        working.map(|active| (active.build.rootimgdir.clone(), active.build.id)).collect()
    }

    pub(super) fn explain(&self, id: BuildId) -> Option<Explanation> {
        let active = self.active.get(&id)?;
        let mut candidates = self.candidates(Instant::now());
        // Those that joined and never connected are known to the store alone.
        for record in self.parts.store.agents().unwrap_or_default() {
            if !candidates.iter().any(|known| known.name == record.name) {
                candidates.push(Candidate { name: record.name, facts: record.facts, connected: false, in_hand: 0 });
            }
        }
        let agents = candidates.iter().map(|agent| (agent.name.clone(), queue::lacks(&active.build, agent))).collect();
        Some(Explanation { waiting_for: active.waiting_for.clone(), agents })
    }

    pub(super) fn agent_views(&self) -> Vec<AgentView> {
        let (lease, now) = (self.parts.config.lease(), Instant::now());
        let view = |link: &Link| {
            let attempts = self.in_hand(&link.record.name).filter_map(|build| {
                build.state.lease().map(|(_, attempt)| format!("{}.{attempt} {}", build.id, build.osimage))
            });
            AgentView { record: link.record.clone(), state: link.state(lease, now), attempts: attempts.collect() }
        };
        self.links.iter().map(view).collect()
    }
}
