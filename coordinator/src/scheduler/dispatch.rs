//! Dispatch: what can start now, and why the rest waits.

use std::collections::BTreeMap;
use std::path::Path;

use model::agent::AgentRecord;
use model::build::{Build, BuildState, Failure, Part};
use model::id::BuildId;
use model::name::AgentName;
use tokio::time::{Duration, Instant};

use super::desk::{Active, Desk, queued};
use super::{Explanation, Judgement, NewBuild, Verdict, Verdicts};
use crate::queue::{self, Candidate, Holder, Kind, Start};
use crate::store::StoreError;

/// What a build waits for.
#[derive(Debug, Clone)]
struct Waiting {
    reason: String,
    /// It may come.
    hope: bool,
}

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
        let mut given_up = Vec::new();
        for (id, Waiting { reason, hope }) in self.reasons(now) {
            let Some(active) = self.active.get_mut(&id) else { continue };
            let since = (!hope).then(|| *active.hopeless_since.get_or_insert(now));
            active.hopeless_since = since;
            if active.waiting_for != reason {
                active.waiting_for.clone_from(&reason);
                active.publish();
            }
            if since.is_some_and(|since| now.duration_since(since) > limit) {
                given_up.push((id, reason));
            }
        }
        for (id, reason) in given_up {
            let hint = Some("`imgctl agents list` shows what there is; `imgctl explain` what each lacks".to_owned());
            let cause = format!("it can't be run: it waited for {reason}");
            let failure = Failure { stage: "dispatch".into(), cause, hint, last_lines: Vec::new() };
            self.fail(id, failure).await?;
        }
        Ok(())
    }

    /// Of each build whose reason or hope is another than noted, and of those without hope.
    fn reasons(&self, now: Instant) -> Vec<(BuildId, Waiting)> {
        let (candidates, holders) = (self.candidates(now), self.holders());
        // The answer is the same for every build of a kind, and there are few kinds.
        let mut kinds: BTreeMap<Kind<'_>, Waiting> = BTreeMap::new();
        let mut reasons = Vec::new();
        for active in self.waiting() {
            let build = &active.build;
            if let Some(holder) = holders.get(build.rootimgdir.as_path()) {
                reasons.push((build.id, Waiting { reason: queue::waiting_behind(build, *holder), hope: true }));
                continue;
            }
            let waiting = kinds.entry(Kind::of(build)).or_insert_with(|| match &self.no_staging {
                Some(why) => Waiting { reason: format!("the install root ({why})"), hope: false },
                None => Waiting {
                    hope: candidates.iter().any(|agent| !queue::never_fits(build, agent)),
                    reason: queue::waiting_for(build, &candidates),
                },
            });
            let hope = waiting.hope || build.part == Part::Packimage;
            if !hope || active.hopeless_since.is_some() || active.waiting_for != waiting.reason {
                reasons.push((build.id, Waiting { hope, ..waiting.clone() }));
            }
        }
        reasons
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

    /// The rootimgdirs that are worked on, and by whom.
    fn holders(&self) -> BTreeMap<&Path, Holder> {
        let working = self.active.values().filter(|active| active.build.state != BuildState::Queued);
        let builds = working.map(|active| (active.build.rootimgdir.as_path(), Holder::Build(active.build.id)));
        let by_hand = self.switching.iter().map(|(place, one)| (place.as_path(), Holder::Activation(one.number)));
        builds.chain(by_hand).collect()
    }

    pub(super) fn explain(&self, id: BuildId) -> Option<Explanation> {
        let active = self.active.get(&id)?;
        let build = &active.build;
        let recorded = self.parts.store.agents().unwrap_or_default();
        let candidates = self.candidates_and(&recorded);
        let waiting_for = match self.holders().get(build.rootimgdir.as_path()) {
            _ if build.state != BuildState::Queued => String::new(),
            Some(holder) => queue::waiting_behind(build, *holder),
            None => queue::waiting_for(build, &candidates),
        };
        Some(Explanation { waiting_for, agents: verdicts(build, &candidates) })
    }

    /// How a build that is not queued would stand with each agent.
    pub(super) fn judge(&self, wanted: NewBuild) -> Judgement {
        let recorded = self.parts.store.agents().unwrap_or_default();
        let (build, candidates) = (queued(self.next_id, wanted), self.candidates_and(&recorded));
        Judgement { agents: verdicts(&build, &candidates), warning: queue::outlook(&build, &candidates) }
    }

    /// With those that joined and never connected, which are known to the store alone.
    fn candidates_and<'a>(&'a self, recorded: &'a [AgentRecord]) -> Vec<Candidate<'a>> {
        let mut candidates = self.candidates(Instant::now());
        for record in recorded {
            if !candidates.iter().any(|known| known.record.name == record.name) {
                candidates.push(Candidate { record, connected: false, in_hand: 0, resting: None });
            }
        }
        candidates
    }
}

fn verdicts(build: &Build, candidates: &[Candidate<'_>]) -> Verdicts {
    let native = queue::native(build, candidates);
    let verdict = |agent: &Candidate<'_>| Verdict {
        agent: agent.record.name.clone(),
        lacks: queue::lacks(build, agent, native).iter().map(ToString::to_string).collect(),
        emulated_on: queue::emulates(build, agent.record).map(str::to_owned),
    };
    candidates.iter().map(verdict).collect()
}
