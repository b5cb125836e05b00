//! What must be true of a build at its end.

use std::time::Duration;

use coordinator::config::Config;
use coordinator::logs::Logs;
use model::build::BuildState;
use model::id::{Attempt, AttemptId, BuildId};

use crate::prepare;
use crate::site::Site;
use crate::worker::text;

/// More than any log here has.
const MORE_LINES: usize = 10_000;

impl Site {
    /// Runs until build `number` has its verdict, and checks all of it: success, as many attempts as said, one
    /// generation, and logs that are whole.
    pub(crate) fn succeeds(&mut self, number: u64, attempts: usize, limit: Duration) {
        self.until("the verdict", limit, |site| site.build(number).state.is_final());
        // Whatever is still on its way could bring another one.
        self.run_for(Duration::from_secs(20));
        let build = self.build(number);
        assert_eq!(build.state, BuildState::Succeeded, "{}", self.ledger);
        let outcomes: Vec<_> = build.attempts.iter().map(|record| record.outcome.clone()).collect();
        assert_eq!(build.attempts.len(), attempts, "{outcomes:?}\n{}", self.ledger);
        let generations = self.ask(|store| store.generations(&build.rootimgdir).expect("the store can be read"));
        assert_eq!(generations.len(), 1, "published once");
        self.logs_are_whole(number);
        self.nothing_is_left();
    }

    /// No agent has anything in hand, and none works.
    pub(crate) fn nothing_is_left(&self) {
        for agent in self.agents {
            let config = prepare::agent(self.folder(), agent);
            for folder in [config.journal(), config.spool(), config.scratch()] {
                let left: Vec<_> =
                    std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.unwrap().path()).collect();
                assert!(left.is_empty(), "{agent} has left {left:?}");
            }
        }
        let alive: Vec<_> = self.runs.all().into_iter().filter(|run| run.alive).collect();
        assert!(alive.is_empty(), "still at work: {alive:?}");
    }

    /// Every line of the attempt that succeeded is there once and in order; of the others, the first ones.
    pub(crate) fn logs_are_whole(&self, number: u64) {
        let build = self.build(number);
        let config = prepare::coordinator(self.folder());
        let runs = self.runs.all();
        for (place, record) in build.attempts.iter().enumerate() {
            let id = AttemptId { build: BuildId::new(number).expect("from 1"), attempt: record.attempt };
            let kept = log_of(&config, number, record.attempt.get());
            let mark = format!("{id} says ");
            let lines: Vec<&String> = kept.iter().filter(|line| line.starts_with(&mark)).collect();
            for (place, line) in lines.iter().enumerate() {
                assert_eq!(**line, text(id, place + 1), "the log of {id} has a gap or says something twice: {kept:?}");
            }
            let said = runs.iter().find(|run| run.attempt == id).map_or(0, |run| run.said);
            let last = place + 1 == build.attempts.len();
            assert!(lines.len() <= said, "the log of {id} has lines that nobody said");
            assert!(!last || lines.len() == said, "the log of {id} has {} of {said} lines", lines.len());
        }
    }
}

/// The lines that the coordinator has of an attempt.
pub(crate) fn log_of(config: &Config, build: u64, attempt: u32) -> Vec<String> {
    let logs = Logs::open(&config.logs_dir()).expect("the logs");
    let (build, attempt) = (BuildId::new(build).expect("from 1"), Attempt::new(attempt).expect("from 1"));
    logs.tail(AttemptId { build, attempt }, MORE_LINES).into_iter().map(|line| line.text).collect()
}
