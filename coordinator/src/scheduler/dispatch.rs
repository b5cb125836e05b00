//! Dispatch: what can start now, and why the rest waits.

use std::collections::BTreeMap;
use std::path::Path;

use model::build::{Build, BuildState, Failure, Part};
use model::id::BuildId;
use model::name::AgentName;
use tokio::time::{Duration, Instant};

use super::Explanation;
use super::desk::{Active, Desk};
use crate::queue::{self, Candidate, Kind, Start};
use crate::store::StoreError;

impl Desk {
    /// Starts whatever can start now.
    pub(super) async fn start_once(&mut self, now: Instant) -> Result<(), StoreError> {
        let waiting: Vec<&Build> = self.waiting().map(|active| &active.build).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let starts = queue::assign(&waiting, &mut self.candidates(now), &self.holders());
        let (mut leases, mut packs) = (Vec::new(), Vec::new());
        for start in starts {
            match start {
                Start::On(id, agent) => leases.push((id, agent)),
                Start::Pack(id) => packs.push(id),
            }
        }
        self.lease(leases).await?;
        for id in packs {
            self.pack_newest(id).await?;
        }
        Ok(())
    }

    fn waiting(&self) -> impl Iterator<Item = &Active> {
        self.active.values().filter(|active| active.build.state == BuildState::Queued)
    }

    /// Notes why each build waits, and ends those that have waited too long for an agent that can't come.
    pub(super) async fn note_waiting(&mut self, now: Instant) -> Result<(), StoreError> {
        let limit = Duration::from_secs(self.parts.config.max_wait_seconds.into());
        let mut hopeless = Vec::new();
        let mut reasons = Vec::new();
        {
            let (candidates, holders) = (self.candidates(now), self.holders());
            // The answer is the same for every build of a kind, and there are few kinds.
            let mut kinds: BTreeMap<Kind<'_>, (String, bool)> = BTreeMap::new();
            for active in self.waiting() {
                let build = &active.build;
                if let Some(holder) = holders.get(build.rootimgdir.as_path()) {
                    reasons.push((build.id, queue::waiting_behind(build, *holder)));
                    continue;
                }
                let (reason, hope) = kinds.entry(Kind::of(build)).or_insert_with(|| {
                    let hope = candidates.iter().any(|agent| !queue::never_fits(build, agent));
                    (queue::waiting_for(build, &candidates), hope)
                });
                if build.part != Part::Packimage && !*hope && now.duration_since(active.queued_at) > limit {
                    hopeless.push((build.id, reason.clone()));
                } else if active.waiting_for != *reason {
                    reasons.push((build.id, reason.clone()));
                }
            }
        }
        for (id, reason) in reasons {
            if let Some(active) = self.active.get_mut(&id).filter(|active| active.waiting_for != reason) {
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
    fn candidates(&self, now: Instant) -> Vec<Candidate<'_>> {
        let lease = self.parts.config.lease();
        let mut in_hand: BTreeMap<&AgentName, usize> = BTreeMap::new();
        for (agent, _) in self.active.values().filter_map(|active| active.build.state.lease()) {
            *in_hand.entry(agent).or_default() += 1;
        }
        let candidates = self.links.iter().map(|link| Candidate {
            record: &link.record,
            connected: self.links.takes_work(link, lease, now),
            in_hand: in_hand.get(&link.record.name).copied().unwrap_or(0) + link.dropping.len(),
            resting: link.resting(now),
        });
        candidates.collect()
    }

    /// The builds that an agent holds a lease on.
    pub(super) fn in_hand<'a>(&'a self, agent: &'a AgentName) -> impl Iterator<Item = &'a Build> {
        let held = move |build: &&Build| build.state.lease().is_some_and(|(holder, _)| holder == agent);
        self.active.values().map(|active| &active.build).filter(held)
    }

    /// The rootimgdirs that are worked on, and by which build.
    fn holders(&self) -> BTreeMap<&Path, BuildId> {
        let working = self.active.values().filter(|active| active.build.state != BuildState::Queued);
        working.map(|active| (active.build.rootimgdir.as_path(), active.build.id)).collect()
    }

    pub(super) fn explain(&self, id: BuildId) -> Option<Explanation> {
        let active = self.active.get(&id)?;
        let build = &active.build;
        // Those that joined and never connected are known to the store alone.
        let recorded = self.parts.store.agents().unwrap_or_default();
        let mut candidates = self.candidates(Instant::now());
        for record in &recorded {
            if !candidates.iter().any(|known| known.record.name == record.name) {
                candidates.push(Candidate { record, connected: false, in_hand: 0, resting: None });
            }
        }
        let waiting_for = match self.holders().get(build.rootimgdir.as_path()) {
            _ if build.state != BuildState::Queued => String::new(),
            Some(holder) => queue::waiting_behind(build, *holder),
            None => queue::waiting_for(build, &candidates),
        };
        let lacks = |agent: &Candidate<'_>| queue::lacks(build, agent).iter().map(ToString::to_string).collect();
        let agents = candidates.iter().map(|agent| (agent.record.name.clone(), lacks(agent))).collect();
        Some(Explanation { waiting_for, agents })
    }
}
