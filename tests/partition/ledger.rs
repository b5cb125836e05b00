//! What was seen of every build in every step, and what must hold of it whatever the network does.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use model::build::Build;
use model::id::AttemptId;

use crate::worker::Run;

/// Grows with every step; panics at the first that breaks a rule.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every state of every build by its word, with the number of its attempts, and since when.
    history: BTreeMap<u64, Vec<Entry>>,
    /// Who was ever given an attempt.
    holders: BTreeMap<AttemptId, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) state: &'static str,
    pub(crate) attempts: usize,
}

impl Ledger {
    pub(crate) fn look(&mut self, now: Duration, builds: &[Build], runs: &[Run]) {
        for build in builds {
            self.note(now, build);
        }
        self.no_attempt_runs_twice(runs);
    }

    /// When a build was first seen in this state with so many attempts.
    pub(crate) fn since(&self, build: u64, state: &str, attempts: usize) -> Option<Duration> {
        let history = self.history.get(&build)?;
        history.iter().find(|entry| entry.state == state && entry.attempts == attempts).map(|entry| entry.at)
    }

    fn note(&mut self, now: Duration, build: &Build) {
        let entry = Entry { at: now, state: build.state.word(), attempts: build.attempts.len() };
        let history = self.history.entry(build.id.get()).or_default();
        if let Some(last) = history.last() {
            if (last.state, last.attempts) == (entry.state, entry.attempts) {
                return;
            }
            let over = ["succeeded", "failed", "cancelled"].contains(&last.state);
            assert!(!over, "build {} had its verdict and got another\n{history:?}\n{entry:?}", build.id);
            assert!(entry.attempts >= last.attempts, "build {} forgot an attempt", build.id);
        }
        history.push(entry);
        for record in &build.attempts {
            let attempt = AttemptId { build: build.id, attempt: record.attempt };
            let agent = record.agent.to_string();
            let holder = self.holders.entry(attempt).or_insert_with(|| agent.clone());
            assert_eq!(*holder, agent, "attempt {attempt} changed hands");
        }
        let ended = build.attempts.iter().rev().skip(1).all(|record| record.outcome.is_some());
        assert!(ended, "build {} has two attempts under way", build.id);
    }

    fn no_attempt_runs_twice(&self, runs: &[Run]) {
        for (place, run) in runs.iter().enumerate() {
            let twice = runs[..place].iter().any(|earlier| earlier.attempt == run.attempt);
            assert!(!twice, "attempt {} was started twice\n{runs:?}", run.attempt);
            if let Some(holder) = self.holders.get(&run.attempt) {
                assert_eq!(*holder, run.agent, "attempt {} runs on an agent that was not given it", run.attempt);
            }
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (build, history) in &self.history {
            writeln!(f, "build {build}:")?;
            for Entry { at, state, attempts } in history {
                writeln!(f, "  {at:>10.2?} {state} ({attempts} attempts)")?;
            }
        }
        Ok(())
    }
}
