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
    let (stage, cause) = (text(&failure["stage"]), text(&failure["cause"]));
    let last = build["attempts"].as_array().and_then(|attempts| attempts.last());
    let agent = last.map(|attempt| text(&attempt["agent"])).unwrap_or_default();
    let from = last.and_then(|attempt| attempt["started_ms"].as_i64()).unwrap_or(0);
    let to = build["ended_ms"].as_i64().unwrap_or(i64::MAX);
    let found = spells.iter().find(|spell| spell.touches(from, to) && may_fail(&spell.cause, &stage, &agent));
    match found {
        Some(spell) => story.tell(format!("build {} failed in {stage}, as {}: {cause}", number(build), spell.cause)),
        None => story.wrong(format!("build {} failed and nothing explains it: {stage}: {cause}", number(build))),
    }
}

/// Whether a fault can be why an attempt of this agent failed in this stage.
fn may_fail(cause: &Cause, stage: &str, on: &str) -> bool {
    let all_tries_lost = stage == "dispatch";
    match cause {
        Cause::Users => false,
        Cause::Coordinator => all_tries_lost || stage == "receive",
        Cause::Agent(name) | Cause::Network(name) => all_tries_lost && name == on,
        Cause::Worker(name) => name == on,
        Cause::Disk(Place::Coordinator | Place::Install) => true,
        Cause::Disk(Place::State(name) | Place::Scratch(name)) => name == on,
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
