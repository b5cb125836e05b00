//! Whether every build has one verdict, and whether a fault explains it where it is a bad one.

use serde_json::Value;

use crate::fault::{Cause, Place};
use crate::load::{Seen, number, word};
use crate::story::{Spell, Story};

/// Judges all builds of the run.
pub(crate) fn judge(builds: &[Value], seen: &Seen, story: &Story) {
    let mut ids: Vec<u64> = builds.iter().map(number).collect();
    ids.sort_unstable();
    let all: Vec<u64> = (1..=ids.len() as u64).collect();
    if ids != all {
        story.wrong(format!("the builds are not 1 to {}, each once: {ids:?}", ids.len()));
    }
    for id in &seen.queued {
        if !ids.contains(id) {
            story.wrong(format!("build {id} was queued and is not there"));
        }
    }
    let spells = story.spells();
    for build in builds {
        match word(build) {
            "succeeded" | "cancelled" => {}
            "failed" => explained(build, &spells, story),
            other => story.wrong(format!("build {} is {other} for ever", number(build))),
        }
        attempts_have_ended(build, story);
    }
    tell_sums(builds, story);
}

fn explained(build: &Value, spells: &[Spell], story: &Story) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failure = &build["state"]["failure"];
    let last = build["attempts"].as_array().and_then(|attempts| attempts.last());
    let agent = last.map(|attempt| text(&attempt["agent"])).unwrap_or_default();
    let from = last.and_then(|attempt| attempt["started_ms"].as_i64()).unwrap_or(0);
    let to = build["ended_ms"].as_i64().unwrap_or(i64::MAX);
    let sort = Sort::of(failure);
    let found = spells.iter().find(|spell| spell.touches(from, to) && sort.may_come_of(&spell.cause, &agent));
    let what = format!("build {} failed in {}: {}", number(build), text(&failure["stage"]), text(&failure["cause"]));
    match found {
        Some(spell) => story.tell(format!("{what} ({})", spell.cause)),
        None => story.wrong(format!("{what}; no fault explains it ({sort:?} on {agent}): {failure}")),
    }
}

/// What a failure tells of its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// The last attempt that was allowed was lost.
    Lost,
    /// There was no room.
    Room,
    /// A program ended badly.
    Program,
}

impl Sort {
    fn of(failure: &Value) -> Self {
        let cause = failure["cause"].as_str().unwrap_or_default();
        let whole = failure.to_string();
        if cause.starts_with("attempt ") && cause.contains(" was lost") {
            Self::Lost
        } else if ["No space left", "enough free space", "room", "are wanted"].iter().any(|word| whole.contains(word)) {
            Self::Room
        } else {
            Self::Program
        }
    }

    /// Whether a fault can be why an attempt on this agent failed in this way.
    fn may_come_of(self, cause: &Cause, on: &str) -> bool {
        match (self, cause) {
            (_, Cause::Users) => false,
            (_, Cause::Receiver) => true,
            (Self::Lost, Cause::Coordinator) => true,
            (Self::Lost, Cause::Agent(name) | Cause::Network(name)) => name == on,
            (_, Cause::Worker(name)) => name == on,
            (Self::Lost | Self::Room, Cause::Disk(Place::State(name) | Place::Scratch(name))) => name == on,
            (Self::Lost | Self::Room, Cause::Disk(Place::Coordinator | Place::Install)) => true,
            // Not every program says that there was no room: dracut only says which one of its own failed.
            (Self::Program, Cause::Disk(Place::Scratch(name))) => name == on,
            (Self::Program, Cause::Disk(_) | Cause::Coordinator | Cause::Agent(_) | Cause::Network(_))
            | (Self::Room, Cause::Coordinator | Cause::Agent(_) | Cause::Network(_)) => false,
        }
    }
}

fn attempts_have_ended(build: &Value, story: &Story) {
    let attempts = build["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, attempt) in attempts.iter().enumerate() {
        if attempt["attempt"].as_u64() != Some(at as u64 + 1) {
            story.wrong(format!("build {}: attempt {} is called {}", number(build), at + 1, attempt["attempt"]));
        }
        if attempt["outcome"].is_null() || attempt["ended_ms"].as_i64().unwrap_or(0) == 0 {
            story.wrong(format!("build {}: attempt {} never ended", number(build), at + 1));
        }
    }
}

fn tell_sums(builds: &[Value], story: &Story) {
    let count = |name: &str| builds.iter().filter(|build| word(build) == name).count();
    let attempts: usize = builds.iter().filter_map(|build| build["attempts"].as_array()).map(Vec::len).sum();
    story.tell(format!(
        "{} builds: {} succeeded, {} failed, {} cancelled; {attempts} attempts",
        builds.len(),
        count("succeeded"),
        count("failed"),
        count("cancelled")
    ));
}
